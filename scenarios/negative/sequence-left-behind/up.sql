CREATE TABLE customers_new (LIKE customers INCLUDING ALL);
INSERT INTO customers_new SELECT * FROM customers;
ALTER TABLE orders DROP CONSTRAINT orders_customer_id_fkey;
DROP TABLE customers;
ALTER TABLE customers_new RENAME TO customers;
ALTER TABLE orders ADD CONSTRAINT orders_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers (id);
