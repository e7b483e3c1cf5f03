#include "engine/table_swap/mover.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/table_swap/manifest.h"
#include "engine/table_swap/settings.h"
#include "tests/support/server.h"

namespace understudy::table_swap {
namespace {
using testing::Database;
using ::testing::HasSubstr;

// One of everything that a schema can hold.
constexpr const char* kZoo = R"(
CREATE EXTENSION pg_trgm;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a integer, b text);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE COLLATION german (locale = 'C');
CREATE SEQUENCE counter;
CREATE TABLE "Odd ""Name" (id serial PRIMARY KEY, m mood, p pair, n positive, t text COLLATE german,
                           r span, g integer GENERATED ALWAYS AS IDENTITY);
CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE STATISTICS odd_stats ON m, n FROM "Odd ""Name";
CREATE VIEW v AS SELECT * FROM "Odd ""Name";
CREATE MATERIALIZED VIEW mv AS SELECT * FROM v;
CREATE FUNCTION add(a integer, b integer) RETURNS integer LANGUAGE sql AS 'SELECT a + b';
CREATE FUNCTION add(a text, VARIADIC b text[]) RETURNS text LANGUAGE sql AS 'SELECT a';
CREATE FUNCTION f("Odd ""Name") RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION outs(a integer, OUT b integer, OUT c mood) LANGUAGE sql AS 'SELECT 1, ''ok''::mood';
CREATE PROCEDURE work(n integer, INOUT m integer) LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE AGGREGATE total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE AGGREGATE counted(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE middle(float8 ORDER BY anyelement)
  (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = integer, RIGHTARG = integer);
CREATE OPERATOR CLASS ints FOR TYPE integer USING btree AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
  FUNCTION 1 btint4cmp(integer, integer);
CREATE TEXT SEARCH CONFIGURATION english2 (COPY = english);
CREATE TEXT SEARCH DICTIONARY simple2 (TEMPLATE = simple);
CREATE FOREIGN DATA WRAPPER dummy;
CREATE SERVER far FOREIGN DATA WRAPPER dummy;
CREATE FOREIGN TABLE distant (a integer) SERVER far;
)";

std::vector<std::string> Left(db::Session& session, const std::string& schema) {
  std::vector<std::string> left;
  // Whatever the catalogs still call by the schema's name and no extension owns.
  for (const db::Row& row : session
                                .Query(R"(
WITH c AS (
  SELECT 'pg_class'::regclass::oid AS class, oid, relname::text AS name, relnamespace AS space FROM pg_class
  UNION ALL SELECT 'pg_type'::regclass, oid, typname::text, typnamespace FROM pg_type
  UNION ALL SELECT 'pg_proc'::regclass, oid, proname::text, pronamespace FROM pg_proc
  UNION ALL SELECT 'pg_constraint'::regclass, oid, conname::text, connamespace FROM pg_constraint
  UNION ALL SELECT 'pg_operator'::regclass, oid, oprname::text, oprnamespace FROM pg_operator
  UNION ALL SELECT 'pg_opclass'::regclass, oid, opcname::text, opcnamespace FROM pg_opclass
  UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfname::text, opfnamespace FROM pg_opfamily
  UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxname::text, stxnamespace FROM pg_statistic_ext
  UNION ALL SELECT 'pg_collation'::regclass, oid, collname::text, collnamespace FROM pg_collation
  UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgname::text, cfgnamespace FROM pg_ts_config
  UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictname::text, dictnamespace FROM pg_ts_dict)
SELECT class::regclass || ' ' || name FROM c
WHERE space = (SELECT oid FROM pg_namespace WHERE nspname = $1)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = c.class AND d.objid = c.oid AND d.deptype = 'e')
  -- the array types of an extension's types depend on those
  AND NOT (class = 'pg_type'::regclass AND EXISTS (
    SELECT FROM pg_type e JOIN pg_depend d ON d.objid = e.oid AND d.deptype = 'e' WHERE e.typarray = c.oid)))",
                                       {db::Value::Text(schema)})
                                .rows) {
    left.push_back(row[0].text);
  }
  return left;
}

