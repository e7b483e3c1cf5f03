// Real migration tools on real databases. A tool that is not on this machine skips its test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/base/process.h"
#include "tests/engine/sql_files/support.h"

namespace understudy {
namespace {
namespace fs = std::filesystem;
using core::PhaseOutcome;
using ::testing::Contains;
using testing::Database;
using ::testing::HasSubstr;
using testing::Project;

fs::path ProjectFolder(const std::string& name) {
  return fs::path(UNDERSTUDY_SOURCE_DIR) / "fixtures/projects" / name;
}

std::string Catalog(const Database& database) {
  return database.Connect()
      ->Scalar(
          "SELECT coalesce(string_agg(table_name || '.' || column_name || ' ' || data_type, E'\\n' "
          "ORDER BY table_name, ordinal_position), '') FROM information_schema.columns WHERE "
          "table_schema = 'public' AND table_name NOT LIKE '%migrations%'")
      .text;
}

TEST(Tools, SqitchDeploysAndRevertsThroughCommand) {
  NEED_POSTGRES();
  if (FindProgram("sqitch").empty()) GTEST_SKIP() << "no sqitch on this machine";
  const Database database;
  Project project(database.endpoint());
  project.document = {{"strategy", "command"},
                      {"on", "main"},
                      {"up", {"sqitch", "deploy", "--verify", "db:pg:"}},
                      {"down", {"sqitch", "revert", "-y", "db:pg:"}},
                      {"cwd", ProjectFolder("sqitch").string()},
                      {"env", {{"SQITCH_FULLNAME", "Ada"}, {"SQITCH_EMAIL", "ada@example.com"}}}};
  const PhaseOutcome outcome = project.Run();
  ASSERT_EQ(outcome.kind, PhaseOutcome::Kind::kDone) << outcome.message;
  const std::string by_sqitch = Catalog(database);
  EXPECT_THAT(by_sqitch, HasSubstr("orders.total_cents bigint"));
  // Its own record of what is applied is read: nothing is left to rehearse.
  Project files(database.endpoint());
  files.document = {{"strategy", "sql"},
                    {"on", "main"},
                    {"id", "files"},
                    {"up", ProjectFolder("sqitch").string()}};
  EXPECT_EQ(files.Plan().statements.size(), 0U);

  const PhaseOutcome back = project.Rollback();
  ASSERT_EQ(back.kind, PhaseOutcome::Kind::kDone) << back.message;
  EXPECT_EQ(Catalog(database), "");
  // Our rehearsal of the same files makes the same tables.
  const PhaseOutcome rehearsed = files.Run();
  ASSERT_EQ(rehearsed.kind, PhaseOutcome::Kind::kDone) << rehearsed.message;
  EXPECT_EQ(Catalog(database), by_sqitch);
}

// The packages are installed once, outside the source tree, by `npm ci` from the lock file; without
// network and without them the test is skipped.
TEST(Tools, KnexMigratesAndRollsBackThroughCommand) {
  NEED_POSTGRES();
  if (FindProgram("npm").empty() || FindProgram("node").empty())
    GTEST_SKIP() << "no node on this machine";
  const TemporaryFolder folder;
  fs::copy(ProjectFolder("knex"), folder.path(), fs::copy_options::recursive);
  Command install;
  install.argv = {"npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"};
  install.folder = folder.path();
  install.deadline = std::chrono::minutes(3);
  const Outcome installed = RunCommand(install);
  if (!installed.ok()) GTEST_SKIP() << "npm could not install knex: " << installed.err;
  const Database database;
  Project project(database.endpoint());
  project.document = {{"strategy", "command"},
                      {"on", "main"},
                      {"up", {"node_modules/.bin/knex", "migrate:latest"}},
                      {"down", {"node_modules/.bin/knex", "migrate:rollback", "--all"}},
                      {"cwd", folder.path().string()}};
  const PhaseOutcome outcome = project.Run();
  ASSERT_EQ(outcome.kind, PhaseOutcome::Kind::kDone) << outcome.message;
  EXPECT_THAT(Catalog(database), HasSubstr("orders.total_cents bigint"));
  const PhaseOutcome back = project.Rollback();
  ASSERT_EQ(back.kind, PhaseOutcome::Kind::kDone) << back.message;
  EXPECT_EQ(Catalog(database), "");
}

TEST(Tools, EveryLayoutsProjectGoesUpAndDownAndUp) {
  NEED_POSTGRES();
  for (const std::string name :
       {"golang-migrate/migrations", "goose/migrations", "dbmate/db/migrations", "sqitch"}) {
    const Database database;
    Project project(database.endpoint());
    project.document["up"] = ProjectFolder(name).string();
    PhaseOutcome outcome = project.Run();
    ASSERT_EQ(outcome.kind, PhaseOutcome::Kind::kDone) << name << ": " << outcome.message;
    const std::string up = Catalog(database);
    EXPECT_THAT(up, HasSubstr("orders.customer_id bigint")) << name;
    outcome = project.Rollback();
    ASSERT_EQ(outcome.kind, PhaseOutcome::Kind::kDone) << name << ": " << outcome.message;
    EXPECT_THAT(Catalog(database), ::testing::Not(HasSubstr("orders"))) << name;
    outcome = project.Run();
    ASSERT_EQ(outcome.kind, PhaseOutcome::Kind::kDone) << name << ": " << outcome.message;
    EXPECT_EQ(Catalog(database), up) << name;
  }
}

}  // namespace
}  // namespace understudy
