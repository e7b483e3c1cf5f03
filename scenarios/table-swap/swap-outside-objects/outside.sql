-- What production has around the tables: none of it may refer to the backup afterwards.
CREATE SCHEMA app;
CREATE TABLE app.favourite (
  id bigserial PRIMARY KEY,
  "memberId" integer NOT NULL REFERENCES "Member" ("id"),
  "placeId" text NOT NULL REFERENCES "Place" ("id") DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO app.favourite ("memberId", "placeId")
SELECT i, 'p' || i FROM generate_series(1, 50) AS i;
CREATE VIEW app.member_notes AS
  SELECT m."id", m."email", count(n."id") AS notes
  FROM "Member" m LEFT JOIN "Note" n ON n."memberId" = m."id" GROUP BY m."id";
CREATE VIEW app.busy AS SELECT * FROM app.member_notes WHERE notes > 3;
CREATE VIEW app.high AS SELECT "id", "name" FROM "Place" WHERE "height" > 100;
CREATE FUNCTION app.places() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM public."Place"';

COMMENT ON COLUMN "Note"."stars" IS 'how many';
COMMENT ON VIEW app.busy IS 'who writes much';
ALTER TABLE "Member" ENABLE ROW LEVEL SECURITY;
CREATE POLICY everyone ON "Member" USING (true) WITH CHECK ("logins" >= 0);
ALTER TABLE "Note" REPLICA IDENTITY FULL;
GRANT SELECT ("id", "body") ON "Note" TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
ALTER TABLE "Note" SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
