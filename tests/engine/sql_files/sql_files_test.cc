#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "engine/base/error.h"
#include "tests/engine/sql_files/support.h"

namespace understudy::sql_files {
namespace {
using core::PhaseOutcome;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using TestDatabase = understudy::testing::Database;
using understudy::testing::Project;
using understudy::testing::SqliteFile;

constexpr auto kDone = PhaseOutcome::Kind::kDone;

std::int64_t Scalar(const db::Endpoint& endpoint, const std::string& sql) {
  return db::Connect(endpoint)->Scalar(sql).AsInteger();
}

TEST(SqlFiles, RunsFilesInOrderAndTellsWhatEachStatementDid) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run(
      "CREATE TABLE orders(id int PRIMARY KEY, total numeric); INSERT INTO orders "
      "SELECT i, i FROM generate_series(1, 100) i");
  Project project(database.endpoint());
  project.Write("migrations/0001_a.sql",
                "-- cents\n\nALTER TABLE orders ADD COLUMN cents bigint;\n"
                "UPDATE orders SET cents = total * 100;\n");
  project.Write("migrations/0002_b.sql", "ALTER TABLE orders ALTER COLUMN id TYPE bigint;");
  const PhaseOutcome outcome = project.Run();
  ASSERT_EQ(outcome.kind, kDone) << outcome.message;
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT sum(cents)::bigint FROM public.orders"), 505000);

  const auto statements = project.recorder.Of("statement");
  ASSERT_EQ(statements.size(), 3U);
  EXPECT_EQ(statements[0]["file"], "migrations/0001_a.sql");
  EXPECT_EQ(statements[0]["line"], 3);
  EXPECT_EQ(statements[0]["transaction"], "file");
  EXPECT_EQ(statements[0]["phase"], "cutover");
  EXPECT_THAT(statements[0]["locks"],
              Contains(Json({{"object", "public.orders"}, {"mode", "AccessExclusiveLock"}})));
  EXPECT_EQ(statements[0]["rewritten"], Json::array());
  EXPECT_EQ(statements[1]["line"], 4);
  EXPECT_GT(statements[1]["wal_bytes"], 1000);
  EXPECT_EQ(statements[2]["rewritten"], Json::array({"public.orders"}));

  bool held = false;
  for (const Json& one : project.recorder.Of("held")) {
    if (one["mode"] == "AccessExclusiveLock" && one["object"] == "public.orders" &&
        one["line"] == 3) {
      held = true;  // by the first statement until the commit after the second
      EXPECT_GE(one["ms"].get<double>(), statements[1]["ms"].get<double>());
      EXPECT_THAT(one["statement"].get<std::string>(), HasSubstr("ADD COLUMN cents"));
    }
  }
  EXPECT_TRUE(held);
  EXPECT_THAT(project.recorder.Points(),
              ElementsAre("prepare.begin", "prepare.end", "cutover.begin", "statement.before",
                          "statement.after", "statement.before", "statement.after",
                          "cutover.locked", "cutover.before_commit", "cutover.after_commit",
                          "statement.before", "statement.after", "cutover.locked",
                          "cutover.before_commit", "cutover.after_commit", "verify.end"));
}

TEST(SqlFiles, NamesFileAndLineOfAnErrorAndKeepsTheFilesBefore) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);");
  project.Write("migrations/2.sql",
                "CREATE TABLE b(id int);\n\nSELECT\n  1,\n  nothing\nFROM a;\n");
  const PhaseOutcome outcome = project.Run();
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("migrations/2.sql:5: column \"nothing\" does not exist"));
  EXPECT_THAT(outcome.message, Not(HasSubstr("LINE")));
  EXPECT_EQ(Scalar(database.endpoint(),
                   "SELECT count(*) FROM pg_class WHERE relname IN ('a', 'b') AND relkind = 'r'"),
            1);
  EXPECT_THAT(project.Status().of_strategy.detail, "1 of 2 versions applied");
  // Mended, it goes on at the second file.
  project.Write("migrations/2.sql", "CREATE TABLE b(id int);");
  const PhaseOutcome again = project.Run();
  EXPECT_EQ(again.kind, kDone) << again.message;
  EXPECT_EQ(project.Status().of_strategy.in_service, core::Owner::kNew);
}

