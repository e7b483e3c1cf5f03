ALTER TABLE orders ADD COLUMN channel TEXT;
UPDATE orders SET channel = 'web';
