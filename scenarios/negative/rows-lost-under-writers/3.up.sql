-- The tables first: a client that holds one of them must not be waiting for the sequence.
LOCK TABLE orders, customers;
CREATE TRIGGER orders_touch BEFORE UPDATE ON orders_new FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE orders_new ADD FOREIGN KEY (customer_id) REFERENCES customers (id);
ALTER SEQUENCE orders_id_seq OWNED BY orders_new.id;
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
