#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include "engine/base/clock.h"
#include "tests/engine/table_swap/swap_fixture.h"

// What is true at the moment of the exchange itself, whoever is in the way.
namespace understudy::table_swap {
namespace {
using ::testing::HasSubstr;
using Kind = core::PhaseOutcome::Kind;

// The foreign key of `note` is checked at the end of a transaction only, and its trigger is
// switched on in the exchange.
constexpr const char* kTables = R"(
CREATE TABLE place (id integer PRIMARY KEY, name text);
CREATE TABLE note (id integer PRIMARY KEY, body text,
                   place_id integer REFERENCES place DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER looks BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION look();)";

class SwapMoment : public ::testing::Test {
 protected:
  void Fill() {
    world_.document()["preserved"] = {"note"};
    world_.target().Run(std::string(kTables) +
                        "INSERT INTO place SELECT i, 'old' FROM generate_series(1, 20) i;"
                        "INSERT INTO note SELECT i, 'n', i FROM generate_series(1, 20) i");
    world_.source().Run(std::string(kTables) +
                        "INSERT INTO place SELECT i, 'new' FROM generate_series(1, 20) i");
  }

  SwapWorld world_;
};

// hard-cases 30, 32: it wrote before the locks and commits while they are waited for, so that its
// row can only come over behind them; and with it comes a check that waits for the commit, on a
// table that is still to be altered.
TEST_F(SwapMoment, BringsOverWhatCommitsWhileTheLocksAreWaitedFor) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  const auto writer = world_.target().Connect();
  writer->Begin();
  writer->Execute("INSERT INTO public.note VALUES (21, 'in flight', 3)");
  writer->Execute("UPDATE public.note SET place_id = 4 WHERE id = 5");
  bool waited = false;
  const auto commits = std::async(std::launch::async, [&] {
    const auto watch = world_.target().Connect();
    const auto until = SteadyClock::now() + std::chrono::seconds(30);
    while (!waited && SteadyClock::now() < until) {
      waited = watch
                   ->Scalar(
                       "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = "
                       "'AccessExclusiveLock' AND relation = 'public.note'::regclass)")
                   .AsBool();
    }
    writer->Commit();
  });
  const core::PhaseOutcome outcome = world_.Cutover();
  commits.wait();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_TRUE(waited) << "nothing waited for the writer: this has shown nothing";
  EXPECT_EQ(world_.Scalar("SELECT string_agg(id || body || place_id, ' ' ORDER BY id) FROM "
                          "public.note WHERE id IN (5, 21)"),
            "5n4 21in flight3");
  EXPECT_EQ(world_.Scalar("SELECT name FROM public.place WHERE id = 1"), "new");
  EXPECT_EQ(world_.Verify().kind, Kind::kDone);
}

// hard-case 29: a table outside the set whose foreign key is made anew. Without its lock from the
// beginning, the key's DDL would wait for its users with everything else locked already.
TEST_F(SwapMoment, LocksTheTablesOutsideWhoseKeysAreMadeAnewWithTheOthers) {
  NEED_POSTGRES();
  Fill();
  world_.target().Run(
      "CREATE TABLE visit (id integer PRIMARY KEY, place_id integer REFERENCES place);"
      "INSERT INTO visit VALUES (1, 1)");
  world_.document()["exclude"] = {"visit"};
  std::string held;
  world_.at_point = [&](std::string_view point) {
    if (point != "cutover.locked") return;
    held = world_.Scalar(
        "SELECT string_agg(DISTINCT c.relname || ' ' || l.mode, ', ') FROM pg_locks l JOIN "
        "pg_class c ON c.oid = l.relation WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND "
        "l.relation IN ('public.visit'::regclass, 'public.place'::regclass, "
        "'public.note'::regclass)");
  };
  const core::PhaseOutcome outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(held, "note AccessExclusiveLock, place AccessExclusiveLock, visit AccessExclusiveLock");
  EXPECT_EQ(world_.Scalar("SELECT confrelid::regclass || ' ' || convalidated FROM pg_constraint "
                          "WHERE conrelid = 'public.visit'::regclass AND contype = 'f'"),
            "public.place true");
}

// hard-case 29: renamed when the exchange had been read, and not yet locked.
TEST_F(SwapMoment, ReadsAgainWhatWasRenamedBeforeItsLock) {
  NEED_POSTGRES();
  Fill();
  world_.target().Run(
      "CREATE TABLE visit (id integer PRIMARY KEY, place_id integer REFERENCES place);"
      "INSERT INTO visit VALUES (1, 1)");
  world_.document()["exclude"] = {"visit"};
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  const auto write = [&] { world_.target().Run("UPDATE note SET body = body || '!'"); };
  write();
  int replays = 0;
  world_.at_point = [&](std::string_view point) {
    if (point != "replay.after_commit" || ++replays > 3) return;
    if (replays < 3) {
      write();  // of the sync, before the locks, and last of all, behind the reading
    } else {
      world_.target().Run("ALTER TABLE visit RENAME TO visits");
    }
  };
  const core::PhaseOutcome outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_THAT(world_.logs,
              ::testing::Contains(::testing::HasSubstr("renamed or dropped a moment ago")));
  EXPECT_EQ(world_.Scalar("SELECT confrelid::regclass || ' ' || convalidated FROM pg_constraint "
                          "WHERE conrelid = 'public.visits'::regclass AND contype = 'f'"),
            "public.place true");
}

// hard-cases 20, 34: a holder who is seen on a partition alone, and one without a backend.
TEST_F(SwapMoment, NamesWhoHoldsAPartitionOrIsPrepared) {
  NEED_POSTGRES();
  Fill();
  world_.target().Run(
      "CREATE TABLE visit (id integer PRIMARY KEY, place_id integer REFERENCES place)"
      "  PARTITION BY RANGE (id);"
      "CREATE TABLE visit_1 PARTITION OF visit FOR VALUES FROM (1) TO (9)");
  world_.document()["exclude"] = {"visit", "visit_1"};
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  const auto holder = world_.target().Connect();
  holder->Execute("BEGIN; LOCK TABLE public.visit_1 IN SHARE MODE");
  world_.target().Run("BEGIN; UPDATE place SET name = name; PREPARE TRANSACTION 'left'");
  world_.allow_old_snapshots = true;
  world_.document()["limits"] = {{"lock_timeout_ms", 100}, {"cutover_budget_ms", 500}};
  core::PhaseOutcome outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(
      outcome.message,
      ::testing::AllOf(
          ::testing::HasSubstr("held by pid " + std::to_string(holder->BackendPid()) + " ("),
          ::testing::HasSubstr(") on public.visit_1, the prepared transaction 'left' ("),
          ::testing::HasSubstr(") on public.place; wait for")));
  holder->Rollback();
  world_.target().Run("ROLLBACK PREPARED 'left'");
  outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
}

// hard-cases 38, 132: whoever calls nextval when the sequence has been moved already waits for the
// commit, and is given the old one's next number then.
class SwapMomentNumbers : public SwapMoment {
 protected:
  void Run(bool drawn_before) {
    world_.document()["preserved"] = {"t"};
    for (const testing::Database* side : {&world_.target(), &world_.source()}) {
      side->Run("CREATE TABLE t (id serial PRIMARY KEY, v text)");
    }
    world_.target().Run("INSERT INTO t (v) SELECT 'v' FROM generate_series(1, 10)");
    ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
    const auto client = world_.target().Connect();
    std::future<std::string> number;
    world_.at_point = [&](std::string_view point) {
      if (point == "cutover.locked" && drawn_before) {
        world_.Scalar("SELECT nextval('public.t_id_seq')");
      }
      if (point != "cutover.before_commit") return;
      number = std::async(std::launch::async,
                          [&] { return client->Scalar("SELECT nextval('public.t_id_seq')").text; });
      while (world_.Scalar("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = "
                           "'public.t_id_seq'::regclass") != "1") {
      }
    };
    const core::PhaseOutcome outcome = world_.Cutover();
    ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
    EXPECT_EQ(number.get(), drawn_before ? "12" : "11");
    for (int i = 0; i < 3; ++i) {
      EXPECT_GT(std::stoi(world_.Scalar("SELECT nextval('public.t_id_seq')")), 12);
    }
  }
};
TEST_F(SwapMomentNumbers, AreGivenOnceToWhoeverWaitsForTheCommit) {
  NEED_POSTGRES();
  Run(/*drawn_before=*/false);
}
TEST_F(SwapMomentNumbers, AreGivenOnceWhereOthersDrawThem) {
  NEED_POSTGRES();
  Run(/*drawn_before=*/true);
}

// hard-case 69: whatever says that the copy is done, the estimates and the journal's own state too,
// what counts is that every piece of it was committed.
TEST_F(SwapMoment, DoesNotPutInServiceWhatIsStillBeingCopied) {
  NEED_POSTGRES();
  Fill();
  world_.document()["limits"] = {{"jobs", 1}};
  int copies = 0;
  world_.at_point = [&](std::string_view point) {
    if (point == "copy.before_commit" && ++copies == 2) {
      throw Error(ErrorKind::kInternal, "killed");
    }
  };
  ASSERT_EQ(world_.Prepare().kind, Kind::kFailed);
  ASSERT_EQ(copies, 2);
  world_.target().Run(
      "UPDATE pg_class SET reltuples = 20, relpages = 1 WHERE relnamespace = "
      "'understudy_shadow_public'::regnamespace;"
      "UPDATE understudy.migrations SET state = 'ready'");
  core::PhaseOutcome outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("there is no shadow that could be put in service"));
  EXPECT_EQ(world_.Scalar("SELECT count(*) || min(name) FROM public.place"), "20old");
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM public.note"), "20");
  outcome = world_.Prepare();
  EXPECT_NE(outcome.kind, Kind::kFailed) << outcome.message;
}

