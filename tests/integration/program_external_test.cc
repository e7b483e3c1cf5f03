// Rehearsals on databases that are there already: nothing is copied, all is judged that can be.
#include "engine/db/session.h"
#include "tests/integration/program_support.h"
#include "tests/support/server.h"

namespace understudy {
namespace {
using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::Said;
using testing::Workspace;

// A parent and a child table with rows, and a table without a key.
constexpr const char* kSchema =
    "CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL UNIQUE, note text);"
    "CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES "
    "customers (id), total integer NOT NULL DEFAULT 0 CHECK (total >= 0), code text);"
    "CREATE TABLE visits (page text, n integer);"
    "INSERT INTO customers VALUES (1, 'Ann', NULL), (2, 'Bob', 'x'), (3, 'Cid', '');"
    "INSERT INTO orders VALUES (1, 1, 10, 'a'), (2, 1, 20, NULL), (3, 2, 30, 'c');"
    "INSERT INTO visits VALUES ('home', 1), ('home', 1), ('about', 2);";

// One external database, and what a run on it says.
class External {
 public:
  explicit External(bool postgres) : postgres_(postgres) {
    if (postgres) database_.emplace();
    Run(kSchema);
  }

  void Run(const std::string& sql) const { postgres_ ? database_->Run(sql) : sqlite_.Run(sql); }

  // A migration of this database by the file `up`.
  Json Scenario(const std::string& up) const {
    return {{"name", "external"},
            {"databases",
             {{"main",
               {{"engine", postgres_ ? "postgres" : "sqlite"},
                {"provision", "external"},
                {"endpoint", (postgres_ ? database_->endpoint() : sqlite_.endpoint()).Uri()}}}}},
            {"migration", {{"strategy", "sql"}, {"on", "main"}, {"up", up}}},
            {"lead_s", 0.2},
            {"tail_s", 0.2}};
  }
  Outcome RunIt(const Workspace& w, const Json& scenario) const {
    return w.Run({"run", w.WriteJson("s.json", scenario), "--out", w.At("out"),
                  "--yes-this-database-may-be-changed"});
  }

  // Runs the SQL `up` there, while clients write when `writers`; gives the program's outcome.
  Outcome Rehearse(const Workspace& w, const std::string& up, bool writers = false,
                   const std::string& down = "") const {
    Json scenario = Scenario(w.Write("up.sql", up));
    if (!down.empty()) scenario["migration"]["down"] = w.Write("down.sql", down);
    if (writers) {
      scenario["workload"] = {
          {{"kind", "writers"}, {"on", "main"}, {"clients", 2}, {"rate_per_s", 50}}};
    }
    return RunIt(w, scenario);
  }

  std::int64_t Count(const std::string& sql) const {
    return db::Connect(postgres_ ? database_->endpoint() : sqlite_.endpoint(),
                       {.settings = db::Settings::kUsers})
        ->Scalar(sql)
        .AsInteger();
  }
  bool postgres() const { return postgres_; }

 private:
  bool postgres_;
  std::optional<testing::Database> database_;
  testing::SqliteFile sqlite_;
};

Json CheckOf(const Workspace& w, const std::string& id) {
  const Json report = w.Report();
  for (const Json& check : report["scenarios"][0]["checks"]) {
    if (check["id"] == id) return check;
  }
  return nullptr;
}

std::string WhyNotChecked(const Workspace& w, const std::string& what) {
  const Json report = w.Report();
  for (const Json& one : report["scenarios"][0]["not_checked"]) {
    if (one["what"] == what) return one["why"];
  }
  return "";
}

class ProgramExternal : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) NEED_POSTGRES();
  }
};

TEST_P(ProgramExternal, ACleanMigrationPassesAndLeavesNoRowOfTheProbes) {
  const Workspace w;
  const External external(GetParam());
  const Outcome outcome = external.Rehearse(w, "ALTER TABLE orders ADD COLUMN cents integer;\n",
                                            false, "ALTER TABLE orders DROP COLUMN cents;\n");
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome) << w.Report().dump(1);
  for (const char* id : {"rows", "write-after", "constraints", "orphans"}) {
    EXPECT_EQ(CheckOf(w, id).value("verdict", ""), "pass") << id;
  }
  EXPECT_THAT(CheckOf(w, "rows")["summary"].get<std::string>(), HasSubstr("9 rows"));
  for (const char* id : {"idempotent", "up-down-up"}) {
    EXPECT_TRUE(CheckOf(w, id).is_null()) << id;
    EXPECT_THAT(WhyNotChecked(w, std::string("check:") + id), HasSubstr("external")) << id;
  }
  EXPECT_EQ(external.Count("SELECT count(*) FROM customers"), 3);
  EXPECT_EQ(external.Count("SELECT count(*) FROM orders"), 3);
  // The hashes of the rows are gone with the run.
  for (const auto& entry : std::filesystem::directory_iterator(w.path() / "out/external")) {
    EXPECT_FALSE(entry.path().filename().string().starts_with("rows-")) << entry.path();
  }
}

