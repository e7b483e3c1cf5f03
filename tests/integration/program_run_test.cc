// Whole runs as a user has them: interrupted, killed, judged again, repeated; nothing left behind.
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <sstream>
#include <thread>

#include "engine/base/clock.h"
#include "engine/db/session.h"
#include "tests/integration/program_support.h"
#include "tests/support/server.h"

namespace understudy {
namespace {
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::Said;
using testing::SmallScenario;
using testing::Workspace;

// Verdicts and checks of a report, without what depends on when and where it was written.
Json Verdicts(const Json& report) {
  Json list = Json::array();
  for (const Json& scenario : report["scenarios"]) {
    list.push_back({{"name", scenario["name"]},
                    {"verdict", scenario["verdict"]},
                    {"observed", scenario["observed"]},
                    {"summary", scenario["summary"]},
                    {"checks", scenario["checks"]},
                    {"not_checked", scenario["not_checked"]}});
  }
  return list;
}

// Waits until the evidence of `scenario` holds `text`.
bool Reaches(const Workspace& w, const std::string& scenario, const std::string& text) {
  const fs::path evidence = w.path() / "out" / scenario / "evidence.jsonl";
  for (int i = 0; i < 600; ++i) {
    if (fs::exists(evidence) && ReadFile(evidence).find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(50ms);
  }
  return false;
}

// A scenario that stays long enough in one step to be ended there.
Json LongScenario(const Workspace& w, const std::string& name) {
  Json scenario = SmallScenario(w, name);
  scenario["workload"] = {{{"kind", "writers"}, {"on", "main"}, {"rate_per_s", 20}}};
  scenario["steps"] = {{{"snapshot", "before"}},
                       {{"migrate", {{"through", "verify"}}}},
                       {{"wait", {{"seconds", 120}}}, {"name", "long"}}};
  return scenario;
}

TEST(ProgramRun, JsonIsExactlyOneDocumentOnStdout) {
  const Workspace w;
  const std::string file = w.WriteJson("s.json", SmallScenario(w, "json"));
  const Outcome outcome = w.Run({"run", file, "--out", w.At("out"), "--json"});
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome);
  const Json report = Json::parse(outcome.out);  // throws when anything else is there
  EXPECT_EQ(report["format"], "understudy-report/1");
  EXPECT_EQ(report, w.Report());
  EXPECT_TRUE(Json::parse(w.Run({"list", file, "--json"}).out).is_object());
  EXPECT_TRUE(Json::parse(w.Run({"plan", file, "--json"}).out).is_object());
  EXPECT_TRUE(Json::accept(w.Run({"schema", "scenario"}).out));
}

// A finished run is files alone, also after somebody has read them.
TEST(ProgramRun, LeavesNoJournalsBesideItsStores) {
  const Workspace w;
  Json scenario = SmallScenario(w, "stores");
  scenario["workload"] = {{{"kind", "writers"}, {"on", "main"}, {"rate_per_s", 50}}};
  const Outcome run = w.Run({"run", w.WriteJson("s.json", scenario), "--out", w.At("out")});
  EXPECT_EQ(run.exit_status, 0) << Said(run);
  EXPECT_EQ(w.Run({"judge", w.At("out")}).exit_status, 0);
  EXPECT_TRUE(fs::exists(w.path() / "out/stores/ledger.sqlite"));
  for (const auto& entry : fs::recursive_directory_iterator(w.path() / "out")) {
    const std::string name = entry.path().filename().string();
    EXPECT_FALSE(name.ends_with("-wal") || name.ends_with("-shm") || name.ends_with("-journal"))
        << entry.path();
  }
}

// Each `wait` is for a pass of its own, not for what an earlier migration left behind.
TEST(ProgramRun, AWaitForAPointIsNotOverByAnEarlierMigrationsPass) {
  const Workspace w;
  Json scenario = SmallScenario(w, "waits");
  scenario.erase("migration");
  scenario["migrations"] = {
      {"first", {{"strategy", "sql"}, {"on", "main"}, {"up", w.At("up.sql")}}},
      {"second",
       {{"strategy", "sql"},
        {"on", "main"},
        {"up", w.Write("second.sql", "ALTER TABLE orders ADD COLUMN more INTEGER;\n")}}}};
  const Json migrate = {{"migrate", {{"migration", "second"}, {"through", "verify"}}}};
  const Json wait = {{"wait", {{"point", "cutover.after_commit"}, {"timeout_s", 60}}}};
  const Json late = {{"wait", {{"point", "cutover.after_commit"}, {"timeout_s", 0.3}}},
                     {"outcome", "failed"}};
  const Json has = {
      {"assert",
       {{"on", "main"},
        {"sql", "SELECT count(*) FROM pragma_table_info('orders') WHERE name = 'more'"},
        {"rows", {{1}}}}}};
  const Json pause = {{"wait", {{"seconds", 0.5}}}};
  scenario["steps"] = {{{"snapshot", "before"}},
                       {{"migrate", {{"migration", "first"}, {"through", "verify"}}}},
                       late,
                       {{"background", {pause, migrate}}},
                       wait,
                       has,
                       late,
                       {{"join", true}},
                       {{"snapshot", "after"}}};
  const Outcome outcome = w.Run({"run", w.WriteJson("s.json", scenario), "--out", w.At("out")});
  const Json report = w.Report();
  for (const Json& check : report["scenarios"][0]["checks"]) {
    if (check["id"] == "steps") {
      EXPECT_EQ(check["verdict"], "pass") << check << Said(outcome);
    }
  }
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome);
}

TEST(ProgramRun, JudgeGivesTheVerdictsOfTheRun) {
  const Workspace w;
  const std::string source = UNDERSTUDY_SOURCE_DIR;
  const Outcome run = w.Run({"run", source + "/scenarios/negative/sqlite-index-lost.json",
                             source + "/scenarios/negative/sqlite-rows-lost-by-cascade.json",
                             "--set", "expect=null", "--out", w.At("out")});
  EXPECT_EQ(run.exit_status, 1) << Said(run);
  const Outcome judge = w.Run({"judge", w.At("out"), "--out", w.At("again")});
  EXPECT_EQ(judge.exit_status, 1) << Said(judge);
  ASSERT_EQ(Verdicts(w.Report()).size(), 2U);
  EXPECT_EQ(Verdicts(w.Report()), Verdicts(w.Report("again")));
}

TEST(ProgramRun, EachNegativeScenarioFailsWithoutItsExpectation) {
  NEED_POSTGRES();
  const Workspace w;
  const Outcome run = w.Run({"run", std::string(UNDERSTUDY_SOURCE_DIR) + "/scenarios/negative",
                             "--set", "expect=null", "--jobs", "2", "--out", w.At("out")});
  EXPECT_EQ(run.exit_status, 1) << Said(run);
  const Json report = w.Report();
  EXPECT_GE(report["scenarios"].size(), 12U);
  for (const Json& scenario : report["scenarios"]) {
    EXPECT_EQ(scenario["verdict"], "fail") << scenario["name"] << scenario["summary"];
    EXPECT_EQ(scenario["observed"], "fail") << scenario["name"];
    EXPECT_TRUE(scenario["expected"].is_null()) << scenario["name"];
  }
}

// The two lines shared what snapshots hold without a lock, and either could start the observers
// that the other had stopped: make test-tsan shows it.
TEST(ProgramRun, TwoLinesOfStepsTakeSnapshotsBesideEachOther) {
  const Workspace w;
  Json scenario = SmallScenario(w, "lines");
  scenario["steps"] = Json::parse(R"([
    {"snapshot": "before"},
    {"background": [{"snapshot": "one"}, {"snapshot": "two"}]},
    {"snapshot": "three"},
    {"snapshot": "four"},
    {"join": true},
    {"migrate": {}},
    {"snapshot": "after"},
    {"cleanup": {}}])");
  const Outcome outcome = w.Run({"run", w.WriteJson("s.json", scenario), "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome);
  EXPECT_EQ(w.Report()["scenarios"][0]["steps"].size(), 10U);
}

TEST(ProgramRun, OneSeedGivesTheSameWrites) {
  const Workspace w;
  Json scenario = SmallScenario(w, "seeded");
  // One client: between several, keys that the database gives are shared out by the clock.
  scenario["workload"] = {{{"kind", "writers"}, {"on", "main"}, {"rate_per_s", 100}}};
  scenario["lead_s"] = 0.5;
  const std::string file = w.WriteJson("s.json", scenario);
  const auto writes = [&](const std::string& out, const std::string& seed) {
    w.Run({"run", file, "--seed", seed, "--out", w.At(out)});
    const auto ledger =
        db::Connect(db::Endpoint::Sqlite(w.path() / out / "seeded" / "ledger.sqlite"));
    return ledger
        ->Scalar(
            "SELECT group_concat(line, char(10)) FROM (SELECT client || ' ' || operation || ' ' || "
            "table_name || ' ' || coalesce(\"key\", '') || ' ' || coalesce(\"row\", '') AS line "
            "FROM writes ORDER BY client, id)")
        .text;
  };
  const std::string first = writes("a", "7");
  const std::string again = writes("b", "7");
  // How many there are is a matter of time: one is the beginning of the other.
  const std::size_t common = std::min(first.size(), again.size());
  EXPECT_GT(common, 500U);
  EXPECT_EQ(first.substr(0, common), again.substr(0, common));
  EXPECT_NE(writes("c", "8").substr(0, 500), first.substr(0, 500));
}

// hard-case 120: somebody sets the clock, again and again, while a rehearsal runs.
TEST(ProgramRun, AStepOfTheWallClockChangesNoDurationAndNoVerdict) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer wants to be loaded first";
#endif
  Workspace w;
  Json scenario = SmallScenario(w, "clock");
  scenario["workload"] = {{{"kind", "writers"}, {"on", "main"}, {"rate_per_s", 50}}};
  scenario["steps"] = {
      {{"snapshot", "before"}},       {{"migrate", {{"through", "verify"}}}},
      {{"wait", {{"seconds", 1.5}}}}, {{"mutate", {{"on", "main"}, {"seconds", 1}}}},
      {{"snapshot", "after"}},        {{"cleanup", Json::object()}}};
  scenario["checks"] = {{"duration", {{"max_ms", 60000}}}, {"stalls", {{"max_ms", 30000}}}};
  w.environment["LD_PRELOAD"] = UNDERSTUDY_STEPPING_CLOCK;
  const auto started = std::chrono::steady_clock::now();
  const std::string before = UtcNow();
  const Outcome outcome = w.Run({"run", w.WriteJson("s.json", scenario), "--out", w.At("out")});
  const double took_ms = MillisecondsSince(started);
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome);
  const Json report = w.Report();
  // The program did see another clock, or this proves nothing: hours from ours.
  EXPECT_NE(report["started_at"].get<std::string>().substr(0, 13), before.substr(0, 13));
  const Json& run = report["scenarios"][0];
  EXPECT_GE(run["duration_ms"].get<double>(), 2500);
  EXPECT_LE(run["duration_ms"].get<double>(), took_ms);
  for (const Json& step : run["steps"]) {
    EXPECT_GE(step["duration_ms"].get<double>(), 0) << step;
    EXPECT_LE(step["duration_ms"].get<double>(), took_ms) << step;
  }
  for (const Json& phase : run["phases"]) {
    EXPECT_GE(phase["duration_ms"].get<double>(), 0) << phase;
    EXPECT_LE(phase["duration_ms"].get<double>(), took_ms) << phase;
  }
  EXPECT_LE(run["measurements"]["longest_stall_ms"].get<double>(), took_ms);
}

