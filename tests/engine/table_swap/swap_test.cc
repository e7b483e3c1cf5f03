#include <algorithm>
#include <array>
#include <atomic>
#include <stop_token>
#include <thread>

#include "engine/base/clock.h"
#include "engine/db/identifier.h"
#include "tests/engine/table_swap/swap_fixture.h"

namespace understudy::table_swap {
namespace {
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = core::PhaseOutcome::Kind;

constexpr const char* kSchema = R"(
CREATE TYPE role AS ENUM ('admin', 'user');
CREATE TABLE "User" (id serial PRIMARY KEY, email text UNIQUE NOT NULL, role role NOT NULL DEFAULT 'user');
CREATE TABLE area (id integer PRIMARY KEY, name text);
CREATE TABLE "Link" (user_id integer REFERENCES "User" ON DELETE CASCADE, area_id integer REFERENCES area,
                     note text, PRIMARY KEY (user_id, area_id));
CREATE INDEX link_note ON "Link" (note);
CREATE STATISTICS told ON email, role FROM "User";
CREATE VIEW names AS SELECT u.email, a.name FROM "User" u JOIN "Link" l ON l.user_id = u.id JOIN area a ON a.id = l.area_id;
)";

class TableSwap : public ::testing::Test {
 protected:
  void Fill() {
    world_.document()["preserved"] = {"\"User\"", "\"Link\""};
    world_.target().Run(std::string(kSchema) + R"(
INSERT INTO "User" (email) SELECT 'u' || i FROM generate_series(1, 100) i;
INSERT INTO area SELECT i, 'old ' || i FROM generate_series(1, 50) i;
INSERT INTO "Link" SELECT i, i FROM generate_series(1, 50) i;)");
    world_.source().Run(std::string(kSchema) + R"(
INSERT INTO "User" (email) VALUES ('of the source');
INSERT INTO area SELECT i, 'new ' || i FROM generate_series(1, 60) i;)");
  }
  std::string Catalog() { return world_.Scalar(kCatalog); }
  std::string Rows() { return world_.Scalar(kRows); }

  static constexpr const char* kCatalog = R"(
SELECT string_agg(t, E'\n' ORDER BY t COLLATE "C") FROM (
  SELECT concat_ws(' ', 'class', c.oid, relname, relkind, relacl, relowner, relrowsecurity, relreplident,
                   obj_description(c.oid)) AS t FROM pg_class c WHERE relnamespace = 'public'::regnamespace
  UNION ALL SELECT concat_ws(' ', 'con', conname, conrelid::regclass, convalidated, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
  UNION ALL SELECT concat_ws(' ', 'trigger', tgname, tgrelid::regclass, tgenabled) FROM pg_trigger
    WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
  UNION ALL SELECT concat_ws(' ', 'seq', schemaname, sequencename, last_value) FROM pg_sequences
    WHERE schemaname = 'public') x)";
  static constexpr const char* kRows = R"(
SELECT concat((SELECT md5(string_agg(u::text, ',' ORDER BY id)) FROM public."User" u), ' ',
              (SELECT md5(string_agg(a::text, ',' ORDER BY id)) FROM public.area a), ' ',
              (SELECT md5(string_agg(l::text, ',' ORDER BY user_id, area_id)) FROM public."Link" l)))";

  SwapWorld world_;
};

// hard-cases 35, 38, 42, 62: a whole migration, written to while it runs, and back.
TEST_F(TableSwap, PutsNewDataInServiceKeepsWhatUsersWroteAndGoesBack) {
  NEED_POSTGRES();
  Fill();
  const std::string catalog = Catalog();
  core::PhaseOutcome outcome = world_.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(outcome.state, core::State::kReady);
  EXPECT_EQ(outcome.next, "migrate cutover");
  world_.target().Run(R"(INSERT INTO "User" (email) VALUES ('during');
    UPDATE "User" SET email = 'changed' WHERE id = 5; DELETE FROM "Link" WHERE user_id = 7;)");
  const std::string rows = Rows();
  outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(
      world_.Scalar(
          "SELECT string_agg(email, ' ' ORDER BY id) FROM public.\"User\" WHERE id IN (5, 101)"),
      "changed during");
  EXPECT_EQ(world_.Scalar("SELECT count(*) || min(name) FROM public.area"), "60new 1");
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM public.names"), "49");
  EXPECT_EQ(world_.Scalar("SELECT last_value FROM public.\"User_id_seq\""), "101");
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM understudy_backup_public.area"), "50");
  outcome = world_.Verify();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Status().of_strategy.in_service, core::Owner::kNew);
  outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Rows(), rows);
  // Only the sequence went on, as a user's insert had made it.
  world_.target().Run("SELECT setval('\"User_id_seq\"', 100)");
  EXPECT_EQ(Catalog(), catalog);
  outcome = world_.Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Ours(), "");
}

// hard-case 58: what would be lost is said, by table, and needs a word.
TEST_F(TableSwap, SaysWhatARollbackWouldLose) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  world_.target().Run(R"(INSERT INTO "User" (email) VALUES ('after'), ('after 2');
    UPDATE "User" SET role = 'admin' WHERE id = 1; DELETE FROM area WHERE id = 55)");
  core::PhaseOutcome outcome = world_.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message,
              HasSubstr("public.\"User\": 3 rows inserted or updated, 1 rows deleted or updated"));
  EXPECT_THAT(outcome.message, HasSubstr("public.area: 1 rows deleted or updated"));
  EXPECT_THAT(outcome.message, ::testing::Not(HasSubstr("Link")));
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM public.area"), "59");
  outcome = world_.Rollback(/*lose_writes=*/true);
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM public.\"User\""), "100");
}

