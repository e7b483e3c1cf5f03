#include "engine/core/pacer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "engine/base/error.h"
#include "tests/support/server.h"

namespace understudy::core {
namespace {
using ::testing::HasSubstr;
using understudy::testing::Database;

TEST(Pacer, KeepsTheLimitsOfTheFile) {
  NEED_POSTGRES();
  const Database database;
  Spec spec;
  spec.limits.rows_per_s = 1000;
  spec.limits.bytes_per_s = 1000000;
  const Context context(spec, nullptr, {}, false);
  {
    Pacer pacer(context, database.endpoint());
    const auto began = SteadyClock::now();
    for (int i = 0; i < 5; ++i) pacer.Moved(100, 1);
    EXPECT_GE(MillisecondsSince(began), 490);
  }
  {
    Pacer pacer(context, database.endpoint());
    const auto began = SteadyClock::now();
    for (int i = 0; i < 5; ++i) pacer.Moved(1, 100000);
    EXPECT_GE(MillisecondsSince(began), 490);
  }
}

TEST(Pacer, HoldsBackWhileProductionWaitsForALockOfOurs) {
  NEED_POSTGRES();
  const Database database;
  database.Run("CREATE TABLE t (id integer)");
  Spec spec;
  const Context context(spec, nullptr, {}, false);
  Pacer pacer(context, database.endpoint());
  pacer.Moved(1, 1);
  EXPECT_EQ(pacer.holding(), "");

  const auto ours = database.Connect({.application_name = "understudy-engine table-swap"});
  ours->Begin();
  ours->Execute("LOCK TABLE public.t");
  std::thread client([&] { database.Connect()->Query("SELECT * FROM public.t"); });
  const auto wait = [&](const auto& done) {
    const auto until = SteadyClock::now() + std::chrono::seconds(20);
    while (!done() && SteadyClock::now() < until) {
      pacer.Moved(1, 1);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  };
  wait([&] { return !pacer.holding().empty(); });
  EXPECT_THAT(pacer.holding(), HasSubstr("wait for a lock of ours"));
  const auto began = SteadyClock::now();
  pacer.Moved(1, 1);
  EXPECT_GE(MillisecondsSince(began), Pacer::kFirstPause.count());
  ours->Rollback();
  client.join();
  wait([&] { return pacer.holding().empty(); });
  EXPECT_EQ(pacer.holding(), "");
}

TEST(Pacer, EndsWhenSomebodyAsksToStop) {
  NEED_POSTGRES();
  const Database database;
  Spec spec;
  spec.limits.rows_per_s = 1;
  const auto began = SteadyClock::now();
  const Context context(
      spec, nullptr, [&] { return MillisecondsSince(began) > 200; }, false);
  Pacer pacer(context, database.endpoint());
  EXPECT_THROW(pacer.Moved(1000, 1), Error);
  EXPECT_LT(MillisecondsSince(began), 10000);
}

// Moves a row now and then until `done`; false when it never is.
bool MoveUntil(Pacer& pacer, const std::function<bool()>& done) {
  const auto until = SteadyClock::now() + std::chrono::seconds(60);
  while (!done()) {
    if (SteadyClock::now() > until) return false;
    pacer.Moved(1, 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

// replay_lag itself stands still where replay does, so it alone would not tell.
TEST(Pacer, HoldsBackWhileAStandbyFallsBehind) {
  NEED_POSTGRES_BINARIES();
  const testing::OwnServer primary;
  const testing::OwnServer standby(primary, "reports");
  const auto on_standby = db::Connect(standby.endpoint());
  const auto production = db::Connect(primary.endpoint());
  production->Execute("CREATE TABLE public.t (id integer)");
  Spec spec;
  const Context context(spec, nullptr, {}, false);
  Pacer pacer(context, primary.endpoint(), std::chrono::milliseconds(1500));
  ASSERT_TRUE(MoveUntil(pacer, [&] {
    return production
               ->Scalar(
                   "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = "
                   "pg_current_wal_lsn()")
               .text == "1";
  }));
  pacer.Moved(1, 1);
  EXPECT_EQ(pacer.holding(), "");

  on_standby->Query("SELECT pg_wal_replay_pause()");
  EXPECT_TRUE(MoveUntil(pacer, [&] {
    production->Execute("INSERT INTO public.t VALUES (1)");
    return !pacer.holding().empty();
  }));
  EXPECT_THAT(pacer.holding(), HasSubstr("the standby reports (pid "));
  on_standby->Query("SELECT pg_wal_replay_resume()");
  EXPECT_TRUE(MoveUntil(pacer, [&] { return pacer.holding().empty(); }));
}

// Its lag is not our doing, and would hold the copy back for good.
TEST(Pacer, GoesOnWhereAStandbyIsDelayedOnPurpose) {
  NEED_POSTGRES_BINARIES();
  const testing::OwnServer primary;
  const testing::OwnServer standby(primary, "delayed", {"recovery_min_apply_delay=2s"});
  const auto production = db::Connect(primary.endpoint());
  production->Execute("CREATE TABLE public.t (id integer)");
  const auto write = [&] { production->Execute("INSERT INTO public.t VALUES (1)"); };
  const auto until = SteadyClock::now() + std::chrono::seconds(60);
  while (!production
              ->Scalar("SELECT coalesce(max(replay_lag) > '1.9 s', false) FROM "
                       "pg_stat_replication")
              .AsBool()) {
    ASSERT_LT(SteadyClock::now(), until);
    write();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  Spec spec;
  const Context context(spec, nullptr, {}, false);
  Pacer pacer(context, primary.endpoint(), std::chrono::milliseconds(1500));
  for (int i = 0; i < 60; ++i) {
    write();
    pacer.Moved(1, 1);
    EXPECT_EQ(pacer.holding(), "");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

TEST(Pacer, HoldsBackWhileProductionDoesNotAnswer) {
  NEED_POSTGRES_BINARIES();
  const testing::OwnServer server;
  Spec spec;
  const Context context(spec, nullptr, {}, false);
  Pacer pacer(context, server.endpoint());
  pacer.Moved(1, 1);
  const auto admin = db::Connect(server.endpoint());
  const auto pid =
      static_cast<pid_t>(admin
                             ->Scalar("SELECT pid FROM pg_stat_activity WHERE application_name = "
                                      "'understudy-engine pacer'")
                             .AsInteger());
  // Slow: its process is stopped for a while.
  ASSERT_EQ(::kill(pid, SIGSTOP), 0);
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    ::kill(pid, SIGCONT);
  });
  EXPECT_TRUE(MoveUntil(pacer, [&] { return !pacer.holding().empty(); }));
  later.join();
  EXPECT_THAT(pacer.holding(), HasSubstr("answered a probe in "));
  EXPECT_TRUE(MoveUntil(pacer, [&] { return pacer.holding().empty(); }));
  // Not at all: pg_stat_activity reads pg_database. Then it goes on as before, not blind.
  admin->Begin();
  admin->Execute("LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE");
  EXPECT_TRUE(MoveUntil(pacer, [&] { return !pacer.holding().empty(); }));
  EXPECT_THAT(pacer.holding(), HasSubstr("did not answer a probe in 2000 ms"));
  admin->Rollback();
  EXPECT_TRUE(MoveUntil(pacer, [&] { return pacer.holding().empty(); }));
}

}  // namespace
}  // namespace understudy::core
