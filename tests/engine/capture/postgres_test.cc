#include "engine/capture/postgres.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "tests/engine/capture/mirror.h"

namespace understudy::capture {
namespace {

using testing::Mirrored;
using understudy::testing::Database;

constexpr const char* kOrders = R"(
  CREATE TABLE public.orders (id int PRIMARY KEY, code text UNIQUE, note text);
  INSERT INTO public.orders SELECT i, 'c' || i, 'n' || i FROM generate_series(1, 100) i;
  CREATE SCHEMA mirror;
  CREATE TABLE mirror.orders (LIKE public.orders INCLUDING ALL);)";

TEST(CapturePostgres, BringsEveryKindOfWriteToTheMirror) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kOrders);
  Mirrored mirrored(database, {"orders"});
  mirrored.Start();
  EXPECT_EQ(mirrored.Difference(0), "");
  database.Run("INSERT INTO public.orders VALUES (101, NULL, 'new')");
  database.Run("UPDATE public.orders SET note = NULL WHERE id = 5");
  database.Run("DELETE FROM public.orders WHERE id < 3");
  EXPECT_EQ(mirrored.PendingNow(), 4);
  EXPECT_NE(mirrored.Difference(0), "");
  const auto results = mirrored.ReplayAll();
  EXPECT_EQ(results.at(0).keys, 4);
  EXPECT_EQ(results.at(0).deleted, 3);
  EXPECT_EQ(results.at(0).inserted, 2);
  EXPECT_EQ(mirrored.PendingNow(), 0);
  EXPECT_EQ(mirrored.Difference(0), "");
  EXPECT_TRUE(mirrored.Compare(0).equal);
  EXPECT_EQ(mirrored.Compare(0).watched_rows, 99);
}

// hard-case 62: nothing of ours survives Remove.
TEST(CapturePostgres, RemoveLeavesNothing) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kOrders);
  Mirrored mirrored(database, {"orders"});
  mirrored.Start();
  EXPECT_TRUE(MissingTriggers(mirrored.session(), mirrored.tables()).empty());
  EXPECT_GT(LogBytes(mirrored.session(), mirrored.tables()), 0);
  {
    db::Transaction transaction(mirrored.session());
    Remove(mirrored.session(), mirrored.tables());
    transaction.Commit();
  }
  const auto left = mirrored.session().Query(
      "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal UNION ALL "
      "SELECT relname FROM pg_class WHERE relnamespace = 'understudy'::regnamespace UNION ALL "
      "SELECT proname FROM pg_proc WHERE pronamespace = 'understudy'::regnamespace");
  EXPECT_TRUE(left.rows.empty());
  database.Run("INSERT INTO public.orders VALUES (777, 'x', 'x')");
}

}  // namespace
}  // namespace understudy::capture
