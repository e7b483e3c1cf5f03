#include "tests/engine/table_swap/swap_fixture.h"

// The way back: what a rollback carries, and what it may not lose in silence.
namespace understudy::table_swap {
namespace {
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = core::PhaseOutcome::Kind;

constexpr const char* kTables = R"(
CREATE TABLE person (id integer PRIMARY KEY, name text);
CREATE TABLE area (id integer PRIMARY KEY, name text);)";

class TableSwapBack : public ::testing::Test {
 protected:
  // Persons are production's, areas the source's; writes are captured in reverse.
  void CutOver(bool reverse = true) {
    world_.document()["preserved"] = {"person"};
    world_.document()["reverse"] = reverse;
    world_.target().Run(std::string(kTables) +
                        "INSERT INTO person SELECT i, 'p' || i FROM generate_series(1, 10) i;"
                        "INSERT INTO area SELECT i, 'old' FROM generate_series(1, 10) i");
    world_.source().Run(std::string(kTables) +
                        "INSERT INTO area SELECT i, 'new' FROM generate_series(1, 10) i");
    const core::PhaseOutcome outcome = world_.Cutover();
    ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  }
  std::string Persons() {
    return world_.Scalar("SELECT string_agg(id || name, ' ' ORDER BY id) FROM public.person");
  }

  SwapWorld world_;
};

// hard-cases 58, 64: another migration of the same tables leaves the backup whole, and with it what
// keeps it in step.
TEST_F(TableSwapBack, LosesNothingWhenTheNextMigrationIsGivenUp) {
  NEED_POSTGRES();
  CutOver();
  world_.target().Run(
      "INSERT INTO person VALUES (11, 'late'); UPDATE person SET name = 'other' WHERE id = 1;"
      "DELETE FROM person WHERE id = 2");
  const std::string persons = Persons();
  world_.set_id("second");
  world_.at_point = [&](std::string_view at) {
    if (at == "prepare.post_data_built") throw Error(ErrorKind::kInternal, "killed");
  };
  EXPECT_EQ(world_.Prepare().kind, Kind::kFailed);
  world_.set_id("swap");
  const core::PhaseOutcome refused = world_.Rollback();
  EXPECT_EQ(refused.kind, Kind::kRefused);
  EXPECT_THAT(refused.message, HasSubstr("the migration 'second' was begun on the same tables"));
  world_.set_id("second");
  EXPECT_EQ(world_.Reset().kind, Kind::kDone);
  world_.target().Run("INSERT INTO person VALUES (12, 'later')");
  world_.set_id("swap");
  const core::PhaseOutcome outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Persons(), persons + " 12later");
}

// hard-cases 25, 62: kill -9 while its triggers watch for writes. They cost users nothing but their
// time, and go with the next rollback or the cleanup.
TEST_F(TableSwapBack, IsDoneAgainAfterAKillWhileItWatches) {
  NEED_POSTGRES();
  CutOver(/*reverse=*/false);
  world_.KillAt("rollback.before_commit", [&] { world_.Rollback(); });
  EXPECT_THAT(world_.Ours(), AllOf(HasSubstr("on public.area"), HasSubstr("on public.person")));
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.area WHERE id = 1"), "new");
  core::PhaseOutcome outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.area WHERE id = 1"), "old");
  EXPECT_THAT(world_.Ours(), Not(HasSubstr(" on ")));
  outcome = world_.Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Ours(), "");
}

TEST_F(TableSwapBack, IsTakenAwayByACleanupAfterAKillWhileItWatches) {
  NEED_POSTGRES();
  CutOver(/*reverse=*/false);
  world_.KillAt("rollback.before_commit", [&] { world_.Rollback(); });
  world_.target().Run("UPDATE person SET name = 'written' WHERE id = 1");
  EXPECT_THAT(world_.Rollback().message, HasSubstr("would lose what was written"));
  world_.KillAt("rollback.before_commit", [&] { world_.Rollback(/*lose_writes=*/true); });
  const core::PhaseOutcome outcome = world_.Cleanup();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Ours(), "");
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.area WHERE id = 1"), "new");
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.person WHERE id = 1"), "written");
}

