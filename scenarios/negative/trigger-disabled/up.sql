ALTER TABLE orders DISABLE TRIGGER orders_touch;
UPDATE orders SET views = 0;