// From prepare on the files are what they were: a phase that runs others would not be what was
// planned and rehearsed.
TEST(SqlFiles, RefusesAFileThatChangedBetweenPhases) {
  const SqliteFile database;
  database.Run("CREATE TABLE old(id int)");
  Project project(database.endpoint());
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);");
  project.Write("migrations/1.down.sql", "DROP TABLE a;");
  project.Write("migrations/2.sql", "CREATE TABLE b(id int);");
  ASSERT_EQ(project.Run(core::Phase::kPrepare).kind, kDone);
  const auto refused = [&](const std::string& what, core::Phase through = core::Phase::kVerify) {
    const PhaseOutcome outcome = project.Run(through);
    EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kRefused) << outcome.message;
    EXPECT_THAT(outcome.message, HasSubstr(what));
  };
  const auto tables = [&] {
    return Scalar(database.endpoint(),
                  "SELECT count(*) FROM sqlite_schema WHERE name IN ('a', 'b', 'c')");
  };
  project.Write("migrations/2.sql", "CREATE TABLE c(id int);");
  refused("migrations/2.sql has changed");
  project.Write("migrations/2.sql", "CREATE TABLE b(id int);");
  project.Write("migrations/1.down.sql", "SELECT 1;");
  refused("migrations/1.down.sql has changed");
  project.Write("migrations/1.down.sql", "DROP TABLE a;");
  project.Write("migrations/3.sql", "CREATE TABLE c(id int);");
  refused("migrations/3.sql was added");
  std::filesystem::remove(project.path() / "migrations/3.sql");
  std::filesystem::remove(project.path() / "migrations/2.sql");
  refused("migrations/2.sql is gone");
  project.Write("migrations/2.sql", "CREATE TABLE b(id int);");
  EXPECT_EQ(tables(), 0);
  ASSERT_EQ(project.Run(core::Phase::kCutover).kind, kDone);
  EXPECT_EQ(tables(), 2);
  // Applied or not, verify and a second run must find what was applied.
  project.Write("migrations/1.sql", "CREATE TABLE a(id int, note text);");
  refused("migrations/1.sql has changed");
  refused("migrate cleanup");
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);");
  project.Write("migrations/2.down.sql", "DROP TABLE b;");  // a way back may be written later
  EXPECT_EQ(project.Run().kind, kDone);
}

// A file that failed is mended and run; one that is applied is what it was.
TEST(SqlFiles, AfterAFailureOnlyFilesThatWereRunMustBeTheSame) {
  const SqliteFile database;
  database.Run("CREATE TABLE old(id int)");
  Project project(database.endpoint());
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);");
  project.Write("migrations/2.sql", "CREATE TABLE b(id int); SELECT nothing;");
  project.Write("migrations/3.sql", "CREATE TABLE c(id int);");
  ASSERT_EQ(project.Run().kind, PhaseOutcome::Kind::kFailed);
  project.Write("migrations/1.sql", "CREATE TABLE a(id int, note text);");
  project.Write("migrations/2.sql", "CREATE TABLE b(id int);");
  const PhaseOutcome refused = project.Run();
  EXPECT_EQ(refused.kind, PhaseOutcome::Kind::kRefused);
  EXPECT_THAT(refused.message, HasSubstr("migrations/1.sql has changed"));
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);");
  project.Write("migrations/3.sql", "CREATE TABLE c(id int, n int);");
  project.Write("migrations/4.sql", "CREATE TABLE d(id int);");
  ASSERT_EQ(project.Run().kind, kDone);
  // What was mended counts from now on.
  project.Write("migrations/2.sql", "CREATE TABLE b(id int, note text);");
  EXPECT_EQ(project.Run().kind, PhaseOutcome::Kind::kRefused);
}

