#include "engine/db/script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace understudy::db {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Sql(std::string_view text, Engine engine = Engine::kPostgres) {
  std::vector<std::string> all;
  for (const ScriptStatement& s : SplitScript(text, engine, "f.sql")) all.push_back(s.sql);
  return all;
}

Error RefusalOf(std::string_view text, Engine engine = Engine::kPostgres) {
  try {
    SplitScript(text, engine, "dir/f.sql");
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::kInternal, "(no error)", "none");
}

TEST(SplitScript, SplitsAtSemicolonsAndDropsWhatIsEmpty) {
  EXPECT_THAT(Sql("SELECT 1;; -- nothing\n ; SELECT 2 -- last"),
              ElementsAre("SELECT 1", "SELECT 2"));
  EXPECT_THAT(Sql(""), ElementsAre());
  EXPECT_THAT(Sql("\xEF\xBB\xBFSELECT 1"), ElementsAre("SELECT 1"));
}

TEST(SplitScript, KeepsSemicolonsOfStringsAndNames) {
  EXPECT_THAT(Sql("SELECT 'a;''b;'; SELECT \"x;\"\"y\""),
              ElementsAre("SELECT 'a;''b;'", "SELECT \"x;\"\"y\""));
  EXPECT_THAT(Sql("SELECT E'a\\';b'; SELECT 2"), ElementsAre("SELECT E'a\\';b'", "SELECT 2"));
  EXPECT_THAT(Sql("SELECT 'a\\'; SELECT 2"), ElementsAre("SELECT 'a\\'", "SELECT 2"));
  EXPECT_THAT(Sql("SELECT U&'\\0061;'; SELECT 2"), ElementsAre("SELECT U&'\\0061;'", "SELECT 2"));
  // An E'' string goes on after a newline, with its escapes.
  EXPECT_THAT(Sql("SELECT E'a'\n -- c\n '\\';'; SELECT 2"),
              ElementsAre("SELECT E'a'\n -- c\n '\\';'", "SELECT 2"));
}

TEST(SplitScript, KeepsDollarQuotes) {
  EXPECT_THAT(Sql("DO $$ BEGIN; END $$; SELECT $a$ ; $$ ; $b$ $a$; SELECT 2"),
              ElementsAre("DO $$ BEGIN; END $$", "SELECT $a$ ; $$ ; $b$ $a$", "SELECT 2"));
  EXPECT_THAT(Sql("SELECT a$b$c; SELECT $1; SELECT 2"),
              ElementsAre("SELECT a$b$c", "SELECT $1", "SELECT 2"));
}

TEST(SplitScript, SkipsNestedComments) {
  EXPECT_THAT(Sql("/* a /* ; */ ; ' */ SELECT 1 /* ; */ + 1; -- ; '\nSELECT 2"),
              ElementsAre("SELECT 1 /* ; */ + 1", "SELECT 2"));
  EXPECT_THAT(Sql("/* a /* */ SELECT 1; SELECT 2", Engine::kSqlite),
              ElementsAre("SELECT 1", "SELECT 2"));
}

TEST(SplitScript, KeepsBodiesAndRulesWhole) {
  EXPECT_THAT(
      Sql("CREATE OR REPLACE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN a > 1 "
          "THEN 1 "
          "END; SELECT 2; END; SELECT 3"),
      ElementsAre(
          "CREATE OR REPLACE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN a > 1 "
          "THEN 1 END; SELECT 2; END",
          "SELECT 3"));
  EXPECT_THAT(Sql("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3"),
              ElementsAre("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"));
  EXPECT_THAT(Sql("BEGIN; SELECT 1; END;"), ElementsAre("BEGIN", "SELECT 1", "END"));
}

TEST(SplitScript, TakesTheRowsOfCopy) {
  const auto all = SplitScript(
      "COPY t (a) FROM stdin; -- rows\n1\n;\\N\n\\.\nSELECT 1;\ncopy t from STDIN with csv;\n2\n",
      Engine::kPostgres, "f");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_TRUE(all[0].copy_from_stdin);
  EXPECT_EQ(all[0].sql, "COPY t (a) FROM stdin");
  EXPECT_EQ(all[0].copy_data, "1\n;\\N\n");
  EXPECT_EQ(all[1].line, 5);
  EXPECT_EQ(all[2].copy_data, "2\n");
  EXPECT_FALSE(
      SplitScript("COPY t FROM '/f'; COPY t TO stdout", Engine::kPostgres, "f")[0].copy_from_stdin);
  EXPECT_THAT(RefusalOf("COPY t FROM stdin; SELECT 1;\n").what(), HasSubstr("dir/f.sql:1"));
}

TEST(SplitScript, TellsLineAndOffsetOfEachStatement) {
  const auto all =
      SplitScript("-- head\n\n/* x\n */ SELECT\n 1;\nSELECT 2", Engine::kPostgres, "f");
  EXPECT_EQ(all[0].line, 4);
  EXPECT_EQ(all[0].offset, 18U);
  EXPECT_EQ(all[1].line, 6);
}