// hard-case 68: what verify has not looked at is said as such, by name.
TEST_F(TableSwapBack, VerifyNamesWhatItDoesNotCompare) {
  NEED_POSTGRES();
  world_.document()["preserved"] = {"person"};
  world_.target().Run(std::string(kTables) + "INSERT INTO person VALUES (1, 'p')");
  world_.source().Run(std::string(kTables) +
                      "ALTER TABLE person ADD COLUMN made timestamptz DEFAULT now();"
                      "INSERT INTO area VALUES (1, 'new')");
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  // It passes over what is wrong here, and so it must not count as looked at.
  world_.target().Run(
      "UPDATE area SET name = 'spoilt'; DELETE FROM person; "
      "ALTER TABLE area ADD CHECK (id > 0); COMMENT ON TABLE area IS 'other'");
  ASSERT_EQ(world_.Verify().kind, Kind::kDone);
  EXPECT_THAT(world_.not_checked,
              AllOf(HasSubstr("rows: none is read now"),
                    HasSubstr("rows of replaced tables: as COPY brought them"),
                    HasSubstr("columns that were never compared"), HasSubstr("public.person.made"),
                    Not(HasSubstr("public.person.name")), HasSubstr("check constraints"),
                    HasSubstr("owners, grants, policies, comments")));
}

// hard-case 134, on the way back.
TEST_F(TableSwapBack, WaitsForSessionsThatWouldMissWhatIsCarriedBack) {
  NEED_POSTGRES();
  world_.document()["limits"] = {{"cutover_budget_ms", 2000}};
  CutOver();
  const auto old_reader = world_.target().Connect();
  old_reader->Begin(db::Isolation::kRepeatableRead);
  old_reader->Query("SELECT 1");
  world_.target().Run("INSERT INTO person VALUES (11, 'late')");
  core::PhaseOutcome outcome = world_.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("hold snapshots from before the last replay"));
  old_reader->Rollback();
  outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.person WHERE id = 11"), "late");
}

// Tables are replayed one after the other: between two of them a client takes a parent away with
// its children and adds another. Nothing is wrong with such rows.
TEST_F(TableSwapBack, GoesBackWhileParentsComeAndGo) {
  NEED_POSTGRES();
  SwapWorld world(/*with_source=*/false);
  world.SchemaBySql("ALTER TABLE child ADD COLUMN note text");
  world.document()["reverse"] = true;
  world.target().Run(
      "CREATE TABLE parent (id integer PRIMARY KEY);"
      "CREATE TABLE child (id integer PRIMARY KEY, parent integer NOT NULL REFERENCES parent ON "
      "DELETE CASCADE); INSERT INTO parent SELECT generate_series(1, 20);"
      "INSERT INTO child SELECT i, i FROM generate_series(1, 20) i");
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run("DELETE FROM parent WHERE id = 2");
  bool acted = false;
  world.at_point = [&](std::string_view at) {
    if (at != "replay.after_commit" || acted) return;
    acted = true;
    world.target().Run(
        "DELETE FROM parent WHERE id = 1;"
        "INSERT INTO parent VALUES (100); INSERT INTO child VALUES (100, 100)");
  };
  outcome = world.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_TRUE(acted);
  EXPECT_EQ(
      world.Scalar("SELECT count(*) || ' ' || min(parent) || ' ' || max(parent) FROM public.child"),
      "19 3 100");
  EXPECT_EQ(world.Scalar("SELECT count(*) || ' ' || min(id) || ' ' || max(id) FROM public.parent"),
            "19 3 100");
  EXPECT_EQ(world.Scalar("SELECT bool_and(convalidated) FROM pg_constraint WHERE contype = 'f'"),
            "t");
}

