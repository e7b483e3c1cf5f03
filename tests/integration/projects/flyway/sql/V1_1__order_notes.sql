ALTER TABLE orders ADD COLUMN note text NOT NULL DEFAULT '${default_note}';
