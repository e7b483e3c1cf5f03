-- A note counts itself on its member's row (another table), and stars on its own row come from its
-- text (the same row, by an update of its own).
ALTER TABLE "Member" ADD COLUMN "notes" integer NOT NULL DEFAULT 0;
UPDATE "Member" m SET "notes" = (SELECT count(*) FROM "Note" n WHERE n."memberId" = m."id");

CREATE FUNCTION count_notes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    UPDATE "Member" SET "notes" = "notes" - 1 WHERE "id" = OLD."memberId";
  END IF;
  IF TG_OP <> 'DELETE' THEN
    UPDATE "Member" SET "notes" = "notes" + 1 WHERE "id" = NEW."memberId";
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER "Note_count" AFTER INSERT OR DELETE OR UPDATE OF "memberId" ON "Note"
  FOR EACH ROW EXECUTE FUNCTION count_notes();

CREATE FUNCTION star_itself() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE "Note" SET "stars" = length(NEW."body") WHERE "id" = NEW."id";
  RETURN NULL;
END $$;
CREATE TRIGGER "Note_star" AFTER INSERT OR UPDATE OF "body" ON "Note"
  FOR EACH ROW EXECUTE FUNCTION star_itself();
UPDATE "Note" SET "body" = "body";
