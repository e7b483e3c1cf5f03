// The program itself, run as a user runs it: the verbs that need no server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/process.h"

namespace understudy {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kProgram = UNDERSTUDY_PROGRAM;

Outcome Understudy(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), kProgram);
  return RunCommand({.argv = std::move(arguments), .deadline = std::chrono::seconds(120)});
}

// A folder with one scenario that is right, one JSON file that is none, and room for a wrong one.
class Verbs : public ::testing::Test {
 protected:
  Verbs() {
    Write("up.sql", "CREATE TABLE t (id integer PRIMARY KEY);\nINSERT INTO t VALUES (1);\n");
    Write("rows.json", R"({"tables": {}})");
    Write("one.json", R"({"name": "one", "tags": ["quick"], "description": "first",
      "databases": {"main": {"engine": "sqlite"}},
      "migration": {"strategy": "sql", "on": "main", "up": "up.sql"}})");
  }
  void Write(const std::string& name, const std::string& content) const {
    WriteFileWhole(folder_.path() / name, content);
  }
  std::string Path(const std::string& name = "") const { return (folder_.path() / name).string(); }

 private:
  TemporaryFolder folder_;
};

TEST_F(Verbs, ListTellsScenariosAndWhatIsNone) {
  const Outcome done = Understudy({"list", Path(), "--json"});
  ASSERT_EQ(done.exit_status, 0) << done.err;
  const Json list = ParseJson(done.out, "list");
  EXPECT_EQ(list["format"], "understudy-list/1");
  ASSERT_EQ(list["scenarios"].size(), 1U);
  const Json& one = list["scenarios"][0];
  EXPECT_EQ(one["name"], "one");
  EXPECT_EQ(one["file"], Path("one.json"));
  EXPECT_EQ(one["description"], "first");
  EXPECT_EQ(one["tags"], Json({"quick"}));
  EXPECT_EQ(one["needs"], Json({"sqlite"}));
  EXPECT_EQ(list["ignored"], Json({Path("rows.json")}));
  EXPECT_THAT(Understudy({"list", Path()}).out, HasSubstr("1 scenario, 1 other JSON file ignored"));
}

TEST_F(Verbs, NothingFoundIsUnknown) {
  for (const char* verb : {"list", "plan"}) {
    EXPECT_EQ(Understudy({verb, Path(), "--tag", "none"}).exit_status, 2);
    EXPECT_EQ(Understudy({verb, Path(), "--filter", "two*"}).exit_status, 2);
    EXPECT_EQ(Understudy({verb, Path(), "--tag", "quick"}).exit_status, 0);
  }
}

TEST_F(Verbs, PlanPrintsTheFilledInFormAndLeavesNothing) {
  const Outcome done = Understudy({"plan", Path("one.json"), "--json"});
  ASSERT_EQ(done.exit_status, 0) << done.err;
  const Json plan = ParseJson(done.out, "plan");
  EXPECT_EQ(plan["format"], "understudy-plan/1");
  const Json& one = plan["scenarios"][0];
  EXPECT_EQ(one["file"], Path("one.json"));
  EXPECT_EQ(one["scenario"]["lead_s"], 1);
  EXPECT_EQ(one["scenario"]["checks"]["stalls"]["max_ms"], 1000);
  EXPECT_EQ(one["scenario"]["steps"][1]["migrate"]["through"], "verify");
  ASSERT_EQ(one["statements"].size(), 2U);
  EXPECT_EQ(one["statements"][1]["sql"], "INSERT INTO t VALUES (1)");
  EXPECT_EQ(one["statements"][1]["file"], "up.sql");
  EXPECT_EQ(one["statements"][1]["line"], 2);
  EXPECT_EQ(one["statements"][1]["transaction"], "file");
  int files = 0;
  for (const auto& ignored : std::filesystem::directory_iterator(Path())) files += ignored.exists();
  EXPECT_EQ(files, 3);
  EXPECT_FALSE(std::filesystem::exists("understudy-out"));
}

