CREATE TABLE "Reply" (
  "id" bigint PRIMARY KEY,
  "noteId" bigint NOT NULL REFERENCES "Note" ("id"),
  "replyTo" bigint REFERENCES "Reply" ("id")
);
CREATE TABLE "Vote" (
  "replyId" bigint REFERENCES "Reply" ("id"),
  "memberId" integer REFERENCES "Member" ("id"),
  PRIMARY KEY ("replyId", "memberId")
);