// hard-case 58: every kind of write is seen, by table and number, and nothing else is.
TEST_F(TableSwap, CountsEveryRowThatARollbackWouldLose) {
  NEED_POSTGRES();
  Fill();
  world_.target().Run("CREATE TABLE elsewhere (a integer)");
  world_.document()["exclude"] = {"elsewhere"};
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  // Rows that are drained under the locks are no writes behind the cutover.
  int attempts = 0;
  world_.at_point = [&](std::string_view at) {
    if (at == "cutover.locked" && ++attempts == 1) throw Error(ErrorKind::kConflict, "not yet");
    if (at != "cutover.begin" || attempts != 1) return;
    world_.target().Run(
        "UPDATE \"User\" SET role = 'admin' WHERE id <= 7; DELETE FROM \"Link\" WHERE user_id = 50;"
        "INSERT INTO \"User\" (email) VALUES ('late') ON CONFLICT DO NOTHING");
  };
  // Nor is a client's transaction that has its number, and that of a subtransaction, before.
  const auto client = world_.target().Connect();
  client->Begin();
  client->Execute("SAVEPOINT s; INSERT INTO public.elsewhere VALUES (1)");
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  ASSERT_EQ(attempts, 2);
  const auto would_lose = [&](const std::string& sql) {
    world_.target().Run(sql);
    const core::PhaseOutcome outcome = world_.Rollback();
    EXPECT_EQ(outcome.kind, Kind::kRefused) << sql << ": " << outcome.message;
    const std::string begin = "since the cutover: ";
    const auto at = outcome.message.find(begin);
    const auto end = outcome.message.find(". The new tables stay");
    if (at == std::string::npos || end == std::string::npos) return outcome.message;
    return outcome.message.substr(at + begin.size(), end - at - begin.size());
  };
  const auto rewrite = [&] {
    world_.target().Run("VACUUM FREEZE");
    world_.target().Run("VACUUM FULL \"User\"");
    world_.target().Run("BEGIN; DELETE FROM \"Link\"; UPDATE area SET name = NULL; ROLLBACK");
  };
  rewrite();
  const std::string by_link = "public.\"Link\": 1 rows deleted or updated";
  EXPECT_EQ(would_lose("DELETE FROM \"Link\" WHERE user_id = 1"), by_link);
  EXPECT_EQ(would_lose("INSERT INTO \"Link\" VALUES (99, 1)"),
            "public.\"Link\": 1 rows inserted or updated, 1 rows deleted or updated");
  EXPECT_THAT(would_lose("UPDATE area SET name = name WHERE id <= 3"),
              HasSubstr("public.area: 3 rows inserted or updated, 3 rows deleted or updated"));
  rewrite();
  EXPECT_THAT(would_lose("DELETE FROM area WHERE id = 60"),
              HasSubstr("public.area: 3 rows inserted or updated, 4 rows deleted or updated"));
  EXPECT_THAT(would_lose("INSERT INTO area VALUES (70, 'x')"),
              HasSubstr("public.area: 4 rows inserted or updated, 4 rows deleted or updated"));
  EXPECT_THAT(would_lose("TRUNCATE \"Link\""),
              HasSubstr("public.\"Link\": 49 rows deleted or updated"));
  client->Execute("UPDATE public.\"User\" SET role = role WHERE id = 8");
  client->Commit();
  EXPECT_THAT(would_lose("SELECT 1"),
              HasSubstr("public.\"User\": 1 rows inserted or updated, 1 rows deleted or updated"));
  ASSERT_EQ(world_.Rollback(true).kind, Kind::kDone);
  ASSERT_EQ(world_.Cleanup().kind, Kind::kDone);
  attempts = 0;
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  ASSERT_EQ(attempts, 2);
  rewrite();
  const core::PhaseOutcome outcome = world_.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
}

// hard-cases 25, 60, 62: a failure at every point, then on; the same, then back to before.
TEST_F(TableSwap, GoesOnAfterAFailureAtEveryPoint) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  const std::vector<std::string> points = world_.points;
  std::set<std::string> distinct(points.begin(), points.end());
  EXPECT_GE(distinct.size(), 12U);
  for (const std::string& point : distinct) {
    SCOPED_TRACE(point);
    SwapWorld world;
    world.document()["preserved"] = {"\"User\"", "\"Link\""};
    world.target().Run(std::string(kSchema) +
                       "INSERT INTO \"User\" (email) SELECT 'u' || i FROM generate_series(1, 9) i; "
                       "INSERT INTO area VALUES (1, 'old'); INSERT INTO \"Link\" VALUES (3, 1)");
    world.source().Run(std::string(kSchema) + "INSERT INTO area VALUES (1, 'new')");
    bool once = true;
    world.at_point = [&](std::string_view at) {
      if (at == "prepare.end")
        world.target().Run("INSERT INTO \"User\" (email) VALUES ('x') ON CONFLICT DO NOTHING");
      if (at != point || !std::exchange(once, false)) return;
      throw Error(ErrorKind::kInternal, "killed at a point");
    };
    EXPECT_NE(world.Cutover().kind, Kind::kDone);
    const core::PhaseOutcome outcome = world.Cutover();
    // A failure behind the commit leaves nothing to do.
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    EXPECT_EQ(world.Scalar("SELECT name FROM public.area"), "new");
    EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.\"User\""), "10");
    const core::PhaseOutcome verified = world.Verify();
    EXPECT_EQ(verified.kind, Kind::kDone) << verified.message;
  }
}

