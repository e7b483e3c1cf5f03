#include "harness/run/judge.h"

#include <gmock/gmock.h>

#include "engine/base/error.h"
#include "tests/harness/checks/run_builder.h"

namespace understudy::harness {
namespace {

namespace fs = std::filesystem;
using reports::Outcome;
using ::testing::HasSubstr;

// A run that passes `steps` and, switched off, nothing else but what is asked for.
Json OnlySteps() {
  Json checks = Json::object();
  for (const CheckPtr& check : StandardChecks()) {
    if (check->id() != "steps") checks[std::string(check->id())] = {{"off", "not in this test"}};
  }
  return {{"name", "one"}, {"tags", {"quick"}}, {"checks", checks}};
}

// Writes RUN/`name`, whose one step has the outcome `outcome`.
void AddScenario(const fs::path& run, const std::string& name, const std::string& scenario,
                 const std::string& started_at, const std::string& outcome = "done") {
  RunBuilder built(OnlySteps());
  built.Event(0, "scenario",
              {{"name", scenario},
               {"file", "/a.json"},
               {"file_sha256", std::string(64, 'b')},
               {"seed", 7},
               {"started_at", started_at},
               {"command", "understudy run /a.json"}});
  built.Event(1, "database",
              {{"name", "main"},
               {"engine", "postgres"},
               {"version", "15.18"},
               {"provision", "local"},
               {"rows", nullptr},
               {"bytes", 8192}});
  built.TakeSnapshot("before", {}).Step("migrate", 2, 3, {{"outcome", outcome}});
  built.Phase("cutover", 2, 3).End();
  built.Read();
  fs::copy(built.folder(), run / name);
}

TEST(JudgeScenario, GivesAReportThatTheSchemaTakes) {
  const TemporaryFolder run;
  AddScenario(run.path(), "one", "one", "2026-11-21T01:02:03.456Z");
  const auto scenario = JudgeScenario(run.path() / "one");
  EXPECT_EQ(scenario.verdict, Outcome::kPass);
  EXPECT_EQ(scenario.seed, 7U);
  EXPECT_EQ(scenario.duration_ms, 10000);
  EXPECT_EQ(scenario.databases[0]["rows"], 3) << "counted by the first snapshot";
  EXPECT_EQ(scenario.steps[0]["outcome"], "done");
  EXPECT_EQ(scenario.phases[0]["phase"], "cutover");
  EXPECT_EQ(scenario.artifacts["ledger"], "one/ledger.sqlite");
  EXPECT_NO_THROW(reports::ValidateReport(JudgeRun(run.path()).ToJson()));
}

TEST(JudgeScenario, WithUnreadableEvidenceIsUnknown) {
  const TemporaryFolder run;
  WriteFileWhole(run.path() / "evidence.jsonl", "no json\n");
  const auto scenario = JudgeScenario(run.path());
  EXPECT_EQ(scenario.verdict, Outcome::kUnknown);
  EXPECT_THAT(scenario.summary, HasSubstr("cannot be judged"));
}

TEST(JudgeRun, TwiceGivesTheSameBytes) {
  const TemporaryFolder run;
  WriteFileWhole(run.path() / "run.json", R"({"format": "understudy-run/1",
    "tool": {"name": "understudy", "version": "0.1.0", "commit": null},
    "host": {"os": "Debian", "cpus": 2, "memory_bytes": 1},
    "started_at": "2026-11-21T01:02:03.000Z", "duration_ms": 5})");
  AddScenario(run.path(), "b", "b", "2026-11-21T01:02:04.000Z");
  AddScenario(run.path(), "a", "a", "2026-11-21T01:02:05.000Z", "failed");
  const auto report = JudgeRun(run.path());
  EXPECT_EQ(report.verdict(), Outcome::kFail);
  ASSERT_EQ(report.scenarios.size(), 2U);
  EXPECT_EQ(report.scenarios[0].name, "b") << "in the order in which they began";
  EXPECT_EQ(report.duration_ms, 5);
  EXPECT_EQ(JudgeRun(run.path()).ToJson().dump(), report.ToJson().dump());
}

TEST(JudgeRun, MergesRepetitionsIntoTheWorst) {  // hard-case 124
  const TemporaryFolder run;
  AddScenario(run.path(), "one.1", "one", "2026-11-21T01:02:04.000Z");
  AddScenario(run.path(), "one.2", "one", "2026-11-21T01:02:05.000Z", "failed");
  AddScenario(run.path(), "one.3", "one", "2026-11-21T01:02:06.000Z");
  const auto report = JudgeRun(run.path());
  ASSERT_EQ(report.scenarios.size(), 1U);
  EXPECT_EQ(report.scenarios[0].verdict, Outcome::kFail);
  EXPECT_EQ(report.scenarios[0].repetitions,
            (Json{{"runs", 3}, {"pass", 2}, {"fail", 1}, {"unknown", 0}}));
}

TEST(JudgeRun, OfAKilledRunNeedsNoRunFile) {  // hard-case 121
  const TemporaryFolder run;
  {
    RunBuilder killed(OnlySteps());
    killed.Event(0, "scenario", {{"name", "one"}, {"started_at", "2026-11-21T01:02:04.000Z"}});
    killed.Event(
        1, "step",
        {{"index", 0}, {"line", 0}, {"name", "m"}, {"verb", "migrate"}, {"status", "begin"}});
    killed.Read();
    fs::copy(killed.folder(), run.path() / "one");
  }
  const auto report = JudgeRun(run.path());
  ASSERT_EQ(report.scenarios.size(), 1U);
  EXPECT_EQ(report.scenarios[0].verdict, Outcome::kUnknown);
  EXPECT_EQ(report.scenarios[0].summary, "interrupted");
  EXPECT_EQ(report.scenarios[0].steps[0]["outcome"], "killed");
  EXPECT_EQ(report.started_at, "2026-11-21T01:02:04.000Z");
  EXPECT_NO_THROW(reports::ValidateReport(report.ToJson()));
}

TEST(JudgeRun, RefusesAFolderThatIsNoRun) {
  const TemporaryFolder empty;
  EXPECT_THROW(JudgeRun(empty.path()), Error);
  EXPECT_THROW(JudgeRun(empty.path() / "absent"), Error);
}

}  // namespace
}  // namespace understudy::harness
