LOCK TABLE orders, customers;
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
CREATE INDEX orders_customer_idx ON orders (customer_id);