TEST_P(ProgramExternal, AMigrationPassesWhileClientsWrite) {
  const Workspace w;
  const External external(GetParam());
  const Outcome outcome =
      external.Rehearse(w, "ALTER TABLE orders ADD COLUMN cents integer;\n", true);
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome) << w.Report().dump(1);
  EXPECT_EQ(CheckOf(w, "rows").value("verdict", ""), "pass");
  EXPECT_EQ(CheckOf(w, "acknowledged-writes").value("verdict", ""), "pass");
  if (!external.postgres())
    return;  // hard-case 117: the report says how often locks were looked at
  EXPECT_GT(w.Report()["scenarios"][0]["measurements"]["sample_period_ms"].get<double>(), 0);
  EXPECT_THAT(ReadFile(w.path() / "out/report.md"), HasSubstr("Locks were sampled every"));
}

TEST_P(ProgramExternal, ARowThatIsLostFails) {
  const Workspace w;
  const External external(GetParam());
  const Outcome outcome = external.Rehearse(w, "DELETE FROM orders WHERE id = 2;\n");
  EXPECT_EQ(outcome.exit_status, 1) << Said(outcome);
  const Json rows = CheckOf(w, "rows");
  EXPECT_EQ(rows["verdict"], "fail") << rows;
  EXPECT_EQ(rows["examples"][0]["key"], Json({{"id", "2"}})) << rows;
}

TEST_P(ProgramExternal, AValueThatChangesFailsAndItsColumnIsNamed) {
  const Workspace w;
  const External external(GetParam());
  const Outcome outcome = external.Rehearse(
      w,
      "ALTER TABLE orders ADD COLUMN cents integer;\n"
      "UPDATE orders SET cents = total * 100, code = coalesce(code, '') WHERE id <= 2;\n");
  EXPECT_EQ(outcome.exit_status, 1) << Said(outcome);
  const std::string rows = CheckOf(w, "rows").dump();
  EXPECT_THAT(rows, HasSubstr("code (1 row)"));
  EXPECT_THAT(rows, Not(HasSubstr("cents (")));
}

TEST_P(ProgramExternal, ARowWithoutAKeyThatIsLostFails) {
  const Workspace w;
  const External external(GetParam());
  const Outcome outcome = external.Rehearse(
      w, external.postgres()
             ? "DELETE FROM visits WHERE ctid = (SELECT ctid FROM visits WHERE n = 1 LIMIT 1);\n"
             : "DELETE FROM visits WHERE rowid = 1;\n");
  EXPECT_EQ(outcome.exit_status, 1) << Said(outcome);
  EXPECT_THAT(CheckOf(w, "rows").dump(), HasSubstr("1 row lost"));
}

TEST_P(ProgramExternal, ARollbackIsComparedWithWhatWasThere) {
  for (const bool restores : {true, false}) {
    const Workspace w;
    const External external(GetParam());
    const std::string up = w.Write("up.sql", "ALTER TABLE orders ADD COLUMN cents integer;\n");
    const std::string down =
        w.Write("down.sql", std::string("ALTER TABLE orders DROP COLUMN cents;\n") +
                                (restores ? "" : "UPDATE orders SET total = 12 WHERE id = 3;\n"));
    const Json steps = {{{"snapshot", "before"}},
                        {{"migrate", {{"through", "verify"}}}},
                        {{"rollback", Json::object()}},
                        {{"snapshot", "after"}},
                        {{"cleanup", Json::object()}}};
    Json scenario = external.Scenario(up);
    scenario["migration"]["down"] = down;
    scenario["steps"] = steps;
    const Outcome outcome = external.RunIt(w, scenario);
    EXPECT_EQ(outcome.exit_status, restores ? 0 : 1) << Said(outcome) << w.Report().dump(1);
    EXPECT_EQ(CheckOf(w, "rollback-restores").value("verdict", ""), restores ? "pass" : "fail");
  }
}

