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

// hard-case 15: an entry taken twice, or one for a row that is there already, changes nothing.
TEST(CapturePostgres, AKeyAppliedTwiceIsHarmless) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kOrders);
  Mirrored mirrored(database, {"orders"});
  mirrored.Start();
  const std::string log = catalog::NameOf(mirrored.session(), mirrored.tables()[0].log)->Quoted();
  database.Run("INSERT INTO " + log + " (k1) VALUES (1), (1), (2), (999)");
  const ReplayResult result = mirrored.ReplayOne(0);
  EXPECT_EQ(result.entries, 4);
  EXPECT_EQ(result.keys, 3);
  EXPECT_EQ(mirrored.Difference(0), "");
}

// hard-case 19
TEST(CapturePostgres, TakesMoreThanOneBatchToTheEnd) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kOrders);
  Mirrored mirrored(database, {"orders"});
  mirrored.Start();
  database.Run("UPDATE public.orders SET note = 'again'");
  ReplayResult first = mirrored.ReplayOne(0, {.entries = 30});
  EXPECT_EQ(first.entries, 30);
  EXPECT_TRUE(first.more);
  EXPECT_EQ(mirrored.PendingNow(), 70);
  const auto results = mirrored.ReplayAll({.entries = 30});
  EXPECT_EQ(results.size(), 4U);
  EXPECT_EQ(mirrored.Difference(0), "");
}

TEST(CapturePostgres, AReplayThatIsRolledBackLosesNoEntry) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kOrders);
  Mirrored mirrored(database, {"orders"});
  mirrored.Start();
  database.Run("UPDATE public.orders SET note = 'x' WHERE id <= 10");
  {
    db::Transaction given_up(mirrored.session(), db::Isolation::kRepeatableRead);
    Replay(mirrored.session(), mirrored.tables()[0]);
  }
  EXPECT_EQ(mirrored.PendingNow(), 10);
  mirrored.ReplayAll();
  EXPECT_EQ(mirrored.Difference(0), "");
}

// hard-case 11
TEST(CapturePostgres, ARefusedRowStaysPendingAndNothingElseDoes) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kOrders);
  database.Run("ALTER TABLE mirror.orders ADD CHECK (note <> 'bad')");
  Mirrored mirrored(database, {"orders"});
  mirrored.Start();
  database.Run("UPDATE public.orders SET note = 'fine' WHERE id <= 50");
  database.Run("UPDATE public.orders SET note = 'bad' WHERE id IN (17, 44)");  // is not held up
  for (int again = 0; again < 2; ++again) {
    const ReplayResult result = mirrored.ReplayOne(0, {.entries = 20});
    ASSERT_EQ(result.refused.size(), 2U);
    EXPECT_EQ(result.refused[0].table.Display(), "public.orders");
    EXPECT_EQ(result.refused[0].key, Json({{"id", "17"}}));
    EXPECT_EQ(result.refused[0].code, "23514");
    EXPECT_THAT(result.refused[0].why, ::testing::HasSubstr("orders_note_check"));
    EXPECT_EQ(mirrored.PendingNow(), 2);
  }
  const MirrorComparison others = mirrored.Compare(0);  // the pending keys left out
  EXPECT_TRUE(others.equal);
  EXPECT_EQ(others.watched_rows, 98);
  database.Run("UPDATE public.orders SET note = 'mended' WHERE note = 'bad'");
  EXPECT_TRUE(mirrored.ReplayOne(0).refused.empty());
  EXPECT_EQ(mirrored.PendingNow(), 0);
  EXPECT_EQ(mirrored.Difference(0), "");
}

TEST(CapturePostgres, LooksForNoMoreRefusedRowsThanAskedFor) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kOrders);
  database.Run("ALTER TABLE mirror.orders ADD CHECK (note <> 'bad')");
  Mirrored mirrored(database, {"orders"});
  mirrored.Start();
  database.Run("UPDATE public.orders SET note = 'bad'");
  const ReplayResult result = mirrored.ReplayOne(0, {.refused_at_most = 3});
  EXPECT_EQ(result.refused.size(), 3U);
  EXPECT_EQ(mirrored.PendingNow(), 100);
  database.Run("UPDATE public.orders SET note = 'good'");
  mirrored.ReplayAll();
  EXPECT_EQ(mirrored.Difference(0), "");
}

// hard-case 20: what production holds makes us give up, not production wait.
TEST(CapturePostgres, InstallGivesUpWhenALockIsNotToBeHad) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kOrders);
  Mirrored mirrored(database, {"orders"});
  const auto writer = database.Connect({.settings = db::Settings::kUsers});
  writer->Begin();
  writer->Execute("UPDATE public.orders SET note = 'held' WHERE id = 1");
  mirrored.session().Execute("SET lock_timeout = '100ms'");
  try {
    db::Transaction transaction(mirrored.session());
    Install(mirrored.session(), mirrored.tables());
    FAIL() << "it did not wait for the writer";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConflict);
  }
  writer->Commit();
  mirrored.Start();
  EXPECT_EQ(mirrored.Difference(0), "");
}