TEST_F(TableSwap, ResetsAfterAFailureAtEveryPointBeforeTheCutover) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  std::set<std::string> distinct(world_.points.begin(), world_.points.end());
  distinct.erase("cutover.after_commit");
  for (const std::string& point : distinct) {
    SCOPED_TRACE(point);
    SwapWorld world;
    world.document()["preserved"] = {"\"User\"", "\"Link\""};
    world.target().Run(std::string(kSchema) + "INSERT INTO \"User\" (email) VALUES ('a')");
    world.source().Run(kSchema);
    const std::string before = world.Scalar(kCatalog);
    bool once = true;
    world.at_point = [&](std::string_view at) {
      if (at == point && std::exchange(once, false)) throw Error(ErrorKind::kInternal, "killed");
    };
    EXPECT_NE(world.Cutover().kind, Kind::kDone);
    const core::PhaseOutcome outcome = world.Reset();
    EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
    EXPECT_EQ(world.Ours(), "");
    EXPECT_EQ(world.Scalar(kCatalog), before);
  }
}

// Behind its indexes and extended statistics the shadow's views are filled and its tables vacuumed,
// which takes its time.
TEST_F(TableSwap, ResetsAfterAFailureBehindItsStatistics) {
  NEED_POSTGRES();
  const std::string view =
      "CREATE MATERIALIZED VIEW sums AS SELECT count(*) AS n FROM area;"
      "CREATE UNIQUE INDEX sums_n ON sums (n)";
  world_.document()["preserved"] = {"\"User\"", "\"Link\""};
  world_.target().Run(std::string(kSchema) + view);
  world_.source().Run(std::string(kSchema) + view);
  const std::string before = Catalog();
  world_.at_log = [](const std::string& text) {
    if (text.find("sums_n") != std::string::npos) throw Error(ErrorKind::kInternal, "killed");
  };
  EXPECT_EQ(world_.Prepare().kind, Kind::kFailed);
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM pg_statistic_ext"), "2");
  world_.at_log = nullptr;
  const core::PhaseOutcome outcome = world_.Reset();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Ours(), "");
  EXPECT_EQ(Catalog(), before);
}

// hard-case 60: old or new, never neither.
TEST_F(TableSwap, GoesBackAfterAFailureInARollback) {
  NEED_POSTGRES();
  Fill();
  const std::string rows = Rows();
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  for (const std::string point : {"rollback.before_commit", "rollback.after_commit"}) {
    bool once = true;
    world_.at_point = [&](std::string_view at) {
      if (at == point && std::exchange(once, false)) throw Error(ErrorKind::kInternal, "killed");
    };
    EXPECT_FALSE(world_.Rollback().ok());
    EXPECT_EQ(world_.Scalar("SELECT name FROM public.area WHERE id = 1"),
              point == "rollback.before_commit" ? "new 1" : "old 1");
  }
  EXPECT_TRUE(world_.Rollback().ok());
  EXPECT_EQ(Rows(), rows);
}

// hard-cases 34, 134: a session that would see empty tables holds the cutover back.
TEST_F(TableSwap, WaitsForSessionsThatWouldSeeEmptyTables) {
  NEED_POSTGRES();
  Fill();
  const auto old_reader = world_.target().Connect();
  old_reader->Begin(db::Isolation::kRepeatableRead);
  old_reader->Query("SELECT 1");  // the snapshot: before the shadow has rows
  world_.document()["limits"] = {{"cutover_budget_ms", 2500}};
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  core::PhaseOutcome outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message,
              HasSubstr("would see empty tables: pid " + std::to_string(old_reader->BackendPid())));
  EXPECT_THAT(outcome.message, HasSubstr("--allow-old-snapshots"));
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.area WHERE id = 1"), "old 1");
  old_reader->Rollback();
  outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
}

// hard-case 34: so does a prepared transaction, which nobody can see a snapshot of.
TEST_F(TableSwap, WaitsForPreparedTransactionsThatAreOlder) {
  NEED_POSTGRES_BINARIES();
  const testing::OwnServer server({"max_prepared_transactions=2"});
  SwapWorld world(server.endpoint(), false);
  world.target().Run(
      "CREATE TABLE t (id integer PRIMARY KEY); CREATE TABLE aside (id integer);"
      "INSERT INTO t VALUES (1)");
  world.SchemaBySql("ALTER TABLE t ADD note text;");
  world.document()["exclude"] = {"aside"};
  world.document()["limits"] = {{"cutover_budget_ms", 2500}};
  world.target().Run("BEGIN; INSERT INTO aside VALUES (1); PREPARE TRANSACTION 'left behind'");
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  core::PhaseOutcome outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message,
              HasSubstr("would see empty tables: prepared transaction 'left behind'"));
  world.target().Run("COMMIT PREPARED 'left behind'");
  outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
}

TEST_F(TableSwap, SwapsPastOldSnapshotsWhereThatIsAllowed) {
  NEED_POSTGRES();
  Fill();
  const auto old_reader = world_.target().Connect();
  old_reader->Begin(db::Isolation::kRepeatableRead);
  old_reader->Query("SELECT 1");
  world_.allow_old_snapshots = true;
  const core::PhaseOutcome outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(old_reader->Scalar("SELECT count(*) FROM public.\"User\"").text, "0");
}

// hard-cases 20, 27, 133: a client that holds a lock; the attempt gives up, others go on.
TEST_F(TableSwap, GivesItsLocksBackWhenAClientHoldsATable) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  const auto holder = world_.target().Connect();
  holder->Begin();
  holder->Query("SELECT count(*) FROM public.area");
  // A changed file is refused. Limits are for whoever runs it, but this one is in the triggers.
  world_.document()["limits"] = {{"log_max_bytes", 1000000}};
  EXPECT_EQ(world_.Cutover().kind, Kind::kRefused);
  world_.document()["limits"] = {{"lock_timeout_ms", 300}};
  const auto reader = world_.target().Connect();
  double longest = 0;
  std::atomic<bool> done = false;
  std::thread clients([&] {
    while (!done) {
      const auto started = SteadyClock::now();
      reader->Query("SELECT count(*) FROM public.\"User\"");
      longest = std::max(longest, MillisecondsSince(started));
    }
  });
  int attempts = 0;
  world_.at_log = [&](const std::string& text) {
    if (text.find(" is tried again: ") != std::string::npos && ++attempts == 2) holder->Rollback();
  };
  const core::PhaseOutcome outcome = world_.Cutover();
  done = true;
  clients.join();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_LT(longest, 1200);
  // Who it was is told at once.
  EXPECT_THAT(
      world_.logs,
      Contains(AllOf(HasSubstr("held by pid " + std::to_string(holder->BackendPid()) + " ("),
                     HasSubstr("idle in transaction"), HasSubstr(") on public.area"),
                     HasSubstr("pg_terminate_backend"))));
  EXPECT_THAT(world_.logs,
              Not(Contains(HasSubstr("pid " + std::to_string(reader->BackendPid()) + " "))));
}

