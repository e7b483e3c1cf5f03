// What becomes new objects and what stays production's.
#include <gmock/gmock.h>

#include "tests/engine/table_swap/shadow_fixture.h"

namespace understudy::table_swap {
namespace {
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;

constexpr const char* kCommon = R"(
  CREATE TYPE role AS ENUM ('user', 'admin');
  CREATE TYPE pair AS (a integer, r role);
  CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
  CREATE SEQUENCE ids;
  CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT n * 2';
  CREATE TABLE t (id integer PRIMARY KEY DEFAULT nextval('ids'), r role, p pair, n positive);
  CREATE FUNCTION of_row(t) RETURNS integer LANGUAGE sql AS 'SELECT $1.id';
  CREATE FUNCTION over_row_function() RETURNS integer LANGUAGE sql AS 'SELECT 1';
  CREATE VIEW v AS SELECT id, twice(id) FROM t;
)";

// hard-case 131
TEST_F(ShadowTest, SharesWhatIsIdenticalAndMovesWhatIsBoundToTables) {
  Both(kCommon);
  request.settings.preserved = {{"public", "t"}};
  const SetDecision decision = Decide();
  EXPECT_THAT(decision.refused, IsEmpty());
  EXPECT_THAT(Names(decision.shared),
              IsSupersetOf({"type public.role", "type public.pair", "domain public.positive",
                            "sequence public.ids", "function public.twice(integer)",
                            "function public.over_row_function()"}));
  EXPECT_THAT(Names(decision.moved),
              ElementsAre("function public.of_row(public.t)", "table public.t", "view public.v"));
}

TEST_F(ShadowTest, MovesWhatDiffersAndWhatIsBoundToIt) {
  Both(kCommon);
  source->Run(
      "CREATE OR REPLACE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT n + n'");
  target->Run(
      "DROP VIEW v; DROP TABLE t CASCADE; DROP TYPE pair; DROP TYPE role; CREATE TYPE role AS ENUM "
      "('admin', 'user'); "
      "CREATE TYPE pair AS (a integer, r role)");
  const SetDecision decision = Decide();
  EXPECT_THAT(decision.refused, IsEmpty());
  // pair is worded alike on both sides, but made of a role that is another one.
  EXPECT_THAT(Names(decision.moved), IsSupersetOf({"function public.twice(integer)",
                                                   "type public.role", "type public.pair"}));
  EXPECT_THAT(decision.warnings, Contains(HasSubstr("type public.role")));
}

// hard-case 39: rows from the source have drawn numbers that production's sequence has not given
// yet.
TEST_F(ShadowTest, TakesASharedSequenceAlongWithRowsThatUseIt) {
  Both(kCommon);
  source->Run("SELECT setval('ids', 500)");
  const SetDecision decision = Build();
  EXPECT_THAT(Names(decision.moved), Contains("sequence public.ids"));
  EXPECT_EQ(Value(*target, "SELECT last_value FROM understudy_shadow_public.ids"), "500");
  EXPECT_EQ(Value(*target, "SELECT is_called FROM public.ids"), "f");
}

// hard-case 54
TEST_F(ShadowTest, AppendsLabelsThatProductionLacks) {
  Both(kCommon);
  source->Run(
      "ALTER TYPE role ADD VALUE 'first' BEFORE 'user'; ALTER TYPE role ADD VALUE 'mid' AFTER "
      "'user'; "
      "ALTER TYPE role ADD VALUE 'last''s'");
  source->Run(
      "INSERT INTO t SELECT n, 'mid', ROW(n, 'last''s')::pair, n FROM generate_series(1, 3) n");
  const SetDecision decision = Build();
  EXPECT_THAT(decision.refused, IsEmpty());
  EXPECT_THAT(Names(decision.shared), Contains("type public.role"));
  EXPECT_EQ(Value(*target, "SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum"),
            "first,user,mid,admin,last's");
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM pg_type WHERE typname = 'role'"), "1");
  EXPECT_EQ(Value(*target, "SELECT string_agg(r::text, ',') FROM understudy_shadow_public.t"),
            "mid,mid,mid");
}

// hard-case 54
TEST_F(ShadowTest, RefusesAnotherTypeThatIsUsedOutsideTheSet) {
  Both(kCommon);
  target->Run(
      "CREATE SCHEMA other; CREATE TABLE other.log (r role); CREATE TABLE mine (n positive)");
  source->Run("ALTER DOMAIN positive ADD CHECK (VALUE < 9)");
  source->Run(
      "DROP VIEW v; DROP TABLE t CASCADE; DROP TYPE pair; DROP TYPE role; CREATE TYPE role AS ENUM "
      "('admin', 'user'); "
      "CREATE TABLE t (id integer PRIMARY KEY, r role, n positive)");
  const SetDecision decision = Decide();
  EXPECT_THAT(RefusalOf(decision, "type public.role"), HasSubstr("other.log"));
  EXPECT_THAT(RefusalOf(decision, "domain public.positive"), HasSubstr("public.mine"));
}

// hard-case 53: rows of a preserved root came from the source as well, by its partitions' names.
TEST_F(ShadowTest, TakesPartitionsForWhatTheirRootIs) {
  Both(
      "CREATE TABLE p (a integer PRIMARY KEY) PARTITION BY RANGE (a); "
      "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9) PARTITION BY LIST (a); "
      "CREATE TABLE p11 PARTITION OF p1 DEFAULT; "
      "CREATE TABLE q (a integer PRIMARY KEY, b integer REFERENCES p11) PARTITION BY RANGE (a); "
      "CREATE TABLE q1 PARTITION OF q DEFAULT");
  request.settings.preserved = {{"public", "q1"}};
  EXPECT_THAT(RefusalOf(Decide(), "table public.q1"), HasSubstr("public.q"));
  request.settings.preserved = {{"public", "p"}};
  const SetDecision decision = BuildSchema();
  EXPECT_THAT(decision.refused, IsEmpty());
  for (const SetTable& table : decision.tables) {
    EXPECT_EQ(table.preserved, table.name.name[0] == 'p') << table.name.Display();
  }
  EXPECT_EQ(WaitingForeignKeys(Scratch(context, request), request).size(), 1U);
}

TEST_F(ShadowTest, RefusesByNameWhatItCannotCarry) {
  Both(
      "CREATE SCHEMA far; CREATE TABLE p (a integer) PARTITION BY LIST (a); CREATE TABLE p1 "
      "PARTITION OF p FOR VALUES IN (1); "
      "CREATE TABLE kept (id integer PRIMARY KEY)");
  source->Run(R"(
    CREATE EXTENSION citext;
    CREATE TYPE box3 AS (a integer);
    CREATE FUNCTION to_text(box3) RETURNS text LANGUAGE sql AS $$ SELECT '' $$;
    CREATE CAST (box3 AS text) WITH FUNCTION to_text(box3);
    CREATE TABLE far.needed (id integer PRIMARY KEY);
    CREATE TABLE asks (id integer REFERENCES far.needed, c regclass);
    CREATE FOREIGN DATA WRAPPER fdw; CREATE SERVER srv FOREIGN DATA WRAPPER fdw;
    CREATE FOREIGN TABLE distant (a integer) SERVER srv;
    CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
    CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch();
  )");
  request.settings.exclude = {{"public", "p1"}};
  request.settings.preserved = {{"public", "no_such"}};
  const SetDecision decision = Decide();
  EXPECT_THAT(RefusalOf(decision, "extension citext"), HasSubstr("CREATE EXTENSION"));
  EXPECT_NE(RefusalOf(decision, "cast (public.box3 AS"), "");
  EXPECT_NE(RefusalOf(decision, "event trigger watching"), "");
  EXPECT_THAT(RefusalOf(decision, "table far.needed"), HasSubstr("schemas"));
  EXPECT_NE(RefusalOf(decision, "foreign table public.distant"), "");
  EXPECT_THAT(RefusalOf(decision, "table public.p1"), HasSubstr("inherits"));  // hard-case 53
  EXPECT_THAT(RefusalOf(decision, "table public.asks"), HasSubstr("regclass"));
  EXPECT_NE(RefusalOf(decision, "table public.no_such"), "");
  EXPECT_EQ(RefusalOf(decision, "table public.kept"), "");
}

// hard-case 45: the same name in two schemas, and names that are anything but identifiers.
TEST_F(ShadowTest, KeepsSeveralSchemasApart) {
  const char* tables = R"(
    CREATE SCHEMA "Other ""One"; CREATE SCHEMA abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabc;
    CREATE TABLE t (id integer PRIMARY KEY);
    CREATE TABLE "Other ""One".t (id integer PRIMARY KEY REFERENCES public.t);
    CREATE TABLE abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabc.t (id serial PRIMARY KEY);
  )";
  Both(tables);
  source->Run(R"(INSERT INTO t VALUES (1); INSERT INTO "Other ""One".t VALUES (1);
    INSERT INTO abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabc.t VALUES (DEFAULT), (DEFAULT))");
  request.settings.schemas = {"public", "Other \"One",
                              "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabc"};
  const SetDecision decision = Build();
  EXPECT_THAT(decision.refused, IsEmpty());
  EXPECT_EQ(
      Value(
          *target,
          R"(SELECT count(*) FROM "understudy_shadow_Other ""One".t JOIN understudy_shadow_public.t USING (id))"),
      "1");
  EXPECT_EQ(Value(*target,
                  "SELECT count(*) FROM " +
                      db::TableName{NamesBeside(request.settings.schemas[2]).shadow, "t"}.Quoted()),
            "2");
  EXPECT_EQ(
      Value(*target, R"(SELECT confrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND
    connamespace = '"understudy_shadow_Other ""One"'::regnamespace)"),
      "understudy_shadow_public.t");
}

