-- One reply to each note, with a vote; and one to the reply to each note of p2, far from it.
INSERT INTO "Reply" SELECT "id", "id", NULL FROM "Note";
INSERT INTO "Reply"
SELECT 1000000 + n."id", (SELECT max("id") FROM "Note" WHERE "placeId" = 'p3'), n."id"
FROM "Note" n WHERE n."placeId" = 'p2';
INSERT INTO "Vote" SELECT "id", 1 FROM "Reply";
