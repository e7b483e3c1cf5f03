#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/db/identifier.h"
#include "harness/snapshot/snapshot.h"
#include "tests/support/ddl_changes.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using testing_database = understudy::testing::Database;

std::string Text(const std::vector<CatalogChange>& changes) {
  std::string text;
  for (const CatalogChange& change : changes) text += ToLine(ToJson(change)) + "\n";
  return text;
}

void RunChange(const testing_database& database, const understudy::testing::DdlChange& change) {
  try {
    database.Run(change.sql);
    ASSERT_FALSE(change.may_fail) << change.sql;
  } catch (const Error& error) {
    ASSERT_TRUE(change.may_fail) << change.sql << "\n" << error.what();
  }
}

TEST(PostgresCatalog, EveryChangeIsFoundWithItsPathAndNothingElseIs) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run(understudy::testing::kPostgresSchema);
  const auto session = database.Connect();
  Snapshot before = TakeCatalog(*session);
  EXPECT_THAT(DiffCatalogs(before, TakeCatalog(*session)), ::testing::IsEmpty());
  for (const auto& change : understudy::testing::PostgresChanges()) {
    if (session->Server().version < change.since) continue;
    RunChange(database, change);
    Snapshot after = TakeCatalog(*session);
    const std::vector<CatalogChange> changes = DiffCatalogs(before, after);
    bool found = false;
    for (const CatalogChange& c : changes) {
      if (c.path == change.path) {
        found = true;
        EXPECT_EQ(c.change, change.change) << c.path;
        EXPECT_EQ(c.severity == Severity::kWorse, change.worse) << Text({c});
        continue;
      }
      bool expected = false;
      for (const std::string& pattern : change.also) {
        expected = expected || MatchesPath(c.path, pattern);
      }
      EXPECT_TRUE(expected) << change.sql << "\nalso reported " << Text({c});
    }
    EXPECT_TRUE(found) << change.sql << "\nwas not reported as " << change.path << " but as\n"
                       << Text(changes);
    before = std::move(after);
  }
}

TEST(PostgresCatalog, ADumpRestoredElsewhereIsTheSame) {
  NEED_POSTGRES();
  if (FindProgram("pg_dump").empty()) GTEST_SKIP() << "no pg_dump on this machine";
  const testing_database from;
  const testing_database to;
  from.Run(understudy::testing::kPostgresSchema);
  // Dropped columns, a constraint of every form that the server rewrites, settings of sessions.
  from.Run(R"(
    ALTER TABLE app.customers DROP note;
    CREATE TABLE app.forms (
      v varchar(5) CHECK (v IN ('a', 'it''s', 'x,(y')), c char(2) CHECK (c NOT IN ('a', 'b')),
      d date DEFAULT '2020-01-02' CHECK (d > '1999-12-31'), i interval DEFAULT '1 day 02:00',
      ts timestamptz DEFAULT '2020-01-01 00:00+00', f float8 DEFAULT 0.1, b bytea DEFAULT '\x00ff',
      arr text[] DEFAULT ARRAY['a', NULL], n numeric DEFAULT 1.50, t time DEFAULT '24:00');
    CREATE INDEX forms_v_idx ON app.forms (v) WHERE v IN ('a', 'b');
    CREATE VIEW app.forms_view AS SELECT * FROM app.forms WHERE v IN ('a', 'b') AND v LIKE ANY (ARRAY['a%']);
    CREATE POLICY forms_policy ON app.forms USING (v IN ('a', 'b'));
    REVOKE ALL ON app.forms FROM postgres;
    CREATE TABLE app.child () INHERITS (app.orders);
    ALTER TABLE app.orders ADD CONSTRAINT orders_nv CHECK (a > 0) NOT VALID;
    ALTER TABLE app.orders DISABLE TRIGGER orders_touch;
)");
  if (from.Connect()->Server().version >= 140000) {
    from.Run(
        "CREATE FUNCTION app.atomic(x integer) RETURNS integer LANGUAGE sql "
        "BEGIN ATOMIC SELECT x + 1; END");
  }
  Command dump;
  dump.argv = {"pg_dump"};
  dump.environment = from.endpoint().Environment();
  dump.keep_bytes = 10U << 20U;
  const Outcome dumped = RunCommand(dump);
  if (dumped.err.find("server version mismatch") != std::string::npos) {
    GTEST_SKIP() << "pg_dump is older than the server";
  }
  ASSERT_TRUE(dumped.ok()) << dumped.err;
  Command restore;
  restore.argv = {"psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"};
  restore.environment = to.endpoint().Environment();
  restore.input = dumped.out;
  const Outcome restored = RunCommand(restore);
  ASSERT_TRUE(restored.ok()) << restored.err;

  const Snapshot left = TakeCatalog(*from.Connect());
  const Snapshot right = TakeCatalog(*to.Connect());
  EXPECT_GT(left.objects.size(), 100U);
  EXPECT_EQ(Text(DiffCatalogs(left, right)), "");
}

