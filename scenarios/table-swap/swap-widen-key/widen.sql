ALTER TABLE "Note" ALTER COLUMN "memberId" TYPE bigint;
ALTER TABLE "Member" ALTER COLUMN "id" TYPE bigint;
