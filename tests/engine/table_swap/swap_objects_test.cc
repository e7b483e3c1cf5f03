#include "tests/engine/table_swap/swap_fixture.h"

// What the objects of a database are like behind an exchange.
namespace understudy::table_swap {
namespace {
using ::testing::HasSubstr;
using Kind = core::PhaseOutcome::Kind;

TEST(TableSwapObjects, KeepsGrantsOfColumnsWhereThoseOfTheTableChange) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "DROP ROLE IF EXISTS understudy_test_app; CREATE ROLE understudy_test_app;"
      "CREATE TABLE t (id integer PRIMARY KEY, a text, b text);"
      "INSERT INTO t VALUES (1, 'a', 'b');"
      "GRANT SELECT ON t TO understudy_test_app; GRANT UPDATE (a) ON t TO understudy_test_app");
  world.SchemaBySql("ALTER TABLE public.t ALTER COLUMN id TYPE bigint");
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  world.target().Run("GRANT DELETE ON t TO understudy_test_app");
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT has_column_privilege('understudy_test_app', 'public.t', 'a', "
                         "'UPDATE') AND has_table_privilege('understudy_test_app', 'public.t', "
                         "'DELETE')"),
            "t");
  world.target().Run("DROP OWNED BY understudy_test_app");
}

TEST(TableSwapObjects, RefusesWhatIsWrittenWithoutItsOperators) {
  NEED_POSTGRES();
  const char* const objects[] = {
      "CREATE VIEW SCHEMA.lost AS SELECT id FROM t JOIN (SELECT f AS e FROM t) x USING (e)",
      "CREATE VIEW SCHEMA.lost AS SELECT id FROM t WHERE e IS DISTINCT FROM f",
      "CREATE VIEW SCHEMA.lost AS SELECT id, CASE e WHEN 'a' THEN 1 END AS c, e = f AS d FROM t",
      "CREATE RULE lost AS ON DELETE TO SCHEMA.u DO ALSO DELETE FROM t WHERE nullif(e, f) IS NULL",
      "CREATE TRIGGER lost BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.p IS DISTINCT FROM NEW.p) "
      "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
      "CREATE POLICY lost ON SCHEMA.u USING (EXISTS (SELECT FROM t WHERE nullif(t.e, t.f) IS "
      "NULL))",
      "CREATE INDEX lost ON t (nullif(e, f))",
      "ALTER TABLE t ADD CONSTRAINT lost CHECK (e IS DISTINCT FROM 'x')",
      "CREATE FUNCTION SCHEMA.lost() RETURNS SETOF integer BEGIN ATOMIC SELECT id FROM t WHERE "
      "nullif(e, f) IS NULL; END"};
  for (const std::string schema : {"public", "out"}) {
    for (std::string object : objects) {
      if (schema == "out" && object.find("SCHEMA") == std::string::npos) continue;
      if (const auto at = object.find("SCHEMA"); at != std::string::npos) {
        object.replace(at, 6, schema);
      }
      SwapWorld world(false);
      world.target().Run(
          "CREATE EXTENSION citext; CREATE EXTENSION cube; CREATE SCHEMA out;"
          "CREATE TABLE t (id integer PRIMARY KEY, e citext, f citext, p cube);"
          "CREATE TABLE " +
          schema + ".u (id integer PRIMARY KEY);" + object);
      world.SchemaBySql("ALTER TABLE public.t ALTER COLUMN id SET DEFAULT 7");
      EXPECT_THAT(Refusals(world.Plan()), HasSubstr("lost")) << object;
      const core::PhaseOutcome outcome = world.Prepare();
      EXPECT_EQ(outcome.kind, Kind::kRefused) << object << outcome.message;
      EXPECT_THAT(outcome.message, HasSubstr("lost"));
      EXPECT_THAT(outcome.message, HasSubstr("without the operator"));
    }
  }
}

TEST(TableSwapObjects, CarriesWhatIsWrittenWithItsOperators) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE EXTENSION citext; CREATE EXTENSION cube; CREATE SCHEMA out;"
      "CREATE TABLE t (id integer PRIMARY KEY, e citext CHECK (e <> 'x'), f citext, p cube);"
      "INSERT INTO t VALUES (1, 'A', 'a');"
      "CREATE VIEW inside AS SELECT DISTINCT t.e FROM t JOIN t x ON t.e = x.f WHERE t.e IN ('a', "
      "'b') "
      "AND t.e IN (SELECT f FROM t) AND t.e BETWEEN 'a' AND 'c' GROUP BY t.e ORDER BY 1;"
      "CREATE VIEW out.outside AS SELECT DISTINCT t.e FROM t JOIN t x ON t.e = x.f WHERE "
      "t.e LIKE 'A%';"
      "CREATE INDEX ON t (f) WHERE e > 'b'; CREATE INDEX ON t USING gist (p);"
      "CREATE TRIGGER tr BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) "
      "EXECUTE FUNCTION suppress_redundant_updates_trigger()");
  world.SchemaBySql("ALTER TABLE public.t ALTER COLUMN id SET DEFAULT 7");
  EXPECT_EQ(Refusals(world.Plan()), "");
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.inside"), "1");
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM out.outside"), "1");
  ASSERT_EQ(world.Rollback().kind, Kind::kDone);
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.inside"), "1");
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM out.outside"), "1");
}