// hard-case 20: a reader holds no trigger back, a writer does and is named.
TEST_F(TableSwap, NamesTheWriterWhomPrepareWaitsFor) {
  NEED_POSTGRES();
  Fill();
  const auto reader = world_.target().Connect();
  reader->Begin();
  reader->Query("SELECT count(*) FROM public.\"User\"");
  const auto writer = world_.target().Connect();
  writer->Begin();
  writer->Execute("LOCK TABLE public.\"User\" IN ROW EXCLUSIVE MODE");
  bool held = true;
  world_.at_log = [&](const std::string& text) {
    if (held && text.find("attempt 1 failed") != std::string::npos) {
      writer->Rollback();
      held = false;
    }
  };
  const core::PhaseOutcome outcome = world_.Prepare();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_THAT(
      world_.logs,
      Contains(AllOf(HasSubstr("held by pid " + std::to_string(writer->BackendPid()) + " ("),
                     HasSubstr(") on public.\"User\""))));
  EXPECT_THAT(world_.logs,
              Not(Contains(HasSubstr("pid " + std::to_string(reader->BackendPid()) + " "))));
}

// hard-case 11: a row that the new side refuses.
TEST_F(TableSwap, RefusesToCutOverWhatTheNewSideDoesNotTake) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  // Area 50 is there on both sides; 61 only in production.
  world_.target().Run("INSERT INTO area VALUES (61, 'late'); INSERT INTO \"Link\" VALUES (90, 61)");
  core::PhaseOutcome outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("refuses"));
  EXPECT_THAT(outcome.message, HasSubstr("\"area_id\":\"61\""));
  EXPECT_FALSE(world_.Status().of_strategy.blocking.empty());
  world_.target().Run("DELETE FROM \"Link\" WHERE area_id = 61");
  outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
}

// hard-cases 63, 64: one backup, kept until the next prepare has succeeded.
TEST_F(TableSwap, KeepsTheOldBackupUntilTheNextPrepareHasSucceeded) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  ASSERT_EQ(world_.Verify().kind, Kind::kDone);
  EXPECT_EQ(world_.Scalar("SELECT min(name) FROM understudy_backup_public.area"), "old 1");
  world_.set_id("second");
  world_.source().Run("UPDATE area SET name = 'newer ' || id");
  bool fail = true;
  world_.at_point = [&](std::string_view at) {
    if (at == "prepare.post_data_built" && fail) throw Error(ErrorKind::kInternal, "killed");
  };
  EXPECT_EQ(world_.Prepare().kind, Kind::kFailed);
  EXPECT_EQ(world_.Scalar("SELECT min(name) FROM understudy_backup_public.area"), "old 1");
  fail = false;
  core::PhaseOutcome outcome = world_.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT to_regclass('understudy_backup_public.area')"), "NULL");
  outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT min(name) FROM public.area"), "newer 1");
  EXPECT_EQ(world_.Scalar("SELECT min(name) FROM understudy_backup_public.area"), "new 1");
  outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT min(name) FROM public.area"), "new 1");
  EXPECT_EQ(world_.Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

// hard-case 25: not the engine dies, but its sessions.
TEST_F(TableSwap, GoesOnWhenTheServerEndsItsSessions) {
  NEED_POSTGRES();
  Fill();
  for (const std::string point : {"copy.before_commit", "prepare.post_data_built"}) {
    SCOPED_TRACE(point);
    bool once = true;
    world_.at_point = [&](std::string_view at) {
      if (at != point || !std::exchange(once, false)) return;
      world_.target().Run(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
          "current_database() AND application_name LIKE 'understudy-engine%'");
    };
    core::PhaseOutcome outcome = world_.Prepare();
    if (!outcome.ok()) outcome = world_.Prepare();
    ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
    outcome = world_.Cutover();
    EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
    EXPECT_EQ(world_.Rollback().kind, Kind::kDone);
    EXPECT_EQ(world_.Cleanup().kind, Kind::kDone);
    EXPECT_EQ(world_.Ours(), "");
  }
}

TEST(TableSwapSchemas, RemovesSchemasWhoseTablesReferToEachOther) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE SCHEMA app; CREATE TABLE public.a (id integer PRIMARY KEY, b integer);"
      "CREATE TABLE app.b (id integer PRIMARY KEY, a integer REFERENCES public.a);"
      "ALTER TABLE public.a ADD FOREIGN KEY (b) REFERENCES app.b;");
  world.SchemaBySql("ALTER TABLE app.b ADD note text;");
  world.document()["schemas"] = {"public", "app"};
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world.Reset();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Ours(), "");
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  // The next migration removes this one's backup.
  world.set_id("second");
  world.SchemaBySql("ALTER TABLE app.b ADD more text;");
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world.Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Ours(), "");
}

