#include "harness/scenario/scenario.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "tests/harness/scenario/files.h"

namespace understudy::harness {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kGood;
using testing::ScenarioFolder;

template <typename Work>
Error ErrorOf(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::kInternal, "no error"};
}

TEST(Scenario, FillsEveryDefault) {
  const ScenarioFolder folder;
  const Scenario scenario = LoadScenario(folder.Write("s.json", kGood));
  EXPECT_EQ(scenario.name, "good");
  EXPECT_EQ(scenario.seed, 7U);
  EXPECT_EQ(scenario.lead_s, 1);
  EXPECT_EQ(scenario.Database("main").provision, "auto");
  EXPECT_EQ(scenario.Database("main").version, 15);
  EXPECT_EQ(scenario.workload[0].clients, 4);
  EXPECT_EQ(scenario.workload[0].options["hot_share"], 0.1);
  EXPECT_EQ(scenario.workload[0].options["operations"]["insert"], 4);
  EXPECT_EQ(scenario.checks["stalls"]["max_ms"], 200);
  EXPECT_EQ(scenario.checks["locks"], Json({{"off", "not of interest"}}));
  EXPECT_EQ(scenario.checks["errors"]["max"], 0);
  EXPECT_EQ(scenario.migrations[0].second["layout"], "auto");
  EXPECT_EQ(scenario.migrations[0].second["id"], "good");
  EXPECT_EQ(scenario.migrations[0].second["limits"]["chunk_rows"], 10000);
  EXPECT_TRUE(scenario.expect.is_null());
  EXPECT_EQ(scenario.document["databases"]["main"]["image"], nullptr);
}

TEST(Scenario, LeavesALockTimeoutThatNobodySaidToTheStrategy) {
  const ScenarioFolder folder;
  const Scenario scenario = LoadScenario(folder.Write("s.json", kGood));
  EXPECT_FALSE(scenario.migrations[0].second["limits"].contains("lock_timeout_ms"));
}

TEST(Scenario, HandsOnNoNullThatOnlyMeansNotSaid) {
  const ScenarioFolder folder;
  const Scenario scenario =
      LoadScenario(folder.Write("s.json", kGood),
                   {.set = {{"workload.0.rate_per_s", "null"}, {"migration.baseline", "null"}}});
  EXPECT_FALSE(scenario.workload[0].options.contains("rate_per_s"));
  EXPECT_FALSE(scenario.migrations[0].second.contains("baseline"));
  EXPECT_EQ(scenario.document["migration"]["baseline"], nullptr);
}

TEST(Scenario, WeightsThatAreGivenAreTheOnlyOnes) {
  const ScenarioFolder folder;
  const Scenario scenario = LoadScenario(folder.Write("s.json", kGood),
                                         {.set = {{"workload.0.operations", R"({"insert": 1})"}}});
  EXPECT_EQ(scenario.workload[0].options["operations"]["insert"], 1);
  EXPECT_EQ(scenario.workload[0].options["operations"]["update"], 0);
}

TEST(Scenario, HasTheStandardSteps) {
  const ScenarioFolder folder;
  const Scenario scenario = LoadScenario(folder.Write("s.json", kGood));
  std::vector<std::string> steps;
  for (const StepSpec& step : scenario.steps) steps.push_back(step.name + " " + step.outcome);
  EXPECT_THAT(
      steps, ElementsAre("snapshot-1 done", "migrate-2 done", "snapshot-3 done", "cleanup-4 done"));
  EXPECT_EQ(scenario.steps[0].options, Json({{"name", "before"}, {"of", {"main"}}}));
  EXPECT_EQ(scenario.steps[1].options, Json({{"migration", "migration"}, {"through", "verify"}}));
}

