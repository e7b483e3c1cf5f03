ALTER TABLE orders ADD COLUMN token text;
ALTER TABLE orders ALTER COLUMN token SET DEFAULT md5(random()::text);
UPDATE orders SET token = md5(random()::text) WHERE token IS NULL AND id <= 500;
UPDATE orders SET token = md5(random()::text) WHERE token IS NULL AND id > 500;
