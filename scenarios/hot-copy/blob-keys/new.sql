-- Documents get numbers. Two of the schema's own are there already: one is the old file's, too.
CREATE TABLE documents (
  number INTEGER PRIMARY KEY,
  id NOT NULL UNIQUE,
  title TEXT NOT NULL,
  follows INTEGER REFERENCES documents (number) ON DELETE SET NULL
);
CREATE TABLE pages (
  document INTEGER NOT NULL REFERENCES documents (number) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  body BLOB,
  PRIMARY KEY (document, number)
) WITHOUT ROWID;
INSERT INTO documents (number, id, title) VALUES (1, x'cafe', 'ours'), (3, x'00', 'preface');