TEST(SqlFiles, RefusesAWayBackThatChangedUntilItFailed) {
  const SqliteFile database;
  database.Run("CREATE TABLE old(id int)");
  Project project(database.endpoint());
  project.document["up"] = "up.sql";
  project.document["down"] = "down.sql";
  project.Write("up.sql", "CREATE TABLE a(id int);");
  project.Write("down.sql", "DROP TABLE nothing;");
  ASSERT_EQ(project.Run().kind, kDone);
  project.Write("down.sql", "DROP TABLE a;");
  const PhaseOutcome refused = project.Rollback();
  EXPECT_EQ(refused.kind, PhaseOutcome::Kind::kRefused);
  EXPECT_THAT(refused.message, HasSubstr("down.sql has changed"));
  project.Write("down.sql", "DROP TABLE nothing;");
  ASSERT_EQ(project.Rollback().kind, PhaseOutcome::Kind::kFailed);
  project.Write("down.sql", "DROP TABLE a;");  // mended
  EXPECT_EQ(project.Rollback().kind, kDone);
  project.Write("up.sql", "CREATE TABLE a(id int, note text);");  // begun anew
  EXPECT_EQ(project.Run().kind, kDone);
}

TEST(SqlFiles, RunsOnSqlite) {
  const SqliteFile file;
  file.Run("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'x')");
  Project project(file.endpoint());
  project.Write("up.sql", "ALTER TABLE t ADD COLUMN b TEXT;\nUPDATE t SET b = a;\n");
  project.Write("down.sql", "ALTER TABLE t DROP COLUMN b;");
  project.document["up"] = "up.sql";
  project.document["down"] = "down.sql";
  const PhaseOutcome outcome = project.Run();
  ASSERT_EQ(outcome.kind, kDone) << outcome.message;
  EXPECT_EQ(file.Connect()->Scalar("SELECT b FROM t").text, "x");
  const PhaseOutcome back = project.Rollback();
  EXPECT_EQ(back.kind, kDone) << back.message;
  EXPECT_EQ(Scalar(file.endpoint(), "SELECT count(*) FROM pragma_table_info('t')"), 2);
  EXPECT_EQ(project.Run(core::Phase::kCleanup).kind, kDone);
  EXPECT_EQ(
      Scalar(file.endpoint(),
             "SELECT count(*) FROM sqlite_schema WHERE name LIKE '\\_understudy%' ESCAPE '\\'"),
      0);
}

TEST(SqlFiles, AFileThatCannotBeInATransactionRunsStatementByStatement) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.Write("migrations/1.sql",
                "CREATE TABLE a(id int);\nCREATE INDEX CONCURRENTLY a_idx ON a(id);\n");
  const core::Plan plan = project.Plan();
  ASSERT_TRUE(plan.can_run());
  EXPECT_EQ(plan.statements[0].transaction, "own");
  EXPECT_EQ(plan.statements[1].note, "cannot run inside a transaction");
  EXPECT_THAT(plan.warnings, Contains(HasSubstr("leaves it half done")));
  const PhaseOutcome outcome = project.Run();
  EXPECT_EQ(outcome.kind, kDone) << outcome.message;
  project.document["transaction"] = "file";
  EXPECT_FALSE(project.Plan().can_run() && project.Run().ok());
}

TEST(SqlFiles, GoesOnAfterTheStatementsThatAreDone) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.document["transaction"] = "none";
  project.Write("migrations/1.sql",
                "CREATE TABLE a(id int);\nINSERT INTO a VALUES (1);\nINSERT INTO b VALUES (1);\n");
  const PhaseOutcome failed = project.Run();
  EXPECT_THAT(failed.message, HasSubstr("migrations/1.sql:3: relation \"b\" does not exist"));
  EXPECT_THAT(project.Status().of_strategy.blocking,
              ElementsAre(HasSubstr("2 statements are done")));
  database.Run("CREATE TABLE b(id int)");
  const PhaseOutcome outcome = project.Run();
  EXPECT_EQ(outcome.kind, kDone) << outcome.message;
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT count(*) FROM public.a"), 1);
}

