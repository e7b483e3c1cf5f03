// Scripts made at random: what was joined is split into the same pieces, and what the pieces do one
// by one is what psql and sqlite3 do with the whole file.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/db/script.h"
#include "tests/support/server.h"

namespace understudy::db {
namespace {
using TestDatabase = understudy::testing::Database;
using understudy::testing::SqliteFile;

// Text that looks like the ends of things.
rc::Gen<std::string> Awkward() {
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
                          ";", "--x\n", "/*", "*/", "\n", " ", "END", "BEGIN", "(", ")", "é", "$1",
                          "$b$", "COPY", "\t")),
                      [](const std::vector<std::string>& parts) {
                        std::string text;
                        for (const std::string& part : parts) text += part;
                        return text;
                      });
}

std::string Quoted(const std::string& text, char quote) {
  std::string quoted(1, quote);
  for (const char c : text) {
    if (c == quote) quoted += c;
    quoted += c;
  }
  return quoted + quote;
}

std::string Escaped(const std::string& text) {  // E'…'
  std::string quoted = "E'";
  for (const char c : text) {
    if (c == '\n') {
      quoted += "\\n";
    } else {
      if (c == ';') quoted += "\\';";
      quoted += c;
    }
  }
  return quoted + "'";
}

// One statement that leaves a row in the table log, and has `text` in an awkward place.
std::string PostgresStatement(int kind, const std::string& text, int number) {
  const std::string n = std::to_string(number);
  const std::string tag = "$t" + n + "$";
  switch (kind) {
    case 0:
      return "INSERT INTO log VALUES (" + n + ", " + Quoted(text, '\'') + ")";
    case 1:
      return "INSERT INTO log VALUES (" + n + ", " + Escaped(text) + ")";
    case 2:
      return "INSERT INTO log VALUES (" + n + ", " + tag + text + tag + ")";
    case 3:
      return "DO " + tag + " BEGIN INSERT INTO log VALUES (" + n + ", " + Quoted(text, '\'') +
             "); PERFORM 1; END " + tag;
    case 4:
      return "INSERT INTO log SELECT " + n + ", x." + Quoted("c;" + text, '"') +
             " FROM (SELECT 1 AS " + Quoted("c;" + text, '"') + ") x";
    case 5:
      return "CREATE OR REPLACE FUNCTION f" + n +
             "() RETURNS void LANGUAGE sql BEGIN ATOMIC INSERT INTO log VALUES (" + n +
             ", CASE WHEN true THEN 'a;' END); SELECT; END";
    case 6:
      return "CREATE RULE r" + n + " AS ON DELETE TO other DO ALSO (INSERT INTO log VALUES (" + n +
             ", ';'); DELETE FROM log WHERE id < 0)";
    default:
      return "INSERT INTO log VALUES (" + n + ", /* ; /* nested ' */ ; */ 'x' -- ; '\n)";
  }
}

std::string SqliteStatement(int kind, const std::string& text, int number) {
  const std::string n = std::to_string(number);
  switch (kind % 4) {
    case 0:
      return "INSERT INTO log VALUES (" + n + ", " + Quoted(text, '\'') + ")";
    case 1:
      return "INSERT INTO log SELECT " + n + ", [c;d] FROM (SELECT 1 AS [c;d], 2 AS `e;f`, 3 AS " +
             Quoted("g;" + text, '"') + ")";
    case 2:
      return "CREATE TRIGGER tr" + n + " AFTER INSERT ON other BEGIN INSERT INTO log VALUES (" + n +
             ", CASE WHEN 1 THEN ';' END); SELECT CASE 1 WHEN 1 THEN 2 END; END";
    default:
      return "INSERT INTO log VALUES (" + n + ", 'x' -- ; '\n)";
  }
}

struct Script {
  std::vector<std::string> statements;
  std::string text;
};

Script Make(const std::function<std::string(int, const std::string&, int)>& statement) {
  Script script;
  const auto count = *rc::gen::inRange(1, 8);
  for (int i = 0; i < count; ++i) {
    const int kind = *rc::gen::inRange(0, 8);
    const std::string text = *Awkward();
    script.statements.push_back(statement(kind, text, i));
    script.text +=
        *rc::gen::element<std::string>("", " ", "\n", "-- a ' ;\n", "/* ; ' */", ";;\n") +
        script.statements.back() + *rc::gen::element<std::string>("", " ", "\n", "/* x */") + ";";
  }
  return script;
}