TEST_F(TableSwap, NamesWhatDependsOnABackupThatIsToBeDropped) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  ASSERT_EQ(world_.Verify().kind, Kind::kDone);
  world_.target().Run("CREATE VIEW before AS SELECT * FROM understudy_backup_public.area");
  core::PhaseOutcome outcome = world_.Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("view public.before"));
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM public.before"), "50");
  // hard-case 44: what a user has put among our tables is not ours.
  world_.target().Run("DROP VIEW before; CREATE TABLE understudy_backup_public.mine (a integer)");
  outcome = world_.Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("table understudy_backup_public.mine"));
  world_.target().Run("DROP TABLE understudy_backup_public.mine");
  EXPECT_EQ(world_.Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

// hard-cases 26, 137: the connection is lost in the commit.
TEST_F(TableSwap, AsksTheServerForTheFateOfALostCommit) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  world_.at_point = [&](std::string_view at) {
    if (at == "cutover.after_commit") {
      throw Error(ErrorKind::kAmbiguous, "the connection was lost while COMMIT was under way");
    }
  };
  core::PhaseOutcome outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(outcome.state, core::State::kCutOver);
}

TEST_F(TableSwap, FindsThatALostCommitHasNotHappened) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  bool once = true;
  world_.at_point = [&](std::string_view at) {
    if (at == "cutover.before_commit" && std::exchange(once, false)) {
      throw Error(ErrorKind::kAmbiguous, "the connection was lost while COMMIT was under way");
    }
  };
  EXPECT_EQ(world_.Cutover().kind, Kind::kAmbiguous);
  EXPECT_EQ(world_.Status().of_strategy.in_service, core::Owner::kOld);
  const core::PhaseOutcome outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
}

// An online schema change: no source, every table preserved.
TEST(TableSwapBySql, ChangesTheSchemaOfTablesThatAreWrittenTo) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(R"(
CREATE TABLE orders (id serial PRIMARY KEY, total integer, note text);
INSERT INTO orders (total) SELECT i FROM generate_series(1, 1000) i;
CREATE VIEW big AS SELECT id FROM orders WHERE total > 500;
CREATE TABLE lines (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id integer NOT NULL REFERENCES orders ON DELETE CASCADE);
INSERT INTO lines (order_id) SELECT i FROM generate_series(1, 1000) i;
)");
  world.SchemaBySql(
      "DROP VIEW big; ALTER TABLE lines ALTER order_id TYPE bigint; ALTER TABLE orders ALTER id "
      "TYPE bigint;"
      "ALTER TABLE orders ADD COLUMN cents bigint NOT NULL DEFAULT 0; ALTER TABLE orders DROP "
      "COLUMN note;"
      "CREATE VIEW big AS SELECT id, cents FROM orders WHERE total > 500;");
  world.document()["columns"] = {{"orders", {{"cents", {{"sql", "total * 100"}}}}}};
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run(
      "UPDATE orders SET total = total + 1; DELETE FROM orders WHERE id = 3; INSERT INTO orders "
      "(total) VALUES (7)");
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT sum(cents) - sum(total) * 100 FROM public.orders"), "0");
  EXPECT_EQ(world.Scalar("SELECT count(*) || ' ' || max(id) FROM public.orders"), "1000 1001");
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.lines"), "999");
  EXPECT_EQ(world.Scalar("SELECT count(cents) FROM public.big"), "501");
  EXPECT_EQ(world.Scalar("SELECT pg_typeof(id) FROM public.orders LIMIT 1"), "bigint");
  outcome = world.Verify();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(id) FROM public.big"), "501");
  EXPECT_EQ(world.Scalar("SELECT convalidated FROM pg_constraint WHERE conname = "
                         "'lines_order_id_fkey' AND conrelid = 'public.lines'::regclass"),
            "t");
}

// A child that is over before its parent: production is whole, so nothing holds the cutover back.
TEST(TableSwapBySql, DoesNotTakeAPendingParentForAMissingOne) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(R"(
CREATE TABLE a_parent (id integer PRIMARY KEY);
CREATE TABLE b_child (id integer PRIMARY KEY, parent integer REFERENCES a_parent);
INSERT INTO a_parent VALUES (1); INSERT INTO b_child VALUES (1, 1);)");
  world.SchemaBySql("ALTER TABLE b_child ADD note text;");
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  world.target().Run("UPDATE a_parent SET id = id; UPDATE b_child SET id = id");
  int behind = 0;  // replays in which the child came over behind its parent
  bool once = true;
  world.at_point = [&](std::string_view at) {
    if (at == "replay.after_commit" && std::exchange(once, false)) {
      world.target().Run("INSERT INTO a_parent VALUES (2)");
      world.target().Run("INSERT INTO b_child VALUES (2, 2)");
    }
    if (at != "cutover.begin") return;
    behind += std::stoi(world.Scalar(
        "SELECT count(*) FROM understudy_shadow_public.b_child c WHERE NOT EXISTS (SELECT FROM "
        "understudy_shadow_public.a_parent p WHERE p.id = c.parent)"));
  };
  const core::PhaseOutcome outcome = world.Cutover();
  EXPECT_EQ(behind, 1);
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.b_child"), "2");
}

// A foreign key that only the new schema has, and rows that break it between two attempts.
TEST(TableSwapBySql, ChecksNewForeignKeysOfWhatIsReplayedBetweenAttempts) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(R"(
CREATE TABLE a_parent (id integer PRIMARY KEY);
CREATE TABLE b_child (id integer PRIMARY KEY, parent integer);
INSERT INTO a_parent VALUES (1), (2); INSERT INTO b_child VALUES (1, 1), (2, 2);)");
  world.SchemaBySql("ALTER TABLE b_child ADD FOREIGN KEY (parent) REFERENCES a_parent;");
  for (const std::string write :
       {"INSERT INTO b_child VALUES (3, 7)", "DELETE FROM a_parent WHERE id = 2"}) {
    SCOPED_TRACE(write);
    ASSERT_EQ(world.Prepare().kind, Kind::kDone);
    int attempts = 0;
    bool written = false;
    world.at_point = [&](std::string_view at) {
      if (at == "cutover.locked" && ++attempts < 3) {
        throw Error(ErrorKind::kConflict, "not yet");  // the locks are given back
      }
      // Behind the second attempt's replays, so that the third's brings it.
      if (at == "sync.before_commit" && attempts == 1 && !std::exchange(written, true)) {
        world.target().Run(write);
      }
    };
    core::PhaseOutcome outcome = world.Cutover();
    EXPECT_TRUE(written);
    EXPECT_EQ(outcome.kind, Kind::kFailed);
    EXPECT_THAT(outcome.message, HasSubstr("refer to nothing in public.a_parent"));
    EXPECT_EQ(world.Scalar("SELECT to_regnamespace('understudy_backup_public')"), "NULL");
    world.at_point = nullptr;
    world.target().Run(
        "DELETE FROM b_child WHERE parent = 7; INSERT INTO a_parent VALUES (2) ON CONFLICT DO "
        "NOTHING");
  }
  const core::PhaseOutcome outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Verify().kind, Kind::kDone);
}