TEST(SqlFiles, AScriptsOwnCommitTakesTheNoteOfItAlong) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.Write("migrations/1.sql",
                "BEGIN;\nCREATE TABLE a(id int);\nINSERT INTO a VALUES (1);\nCOMMIT;\n"
                "BEGIN;\nINSERT INTO a VALUES (2);\nSELECT 1/0;\nCOMMIT;\n");
  EXPECT_EQ(project.Plan().statements[1].transaction, "script");
  EXPECT_THAT(project.Run().message, HasSubstr("migrations/1.sql:7: division by zero"));
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT count(*) FROM public.a"), 1);
  EXPECT_THAT(project.Status().of_strategy.blocking,
              ElementsAre(HasSubstr("4 statements are done")));
  EXPECT_THAT(project.Run().message, HasSubstr("division by zero"));  // and not: a exists already
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT count(*) FROM public.a"), 1);
}

TEST(SqlFiles, DoesNotKnowAStatementThatLostItsConnectionOutsideATransaction) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run("CREATE TABLE a(id int)");
  Project project(database.endpoint());
  project.Write("migrations/1.sql", "CREATE INDEX CONCURRENTLY a_idx ON a(id);");
  project.recorder.at_point = [&](const std::string& point, const Json&) {
    if (point != "statement.before") return;
    database.Connect()->Query(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = "
        "'understudy-engine' AND datname = current_database()");
  };
  const PhaseOutcome lost = project.Run();
  EXPECT_EQ(lost.kind, PhaseOutcome::Kind::kAmbiguous) << lost.message;
  project.recorder.at_point = {};
  const PhaseOutcome again = project.Run();
  EXPECT_EQ(again.kind, PhaseOutcome::Kind::kAmbiguous) << again.message;
  EXPECT_THAT(project.Status().of_strategy.blocking, ElementsAre(HasSubstr("may be done or not")));
  EXPECT_EQ(project.Status().of_strategy.in_service, core::Owner::kUnknown);
}

TEST(SqlFiles, AFailureAtAPointLeavesTheFileUndone) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);");
  for (const char* at :
       {"statement.before", "statement.after", "cutover.locked", "cutover.before_commit"}) {
    project.recorder.at_point = [&](const std::string& point, const Json&) {
      if (point == at) throw Error(ErrorKind::kInternal, "injected");
    };
    EXPECT_EQ(project.Run().kind, PhaseOutcome::Kind::kFailed) << at;
    EXPECT_EQ(Scalar(database.endpoint(), "SELECT count(*) FROM pg_class WHERE relname = 'a'"), 0)
        << at;
  }
  project.recorder.at_point = {};
  EXPECT_EQ(project.Run().kind, kDone);
}

TEST(SqlFiles, ALostCommitIsAskedForAndGoesOn) {  // hard-case 26
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);");
  project.recorder.at_point = [&](const std::string& point, const Json&) {
    if (point != "cutover.before_commit") return;
    database.Connect()->Query(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = "
        "'understudy-engine' AND datname = current_database()");
  };
  EXPECT_NE(project.Run().kind, kDone);
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT count(*) FROM pg_class WHERE relname = 'a'"), 0);
  project.recorder.at_point = {};
  const PhaseOutcome again = project.Run();
  EXPECT_EQ(again.kind, kDone) << again.message;
}

TEST(SqlFiles, RunsCopyBlocksAndPlacesTheirErrors) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.Write(
      "migrations/1.sql",
      "CREATE TABLE a(id int);\nCOPY a FROM stdin;\n1\n2\n\\.\nINSERT INTO a VALUES (3);\n");
  ASSERT_EQ(project.Run().kind, kDone);
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT sum(id) FROM public.a"), 6);
  Project wrong(database.endpoint());
  wrong.document["id"] = "wrong";
  wrong.Write("migrations/1.sql", "COPY a FROM stdin;\n1\nx\n\\.\n");
  EXPECT_THAT(wrong.Run().message, HasSubstr("migrations/1.sql:3: invalid input syntax"));
}

TEST(SqlFiles, OneTransactionForAllFilesOrNone) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.document["transaction"] = "all";
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);");
  project.Write("migrations/2.sql", "SELECT nothing;");
  EXPECT_EQ(project.Run().kind, PhaseOutcome::Kind::kFailed);
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT count(*) FROM pg_class WHERE relname = 'a'"), 0);
  project.Write("migrations/2.sql", "SELECT id FROM a;");
  EXPECT_EQ(project.Run().kind, kDone);
  EXPECT_EQ(project.recorder.Of("statement").back()["transaction"], "all");
}