TEST(PostgresCatalog, TheSettingsOfDatabaseAndRoleChangeNothing) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run(understudy::testing::kPostgresSchema);
  const Snapshot before = TakeCatalog(*database.Connect());
  const std::string name = database.endpoint().Setting("dbname");
  for (const char* setting :
       {"TimeZone = 'America/St_Johns'", "DateStyle = 'German, DMY'", "search_path = app, public",
        "IntervalStyle = 'iso_8601'", "quote_all_identifiers = on", "extra_float_digits = -5",
        "bytea_output = 'escape'", "standard_conforming_strings = off"}) {
    database.Run("ALTER DATABASE " + name + " SET " + setting);
  }
  const auto changes = DiffCatalogs(before, TakeCatalog(*database.Connect()));
  ASSERT_EQ(changes.size(), 1U) << Text(changes);
  EXPECT_EQ(changes[0].path, "database:this#settings");
}

// hard-case 109
TEST(PostgresCatalog, AnObjectThatExistsAndAilsIsWorseAlsoWhenItIsNew) {
  NEED_POSTGRES();
  const testing_database database;
  const Snapshot empty = TakeCatalog(*database.Connect());
  database.Run(R"(
    CREATE TABLE public.t (a integer PRIMARY KEY, b integer REFERENCES public.t, c integer);
    INSERT INTO public.t VALUES (1, 1, 1), (2, 1, 1);
    CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER g BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f();
    ALTER TABLE public.t ADD CONSTRAINT n CHECK (a > 0) NOT VALID;
    ALTER TABLE public.t DISABLE TRIGGER ALL;
    CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS x WITH NO DATA;)");
  EXPECT_THROW(database.Run("CREATE UNIQUE INDEX CONCURRENTLY i ON public.t (c)"), Error);
  std::map<std::string, std::string> worse;
  for (const CatalogChange& change : DiffCatalogs(empty, TakeCatalog(*database.Connect()))) {
    EXPECT_EQ(change.change, "added") << change.path;
    if (change.severity == Severity::kWorse) worse[change.path] = change.property;
  }
  EXPECT_EQ(worse,
            (std::map<std::string, std::string>{{"constraint:public.t.n", "validated"},
                                                {"constraint:public.t.t_b_fkey", "triggers_off"},
                                                {"index:public.i", "valid"},
                                                {"materialized-view:public.m", "populated"},
                                                {"trigger:public.t.g", "enabled"}}));
}

