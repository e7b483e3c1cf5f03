#include "tests/support/ddl_changes.h"

namespace understudy::testing {

const char* const kPostgresSchema = R"(
CREATE EXTENSION pg_trgm;
CREATE SCHEMA app;
COMMENT ON SCHEMA app IS 'the application';
CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE app.size AS ENUM ('S', 'M', 'L');
CREATE TYPE app.pair AS (a integer, b text);
CREATE TYPE app.span AS RANGE (subtype = float8);
CREATE DOMAIN app.positive AS integer DEFAULT 1 CONSTRAINT positive_check CHECK (VALUE > 0);
CREATE DOMAIN app.code AS text NOT NULL;
CREATE COLLATION app.german (locale = 'C');
CREATE SEQUENCE app.counter INCREMENT 5;
SELECT setval('app.counter', 100);
CREATE SEQUENCE app.down INCREMENT -1 MINVALUE -1000 MAXVALUE -1;
SELECT setval('app.down', -50);
CREATE SEQUENCE app.limits;
CREATE TABLE app.customers (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email text NOT NULL,
  "Full Name" text COLLATE "C",
  status varchar(10) DEFAULT 'new' CHECK (status IN ('new', 'old', 'gone')),
  note text,
  mood app.mood,
  created timestamptz NOT NULL DEFAULT now(),
  score numeric(10,2) DEFAULT 0,
  twice numeric GENERATED ALWAYS AS (score * 2) STORED,
  pos app.positive,
  CONSTRAINT customers_email_key UNIQUE (email),
  CONSTRAINT customers_note_check CHECK (length(note) < 100)
) WITH (fillfactor = 90);
COMMENT ON TABLE app.customers IS 'who buys';
COMMENT ON COLUMN app.customers.email IS 'unique';
CREATE TABLE app.orders (
  id bigserial PRIMARY KEY,
  customer_id integer NOT NULL CONSTRAINT orders_customer_fkey REFERENCES app.customers ON DELETE RESTRICT,
  total numeric(12,2) NOT NULL DEFAULT 0,
  placed date,
  a integer, b integer, c integer,
  CONSTRAINT orders_total_check CHECK (total >= 0),
  CONSTRAINT orders_ab_key UNIQUE (a, b),
  CONSTRAINT orders_c_excl EXCLUDE USING btree (c WITH =)
);
CREATE TABLE app.lines (
  order_id bigint CONSTRAINT lines_order_fkey REFERENCES app.orders,
  line integer NOT NULL,
  text text,
  CONSTRAINT lines_pkey PRIMARY KEY (order_id, line)
);
CREATE TABLE app.dupes (v integer); INSERT INTO app.dupes VALUES (1), (1);
CREATE TABLE app."Odd Name" ("a.b" integer, "c#d" text);
CREATE TABLE app.events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE app.events_1 PARTITION OF app.events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE app.events_2 PARTITION OF app.events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE INDEX events_what_idx ON app.events (what);
CREATE INDEX orders_placed_idx ON app.orders (placed) WHERE total > 0;
CREATE INDEX customers_lower_idx ON app.customers (lower(email));
CREATE INDEX customers_trgm_idx ON app.customers USING gin (note gin_trgm_ops);
CREATE UNIQUE INDEX orders_c_idx ON app.orders (c);
CREATE STATISTICS app.orders_stats ON a, b FROM app.orders;
CREATE STATISTICS app.more_stats ON a, c FROM app.orders;
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION app.add(a integer, b integer) RETURNS integer LANGUAGE sql AS 'SELECT a + b';
CREATE FUNCTION app.add(a text, b text) RETURNS text LANGUAGE sql AS 'SELECT a || b';
CREATE FUNCTION app.hush() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE PROCEDURE app.work(n integer) LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE TRIGGER customers_touch BEFORE UPDATE ON app.customers FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER orders_touch BEFORE UPDATE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER orders_touch_2 BEFORE INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER events_touch BEFORE UPDATE ON app.events FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE VIEW app.rich AS SELECT id, email FROM app.customers WHERE score > 100;
CREATE VIEW app.poor AS SELECT id FROM app.customers WHERE status IN ('old', 'gone');
CREATE MATERIALIZED VIEW app.sums AS SELECT customer_id, sum(total) AS total FROM app.orders GROUP BY 1;
CREATE MATERIALIZED VIEW app.counts AS SELECT count(*) AS n FROM app.orders;
CREATE INDEX sums_idx ON app.sums (customer_id);
CREATE RULE no_delete AS ON DELETE TO app.lines DO INSTEAD NOTHING;
CREATE RULE no_update AS ON UPDATE TO app.dupes DO INSTEAD NOTHING;
ALTER TABLE app.lines ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.lines FORCE ROW LEVEL SECURITY;
CREATE POLICY lines_all ON app.lines USING (line > 0);
CREATE POLICY lines_some ON app.lines FOR SELECT USING (line > 1);
CREATE OPERATOR app.=== (FUNCTION = int4eq, LEFTARG = integer, RIGHTARG = integer);
CREATE CAST (app.pair AS text) WITH INOUT;
GRANT SELECT, INSERT ON app.customers TO PUBLIC;
GRANT SELECT (id, total), UPDATE (total) ON app.orders TO PUBLIC;
GRANT USAGE ON SEQUENCE app.counter TO PUBLIC;
GRANT SELECT (id) ON app.rich TO PUBLIC;
REVOKE EXECUTE ON FUNCTION app.add(integer, integer) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT USAGE ON SEQUENCES TO PUBLIC;
SET client_min_messages = error;
CREATE PUBLICATION pub FOR TABLE app.customers, app.orders;
CREATE PUBLICATION pub_two FOR TABLE app.orders;
RESET client_min_messages;
CREATE EVENT TRIGGER hush ON ddl_command_end EXECUTE FUNCTION app.hush();
CREATE FOREIGN DATA WRAPPER dummy;
CREATE SERVER far FOREIGN DATA WRAPPER dummy OPTIONS (host 'h', password 'hidden');
CREATE FOREIGN TABLE app.distant (a integer) SERVER far OPTIONS (path 'x');
CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (password 'hidden');
)";