TEST(SqlFiles, RollsBackInReverseAndRefusesWithoutADown) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);");
  project.Write("migrations/1.down.sql", "DROP TABLE a;");
  project.Write("migrations/2.sql", "CREATE TABLE b(id int REFERENCES a2);");
  project.Write("migrations/2.sql", "ALTER TABLE a ADD COLUMN b int;");
  ASSERT_EQ(project.Run().kind, kDone);
  const PhaseOutcome refused = project.Rollback();
  EXPECT_EQ(refused.kind, PhaseOutcome::Kind::kRefused);
  EXPECT_THAT(refused.message, HasSubstr("2.sql has no down file, so nothing was rolled back"));
  project.Write("migrations/2.down.sql", "ALTER TABLE a DROP COLUMN b;");
  const PhaseOutcome outcome = project.Rollback();
  EXPECT_EQ(outcome.kind, kDone) << outcome.message;
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT count(*) FROM pg_class WHERE relname = 'a'"), 0);
  const PhaseOutcome up = project.Run();
  EXPECT_EQ(up.kind, kDone) << up.message;
}

TEST(SqlFiles, KeepsProductionsOwnLockTimeoutUnlessTheFileNamesOne) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.Write("migrations/1.sql",
                "CREATE TABLE a AS SELECT current_setting('lock_timeout') AS t, "
                "current_setting('application_name') AS n;");
  ASSERT_EQ(project.Run().kind, kDone);
  EXPECT_EQ(database.Connect()->Scalar("SELECT t || n FROM public.a").text, "0understudy-engine");
  Project limited(database.endpoint());
  limited.document["id"] = "limited";
  limited.document["limits"] = {{"lock_timeout_ms", 70}};
  limited.Write("migrations/1.sql", "LOCK TABLE a;");
  const auto blocker = database.Connect();
  blocker->Begin();
  blocker->Execute("LOCK TABLE public.a");
  EXPECT_THAT(limited.Run().message, HasSubstr("lock timeout"));
}

TEST(SqlFiles, BaselineAndThroughChooseARange) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  for (const char* n : {"1", "2", "3", "4"}) {
    project.Write("migrations/000" + std::string(n) + "_x.sql",
                  "CREATE TABLE t" + std::string(n) + "(id int);");
  }
  project.document["baseline"] = "0001";
  project.document["through"] = "3";
  ASSERT_EQ(project.Run().kind, kDone);
  EXPECT_EQ(database.Connect()
                ->Scalar("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE "
                         "relname ~ '^t[0-9]$'")
                .text,
            "t2 t3");
  project.document["through"] = "9";
  EXPECT_THROW(project.Plan(), Error);
}

TEST(SqlFiles, KeepsGolangMigratesTableAsItDoes) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run(
      "CREATE TABLE schema_migrations(version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT "
      "INTO schema_migrations VALUES (1, false)");
  const auto row = [&] {
    const auto rows =
        database.Connect()->Query("SELECT version, dirty FROM public.schema_migrations").rows;
    return rows.empty() ? "none" : rows[0][0].text + rows[0][1].text;
  };
  Project project(database.endpoint());
  project.Write("migrations/1_a.up.sql", "SELECT this is applied already;");
  project.Write("migrations/2_b.up.sql", "CREATE TABLE b(id int);");
  project.Write("migrations/2_b.down.sql", "DROP TABLE b;");
  project.Write("migrations/3_c.up.sql", "SELECT nothing;");
  project.Write("migrations/3_c.down.sql", "SELECT 1;");
  EXPECT_EQ(project.Run().kind, PhaseOutcome::Kind::kFailed);
  EXPECT_EQ(row(), "3t");  // dirty, as the tool leaves it
  project.Write("migrations/3_c.up.sql", "SELECT 1;");
  const PhaseOutcome again = project.Run();
  ASSERT_EQ(again.kind, kDone) << again.message;
  EXPECT_EQ(row(), "3f");
  ASSERT_EQ(project.Rollback().kind, kDone);
  EXPECT_EQ(row(), "1f");

  database.Run("UPDATE schema_migrations SET dirty = true");
  Project stranger(database.endpoint());
  stranger.document["id"] = "stranger";
  stranger.Write("migrations/2_b.up.sql", "SELECT 1;");
  const core::Plan plan = stranger.Plan();
  ASSERT_FALSE(plan.can_run());
  EXPECT_THAT(plan.refused[0].why, HasSubstr("left version 1 dirty"));

  Project mixed(database.endpoint());
  mixed.document["id"] = "mixed";
  database.Run("UPDATE schema_migrations SET dirty = false");
  mixed.Write("migrations/2_b.up.sql", "SELECT 1; VACUUM;");
  EXPECT_THAT(mixed.Plan().refused.at(0).why,
              HasSubstr("golang-migrate sends the file as one query"));
}