// hard-cases 58, 136: writes that no trigger has seen, in each of the ways in which that happens.
TEST_F(TableSwapBack, CarriesBackWhatItsTriggersHaveNotSeen) {
  NEED_POSTGRES();
  CutOver();
  world_.target().Run(
      "ALTER TABLE person DISABLE TRIGGER ALL;"
      "INSERT INTO person VALUES (11, 'unseen'); UPDATE person SET name = 'x' WHERE id = 1;"
      "DELETE FROM person WHERE id = 2; ALTER TABLE person ENABLE TRIGGER USER");
  const std::string persons = Persons();
  const core::PhaseOutcome outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Persons(), persons);
  EXPECT_EQ(world_.Scalar("SELECT count(*) || min(name) FROM public.area"), "10old");
  EXPECT_EQ(world_.Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

// Of a replaced table the new rows may not go back with those that users wrote. The trigger looks
// as it did before: it was off for a moment.
TEST_F(TableSwapBack, CountsWhatItsTriggersHaveNotSeenOfReplacedTables) {
  NEED_POSTGRES();
  CutOver();
  const std::string trigger = world_.Scalar(
      "SELECT tgname FROM pg_trigger WHERE tgrelid = 'public.area'::regclass AND tgtype = 29");
  world_.target().Run("ALTER TABLE area DISABLE TRIGGER " + trigger +
                      "; UPDATE area SET name = 'unseen' WHERE id = 7; ALTER TABLE area ENABLE "
                      "ALWAYS TRIGGER " +
                      trigger);
  world_.target().Run("UPDATE area SET name = 'seen' WHERE id = 8");
  world_.target().Run("UPDATE person SET name = 'seen' WHERE id = 8");
  core::PhaseOutcome outcome = world_.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("public.area: 2 rows inserted or updated"));
  EXPECT_THAT(outcome.message, Not(HasSubstr("person")));
  outcome = world_.Rollback(/*lose_writes=*/true);
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT count(*) || min(name) || max(name) FROM public.area"),
            "10oldold");
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.person WHERE id = 8"), "seen");
}

TEST_F(TableSwapBack, CarriesEverythingBackWhenItsLogsAreGone) {
  NEED_POSTGRES();
  CutOver();
  world_.target().Run("UPDATE person SET name = 'logged' WHERE id = 1");
  world_.target().Run(
      "SET client_min_messages = error; DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid "
      "FROM pg_proc WHERE pronamespace = 'understudy'::regnamespace AND proname LIKE 'capture%' "
      "LOOP EXECUTE 'DROP FUNCTION ' || f || ' CASCADE'; END LOOP; END $$");
  world_.target().Run("UPDATE person SET name = 'unseen' WHERE id = 3");
  const std::string persons = Persons();
  const core::PhaseOutcome outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Persons(), persons);
  EXPECT_EQ(world_.Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

// Between the counting and the locks somebody may write to what has been counted.
TEST_F(TableSwapBack, SeesWhatIsWrittenWhileItCounts) {
  NEED_POSTGRES();
  CutOver(/*reverse=*/false);
  std::vector<std::string> counted;
  std::string watching;
  world_.at_progress = [&](const Json& progress) {
    counted.push_back(progress.at("table"));
    if (counted.size() != 2) return;
    watching = world_.Ours();
    world_.target().Run("UPDATE " + counted[0] + " SET name = 'late' WHERE id = 3");
  };
  core::PhaseOutcome outcome = world_.Rollback();
  world_.at_progress = {};
  ASSERT_THAT(counted, ::testing::UnorderedElementsAre("public.person", "public.area"));
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr(counted[0] + ": written to a moment ago"));
  EXPECT_THAT(outcome.message, Not(HasSubstr(counted[1])));
  EXPECT_THAT(watching, HasSubstr("understudy_capture"));
  EXPECT_THAT(world_.Ours(), Not(HasSubstr("understudy_capture")));
  EXPECT_EQ(world_.Scalar("SELECT min(name) FROM public.area WHERE id <> 3"), "new");
  world_.target().Run("UPDATE person SET name = 'p3' WHERE id = 3");
  outcome = world_.Rollback(/*lose_writes=*/true);
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

// What was written and taken back is no write; the triggers of a rollback that went through are
// gone.
TEST_F(TableSwapBack, GoesBackWhereNothingWasWritten) {
  NEED_POSTGRES();
  CutOver(/*reverse=*/false);
  const auto writer = world_.target().Connect();
  world_.at_progress = [&](const Json&) {
    db::Transaction transaction(*writer);
    writer->Execute("UPDATE public.person SET name = 'never' WHERE id = 3");
  };
  const core::PhaseOutcome outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT min(name) FROM public.area"), "old");
  EXPECT_THAT(world_.Ours(), Not(HasSubstr("understudy_capture")));
}

// Values that were rewritten have no way back: said by name, and only given up by a word.
TEST_F(TableSwapBack, RefusesToLoseWritesToATableThatWasChangedSince) {
  NEED_POSTGRES();
  CutOver();
  world_.target().Run("ALTER TABLE person ALTER name TYPE integer USING length(name) * 10");
  core::PhaseOutcome outcome = world_.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("public.person"));
  EXPECT_THAT(outcome.message, Not(HasSubstr("area")));
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.person WHERE id = 10"), "30");
  world_.target().Run("UPDATE area SET name = 'kept' WHERE id = 1");
  outcome = world_.Rollback(/*lose_writes=*/true);
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.person WHERE id = 10"), "p10");
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.area WHERE id = 1"), "kept");
}

