// The real migration, and the verbs that stand alone: exit codes and what they do to a database.
#include "engine/db/session.h"
#include "tests/integration/program_support.h"
#include "tests/support/server.h"

namespace understudy {
namespace {
using ::testing::ContainsRegex;
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
  other["limits"] = {{"lock_timeout_ms", 123}};  // only how it is done
  w.WriteJson("m.json", other);
  migrate("run");
  other["transaction"] = "none";
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

// Every verb of a table swap by hand: in one go, then in phases on the same pair of databases,
// there and back, and given up. hard-cases 25, 62, 64.
TEST(ProgramMigrate, SwapsTablesTwiceOnOnePairWithEveryVerb) {
  NEED_POSTGRES();
  const Workspace w;
  const testing::Database production;
  const testing::Database edition;
  const std::string fixtures = std::string(UNDERSTUDY_SOURCE_DIR) + "/fixtures/atlas/";
  for (const testing::Database* side : {&production, &edition}) {
    side->Run(ReadFile(fixtures + "schema.sql"));
    side->Run(ReadFile(fixtures + (side == &edition ? "new.sql" : "production.sql")));
  }
  const auto file = [&](const std::string& name) {
    return w.WriteJson(name + ".json", {{"strategy", "table-swap"},
                                        {"source", edition.endpoint().Uri()},
                                        {"target", production.endpoint().Uri()},
                                        {"schema", {{"from", "source"}}},
                                        {"preserved", {"public.\"Member\"", "public.\"Note\""}}});
  };
  const auto migrate = [&](const std::string& name, std::vector<std::string> verb, int exit = 0) {
    verb.insert(verb.begin(), "migrate");
    verb.insert(verb.end(), {file(name), "--json"});
    const Outcome outcome = w.Run(verb);
    EXPECT_EQ(outcome.exit_status, exit) << verb[1] << " " << name << ": " << Said(outcome);
    return outcome.out;
  };
  const auto scalar = [&](const std::string& sql) {
    return production.Connect()->Scalar(sql).text;
  };
  const std::string counts =
      "SELECT (SELECT count(*) FROM public.\"Place\") || ' ' || (SELECT count(*) FROM "
      "public.\"Note\")";
  const auto same = [&](const std::string& snapshot, const testing::Database& database) {
    return w.Run({"compare", w.At(snapshot), database.endpoint().Uri()});
  };
  const auto keep = [&](const std::string& snapshot, const testing::Database& database) {
    ASSERT_EQ(w.Run({"snapshot", database.endpoint().Uri(), "-o", w.At(snapshot)}).exit_status, 0);
  };
  keep("edition.snapshot", edition);
  EXPECT_TRUE(Json::parse(migrate("first", {"plan"}))["existing_backup"].is_null());
  migrate("first", {"run"});
  EXPECT_EQ(scalar(counts), "300 400");

  // The dry run announces that the backup is to be removed, and changes nothing.
  edition.Run("UPDATE \"Place\" SET height = 1 WHERE id = 'p3'");
  keep("edition.snapshot", edition);
  keep("swapped.snapshot", production);
  const Json plan = Json::parse(migrate("second", {"plan"}));
  EXPECT_EQ(plan["existing_backup"]["migration"], "first") << plan;
  EXPECT_EQ(same("swapped.snapshot", production).exit_status, 0);
  migrate("first", {"status"});
  migrate("second", {"prepare"});
  // Its backup went at the end of that, and with it its journal.
  EXPECT_EQ(Json::parse(migrate("first", {"rollback"}))["outcome"], "nothing");
  EXPECT_EQ(scalar("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'understudy_backup%'"),
            "0");
  production.Run("INSERT INTO \"Note\" (\"memberId\", body) VALUES (1, 'meanwhile')");
  migrate("second", {"sync"});
  migrate("second", {"status"});
  migrate("second", {"cutover"});
  migrate("second", {"reset"}, 1);
  migrate("second", {"verify"});
  EXPECT_EQ(scalar(counts), "300 401");
  EXPECT_EQ(scalar("SELECT height FROM public.\"Place\" WHERE id = 'p3'"), "1.00");
  EXPECT_EQ(scalar("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'understudy_backup%'"),
            "1");
  migrate("second", {"rollback"});
  EXPECT_EQ(scalar("SELECT height FROM public.\"Place\" WHERE id = 'p3'"), "4.75");
  EXPECT_EQ(scalar(counts), "300 401");
  migrate("second", {"cleanup", "--dry-run"});
  migrate("second", {"cleanup"});
  EXPECT_EQ(same("edition.snapshot", edition).exit_status, 0);

  // Given up: as if nothing had been.
  keep("before.snapshot", production);
  migrate("third", {"prepare", "--log", w.At("prepare.log")});
  EXPECT_EQ(scalar("SELECT count(*) FROM understudy_shadow_public.\"Place\""), "300");
  // Each verb's log has every line's time and how long its phases took.
  const std::string log = ReadFile(w.At("prepare.log"));
  EXPECT_THAT(log, ContainsRegex("20[0-9-]+T[0-9:.]+Z [a-z]+ prepare done after [0-9.]+ s"));
  EXPECT_THAT(log, ContainsRegex("Z [a-z]+ sync done after [0-9.]+ s"));
  migrate("third", {"reset", "--dry-run"});
  migrate("third", {"reset"});
  EXPECT_EQ(scalar("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'understudy%'"), "0");
  const Outcome after = same("before.snapshot", production);
  EXPECT_EQ(after.exit_status, 0) << Said(after);
  production.Run(
      "INSERT INTO \"Place\" VALUES ('q1', 'Q', 'LAKE', 1, now());"
      "INSERT INTO \"PlaceName\" (\"placeId\", lang, name) VALUES ('q1', 'de', 'Q');"
      "INSERT INTO \"Member\" (email) VALUES ('last@example.org');"
      "INSERT INTO \"Note\" (\"memberId\", \"placeId\", body) SELECT max(id), 'q1', 'last' FROM "
      "\"Member\"");
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
