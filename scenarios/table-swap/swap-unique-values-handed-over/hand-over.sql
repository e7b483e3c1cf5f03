-- Who has which address, written down each time that one is handed from a member to another.
CREATE TABLE "Handed" ("id" bigserial PRIMARY KEY, "memberId" integer NOT NULL, "email" text NOT NULL);

CREATE FUNCTION hand_over() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  a integer := 1 + floor(random() * 20);
  b integer := 21 + floor(random() * 20);
  x text;
  y text;
BEGIN
  PERFORM FROM "Member" WHERE "id" IN (a, b) ORDER BY "id" FOR UPDATE;
  SELECT "email" INTO x FROM "Member" WHERE "id" = a;
  SELECT "email" INTO y FROM "Member" WHERE "id" = b;
  UPDATE "Member" SET "email" = 'between ' || a WHERE "id" = a;
  UPDATE "Member" SET "email" = x WHERE "id" = b;
  UPDATE "Member" SET "email" = y WHERE "id" = a;
  INSERT INTO "Handed" ("memberId", "email") VALUES (a, y), (b, x);
END $$;
