ALTER TABLE orders ADD COLUMN channel TEXT;
CREATE INDEX orders_channel_idx ON orders (channel);
