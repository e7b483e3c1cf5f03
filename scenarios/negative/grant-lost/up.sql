CREATE TABLE orders_new (LIKE orders INCLUDING ALL);
INSERT INTO orders_new SELECT * FROM orders;
CREATE TRIGGER orders_touch BEFORE UPDATE ON orders_new FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE orders_new ADD CONSTRAINT orders_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers (id);
ALTER SEQUENCE orders_id_seq OWNED BY orders_new.id;
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
