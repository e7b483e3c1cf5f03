ALTER TABLE customers DROP CONSTRAINT customers_id_email_key;