std::vector<std::string> Sql(const std::string& text, Engine engine) {
  std::vector<std::string> all;
  for (const ScriptStatement& s : SplitScript(text, engine, "f.sql")) {
    RC_ASSERT(text.compare(s.offset, s.sql.size(), s.sql) == 0);
    RC_ASSERT(s.line == 1 + std::count(text.begin(),
                                       text.begin() + static_cast<std::ptrdiff_t>(s.offset), '\n'));
    all.push_back(s.sql);
  }
  return all;
}

RC_GTEST_PROP(SplitScriptProperty, GivesBackWhatWasJoined, ()) {
  const Script postgres = Make(PostgresStatement);
  RC_ASSERT(Sql(postgres.text, Engine::kPostgres) == postgres.statements);
  const Script sqlite = Make(SqliteStatement);
  RC_ASSERT(Sql(sqlite.text, Engine::kSqlite) == sqlite.statements);
}

constexpr const char* kTables = "CREATE TABLE log(id int, note text); CREATE TABLE other(id int);";
// Functions and rules are run as well.
constexpr const char* kRows = "SELECT id || ':' || coalesce(note, '-') FROM log ORDER BY 1";

std::vector<std::string> Rows(Session& session) {
  std::vector<std::string> rows;
  for (const Row& row : session.Query(kRows).rows) rows.push_back(row[0].text);
  return rows;
}

TEST(SplitScriptProperty, DoesWhatPsqlDoesWithTheWholeFile) {
  NEED_POSTGRES();
  if (FindProgram("psql").empty()) GTEST_SKIP() << "no psql on this machine";
  const TestDatabase ours;
  const TestDatabase theirs;
  const TemporaryFolder folder;
  const auto a = ours.Connect({.settings = Settings::kUsers});
  const auto b = theirs.Connect({.settings = Settings::kUsers});
  const int major = a->Server().major();
  EXPECT_TRUE(rc::check([&] {
    const Script script = Make([&](int kind, const std::string& text, int number) {
      return PostgresStatement(kind == 5 && major < 14 ? 0 : kind, text, number);
    });
    const std::string clean =
        std::string("DROP SCHEMA public CASCADE; CREATE SCHEMA public; ") + kTables;
    a->Execute(clean);
    b->Execute(clean);
    for (const ScriptStatement& s : SplitScript(script.text, Engine::kPostgres, "f"))
      a->Execute(s.sql);
    WriteFileWhole(folder.path() / "f.sql", script.text);
    Command psql;
    psql.argv = {"psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-f", (folder.path() / "f.sql").string()};
    psql.environment = theirs.endpoint().Environment();
    const Outcome outcome = RunCommand(psql);
    if (!outcome.ok()) RC_FAIL(outcome.err);
    for (Session* session : {a.get(), b.get()})
      session->Execute("INSERT INTO other VALUES (1); DELETE FROM other");
    RC_ASSERT(Rows(*a) == Rows(*b));
    RC_ASSERT(!Rows(*a).empty() || script.statements.empty() ||
              script.text.find("FUNCTION") != std::string::npos);
  }));
}

TEST(SplitScriptProperty, DoesWhatSqlite3DoesWithTheWholeFile) {
  if (FindProgram("sqlite3").empty()) GTEST_SKIP() << "no sqlite3 on this machine";
  EXPECT_TRUE(rc::check([&] {
    const Script script = Make(SqliteStatement);
    const SqliteFile ours;
    const SqliteFile theirs;
    ours.Run(kTables);
    theirs.Run(kTables);
    const auto a = ours.Connect();
    for (const ScriptStatement& s : SplitScript(script.text, Engine::kSqlite, "f"))
      a->Execute(s.sql);
    Command shell;
    shell.argv = {"sqlite3", "-bail", theirs.endpoint().file().string()};
    shell.input = script.text + "\n";
    const Outcome outcome = RunCommand(shell);
    RC_ASSERT(outcome.err == "");
    const auto b = theirs.Connect();
    for (Session* session : {a.get(), b.get()}) session->Execute("INSERT INTO other VALUES (1)");
    RC_ASSERT(Rows(*a) == Rows(*b));
  }));
}

}  // namespace
}  // namespace understudy::db
