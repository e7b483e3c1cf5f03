ALTER TYPE mood ADD VALUE 'happy';
UPDATE customers SET mood = 'happy' WHERE id = 1;
