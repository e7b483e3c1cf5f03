UPDATE customers SET balance = 1 WHERE id = 7;
