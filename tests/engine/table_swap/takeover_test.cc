#include <atomic>
#include <chrono>
#include <thread>

#include "tests/engine/table_swap/swap_fixture.h"

// What one process finds that another one, or another migration, has left or is at.
namespace understudy::table_swap {
namespace {
using Kind = core::PhaseOutcome::Kind;
using ::testing::HasSubstr;
using testing::OwnServer;

class Takeover : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_POSTGRES();
    world_.target().Run(
        "CREATE TABLE orders (id serial PRIMARY KEY, total integer);"
        "INSERT INTO orders (total) SELECT i FROM generate_series(1, 1000) i;");
    world_.SchemaBySql("ALTER TABLE orders ADD COLUMN cents bigint NOT NULL DEFAULT 0");
  }
  SwapWorld world_{false};
};

TEST_F(Takeover, APlanLeavesTheScratchDatabaseOfARunningPrepareAlone) {
  bool planned = false;
  // Another process' plan, which finds nothing in the journal yet.
  SwapWorld* world = &world_;
  world_.at_point = [&planned, world](std::string_view point) {
    if (planned || point != "prepare.schema_built") return;
    planned = true;
    EXPECT_TRUE(world->Plan().can_run());
  };
  const core::PhaseOutcome outcome = world_.Prepare();
  EXPECT_TRUE(planned);
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Reset().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

TEST_F(Takeover, TheTriggersOfAWayBackAreNoPartOfTheNextSchema) {
  world_.document()["reverse"] = true;
  ASSERT_EQ(world_.Cutover().kind, Kind::kDone);
  world_.set_id("next");
  world_.document()["reverse"] = false;
  world_.SchemaBySql("ALTER TABLE orders ADD COLUMN note text");
  EXPECT_TRUE(world_.Plan().can_run());
  const core::PhaseOutcome outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Verify().kind, Kind::kDone);
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = "
                          "'public.orders'::regclass"),
            "0");
  EXPECT_EQ(world_.Cleanup().kind, Kind::kDone);
}

// Writers of one group of tables wait at a time; a crash between two groups is no matter.
TEST_F(Takeover, SetsTheTriggersOfManyTablesInGroups) {
  for (int i = 0; i < 30; ++i) {
    const std::string name = "t" + std::to_string(i);
    world_.target().Run("CREATE TABLE " + name +
                        " (id integer PRIMARY KEY, v integer); INSERT INTO " + name +
                        " SELECT i, i FROM generate_series(1, 10) i");
  }
  // The last group is held up, so that prepare ends between two.
  const auto holder = world_.target().Connect();
  const std::string count = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'understudy%'";
  world_.document()["limits"] = {{"lock_timeout_ms", 50}};
  holder->Execute(
      "BEGIN; LOCK TABLE public.t29 IN ROW EXCLUSIVE MODE; "
      "LOCK TABLE public.orders IN ROW EXCLUSIVE MODE");
  core::PhaseOutcome outcome = world_.Prepare();
  EXPECT_FALSE(outcome.ok());
  holder->Execute("ROLLBACK");
  outcome = world_.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar(count), "62");
  for (int i = 0; i < 30; ++i) {
    world_.target().Run("UPDATE t" + std::to_string(i) + " SET v = 0 WHERE id = 3");
  }
  outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT sum((SELECT v FROM public.t29 WHERE id = 3) + (SELECT v FROM "
                          "public.t0 WHERE id = 3))"),
            "0");
  EXPECT_EQ(world_.Verify().kind, Kind::kDone);
}

