-- Verify shop:order_index on pg

BEGIN;
SELECT 1 / count(*) FROM pg_index WHERE indexrelid = 'orders_customer_idx'::regclass AND indisvalid;
ROLLBACK;
