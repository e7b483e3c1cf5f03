DELETE FROM customers WHERE id <= 10;
