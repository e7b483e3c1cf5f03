ALTER TABLE visit ADD COLUMN note text;
