UPDATE customers SET mood = 'happy' WHERE id = 1;