const std::vector<DdlChange>& PostgresChanges() {
  static const std::vector<DdlChange> changes = {
      {"CREATE SCHEMA extra", "schema:extra", "added"},
      {"ALTER SCHEMA app RENAME TO app2; ALTER SCHEMA app2 RENAME TO app; COMMENT ON SCHEMA app IS "
       "NULL",
       "schema:app#comment", "changed", true},
      {"CREATE TABLE app.fresh (id integer)",
       "table:app.fresh",
       "added",
       false,
       {"column:app.fresh.id"}},
      {"DROP TABLE app.\"Odd Name\"",
       "table:app.\"Odd Name\"",
       "removed",
       true,
       {"column:app.\"Odd Name\".*"}},
      {"ALTER TABLE app.dupes SET UNLOGGED", "table:app.dupes#persistence", "changed", true},
      {"ALTER TABLE app.customers SET (fillfactor = 80)", "table:app.customers#options", "changed"},
      {"ALTER TABLE app.orders REPLICA IDENTITY USING INDEX orders_pkey",
       "table:app.orders#replica_identity",
       "changed",
       false,
       {"table:app.orders#replica_identity_index", "index:app.orders_pkey#replica_identity"}},
      {"ALTER TABLE app.lines DISABLE ROW LEVEL SECURITY", "table:app.lines#row_security",
       "changed", true},
      {"ALTER TABLE app.lines NO FORCE ROW LEVEL SECURITY", "table:app.lines#row_security_forced",
       "changed", true},
      {"ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY", "table:app.orders#row_security",
       "changed"},
      {"COMMENT ON TABLE app.customers IS 'people'", "table:app.customers#comment", "changed"},
      {"REVOKE INSERT ON app.customers FROM PUBLIC", "table:app.customers#grants", "changed", true},
      {"GRANT DELETE ON app.orders TO PUBLIC", "table:app.orders#grants", "changed"},
      {"ALTER TABLE app.events DETACH PARTITION app.events_2",
       "table:app.events_2#partition_of",
       "changed",
       true,
       {"table:app.events_2#partition_bound", "index:app.events_2_what_idx#attached_to",
        "trigger:app.events_2.events_touch", "constraint:app.events_2.*"}},
      {"ALTER TABLE app.lines OWNER TO pg_monitor",
       "table:app.lines#owner",
       "changed",
       false,
       {"table:app.lines#grants"}},

      {"ALTER TABLE app.customers ADD phone text", "column:app.customers.phone", "added"},
      {"ALTER TABLE app.customers DROP pos", "column:app.customers.pos", "removed", true},
      {"ALTER TABLE app.orders ALTER placed TYPE timestamp", "column:app.orders.placed#type",
       "changed"},
      {"ALTER TABLE app.orders RENAME a TO aa",
       "column:app.orders.aa",
       "added",
       false,
       {"column:app.orders.a", "constraint:app.orders.orders_ab_key#definition",
        "index:app.orders_ab_key#definition", "statistics:app.orders_stats#definition",
        "statistics:app.more_stats#definition", "table:app.orders#column_order"}},
      {"ALTER TABLE app.orders ALTER customer_id DROP NOT NULL",
       "column:app.orders.customer_id#nullability", "changed", true},
      {"ALTER TABLE app.customers ALTER mood SET NOT NULL", "column:app.customers.mood#nullability",
       "changed"},
      {"ALTER TABLE app.orders ALTER total SET DEFAULT 1", "column:app.orders.total#default",
       "changed"},
      {"ALTER TABLE app.customers ALTER created DROP DEFAULT",
       "column:app.customers.created#default", "changed", true},
      {"ALTER TABLE app.customers ALTER id SET GENERATED BY DEFAULT",
       "column:app.customers.id#identity", "changed"},
      {"ALTER TABLE app.customers ALTER twice DROP EXPRESSION",
       "column:app.customers.twice#generated", "changed", true},
      {"ALTER TABLE app.customers ALTER \"Full Name\" TYPE text COLLATE \"POSIX\"",
       "column:app.customers.\"Full Name\"#collation", "changed"},
      {"ALTER TABLE app.lines ALTER text SET STORAGE EXTERNAL", "column:app.lines.text#storage",
       "changed"},
      {"ALTER TABLE app.orders ALTER b SET STATISTICS 500", "column:app.orders.b#statistics_target",
       "changed"},
      {"ALTER TABLE app.orders ALTER b SET (n_distinct = 7)", "column:app.orders.b#options",
       "changed"},
      {"COMMENT ON COLUMN app.customers.email IS NULL", "column:app.customers.email#comment",
       "changed", true},
      {"REVOKE UPDATE (total) ON app.orders FROM PUBLIC", "column:app.orders.total#grants",
       "changed", true},

      {"ALTER TABLE app.orders DROP CONSTRAINT orders_total_check",
       "constraint:app.orders.orders_total_check", "removed", true},
      {"ALTER TABLE app.lines ADD CONSTRAINT lines_text_check CHECK (text <> '') NOT VALID",
       "constraint:app.lines.lines_text_check", "added", true},
      {"ALTER TABLE app.lines ADD CONSTRAINT lines_ok_check CHECK (line < 1000)",
       "constraint:app.lines.lines_ok_check", "added"},
      {"ALTER TABLE app.customers DROP CONSTRAINT customers_note_check, "
       "ADD CONSTRAINT customers_note_check CHECK (length(note) < 1000)",
       "constraint:app.customers.customers_note_check#definition", "changed", true},
      {"ALTER TABLE app.orders DROP CONSTRAINT orders_customer_fkey, ADD CONSTRAINT "
       "orders_customer_fkey "
       "FOREIGN KEY (customer_id) REFERENCES app.customers ON DELETE CASCADE",
       "constraint:app.orders.orders_customer_fkey#definition", "changed", true},
      {"ALTER TABLE app.lines ALTER CONSTRAINT lines_order_fkey DEFERRABLE",
       "constraint:app.lines.lines_order_fkey#deferrable", "changed", true},
      {"ALTER TABLE app.lines DISABLE TRIGGER ALL",
       "constraint:app.lines.lines_order_fkey#triggers_off", "changed", true},
      {"ALTER DOMAIN app.positive DROP CONSTRAINT positive_check",
       "constraint:app.positive.positive_check", "removed", true},

      {"CREATE INDEX orders_total_idx ON app.orders (total)", "index:app.orders_total_idx",
       "added"},
      {"CREATE UNIQUE INDEX CONCURRENTLY dupes_v_idx ON app.dupes (v)",
       "index:app.dupes_v_idx",
       "added",
       true,
       {},
       true},
      {"DROP INDEX app.orders_placed_idx", "index:app.orders_placed_idx", "removed", true},
      {"DROP INDEX app.orders_c_idx; CREATE INDEX orders_c_idx ON app.orders (c)",
       "index:app.orders_c_idx#unique",
       "changed",
       true,
       {"index:app.orders_c_idx#definition"}},
      {"ALTER TABLE app.customers CLUSTER ON customers_lower_idx",
       "index:app.customers_lower_idx#clustered", "changed"},
      {"ALTER INDEX app.customers_lower_idx ALTER COLUMN 1 SET STATISTICS 200",
       "index:app.customers_lower_idx#statistics_target", "changed"},

      {"SELECT setval('app.counter', 50)", "sequence:app.counter#last_value", "changed", true},
      {"SELECT setval('app.down', -40)", "sequence:app.down#last_value", "changed", true},
      {"SELECT nextval('app.orders_id_seq')", "sequence:app.orders_id_seq#last_value", "changed"},
      {"ALTER SEQUENCE app.limits MAXVALUE 1000", "sequence:app.limits#max", "changed"},
      {"ALTER SEQUENCE app.limits CYCLE", "sequence:app.limits#cycle", "changed"},
      {"ALTER SEQUENCE app.limits CACHE 20", "sequence:app.limits#cache", "changed"},
      {"ALTER SEQUENCE app.orders_id_seq OWNED BY NONE", "sequence:app.orders_id_seq#owned_by",
       "changed", true},
      {"ALTER TABLE app.customers ALTER id SET INCREMENT BY 3",
       "sequence:app.customers_id_seq#increment", "changed"},
      {"REVOKE USAGE ON SEQUENCE app.counter FROM PUBLIC", "sequence:app.counter#grants", "changed",
       true},

      {"ALTER TABLE app.customers DISABLE TRIGGER customers_touch",
       "trigger:app.customers.customers_touch#enabled", "changed", true},
      {"ALTER TABLE app.orders ENABLE ALWAYS TRIGGER orders_touch",
       "trigger:app.orders.orders_touch#enabled", "changed"},
      {"DROP TRIGGER orders_touch_2 ON app.orders", "trigger:app.orders.orders_touch_2", "removed",
       true},
      {"ALTER TABLE app.events_1 DISABLE TRIGGER events_touch",
       "trigger:app.events_1.events_touch#enabled", "changed", true},

      {"CREATE OR REPLACE VIEW app.rich AS SELECT id, email FROM app.customers WHERE score > 1000",
       "view:app.rich#definition", "changed"},
      {"REVOKE SELECT (id) ON app.rich FROM PUBLIC", "view:app.rich#column_grants", "changed",
       true},
      {"ALTER VIEW app.poor SET (security_barrier = true)", "view:app.poor#options", "changed"},
      {"REFRESH MATERIALIZED VIEW app.counts WITH NO DATA",
       "materialized-view:app.counts#populated", "changed", true},
      {"DROP MATERIALIZED VIEW app.sums",
       "materialized-view:app.sums",
       "removed",
       true,
       {"index:app.sums_idx"}},
      {"DROP RULE no_delete ON app.lines", "rule:app.lines.no_delete", "removed", true},
      {"ALTER TABLE app.dupes DISABLE RULE no_update", "rule:app.dupes.no_update#enabled",
       "changed", true},
      {"CREATE OR REPLACE FUNCTION app.add(a integer, b integer) RETURNS integer LANGUAGE sql AS "
       "'SELECT a - b'",
       "function:app.add(integer, integer)#definition", "changed"},
      {"DROP FUNCTION app.add(text, text)", "function:app.add(text, text)", "removed", true},
      {"GRANT EXECUTE ON FUNCTION app.add(integer, integer) TO PUBLIC",
       "function:app.add(integer, integer)#grants", "changed"},
      {"CREATE OR REPLACE PROCEDURE app.work(n integer) LANGUAGE plpgsql AS $$ BEGIN NULL; END $$",
       "procedure:app.work(integer)#definition", "changed"},
      {"CREATE OR REPLACE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND "
       "= '1')",
       "aggregate:app.total(integer)#definition", "changed"},

      {"ALTER TYPE app.mood ADD VALUE 'great'", "enum:app.mood#labels", "changed"},
      {"ALTER TYPE app.size RENAME VALUE 'M' TO 'X'; ALTER TYPE app.size RENAME VALUE 'L' TO 'M'; "
       "ALTER TYPE app.size RENAME VALUE 'X' TO 'L'",
       "enum:app.size#labels", "changed", true},
      {"ALTER TYPE app.pair ADD ATTRIBUTE c date", "type:app.pair#attributes", "changed"},
      {"DROP TYPE app.span",
       "type:app.span",
       "removed",
       true,
       {"function:app.span*", "function:app.*span*"}},
      {"ALTER DOMAIN app.positive SET DEFAULT 2", "domain:app.positive#default", "changed"},
      {"ALTER DOMAIN app.code DROP NOT NULL", "domain:app.code#nullability", "changed", true},
      {"DROP COLLATION app.german", "collation:app.german", "removed", true},
      {"CREATE EXTENSION hstore", "extension:hstore", "added"},
      {"ALTER EXTENSION pg_trgm SET SCHEMA app",
       "extension:pg_trgm#in_schema",
       "changed",
       false,
       {"index:app.customers_trgm_idx#definition"}},
      {"DROP POLICY lines_some ON app.lines", "policy:app.lines.lines_some", "removed", true},
      {"ALTER POLICY lines_all ON app.lines USING (line > 5)", "policy:app.lines.lines_all#using",
       "changed"},
      {"ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE SELECT ON TABLES FROM PUBLIC",
       "default-privileges:app.postgres.tables", "removed", true},
      {"DROP STATISTICS app.orders_stats", "statistics:app.orders_stats", "removed", true},
      {"ALTER STATISTICS app.more_stats SET STATISTICS 300",
       "statistics:app.more_stats#statistics_target", "changed"},
      {"ALTER PUBLICATION pub DROP TABLE app.orders", "publication:pub#tables", "changed", true},
      {"DROP PUBLICATION pub_two", "publication:pub_two", "removed", true},
      {"ALTER EVENT TRIGGER hush DISABLE", "event-trigger:hush#enabled", "changed", true},
      {"DROP OPERATOR app.=== (integer, integer)", "operator:app.\"===\"(integer, integer)",
       "removed", true},
      {"DROP CAST (app.pair AS text)", "cast:(app.pair AS text)", "removed", true},
      {"ALTER SERVER far OPTIONS (SET host 'i')", "server:far#options", "changed"},
      {"ALTER FOREIGN TABLE app.distant OPTIONS (SET path 'y')",
       "foreign-table:app.distant#foreign_options", "changed"},
      {"DROP USER MAPPING FOR PUBLIC SERVER far", "user-mapping:far.public", "removed", true},
      {"ALTER TABLE app.lines ALTER text SET COMPRESSION pglz",
       "column:app.lines.text#compression",
       "changed",
       false,
       {},
       false,
       140000},
      {"CREATE PUBLICATION pub_all FOR TABLES IN SCHEMA app",
       "publication:pub_all",
       "added",
       false,
       {},
       false,
       150000},
      {"ALTER PUBLICATION pub SET TABLE app.customers, app.orders WHERE (id > 7)",
       "publication:pub#tables",
       "changed",
       false,
       {},
       false,
       150000},
      {"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''5MB''', "
       "current_database()); END $$",
       "database:this#settings", "changed"},
      {"DO $$ BEGIN EXECUTE format('ALTER ROLE postgres IN DATABASE %I SET work_mem = ''5MB''', "
       "current_database()); END $$",
       "role-settings:postgres.this", "added"},
  };
  return changes;
}

