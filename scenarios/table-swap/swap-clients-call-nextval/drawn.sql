-- Numbers that clients drew: one drawn twice cannot be written down.
CREATE TABLE "Drawn" ("n" integer PRIMARY KEY, "at" timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE SEQUENCE "ticket" INCREMENT BY -3 START WITH -1 CACHE 5;
CREATE TABLE "Ticket" ("n" bigint PRIMARY KEY);
