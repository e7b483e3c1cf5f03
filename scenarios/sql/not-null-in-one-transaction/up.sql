ALTER TABLE orders ADD COLUMN region text;
UPDATE orders SET region = 'eu';
SELECT pg_sleep(2.2);
ALTER TABLE orders ALTER COLUMN region SET NOT NULL;
