ALTER TABLE member ADD COLUMN note text;