TEST(SqlFiles, KeepsGoosesAndDbmatesTables) {
  NEED_POSTGRES();
  for (const std::string tool : {"goose", "dbmate"}) {
    const TestDatabase database;
    const bool goose = tool == "goose";
    const auto applied = [&] {
      return database.Connect()
          ->Scalar(goose ? "SELECT string_agg(version_id::text, ' ' ORDER BY id) FROM "
                           "public.goose_db_version WHERE is_applied"
                         : "SELECT coalesce(string_agg(version, ' ' ORDER BY version), '') FROM "
                           "public.schema_migrations")
          .text;
    };
    const std::string up = goose ? "-- +goose Up\n" : "-- migrate:up\n";
    const std::string down = goose ? "-- +goose Down\n" : "-- migrate:down\n";
    Project project(database.endpoint());
    project.Write("migrations/1_a.sql",
                  up + "CREATE TABLE a(id int);\n" + down + "DROP TABLE a;\n");
    project.Write("migrations/2_b.sql",
                  up + "CREATE TABLE b(id int);\n" + down + "DROP TABLE b;\n");
    project.document["through"] = "1";
    ASSERT_EQ(project.Run(core::Phase::kCleanup).kind, kDone);  // the journal is gone
    EXPECT_EQ(applied(), goose ? "0 1" : "1");
    project.document.erase("through");
    const PhaseOutcome second = project.Run();
    ASSERT_EQ(second.kind, kDone) << second.message;
    EXPECT_EQ(applied(), goose ? "0 1 2" : "1 2");
    ASSERT_EQ(project.Rollback().kind, kDone);  // what this run applied, and no more
    EXPECT_EQ(applied(), goose ? "0 1" : "1");
  }
}

TEST(SqlFiles, RehearsesFlywayAndSqitchAndRefusesTheRealRun) {
  NEED_POSTGRES();
  for (const std::string tool : {"flyway/sql", "sqitch"}) {
    const TestDatabase database;
    Project project(database.endpoint());
    project.document["up"] = std::string(UNDERSTUDY_SOURCE_DIR) + "/fixtures/projects/" + tool;
    project.document["variables"] = {{"default_note", "-"}};
    project.rehearsal = false;
    const PhaseOutcome refused = project.Run();
    EXPECT_EQ(refused.kind, PhaseOutcome::Kind::kRefused);
    EXPECT_THAT(refused.message, HasSubstr("'command'"));
    project.rehearsal = true;
    const PhaseOutcome outcome = project.Run();
    EXPECT_EQ(outcome.kind, kDone) << outcome.message;
    EXPECT_EQ(Scalar(database.endpoint(),
                     "SELECT count(*) FROM pg_index WHERE indexrelid = "
                     "'public.orders_customer_idx'::regclass AND indisvalid"),
              1);
  }
}

