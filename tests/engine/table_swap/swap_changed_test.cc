#include "tests/engine/table_swap/swap_fixture.h"

// Others change the catalog between the phases: what is exchanged, carried or dropped must be what
// was prepared, and nothing else.
namespace understudy::table_swap {
namespace {
using ::testing::HasSubstr;
using Kind = core::PhaseOutcome::Kind;

constexpr const char* kTables = R"(
CREATE TABLE person (id integer PRIMARY KEY, name text);
CREATE TABLE p (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);)";

class TableSwapChanged : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::HavePostgres()) return;
    world_ = std::make_unique<SwapWorld>();
    world_->document()["preserved"] = {"person"};
    world_->target().Run(std::string(kTables) +
                         "INSERT INTO person VALUES (1, 'a');"
                         "INSERT INTO p VALUES (1)");
    world_->source().Run(std::string(kTables) + "INSERT INTO p VALUES (2)");
  }
  SwapWorld& world() { return *world_; }

 private:
  std::unique_ptr<SwapWorld> world_;
};

// hard-cases 23, 44: the table with the name is another one by now.
TEST_F(TableSwapChanged, RefusesATableThatWasRenamedAndMadeAnew) {
  NEED_POSTGRES();
  ASSERT_EQ(world().Prepare().kind, Kind::kDone);
  world().target().Run(
      "ALTER TABLE p RENAME TO p_old; ALTER TABLE p_old RENAME CONSTRAINT p_pkey TO p_old_pkey;"
      "CREATE TABLE p (id integer PRIMARY KEY); INSERT INTO p VALUES (100)");
  core::PhaseOutcome outcome = world().Cutover();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("table public.p: it was renamed to table public.p_old"));
  EXPECT_EQ(world().Scalar("SELECT id FROM public.p"), "100");
  world().target().Run(
      "DROP TABLE p; ALTER TABLE p_old RENAME TO p;"
      "ALTER TABLE person RENAME TO folk; CREATE TABLE person (LIKE folk INCLUDING ALL)");
  outcome = world().Cutover();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("public.person"));
  EXPECT_EQ(world().Scalar("SELECT name FROM public.folk"), "a");
  EXPECT_EQ(world().Reset().kind, Kind::kDone);
  EXPECT_EQ(world().Ours(), "");
}

// hard-case 53: a partition that nobody knew of holds rows of users.
TEST_F(TableSwapChanged, RefusesPartitionsThatCameAfterPrepare) {
  NEED_POSTGRES();
  ASSERT_EQ(world().Prepare().kind, Kind::kDone);
  world().target().Run("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)");
  core::PhaseOutcome outcome = world().Cutover();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("table public.p2"));
  world().target().Run(
      "DROP TABLE p2; CREATE TABLE all_p (id integer NOT NULL) PARTITION BY RANGE "
      "(id); ALTER TABLE all_p ATTACH PARTITION p FOR VALUES FROM (0) TO (99)");
  outcome = world().Cutover();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("table public.p: it is a partition or child of "
                                         "public.all_p"));
  world().target().Run("ALTER TABLE all_p DETACH PARTITION p; DROP TABLE all_p");
  outcome = world().Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  // The same behind the cutover: of the new tree, on the way back.
  world().target().Run("CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30)");
  outcome = world().Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("table public.p3"));
  world().target().Run("DROP TABLE p3");
  // And of the backup.
  world().target().Run(
      "CREATE TABLE public.p4 PARTITION OF understudy_backup_public.p FOR VALUES FROM (30) TO "
      "(40); INSERT INTO p4 VALUES (35)");
  outcome = world().Verify();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("table public.p4 depends on a table of the backup"));
  outcome = world().Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("table public.p4"));
  EXPECT_EQ(world().Scalar("SELECT id FROM public.p4"), "35");
  world().target().Run("DROP TABLE p4");
  EXPECT_EQ(world().Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world().Ours(), "");
}

// hard-case 63: kinds that depend on each other in both directions, on all of which RESTRICT is
// tried first.
TEST_F(TableSwapChanged, RemovesABackupOfManyKinds) {
  NEED_POSTGRES();
  const std::string more =
      "CREATE TYPE mood AS ENUM ('ok'); CREATE SEQUENCE loose;"
      "CREATE TABLE t (id integer DEFAULT nextval('loose') PRIMARY KEY, m mood, a integer, b "
      "integer); CREATE STATISTICS st ON a, b FROM t;"
      "CREATE FUNCTION f(t) RETURNS integer LANGUAGE sql AS 'SELECT 1';"
      "CREATE FUNCTION g() RETURNS integer LANGUAGE sql AS 'SELECT 1';"
      "ALTER TABLE t ALTER a SET DEFAULT g();"
      "CREATE VIEW v AS SELECT f(t) AS x FROM t; CREATE MATERIALIZED VIEW mv AS SELECT x FROM v;"
      "CREATE VIEW w AS SELECT x FROM mv; ";
  world().target().Run(more);
  world().source().Run(more);
  const core::PhaseOutcome outcome = world().Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  const core::PhaseOutcome cleaned = world().Cleanup();
  EXPECT_EQ(cleaned.kind, Kind::kDone) << cleaned.message;
  EXPECT_EQ(world().Ours(), "");
  EXPECT_EQ(world().Scalar("SELECT count(*) FROM public.w"), "0");
}

