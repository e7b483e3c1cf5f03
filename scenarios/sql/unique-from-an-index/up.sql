CREATE UNIQUE INDEX CONCURRENTLY customers_id_email_idx ON customers (id, email);
ALTER TABLE customers ADD CONSTRAINT customers_id_email_key UNIQUE USING INDEX customers_id_email_idx;
