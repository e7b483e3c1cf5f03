INSERT INTO customers (email)
SELECT 'customer' || i || '@example.com' FROM generate_series(1, 100) AS i;

INSERT INTO orders (customer_id, status, total)
SELECT c.id, CASE c.id % 3 WHEN 0 THEN 'paid' ELSE 'new' END, c.id * 1.25
FROM customers c;