TEST(ProgramRun, AnInterruptedRunIs130AndWritesItsReport) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Workspace w;
    const std::string first = w.WriteJson("a.json", LongScenario(w, "first"));
    const std::string second = w.WriteJson("b.json", SmallScenario(w, "second"));
    Child child = Child::Start(w.Call({"run", first, second, "--out", w.At("out")}), {},
                               w.path() / "output.txt");
    ASSERT_TRUE(Reaches(w, "first", "\"long\"")) << ReadFile(w.path() / "output.txt");
    ASSERT_EQ(::kill(child.pid(), signal), 0);
    const auto status = child.Wait(60s);
    ASSERT_TRUE(status.has_value());
    EXPECT_EQ(*status, 130) << ReadFile(w.path() / "output.txt");
    const Json report = w.Report();
    ASSERT_EQ(report["scenarios"].size(), 2U);
    for (const Json& scenario : report["scenarios"]) {
      EXPECT_EQ(scenario["verdict"], "unknown");
      EXPECT_THAT(scenario["summary"].get<std::string>(), HasSubstr("interrupted"));
    }
    EXPECT_TRUE(fs::exists(w.path() / "out/junit.xml"));
    EXPECT_TRUE(fs::exists(w.path() / "out/report.md"));
  }
}

void KillAndClean(Json scenario) {
  const Workspace w;
  const std::string file = w.WriteJson("s.json", scenario);
  Child child =
      Child::Start(w.Call({"run", file, "--out", w.At("out")}), {}, w.path() / "output.txt");
  ASSERT_TRUE(Reaches(w, scenario["name"], "\"long\"")) << ReadFile(w.path() / "output.txt");
  ASSERT_EQ(::kill(child.pid(), SIGKILL), 0);  // the program alone, as the kernel would
  EXPECT_EQ(child.Wait(60s), 128 + SIGKILL);
  EXPECT_THAT(w.Leftovers(), Not(IsEmpty()));  // or this proves nothing
  const Outcome clean = w.Run({"clean"});
  EXPECT_EQ(clean.exit_status, 0) << Said(clean);
  EXPECT_THAT(clean.out, HasSubstr(w.path().string()));
  const Outcome judge = w.Run({"judge", w.At("out")});
  EXPECT_EQ(judge.exit_status, 2) << Said(judge);
  const Json report = w.Report();
  ASSERT_EQ(report["scenarios"].size(), 1U);
  EXPECT_EQ(report["scenarios"][0]["verdict"], "unknown");
  EXPECT_THAT(report["scenarios"][0]["summary"].get<std::string>(), HasSubstr("interrupted"));
}