void MoveAll(db::Session& session, const std::string& from, const std::string& to) {
  std::string sql;
  for (const Movable& object : ListMovables(session, {from})) sql += MoveSql(object, to) + "\n";
  session.Execute(sql);
}

// hard-case 45: mixed case, quotes and spaces. hard-case 53: partitions move by themselves.
TEST(Mover, MovesEverythingThatASchemaCanHoldThereAndBack) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kZoo);
  const auto session = database.Connect();
  session->Execute("CREATE SCHEMA away");
  const auto before = ListMovables(*session, {"public"});
  MoveAll(*session, "public", "away");
  EXPECT_THAT(Left(*session, "public"), ::testing::IsEmpty());
  MoveAll(*session, "away", "public");
  EXPECT_THAT(Left(*session, "away"), ::testing::IsEmpty());
  const auto after = ListMovables(*session, {"public"});
  ASSERT_EQ(before.size(), after.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i].Key(), after[i].Key());
    EXPECT_EQ(before[i].oid, after[i].oid);
  }
  EXPECT_GE(before.size(), 25U);
}

// hard-case 55: what an extension owns stays where it is.
TEST(Mover, LeavesMembersOfExtensionsWhereTheyAre) {
  NEED_POSTGRES();
  const Database database;
  database.Run("CREATE EXTENSION pg_trgm; CREATE TABLE t (a text)");
  const auto session = database.Connect();
  const auto objects = ListMovables(*session, {"public"});
  ASSERT_EQ(objects.size(), 1U);
  EXPECT_EQ(objects[0].Display(), "table public.t");
}

TEST(Mover, NamesWhatCannotBeMoved) {
  NEED_POSTGRES();
  const Database database;
  database.Run(
      "CREATE TYPE pair AS (a integer, b text);"
      "CREATE CAST (pair AS text) WITH INOUT;"
      "CREATE FUNCTION hush() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;"
      "CREATE EVENT TRIGGER hush ON ddl_command_end EXECUTE FUNCTION hush()");
  const auto session = database.Connect();
  const auto all = ListUnmovables(*session, {"public"});
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].object, "cast (public.pair AS pg_catalog.text)");
  EXPECT_EQ(all[1].object, "event trigger hush");
  EXPECT_THAT(ListUnmovables(*session, {"other"}), ::testing::IsEmpty());
}

// hard-case 43: names near 63 bytes get a digest and never collide.
TEST(Manifest, CutsLongSchemaNamesAndKeepsThemApart) {
  EXPECT_EQ(NamesBeside("public").shadow, "understudy_shadow_public");
  EXPECT_EQ(NamesBeside("public").backup, "understudy_backup_public");
  const std::string common(60, 'x');
  const auto a = NamesBeside(common + "a");
  const auto b = NamesBeside(common + "b");
  EXPECT_EQ(a.shadow.size(), 63U);
  EXPECT_NE(a.shadow, b.shadow);
  EXPECT_NE(a.shadow, a.backup);
  std::string wide;
  for (int i = 0; i < 31; ++i) wide += "é";
  const auto c = NamesBeside(wide + "x");
  EXPECT_LE(c.shadow.size(), 63U);
  EXPECT_EQ(static_cast<unsigned char>(c.shadow[c.shadow.size() - 10]) & 0xC0U, 0x80U)
      << "cut inside a character: " << c.shadow;
}