// hard-case 38: whoever compares tables with an older snapshot sees a truncated one empty.
TEST(TableSwapTruncate, ComparesTablesThatAreTruncatedMeanwhile) {
  NEED_POSTGRES();
  SwapWorld world(/*with_source=*/false);
  world.SchemaBySql("ALTER TABLE public.queue ADD COLUMN \"new\" integer;");
  world.target().Run(
      "CREATE TABLE large (id integer PRIMARY KEY, name text);"
      "CREATE TABLE queue (id integer PRIMARY KEY);"
      "INSERT INTO large SELECT i, 'name ' || i FROM generate_series(1, 100000) i;"
      "INSERT INTO queue SELECT generate_series(1, 1000)");
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  std::atomic<bool> stop = false;
  std::atomic<bool> truncated = false;
  std::thread client([&] {  // while another table is being compared
    const auto session = world.target().Connect();
    while (!stop && !truncated) {
      if (!session
               ->Scalar("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' "
                        "AND query LIKE '%sum(%large%' AND pid <> pg_backend_pid())")
               .AsBool()) {
        continue;
      }
      session->Execute("BEGIN; TRUNCATE public.queue; INSERT INTO public.queue VALUES (7); COMMIT");
      truncated = true;
    }
  });
  outcome = world.Cutover();
  stop = true;
  client.join();
  EXPECT_TRUE(truncated);
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT string_agg(id::text, ' ') FROM public.queue"), "7");
}

// hard-case 38: a table that is emptied more often than an attempt takes. It is named in the end.
TEST(TableSwapTruncate, NamesATableThatIsTruncatedAgainAndAgain) {
  NEED_POSTGRES();
  SwapWorld world(/*with_source=*/false);
  world.SchemaBySql("ALTER TABLE public.queue ADD COLUMN \"new\" integer;");
  world.target().Run("CREATE TABLE queue (id integer PRIMARY KEY)");
  world.document()["limits"] = {{"cutover_budget_ms", 2000}};
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  std::atomic<bool> stop = false;
  std::thread client([&] {
    const auto session = world.target().Connect();
    while (!stop) {
      session->Execute(
          "BEGIN; TRUNCATE public.queue; INSERT INTO public.queue SELECT generate_series(1, 100); "
          "COMMIT");
    }
  });
  core::PhaseOutcome outcome = world.Cutover();
  stop = true;
  client.join();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, AllOf(HasSubstr("public.queue"), HasSubstr("truncated")));
  outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
}

// hard-case 136: a column of the key has another name for a while, in which users write.
TEST(TableSwapBySql, CopiesATableAgainWhoseKeysCouldNotBeCaptured) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE TABLE t (id integer PRIMARY KEY, a text); INSERT INTO t SELECT i, 'a' FROM "
      "generate_series(1, 9) i");
  world.SchemaBySql("ALTER TABLE t ADD note text;");
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  world.target().Run(
      "ALTER TABLE t RENAME id TO other; UPDATE t SET a = 'unseen' WHERE other = 3; DELETE FROM t "
      "WHERE other = 4; ALTER TABLE t RENAME other TO id");
  core::PhaseOutcome outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) || min(a) || max(a) FROM public.t"), "8aunseen");
  // Where the name stays, it is the end of the migration, not of the writes.
  world.set_id("second");
  world.SchemaBySql("ALTER TABLE t ADD more text;");
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  world.target().Run("ALTER TABLE t RENAME id TO other; UPDATE t SET a = 'go on'");
  outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("public.t: its columns changed"));
  EXPECT_EQ(world.Reset().kind, Kind::kDone);
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.t WHERE a = 'go on'"), "8");
}

// hard-case 70: what pg_restore would pass over with "errors ignored" ends the prepare, by name.
TEST_F(TableSwap, FailsWhereThePartOfASchemaCannotBeMade) {
  NEED_POSTGRES();
  Fill();
  const std::string catalog = Catalog();
  world_.source().Run(
      "CREATE COLLATION odd FROM \"C\"; UPDATE pg_collation SET collcollate = 'xx_XX.utf8', "
      "collctype = 'xx_XX.utf8' WHERE collname = 'odd'");
  core::PhaseOutcome outcome = world_.Prepare();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, AllOf(HasSubstr("pg_restore"), HasSubstr("xx_XX.utf8")));
  EXPECT_EQ(world_.Scalar("SELECT to_regnamespace('understudy_shadow_public') IS NULL"), "t");
  outcome = world_.Reset();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Ours(), "");
  EXPECT_EQ(Catalog(), catalog);
}

