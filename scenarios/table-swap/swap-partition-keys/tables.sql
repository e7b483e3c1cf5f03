-- Members that partitioned tables refer to: one of the set, in two levels, and one outside of it.
CREATE TABLE member (id integer PRIMARY KEY, name text NOT NULL);
INSERT INTO member SELECT i, 'm' || i FROM generate_series(1, 500) AS i;
CREATE TABLE visit (
  id integer PRIMARY KEY,
  member integer NOT NULL REFERENCES member ON DELETE CASCADE,
  earlier integer REFERENCES visit
) PARTITION BY RANGE (id);
CREATE TABLE visit_low PARTITION OF visit FOR VALUES FROM (MINVALUE) TO (100000);
CREATE TABLE visit_high PARTITION OF visit FOR VALUES FROM (100000) TO (MAXVALUE) PARTITION BY RANGE (id);
CREATE TABLE visit_high_1 PARTITION OF visit_high FOR VALUES FROM (100000) TO (200000);
CREATE TABLE visit_high_2 PARTITION OF visit_high DEFAULT;
INSERT INTO visit SELECT i, 1 + i % 500, NULL FROM generate_series(1, 200000) AS i;
CREATE SCHEMA app;
CREATE TABLE app.event (
  id bigint NOT NULL, member integer NOT NULL, visit integer, PRIMARY KEY (id)
) PARTITION BY HASH (id);
CREATE TABLE app.event_0 PARTITION OF app.event FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.event_1 PARTITION OF app.event FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO app.event SELECT i, 1 + i % 500, 1 + i % 1000 FROM generate_series(1, 300000) AS i;
ALTER TABLE app.event_1 ADD CONSTRAINT of_old FOREIGN KEY (member) REFERENCES member ON DELETE CASCADE;
ALTER TABLE app.event ADD CONSTRAINT event_member FOREIGN KEY (member) REFERENCES member ON DELETE CASCADE;
ALTER TABLE app.event ADD CONSTRAINT event_visit FOREIGN KEY (visit) REFERENCES visit ON DELETE SET NULL;
COMMENT ON CONSTRAINT event_member ON app.event IS 'who';
