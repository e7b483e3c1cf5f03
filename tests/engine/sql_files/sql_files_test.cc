#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "tests/engine/sql_files/support.h"

namespace understudy::sql_files {
namespace {
using core::PhaseOutcome;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using TestDatabase = understudy::testing::Database;
using understudy::testing::Project;
using understudy::testing::SqliteFile;

constexpr auto kDone = PhaseOutcome::Kind::kDone;

std::int64_t Scalar(const db::Endpoint& endpoint, const std::string& sql) {
  return db::Connect(endpoint)->Scalar(sql).AsInteger();
}

TEST(SqlFiles, RunsFilesInOrderAndTellsWhatEachStatementDid) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run(
      "CREATE TABLE orders(id int PRIMARY KEY, total numeric); INSERT INTO orders "
      "SELECT i, i FROM generate_series(1, 100) i");
  Project project(database.endpoint());
  project.Write("migrations/0001_a.sql",
                "-- cents\n\nALTER TABLE orders ADD COLUMN cents bigint;\n"
                "UPDATE orders SET cents = total * 100;\n");
  project.Write("migrations/0002_b.sql", "ALTER TABLE orders ALTER COLUMN id TYPE bigint;");
  const PhaseOutcome outcome = project.Run();
  ASSERT_EQ(outcome.kind, kDone) << outcome.message;
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT sum(cents)::bigint FROM public.orders"), 505000);

  const auto statements = project.recorder.Of("statement");
  ASSERT_EQ(statements.size(), 3U);
  EXPECT_EQ(statements[0]["file"], "migrations/0001_a.sql");
  EXPECT_EQ(statements[0]["line"], 3);
  EXPECT_EQ(statements[0]["transaction"], "file");
  EXPECT_EQ(statements[0]["phase"], "cutover");
  EXPECT_THAT(statements[0]["locks"],
              Contains(Json({{"object", "public.orders"}, {"mode", "AccessExclusiveLock"}})));
  EXPECT_EQ(statements[0]["rewritten"], Json::array());
  EXPECT_EQ(statements[1]["line"], 4);
  EXPECT_GT(statements[1]["wal_bytes"], 1000);
  EXPECT_EQ(statements[2]["rewritten"], Json::array({"public.orders"}));

  bool held = false;
  for (const Json& one : project.recorder.Of("held")) {
    if (one["mode"] == "AccessExclusiveLock" && one["object"] == "public.orders" &&
        one["line"] == 3) {
      held = true;  // by the first statement until the commit after the second
      EXPECT_GE(one["ms"].get<double>(), statements[1]["ms"].get<double>());
      EXPECT_THAT(one["statement"].get<std::string>(), HasSubstr("ADD COLUMN cents"));
    }
  }
  EXPECT_TRUE(held);
  EXPECT_THAT(project.recorder.Points(),
              ElementsAre("prepare.begin", "prepare.end", "cutover.begin", "statement.before",
                          "statement.after", "statement.before", "statement.after",
                          "cutover.locked", "cutover.before_commit", "cutover.after_commit",
                          "statement.before", "statement.after", "cutover.locked",
                          "cutover.before_commit", "cutover.after_commit", "verify.end"));
}

TEST(SqlFiles, NamesFileAndLineOfAnErrorAndKeepsTheFilesBefore) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);");
  project.Write("migrations/2.sql",
                "CREATE TABLE b(id int);\n\nSELECT\n  1,\n  nothing\nFROM a;\n");
  const PhaseOutcome outcome = project.Run();
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("migrations/2.sql:5: column \"nothing\" does not exist"));
  EXPECT_THAT(outcome.message, Not(HasSubstr("LINE")));
  EXPECT_EQ(Scalar(database.endpoint(),
                   "SELECT count(*) FROM pg_class WHERE relname IN ('a', 'b') AND relkind = 'r'"),
            1);
  EXPECT_THAT(project.Status().of_strategy.detail, "1 of 2 versions applied");
  // Mended, it goes on at the second file.
  project.Write("migrations/2.sql", "CREATE TABLE b(id int);");
  const PhaseOutcome again = project.Run();
  EXPECT_EQ(again.kind, kDone) << again.message;
  EXPECT_EQ(project.Status().of_strategy.in_service, core::Owner::kNew);
}

TEST(SqlFiles, RunsOnSqlite) {
  const SqliteFile file;
  file.Run("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'x')");
  Project project(file.endpoint());
  project.Write("up.sql", "ALTER TABLE t ADD COLUMN b TEXT;\nUPDATE t SET b = a;\n");
  project.Write("down.sql", "ALTER TABLE t DROP COLUMN b;");
  project.document["up"] = "up.sql";
  project.document["down"] = "down.sql";
  const PhaseOutcome outcome = project.Run();
  ASSERT_EQ(outcome.kind, kDone) << outcome.message;
  EXPECT_EQ(file.Connect()->Scalar("SELECT b FROM t").text, "x");
  const PhaseOutcome back = project.Rollback();
  EXPECT_EQ(back.kind, kDone) << back.message;
  EXPECT_EQ(Scalar(file.endpoint(), "SELECT count(*) FROM pragma_table_info('t')"), 2);
  EXPECT_EQ(project.Run(core::Phase::kCleanup).kind, kDone);
  EXPECT_EQ(
      Scalar(file.endpoint(),
             "SELECT count(*) FROM sqlite_schema WHERE name LIKE '\\_understudy%' ESCAPE '\\'"),
      0);
}

}  // namespace
}  // namespace understudy::sql_files
