ALTER TABLE orders DISABLE TRIGGER orders_touch;
UPDATE orders SET note = '' WHERE note IS NULL;
ALTER TABLE orders ENABLE TRIGGER orders_touch;
