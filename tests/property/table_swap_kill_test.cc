// kill -9 of the engine at every point that a table swap passes, each alone in a scenario of its
// own, written from the engine's list of points: a new point is swept as soon as it stands there.
// Once the migration goes on and gets to its end, once it is given up. The quick run takes some,
// other ones every day; UNDERSTUDY_TEST_ALL takes all.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/process.h"
#include "engine/core/points.h"
#include "tests/support/server.h"

namespace understudy::property {
namespace {
namespace fs = std::filesystem;

constexpr std::size_t kQuick = 3;  // scenarios of the quick run

Json Base(const core::Point& point, const std::string& then) {
  const fs::path atlas = fs::path(UNDERSTUDY_SOURCE_DIR) / "fixtures/atlas";
  const auto database = [&](const char* rows) -> Json {
    return {{"engine", "postgres"},
            {"fixture", {(atlas / "schema.sql").string(), (atlas / rows).string()}}};
  };
  std::string name = "killed-at-" + std::string(point.name) + "-" + then;
  std::ranges::replace_if(
      name, [](char c) { return c == '.' || c == '_'; }, '-');
  return {{"name", name},
          {"description", "kill -9 of the engine at one point"},
          {"tags", {"postgres", "table-swap", "fault"}},
          {"databases", {{"main", database("production.sql")}, {"data", database("new.sql")}}},
          {"migration",
           {{"strategy", "table-swap"},
            {"target", "main"},
            {"source", "data"},
            {"schema", {{"from", "source"}}},
            {"preserved", {"public.\"Member\"", "public.\"Note\""}}}},
          // Some are killed before they have locked anything.
          {"checks", {{"locks", {{"off", "the engine does not live to take locks"}}}}},
          {"faults", {{{"kind", "kill-engine"}, {"at", point.name}, {"then", then}}}}};
}

Json Migrate(const char* through) { return {{"migrate", {{"through", through}}}}; }

// Everything gets to its end: what was written is there, and in the end nothing is of ours.
Json GoesOn(const core::Point& point) {
  Json scenario = Base(point, "resume");
  const Json mutate = {
      {"mutate", {{"on", "main"}, {"writes", 60}, {"tables", {"public.\"Member\""}}}}};
  Json& steps = scenario["steps"];
  steps = Json::array({{{"snapshot", "before"}}, Migrate("prepare"), mutate, Migrate("verify")});
  if (point.phase == core::Phase::kRollback) {
    scenario["migration"]["reverse"] = true;
    steps.push_back(mutate);
    steps.push_back({{"rollback", {{"lose_writes", false}}}});
  }
  steps.push_back({{"snapshot", "after"}});
  steps.push_back({{"cleanup", Json::object()}});
  return scenario;
}

// It is given up: all is as it was at first.
Json GivenUp(const core::Point& point, bool in_service) {
  Json scenario = Base(point, in_service ? "rollback" : "reset");
  Json& steps = scenario["steps"];
  steps = Json::array({{{"snapshot", "before"}}});
  const bool replays = point.name.starts_with("replay.");
  if (replays) {
    // Something to bring over that leaves every row as it was.
    steps.push_back(Migrate("prepare"));
    steps.push_back({{"exec",
                      {{"on", "main"},
                       {"sql", "UPDATE \"Note\" SET \"stars\" = \"stars\" WHERE \"id\" < 50"}}}});
  }
  steps.push_back(Migrate("verify"));
  steps.push_back({{"snapshot", "after"}});
  for (const char* database : {"main", "data"}) {
    steps.push_back({{"compare",
                      {{"left", std::string("before:") + database},
                       {"right", std::string("after:") + database}}}});
  }
  if (in_service) steps.push_back({{"cleanup", Json::object()}});
  return scenario;
}

std::vector<Json> Sweep() {
  std::vector<Json> all;
  bool in_service = false;
  for (const core::Point& point : core::Points()) {
    if (point.passed_by != "every strategy" && point.passed_by != "copying strategies" &&
        point.passed_by != "table-swap") {
      continue;
    }
    in_service = in_service || point.name == "cutover.after_commit";
    all.push_back(GoesOn(point));
    const bool at_an_end =
        point.phase == core::Phase::kRollback || point.phase == core::Phase::kCleanup;
    if (!at_an_end) all.push_back(GivenUp(point, in_service));
  }
  return all;
}

// hard-cases 25, 26, 62
TEST(TableSwapKilled, GoesOnOrIsGivenUpAtEveryPoint) {
  NEED_POSTGRES();
  const std::vector<Json> all = Sweep();
  ASSERT_GE(all.size(), 30U);
  std::size_t count = all.size();
  std::size_t first = 0;
  if (std::getenv("UNDERSTUDY_TEST_ALL") == nullptr) {
    const auto day = std::chrono::duration_cast<std::chrono::days>(
        std::chrono::system_clock::now().time_since_epoch());
    count = kQuick;
    first = static_cast<std::size_t>(day.count()) * kQuick % all.size();
  }
  const TemporaryFolder folder("us-swap-killed");
  std::vector<std::string> files;
  std::set<std::string> names;
  for (std::size_t i = 0; i < count; ++i) {
    const Json& scenario = all[(first + i) % all.size()];
    const std::string name = scenario.at("name");
    files.push_back((folder.path() / (name + ".json")).string());
    WriteFileWhole(files.back(), scenario.dump(2));
    names.insert(name);
  }
  Command command;
  command.argv = {UNDERSTUDY_PROGRAM, "run"};
  command.argv.insert(command.argv.end(), files.begin(), files.end());
  for (const char* option : {"--provision", "auto", "--out"}) command.argv.emplace_back(option);
  command.argv.push_back((folder.path() / "out").string());
  command.unset = {"UNDERSTUDY_OUT", "UNDERSTUDY_PROVISION", "UNDERSTUDY_REQUIRE"};
  command.deadline = std::chrono::minutes(55);
  const Outcome outcome = RunCommand(command);
  ASSERT_TRUE(fs::exists(folder.path() / "out/report.json")) << outcome.out << outcome.err;
  const Json report = ParseJsonFile(folder.path() / "out/report.json");
  for (const Json& scenario : report.at("scenarios")) {
    const std::string name = scenario.at("name");
    names.erase(name);
    EXPECT_EQ(scenario.at("verdict"), "pass") << name << "\n" << scenario.at("checks").dump(2);
    ASSERT_EQ(scenario.at("faults").size(), 1U) << name;
    EXPECT_GE(scenario.at("faults").at(0).at("struck"), 1) << name << ": nothing was killed";
  }
  EXPECT_TRUE(names.empty()) << *names.begin() << " and others were not judged";
}

}  // namespace
}  // namespace understudy::property
