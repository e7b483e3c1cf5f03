-- Documents known by a BLOB. Text of the same look, and the empty BLOB, are keys of their own.
CREATE TABLE documents (
  id PRIMARY KEY NOT NULL,
  title TEXT NOT NULL,
  follows REFERENCES documents (id) ON DELETE SET NULL
);
CREATE TABLE pages (
  document BLOB NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  body BLOB,
  PRIMARY KEY (document, number)
) WITHOUT ROWID;
INSERT INTO documents VALUES
  (x'00ff', 'first', NULL), (x'', 'empty', x'00ff'), ('\x00ff', 'text that looks like one', x''),
  (x'31', 'bytes', NULL), ('1', 'text', x'31'), (1, 'number', '1'), (x'cafe', 'mine', x'cafe');
INSERT INTO pages VALUES
  (x'00ff', 1, x'0001'), (x'00ff', 2, NULL), (x'', 1, x''), (x'31', 1, 'b'), ('1', 1, 't'), (1, 1, 'n'),
  ('\x00ff', 1, 'look'), (x'cafe', 1, 'c');
