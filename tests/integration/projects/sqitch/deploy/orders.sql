-- Deploy shop:orders to pg
-- requires: customers

BEGIN;

CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id bigint NOT NULL REFERENCES customers (id),
  total numeric(12, 2) NOT NULL DEFAULT 0
);

COMMIT;
