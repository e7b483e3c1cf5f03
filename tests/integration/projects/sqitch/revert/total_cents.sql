-- Revert shop:total_cents from pg

BEGIN;
ALTER TABLE orders DROP COLUMN total_cents;
COMMIT;