TEST_F(ShadowTest, AppliesTheUsersFilesToACopyOfTheSchema) {
  target->Run(R"(
    CREATE TYPE role AS ENUM ('user');
    CREATE TABLE "User" (id integer PRIMARY KEY, r role, name text);
    CREATE TABLE "Session" (id serial PRIMARY KEY, owner integer REFERENCES "User");
    INSERT INTO "User" VALUES (1, 'user', 'x');
  )");
  FromSql(R"(
    BEGIN; ALTER TABLE "User" ALTER COLUMN id TYPE bigint; COMMIT;
    CREATE INDEX CONCURRENTLY by_name ON "User" (name);
    CREATE TABLE "New" (id integer PRIMARY KEY);
  )");
  const SetDecision decision = Build();
  EXPECT_THAT(decision.refused, IsEmpty());
  EXPECT_THAT(Names(decision.shared), ElementsAre("type public.role"));
  EXPECT_EQ(Value(*target,
                  "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = "
                  "'understudy_shadow_public.\"User\"'::regclass AND attname = 'id'"),
            "bigint");
  EXPECT_EQ(Value(*target,
                  "SELECT count(*) FROM pg_indexes WHERE indexname = 'by_name' AND schemaname "
                  "= 'understudy_shadow_public'"),
            "1");
  EXPECT_EQ(Value(*target, "SELECT name FROM public.\"User\""), "x");
  const Scratch scratch(context, request);
  const auto waiting = WaitingForeignKeys(scratch, request);
  ASSERT_EQ(waiting.size(), 1U);
  EXPECT_EQ(waiting[0].definition, "FOREIGN KEY (owner) REFERENCES \"public\".\"User\"(id)");
  EXPECT_TRUE(waiting[0].references_set);
}

TEST_F(ShadowTest, NamesTheLineOfAFileThatDoesNotFit) {
  target->Run("CREATE TABLE t (id integer)");
  FromSql("SELECT 1;\n\nALTER TABLE no_such ADD x integer;\n");
  try {
    BuildSchema();
    FAIL() << "it was applied";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(".sql:3:"));
    EXPECT_THAT(error.what(), HasSubstr("no_such"));
  }
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'understudy\\_%'"),
            "0");
}

}  // namespace
}  // namespace understudy::table_swap
