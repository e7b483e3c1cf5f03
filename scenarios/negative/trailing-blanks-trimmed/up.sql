ALTER TABLE customers ALTER COLUMN phone TYPE varchar(40) USING rtrim(phone);