const char* const kSqliteSchema = R"(
CREATE TABLE customers(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  email TEXT NOT NULL UNIQUE,
  status text DEFAULT 'new' CHECK (status IN ('new', 'Old')),
  note TEXT COLLATE NOCASE,
  score REAL DEFAULT 0.5,
  twice REAL GENERATED ALWAYS AS (score * 2) STORED
);
INSERT INTO customers(email) VALUES ('a'), ('b');
CREATE TABLE orders(
  id INTEGER PRIMARY KEY,
  customer_id INTEGER REFERENCES customers(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  total NUMERIC(10,2) NOT NULL DEFAULT 0, -- cents, later
  a, b, c TEXT,
  CONSTRAINT total_positive CHECK (total >= 0),
  UNIQUE (a, b)
);
CREATE TABLE plain(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
CREATE TABLE hard(id INTEGER PRIMARY KEY, n INT) STRICT;
CREATE TABLE "Odd Name"("a.b", "select" TEXT);
CREATE VIRTUAL TABLE words USING fts5(body);
CREATE INDEX orders_total ON orders(total DESC) WHERE total > 0;
CREATE UNIQUE INDEX orders_c ON orders(c);
CREATE INDEX customers_note ON customers(lower(note));
CREATE VIEW rich AS SELECT id, email FROM customers WHERE score > 10;
CREATE VIEW poor AS SELECT id FROM customers WHERE score < 1;
CREATE TRIGGER orders_ins AFTER INSERT ON orders BEGIN UPDATE customers SET score = score + 1 WHERE id = NEW.customer_id; END;
CREATE TRIGGER orders_del AFTER DELETE ON orders BEGIN SELECT 'Gone'; END;
)";

const std::vector<DdlChange>& SqliteChanges() {
  // A rebuild, the only way to many changes: with the parts of `orders` as given.
  const auto rebuild = [](const std::string& body, const std::string& more = "") {
    return "CREATE TABLE orders_new(" + body +
           "); INSERT INTO orders_new SELECT * FROM orders; DROP TABLE orders; "
           "ALTER TABLE orders_new RENAME TO orders; " +
           more;
  };
  const std::string id = "id INTEGER PRIMARY KEY, ";
  const std::string key =
      "customer_id INTEGER REFERENCES customers(id) ON DELETE CASCADE DEFERRABLE INITIALLY "
      "DEFERRED, ";
  const std::string total = "total NUMERIC(10,2) NOT NULL DEFAULT 0, ";
  const std::string rest =
      "a, b, c TEXT, CONSTRAINT total_positive CHECK (total >= 0), UNIQUE (a, b)";
  const std::string indexes =
      "CREATE INDEX orders_total ON orders(total DESC) WHERE total > 0; CREATE UNIQUE INDEX "
      "orders_c ON orders(c); ";
  const std::string triggers =
      "CREATE TRIGGER orders_ins AFTER INSERT ON orders BEGIN UPDATE customers SET score = score + "
      "1 WHERE id = NEW.customer_id; END; "
      "CREATE TRIGGER orders_del AFTER DELETE ON orders BEGIN SELECT 'Gone'; END;";
  static const std::vector<DdlChange> changes = {
      {"CREATE TABLE fresh(id)", "table:main.fresh", "added", false, {"column:main.fresh.id"}},
      {"DROP TABLE \"Odd Name\"",
       "table:main.\"Odd Name\"",
       "removed",
       true,
       {"column:main.\"Odd Name\".*"}},
      {"ALTER TABLE customers ADD COLUMN phone TEXT DEFAULT ''", "column:main.customers.phone",
       "added"},
      {"ALTER TABLE hard DROP COLUMN n", "column:main.hard.n", "removed", true},
      {"ALTER TABLE plain RENAME COLUMN v TO w",
       "column:main.plain.w",
       "added",
       false,
       {"column:main.plain.v", "table:main.plain#column_order"}},
      {"CREATE INDEX plain_v ON plain(k)", "index:main.plain_v", "added"},
      {"DROP INDEX customers_note", "index:main.customers_note", "removed", true},
      {"DROP INDEX orders_c; CREATE INDEX orders_c ON orders(c)",
       "index:main.orders_c#unique",
       "changed",
       true,
       {"index:main.orders_c#definition"}},
      {"DROP TRIGGER orders_del", "trigger:main.orders.orders_del", "removed", true},
      {"DROP TRIGGER orders_ins; CREATE TRIGGER orders_ins AFTER INSERT ON orders BEGIN UPDATE "
       "customers SET score = score + 2 WHERE id = NEW.customer_id; END",
       "trigger:main.orders.orders_ins#definition", "changed"},
      {"DROP VIEW rich; CREATE VIEW rich AS SELECT id, email FROM customers WHERE score > 100",
       "view:main.rich#definition", "changed"},
      {"DROP VIEW poor", "view:main.poor", "removed", true},
      {"DROP TABLE words", "table:main.words", "removed", true, {"column:main.words.*"}},
      {"UPDATE sqlite_sequence SET seq = 1 WHERE name = 'customers'",
       "sequence:main.customers#last_value", "changed", true},
      {"INSERT INTO customers(email) VALUES ('c')", "sequence:main.customers#last_value",
       "changed"},
      {"PRAGMA user_version = 7", "database:main#user_version", "changed"},
      {"PRAGMA application_id = 9", "database:main#application_id", "changed"},
      {rebuild(id + key + total + rest, triggers + indexes + "DROP INDEX orders_total"),
       "index:main.orders_total", "removed", true},
      {rebuild(id + key + total + rest,
               indexes + "CREATE TRIGGER orders_ins AFTER INSERT ON orders BEGIN UPDATE customers "
                         "SET score = score + 1 WHERE id = NEW.customer_id; END"),
       "trigger:main.orders.orders_del", "removed", true},
      {rebuild(id + key + total + "a, b, c TEXT, UNIQUE (a, b)", indexes + triggers),
       "constraint:main.orders.total_positive", "removed", true},
      {rebuild(id + key + total +
                   "a, b, c TEXT, CONSTRAINT total_positive CHECK (total >= 1), UNIQUE (a, b)",
               indexes + triggers),
       "constraint:main.orders.total_positive#definition", "changed", true},
      {rebuild(id + key + total + "a, b, c TEXT, CONSTRAINT total_positive CHECK (total >= 0)",
               indexes + triggers),
       "constraint:main.orders.unique(a, b)", "removed", true},
      {rebuild(id + "customer_id INTEGER, " + total + rest, indexes + triggers),
       "constraint:main.orders.foreign_key(customer_id)", "removed", true},
      {rebuild(id + "customer_id INTEGER REFERENCES customers(id) DEFERRABLE INITIALLY DEFERRED, " +
                   total + rest,
               indexes + triggers),
       "constraint:main.orders.foreign_key(customer_id)#definition", "changed", true},
      {rebuild(
           id + "customer_id INTEGER REFERENCES customers(id) ON DELETE CASCADE, " + total + rest,
           indexes + triggers),
       "constraint:main.orders.foreign_key(customer_id)#deferrable",
       "changed",
       false,
       {"constraint:main.orders.foreign_key(customer_id)#deferred"}},
      {rebuild(id + key + "total NUMERIC(10,2) DEFAULT 0, " + rest, indexes + triggers),
       "column:main.orders.total#nullability", "changed", true},
      {rebuild(id + key + "total NUMERIC(10,2) NOT NULL, " + rest, indexes + triggers),
       "column:main.orders.total#default", "changed", true},
      {rebuild(id + key + "total REAL NOT NULL DEFAULT 0, " + rest, indexes + triggers),
       "column:main.orders.total#type", "changed"},
      {rebuild(id + key + total +
                   "a, b, c TEXT COLLATE NOCASE, CONSTRAINT total_positive CHECK (total >= 0), "
                   "UNIQUE (a, b)",
               indexes + triggers),
       "column:main.orders.c#collation",
       "changed",
       false,
       {"index:main.orders_c#columns"}},
  };
  return changes;
}

}  // namespace understudy::testing
