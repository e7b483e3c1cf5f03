-- Deploy shop:order_index to pg
-- requires: orders
-- requires: total_cents

CREATE INDEX CONCURRENTLY orders_customer_idx ON orders (customer_id);
