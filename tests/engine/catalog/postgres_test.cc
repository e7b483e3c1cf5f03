#include "engine/catalog/postgres.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/server.h"

namespace understudy::catalog {
namespace {

using testing::Database;
using ::testing::ElementsAre;

Table The(const std::vector<Table>& tables, const std::string& name) {
  for (const Table& table : tables) {
    if (table.name.name == name) return table;
  }
  ADD_FAILURE() << "no table " << name;
  return {};
}

// hard-case 7, 40, 41, 45
TEST(CatalogPostgres, ReadsColumnsAsSqlWritesThem) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TYPE public."Mood" AS ENUM ('good', 'bad');
    CREATE DOMAIN public.small AS varchar(10) NOT NULL;
    CREATE DOMAIN public.smaller AS public.small CHECK (value <> '');
    CREATE TABLE public."A b" (
      "Id" bigint GENERATED ALWAYS AS IDENTITY,
      mood public."Mood" NOT NULL DEFAULT 'good',
      gone int,
      name public.smaller,
      price numeric(10,2),
      twice numeric GENERATED ALWAYS AS (price * 2) STORED,
      raw text COLLATE "C",
      PRIMARY KEY ("Id"));
    ALTER TABLE public."A b" DROP COLUMN gone;)");
  const auto session = database.Connect();
  const std::vector<Table> tables = ReadTables(*session, {"public"});
  ASSERT_EQ(tables.size(), 1U);
  const Table& table = tables[0];
  EXPECT_EQ(table.name.Quoted(), "\"public\".\"A b\"");
  ASSERT_EQ(table.columns.size(), 6U);
  EXPECT_EQ(table.columns[0].identity, 'a');
  EXPECT_EQ(table.columns[1].type, "public.\"Mood\"");
  EXPECT_EQ(table.columns[1].attnum, 2);
  EXPECT_EQ(table.columns[2].type, "public.smaller");
  EXPECT_EQ(table.columns[2].base_type, "character varying(10)");
  EXPECT_EQ(table.columns[2].attnum, 4);
  EXPECT_EQ(table.columns[3].type, "numeric(10,2)");
  EXPECT_EQ(table.columns[4].generated, 's');
  EXPECT_EQ(table.columns[5].collation, "pg_catalog.\"C\"");
  ASSERT_TRUE(table.key.has_value());
  EXPECT_THAT(table.key->columns, ElementsAre("Id"));
  EXPECT_THAT(table.key->equals, ElementsAre("OPERATOR(pg_catalog.=)"));
}

TEST(CatalogPostgres, TakesOnlyKeysThatNameEveryRow) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (
      a int NOT NULL, b text NOT NULL, maybe int, "c,d" uuid NOT NULL, tags int[] NOT NULL);
    CREATE UNIQUE INDEX nullable ON public.t (maybe);
    CREATE UNIQUE INDEX partial ON public.t (a) WHERE a > 0;
    CREATE UNIQUE INDEX expression ON public.t (lower(b));
    CREATE UNIQUE INDEX wide ON public.t (b text_pattern_ops, "c,d") INCLUDE (a);
    CREATE UNIQUE INDEX array_key ON public.t (tags);
    ALTER TABLE public.t ADD CONSTRAINT later UNIQUE (a) DEFERRABLE;
    CREATE TABLE public.none (a int);)");
  const auto session = database.Connect();
  const std::vector<Table> tables = ReadTables(*session, {"public"});
  EXPECT_FALSE(The(tables, "none").key.has_value());
  const Table table = The(tables, "t");
  ASSERT_EQ(table.keys.size(), 3U);
  EXPECT_THAT(table.keys[0].columns, ElementsAre("tags"));
  EXPECT_THAT(table.keys[1].columns, ElementsAre("b", "c,d"));
  EXPECT_TRUE(table.keys[2].deferrable);
}

TEST(CatalogPostgres, ReadsPartitionsAndLeavesExtensionsOut) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE EXTENSION pg_trgm;
    CREATE TABLE public.p (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO public.p SELECT i, '2026-05-05' FROM generate_series(1, 100) i;)");
  const auto session = database.Connect();
  const std::vector<Table> tables = ReadTables(*session, {"public"});
  ASSERT_EQ(tables.size(), 2U);
  EXPECT_EQ(The(tables, "p").kind, 'p');
  EXPECT_EQ(The(tables, "p1").partition_of, The(tables, "p").oid);
  EXPECT_EQ(The(tables, "p").bytes, The(tables, "p1").bytes);
  EXPECT_GT(The(tables, "p").bytes, 0);
  ASSERT_TRUE(The(tables, "p").key.has_value());
  EXPECT_THAT(The(tables, "p").key->columns, ElementsAre("id", "day"));
  const auto by_oid = ReadTablesByOid(*session, {The(tables, "p1").oid, 1, The(tables, "p").oid});
  ASSERT_EQ(by_oid.size(), 2U);
  EXPECT_EQ(by_oid[0].name.name, "p1");
}

// hard-case 46: composite, to and from, NOT VALID, deferrable, across schemas.
TEST(CatalogPostgres, ReadsForeignKeysOfBothDirectionsOnce) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE SCHEMA other;
    CREATE TABLE public.a (x int, y int, up int, PRIMARY KEY (x, y), UNIQUE (x),
      CONSTRAINT self FOREIGN KEY (up) REFERENCES public.a (x) DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE other.b (y int, x int);
    ALTER TABLE other.b ADD CONSTRAINT far FOREIGN KEY (x, y) REFERENCES public.a MATCH FULL
      NOT VALID;)");
  const auto session = database.Connect();
  const Oid a = ReadTables(*session, {"public"}).at(0).oid;
  const std::vector<ForeignKey> keys = ReadForeignKeys(*session, {a});
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[0].from.Display(), "other.b");
  EXPECT_THAT(keys[0].from_columns, ElementsAre("x", "y"));
  EXPECT_THAT(keys[0].to_columns, ElementsAre("x", "y"));
  EXPECT_FALSE(keys[0].validated);
  EXPECT_TRUE(keys[0].match_full);
  EXPECT_EQ(keys[1].name, "self");
  EXPECT_TRUE(keys[1].deferred);
  EXPECT_EQ(keys[1].from_oid, keys[1].to_oid);
}

TEST(CatalogPostgres, ReadsArraysAsTheServerWritesThem) {
  EXPECT_THAT(ParseArray("{}"), ElementsAre());
  EXPECT_THAT(ParseArray(R"({a,"b c","d\"e\\",NULL,"NULL",""})"),
              ElementsAre("a", "b c", "d\"e\\", "", "NULL", ""));
}

}  // namespace
}  // namespace understudy::catalog