TEST_P(ProgramExternal, AConstraintThatNoLongerTakesAnInsertFails) {
  const Workspace w;
  const External external(GetParam());
  const Outcome outcome = external.Rehearse(
      w, external.postgres()
             ? "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
               "'BEGIN RAISE EXCEPTION ''nothing goes in''; END';\n"
               "CREATE TRIGGER no BEFORE INSERT ON visits FOR EACH ROW EXECUTE FUNCTION no();\n"
             : "CREATE TRIGGER no BEFORE INSERT ON visits BEGIN SELECT raise(ABORT, "
               "'nothing goes in'); END;\n");
  EXPECT_EQ(outcome.exit_status, 1) << Said(outcome);
  EXPECT_THAT(CheckOf(w, "write-after").dump(), HasSubstr("nothing goes in"));
}

INSTANTIATE_TEST_SUITE_P(Engines, ProgramExternal, ::testing::Bool(),
                         [](const auto& one) { return one.param ? "Postgres" : "Sqlite"; });

// A database of ours, of which no copy can be made while somebody is connected to it.
TEST(ProgramExternalPostgres, ASnapshotWhileSomebodyIsConnectedIsComparedAllTheSame) {
  NEED_POSTGRES();
  const Workspace w;
  Json scenario = {
      {"name", "connected"},
      {"databases",
       {{"main",
         {{"engine", "postgres"},
          {"provision", "local"},
          {"fixture", {w.Write("s.sql", kSchema)}}}}}},
      {"migration",
       {{"strategy", "sql"},
        {"on", "main"},
        {"up", w.Write("up.sql", "ALTER TABLE orders ADD cents integer;\n")}}},
      {"steps",
       {{{"snapshot", "before"}},
        {{"migrate", {{"through", "verify"}}}},
        {{"background", {{{"exec", {{"on", "main"}, {"sql", "SELECT pg_sleep(20)"}}}}}}},
        {{"wait",
          {{"on", "main"},
           {"sql",
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND "
            "pid <> pg_backend_pid() AND datname = current_database()"},
           {"rows", {{1}}}}}},
        {{"snapshot", "after"}},
        {{"exec",
          {{"on", "main"},
           {"sql",
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'SELECT pg_sleep(20)%'"}}}},
        {{"join", true}},
        {{"cleanup", Json::object()}}}}};
  scenario["checks"] = {{"steps", {{"off", "the background step is cancelled"}}}};
  const auto run = [&](const std::string& name) {
    return w.Run({"run", w.WriteJson("s.json", scenario), "--out", w.At(name)});
  };
  const Outcome clean = run("out");
  EXPECT_EQ(clean.exit_status, 0) << Said(clean) << w.Report().dump(1);
  EXPECT_EQ(CheckOf(w, "rows").value("verdict", ""), "pass");
  EXPECT_THAT(CheckOf(w, "rows")["summary"].get<std::string>(), HasSubstr("9 rows"));
  EXPECT_EQ(CheckOf(w, "write-after").value("verdict", ""), "pass");
  EXPECT_THAT(WhyNotChecked(w, "check:idempotent"), HasSubstr("no copy of after:main"));
  w.Write("up.sql",
          "ALTER TABLE orders ADD cents integer; UPDATE orders SET total = 11 WHERE id = 1;\n");
  const Outcome changed = run("changed");
  EXPECT_EQ(changed.exit_status, 1) << Said(changed);
  EXPECT_THAT(Said(changed), HasSubstr("total (1 row)"));
}

// Somebody else's session holds a table: the probe neither waits for it nor fails.
TEST(ProgramExternalPostgres, ATableThatSomebodyHoldsIsListedAsNotChecked) {
  NEED_POSTGRES();
  const Workspace w;
  const testing::Database database;
  database.Run(kSchema);
  const auto other = database.Connect({.settings = db::Settings::kUsers});
  other->Begin();
  other->Execute("LOCK TABLE visits IN SHARE ROW EXCLUSIVE MODE");  // reads go on
  const Json scenario = {{"name", "external"},
                         {"databases",
                          {{"main",
                            {{"engine", "postgres"},
                             {"provision", "external"},
                             {"endpoint", database.endpoint().Uri()}}}}},
                         {"migration",
                          {{"strategy", "sql"},
                           {"on", "main"},
                           {"up", w.Write("up.sql", "ALTER TABLE orders ADD cents integer;\n")}}}};
  const Outcome outcome = w.Run({"run", w.WriteJson("s.json", scenario), "--out", w.At("out"),
                                 "--yes-this-database-may-be-changed"});
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome) << w.Report().dump(1);
  EXPECT_THAT(WhyNotChecked(w, "write-after of public.visits"), HasSubstr("lock timeout"));
}

}  // namespace
}  // namespace understudy
