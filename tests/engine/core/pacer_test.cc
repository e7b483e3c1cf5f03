#include "engine/core/pacer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace understudy::core