TEST(Manifest, IsKeptInTheJournal) {
  NEED_POSTGRES();
  const Database database;
  const auto session = database.Connect();
  core::Journal journal(*session, "m");
  journal.Create();
  journal.Save({"table-swap", "d", core::State::kPreparing, 1, Json::object()});
  EXPECT_FALSE(Manifest::Load(journal).has_value());
  Manifest manifest;
  manifest.schemas = {NamesBeside("public")};
  manifest.tables = {{{"public", "User"}, true, false, 5, 4000000000U}};
  manifest.old_objects = {{"FUNCTION", 6, "public", "f", "(integer)"}};
  manifest.foreign_keys = {{{"public", "a"},
                            "fk",
                            {"b_id"},
                            {"public", "b"},
                            {"id"},
                            true,
                            true,
                            false,
                            "FOREIGN KEY (b_id) REFERENCES public.b(id)",
                            "why"}};
  manifest.triggers = {{{"public", "a"}, "touch", false, 'A'}};
  manifest.built = true;
  manifest.Save(journal);
  const auto loaded = Manifest::Load(journal);
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->Shadow({"public", "User"}).Quoted(), "\"understudy_shadow_public\".\"User\"");
  EXPECT_EQ(loaded->Find({"public", "User"})->new_oid, 4000000000U);
  EXPECT_EQ(loaded->old_objects[0].Key(), manifest.old_objects[0].Key());
  EXPECT_EQ(loaded->foreign_keys[0].definition, manifest.foreign_keys[0].definition);
  EXPECT_EQ(loaded->triggers[0].enabled, 'A');
  EXPECT_TRUE(loaded->built);
  EXPECT_FALSE(loaded->copied);
}

core::Spec SpecOf(const Json& document) {
  core::Spec spec;
  spec.document = document;
  for (const char* role : {"source", "target"}) {
    if (document.contains(role)) {
      spec.endpoints.emplace(role, db::Endpoint::Parse(document[role].get<std::string>()));
    }
  }
  return spec;
}

TEST(Settings, ReadsTablesAndRulesOfColumns) {
  const Settings settings = Settings::Read(
      SpecOf({{"target", "postgres://x/t"},
              {"source", "postgres://x/s"},
              {"schema", {{"from", "source"}}},
              {"preserved", {"\"User\"", "public.session"}},
              {"columns", {{"session", {{"b", {{"from", "a"}}}, {"c", {{"default", true}}}}}}}}));
  EXPECT_TRUE(settings.IsPreserved({"public", "User"}));
  EXPECT_TRUE(settings.IsPreserved({"public", "session"}));
  EXPECT_FALSE(settings.IsPreserved({"public", "area"}));
  EXPECT_EQ(settings.columns.at({"public", "session"}).at("b").text, "a");
  EXPECT_FALSE(settings.reverse);
}

TEST(Settings, NamesTheKeyThatIsWrong) {
  const auto message = [](const Json& document) -> std::string {
    try {
      Settings::Read(SpecOf(document));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec);
      return error.message();
    }
    return "";
  };
  const Json good = {
      {"target", "postgres://x/t"}, {"source", "postgres://x/s"}, {"schema", {{"from", "source"}}}};
  EXPECT_EQ(message(good), "");
  const auto with = [&](const char* key, const Json& value) {
    Json changed = good;
    changed[key] = value;
    return message(changed);
  };
  EXPECT_THAT(with("schema", {{"from", "elsewhere"}}), HasSubstr("/schema/from"));
  EXPECT_THAT(with("preserved", {"other.t"}), HasSubstr("/preserved/0: other.t"));
  EXPECT_THAT(with("preserved", {"a.b.c"}), HasSubstr("/preserved/0"));
  EXPECT_THAT(with("orphans", "keep"), HasSubstr("/orphans: allowed: fail, drop"));
  EXPECT_THAT(with("columns", {{"t", {{"c", 1}}}}), HasSubstr("/columns/t/c"));
  EXPECT_THAT(with("target", "x.sqlite"), HasSubstr("/target: a table swap needs PostgreSQL"));
  EXPECT_THAT(with("schemas", {"pg_catalog"}), HasSubstr("/schemas"));
  Json no_source = good;
  no_source.erase("source");
  EXPECT_THAT(message(no_source), HasSubstr("/source"));
}

}  // namespace
}  // namespace understudy::table_swap
