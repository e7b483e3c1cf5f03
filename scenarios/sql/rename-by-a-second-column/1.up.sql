ALTER TABLE orders ADD COLUMN remark text;
CREATE FUNCTION orders_remark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.remark := NEW.note;
  RETURN NEW;
END $$;
CREATE TRIGGER orders_remark BEFORE INSERT OR UPDATE ON orders
  FOR EACH ROW EXECUTE FUNCTION orders_remark();
