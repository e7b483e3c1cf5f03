DROP TRIGGER orders_total_cents ON orders;
DROP FUNCTION orders_total_cents();
ALTER TABLE orders DROP COLUMN total_cents;
