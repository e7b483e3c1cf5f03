// Bad input: each gives its exit code and one message with the place and the next step, and leaves
// nothing behind (Workspace looks).
#include <fstream>

#include "engine/db/endpoint.h"
#include "tests/integration/program_support.h"
#include "tests/support/server.h"

namespace understudy {
namespace {
namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::Said;
using testing::SmallScenario;
using testing::Workspace;

// A wrong file stops everything before it starts: no folder, no scenario.
void ExpectWrongFile(const Workspace& w, const std::string& file,
                     const ::testing::Matcher<std::string>& message) {
  const Outcome outcome = w.Run({"run", file, "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 65) << Said(outcome);
  EXPECT_THAT(outcome.err, message);
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_FALSE(fs::exists(w.At("out")));
}

TEST(ProgramInput, ABrokenFileIsToldWithItsLine) {
  const Workspace w;
  w.WriteJson("good.json", SmallScenario(w, "good"));
  w.Write("broken.json", "{\n  \"databases\": {\n    \"main\" {}\n  }\n}\n");
  // In a folder it counts as well: nothing of the folder runs.
  ExpectWrongFile(w, w.path().string(), AllOf(HasSubstr("broken.json"), HasSubstr("line 3")));
}

TEST(ProgramInput, ATrailingCommaIsRefused) {
  const Workspace w;
  const std::string file = w.Write("comma.json", "{\n  \"databases\": {},\n}\n");
  ExpectWrongFile(w, file, AllOf(HasSubstr("comma.json"), HasSubstr("line 3")));
}

TEST(ProgramInput, ADuplicateKeyIsRefused) {
  const Workspace w;
  const std::string file =
      w.Write("twice.json", "{\n  \"databases\": {},\n  \"seed\": 1,\n  \"seed\": 2\n}\n");
  ExpectWrongFile(w, file, AllOf(HasSubstr("twice.json"), HasSubstr("seed")));
}

TEST(ProgramInput, CommentsAreAllowed) {
  const Workspace w;
  const std::string file =
      w.Write("c.json", "// one\n/* two */\n" + ToText(SmallScenario(w, "comments")));
  const Outcome outcome = w.Run({"plan", file});
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome);
}

TEST(ProgramInput, AnUnknownKeyIsToldWithItsPointerAndWhatIsAllowed) {
  const Workspace w;
  Json scenario = SmallScenario(w, "unknown-key");
  scenario["databases"]["main"]["fixtures"] = Json::array();
  const std::string file = w.WriteJson("s.json", scenario);
  ExpectWrongFile(
      w, file,
      AllOf(HasSubstr("s.json"), HasSubstr("/databases/main/fixtures"), HasSubstr("fixture")));
}

TEST(ProgramInput, AWrongTypeIsToldWithItsPointer) {
  const Workspace w;
  Json scenario = SmallScenario(w, "wrong-type");
  scenario["seed"] = "seven";
  const std::string file = w.WriteJson("s.json", scenario);
  ExpectWrongFile(w, file,
                  AllOf(HasSubstr("s.json"), HasSubstr("/seed"), HasSubstr("whole number")));
}

TEST(ProgramInput, AMissingScenarioAndAMissingScriptAreTold) {
  const Workspace w;
  ExpectWrongFile(w, w.At("nowhere.json"), HasSubstr("nowhere.json"));
  Json scenario = SmallScenario(w, "missing-script");
  scenario["migration"]["up"] = "gone.sql";
  const std::string file = w.WriteJson("s.json", scenario);
  ExpectWrongFile(w, file,
                  AllOf(HasSubstr("s.json"), HasSubstr("/migration/up"), HasSubstr("gone.sql")));
}

TEST(ProgramInput, AMissingFixtureIsTold) {
  const Workspace w;
  Json scenario = SmallScenario(w, "missing-fixture");
  scenario["databases"]["main"]["fixture"] = {"gone.sql"};
  ExpectWrongFile(w, w.WriteJson("s.json", scenario),
                  AllOf(HasSubstr("/databases/main/fixture/0"), HasSubstr("gone.sql")));
}

TEST(ProgramInput, AVersionThatIsNotThereIsToldWithItsPointer) {
  const Workspace w;
  Json scenario = SmallScenario(w, "no-such-version");
  scenario["migration"]["through"] = "0099";
  ExpectWrongFile(w, w.WriteJson("s.json", scenario),
                  AllOf(HasSubstr("s.json: /migration/through: no version '0099'"),
                        HasSubstr("there are: up.sql")));
  Json several = SmallScenario(w, "no-such-version");
  several["migrations"]["first"] = several["migration"];
  several.erase("migration");
  several["migrations"]["first"]["baseline"] = "0099";
  ExpectWrongFile(w, w.WriteJson("several.json", several),
                  HasSubstr("several.json: /migrations/first/baseline: no version"));
  Json migration = scenario["migration"];
  migration["on"] = "sqlite:" + w.At("x.db");
  std::ofstream(w.At("x.db"));
  const Outcome outcome = w.Run({"migrate", "plan", w.WriteJson("m.json", migration)});
  EXPECT_EQ(outcome.exit_status, 65) << Said(outcome);
  EXPECT_THAT(outcome.err, HasSubstr("m.json: /through: no version '0099'"));
}

TEST(ProgramInput, TwoScenariosOfOneNameAreRefused) {
  const Workspace w;
  w.WriteJson("suite/a.json", SmallScenario(w, "same"));
  w.WriteJson("suite/b.json", SmallScenario(w, "same"));
  ExpectWrongFile(w, w.At("suite"),
                  AllOf(HasSubstr("a.json"), HasSubstr("b.json"), HasSubstr("same")));
  // One file reached twice runs once.
  const Outcome twice = w.Run({"list", w.At("suite/a.json"), w.At("suite/a.json"), "--json"});
  EXPECT_EQ(twice.exit_status, 0) << Said(twice);
}

TEST(ProgramInput, ASyntaxErrorInTheMigrationIsAFailedStepWithFileAndLine) {
  const Workspace w;
  Json scenario = SmallScenario(w, "syntax-error");
  w.Write("up.sql",
          "-- a comment\nALTER TABLE orders ADD COLUMN cents INTEGER;\n\nALTER TABEL orders;\n");
  const Outcome outcome = w.Run({"run", w.WriteJson("s.json", scenario), "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 1) << Said(outcome);
  const Json report = w.Report();
  EXPECT_EQ(report["scenarios"][0]["verdict"], "fail");
  std::string steps;
  for (const Json& check : report["scenarios"][0]["checks"]) {
    if (check["id"] == "steps") {
      EXPECT_EQ(check["verdict"], "fail");
      steps = check.dump();
    }
  }
  EXPECT_THAT(steps, HasSubstr("up.sql:4"));
  EXPECT_THAT(outcome.out, HasSubstr("up.sql:4"));
}

TEST(ProgramInput, ASyntaxErrorInPostgresIsToldWithFileAndLine) {
  NEED_POSTGRES();
  const Workspace w;
  Json scenario = SmallScenario(w, "syntax-error-postgres");
  scenario["databases"]["main"] = {{"engine", "postgres"}, {"provision", "local"}};
  w.Write("up.sql", "CREATE TABLE t (\n  id bigint PRIMARY KEY,\n  total nummeric\n);\n");
  const Outcome outcome = w.Run({"run", w.WriteJson("s.json", scenario), "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 1) << Said(outcome);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("up.sql:3"), HasSubstr("nummeric")));
}

TEST(ProgramInput, WrongUseIs64) {
  const Workspace w;
  const std::string file = w.WriteJson("s.json", SmallScenario(w, "usage"));
  const auto code = [&](std::vector<std::string> arguments) {
    const Outcome outcome = w.Run(std::move(arguments));
    EXPECT_THAT(outcome.err, Not(IsEmpty()));
    return outcome.exit_status;
  };
  EXPECT_EQ(code({}), 64);
  EXPECT_EQ(code({"rum"}), 64);
  EXPECT_EQ(code({"run"}), 64);
  EXPECT_EQ(code({"run", file, "--nope"}), 64);
  EXPECT_EQ(code({"run", file, "--jobs", "0"}), 64);
  EXPECT_EQ(code({"run", file, "--shard", "3/2"}), 64);
  EXPECT_EQ(code({"run", file, "--set", "seed"}), 64);
  EXPECT_EQ(code({"run", file, "--set", "seed=\"x\""}), 64);
  EXPECT_EQ(code({"run", file, "--set", "no.such.key=1"}), 64);
  w.Write("full/file", "x");
  EXPECT_EQ(code({"run", file, "--out", w.At("full")}), 64);
  EXPECT_EQ(ReadFile(w.At("full/file")), "x");
}

TEST(ProgramInput, AnUnknownVerbIs64AndNamesThoseThereAre) {
  const Workspace w;
  const Outcome frob = w.Run({"frob"});
  EXPECT_EQ(frob.exit_status, 64);
  EXPECT_THAT(frob.err,
              AllOf(HasSubstr("'frob'"), HasSubstr("demo, try, run"), Not(HasSubstr("engine,"))));
  EXPECT_EQ(w.Run({"--verbose", "frob", "--json"}).exit_status, 64);
  const Outcome none = w.Run({});
  EXPECT_EQ(none.exit_status, 64);
  EXPECT_THAT(none.err, HasSubstr("demo, try, run"));
  EXPECT_EQ(w.Run({"--help"}).exit_status, 0);
  EXPECT_EQ(w.Run({"--version"}).exit_status, 0);
}

TEST(ProgramInput, AScriptThatDoesNotSplitIs65AtItsLineBeforeAnythingStarts) {
  const Workspace w;
  const Json good = SmallScenario(w, "good");
  const std::string first = w.WriteJson("a.json", good);
  const std::string wrong =
      w.Write("wrong.sql", "-- one\nSELECT 1;\n\nINSERT INTO orders (note) VALUES ('x);\n");
  const auto refused = [&](const std::string& what, const Json& scenario) {
    const std::string second = w.WriteJson("b.json", scenario);
    const Outcome outcome = w.Run({"run", first, second, "--out", w.At("out")});
    EXPECT_EQ(outcome.exit_status, 65) << what << Said(outcome);
    EXPECT_THAT(outcome.err, HasSubstr("wrong.sql:4")) << what;
    EXPECT_FALSE(fs::exists(w.At("out"))) << what;  // nor did the good one run
  };
  Json scenario = SmallScenario(w, "bad");
  scenario["migration"]["up"] = wrong;
  refused("up", scenario);
  scenario = SmallScenario(w, "bad");
  scenario["migration"]["down"] = wrong;
  refused("down", scenario);
  scenario = SmallScenario(w, "bad");
  scenario["databases"]["main"]["fixture"].push_back(wrong);
  refused("fixture", scenario);
  scenario = SmallScenario(w, "bad");
  scenario["steps"] = {{{"exec", {{"on", "main"}, {"file", wrong}}}}};
  refused("exec", scenario);
}

TEST(ProgramInput, NothingFoundIs2) {
  const Workspace w;
  w.Write("folder/other.json", "{\"tables\": {}}");
  const Outcome none = w.Run({"run", w.At("folder"), "--out", w.At("out")});
  EXPECT_EQ(none.exit_status, 2) << Said(none);
  EXPECT_FALSE(fs::exists(w.At("out")));
  const std::string file = w.WriteJson("s.json", SmallScenario(w, "there"));
  EXPECT_EQ(w.Run({"run", file, "--filter", "elsewhere*"}).exit_status, 2);
  EXPECT_EQ(w.Run({"list", w.At("folder")}).exit_status, 2);
}

Json External(const Workspace& w, const std::string& name, const std::string& endpoint) {
  Json scenario = SmallScenario(w, name);
  scenario["databases"]["main"] = {
      {"engine", "postgres"}, {"provision", "external"}, {"endpoint", endpoint}};
  return scenario;
}

TEST(ProgramInput, AServerThatRefusesIs69WithThePlace) {
  const Workspace w;
  const std::string file =
      w.WriteJson("s.json", External(w, "refuses", "postgres://somebody:secret@127.0.0.1:1/shop"));
  const Outcome outcome = w.Run({"run", file, "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 69) << Said(outcome);
  EXPECT_THAT(outcome.out, HasSubstr("127.0.0.1"));
  EXPECT_THAT(Said(outcome) + ReadFile(w.At("out/report.json")), Not(HasSubstr("secret")));
  EXPECT_EQ(w.Report()["scenarios"][0]["verdict"], "unknown");
  for (const char* verb : {"snapshot", "compare"}) {
    std::vector<std::string> arguments = {verb, "postgres://somebody:secret@127.0.0.1:1/shop"};
    if (std::string(verb) == "compare") arguments.push_back(arguments.back());
    const Outcome other = w.Run(arguments);
    EXPECT_EQ(other.exit_status, 69) << verb << Said(other);
    EXPECT_THAT(Said(other), Not(HasSubstr("secret")));
  }
}

TEST(ProgramInput, AWrongPasswordIs69AndIsNotShown) {
  NEED_POSTGRES();
  if (std::getenv("UNDERSTUDY_TEST_SERVER") != nullptr) GTEST_SKIP() << "needs a server of ours";
  const Workspace w;
  const testing::Database database;
  database.Run("CREATE ROLE wrong_password LOGIN PASSWORD 'right'");
  const fs::path rules = database.Connect()->Scalar("SHOW hba_file").text;
  const std::string before = ReadFile(rules);
  const auto set_rules = [&](const std::string& text) {
    std::ofstream(rules, std::ios::trunc) << text;  // keeps the owner
    database.Run("SELECT pg_reload_conf()");
  };
  set_rules("local all wrong_password scram-sha-256\n" + before);
  const std::string endpoint = database.endpoint()
                                   .WithSetting("user", "wrong_password")
                                   .WithSetting("password", "hunter2")
                                   .Uri();
  const Outcome outcome = w.Run(
      {"run", w.WriteJson("s.json", External(w, "password", endpoint)), "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 69) << Said(outcome);
  EXPECT_THAT(outcome.out, HasSubstr("password"));
  EXPECT_THAT(Said(outcome) + ReadFile(w.At("out/report.json")) +
                  ReadFile(w.At("out/password/scenario.json")) +
                  ReadFile(w.At("out/password/evidence.jsonl")),
              Not(HasSubstr("hunter2")));
  set_rules(before);
  database.Run("DROP ROLE wrong_password");
}

TEST(ProgramInput, AnExternalDatabaseWithoutTheMarkIsRefused) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run("CREATE TABLE orders (id bigint PRIMARY KEY)");
  database.Run("INSERT INTO orders VALUES (1)");
  const std::string endpoint = database.endpoint().Uri();
  const Workspace w;
  const std::string file = w.WriteJson("s.json", External(w, "no-mark", endpoint));
  const Outcome refused = w.Run({"run", file, "--out", w.At("refused")});
  EXPECT_EQ(refused.exit_status, 65) << Said(refused);
  EXPECT_THAT(refused.out, AllOf(HasSubstr("understudy-rehearsal"),
                                 HasSubstr("--yes-this-database-may-be-changed")));
  const auto columns = [&] {
    return database.Connect()
        ->Scalar(
            "SELECT count(*) FROM pg_catalog.pg_attribute WHERE attrelid = "
            "'public.orders'::regclass AND attnum > 0")
        .AsInteger();
  };
  EXPECT_EQ(columns(), 1);
  const Outcome flag =
      w.Run({"run", file, "--out", w.At("out"), "--yes-this-database-may-be-changed"});
  EXPECT_EQ(flag.exit_status, 0) << Said(flag);
  EXPECT_EQ(columns(), 2);
}

TEST(ProgramInput, AnExternalDatabaseWithTheMarkIsUsed) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run("CREATE TABLE orders (id bigint PRIMARY KEY)");
  database.Run("INSERT INTO orders VALUES (1)");
  const auto session = database.Connect();
  const std::string name =
      session->Scalar("SELECT pg_catalog.quote_ident(pg_catalog.current_database())").text;
  database.Run("COMMENT ON DATABASE " + name + " IS 'for understudy-rehearsal'");
  Workspace w;
  w.environment["A_SERVER"] = database.endpoint().Uri();
  const Outcome outcome = w.Run(
      {"run", w.WriteJson("s.json", External(w, "mark", "env:A_SERVER")), "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome);
  EXPECT_EQ(w.Report()["scenarios"][0]["databases"][0]["provision"], "external");
}

TEST(ProgramInput, AnExternalSqliteFileNeedsTheFlag) {
  const Workspace w;
  const testing::SqliteFile sqlite;
  sqlite.Run("CREATE TABLE orders (id INTEGER PRIMARY KEY)");
  sqlite.Run("INSERT INTO orders VALUES (1)");
  Json scenario = SmallScenario(w, "external-sqlite");
  scenario["databases"]["main"] = {
      {"engine", "sqlite"}, {"provision", "external"}, {"endpoint", sqlite.endpoint().Uri()}};
  const std::string file = w.WriteJson("s.json", scenario);
  EXPECT_EQ(w.Run({"run", file, "--out", w.At("refused")}).exit_status, 65);
  const Outcome flag =
      w.Run({"run", file, "--out", w.At("out"), "--yes-this-database-may-be-changed"});
  EXPECT_EQ(flag.exit_status, 0) << Said(flag);
}

TEST(ProgramInput, AnImageThatIsNotThereIsUnknownAndByName69) {
  NEED_DOCKER();
  const Workspace w;
  Json scenario = SmallScenario(w, "no-image");
  scenario["databases"]["main"] = {
      {"engine", "postgres"}, {"provision", "docker"}, {"image", "127.0.0.1:1/understudy/none:1"}};
  const std::string file = w.WriteJson("s.json", scenario);
  const Outcome outcome = w.Run({"run", file, "--out", w.At("a")});
  EXPECT_EQ(outcome.exit_status, 2) << Said(outcome);
  EXPECT_THAT(outcome.out, HasSubstr("127.0.0.1:1/understudy/none:1"));
  const Outcome named = w.Run({"run", file, "--out", w.At("b"), "--provision", "docker"});
  EXPECT_EQ(named.exit_status, 69) << Said(named);
}

}  // namespace
}  // namespace understudy
