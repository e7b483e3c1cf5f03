#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/db/endpoint.h"

namespace understudy::db {

// One statement of a script, as it stood there: from its first to its last character that is
// neither blank nor comment, without the semicolon that ended it. A line n of an error that the
// server reports in `sql` is line `line + n - 1` of the file.
struct ScriptStatement {
  std::string sql;
  int line = 1;            // 1-based, of its first character
  std::size_t offset = 0;  // in the script, of its first character
  bool copy_from_stdin = false;
  std::string copy_data;  // the lines between COPY … FROM stdin and \., ends of lines kept
  bool operator==(const ScriptStatement&) const = default;
};

// Splits a script where the database's own shell would. PostgreSQL: standard, E'', U&'' and
// dollar-quoted strings, nested comments, BEGIN ATOMIC bodies, parentheses (CREATE RULE), COPY …
// FROM stdin blocks; standard_conforming_strings is taken to be on. SQLite: trigger bodies, names
// in [] and ``. Statements without text are dropped.
// Error(kInvalidSpec) "FILE:LINE: …" for a command of psql or of the sqlite3 shell (code
// "shell-command"; "pg-dump" for \restrict, which pg_dump writes: such a file is for psql), for a
// NUL, and for a quote, comment, parenthesis or body that is never closed, at the line where it
// begins. `file` is for messages only.
std::vector<ScriptStatement> SplitScript(std::string_view text, Engine engine,
                                         std::string_view file);

class Session;
// Executes it, with its COPY data where it has some.
void Send(Session& session, const ScriptStatement& statement);

// Whether a file was written by pg_dump and must be loaded by psql.
bool WrittenByPgDump(std::string_view text);

// The words, quoted names and signs that a statement begins with, comments left out: unquoted words
// in capitals, strings as '' alone. At most `limit`.
std::vector<std::string> Tokens(std::string_view sql, Engine engine, std::size_t limit = 4096);

// What the strings of `sql` say, one for each '' of its Tokens(): quotes and backslash escapes (of
// E'', not of U&'') undone. A string that goes on after a newline is whole in its first part, and
// the others are empty.
std::vector<std::string> StringContents(std::string_view sql, Engine engine);

// Up to `count` leading words of a statement in capitals, for people: "CREATE UNIQUE INDEX".
std::string FirstWords(std::string_view sql, Engine engine = Engine::kPostgres,
                       std::size_t count = 3);

// Whether the database refuses (or, SQLite's PRAGMA foreign_keys, ignores) `sql` inside a
// transaction block. Judged by the text alone: REINDEX of a partitioned table and a procedure that
// commits are not seen.
bool CannotRunInTransaction(std::string_view sql, Engine engine);

// Whether `sql` begins or ends a transaction: BEGIN, START, COMMIT, END, ABORT, ROLLBACK, PREPARE
// TRANSACTION, but not savepoints.
bool ControlsTransaction(std::string_view sql, Engine engine);

}  // namespace understudy::db
