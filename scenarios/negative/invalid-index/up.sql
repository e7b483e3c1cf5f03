CREATE UNIQUE INDEX CONCURRENTLY orders_status_key ON orders (status);
