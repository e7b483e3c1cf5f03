#include <atomic>
#include <chrono>
#include <thread>

#include "tests/engine/table_swap/swap_fixture.h"

// What one process finds that another one, or another migration, has left or is at.
namespace understudy::table_swap {
namespace {
using Kind = core::PhaseOutcome::Kind;
using ::testing::HasSubstr;

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

TEST_F(Takeover, TheFileThatRemovesEverythingIsThereAfterACrashInPrepare) {
  world_.set_rehearsal(false);
  world_.at_point = [](std::string_view point) {
    if (point == "copy.before_commit") throw Error(ErrorKind::kCancelled, "killed", "injected");
  };
  EXPECT_FALSE(world_.Prepare().ok());
  world_.at_point = nullptr;
  const std::string file = ReadFile(world_.folder() / "remove-understudy.sql");
  EXPECT_THAT(file, HasSubstr("DROP DATABASE IF EXISTS \"understudy_scratch_"));
  world_.target().Run(file);
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'understudy%'"), "0");
  EXPECT_EQ(world_.Reset().kind, Kind::kDone);
  EXPECT_EQ(world_.Ours(), "");
}

}  // namespace
}  // namespace understudy::table_swap