// hard-case 28: a client has locked one of the tables and goes on to another, in the order of the
// exchange and in the other one. It is never the victim of a deadlock, and the exchange comes to
// its turn.
TEST_F(SwapMoment, GivesWayToClientsThatLockInAnotherOrder) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  int gave_way = 0;
  world_.at_log = [&](const std::string& text) {
    gave_way += text.find(" is tried again: ") == std::string::npos ? 0 : 1;
  };
  const std::vector<std::vector<std::string>> orders = {{"note", "place"}, {"place", "note"}};
  int refused = 0;
  int waited = 0;
  std::vector<std::future<void>> clients;
  std::atomic<int> ready = 0;
  for (const auto& order : orders) {
    clients.push_back(std::async(std::launch::async, [&, order] {
      const auto session = world_.target().Connect({.settings = db::Settings::kUsers});
      const auto watch = world_.target().Connect();
      try {
        session->Execute("BEGIN; UPDATE " + order[0] + " SET id = id WHERE id = 3");
        ++ready;
        const auto until = SteadyClock::now() + std::chrono::seconds(20);
        while (SteadyClock::now() < until &&
               watch->Scalar("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = "
                             "'AccessExclusiveLock' AND relation::regclass::text IN "
                             "('public.note', 'public.place')")
                       .text == "0") {
        }
        ++waited;
        session->Execute("UPDATE " + order[1] + " SET id = id WHERE id = " +
                         (order[0] == "note" ? "4" : "5") + "; COMMIT");
      } catch (const Error& error) {
        ADD_FAILURE() << order[0] << ", then " << order[1] << ": " << error.what();
        ++refused;
      }
    }));
  }
  while (ready < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const core::PhaseOutcome outcome = world_.Cutover();
  for (auto& client : clients) client.wait();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(waited, 2);
  EXPECT_EQ(refused, 0);
  EXPECT_GE(gave_way, 1);
  EXPECT_EQ(world_.Verify().kind, Kind::kDone);
}