// hard-cases 4, 5: between two pieces of the first copy rows move, go, and hand their unique values
// on; all pieces are of one snapshot, and the log brings the rest.
TEST_F(Takeover, ABigTableIsCopiedInPiecesOfOneSnapshot) {
  world_.target().Run(
      "ALTER TABLE orders ADD COLUMN code text UNIQUE, ADD COLUMN pad text;"
      "TRUNCATE orders;"
      "INSERT INTO orders (total, code, pad) SELECT i, 'c' || i, repeat('x', 900) FROM "
      "generate_series(1, 20000) i;");
  int pieces = 0;
  world_.at_progress = [&](const Json& progress) {
    if (progress.value("table", "") != "public.orders" || pieces++ > 0) return;
    world_.target().Run(
        "DELETE FROM orders WHERE id IN (SELECT id FROM orders ORDER BY id DESC LIMIT 50);"
        "UPDATE orders SET pad = repeat('y', 950) WHERE total % 7 = 0;"
        "INSERT INTO orders (total, code) SELECT 0, 'c' || i FROM generate_series(19951, 20000) i;"
        "UPDATE orders SET code = 'd' || code WHERE total = 5;"
        "UPDATE orders SET code = 'c5' WHERE total = 19000");
  };
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  EXPECT_GT(pieces, 2);
  const std::string rows =
      "SELECT md5(string_agg(concat_ws(' ', id, total, code, pad), ',' ORDER BY id)) FROM "
      "public.orders";
  const std::string before = world_.Scalar(rows);
  const core::PhaseOutcome outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar(rows), before);
  EXPECT_EQ(world_.Verify().kind, Kind::kDone);
}

// hard-case 26: a worker that outlived its process holds what reset must drop.
TEST_F(Takeover, EndsTheWorkersOfAProcessThatDied) {
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  const auto left = db::Connect(world_.target().endpoint(),
                                {.application_name = "understudy-engine table-swap swap"});
  std::atomic<bool> ended = false;
  std::thread worker([&] {
    try {
      left->Execute("BEGIN; LOCK TABLE understudy_shadow_public.orders; SELECT pg_sleep(60)");
    } catch (const Error&) {
      ended = true;
    }
  });
  while (world_.Scalar("SELECT count(*) FROM pg_locks WHERE granted AND relation = "
                       "'understudy_shadow_public.orders'::regclass AND mode = "
                       "'AccessExclusiveLock'") == "0") {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const core::PhaseOutcome outcome = world_.Reset();
  world_.target().Run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' "
      "AND "
      "pid <> pg_backend_pid()");
  const bool by_reset = outcome.kind == Kind::kDone;
  worker.join();
  EXPECT_TRUE(by_reset) << outcome.message;
  EXPECT_TRUE(ended);
  EXPECT_EQ(world_.Ours(), "");
}

