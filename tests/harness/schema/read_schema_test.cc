#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/schema/schema.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// hard-case 45: names with capitals, quotes, blanks, a line break; one name in two schemas.
constexpr const char* kNasty = R"sql(
CREATE SCHEMA "Odd ""Schema";
CREATE TYPE "Odd ""Schema"."Mood" AS ENUM ('sad', 'it''s ok', 'HAPPY');
CREATE DOMAIN public.percent AS numeric(5,2) NOT NULL CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE public."User" (
  "Id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "line
break" varchar(12) DEFAULT 'x',
  mood "Odd ""Schema"."Mood"[],
  share public.percent,
  code char(3) NOT NULL UNIQUE,
  twice bigint GENERATED ALWAYS AS ("Id" * 2) STORED,
  boss bigint REFERENCES public."User",
  UNIQUE ("line
break", share),
  CHECK (length(code) = 3)
);
CREATE UNIQUE INDEX ON public."User" (lower(code));
CREATE TABLE "Odd ""Schema"."User" (
  a int, b int, note text, n serial,
  PRIMARY KEY (b, a)
);
CREATE TABLE "Odd ""Schema".child (
  x int NOT NULL, y int, gone int,
  CONSTRAINT to_both FOREIGN KEY (x, y) REFERENCES "Odd ""Schema"."User" (b, a) ON DELETE CASCADE
);
ALTER TABLE "Odd ""Schema".child DROP COLUMN gone;
CREATE TABLE public.measure (at timestamptz NOT NULL, v float8, PRIMARY KEY (at))
  PARTITION BY RANGE (at);
CREATE TABLE public.measure_1 PARTITION OF public.measure
  FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2024-02-01 00:00+00');
CREATE TABLE public.measure_2 PARTITION OF public.measure
  FOR VALUES FROM ('2024-02-01 00:00+00') TO ('2024-03-01 00:00+00');
CREATE SCHEMA understudy; CREATE TABLE understudy.mine (id int);
CREATE TEMP TABLE passing (id int);
CREATE VIEW public.a_view AS SELECT 1 AS one;
)sql";

TEST(ReadSchema, ReadsEverythingOfATableWhateverItsName) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run(kNasty);
  // A user's own settings must not change what is read.
  db::SessionOptions options;
  options.settings = db::Settings::kUsers;
  const auto session = database.Connect(options);
  session->Execute(R"(SET search_path = public, "Odd ""Schema"; SET TimeZone = 'Asia/Tokyo')");
  const Schema schema = ReadSchema(*session);
  EXPECT_EQ(session->Scalar("SHOW TimeZone").text, "Asia/Tokyo");

  std::vector<std::string> names;
  for (const SchemaTable& table : schema.tables) names.push_back(table.name.Display());
  EXPECT_THAT(names, ElementsAre(R"("Odd ""Schema"."User")", R"("Odd ""Schema".child)",
                                 R"(public."User")", "public.measure"));

  const SchemaTable* user = schema.Find({"public", "User"});
  ASSERT_NE(user, nullptr);
  EXPECT_EQ(schema.Find({"public", "user"}), nullptr);
  ASSERT_EQ(user->columns.size(), 7U);
  const SchemaColumn& id = user->columns[0];
  EXPECT_TRUE(id.identity_always && id.has_default && id.sequence_default && !id.nullable);
  const SchemaColumn& broken = user->columns[1];
  EXPECT_EQ(broken.name, "line\nbreak");
  EXPECT_EQ(broken.max_length, 12);
  EXPECT_EQ(broken.type, "character varying(12)");
  EXPECT_EQ(broken.default_text, "'x'::character varying");
  EXPECT_TRUE(broken.nullable);
  const SchemaColumn& mood = user->columns[2];
  EXPECT_EQ(mood.base_type, "array");
  EXPECT_EQ(mood.element_type, "enum");
  EXPECT_EQ(mood.type, R"("Odd ""Schema"."Mood"[])");
  EXPECT_THAT(mood.enum_labels, ElementsAre("sad", "it's ok", "HAPPY"));
  const SchemaColumn& share = user->columns[3];
  EXPECT_EQ(share.type, "public.percent");
  EXPECT_EQ(share.base_type, "numeric");
  EXPECT_EQ(share.precision, 5);
  EXPECT_EQ(share.scale, 2);
  EXPECT_FALSE(share.nullable) << "the domain says NOT NULL";
  EXPECT_TRUE(user->columns[4].in_other_unique);
  EXPECT_TRUE(user->columns[5].generated);
  EXPECT_FALSE(user->columns[5].has_default);

  ASSERT_EQ(user->keys.size(), 3U);
  EXPECT_TRUE(user->keys[0].primary);
  EXPECT_THAT(user->RowKey(), ElementsAre("Id"));
  ASSERT_EQ(user->foreign_keys.size(), 1U);
  EXPECT_EQ(user->foreign_keys[0].to, user->name);
  ASSERT_EQ(user->checks.size(), 2U);  // its own and the domain's
  EXPECT_THAT(user->checks[0].columns, ElementsAre("code"));

  const SchemaTable* child = schema.Find({"Odd \"Schema", "child"});
  ASSERT_NE(child, nullptr);
  EXPECT_EQ(child->columns.size(), 2U);
  EXPECT_THAT(child->RowKey(), IsEmpty());
  ASSERT_EQ(child->foreign_keys.size(), 1U);
  EXPECT_THAT(child->foreign_keys[0].columns, ElementsAre("x", "y"));
  EXPECT_THAT(child->foreign_keys[0].to_columns, ElementsAre("b", "a"));
  EXPECT_EQ(child->foreign_keys[0].on_delete, 'c');

  const SchemaTable* measure = schema.Find({"public", "measure"});
  EXPECT_TRUE(measure->partitioned);
  EXPECT_NE(measure->partition_check, "");
}

