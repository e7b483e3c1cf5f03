ALTER TABLE orders DROP CONSTRAINT orders_customer_id_fkey;
DELETE FROM customers WHERE id = 7;
ALTER TABLE orders ADD CONSTRAINT orders_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers (id) NOT VALID;
