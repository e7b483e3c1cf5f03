ALTER TABLE orders ADD COLUMN total_cents bigint;
UPDATE orders SET total_cents = round(total * 100);
ALTER TABLE orders ALTER COLUMN total_cents SET NOT NULL;

-- keeps the two columns in step while old and new code run side by side
CREATE FUNCTION orders_total_cents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.total_cents := round(NEW.total * 100);
  RETURN NEW;
END;
$$;
CREATE TRIGGER orders_total_cents BEFORE INSERT OR UPDATE ON orders
  FOR EACH ROW EXECUTE FUNCTION orders_total_cents();
