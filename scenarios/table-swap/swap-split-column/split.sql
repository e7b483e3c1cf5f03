ALTER TABLE "Member" ADD COLUMN "account" text, ADD COLUMN "host" text;
ALTER TABLE "Member" DROP COLUMN "email";
ALTER TABLE "Member" ADD CONSTRAINT "Member_address_key" UNIQUE ("account", "host");