TEST(SqlFiles, ReadsFlywaysTable) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run(
      "CREATE TABLE flyway_schema_history(installed_rank int PRIMARY KEY, version varchar(50), "
      "description varchar(200), "
      "type varchar(20), script varchar(1000), checksum int, installed_by varchar(100), "
      "installed_on timestamp DEFAULT now(), "
      "execution_time int, success boolean); "
      "INSERT INTO flyway_schema_history VALUES (1, '1', 'a', 'SQL', 'V1__a.sql', 1, 'me', now(), "
      "1, true), "
      "(2, NULL, 'r', 'SQL', 'R__r.sql', -873187034, 'me', now(), 1, true), "
      "(3, NULL, 'changed', 'SQL', 'R__changed.sql', 5, 'me', now(), 1, true), "
      "(4, '2', 'b', 'SQL', 'V2__b.sql', 1, 'me', now(), 1, false)");
  Project project(database.endpoint());
  project.Write("migrations/V1__a.sql", "SELECT 1;");
  project.Write("migrations/V2__b.sql", "SELECT 2;");
  project.Write("migrations/R__r.sql", "123456789\n");  // its CRC-32 is cbf43926
  project.Write("migrations/R__changed.sql", "SELECT 3;");
  std::vector<std::string> planned;
  for (const auto& statement : project.Plan().statements) planned.push_back(statement.file);
  EXPECT_THAT(planned, ElementsAre("migrations/V2__b.sql", "migrations/R__changed.sql"));
}

TEST(SqlFiles, RebuildsASqliteTableWithForeignKeysOff) {
  const SqliteFile file;
  file.Run(
      "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p ON DELETE CASCADE); "
      "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1)");
  Project project(file.endpoint());
  project.Write(
      "migrations/1.sql",
      "PRAGMA foreign_keys = OFF;\nBEGIN;\nCREATE TABLE n(id INTEGER PRIMARY KEY, x TEXT);\n"
      "INSERT INTO n SELECT id, NULL FROM p;\nDROP TABLE p;\nALTER TABLE n RENAME TO p;\nCOMMIT;\n"
      "PRAGMA foreign_keys = ON;\n");
  const PhaseOutcome outcome = project.Run();
  ASSERT_EQ(outcome.kind, kDone) << outcome.message;
  EXPECT_EQ(Scalar(file.endpoint(), "SELECT count(*) FROM c"), 1);
  EXPECT_EQ(project.Plan().statements.size(), 0U);
}

TEST(SqlFiles, KeepsTheToolsTablesInSqliteToo) {
  for (const std::string tool : {"golang-migrate", "goose", "dbmate"}) {
    const SqliteFile file;
    file.Run("CREATE TABLE t(id)");
    Project project(file.endpoint());
    if (tool == "golang-migrate") {
      project.Write("migrations/1_a.up.sql", "CREATE TABLE a(id);");
      project.Write("migrations/1_a.down.sql", "DROP TABLE a;");
    } else {
      const bool goose = tool == "goose";
      project.Write("migrations/1_a.sql",
                    (goose ? "-- +goose Up\nCREATE TABLE a(id);\n-- +goose Down\n"
                           : "-- migrate:up\nCREATE TABLE a(id);\n-- migrate:down\n") +
                        std::string("DROP TABLE a;\n"));
    }
    const std::string rows =
        tool == "goose" ? "SELECT count(*) FROM goose_db_version WHERE version_id = 1"
        : tool == "dbmate"
            ? "SELECT count(*) FROM schema_migrations WHERE version = '1'"
            : "SELECT count(*) FROM schema_migrations WHERE version = 1 AND NOT dirty";
    const PhaseOutcome outcome = project.Run(core::Phase::kCleanup);
    ASSERT_EQ(outcome.kind, kDone) << tool << ": " << outcome.message;
    EXPECT_EQ(Scalar(file.endpoint(), rows), 1) << tool;
    EXPECT_EQ(project.Plan().statements.size(), 0U) << tool;
  }
}

TEST(SqlFiles, WritesItsJournalWhateverRoleTheScriptTakesOn) {
  NEED_POSTGRES();
  const TestDatabase database;
  const std::string role = "poor_" + database.endpoint().Setting("dbname");
  database.Run("CREATE ROLE " + role + "; GRANT ALL ON SCHEMA public TO " + role);
  Project project(database.endpoint());
  project.Write("migrations/1.sql",
                "SET ROLE " + role + ";\nSET search_path = '';\nCREATE TABLE public.a(id int);\n");
  const PhaseOutcome outcome = project.Run();
  EXPECT_EQ(outcome.kind, kDone) << outcome.message;
  EXPECT_EQ(
      database.Connect()->Scalar("SELECT relowner::regrole FROM pg_class WHERE relname = 'a'").text,
      role);
  database.Run("DROP OWNED BY " + role + "; DROP ROLE " + role);
}

