#include <thread>

#include "tests/engine/table_swap/swap_fixture.h"

// What a way back may not lose without a word.
namespace understudy::table_swap {
namespace {
using ::testing::HasSubstr;
using Kind = core::PhaseOutcome::Kind;

// Five people, and new tables from which what is written is carried back.
void FivePeople(SwapWorld& world, const std::string& new_schema) {
  world.target().Run(
      "CREATE TABLE person (id integer PRIMARY KEY, name text);"
      "INSERT INTO person SELECT i, 'p' FROM generate_series(1, 5) i");
  world.document()["reverse"] = true;
  world.SchemaBySql(new_schema);
}

// hard-case 58: the old columns would round what the new ones hold.
TEST(TableSwapLost, CountsWritesThatTheWayBackWouldRound) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE TABLE price (id integer PRIMARY KEY, amount numeric(10,2), at timestamp(0));"
      "INSERT INTO price SELECT i, i, now() FROM generate_series(1, 5) i");
  world.document()["reverse"] = true;
  world.SchemaBySql("ALTER TABLE price ALTER amount TYPE numeric(12,4)");
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run("UPDATE price SET amount = 1.2345 WHERE id = 1");
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("public.price: 1 rows inserted or updated"));
  EXPECT_EQ(world.Scalar("SELECT amount FROM public.price WHERE id = 1"), "1.2345");
}

// hard-case 58: columns that only the new table has.
TEST(TableSwapLost, CountsValuesOfColumnsThatTheOldTableHasNot) {
  NEED_POSTGRES();
  SwapWorld world(false);
  FivePeople(world, "ALTER TABLE person ADD phone text, ADD vip boolean NOT NULL DEFAULT false");
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run("UPDATE person SET name = 'q' WHERE id = 1");
  world.target().Run("UPDATE person SET phone = '1', vip = true WHERE id = 2");
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message,
              HasSubstr("public.person: 1 rows inserted or updated have values in"));
  world.target().Run("UPDATE person SET phone = NULL, vip = false WHERE id = 2");
  bool late = false;
  world.at_point = [&](std::string_view at) {
    if (at != "replay.after_commit" || late) return;
    late = true;
    world.target().Run("UPDATE person SET phone = '3' WHERE id = 3");
  };
  outcome = world.Rollback();
  ASSERT_TRUE(late);
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("public.person: 1 rows"));
  world.target().Run("UPDATE person SET phone = NULL WHERE id = 3");
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT name FROM public.person WHERE id = 1"), "q");
}

// The same of what is written when all was looked at, and is replayed under the locks.
TEST(TableSwapLost, CountsSuchValuesAlsoUnderTheLocks) {
  NEED_POSTGRES();
  SwapWorld world(false);
  FivePeople(world, "ALTER TABLE person ADD phone text");
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run("UPDATE person SET name = 'q' WHERE id = 1");
  const auto writer = world.target().Connect();
  std::jthread committing;
  world.at_point = [&](std::string_view at) {
    if (at != "replay.after_commit" || committing.joinable()) return;
    writer->Begin(db::Isolation::kReadCommitted);
    writer->Execute("UPDATE public.person SET phone = '3' WHERE id = 3");
    committing = std::jthread([&] {  // the rollback waits for its locks meanwhile
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      writer->Commit();
    });
  };
  outcome = world.Rollback();
  ASSERT_TRUE(committing.joinable());
  committing.join();
  world.at_point = {};
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("public.person: 1 rows"));
  outcome = world.Rollback(/*lose_writes=*/true);
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT name FROM public.person WHERE id = 1"), "q");
}

// hard-case 134: what is brought back under the locks is younger than every snapshot.
TEST(TableSwapLost, HoldsBackForASnapshotFromBeforeTheLastRowsWereCarriedBack) {
  NEED_POSTGRES();
  SwapWorld world(false);
  FivePeople(world, "ALTER TABLE person ADD phone text");
  world.document()["limits"] = {{"cutover_budget_ms", 3000}};
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run("INSERT INTO person VALUES (6, 'early')");
  std::unique_ptr<db::Session> reader;
  world.at_point = [&](std::string_view at) {
    if (at != "replay.after_commit" || reader) return;
    world.target().Run("INSERT INTO person VALUES (7, 'late')");
    reader = world.target().Connect();
    reader->Begin(db::Isolation::kRepeatableRead);
    reader->Query("SELECT 1");
  };
  outcome = world.Rollback();
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->Scalar("SELECT count(*) FROM public.person").TextOr(""), "7")
      << outcome.message;
  reader->Rollback();
  outcome = world.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.person"), "7");
}