// hard-case 23: the new schema was made before it, so that the cutover would undo it.
TEST(TableSwapDefinitions, RefusesWhatWasChangedSincePrepare) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE TABLE m (id integer PRIMARY KEY, v text); INSERT INTO m VALUES (1, 'a');"
      "CREATE VIEW seen AS SELECT id FROM m;"
      "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'");
  world.SchemaBySql("ALTER TABLE m ADD note text;");
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  const auto refused = [&](const std::string& change, const std::string& told,
                           const std::string& back) {
    world.target().Run(change);
    outcome = world.Cutover();
    EXPECT_EQ(outcome.kind, Kind::kRefused) << change << outcome.message;
    EXPECT_THAT(outcome.message, HasSubstr(told)) << change;
    EXPECT_THAT(outcome.message, HasSubstr("understudy migrate reset"));
    world.target().Run(back);
  };
  refused("CREATE INDEX mine ON m (v)", "index public.mine was made", "DROP INDEX mine");
  refused("ALTER TABLE m ADD CONSTRAINT few CHECK (id < 100)",
          "constraint few on public.m was made", "ALTER TABLE m DROP CONSTRAINT few");
  refused("CREATE OR REPLACE VIEW seen AS SELECT id FROM m WHERE id > 0",
          "view public.seen was changed", "CREATE OR REPLACE VIEW seen AS SELECT id FROM m");
  refused("CREATE TRIGGER touched BEFORE UPDATE ON m FOR EACH ROW EXECUTE FUNCTION touch()",
          "trigger touched on public.m was made", "DROP TRIGGER touched ON m");
  refused("ALTER TABLE m ENABLE ROW LEVEL SECURITY", "table public.m was changed",
          "ALTER TABLE m DISABLE ROW LEVEL SECURITY");
  refused("COMMENT ON COLUMN m.v IS 'said'", "column public.m.v was changed",
          "COMMENT ON COLUMN m.v IS NULL");
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Verify().kind, Kind::kDone);
}

// hard-case 33: what clients get is said before.
TEST_F(TableSwapChanged, PlansTellOfOtherColumns) {
  NEED_POSTGRES();
  world().target().Run("CREATE TABLE n (a integer, b text, c text)");
  world().source().Run("CREATE TABLE n (c text, a bigint, d date)");
  EXPECT_THAT(world().Plan().warnings,
              ::testing::Contains(HasSubstr(
                  "public.n: clients will see other columns (a integer -> bigint, b is gone, d "
                  "date is new, the order is another)")));
}

// What is outside and reads a column that will be another cannot be made again under the locks.
TEST(TableSwapOutside, PlanRefusesViewsOnColumnsThatChange) {
  NEED_POSTGRES();
  SwapWorld world;
  world.target().Run(
      "CREATE TABLE m (id integer PRIMARY KEY, v integer, w integer); CREATE SCHEMA other;"
      "CREATE VIEW other.typed AS SELECT v FROM m; CREATE VIEW other.gone AS SELECT w FROM m;"
      "CREATE VIEW other.fine AS SELECT id FROM m");
  world.source().Run("CREATE TABLE m (id integer PRIMARY KEY, v bigint)");
  std::string refused;
  for (const core::PlanRefusal& refusal : world.Plan().refused) {
    refused += refusal.object + ": " + refusal.why + "\n";
  }
  EXPECT_THAT(refused, HasSubstr("view other.typed: it reads public.m.v, which becomes bigint"));
  EXPECT_THAT(refused,
              HasSubstr("view other.gone: it reads public.m.w, which the new table does not have"));
  EXPECT_THAT(refused, ::testing::Not(HasSubstr("other.fine")));
}

