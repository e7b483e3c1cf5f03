// The real migration, and the verbs that stand alone: exit codes and what they do to a database.
#include "engine/db/session.h"
#include "tests/integration/program_support.h"
#include "tests/support/server.h"

namespace understudy {
namespace {
using ::testing::HasSubstr;
using testing::Said;
using testing::SmallScenario;
using testing::Workspace;

// plan, run, again, status, rollback, cleanup of one added column on an `orders` table.
void MigrateThereAndBack(const Workspace& w, const db::Endpoint& endpoint,
                         const std::function<bool()>& has_column) {
  w.Write("up.sql", "ALTER TABLE orders ADD COLUMN cents integer;\n");
  w.Write("down.sql", "ALTER TABLE orders DROP COLUMN cents;\n");
  const std::string file = w.WriteJson(
      "m.json",
      {{"strategy", "sql"}, {"on", endpoint.Uri()}, {"up", "up.sql"}, {"down", "down.sql"}});
  const auto migrate = [&](const std::string& verb) {
    const Outcome outcome = w.Run({"migrate", verb, file, "--json"});
    EXPECT_EQ(outcome.exit_status, 0) << verb << ": " << Said(outcome);
    EXPECT_TRUE(Json::accept(outcome.out)) << verb << ": " << Said(outcome);
  };
  migrate("plan");
  EXPECT_FALSE(has_column());
  migrate("run");
  EXPECT_TRUE(has_column());
  migrate("run");  // nothing to do
  migrate("status");
  // A migration file that changed since it was begun is refused, and nothing is done.
  Json other = ParseJsonFile(file);
  const std::string original = ReadFile(file);
  other["limits"] = {{"lock_timeout_ms", 123}};
  w.WriteJson("m.json", other);
  const Outcome changed = w.Run({"migrate", "run", file});
  EXPECT_EQ(changed.exit_status, 1) << Said(changed);
  EXPECT_THAT(Said(changed), HasSubstr("changed"));
  EXPECT_TRUE(has_column());
  w.Write("m.json", original);
  migrate("rollback");
  EXPECT_FALSE(has_column());
  migrate("run");
  EXPECT_TRUE(has_column());
  migrate("cleanup");
  EXPECT_TRUE(has_column());
}

TEST(ProgramMigrate, GoesThereAndBackOnSqlite) {
  const Workspace w;
  const testing::SqliteFile sqlite;
  sqlite.Run("CREATE TABLE orders (id INTEGER PRIMARY KEY)");
  MigrateThereAndBack(w, sqlite.endpoint(), [&] {
    return sqlite.Connect()
               ->Scalar("SELECT count(*) FROM pragma_table_info('orders') WHERE name = 'cents'")
               .AsInteger() == 1;
  });
}

TEST(ProgramMigrate, GoesThereAndBackOnPostgres) {
  NEED_POSTGRES();
  const Workspace w;
  const testing::Database database;
  database.Run("CREATE TABLE orders (id bigint PRIMARY KEY)");
  MigrateThereAndBack(w, database.endpoint(), [&] {
    return database.Connect()
               ->Scalar(
                   "SELECT count(*) FROM pg_catalog.pg_attribute WHERE attrelid = "
                   "'public.orders'::regclass AND attname = 'cents' AND NOT attisdropped")
               .AsInteger() == 1;
  });
}

TEST(ProgramMigrate, AnSqlFileThatChangedBetweenPhasesIs1AndNamed) {
  const Workspace w;
  const testing::SqliteFile sqlite;
  sqlite.Run("CREATE TABLE orders (id INTEGER PRIMARY KEY)");
  w.Write("up.sql", "ALTER TABLE orders ADD COLUMN cents integer;\n");
  const std::string file = w.WriteJson(
      "m.json", {{"strategy", "sql"}, {"on", sqlite.endpoint().Uri()}, {"up", "up.sql"}});
  ASSERT_EQ(w.Run({"migrate", "prepare", file}).exit_status, 0);
  w.Write("up.sql", "DROP TABLE orders;\n");
  const Outcome changed = w.Run({"migrate", "run", file});
  EXPECT_EQ(changed.exit_status, 1) << Said(changed);
  EXPECT_THAT(Said(changed), HasSubstr("up.sql has changed"));
  EXPECT_EQ(sqlite.Connect()->Scalar("SELECT count(*) FROM orders").AsInteger(), 0);
  w.Write("up.sql", "ALTER TABLE orders ADD COLUMN cents integer;\n");
  EXPECT_EQ(w.Run({"migrate", "run", file}).exit_status, 0);
}

TEST(ProgramMigrate, AFailureNamesFileAndLineAndIs1) {
  const Workspace w;
  const testing::SqliteFile sqlite;
  sqlite.Run("CREATE TABLE orders (id INTEGER PRIMARY KEY)");
  w.Write("up.sql", "-- one\n\nALTER TABEL orders;\n");
  const std::string file = w.WriteJson(
      "m.json", {{"strategy", "sql"}, {"on", sqlite.endpoint().Uri()}, {"up", "up.sql"}});
  const Outcome outcome = w.Run({"migrate", "run", file});
  EXPECT_EQ(outcome.exit_status, 1) << Said(outcome);
  EXPECT_THAT(outcome.err, HasSubstr("up.sql:3"));
}

TEST(ProgramMigrate, WrongInputHasItsExitCode) {
  const Workspace w;
  EXPECT_EQ(w.Run({"migrate", "run", w.At("gone.json")}).exit_status, 65);
  w.Write("up.sql", "SELECT 1;\n");
  const auto run = [&](const Json& document) {
    return w.Run({"migrate", "run", w.WriteJson("m.json", document)}).exit_status;
  };
  EXPECT_EQ(run({{"strategy", "sql"}, {"on", "sqlite:a.db"}, {"up", "up.sql"}, {"upp", 1}}), 65);
  EXPECT_EQ(run({{"strategy", "none"}, {"on", "sqlite:a.db"}, {"up", "up.sql"}}), 65);
  EXPECT_EQ(run({{"strategy", "sql"}, {"on", "postgres://x@127.0.0.1:1/x"}, {"up", "up.sql"}}), 69);
  EXPECT_EQ(w.Run({"migrate", "run"}).exit_status, 64);
  EXPECT_EQ(w.Run({"migrate", "leap", w.At("m.json")}).exit_status, 64);
}

TEST(ProgramCompare, TellsEqualFromDifferentByItsExit) {
  const Workspace w;
  const testing::SqliteFile left;
  const testing::SqliteFile right;
  for (const testing::SqliteFile* side : {&left, &right}) {
    side->Run("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)");
    side->Run("INSERT INTO orders VALUES (1, 'a'), (2, 'b')");
  }
  const std::string a = left.endpoint().Uri();
  const std::string b = right.endpoint().Uri();
  EXPECT_EQ(w.Run({"compare", a, b}).exit_status, 0);
  EXPECT_EQ(w.Run({"snapshot", a, "-o", w.At("a.snapshot")}).exit_status, 0);
  right.Run("UPDATE orders SET note = 'c' WHERE id = 2");
  const Outcome different = w.Run({"compare", a, b, "--json"});
  EXPECT_EQ(different.exit_status, 1) << Said(different);
  EXPECT_TRUE(Json::accept(different.out));
  const Outcome stored = w.Run({"compare", w.At("a.snapshot"), b, "--json"});
  EXPECT_EQ(stored.exit_status, 1) << Said(stored);
  const Json table = Json::parse(stored.out)["tables"][0];  // digests know of no rows
  EXPECT_TRUE(table["changed"].is_null()) << table;
  EXPECT_TRUE(table["columns"]["note"].is_null()) << table;
}

TEST(ProgramTry, RehearsesOnAFileOfSqlAndSavesTheScenario) {
  const Workspace w;
  SmallScenario(w, "files");  // schema.sql, up.sql
  const Outcome outcome = w.Run({"try", w.At("up.sql"), "--from", w.At("schema.sql"), "--engine",
                                 "sqlite", "--save", w.At("saved.json"), "--out", w.At("out")});
  EXPECT_TRUE(outcome.exit_status == 0 || outcome.exit_status == 1) << Said(outcome);
  EXPECT_NE(w.Report()["verdict"], "unknown") << Said(outcome);
  EXPECT_EQ(w.Run({"plan", w.At("saved.json")}).exit_status, 0);
  EXPECT_EQ(w.Run({"try", w.At("up.sql"), "--from", w.At("gone.sql")}).exit_status, 65);
}

TEST(ProgramTry, RehearsesOnACustomDump) {
  NEED_POSTGRES();
  const Workspace w;
  const testing::Database database;
  database.Run("CREATE TABLE orders (id bigserial PRIMARY KEY, total numeric)");
  database.Run("INSERT INTO orders (total) SELECT i FROM generate_series(1, 50) AS i");
  Command dump;
  dump.argv = {"pg_dump", "-Fc", "-f", w.At("shop.dump")};
  dump.environment = database.endpoint().Environment();
  ASSERT_TRUE(RunCommand(dump).ok());
  w.Write("up.sql", "ALTER TABLE orders ADD COLUMN cents bigint;\n");
  const Outcome outcome = w.Run({"try", w.At("up.sql"), "--from", w.At("shop.dump"), "--provision",
                                 "local", "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome);
  EXPECT_EQ(w.Report()["scenarios"][0]["databases"][0]["rows"], 50);
}

}  // namespace
}  // namespace understudy
