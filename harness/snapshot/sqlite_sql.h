#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// As much of SQLite's grammar as its stored CREATE statements need: checks, collations and
// deferrable keys stand nowhere else.
namespace understudy::harness {

// The statement in its normal form (see normal_forms.cc, "SQLite text").
std::string NormalSqliteSql(std::string_view sql);

struct SqliteConstraint {
  std::string name;        // "" = unnamed
  std::string type;        // primary key | unique | check | foreign key
  std::string columns;     // "a, b"; of a check: ""
  std::string definition;  // normal form, without CONSTRAINT name and without DEFERRABLE
  bool deferrable = false;
  bool deferred = false;
};

struct SqliteColumn {
  std::string name;
  std::string collation;
  std::string generated;    // the expression
  std::string on_conflict;  // of its NOT NULL
  bool autoincrement = false;
};

struct SqliteTable {
  std::vector<SqliteColumn> columns;
  std::vector<SqliteConstraint> constraints;  // of columns, then of the table
};

// A stored CREATE TABLE in parts; nullopt when it is something else (a virtual table) or holds
// what we do not know.
std::optional<SqliteTable> ParseSqliteTable(std::string_view sql);

}  // namespace understudy::harness
