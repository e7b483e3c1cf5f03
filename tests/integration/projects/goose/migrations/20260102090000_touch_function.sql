-- +goose Up
ALTER TABLE orders ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
-- +goose StatementBegin
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END;
$$;
-- +goose StatementEnd
CREATE TRIGGER orders_touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();

-- +goose Down
DROP TRIGGER orders_touch ON orders;
DROP FUNCTION touch();
ALTER TABLE orders DROP COLUMN updated_at;
