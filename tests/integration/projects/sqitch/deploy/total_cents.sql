-- Deploy shop:total_cents to pg
-- requires: orders

BEGIN;

ALTER TABLE orders ADD COLUMN total_cents bigint;
UPDATE orders SET total_cents = round(total * 100);

COMMIT;