TEST(SqlFiles, StopsALongStatementOnRequest) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);\nSELECT pg_sleep(600);\n");
  std::atomic<bool> stop = false;
  project.stop = [&] { return stop.load(); };
  project.recorder.at_point = [&](const std::string& point, const Json& attributes) {
    if (point == "statement.before" && attributes["line"] == 2) stop = true;
  };
  const PhaseOutcome outcome = project.Run();
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kInterrupted) << outcome.message;
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT count(*) FROM pg_class WHERE relname = 'a'"), 0);
}

TEST(SqlFiles, EndsTheServerProcessOfAKilledEngineBeforeItGoesOn) {  // hard-case 25, 137
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run("CREATE TABLE a(id int)");
  Project project(database.endpoint());
  project.Write("migrations/1.sql", "ALTER TABLE a ADD COLUMN b int;\nSELECT 1/0;\n");
  ASSERT_EQ(project.Run().kind, PhaseOutcome::Kind::kFailed);
  // As a kill -9 leaves it: the statement goes on without anybody to hear of it, its locks held.
  const auto orphan = database.Connect({.application_name = "understudy-engine"});
  orphan->Begin();
  orphan->Execute("LOCK TABLE public.a");
  const auto journal = database.Connect();
  const std::string started = journal
                                  ->Scalar(
                                      "SELECT extract(epoch FROM backend_start)::text FROM "
                                      "pg_stat_activity WHERE pid = $1::int",
                                      {db::Value::Integer(orphan->BackendPid())})
                                  .text;
  project.Write("migrations/1.sql", "ALTER TABLE a ADD COLUMN b int;\n");
  project.document["limits"] = {{"lock_timeout_ms", 5000}};
  project.With([](core::Lifecycle& l) { return l.Reset(false); });
  core::Journal(*journal, "test").Create();
  core::Journal(*journal, "test")
      .Put("session", {{"pid", orphan->BackendPid()}, {"started", started}});
  const PhaseOutcome outcome = project.Run();
  EXPECT_EQ(outcome.kind, kDone) << outcome.message;
  EXPECT_THROW(orphan->Query("SELECT 1"), Error);
}

TEST(SqlFiles, RollsAHalfDoneFileBackByItsDown) {
  NEED_POSTGRES();
  const TestDatabase database;
  Project project(database.endpoint());
  project.document["transaction"] = "none";
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);\nSELECT 1/0;\n");
  project.Write("migrations/1.down.sql", "DROP TABLE IF EXISTS a;\n");
  EXPECT_EQ(project.Run().kind, PhaseOutcome::Kind::kFailed);
  const PhaseOutcome back = project.Rollback();
  EXPECT_EQ(back.kind, kDone) << back.message;
  EXPECT_EQ(Scalar(database.endpoint(), "SELECT count(*) FROM pg_class WHERE relname = 'a'"), 0);
  project.Write("migrations/1.sql", "CREATE TABLE a(id int);\n");
  EXPECT_EQ(project.Run().kind, kDone);
}

TEST(SqlFiles, RefusesWhatTheFileCannotMean) {
  const SqliteFile file;
  file.Run("CREATE TABLE t(id)");
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{
           {"up", "nowhere"},
           {"up", 3},
           {"layout", "rails"},
           {"transaction", "some"},
           {"baseline", "9"},
           {"down", Json::array({"migrations/1.sql", "migrations/1.sql"})},
           {"variables", "x"}}) {
    Project project(file.endpoint());
    project.Write("migrations/1.sql", "SELECT 1;");
    project.document[key] = value;
    try {
      project.Plan();
      ADD_FAILURE() << key << " " << value;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec) << error.what();
    }
  }
}

}  // namespace
}  // namespace understudy::sql_files
