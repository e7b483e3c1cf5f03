UPDATE customers SET balance = balance + 1;