TEST(ReadSchema, APartitionThatTakesAllNeedsNoCheck) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run(R"sql(
CREATE TABLE h (id int) PARTITION BY HASH (id);
CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE l (kind text) PARTITION BY LIST (kind);
CREATE TABLE l_a PARTITION OF l FOR VALUES IN ('a');
CREATE TABLE l_rest PARTITION OF l DEFAULT;
)sql");
  const Schema schema = ReadSchema(*database.Connect());
  ASSERT_EQ(schema.tables.size(), 2U);
  EXPECT_EQ(schema.Find({"public", "l"})->partition_check, "");
}

TEST(ReadSchema, PutsParentsFirstAndCutsACycleAtANullableKey) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run(R"sql(
CREATE TABLE a_leaf (id int PRIMARY KEY, m int NOT NULL);
CREATE TABLE m_middle (id int PRIMARY KEY, z int NOT NULL);
CREATE TABLE z_root (id int PRIMARY KEY, favourite int);
CREATE TABLE self (id int PRIMARY KEY, up int NOT NULL REFERENCES self);
ALTER TABLE a_leaf ADD FOREIGN KEY (m) REFERENCES m_middle;
ALTER TABLE m_middle ADD FOREIGN KEY (z) REFERENCES z_root;
ALTER TABLE z_root ADD FOREIGN KEY (favourite) REFERENCES a_leaf;
)sql");
  const Schema schema = ReadSchema(*database.Connect());
  std::vector<std::string> order;
  for (const SchemaTable* table : schema.InForeignKeyOrder()) order.push_back(table->name.name);
  EXPECT_THAT(order, ElementsAre("self", "z_root", "m_middle", "a_leaf"));
}

TEST(ReadSchema, ReadsSqlite) {
  const testing::SqliteFile file;
  file.Run(R"sql(
CREATE TABLE "Parent ""x""" (id INTEGER PRIMARY KEY AUTOINCREMENT, Code TEXT NOT NULL UNIQUE
  CHECK (length(Code) <= 8 AND Code <> 'it''s) ('), -- CHECK (not this one)
  price NUMERIC(8,2) DEFAULT 0, twice REAL AS (price * 2),
  CONSTRAINT positive CHECK (price >= 0));
CREATE TABLE child (a INT, b TEXT, parent INTEGER REFERENCES "Parent ""x""" ON DELETE CASCADE,
  made DATETIME, ok BOOLEAN, PRIMARY KEY (b, a)) WITHOUT ROWID;
CREATE UNIQUE INDEX by_part ON child (made) WHERE ok;
CREATE UNIQUE INDEX by_expression ON child (lower(b));
CREATE TABLE strict_one (id INT PRIMARY KEY, x ANY, y BLOB NOT NULL) STRICT;
CREATE TABLE _understudy_journal (id);
CREATE TABLE _migration_log (id);
CREATE VIEW v AS SELECT 1;
)sql");
  const Schema schema = ReadSchema(*file.Connect());
  ASSERT_EQ(schema.tables.size(), 3U);
  const SchemaTable* parent = schema.Find({"main", "Parent \"x\""});
  ASSERT_NE(parent, nullptr);
  EXPECT_TRUE(parent->columns[0].sequence_default);
  EXPECT_FALSE(parent->columns[0].nullable);
  EXPECT_EQ(parent->columns[2].base_type, "real");
  EXPECT_EQ(parent->columns[2].scale, 2);
  EXPECT_TRUE(parent->columns[3].generated);
  ASSERT_EQ(parent->checks.size(), 2U);
  EXPECT_EQ(parent->checks[0].expression, "length(Code) <= 8 AND Code <> 'it''s) ('");
  EXPECT_THAT(parent->checks[0].columns, ElementsAre("Code"));
  EXPECT_EQ(parent->checks[1].name, "positive");
  ASSERT_EQ(parent->keys.size(), 2U);
  EXPECT_TRUE(parent->keys[0].primary);
  EXPECT_THAT(parent->keys[1].columns, ElementsAre("Code"));

  const SchemaTable* child = schema.Find({"main", "child"});
  EXPECT_TRUE(child->without_rowid);
  EXPECT_THAT(child->RowKey(), ElementsAre("b", "a"));
  ASSERT_EQ(child->foreign_keys.size(), 1U);
  EXPECT_EQ(child->foreign_keys[0].to, parent->name);
  EXPECT_THAT(child->foreign_keys[0].to_columns, ElementsAre("id"));
  EXPECT_EQ(child->foreign_keys[0].on_delete, 'c');
  EXPECT_TRUE(child->Column("made")->in_other_unique);
  EXPECT_TRUE(child->Column("b")->in_other_unique);
  EXPECT_FALSE(child->Column("parent")->in_other_unique);

  const SchemaTable* strict = schema.Find({"main", "strict_one"});
  EXPECT_EQ(strict->Column("x")->base_type, "any");
  EXPECT_FALSE(strict->Column("id")->sequence_default) << "INT is not INTEGER: no rowid alias";
}

}  // namespace
}  // namespace understudy::harness
