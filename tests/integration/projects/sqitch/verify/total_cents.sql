-- Verify shop:total_cents on pg

BEGIN;
SELECT total_cents FROM orders WHERE false;
SELECT 1 / (CASE WHEN count(*) = 0 THEN 1 ELSE 0 END) FROM orders WHERE total_cents IS NULL;
ROLLBACK;
