// Each deliberate wrong of engine/base/sabotage.h, alone: its scenario is green without it, and
// with it the check that is meant for it turns. A check that would not turn is no check.
#include "engine/base/sabotage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/process.h"
#include "tests/support/server.h"

namespace understudy {
void PrintTo(const SabotageInfo& wrong, std::ostream* out) { *out << wrong.id; }
}  // namespace understudy

namespace understudy::testing {
namespace {
namespace fs = std::filesystem;

const fs::path kScenarios = fs::path(UNDERSTUDY_SOURCE_DIR) / "scenarios/sabotage";

// What a run of one scenario came to.
struct Ran {
  int status = -1;
  std::string verdict;                        // the final one
  std::map<std::string, std::string> checks;  // id → verdict, those that are switched off apart
  std::string said;
};

Ran RunScenario(std::string_view scenario, std::string_view sabotage) {
  const TemporaryFolder folder("us-sabotage");
  Command command;
  command.argv = {UNDERSTUDY_PROGRAM,
                  "run",
                  (kScenarios / (std::string(scenario) + ".json")).string(),
                  "--provision",
                  "auto",
                  "--out",
                  (folder.path() / "out").string()};
  command.environment["UNDERSTUDY_SABOTAGE_ID"] = sabotage;
  command.unset = {"UNDERSTUDY_OUT", "UNDERSTUDY_PROVISION", "UNDERSTUDY_REQUIRE"};
  command.deadline = std::chrono::minutes(5);
  const Outcome outcome = RunCommand(command);
  Ran run;
  run.status = outcome.exit_status;
  run.said = outcome.out + outcome.err;
  if (!fs::exists(folder.path() / "out/report.json")) return run;
  const Json report = ParseJsonFile(folder.path() / "out/report.json");
  const Json& only = report.at("scenarios").at(0);
  run.verdict = only.at("verdict");
  for (const Json& check : only.at("checks")) {
    if (check.at("waived").is_null()) run.checks[check.at("id")] = check.at("verdict");
  }
  return run;
}

class Sabotage : public ::testing::TestWithParam<SabotageInfo> {};

TEST_P(Sabotage, IsNoticedByTheCheckThatIsMeantForIt) {
  const SabotageInfo& wrong = GetParam();
  const Json scenario = ParseJsonFile(kScenarios / (std::string(wrong.id) + ".json"));
  for (const auto& [name, database] : scenario.at("databases").items()) {
    if (database.at("engine") == "postgres") NEED_POSTGRES();
  }
  const std::string check(wrong.meant_for);
  Ran without = RunScenario(wrong.id, "");
  ASSERT_EQ(without.verdict, "pass") << without.said;
  ASSERT_EQ(without.status, 0) << without.said;
  ASSERT_TRUE(without.checks.contains(check)) << check << " is not judged\n" << without.said;

  Ran with = RunScenario(wrong.id, wrong.id);
  EXPECT_EQ(with.verdict, "fail") << with.said;
  EXPECT_EQ(with.status, 1) << with.said;
  if (without.checks[check] == "pass") {
    EXPECT_EQ(with.checks[check], "fail") << with.said;
  } else {  // the harness itself is blinded: a failure that was expected is gone
    EXPECT_NE(with.checks[check], "fail") << with.said;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Sabotage, ::testing::ValuesIn(kSabotages), [](const auto& one) {
  std::string name(one.param.id);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(SabotageTable, HasEveryScenarioAndNoOther) {
  std::set<std::string> ids;
  for (const SabotageInfo& wrong : kSabotages) {
    EXPECT_TRUE(ids.insert(std::string(wrong.id)).second) << wrong.id << " is there twice";
  }
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(kScenarios)) {
    if (entry.path().extension() == ".json") files.insert(entry.path().stem().string());
  }
  EXPECT_EQ(files, ids);
}

TEST(SabotageTable, RefusesAnIdThatItDoesNotHold) {
  const Ran run = RunScenario(kSabotages[0].id, "no-such-wrong");
  EXPECT_EQ(run.status, 65) << run.said;
  EXPECT_THAT(run.said, ::testing::HasSubstr("no such id: 'no-such-wrong'"));
}

}  // namespace
}  // namespace understudy::testing