// A run that was cut short must not pass for a whole one. hard-case 107: beside it, a failure wins.
TEST_F(Verbs, AScenarioThatWasNotRunStandsInTheReportAsUnknown) {
  Write("bad.sql", "SELECT * FROM there_is_none;\n");
  Write("a-bad.json", R"({"name": "a-bad", "databases": {"main": {"engine": "sqlite"}},
    "migration": {"strategy": "sql", "on": "main", "up": "bad.sql"}})");
  const Outcome done = Understudy(
      {"run", Path("a-bad.json"), Path("one.json"), "--fail-fast", "--out", Path("out")});
  EXPECT_EQ(done.exit_status, 1) << done.err;
  const Json report = ParseJson(ReadFile(Path("out/report.json")), "report");
  ASSERT_EQ(report["scenarios"].size(), 2U);
  EXPECT_EQ(report["scenarios"][0]["verdict"], "fail");
  EXPECT_EQ(report["scenarios"][1]["name"], "one");
  EXPECT_EQ(report["scenarios"][1]["verdict"], "unknown");
  EXPECT_THAT(report["scenarios"][1]["summary"].get<std::string>(), HasSubstr("not run"));
}

TEST_F(Verbs, AWrongFileIsAnInputErrorWithItsPlace) {
  Write("two.json", R"({"databases": {"main": {"engine": "sqlit"}}})");
  const Outcome done = Understudy({"list", Path()});
  EXPECT_EQ(done.exit_status, 65);
  EXPECT_THAT(done.out, IsEmpty());
  EXPECT_THAT(done.err, HasSubstr("two.json: /databases/main/engine: unknown engine 'sqlit'; did "
                                  "you mean 'sqlite'? allowed: postgres, sqlite"));
}

TEST_F(Verbs, PlanNamesTheLineOfAScriptThatIsBroken) {
  Write("up.sql", "SELECT 1;\n\nSELECT 'never closed;\n");
  const Outcome done = Understudy({"plan", Path("one.json")});
  EXPECT_EQ(done.exit_status, 65);
  EXPECT_THAT(done.err, HasSubstr("up.sql:3"));
}

TEST_F(Verbs, TwoScenariosOfOneNameAreAnInputError) {
  std::filesystem::copy_file(Path("one.json"), Path("two.json"));
  EXPECT_EQ(Understudy({"list", Path()}).exit_status, 65);
}

TEST_F(Verbs, WrongUsageIs64) {
  EXPECT_EQ(Understudy({}).exit_status, 64);
  EXPECT_EQ(Understudy({"lst"}).exit_status, 64);
  EXPECT_EQ(Understudy({"list"}).exit_status, 64);
  EXPECT_EQ(Understudy({"list", Path(), "--no-such-flag"}).exit_status, 64);
  EXPECT_EQ(Understudy({"plan", Path(), "--set", "sed=1"}).exit_status, 64);
  EXPECT_EQ(Understudy({"plan", Path(), "--set", "no-equals"}).exit_status, 64);
  EXPECT_EQ(Understudy({"schema", "everything"}).exit_status, 64);
  for (const char* shard : {"0/2", "3/2", "1", "1/2x", "x1/2", "1/-2", ""}) {
    const int expected = *shard == '\0' ? 0 : 64;  // "" is as if it were not given
    EXPECT_EQ(Understudy({"list", Path(), "--shard", shard}).exit_status, expected) << shard;
  }
}

TEST_F(Verbs, SchemasArePrintedAsTheyAre) {
  for (const char* name : {"scenario", "migration", "report"}) {
    const Outcome done = Understudy({"schema", name});
    EXPECT_EQ(done.exit_status, 0);
    EXPECT_EQ(ParseJson(done.out, name),
              ParseJsonFile(ShippedPath("schema/" + std::string(name) + ".schema.json")));
  }
  EXPECT_THAT(Understudy({"schema", "points"}).out, HasSubstr("cutover.locked"));
  EXPECT_GT(ParseJson(Understudy({"schema", "points", "--json"}).out, "points")["points"].size(),
            10U);
}

TEST_F(Verbs, EveryVerbHasHelpWithAnExample) {
  for (const char* verb : {"clean", "compare", "completion", "demo", "doctor", "judge", "list",
                           "migrate", "plan", "run", "schema", "snapshot", "try"}) {
    const Outcome done = Understudy({verb, "--help"});
    EXPECT_EQ(done.exit_status, 0);
    EXPECT_THAT(done.out, HasSubstr("Example"));
  }
  EXPECT_THAT(Understudy({"--version"}).out, HasSubstr("understudy "));
}