// hard-case 75: text comes over as text, whatever the encodings of the two databases; what is none
// in the target's is refused by its table, and nothing else is held up by it.
TEST_F(TableSwap, TakesRowsOfAnotherEncodingAndNamesWhatIsNoText) {
  NEED_POSTGRES();
  const auto server = db::Connect(testing::Server());
  for (const std::string encoding : {"LATIN1", "SQL_ASCII"}) {
    SCOPED_TRACE(encoding);
    SwapWorld world;
    const std::string name = "understudy_test_of_" + encoding;
    const std::string quoted = db::QuoteIdentifier(name);
    server->Execute("DROP DATABASE IF EXISTS " + quoted);
    server->Execute("CREATE DATABASE " + quoted + " TEMPLATE template0 ENCODING '" + encoding +
                    "' LC_COLLATE 'C' LC_CTYPE 'C'");
    const db::Endpoint source = testing::Server().WithDatabase(name);
    const std::string table =
        "CREATE TABLE public.area (id integer PRIMARY KEY, \"Ma\u00df\" text, many text[])";
    db::Connect(source)->Execute(
        table + "; INSERT INTO public.area VALUES (1, 'sch\u00f6n', '{\u00e9,\u00fc}')");
    world.target().Run(table);
    world.set_source_by(source);
    if (encoding == "SQL_ASCII") {
      db::Connect(source)->Execute(
          "INSERT INTO public.area "
          "VALUES (2, pg_catalog.convert_from('\\xff41', 'SQL_ASCII'), NULL)");
      const core::PhaseOutcome refused = world.Prepare();
      EXPECT_EQ(refused.kind, Kind::kFailed);
      EXPECT_THAT(refused.message,
                  AllOf(HasSubstr("public.area"), HasSubstr("invalid byte sequence")));
      EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.area"), "0");
      db::Connect(source)->Execute("DELETE FROM public.area WHERE id = 2");
    }
    const core::PhaseOutcome outcome = world.Cutover();
    EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
    EXPECT_EQ(world.Scalar("SELECT \"Ma\u00df\" || many::text FROM public.area"),
              "sch\u00f6n{\u00e9,\u00fc}");
    EXPECT_EQ(world.Verify().kind, Kind::kDone);
    server->Execute("DROP DATABASE " + quoted);
  }
}

// hard-case 56: as many columns as a table may have, preserved and replaced.
TEST_F(TableSwap, TakesTablesOfAsManyColumnsAsThereMayBe) {
  NEED_POSTGRES();
  Fill();
  std::string columns = "id integer PRIMARY KEY";
  for (int i = 2; i <= 1600; ++i) columns += ", c" + std::to_string(i) + " smallint";
  const std::string wide = "CREATE TABLE wide (" + columns + "); CREATE TABLE wide_data (" +
                           columns + "); INSERT INTO wide_data (id) VALUES (1), (2);";
  for (const testing::Database* side : {&world_.target(), &world_.source()}) side->Run(wide);
  world_.target().Run("INSERT INTO wide (id, c1600, c1599) VALUES (1, 1, 7), (2, 2, 7), (3, 3, 7)");
  world_.source().Run("UPDATE wide_data SET c1599 = 8");
  world_.document()["preserved"] = {"\"User\"", "\"Link\"", "wide"};
  const core::Plan plan = world_.Plan();
  EXPECT_EQ(Refusals(plan), "");
  core::PhaseOutcome outcome = world_.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world_.target().Run(
      "UPDATE wide SET c1600 = 22 WHERE id = 2; DELETE FROM wide WHERE id = 3; INSERT INTO wide "
      "(id, c1600, c1599) VALUES (4, 4, 7)");
  outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT string_agg(id || ':' || c1600 || ':' || c1599, ' ' ORDER BY id) "
                          "FROM public.wide"),
            "1:1:7 2:22:7 4:4:7");
  EXPECT_EQ(world_.Scalar("SELECT sum(c1599) FROM public.wide_data"), "16");
  EXPECT_EQ(world_.Verify().kind, Kind::kDone);
  EXPECT_EQ(world_.Rollback().kind, Kind::kDone);
}

// Clients that write to two tables in a transaction, some in the one order and some in the other.
class Clients {
 public:
  Clients(const testing::Database& database, std::array<std::string, 2> tables) {
    for (int i = 0; i < 4; ++i) {
      std::ranges::reverse(tables);
      threads_.emplace_back([this, &database, tables](const std::stop_token& stop) {
        try {
          const auto session = database.Connect();
          while (!stop.stop_requested()) {
            const db::Transaction transaction(*session);
            for (const std::string& table : tables) {
              session->Execute("DELETE FROM public." + table + " WHERE false");
              session->Query("SELECT pg_sleep(0.15)");
            }
          }
        } catch (const Error&) {
          ++failed_;
        }
      });
    }
  }
  // How many the server, or anybody, has ended.
  int End() {
    threads_.clear();
    return failed_;
  }

 private:
  std::atomic<int> failed_ = 0;
  std::vector<std::jthread> threads_;
};

// hard-case 28: of two tables at once the one would be waited for by whom the other waits for.
TEST_F(TableSwap, PreparesBesideClientsThatLockInAnyOrder) {
  NEED_POSTGRES();
  Fill();
  Clients clients(world_.target(), {"\"User\"", "\"Link\""});
  const core::PhaseOutcome outcome = world_.Prepare();
  EXPECT_EQ(clients.End(), 0);
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_THAT(world_.logs, Contains(HasSubstr("now one table at a time")));
  EXPECT_THAT(world_.logs, Not(Contains(HasSubstr("attempt 2 failed"))));
}

TEST_F(TableSwap, WritesAFileThatRemovesEverythingByPsqlAlone) {
  NEED_POSTGRES();
  Fill();
  world_.set_rehearsal(false);
  const std::string before = Catalog();
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  // Nobody is ended for it.
  Clients clients(world_.target(), {"\"User\"", "\"Link\""});
  const std::string removed = world_.RemoveByPsql();
  EXPECT_EQ(clients.End(), 0);
  EXPECT_EQ(removed, "");
  EXPECT_EQ(world_.Ours(), "");
  EXPECT_EQ(Catalog(), before);
  world_.target().Run("INSERT INTO \"User\" (email) VALUES ('writes go on')");
}