TEST(SplitScript, RefusesShellCommandsAtTheirLine) {
  EXPECT_THAT(RefusalOf("SELECT 1;\n\\i other.sql\n").what(),
              HasSubstr("dir/f.sql:2: '\\i' is a command of psql"));
  EXPECT_EQ(RefusalOf("SELECT 1 \\gexec\n").code(), "shell-command");
  EXPECT_THAT(RefusalOf("\n\\restrict abc\n").what(),
              HasSubstr("written by pg_dump: load with psql"));
  EXPECT_EQ(RefusalOf("\\unrestrict abc\n").code(), "pg-dump");
  EXPECT_THAT(RefusalOf("SELECT 1;\n.mode csv\n", Engine::kSqlite).what(),
              HasSubstr("dir/f.sql:2: '.mode'"));
  EXPECT_EQ(RefusalOf("SELECT '\\x';").code(), "none");
  EXPECT_EQ(RefusalOf("SELECT .5;", Engine::kSqlite).code(), "none");
}

TEST(SplitScript, RefusesWhatIsNeverClosedWhereItBegins) {
  for (const char* text : {"SELECT 1;\nSELECT 'a\n\n", "\nSELECT \"a", "\n/* /* */",
                           "\nSELECT $a$ $b$", "\nSELECT E'\\'", "\nSELECT (1;\n",
                           "CREATE FUNCTION f() RETURNS int\nBEGIN ATOMIC SELECT 1;"}) {
    EXPECT_THAT(RefusalOf(text).what(), HasSubstr("dir/f.sql:2: ")) << text;
  }
  EXPECT_THAT(RefusalOf("\nSELECT [a", Engine::kSqlite).what(), HasSubstr("dir/f.sql:2: "));
  EXPECT_THAT(RefusalOf(std::string_view("SELECT\n 'a\0b'", 13)).what(),
              HasSubstr("dir/f.sql:2: a NUL"));
}

TEST(SplitScript, KeepsSqliteTriggersWhole) {
  const std::string trigger =
      "CREATE TEMP TRIGGER [t;r] AFTER INSERT ON `a;b` WHEN CASE new.x WHEN 1 THEN 1 END BEGIN "
      "UPDATE a SET x = CASE WHEN 1 THEN 2 END; SELECT 1; END";
  EXPECT_THAT(Sql(trigger + "; SELECT 2;", Engine::kSqlite), ElementsAre(trigger, "SELECT 2"));
  EXPECT_THAT(Sql("CREATE TABLE trigger_x(a); BEGIN; END;", Engine::kSqlite),
              ElementsAre("CREATE TABLE trigger_x(a)", "BEGIN", "END"));
  EXPECT_THAT(
      RefusalOf("CREATE TRIGGER a AFTER INSERT ON t\nBEGIN SELECT 1;", Engine::kSqlite).what(),
      HasSubstr("dir/f.sql:2: "));
}

TEST(Statements, TellWhatCannotRunInATransaction) {
  for (const char* sql :
       {"create unique index concurrently if not exists a on t(x)", "DROP INDEX CONCURRENTLY a",
        "REINDEX (VERBOSE) TABLE CONCURRENTLY t", "REINDEX DATABASE d",
        "/* x */ VACUUM (ANALYZE) t", "CREATE DATABASE d", "DROP TABLESPACE t",
        "ALTER SYSTEM SET a = 1", "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
        "ALTER TABLE a DETACH PARTITION b CONCURRENTLY", "CLUSTER", "CLUSTER (VERBOSE)",
        "CLUSTER VERBOSE"}) {
    EXPECT_TRUE(CannotRunInTransaction(sql, Engine::kPostgres)) << sql;
  }
  for (const char* sql :
       {"CREATE INDEX a ON t(x)", "CREATE INDEX \"concurrently\" ON t(x)",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v", "ALTER TYPE t ADD VALUE 'x'", "CLUSTER t",
        "ALTER TABLE a DETACH PARTITION b", "SELECT 'VACUUM'", "DROP INDEX a", "REINDEX TABLE t"}) {
    EXPECT_FALSE(CannotRunInTransaction(sql, Engine::kPostgres)) << sql;
  }
  EXPECT_TRUE(CannotRunInTransaction("vacuum", Engine::kSqlite));
  EXPECT_TRUE(CannotRunInTransaction("PRAGMA foreign_keys=OFF", Engine::kSqlite));
  EXPECT_TRUE(CannotRunInTransaction("PRAGMA main.journal_mode(wal)", Engine::kSqlite));
  EXPECT_TRUE(CannotRunInTransaction("PRAGMA wal_checkpoint", Engine::kSqlite));
  EXPECT_FALSE(CannotRunInTransaction("PRAGMA foreign_keys", Engine::kSqlite));
  EXPECT_FALSE(CannotRunInTransaction("PRAGMA foreign_key_check", Engine::kSqlite));
  EXPECT_FALSE(CannotRunInTransaction("PRAGMA user_version = 3", Engine::kSqlite));
}

TEST(Statements, TellWhatControlsTransactions) {
  for (const char* sql : {"begin", "START TRANSACTION", "COMMIT", "END", "ROLLBACK", "ABORT",
                          "PREPARE TRANSACTION 'x'", "ROLLBACK AND CHAIN", "COMMIT PREPARED 'x'"}) {
    EXPECT_TRUE(ControlsTransaction(sql, Engine::kPostgres)) << sql;
  }
  for (const char* sql : {"SAVEPOINT a", "ROLLBACK TO a", "ROLLBACK WORK TO SAVEPOINT a",
                          "RELEASE a", "PREPARE a AS SELECT 1"}) {
    EXPECT_FALSE(ControlsTransaction(sql, Engine::kPostgres)) << sql;
  }
  EXPECT_EQ(FirstWords("/* a */ create  unique\nindex x on t"), "CREATE UNIQUE INDEX");
  EXPECT_EQ(FirstWords("(SELECT 1)"), "");
}

}  // namespace
}  // namespace understudy::db