TEST(CapturePostgres, InstallMakesAnewWhatADeadMigrationLeft) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kOrders);
  Mirrored mirrored(database, {"orders"});
  mirrored.Start();
  database.Run("UPDATE public.orders SET note = 'x' WHERE id = 1");
  const auto dead = mirrored.tables();
  database.Run("TRUNCATE mirror.orders");
  mirrored.Start();
  EXPECT_NE(mirrored.tables()[0].log, dead[0].log);
  EXPECT_EQ(mirrored.PendingNow(), 0);
  database.Run("UPDATE public.orders SET note = 'y' WHERE id = 1");
  EXPECT_EQ(mirrored.PendingNow(), 1);
  mirrored.ReplayAll();
  EXPECT_EQ(mirrored.Difference(0), "");
}

TEST(CapturePostgres, RefusesATableWithoutAKeyByName) {
  NEED_POSTGRES();
  const Database database;
  database.Run(
      "CREATE TABLE public.loose (a int); CREATE SCHEMA mirror;"
      "CREATE TABLE mirror.loose (a int)");
  Mirrored mirrored(database, {"loose"});
  try {
    mirrored.Start();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("public.loose"));
  }
}

// The mirror may be moved and renamed: it is known by its OID.
TEST(CapturePostgres, GoesOnAfterTablesWereMoved) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kOrders);
  Mirrored mirrored(database, {"orders"});
  mirrored.Start();
  database.Run(
      "CREATE SCHEMA elsewhere; ALTER TABLE mirror.orders SET SCHEMA elsewhere;"
      "ALTER TABLE public.orders RENAME TO \"Or ders\";"
      "UPDATE public.\"Or ders\" SET note = 'moved' WHERE id < 9");
  EXPECT_EQ(CapturedTable::FromJson(mirrored.tables()[0].ToJson()).ToJson(),
            mirrored.tables()[0].ToJson());
  mirrored.tables()[0] = CapturedTable::FromJson(mirrored.tables()[0].ToJson());
  mirrored.ReplayAll();
  EXPECT_EQ(mirrored.Difference(0), "");
  database.Run("DROP TABLE elsewhere.orders; DELETE FROM public.\"Or ders\" WHERE id = 9");
  try {
    mirrored.ReplayOne(0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kMismatch);
  }
}

TEST(CapturePostgres, ReplaysManyTablesAtOnceOnceTheyWereMadeReady) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.a (id int PRIMARY KEY, v text UNIQUE);
    CREATE TABLE public.b (x text, y int, v int, PRIMARY KEY (x, y));
    CREATE TABLE public.c (id int PRIMARY KEY, v int);
    INSERT INTO public.a SELECT i, 'a' || i FROM generate_series(1, 100) i;
    INSERT INTO public.b SELECT 'b' || i, i, i FROM generate_series(1, 100) i;
    INSERT INTO public.c SELECT i, i FROM generate_series(1, 100) i;
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.a (LIKE public.a INCLUDING ALL);
    CREATE TABLE mirror.b (LIKE public.b INCLUDING ALL);
    CREATE TABLE mirror.c (id int, v int);)");
  Mirrored mirrored(database, {"a", "b", "c"});
  mirrored.Start();
  auto& session = mirrored.session();
  ReadyReplay ready(session, mirrored.tables());
  // Without an index it would read all of c's mirror for each key.
  EXPECT_FALSE(ready.Has(mirrored.tables()[2].watched));
  std::vector<Oid> all;
  for (const CapturedTable& table : mirrored.tables()) all.push_back(table.watched);
  std::int64_t grown = 0;
  const auto run = [&](const std::string& sql) {
    database.Run(sql);
    db::Transaction transaction(session, db::Isolation::kRepeatableRead);
    const auto done = ready.Run(all);
    if (done) transaction.Commit();
    grown = 0;
    if (done)
      for (const auto& [table, rows] : done->rows) grown += rows;
    return done ? done->entries : -1;
  };
  EXPECT_EQ(run("SELECT 1"), 0);
  EXPECT_EQ(
      run("UPDATE public.a SET v = 'x' || id WHERE id <= 10; DELETE FROM public.b WHERE y > 90;"
          "INSERT INTO public.a VALUES (200, 'new'); UPDATE public.b SET y = 500 WHERE y = 1"),
      10 + 10 + 1 + 2);
  EXPECT_EQ(mirrored.Difference(0), "");
  EXPECT_EQ(mirrored.Difference(1), "");
  EXPECT_EQ(mirrored.PendingNow(), 0);
  // A value that changes hands needs both keys at once.
  EXPECT_EQ(
      run("UPDATE public.a SET v = 'free' WHERE id = 11; UPDATE public.a SET v = 'a11' WHERE id = "
          "12; UPDATE public.c SET v = 0 WHERE id = 1"),
      2);
  EXPECT_EQ(mirrored.Difference(0), "");
  EXPECT_EQ(mirrored.PendingNow(), 1);  // of c
  // What it cannot do it leaves to Replay(), and does nothing.
  database.Run("ALTER TABLE mirror.a ADD CHECK (v <> 'refused')");
  EXPECT_EQ(run("UPDATE public.a SET v = 'refused' WHERE id = 20; UPDATE public.b SET v = 0"), -1);
  EXPECT_EQ(mirrored.ReplayAll().at(0).refused.size(), 1U);
  database.Run("UPDATE public.a SET v = 'fine' WHERE id = 20");
  EXPECT_EQ(run("TRUNCATE public.b"), -1);
  mirrored.ReplayAll();
  EXPECT_EQ(run("INSERT INTO public.b VALUES ('again', 1, 1)"), 1);
  for (std::size_t table = 0; table < 3; ++table) EXPECT_EQ(mirrored.Difference(table), "");
}

}  // namespace
}  // namespace understudy::capture