TEST(TableSwapObjects, KeepsOwnersAndGrantsOfTypesThatAreExchanged) {
  NEED_POSTGRES();
  SwapWorld world;
  world.target().Run(
      "DROP ROLE IF EXISTS understudy_test_own; CREATE ROLE understudy_test_own;"
      "CREATE TYPE mood AS ENUM ('bad', 'good'); ALTER TYPE mood OWNER TO understudy_test_own;"
      "REVOKE USAGE ON TYPE mood FROM PUBLIC;"
      "CREATE TABLE t (id integer PRIMARY KEY, m mood)");
  world.source().Run(
      "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE t (id integer PRIMARY KEY, m mood)");
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT pg_get_userbyid(typowner) || ' ' || typacl::text FROM pg_type "
                         "WHERE oid = 'public.mood'::regtype"),
            "understudy_test_own {understudy_test_own=U/understudy_test_own}");
  EXPECT_EQ(world.Rollback().kind, Kind::kDone);
}

TEST(TableSwapObjects, RebuildsTriggersOfAPartitionedTableOutside) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE SCHEMA out; CREATE TABLE t (id integer PRIMARY KEY);"
      "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
      "CREATE TABLE out.p (id integer) PARTITION BY LIST (id);"
      "CREATE TABLE out.p1 PARTITION OF out.p FOR VALUES IN (1);"
      "CREATE TRIGGER tr AFTER INSERT ON out.p FOR EACH ROW EXECUTE FUNCTION public.f();"
      "ALTER TABLE out.p1 DISABLE TRIGGER tr");
  world.SchemaBySql(
      "CREATE OR REPLACE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN "
      "NULL; END$$");
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(
      world.Scalar("SELECT string_agg(tgrelid::regclass || ' ' || tgenabled::text, ', ' ORDER BY "
                   "tgrelid::regclass::text) FROM pg_trigger WHERE tgname = 'tr'"),
      "\"out\".p O, \"out\".p1 D");
}

TEST(TableSwapObjects, KeepsCommentsOnColumnsOfLateViews) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE TABLE t (id integer PRIMARY KEY, a text);"
      "CREATE VIEW v AS SELECT id, a, count(*) AS n FROM t GROUP BY id;"
      "COMMENT ON COLUMN v.n IS 'how many';"
      "CREATE MATERIALIZED VIEW m AS SELECT id, a, count(*) AS n FROM t GROUP BY id;"
      "COMMENT ON COLUMN m.n IS 'how many';"
      "COMMENT ON VIEW v IS 'view'; COMMENT ON MATERIALIZED VIEW m IS 'mat'");
  world.SchemaBySql("ALTER TABLE public.t ALTER COLUMN id SET DEFAULT 7");
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar(
                "SELECT concat_ws(', ', obj_description('public.v'::regclass, 'pg_class'), "
                "col_description('public.v'::regclass, 3), obj_description('public.m'::regclass, "
                "'pg_class'), col_description('public.m'::regclass, 3))"),
            "view, how many, mat, how many");
}

TEST(TableSwapObjects, KeepsOptionsOfKeysOfPartitionedTables) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE EXTENSION btree_gist;"
      "CREATE TABLE p (id integer, PRIMARY KEY (id) WITH (fillfactor = 70)) PARTITION BY LIST (id);"
      "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
      "CREATE TABLE x (id integer PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&) WITH "
      "(fillfactor = 60))");
  const char* const kOptions =
      "SELECT string_agg(relname || ' ' || reloptions::text, ', ' ORDER BY relname) FROM pg_class "
      "WHERE relkind IN ('i', 'I') AND relnamespace = 'public'::regnamespace AND reloptions IS NOT "
      "NULL";
  const std::string before = world.Scalar(kOptions);
  world.SchemaBySql("ALTER TABLE public.x ALTER COLUMN id SET DEFAULT 7");
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar(kOptions), before);
}

TEST(TableSwapObjects, KeepsStatesOfTriggersThatProductionChanged) {
  NEED_POSTGRES();
  SwapWorld world;
  const char* const tables =
      "CREATE TABLE t (id integer PRIMARY KEY, a text); CREATE TABLE u (id integer PRIMARY KEY);"
      "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
      "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();";
  world.document()["preserved"] = {"t"};
  world.target().Run(tables);
  world.source().Run(tables);
  world.target().Run("ALTER TABLE t DISABLE TRIGGER tr");
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT tgenabled FROM pg_trigger WHERE tgname = 'tr' AND tgrelid = "
                         "'public.t'::regclass"),
            "D");
}

// hard-case 62: an earlier backup that could not be removed is no way back past a later cutover.
TEST(TableSwapObjects, NamesTheMigrationThatStandsBetweenATableAndItsBackup) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run("CREATE SCHEMA x; CREATE TABLE t (id integer PRIMARY KEY)");
  world.SchemaBySql("ALTER TABLE public.t ADD COLUMN a text");
  ASSERT_EQ(world.Cutover().kind, Kind::kDone);
  const std::string view = "CREATE VIEW x.v AS SELECT * FROM understudy_backup_public.t";
  world.target().Run(view);
  world.set_id("second");
  world.SchemaBySql("ALTER TABLE public.t ADD COLUMN b text");
  core::PhaseOutcome outcome = world.Prepare();  // the view would be in the new schema
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("x.v depends on what understudy has put aside"));
  world.target().Run("DROP VIEW x.v");
  world.at_point = [&](std::string_view point) {
    if (point == "prepare.post_data_built") world.target().Run(view);
  };
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.set_id("swap");
  world.SchemaBySql("ALTER TABLE public.t ADD COLUMN a text");
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("'second' has replaced the tables since"));
  world.set_id("second");
  world.SchemaBySql("ALTER TABLE public.t ADD COLUMN b text");
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
}

}  // namespace
}  // namespace understudy::table_swap