TEST(TableSwapOutside, RefusesThoseThatCameAfterThePlan) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE TYPE mood AS ENUM ('ok', 'bad'); CREATE SCHEMA other;"
      "CREATE TABLE m (id integer PRIMARY KEY, v integer, w integer, feels mood);"
      "CREATE VIEW other.fine AS SELECT id, feels FROM m; INSERT INTO m VALUES (1, 2, 3, 'ok')");
  world.SchemaBySql("ALTER TABLE m ALTER v TYPE bigint, DROP w;");
  ASSERT_TRUE(world.Plan().can_run());
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  const auto refused = [&](const std::string& sql, const std::string& why) {
    world.target().Run(sql);
    world.points.clear();
    const core::PhaseOutcome outcome = world.Cutover();
    EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
    EXPECT_THAT(outcome.message, HasSubstr(why));
    EXPECT_THAT(outcome.message, HasSubstr("drop it before and create it again after"));
    EXPECT_THAT(world.points, ::testing::Not(::testing::Contains("cutover.locked")));
  };
  refused("CREATE VIEW other.typed AS SELECT v FROM m",
          "view other.typed: it reads public.m.v, which becomes bigint");
  refused(
      "DROP VIEW other.typed; CREATE TABLE other.t (a integer); CREATE RULE r AS ON DELETE TO "
      "other.t DO ALSO DELETE FROM m WHERE w = 1",
      "r on other.t: it reads public.m.w, which the new table does not have");
  world.target().Run("DROP TABLE other.t");
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT id || feels::text FROM other.fine"), "1ok");
  // On the way back it is the new shape that goes.
  world.target().Run("CREATE VIEW other.typed AS SELECT v FROM m");
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message,
              HasSubstr("view other.typed: it reads public.m.v, which becomes integer"));
  world.target().Run("DROP VIEW other.typed");
  EXPECT_EQ(world.Rollback().kind, Kind::kDone);
}

// A type that is exchanged stands in another schema on the two sides: what only reads it goes with
// it, both ways; what names a label that it loses, or has it as a column, does not.
TEST(TableSwapOutside, TakesViewsThatReadAnExchangedType) {
  NEED_POSTGRES();
  SwapWorld world;
  world.target().Run(
      "CREATE TYPE mood AS ENUM ('ok', 'bad', 'so'); CREATE DOMAIN felt AS mood;"
      "CREATE SCHEMA other;"
      "CREATE TABLE m (id integer PRIMARY KEY, feels mood, felt mood[], d felt);"
      "CREATE VIEW other.fine AS SELECT feels::text, felt::text AS all, d::text FROM m;"
      "INSERT INTO m VALUES (1, 'ok', '{ok,bad}', 'bad')");
  world.source().Run(
      "CREATE TYPE mood AS ENUM ('ok', 'bad', 'new'); CREATE DOMAIN felt AS mood;"
      "CREATE TABLE m (id integer PRIMARY KEY, feels mood, felt mood[], d felt);"
      "INSERT INTO m VALUES (1, 'ok', '{ok,bad}', 'bad')");
  const auto refused = [&](const std::string& sql, const std::string& why) {
    world.target().Run(sql);
    std::string told;
    for (const core::PlanRefusal& refusal : world.Plan().refused) {
      told += refusal.object + ": " + refusal.why + "\n";
    }
    EXPECT_THAT(told, HasSubstr(why)) << sql;
    EXPECT_THAT(world.Prepare().message, HasSubstr(why)) << sql;
    EXPECT_EQ(world.Reset().kind, Kind::kDone);
    world.target().Run("DROP VIEW other.v");
  };
  const std::string uses =
      "type public.mood: it would be exchanged, and view other.v outside the set uses it";
  refused("CREATE VIEW other.v AS SELECT feels FROM m", uses);
  refused("CREATE VIEW other.v AS SELECT id FROM m WHERE feels = 'so'", uses);
  EXPECT_TRUE(world.Plan().can_run());
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT f::text FROM other.fine f"), "(ok,\"{ok,bad}\",bad)");
  world.target().Run("CREATE VIEW other.late AS SELECT feels::text, felt::text AS all FROM m");
  world.target().Run("CREATE VIEW other.named AS SELECT id FROM m WHERE feels = 'new'");
  world.points.clear();
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("view other.named: it reads public.m.feels, whose type "
                                         "will be without 'new'"));
  EXPECT_THAT(outcome.message, ::testing::Not(HasSubstr("other.late")));
  world.target().Run("DROP VIEW other.named");
  outcome = world.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT f::text FROM other.late f"), "(ok,\"{ok,bad}\")");
}

// Where the schema comes from the source it has nothing of this in any case: it is told.
TEST_F(TableSwapChanged, TellsOfWhatTheSourceDoesNotHave) {
  NEED_POSTGRES();
  ASSERT_EQ(world().Prepare().kind, Kind::kDone);
  world().target().Run("CREATE INDEX mine ON person (name)");
  const core::PhaseOutcome outcome = world().Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_THAT(world().logs, ::testing::Contains(HasSubstr("index public.mine was made")));
}

}  // namespace
}  // namespace understudy::table_swap