TEST(PostgresCatalog, AThousandTablesAreReadInOneShortTransaction) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run(R"(
    DO $$ BEGIN
      FOR i IN 1..1000 LOOP
        EXECUTE format('CREATE TABLE public.t%s (id serial PRIMARY KEY, a text NOT NULL, b numeric(10,2) '
                       'DEFAULT 0, c integer CHECK (c > 0))', i);
      END LOOP;
    END $$)");
  const auto session = database.Connect();
  const auto start = SteadyClock::now();
  const Snapshot snapshot = TakeCatalog(*session);
  const double ms = MillisecondsSince(start);
  EXPECT_GE(snapshot.objects.size(), 9000U);  // table, 4 columns, 2 constraints, index, sequence
  RecordProperty("milliseconds", std::to_string(ms));
  std::printf("1000 tables: %.0f ms\n", ms);
  EXPECT_LT(ms, 20000);
}

TEST(PostgresCatalog, MembersOfExtensionsAreLeftOutAndTheExtensionIsIn) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run("CREATE EXTENSION pg_trgm");
  int extensions = 0;
  for (const CatalogObject& object : TakeCatalog(*database.Connect()).objects) {
    if (object.kind == "extension") ++extensions;
    EXPECT_NE(object.kind, "function") << object.path;
    EXPECT_NE(object.kind, "type") << object.path;
    EXPECT_NE(object.kind, "operator") << object.path;
  }
  EXPECT_EQ(extensions, 2);  // and plpgsql
}

TEST(PostgresCatalog, WhatIsNotReadIsListed) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run(
      "SELECT lo_create(0); SELECT lo_create(0);"
      "CREATE TEXT SEARCH CONFIGURATION public.words (COPY = pg_catalog.simple)");
  std::map<std::string, std::string> not_checked;
  for (const NotChecked& one : TakeCatalog(*database.Connect()).not_checked) {
    not_checked[one.what] = one.why;
  }
  EXPECT_EQ(not_checked.count("large objects (2)"), 1U);
  EXPECT_EQ(not_checked.count("text search configurations (1)"), 1U);
}

TEST(PostgresCatalog, ARoleThatMayNotReadEverythingGetsWhatItMay) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run(understudy::testing::kPostgresSchema);
  const std::string role = "weak_" + database.endpoint().Setting("dbname");
  const std::string password = database.endpoint().Setting("password");
  database.Run("CREATE ROLE " + role + " LOGIN" +
               (password.empty() ? "" : " PASSWORD " + db::QuoteLiteral(password)));
  const Snapshot snapshot =
      TakeCatalog(*db::Connect(database.endpoint().WithSetting("user", role)));
  EXPECT_GT(snapshot.objects.size(), 100U);
  bool told = false;
  for (const NotChecked& one : snapshot.not_checked) {
    told = told || one.what == "the value of sequence app.down";
  }
  EXPECT_TRUE(told);
  database.Run("DROP ROLE " + role);
}

TEST(PostgresCatalog, ReadsEveryKindOfTheShop) {
  NEED_POSTGRES();
  const std::filesystem::path schema =
      std::filesystem::path(UNDERSTUDY_SOURCE_DIR) / "fixtures/shop/schema.sql";
  if (!std::filesystem::exists(schema)) GTEST_SKIP() << "no " << schema;
  const testing_database database;
  database.Run(ReadFile(schema));
  std::map<std::string, int> kinds;
  for (const CatalogObject& object : TakeCatalog(*database.Connect()).objects) {
    ++kinds[object.kind];
    EXPECT_FALSE(Describe(object).empty()) << object.path;
  }
  for (const char* kind : {"table", "column", "constraint", "index", "sequence", "trigger", "view",
                           "materialized-view", "function"}) {
    EXPECT_GE(kinds[kind], 1) << kind;
  }
  EXPECT_GE(kinds["table"], 7);
}

TEST(PostgresCatalog, NoSecretOfAForeignServerIsRead) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run(understudy::testing::kPostgresSchema);
  const std::string text = ToText(TakeCatalog(*database.Connect()).ToJson());
  EXPECT_EQ(text.find("hidden"), std::string::npos);
  EXPECT_NE(text.find("password=***"), std::string::npos);
}

}  // namespace
}  // namespace understudy::harness
