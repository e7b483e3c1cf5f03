#include "engine/command/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "engine/base/error.h"
#include "engine/base/redact.h"
#include "tests/engine/sql_files/support.h"

namespace understudy::command {
namespace {
using core::PhaseOutcome;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using TestDatabase = understudy::testing::Database;
using understudy::testing::Project;
using understudy::testing::SqliteFile;

struct CommandProject : Project {
  CommandProject(const db::Endpoint& endpoint, Json up, Json down = nullptr) : Project(endpoint) {
    document = {{"strategy", "command"}, {"on", "main"}, {"up", std::move(up)}};
    if (!down.is_null()) document["down"] = std::move(down);
  }
};

std::vector<std::string> Output(const Project& project) {
  std::vector<std::string> lines;
  for (const Json& event : project.recorder.Of("output")) {
    lines.push_back(event["stream"].get<std::string>() + ": " + event["text"].get<std::string>());
  }
  return lines;
}

TEST(Command, FindsTheDatabaseInItsEnvironment) {
  NEED_POSTGRES();
  const TestDatabase database;
  CommandProject project(database.endpoint(),
                         {"sh", "-c",
                          "psql -Xqc 'CREATE TABLE t(id int)' && psql -Xq \"$DATABASE_URL\" -c "
                          "'INSERT INTO t VALUES (7)'; "
                          "echo $GREETING; pwd; echo oops >&2"},
                         {"psql", "-Xqc", "DROP TABLE t"});
  project.document["env"] = {{"GREETING", "hello"}};
  project.Write("sub/x", "");
  project.document["cwd"] = "sub";
  const PhaseOutcome outcome = project.Run();
  ASSERT_EQ(outcome.kind, PhaseOutcome::Kind::kDone) << outcome.message;
  EXPECT_EQ(database.Connect()->Scalar("SELECT id FROM public.t").text, "7");
  EXPECT_THAT(Output(project), Contains("stdout: hello"));
  EXPECT_THAT(Output(project), Contains("stdout: " + (project.path() / "sub").string()));
  EXPECT_THAT(Output(project), Contains("stderr: oops"));
  EXPECT_EQ(project.Status().of_strategy.in_service, core::Owner::kNew);
  const PhaseOutcome back = project.Rollback();
  EXPECT_EQ(back.kind, PhaseOutcome::Kind::kDone) << back.message;
  EXPECT_EQ(database.Connect()->Scalar("SELECT to_regclass('public.t') IS NULL").text, "t");
  EXPECT_THAT(project.recorder.Points(), Contains("rollback.after_commit"));
}

TEST(Command, GivesSqliteItsPath) {
  const SqliteFile file;
  file.Run("CREATE TABLE t(id)");
  CommandProject project(file.endpoint(), {"sh", "-c", "echo $DATABASE_URL"});
  ASSERT_EQ(project.Run().kind, PhaseOutcome::Kind::kDone);
  EXPECT_THAT(Output(project), Contains("stdout: sqlite:" + file.endpoint().file().string()));
  EXPECT_EQ(project.Rollback().kind, PhaseOutcome::Kind::kRefused);
}

TEST(Command, FailsWithItsExitStatusAndWhatItSaid) {
  const SqliteFile file;
  file.Run("CREATE TABLE t(id)");
  CommandProject project(file.endpoint(), {"sh", "-c", "echo no such thing >&2; exit 3"});
  const PhaseOutcome outcome = project.Run();
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("exit status 3"));
  EXPECT_THAT(outcome.message, HasSubstr("no such thing"));
  EXPECT_EQ(project.Status().of_strategy.in_service, core::Owner::kUnknown);
}

TEST(Command, EndsItsWholeGroupAtTheDeadline) {
  const SqliteFile file;
  file.Run("CREATE TABLE t(id)");
  CommandProject project(file.endpoint(), {"sh", "-c", "sleep 300 & echo $!; wait"});
  project.document["deadline_s"] = 0.3;
  const PhaseOutcome outcome = project.Run();
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("deadline_s"));
  const std::string line = Output(project).at(0);
  const pid_t sleeper = std::stoi(line.substr(8));
  for (int i = 0; i < 100 && ::kill(sleeper, 0) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_NE(::kill(sleeper, 0), 0) << "the child of the program still runs";
}

TEST(Command, HidesSecretsOfItsOutput) {
  RememberSecret("hunter2hunter2");
  const SqliteFile file;
  file.Run("CREATE TABLE t(id)");
  CommandProject project(file.endpoint(), {"sh", "-c", "echo postgres://u:hunter2hunter2@h/d"});
  ASSERT_EQ(project.Run().kind, PhaseOutcome::Kind::kDone);
  EXPECT_THAT(Output(project), Contains("stdout: postgres://u:***@h/d"));
}

TEST(Command, PlanRefusesAProgramThatIsNotThere) {
  const SqliteFile file;
  file.Run("CREATE TABLE t(id)");
  CommandProject project(file.endpoint(), {"no-such-program-anywhere"});
  const core::Plan plan = project.Plan();
  ASSERT_FALSE(plan.can_run());
  EXPECT_EQ(plan.refused[0].object, "no-such-program-anywhere");
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"up", "sqitch deploy"},
                                                                            {"up", Json::array()},
                                                                            {"deadline_s", 0},
                                                                            {"env", {{"A", 1}}},
                                                                            {"cwd", "nowhere"}}) {
    CommandProject wrong(file.endpoint(), {"true"});
    wrong.document[key] = value;
    try {
      wrong.Plan();
      ADD_FAILURE() << key;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec);
      EXPECT_THAT(error.what(), HasSubstr("/" + key));
    }
  }
}

}  // namespace
}  // namespace understudy::command
