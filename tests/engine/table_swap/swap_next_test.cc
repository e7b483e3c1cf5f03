#include "tests/engine/table_swap/swap_fixture.h"

// What is counted, and what is left, behind a cutover and behind a rollback.
namespace understudy::table_swap {
namespace {
using ::testing::HasSubstr;
using Kind = core::PhaseOutcome::Kind;

constexpr const char* kTables = R"(
CREATE TABLE person (id integer PRIMARY KEY, name text);
CREATE TABLE area (id integer PRIMARY KEY, name text);)";

void Fill(SwapWorld& world) {
  world.document()["preserved"] = {"person"};
  world.target().Run(std::string(kTables) +
                     "INSERT INTO person SELECT i, 'p' || i FROM generate_series(1, 10) i;"
                     "INSERT INTO area SELECT i, 'old' FROM generate_series(1, 10) i");
  world.source().Run(std::string(kTables) +
                     "INSERT INTO area SELECT i, 'new' FROM generate_series(1, 10) i");
}

// hard-case 64: triggers that carry writes back to a backup go with it when the next prepare has
// succeeded.
TEST(TableSwapNext, TakesAwayABackupThatWritesAreCarriedBackTo) {
  NEED_POSTGRES();
  SwapWorld world;
  Fill(world);
  world.document()["reverse"] = true;
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  ASSERT_EQ(world.Cutover().kind, Kind::kDone);
  ASSERT_EQ(world.Verify().kind, Kind::kDone);
  world.set_id("second");
  const core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT to_regnamespace('understudy_backup_public')"), "NULL");
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'public.area'::regclass"),
            "0");
  EXPECT_EQ(world.Reset().kind, Kind::kDone);
  EXPECT_EQ(world.Ours(), "");
}

// hard-case 62
TEST(TableSwapNext, LeavesNothingWhenItIsResetBehindARollback) {
  NEED_POSTGRES();
  SwapWorld world;
  Fill(world);
  ASSERT_EQ(world.Cutover().kind, Kind::kDone);
  ASSERT_EQ(world.Rollback().kind, Kind::kDone);
  const core::PhaseOutcome outcome = world.Reset();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Ours(), "");
  EXPECT_EQ(world.Scalar("SELECT min(name) FROM public.area"), "old");
}

// hard-case 58: what users write to a table that only the new schema has.
TEST(TableSwapNext, CountsWhatIsWrittenToATableThatTheNewSchemaBrings) {
  NEED_POSTGRES();
  for (const bool reverse : {false, true}) {
    SwapWorld world(false);
    world.target().Run(kTables);
    world.document()["reverse"] = reverse;
    world.SchemaBySql("CREATE TABLE public.visit (id integer PRIMARY KEY)");
    core::PhaseOutcome outcome = world.Cutover();
    ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
    world.target().Run("INSERT INTO visit VALUES (1), (2)");
    outcome = world.Rollback();
    EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
    EXPECT_THAT(outcome.message, HasSubstr("public.visit: 2 rows inserted"));
    EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.visit"), "2");
  }
}

// hard-cases 53, 58: the partitions that a table has in the new schema only are counted with it,
// also while rows still come.
TEST(TableSwapNext, CountsATableThatBecomesPartitionedOnce) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(std::string(kTables) +
                     "INSERT INTO area SELECT i, 'a' FROM "
                     "generate_series(1, 20) i");
  world.SchemaBySql(
      "DROP TABLE public.area; CREATE TABLE public.area (id integer PRIMARY KEY, name text) "
      "PARTITION BY RANGE (id); CREATE TABLE public.area_1 PARTITION OF public.area "
      "FOR VALUES FROM (MINVALUE) TO (10); CREATE TABLE public.area_2 PARTITION OF public.area "
      "FOR VALUES FROM (10) TO (MAXVALUE);");
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run(
      "INSERT INTO area SELECT i, 'b' FROM generate_series(21, 25) i; DELETE FROM "
      "area WHERE id < 3");
  bool written = false;
  world.at_point = [&](std::string_view at) {
    if (at != "replay.after_commit" || written) return;
    written = true;
    world.target().Run("INSERT INTO area SELECT i, 'c' FROM generate_series(26, 28) i");
  };
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  ASSERT_TRUE(written);
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.area"), "26");
}
// hard-case 58: a replaced table that is rewritten when the rollback has looked at it already. As a
// whole its new rows may not go back.
TEST(TableSwapNext, KeepsTheOldRowsOfAReplacedTableThatIsRewrittenDuringARollback) {
  NEED_POSTGRES();
  SwapWorld world;
  world.target().Run("CREATE TABLE road (id integer PRIMARY KEY, name text)");
  world.source().Run("CREATE TABLE road (id integer PRIMARY KEY, name text)");
  Fill(world);
  world.document()["reverse"] = true;
  ASSERT_EQ(world.Cutover().kind, Kind::kDone);
  world.target().Connect()->Execute("VACUUM FULL public.road");
  bool rewritten = false;
  world.at_log = [&](const std::string& text) {
    if (rewritten || text.find("not carried back") == std::string::npos) return;
    rewritten = true;
    world.target().Connect()->Execute("VACUUM FULL public.area");
  };
  const core::PhaseOutcome outcome = world.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_TRUE(rewritten);
  EXPECT_EQ(world.Scalar("SELECT count(*) || min(name) || max(name) FROM public.area"), "10oldold");
}
}  // namespace
}  // namespace understudy::table_swap