TEST_F(Verbs, DoctorSaysWhatIsThereAndRefusesWhereARequiredThingIsMissing) {
  const Outcome done = Understudy({"doctor", "--json"});
  const Json doctor = ParseJson(done.out, "doctor");
  EXPECT_EQ(doctor["format"], "understudy-doctor/1");
  EXPECT_EQ(done.exit_status, doctor["ok"] == true ? 0 : 69);
  bool sqlite = false;
  for (const Json& item : doctor["items"]) {
    for (const char* key : {"kind", "name", "version", "available", "where", "fix"}) {
      EXPECT_TRUE(item.contains(key)) << key << " is missing in " << item.dump();
    }
    sqlite = sqlite || (item["name"] == "sqlite" && item["available"] == true);
  }
  EXPECT_TRUE(sqlite);  // built in
  // With nothing in PATH there is no container engine.
  const Outcome without =
      RunCommand({.argv = {kProgram, "doctor"},
                  .environment = {{"PATH", "/nowhere"}, {"UNDERSTUDY_REQUIRE", "docker"}}});
  EXPECT_EQ(without.exit_status, 69);
  EXPECT_THAT(without.err, HasSubstr("UNDERSTUDY_REQUIRE names docker, and it is missing"));
  // SQLite is a server that is always there; it is not the one that "postgres" asks for.
  bool postgres = false;
  for (const Json& item : doctor["items"]) {
    postgres = postgres || (item["name"] == "postgresql" && item["available"] == true);
  }
  const std::pair<const char*, bool> names[] = {
      {"postgres", postgres}, {"sqlite, postgres", postgres}, {"sqlite", true}, {"oracle", false}};
  for (const auto& [name, there] : names) {
    const Outcome asked =
        RunCommand({.argv = {kProgram, "doctor"}, .environment = {{"UNDERSTUDY_REQUIRE", name}}});
    EXPECT_EQ(asked.exit_status, there ? 0 : 69) << name;
  }
}

TEST_F(Verbs, CleanPrintsItsJson) {
  EXPECT_EQ(Understudy({"clean"}).exit_status, 0);
  const Outcome again = Understudy({"clean", "--json"});
  EXPECT_EQ(again.exit_status, 0);
  EXPECT_EQ(ParseJson(again.out, "clean")["format"], "understudy-clean/1");
}

std::string Completed(const std::string& words) {
  const std::string script =
      "source <(" + kProgram + " completion bash); COMP_WORDS=(understudy " + words +
      "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _understudy; echo \"${COMPREPLY[*]}\"";
  const Outcome done = RunCommand({.argv = {"bash", "-c", script}});
  return done.out + done.err;
}

TEST(Completion, KnowsVerbsFlagsAndValuesInBash) {
  EXPECT_EQ(Completed("sch"), "schema\n");
  EXPECT_EQ(Completed("schema p"), "points\n");
  EXPECT_THAT(Completed("migrate \"\""), HasSubstr("rollback"));
  EXPECT_EQ(Completed("list --provision d"), "docker\n");
  EXPECT_THAT(Completed("list --"), HasSubstr("--tag"));
  EXPECT_THAT(Completed("\"\""), Not(HasSubstr("engine")));  // the hidden one
}

TEST(Completion, IsRightForZshAndFishWhereTheyAreInstalled) {
  for (const char* shell : {"zsh", "fish"}) {
    const Outcome printed = Understudy({"completion", shell});
    ASSERT_EQ(printed.exit_status, 0);
    EXPECT_THAT(printed.out, HasSubstr("schema"));
    if (FindProgram(shell).empty()) continue;
    const TemporaryFolder folder;
    const auto file = folder.path() / "completion";
    WriteFileWhole(file, printed.out);
    const Outcome read = RunCommand({.argv = {shell, "-n", file.string()}});
    EXPECT_TRUE(read.ok()) << read.err;
  }
}

}  // namespace
}  // namespace understudy