// hard-case 27: others wait no longer behind a reset than limits.lock_timeout_ms, and it comes to
// its end when they let it.
TEST_F(Takeover, AResetWaitsForAClientWithoutHoldingOthersUp) {
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  world_.document()["limits"] = {{"lock_timeout_ms", 100}};
  const auto reader = world_.target().Connect();
  reader->Execute("BEGIN");
  reader->Query("SELECT count(*) FROM public.orders");
  std::atomic<bool> over = false;
  std::int64_t off_ms = -1;
  double longest_ms = 0;
  std::thread others([&] {
    const auto session = world_.target().Connect();
    const auto began = std::chrono::steady_clock::now();
    while (!over) {
      const auto before = std::chrono::steady_clock::now();
      session->Query("UPDATE public.orders SET total = total + 1 WHERE id = 1");
      const auto after = std::chrono::steady_clock::now();
      longest_ms =
          std::max(longest_ms, std::chrono::duration<double, std::milli>(after - before).count());
      if (off_ms < 0 && session->Scalar("SELECT bool_or(prosrc = 'BEGIN RETURN NULL; END') FROM "
                                        "pg_proc WHERE pronamespace = 'understudy'::regnamespace")
                                .TextOr("f") == "t") {
        off_ms = std::chrono::duration_cast<std::chrono::milliseconds>(after - began).count();
      }
      if (after - began > std::chrono::milliseconds(1500) && reader->InTransaction()) {
        reader->Execute("COMMIT");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  const core::PhaseOutcome outcome = world_.Reset();
  over = true;
  others.join();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_GE(off_ms, 0);
  EXPECT_LT(longest_ms, 3000) << "an update waited for the reader";
  EXPECT_EQ(world_.Ours(), "");
}

// From the first moment of a reset nothing is captured: whoever goes on all the same is told so.
TEST_F(Takeover, NobodyGoesOnAfterAResetThatDidNotComeToItsEnd) {
  world_.document()["limits"] = {{"lock_timeout_ms", 50}, {"cutover_budget_ms", 400}};
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  const auto holder = world_.target().Connect();
  holder->Execute("BEGIN; LOCK TABLE public.orders IN ROW EXCLUSIVE MODE");
  core::PhaseOutcome outcome = world_.Reset();
  EXPECT_EQ(outcome.kind, Kind::kFailed) << outcome.message;
  EXPECT_EQ(outcome.next, "migrate reset");
  holder->Execute("ROLLBACK");
  world_.target().Run("UPDATE public.orders SET total = -1 WHERE id = 1");  // captured by nobody
  outcome = world_.Cutover();
  EXPECT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.message, HasSubstr("nothing is being captured"));
  EXPECT_EQ(world_.Reset().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
  EXPECT_EQ(world_.Scalar("SELECT total FROM public.orders WHERE id = 1"), "-1");
}

TEST_F(Takeover, TheLogIsBoundedWhilePrepareIsAtWork) {
  world_.document()["limits"] = {{"log_max_bytes", 100000}};
  bool written = false;
  world_.at_point = [&](std::string_view point) {
    if (written || point != "copy.after_commit") return;
    written = true;
    world_.target().Run(
        "DO $$ BEGIN FOR i IN 1..20 LOOP UPDATE public.orders SET total = total + 1; END LOOP; "
        "END $$");
    for (int i = 0; i < 100 && world_.Scalar("SELECT bool_or(prosrc LIKE 'BEGIN RETURN%') FROM "
                                             "pg_proc WHERE pronamespace = "
                                             "'understudy'::regnamespace") != "t";
         ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  };
  core::PhaseOutcome outcome = world_.Prepare();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("log_max_bytes"));
  world_.at_point = nullptr;
  const std::string before = world_.Scalar(
      "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relnamespace = "
      "'understudy'::regnamespace AND relname LIKE 'capture%' AND relkind = 'r'");
  world_.target().Run("UPDATE public.orders SET total = total + 1");
  EXPECT_EQ(
      world_.Scalar("SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relnamespace = "
                    "'understudy'::regnamespace AND relname LIKE 'capture%' AND relkind = 'r'"),
      before);
  outcome = world_.Prepare();  // never on top of what was missed
  EXPECT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.message, HasSubstr("migrate reset"));
  EXPECT_EQ(world_.Reset().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

// Nobody replays between prepare and the cutover: the triggers hold the limit themselves, users
// write on, and what was prepared can never be put in service.
TEST_F(Takeover, TheLogIsBoundedWhileNobodyReplays) {
  world_.document()["limits"] = {{"log_max_bytes", 200000}};
  ASSERT_EQ(world_.Sync().kind, Kind::kDone);
  world_.target().Run(
      "DO $$ BEGIN FOR i IN 1..20 LOOP UPDATE public.orders SET total = total + 1; END LOOP; END "
      "$$");
  const char* size =
      "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = "
      "'understudy'::regnamespace AND relname LIKE 'capture%' AND relkind = 'r'";
  const std::string before = world_.Scalar(size);
  EXPECT_LT(std::stoll(before), 400000);
  world_.target().Run("UPDATE public.orders SET total = total + 1");
  EXPECT_EQ(world_.Scalar(size), before);
  core::Status status = world_.Status();
  ASSERT_EQ(status.of_strategy.blocking.size(), 1U);
  EXPECT_THAT(status.of_strategy.blocking[0], HasSubstr("limits.log_max_bytes (200000)"));
  EXPECT_THAT(status.of_strategy.blocking[0], HasSubstr("public.orders"));
  EXPECT_EQ(status.next, "migrate reset");
  const std::string main = world_.Scalar("SELECT 'public.orders'::regclass::oid");
  core::PhaseOutcome outcome = world_.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("keys that were written since are missing"));
  EXPECT_EQ(outcome.next, "migrate reset");
  for (const core::Phase phase :
       {core::Phase::kPrepare, core::Phase::kSync, core::Phase::kCutover}) {
    outcome = world_.Through(phase);  // nor by trying again
    EXPECT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.next, "migrate reset");
  }
  EXPECT_EQ(world_.Status().next, "migrate reset");
  EXPECT_EQ(world_.Scalar("SELECT 'public.orders'::regclass::oid"), main);
  EXPECT_EQ(world_.Reset().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
  EXPECT_EQ(world_.Cutover().kind, Kind::kDone);
}

// The mark of a full log is not lost with the server, not even where the transaction that set it
// was still open: another one's key is missing then, which did commit.
TEST(TakeoverCrash, AFullLogIsFullBehindACrashOfTheServer) {
  NEED_POSTGRES_BINARIES();
  for (const bool committed : {true, false}) {
    OwnServer server;
    SwapWorld world(server.endpoint(), false);
    world.target().Run(
        "CREATE TABLE orders (id serial PRIMARY KEY, total integer);"
        "INSERT INTO orders (total) SELECT i FROM generate_series(1, 1000) i;");
    world.SchemaBySql("ALTER TABLE orders ADD COLUMN cents bigint NOT NULL DEFAULT 0");
    world.document()["limits"] = {{"log_max_bytes", 200000}};
    ASSERT_EQ(world.Sync().kind, Kind::kDone);
    {
      const auto writer = world.target().Connect();
      writer->Execute("BEGIN");
      writer->Execute(
          "DO $$ BEGIN FOR i IN 1..20 LOOP UPDATE public.orders SET total = total + 1 WHERE id > "
          "1; END LOOP; END $$");
      if (committed) writer->Execute("COMMIT");
      world.target().Run("UPDATE orders SET total = -1 WHERE id = 1");
      server.Restart({});
    }
    EXPECT_EQ(world.Scalar("SELECT total FROM public.orders WHERE id = 1"), "-1");
    const core::Status status = world.Status();
    ASSERT_EQ(status.of_strategy.blocking.size(), 1U) << committed;
    EXPECT_EQ(status.next, "migrate reset");
    for (const core::Phase phase : {core::Phase::kSync, core::Phase::kCutover}) {
      const core::PhaseOutcome outcome = world.Through(phase);
      EXPECT_FALSE(outcome.ok());
      EXPECT_EQ(outcome.next, "migrate reset");
    }
    EXPECT_EQ(world.Scalar("SELECT count(*) FROM information_schema.columns WHERE table_schema = "
                           "'public' AND column_name = 'cents'"),
              "0");
    EXPECT_EQ(world.Reset().kind, Kind::kDone);
    EXPECT_EQ(world.Ours(), "");
  }
}

class KilledInPrepare : public Takeover {
 protected:
  void SetUp() override {
    Takeover::SetUp();
    if (!IsSkipped()) world_.set_rehearsal(false);
  }
  // psql has what it needs to take everything away, but for the scratch database, which no
  // transaction can drop.
  void ExpectTheFileRemovesAll() {
    const std::string file = ReadFile(world_.folder() / "remove-understudy.sql");
    EXPECT_THAT(file, HasSubstr("DROP DATABASE IF EXISTS \"understudy_scratch_"));
    EXPECT_EQ(world_.RemoveByPsql(), "");
    EXPECT_EQ(world_.Scalar("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'understudy%'"),
              "0");
    EXPECT_EQ(world_.Scalar("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'understudy%'"),
              "0");
    EXPECT_EQ(world_.Reset().kind, Kind::kDone);
    EXPECT_EQ(world_.Ours(), "");
  }
};

TEST_F(KilledInPrepare, LeavesTheFileThatRemovesEverythingBeforeAnythingIsBuilt) {
  world_.KillAt("prepare.schema_built", [&] { world_.Prepare(); });
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'understudy_s%'"),
            "0");
  ExpectTheFileRemovesAll();
}

TEST_F(KilledInPrepare, LeavesTheFileThatRemovesEverythingWhileRowsAreCopied) {
  world_.KillAt("copy.before_commit", [&] { world_.Prepare(); });
  ExpectTheFileRemovesAll();
}

// Behind the shadow's commit, before the first trigger, which waits for a client here.
TEST_F(KilledInPrepare, LeavesTheFileThatRemovesEverythingBetweenShadowAndCapture) {
  const auto holder = world_.target().Connect();
  holder->Execute("BEGIN; LOCK TABLE public.orders IN ROW EXCLUSIVE MODE");
  const pid_t pid = world_.Start([&] { world_.Prepare(); });
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (world_.Scalar("SELECT to_regclass('understudy_shadow_public.orders') IS NULL") == "t" &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(pid, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFSIGNALED(status));
  holder->Execute("ROLLBACK");
  EXPECT_EQ(world_.Scalar("SELECT to_regclass('understudy_shadow_public.orders') IS NULL"), "f");
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'understudy%'"), "0");
  ExpectTheFileRemovesAll();
}

// hard-case 22: two migrations of one database, of the same schemas and of others. plan and prepare
// go by one rule, and who is refused has left nothing.
class TwoMigrations : public Takeover, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    Takeover::SetUp();
    if (IsSkipped()) return;
    world_.target().Run(
        "CREATE SCHEMA sales; CREATE TABLE sales.item (id integer PRIMARY KEY);"
        "INSERT INTO sales.item SELECT generate_series(1, 10)");
    first_ = world_.document();
    const auto file = world_.folder() / "second.sql";
    WriteFileWhole(file, GetParam() ? "ALTER TABLE orders ADD COLUMN note text"
                                    : "ALTER TABLE sales.item ADD COLUMN note text");
    second_ = first_;
    second_["schema"] = {{"sql", {file.string()}}};
    second_["schemas"] = {GetParam() ? "public" : "sales"};
  }
  void Be(const char* id, const Json& document) {
    world_.set_id(id);
    world_.document() = document;
  }
  void BeFirst() { Be("first", first_); }
  void BeSecond() { Be("second", second_); }
  std::string Journal() {
    return world_.Scalar(
        "SELECT (SELECT string_agg(m::text, ';' ORDER BY m::text) FROM understudy.migrations m) "
        "|| (SELECT string_agg(e::text, ';' ORDER BY e::text) FROM understudy.entries e)");
  }
  Json first_;
  Json second_;
};

TEST_P(TwoMigrations, ARefusedOneLeavesNothingAndPlanSaysTheSame) {
  BeSecond();
  std::string journal;
  bool begun = false;
  // Behind the plan of the second, before it has written anything, the first one begins.
  world_.at_point = [&](std::string_view point) {
    if (begun || point != "prepare.begin") return;
    begun = true;
    BeFirst();
    const core::PhaseOutcome outcome = world_.Prepare();
    EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
    BeSecond();
    journal = Journal();
  };
  core::PhaseOutcome outcome = world_.Prepare();
  ASSERT_TRUE(begun);
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("migration 'first': another table swap is under way"));
  EXPECT_EQ(outcome.state, core::State::kNone);
  EXPECT_EQ(Journal(), journal);
  const core::Plan plan = world_.Plan();
  ASSERT_EQ(plan.refused.size(), 1U) << Refusals(plan);
  EXPECT_EQ(plan.refused[0].object + ": " + plan.refused[0].why, outcome.message);
  EXPECT_EQ(world_.Prepare().kind, Kind::kRefused);
  EXPECT_EQ(Journal(), journal);

  // The refused one holds nobody up, and comes to its turn.
  BeFirst();
  outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  BeSecond();
  EXPECT_THAT(Warnings(world_.Plan()), HasSubstr("the backup of the migration 'first'"));
  outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Verify().kind, Kind::kDone);
  EXPECT_EQ(world_.Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

INSTANTIATE_TEST_SUITE_P(OfOneDatabase, TwoMigrations, ::testing::Bool(), [](const auto& which) {
  return std::string(which.param ? "SameSchemas" : "OtherSchemas");
});

// Of two that begin in the same moment exactly one goes on.
TEST_F(Takeover, OneOfTwoThatBeginTogetherGoesOn) {
  std::vector<pid_t> pids;
  for (const char* id : {"one", "two", "three"}) {
    world_.set_id(id);
    pids.push_back(world_.Start([&] { world_.Prepare(); }));
  }
  for (const pid_t pid : pids) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status));
  }
  EXPECT_EQ(world_.Scalar("SELECT string_agg(state, ',') FROM understudy.migrations"), "ready");
}

// What only the scratch database shows: nothing of it stands in another migration's way.
TEST_F(Takeover, APrepareThatIsRefusedBeforeAnythingIsBuiltIsForgotten) {
  world_.at_point = [&](std::string_view point) {
    if (point == "prepare.begin") world_.SchemaBySql("CREATE ROLE understudy_nobody");
  };
  core::PhaseOutcome outcome = world_.Prepare();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("acts on the whole server"));
  EXPECT_EQ(outcome.state, core::State::kNone);
  EXPECT_EQ(world_.Ours(), "");
  world_.at_point = nullptr;
  world_.SchemaBySql("ALTER TABLE orders ADD COLUMN note text");
  world_.set_id("other");
  outcome = world_.Prepare();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
}

}  // namespace
}  // namespace understudy::table_swap
