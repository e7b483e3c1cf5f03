#include "engine/core/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "engine/base/error.h"
#include "tests/support/server.h"

namespace understudy::core {
namespace {

void KeepsRecordsAndEntries(db::Session& session) {
  Journal journal(session, "a");
  EXPECT_FALSE(journal.Load().has_value());
  journal.Create();
  journal.Create();  // safe to repeat
  journal.Save({"sql", "digest", State::kPreparing, 1, {{"note", "it's \"quoted\""}}});
  EXPECT_EQ(journal.Load()->detail["note"], "it's \"quoted\"");
  journal.SetState(State::kReady);
  EXPECT_EQ(journal.Load()->state, State::kReady);
  EXPECT_EQ(journal.Load()->digest, "digest");
  journal.Add("one");
  journal.Add("two", {{"x", 1}});
  journal.Put("one", {{"y", 2}});
  ASSERT_EQ(journal.Entries().size(), 2U);
  EXPECT_EQ(journal.Entries()[0].detail["y"], 2);
  EXPECT_EQ(journal.Find("two")->number, 2);
  journal.Remove("one");
  EXPECT_FALSE(journal.Find("one").has_value());
}

void WritesWithTheTransaction(db::Session& session) {
  Journal journal(session, "a");
  journal.Create();
  session.Begin();
  journal.Add("gone");
  session.Rollback();
  EXPECT_TRUE(journal.Entries().empty());
}

void TakingOverStopsTheOldOne(db::Session& session) {
  Journal journal(session, "a");
  journal.Create();
  journal.Save({"sql", "d", State::kSyncing, 1, Json::object()});
  journal.CheckEpoch(1);
  EXPECT_EQ(journal.TakeOver(), 2);
  EXPECT_THROW(journal.CheckEpoch(1), Error);
  journal.CheckEpoch(2);
}

void TheLastOneTakesTheTablesAlong(db::Session& session) {
  Journal a(session, "a");
  Journal b(session, "b");
  a.Create();
  a.Save({"sql", "d", State::kSyncing, 1, Json::object()});
  b.Save({"sql", "d", State::kSyncing, 1, Json::object()});
  a.Drop();
  EXPECT_TRUE(b.Exists());
  EXPECT_FALSE(a.Load().has_value());
  b.Drop();
  EXPECT_FALSE(b.Exists());
}

TEST(JournalOnPostgres, KeepsItsPromises) {
  NEED_POSTGRES();
  for (const auto check : {KeepsRecordsAndEntries, WritesWithTheTransaction,
                           TakingOverStopsTheOldOne, TheLastOneTakesTheTablesAlong}) {
    const understudy::testing::Database database;
    check(*database.Connect());
  }
}

TEST(JournalOnSqlite, KeepsItsPromises) {
  for (const auto check : {KeepsRecordsAndEntries, WritesWithTheTransaction,
                           TakingOverStopsTheOldOne, TheLastOneTakesTheTablesAlong}) {
    const understudy::testing::SqliteFile file;
    check(*file.Connect());
  }
}

// The product never touches a schema that merely looks like its own.
TEST(JournalOnPostgres, LeavesTheSchemaWhereSomebodyElseUsesIt) {
  NEED_POSTGRES();
  const understudy::testing::Database database;
  const auto session = database.Connect();
  session->Execute("CREATE SCHEMA understudy; CREATE TABLE understudy.mine(x int)");
  Journal journal(*session, "a");
  journal.Create();
  journal.Save({"sql", "d", State::kSyncing, 1, Json::object()});
  journal.Drop();
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM understudy.mine").AsInteger(), 0);
}

TEST(JournalOnPostgres, SaysWhoseItIsToARoleThatMayNotReadIt) {
  NEED_POSTGRES();
  const understudy::testing::Database database;
  const auto session = database.Connect();
  session->Execute(
      "DO $$ BEGIN CREATE ROLE understudy_journal_stranger; EXCEPTION WHEN duplicate_object THEN "
      "NULL; END $$");
  const std::string owner = session->Scalar("SELECT current_user").text;
  session->Execute("SET ROLE understudy_journal_stranger");
  EXPECT_FALSE(Journal(*session, "a").Exists());
  session->Execute("RESET ROLE");
  Journal(*session, "a").Create();
  session->Execute("SET ROLE understudy_journal_stranger");
  try {
    Journal(*session, "a").Exists();
    FAIL() << "it was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kEnvironment);
    EXPECT_THAT(error.what(), ::testing::AllOf(::testing::HasSubstr("understudy_journal_stranger"),
                                               ::testing::EndsWith("run this as " + owner)));
  }
}

// The lock went with the connection, which the server ends a moment after the client has: the next
// phase of the same migration was refused.
TEST(MigrationLock, IsFreeAsSoonAsItIsGivenBack) {
  NEED_POSTGRES();
  const testing::Database database;
  for (int i = 0; i < 20; ++i) {
    const auto watcher = database.Connect();
    { const MigrationLock lock(database.endpoint(), "m"); }
    EXPECT_EQ(watcher
                  ->Scalar("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND "
                           "database = (SELECT oid FROM pg_database WHERE datname = "
                           "current_database())")
                  .AsInteger(),
              0);
  }
}

TEST(MigrationLock, WaitsForAHolderThatIsAboutToGo) {
  NEED_POSTGRES();
  const testing::Database database;
  auto dying = std::make_unique<MigrationLock>(database.endpoint(), "m");
  std::jthread end([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    dying.reset();
  });
  EXPECT_NO_THROW(MigrationLock(database.endpoint(), "m"));
  end.join();
  const MigrationLock alive(database.endpoint(), "m");
  EXPECT_THROW(MigrationLock(database.endpoint(), "m"), Error);
}

}  // namespace
}  // namespace understudy::core