// What the operator holds back is held back in prepare's copies as well.
TEST_F(SwapMoment, CopiesNothingWhileTheOperatorsFileIsThere) {
  NEED_POSTGRES();
  Fill();
  world_.document()["limits"] = {{"jobs", 1}};
  world_.pause_file = world_.folder() / "pause";
  std::atomic<bool> removed = false;
  std::future<void> removes;
  int early = 0;
  int copies = 0;
  world_.at_point = [&](std::string_view point) {
    if (point == "copy.after_commit" && ++copies == 1) {
      WriteFileWhole(world_.pause_file, "");
      removes = std::async(std::launch::async, [&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(700));
        removed = true;
        std::filesystem::remove(world_.pause_file);
      });
    } else if (point == "copy.before_commit" && copies > 0 && !removed) {
      ++early;
    }
  };
  const core::PhaseOutcome outcome = world_.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_GE(copies, 2);
  EXPECT_EQ(early, 0);
  EXPECT_THAT(world_.logs, ::testing::Contains(HasSubstr("paused: go on by removing")));
}

// hard-cases 26, 137: the connection is lost while the commit waits for a standby. The catalog
// shows the old tables to everybody, and the backend will commit: who looked at the catalog alone
// would go on with a migration that is done.
TEST(SwapMomentCommit, IsWaitedForWhereTheConnectionIsLostInIt) {
  NEED_POSTGRES_BINARIES();
  const testing::OwnServer server;
  SwapWorld world(server.endpoint(), false);
  world.target().Run("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)");
  world.SchemaBySql("ALTER TABLE t ADD note text;");
  // Else the wait for the standby would be ended with the time that the exchange has.
  world.document()["limits"] = {{"lock_timeout_ms", 20000}};
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  const auto set = [&](const std::string& standbys) {
    const auto session = db::Connect(server.endpoint());
    session->Execute("SET synchronous_commit = local");
    session->Execute("ALTER SYSTEM SET synchronous_standby_names = '" + standbys + "'");
    session->Query("SELECT pg_reload_conf()");
  };
  const std::string in_commit =
      "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name "
      "LIKE 'understudy-engine%'";
  std::future<void> cuts;
  std::string meanwhile;
  bool hung = false;
  world.at_point = [&](std::string_view point) {
    if (point != "cutover.before_commit" || cuts.valid()) return;
    set("nobody");
    std::this_thread::sleep_for(std::chrono::seconds(1));  // the checkpointer tells everybody
    cuts = std::async(std::launch::async, [&] {
      const auto watch = world.target().Connect();
      const auto until = SteadyClock::now() + std::chrono::seconds(30);
      while (!hung && SteadyClock::now() < until) hung = watch->Scalar(in_commit).text == "1";
      // The server sees nothing of it: its backend does not read while it waits.
      for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code ignored;
        const auto to = std::filesystem::read_symlink(entry.path(), ignored).string();
        if (to.starts_with("socket:")) ::shutdown(std::stoi(entry.path().filename()), SHUT_RDWR);
      }
      std::this_thread::sleep_for(std::chrono::seconds(2));
      const auto again = world.target().Connect();
      meanwhile = again->Scalar(in_commit).text + " " +
                  again
                      ->Scalar(
                          "SELECT count(*) FROM pg_attribute WHERE attrelid = "
                          "'public.t'::regclass AND attname = 'note'")
                      .text;
      set("");
    });
  };
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_TRUE(cuts.valid());
  cuts.get();
  EXPECT_TRUE(hung);
  EXPECT_EQ(meanwhile, "1 0") << "the commit was over, or to be seen, before it was waited for";
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(outcome.state, core::State::kCutOver);
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM pg_attribute WHERE attrelid = 'public.t'::regclass "
                         "AND attname = 'note'"),
            "1");
  EXPECT_EQ(world.Verify().kind, Kind::kDone);
  EXPECT_EQ(world.Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world.Ours(), "");
}

}  // namespace
}  // namespace understudy::table_swap
