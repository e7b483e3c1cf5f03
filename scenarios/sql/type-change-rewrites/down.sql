ALTER TABLE orders ALTER COLUMN views TYPE integer;