// hard-cases 58, 59: with reverse capture a rollback loses nothing.
TEST_F(TableSwap, CarriesLaterWritesBackWhereTheyAreCaptured) {
  NEED_POSTGRES();
  Fill();
  world_.document()["reverse"] = true;
  world_.target().Run(
      "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.email := "
      "upper(NEW.email); RETURN NEW; END';"
      "CREATE TRIGGER shout BEFORE INSERT ON \"User\" FOR EACH ROW WHEN (NEW.email LIKE 'q%') "
      "EXECUTE FUNCTION shout()");
  const std::string catalog = Catalog();
  core::PhaseOutcome outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Verify().kind, Kind::kDone);
  world_.target().Run(
      R"(INSERT INTO "User" (email) VALUES ('quiet'); DELETE FROM "User" WHERE id = 9;
    UPDATE "User" SET role = 'admin' WHERE id = 1; UPDATE area SET name = 'after' WHERE id = 2;
    INSERT INTO "Link" VALUES (101, 60))");
  outcome = world_.Rollback();
  // Area 60 is only in the new data: the old side cannot take the link.
  EXPECT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.message, HasSubstr("Link_area_id_fkey"));
  world_.target().Run("UPDATE \"Link\" SET area_id = 1 WHERE user_id = 101");
  outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(
      world_.Scalar("SELECT string_agg(concat_ws(':', id, email, role), ' ' ORDER BY id) FROM "
                    "public.\"User\" WHERE id IN (1, 9, 101)"),
      "1:u1:admin 101:quiet:user");
  EXPECT_EQ(world_.Scalar("SELECT string_agg(name, ' ' ORDER BY id) FROM public.area WHERE id < 4"),
            "old 1 after old 3");
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM public.\"Link\""), "50");
  EXPECT_EQ(world_.Scalar("SELECT nextval('public.\"User_id_seq\"')"), "102");
  world_.target().Run("SELECT setval('\"User_id_seq\"', 100)");
  EXPECT_EQ(Catalog(), catalog);
  EXPECT_EQ(world_.Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

// The dry run changes nothing, and says every step.
TEST_F(TableSwap, PlansWithoutChangingAnything) {
  NEED_POSTGRES();
  Fill();
  const std::string catalog = Catalog();
  const std::string rows = Rows();
  const auto long_one = world_.target().Connect();
  core::Plan plan = world_.Plan();
  EXPECT_EQ(Refusals(plan), "");
  EXPECT_EQ(Catalog(), catalog);
  EXPECT_EQ(Rows(), rows);
  EXPECT_EQ(world_.Ours(), "");
  std::string steps;
  bool locks = false;
  for (const core::PlanStep& step : plan.steps) {
    steps += step.phase + ": " + step.what + "\n";
    if (step.phase == "cutover" && !step.locks.empty()) {
      locks = step.locks.dump().find("AccessExclusiveLock") != std::string::npos;
    }
  }
  EXPECT_THAT(steps, HasSubstr("rows of public.\"User\": production's, kept in step"));
  EXPECT_THAT(steps, HasSubstr("rows of public.area: the source's"));
  EXPECT_TRUE(locks);
  EXPECT_EQ(plan.next, "migrate prepare");
}

// hard-cases 7, 52, 135 and foreign keys into the new data without a parent.
TEST_F(TableSwap, RefusesByNameWhatItCannotDo) {
  NEED_POSTGRES();
  Fill();
  world_.target().Run(
      "SET client_min_messages = error; CREATE PUBLICATION pub FOR TABLE area;"
      "INSERT INTO area VALUES (77, 'only here'); INSERT INTO \"Link\" VALUES (77, 77);"
      "CREATE SCHEMA other; CREATE MATERIALIZED VIEW other.mv AS SELECT * FROM area;"
      "ALTER TABLE \"User\" DROP CONSTRAINT \"User_pkey\" CASCADE;"
      "ALTER TABLE \"User\" DROP CONSTRAINT \"User_email_key\" CASCADE");
  const core::Plan plan = world_.Plan();
  const std::string refusals = Refusals(plan);
  EXPECT_THAT(refusals, HasSubstr("publication pub: it publishes public.area"));
  EXPECT_THAT(refusals, HasSubstr("table public.\"Link\": 1 values"));
  EXPECT_THAT(refusals, HasSubstr("such as 77"));
  EXPECT_THAT(refusals, HasSubstr("materialized view other.mv"));
  EXPECT_THAT(refusals, HasSubstr("table public.\"User\""));
  EXPECT_EQ(world_.Prepare().kind, Kind::kRefused);
  EXPECT_EQ(world_.Ours(), "");
}

// hard-case 22: a second migration of the same tables.
TEST_F(TableSwap, RefusesASecondMigrationOfTheSameSchema) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  world_.set_id("other");
  const core::PhaseOutcome outcome = world_.Prepare();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("migration 'swap'"));
  world_.set_id("swap");
  EXPECT_EQ(world_.Cutover().kind, Kind::kDone);
  world_.set_id("other");
  const core::Plan plan = world_.Plan();
  EXPECT_EQ(Refusals(plan), "");
  EXPECT_EQ(plan.existing_backup.value("migration", ""), "swap");
  EXPECT_EQ(plan.existing_backup.at("tables").size(), 3U);
}

// hard-cases 20, 148.
TEST_F(TableSwap, TellsOfLongTransactions) {
  NEED_POSTGRES();
  Fill();
  const auto holder = world_.target().Connect();
  holder->Begin();
  holder->Query("SELECT pg_sleep(5.5)");
  EXPECT_THAT(Warnings(world_.Plan()), HasSubstr("pid " + std::to_string(holder->BackendPid())));
}

}  // namespace
}  // namespace understudy::table_swap