// Nobody replays between the cutover and a rollback: the logs end at their limit. A preserved table
// goes back as a whole then; of a replaced one it is said what would be lost.
TEST_F(TableSwapBack, BoundsTheLogsThatNobodyReplays) {
  NEED_POSTGRES();
  world_.document()["limits"] = {{"log_max_bytes", 100000}};
  CutOver();
  const auto overflow = [&](const std::string& update) {
    world_.target().Run("DO $$ BEGIN FOR i IN 1..200 LOOP " + update + "; END LOOP; END $$");
  };
  EXPECT_THAT(world_.Status().of_strategy.blocking, ::testing::IsEmpty());
  overflow("UPDATE person SET name = left(name || 'x', 20) WHERE id > 1");
  const core::Status status = world_.Status();
  ASSERT_EQ(status.of_strategy.blocking.size(), 1U);
  EXPECT_THAT(status.of_strategy.blocking[0],
              HasSubstr("writes to public.person are not recorded"));
  EXPECT_THAT(status.of_strategy.blocking[0], HasSubstr("--lose-writes"));
  world_.target().Run("UPDATE person SET name = 'unlogged' WHERE id = 1");
  EXPECT_EQ(
      world_.Scalar("SELECT count(*) FROM understudy.capture_" +
                    world_.Scalar("SELECT substr(tgname, 20) FROM pg_trigger WHERE tgrelid = "
                                  "'public.person'::regclass AND tgtype = 29") +
                    "_" + world_.Scalar("SELECT 'public.person'::regclass::oid") + " WHERE k1 = 1"),
      "0");
  const std::string persons = Persons();
  world_.target().Run("UPDATE area SET name = 'seen' WHERE id = 7");
  core::PhaseOutcome outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Persons(), persons);
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.area WHERE id = 7"), "seen");
  ASSERT_EQ(world_.Cleanup().kind, Kind::kDone);
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  overflow("UPDATE area SET name = left(name || 'x', 20)");
  outcome = world_.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("public.area: 10 rows inserted or updated"));
  EXPECT_THAT(outcome.message, Not(HasSubstr("person")));
  EXPECT_THAT(outcome.next, HasSubstr("--lose-writes"));
  EXPECT_EQ(world_.Rollback(/*lose_writes=*/true).kind, Kind::kDone);
  EXPECT_EQ(world_.Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

// hard-case 53: rows of partitions are written by the root's name and by the partition's.
TEST(TableSwapBackPartitions, CarriesWritesToPartitionsBack) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE TABLE p (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id);"
      "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
      "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);"
      "INSERT INTO p SELECT i, 'v' FROM generate_series(1, 15) i");
  world.SchemaBySql("ALTER TABLE p ADD note text;");
  world.document()["reverse"] = true;
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run(
      "INSERT INTO p VALUES (16, 'late'); UPDATE p1 SET v = 'x' WHERE id = 1;"
      "UPDATE p SET id = 19 WHERE id = 2");
  const std::string rows = "SELECT string_agg(id || v, ' ' ORDER BY id) FROM public.p";
  const std::string before = world.Scalar(rows);
  outcome = world.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar(rows), before);
}

}  // namespace
}  // namespace understudy::table_swap
