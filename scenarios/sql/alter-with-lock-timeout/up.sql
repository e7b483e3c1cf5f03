DO $$
BEGIN
  FOR attempt IN 1..200 LOOP
    BEGIN
      SET LOCAL lock_timeout = '50ms';
      ALTER TABLE orders ADD COLUMN region text;
      RETURN;
    EXCEPTION WHEN lock_not_available THEN
      PERFORM pg_sleep(0.1);
    END;
  END LOOP;
  RAISE 'the lock on orders was never free';
END $$;
