#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace understudy::catalog {

// One lexical piece of an SQLite statement; together they are the whole text.
struct SqlitePiece {
  enum class Kind { kBlank, kComment, kQuoted, kWord, kSign };
  Kind kind;
  std::string_view text;
  int line = 0;  // 0-based, of its first character
};
std::vector<SqlitePiece> SqlitePieces(std::string_view sql);

// A name as it stands in SQL, its quotes taken off.
std::string UnquotedSqliteName(std::string_view text);

// The parts of a CREATE INDEX between its outer parentheses, comments left out.
std::vector<std::string> SqliteIndexExpressions(std::string_view create_index);

}  // namespace understudy::catalog
