-- Verify shop:orders on pg

BEGIN;
SELECT id, customer_id, total FROM orders WHERE false;
ROLLBACK;
