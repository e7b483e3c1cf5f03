ALTER TABLE orders ADD COLUMN token text NOT NULL DEFAULT md5(random()::text);
