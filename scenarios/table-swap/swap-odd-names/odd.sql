-- Names with quotes, spaces, capitals, percent signs, 63 bytes; the same name in two schemas; tables that look
-- like ours.
CREATE SCHEMA "The other";
CREATE TABLE "The other"."Member" ("a ""quoted"" key" integer PRIMARY KEY, "select" text, "100%" integer DEFAULT 0);
CREATE TABLE public."xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" (
  "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" bigserial PRIMARY KEY,
  "v" text
);
CREATE TABLE public."backup_Note" ("id" integer PRIMARY KEY, "v" text);
CREATE TABLE public.shadow_x ("id" integer PRIMARY KEY, "v" text);
CREATE TABLE public."Größe" ("id" integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "Maß" numeric);