TEST(Scenario, KeepsASecondLineOfSteps) {
  const ScenarioFolder folder;
  const Scenario scenario = LoadScenario(
      folder.Write("s.json", kGood),
      {.set = {
           {"steps",
            R"([{"background": [{"wait": {"seconds": 1}}, {"exec": {"on": "main", "sql": "SELECT 1"}}]},
                    {"migrate": {}}, {"join": true}])"}}});
  ASSERT_EQ(scenario.steps.size(), 3U);
  ASSERT_EQ(scenario.steps[0].background.size(), 2U);
  EXPECT_EQ(scenario.steps[0].background[1].verb, "exec");
  EXPECT_EQ(scenario.steps[0].background[1].name, "exec-1.2");
}

TEST(Scenario, MakesPathsAbsolute) {
  const ScenarioFolder folder;
  const Scenario scenario = LoadScenario(folder.Write("s.json", kGood));
  EXPECT_EQ(scenario.migrations[0].second["up"], (folder.path() / "up.sql").string());
  EXPECT_EQ(scenario.Database("main").fixture[0], (folder.path() / "schema.sql").string());
  EXPECT_EQ(scenario.Database("main").fixture[1]["generate"],
            (folder.path() / "rows.json").string());
}

TEST(Scenario, TakesItsNameFromTheFileWhereItHasNone) {
  const ScenarioFolder folder;
  EXPECT_EQ(LoadScenario(folder.Write("my-case.json", kGood), {.set = {{"name", "null"}}}).name,
            "my-case");
}

TEST(Scenario, ItsOwnFilledInFormGivesTheSameScenario) {
  const ScenarioFolder folder;
  const Scenario first = LoadScenario(folder.Write("s.json", kGood), {.scale = 3});
  EXPECT_EQ(first.Database("main").fixture[1]["scale"], 6);
  const Scenario second =
      LoadScenario(folder.Write("elsewhere/scenario.json", ToText(first.document)));
  EXPECT_EQ(second.document, first.document);
}

TEST(Scenario, AStoredOneLoadsWhereItsFilesAreNot) {
  Json document;
  {
    const ScenarioFolder folder;
    document = LoadScenario(folder.Write("s.json", kGood)).document;
  }
  EXPECT_EQ(ErrorOf([&] { ScenarioFromJson(document, "/run/scenario.json"); }).kind(),
            ErrorKind::kInvalidSpec);
  EXPECT_EQ(ScenarioFromJson(document, "/run/scenario.json", {.files_must_exist = false}).document,
            document);
}

TEST(Scenario, HoldsNoSecretInItsDocument) {
  const ScenarioFolder folder;
  const Scenario scenario =
      LoadScenario(folder.Write("s.json", kGood),
                   {.set = {{"databases.main.fixture", "[]"},
                            {"databases.main.from", "postgres://u:hunter2secret@h/d"}}});
  EXPECT_EQ(scenario.Database("main").from, "postgres://u:hunter2secret@h/d");
  EXPECT_THAT(scenario.document.dump(), Not(HasSubstr("hunter2secret")));
  const Scenario command =
      LoadScenario(folder.Write("s.json", kGood),
                   {.set = {{"migration", R"({"strategy": "command", "on": "main", "up": ["./m"],
                                 "env": {"API_TOKEN": "tops3cret", "MODE": "fast"}})"}}});
  EXPECT_EQ(command.migrations[0].second["env"]["API_TOKEN"], "tops3cret");
  EXPECT_EQ(command.migrations[0].second["cwd"], folder.path().string());
  EXPECT_EQ(command.document["migration"]["env"]["MODE"], "fast");
  EXPECT_THAT(command.document.dump(), Not(HasSubstr("tops3cret")));
}

TEST(Scenario, AnEnvironmentEndpointStaysOne) {
  const ScenarioFolder folder;
  const Scenario scenario = LoadScenario(
      folder.Write("s.json", kGood),
      {.set = {{"databases.main.fixture", "[]"}, {"databases.main.from", "env:NOT_SET_HERE"}}});
  EXPECT_EQ(scenario.document["databases"]["main"]["from"], "env:NOT_SET_HERE");
}

TEST(Scenario, TellsWhatItNeeds) {
  const ScenarioFolder folder;
  const auto file = folder.Write("s.json", kGood);
  EXPECT_THAT(LoadScenario(file).Needs(), ElementsAre("postgres==15"));
  EXPECT_THAT(LoadScenario(file, {.set = {{"databases.main.extensions", R"(["postgis"])"}},
                                  .provision = "docker"})
                  .Needs(),
              ElementsAre("docker", "extension:postgis", "postgres==15"));
  EXPECT_THAT(LoadScenario(file, {.set = {{"databases.main.version", "null"}}}).Needs(),
              ElementsAre("postgres>=12"));
}

TEST(Set, TakesJsonElseAString) {
  const ScenarioFolder folder;
  const Scenario scenario = LoadScenario(
      folder.Write("s.json", kGood),
      {.set = {
           {"seed", "9"}, {"description", "two words"}, {"/tags/0", "\"12\""}, {"tags.1", "b"}}});
  EXPECT_EQ(scenario.seed, 9U);
  EXPECT_EQ(scenario.description, "two words");
  EXPECT_THAT(scenario.tags, ElementsAre("12", "b"));
}

TEST(Set, NullRemovesTheKey) {
  const ScenarioFolder folder;
  const Scenario scenario =
      LoadScenario(folder.Write("s.json", kGood), {.set = {{"expect", R"({"verdict": "fail"})"},
                                                           {"expect", "null"},
                                                           {"checks.stalls.max_ms", "null"},
                                                           {"nothing.there", "null"}}});
  EXPECT_TRUE(scenario.expect.is_null());
  EXPECT_EQ(scenario.checks["stalls"]["max_ms"], 1000);
}

TEST(Set, MakesMissingObjectsOnTheWayAndTakesAPointerForKeysWithDots) {
  const ScenarioFolder folder;
  const Scenario scenario = LoadScenario(
      folder.Write("s.json", kGood),
      {.set = {{"/databases/main/settings/log.level", "7"}, {"expect.verdict", "fail"}}});
  EXPECT_EQ(scenario.Database("main").settings["log.level"], 7);
  EXPECT_EQ(scenario.expect["verdict"], "fail");
}

TEST(Set, AViolationIsWrongUsage) {
  const ScenarioFolder folder;
  const auto file = folder.Write("s.json", kGood);
  for (const Overrides& overrides :
       {Overrides{.set = {{"sed", "1"}}}, Overrides{.set = {{"seed", "x"}}},
        Overrides{.set = {{"name.x", "1"}}}, Overrides{.set = {{"tags.7", "1"}}},
        Overrides{.set = {{"a..b", "1"}}}, Overrides{.provision = "somewhere"}, Overrides{.pg = 9},
        Overrides{.set = {{"migration.up", "none.sql"}}}}) {
    const Error error = ErrorOf([&] { LoadScenario(file, overrides); });
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec);
    EXPECT_EQ(error.code(), "usage") << error.what();
  }
}

TEST(Set, AFileThatIsWrongByItselfIsNotTheUsersUsage) {
  const ScenarioFolder folder;
  const auto file = folder.Write("s.json", R"({"databases": {}})");
  EXPECT_EQ(ErrorOf([&] { LoadScenario(file, {.seed = 3}); }).code(), "");
}

TEST(Overrides, ReplaceWhatEveryPostgresDatabaseSays) {
  const ScenarioFolder folder;
  const auto file = folder.Write("s.json", kGood);
  const Overrides with_sqlite{.set = {{"databases.other", R"({"engine": "sqlite"})"}},
                              .provision = "docker",
                              .pg = 17,
                              .seed = 4};
  const Scenario scenario = LoadScenario(file, with_sqlite);
  EXPECT_EQ(scenario.Database("main").provision, "docker");
  EXPECT_EQ(scenario.Database("main").version, 17);
  EXPECT_EQ(scenario.Database("other").provision, "auto");
  EXPECT_EQ(scenario.seed, 4U);
  EXPECT_EQ(LoadScenario(file, {.provision_auto = "local"}).Database("main").provision, "local");
  EXPECT_EQ(LoadScenario(
                file, {.set = {{"databases.main.provision", "docker"}}, .provision_auto = "local"})
                .Database("main")
                .provision,
            "docker");
}

TEST(Json, ThatIsBrokenNamesLineAndColumn) {
  const ScenarioFolder folder;
  for (const char* text : {"{\n  \"name\": }", "{\"a\": 1,}", "{\"a\": 1, \"a\": 2}", ""}) {
    const Error error = ErrorOf([&] { LoadScenario(folder.Write("s.json", text)); });
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec);
    EXPECT_THAT(error.what(), HasSubstr("s.json"));
  }
  EXPECT_THAT(ErrorOf([&] { LoadScenario(folder.Write("s.json", "{\n  \"name\": }")); }).what(),
              HasSubstr("line 2"));
}

TEST(FindScenarios, TakesFilesAndFoldersOnceInByteOrder) {
  const ScenarioFolder folder;
  folder.Write("b/2.json", kGood);
  folder.Write("b/1.json", kGood);
  folder.Write("B/3.json", kGood);
  folder.Write("b/notes.txt", "{");
  folder.Write("b/generate.json", R"({"tables": {}})");
  const auto file = folder.path() / "b" / "2.json";
  const Found found = FindScenarios({folder.path(), file});
  std::vector<std::string> names;
  for (const auto& path : found.scenarios) names.push_back(path.lexically_relative(folder.path()));
  EXPECT_THAT(names, ElementsAre("B/3.json", "b/1.json", "b/2.json"));
  EXPECT_EQ(found.ignored.size(), 2U);  // generate.json and the fixture's rows.json
}

TEST(FindScenarios, AFileNamedOnTheCommandLineIsAScenario) {
  const ScenarioFolder folder;
  EXPECT_EQ(FindScenarios({folder.path() / "rows.json"}).scenarios.size(), 1U);
  EXPECT_THAT(FindScenarios({folder.path() / "rows.json"}).ignored, IsEmpty());
}

TEST(FindScenarios, RefusesAFileThatDoesNotParseAndAPathThatIsNotThere) {
  const ScenarioFolder folder;
  EXPECT_THAT(ErrorOf([&] { FindScenarios({folder.path() / "none"}); }).what(),
              HasSubstr("no such file or folder"));
  folder.Write("broken.json", "{");
  EXPECT_THAT(ErrorOf([&] { FindScenarios({folder.path()}); }).what(), HasSubstr("broken.json"));
}

// The scenario's schema holds a copy of the migration's, so that each stands alone in an editor.
TEST(Schemas, SayTheSameOfAMigration) {
  const Json scenario = ParseJsonFile(ShippedPath("schema/scenario.schema.json"));
  const Json migration = ParseJsonFile(ShippedPath("schema/migration.schema.json"));
  EXPECT_EQ(migration["allOf"], scenario["definitions"]["migration"]["allOf"]);
  for (const auto& [name, definition] : migration["definitions"].items()) {
    EXPECT_EQ(definition, scenario["definitions"][name]) << name;
  }
}

TEST(Schemas, KnowAMigrationFile) {
  const Json good = {{"strategy", "sql"}, {"on", "env:DB"}, {"up", "up.sql"}};
  EXPECT_NO_THROW(ValidateWithSchema(good, "migration.schema.json", "m.json"));
  Json bad = good;
  bad["uup"] = 1;
  EXPECT_THAT(ErrorOf([&] { ValidateWithSchema(bad, "migration.schema.json", "m.json"); }).what(),
              HasSubstr("m.json: /uup: unknown key 'uup'; did you mean 'up'?"));
}

}  // namespace
}  // namespace understudy::harness
