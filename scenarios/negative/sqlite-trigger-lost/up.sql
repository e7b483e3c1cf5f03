CREATE TABLE orders_new (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  status      TEXT NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'paid', 'sent')),
  total       REAL NOT NULL DEFAULT 0,
  note        TEXT,
  views       INTEGER NOT NULL DEFAULT 0
);
INSERT INTO orders_new SELECT id, customer_id, status, total, note, views FROM orders;
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
CREATE INDEX orders_customer_idx ON orders (customer_id);
CREATE INDEX orders_open_idx ON orders (id) WHERE status = 'new';
