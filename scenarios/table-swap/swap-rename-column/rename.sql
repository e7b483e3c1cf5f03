ALTER TABLE "Note" RENAME COLUMN "body" TO "text";