// A rollback that was given up has taken keys off the old tables; the next migration then takes
// the capture away, but cannot remove the backup.
TEST(TableSwapLost, KeepsTheKeysOfTheOldTablesWhereTheCaptureIsGone) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE TABLE person (id integer PRIMARY KEY, name text);"
      "CREATE TABLE pet (id integer PRIMARY KEY, person integer REFERENCES person);"
      "INSERT INTO person SELECT i, 'p' FROM generate_series(1, 5) i;"
      "INSERT INTO pet SELECT i, i FROM generate_series(1, 5) i");
  world.document()["reverse"] = true;
  world.document()["limits"] = {{"cutover_budget_ms", 1000}};
  world.SchemaBySql("ALTER TABLE person ADD phone text");
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  const std::string keys =
      "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND "
      "conrelid = 'public.pet'::regclass AND convalidated";
  EXPECT_EQ(world.Scalar(keys), "1");
  world.at_point = [&](std::string_view at) {
    if (at == "rollback.before_commit") throw Error(ErrorKind::kInternal, "given up");
  };
  EXPECT_NE(world.Rollback().kind, Kind::kDone);
  world.at_point = {};
  world.at_point = [&](std::string_view at) {
    if (at != "prepare.post_data_built") return;
    world.target().Run(
        "CREATE SCHEMA other;"
        "CREATE VIEW other.looks AS SELECT * FROM understudy_backup_public.person");
  };
  world.set_id("second");
  const Json first = world.document();
  WriteFileWhole(world.folder() / "two.sql", "ALTER TABLE person ADD fax text");
  world.document()["schema"] = {{"sql", {(world.folder() / "two.sql").string()}}};
  outcome = world.Prepare();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world.Reset();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.document() = first;
  world.target().Run("DROP SCHEMA other CASCADE");
  world.set_id("swap");
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar(keys), "1");
}

// hard-case 64: the backup of a migration before this one could not be removed.
TEST(TableSwapLost, GoesBackStepByStepWhereTheEarlierBackupWasKept) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE TABLE person (id integer PRIMARY KEY, name text);"
      "CREATE TABLE gone (id integer PRIMARY KEY, name text);"
      "INSERT INTO gone VALUES (1, 'x');"
      "INSERT INTO person SELECT i, 'p' FROM generate_series(1, 5) i");
  world.SchemaBySql("ALTER TABLE person ADD phone text; DROP TABLE gone");
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  ASSERT_EQ(world.Verify().kind, Kind::kDone);
  world.at_point = [&](std::string_view at) {
    if (at != "prepare.post_data_built") return;
    world.target().Run(
        "CREATE SCHEMA other;"
        "CREATE VIEW other.looks AS SELECT * FROM understudy_backup_public.person");
  };
  world.set_id("second");
  WriteFileWhole(world.folder() / "two.sql", "ALTER TABLE person ADD fax text");
  world.document()["schema"] = {{"sql", {(world.folder() / "two.sql").string()}}};
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  ASSERT_EQ(world.Verify().kind, Kind::kDone);
  world.target().Run("INSERT INTO person VALUES (6, 'after')");
  const Json second = world.document();
  world.document()["schema"] = {{"sql", {(world.folder() / "new.sql").string()}}};
  world.set_id("swap");
  for (const bool lose : {false, true}) {
    outcome = world.Rollback(lose);
    EXPECT_NE(outcome.kind, Kind::kDone) << lose;
    EXPECT_THAT(outcome.message, HasSubstr("the migration 'second' has replaced the tables since"));
    EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.person"), "6");
  }
  world.document() = second;
  world.set_id("second");
  outcome = world.Rollback(true);
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.person"), "5");
  outcome = world.Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run("DROP SCHEMA IF EXISTS other CASCADE; INSERT INTO person VALUES (9, 'nine')");
  world.document()["schema"] = {{"sql", {(world.folder() / "new.sql").string()}}};
  world.set_id("swap");
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused) << outcome.message;
  outcome = world.Rollback(true);
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.gone"), "1");
  outcome = world.Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Ours(), "");
}

}  // namespace
}  // namespace understudy::table_swap