TEST(ProgramRun, AKilledRunOnSqliteIsCleanedAndJudged) {
  const Workspace w;
  Json scenario = LongScenario(w, "killed-sqlite");
  KillAndClean(scenario);
}

TEST(ProgramRun, AKilledRunOnPostgresIsCleanedAndJudged) {
  NEED_POSTGRES();
  const Workspace w;
  Json scenario = LongScenario(w, "killed-postgres");
  scenario["databases"]["main"] = {
      {"engine", "postgres"},
      {"provision", "local"},
      {"fixture",
       {w.Write("pg.sql", "CREATE TABLE orders (id bigserial PRIMARY KEY, total numeric);\n")}}};
  KillAndClean(scenario);
}

TEST(ProgramRun, AFullDiskIs69AndLeavesNoHalfReport) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may mount a small disk";
  const Workspace w;
  const std::string file = w.WriteJson("s.json", SmallScenario(w, "full"));
  int full = 0;
  for (const char* size : {"size=12k", "size=64k", "size=200k"}) {
    fs::create_directory(w.path() / "disk");
    if (::mount("tmpfs", w.At("disk").c_str(), "tmpfs", 0, size) != 0) {
      GTEST_SKIP() << "this machine lets nobody mount";
    }
    const Outcome outcome = w.Run({"run", file, "--out", w.At("disk/out")});
    if (outcome.exit_status != 0) {
      ++full;
      EXPECT_EQ(outcome.exit_status, 69) << size << Said(outcome);
      EXPECT_THAT(Said(outcome), HasSubstr("disk"));
    }
    if (fs::exists(w.path() / "disk/out/report.json")) {
      EXPECT_TRUE(Json::accept(ReadFile(w.path() / "disk/out/report.json"))) << size;
    }
    ASSERT_EQ(::umount(w.At("disk").c_str()), 0);
    fs::remove(w.path() / "disk");
  }
  EXPECT_GT(full, 0);
}

}  // namespace
}  // namespace understudy
