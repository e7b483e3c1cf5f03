#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/catalog/sqlite_schema.h"

namespace understudy::catalog {

// Where the values of a column of the new table come from.
struct SqliteColumnSource {
  enum class Kind {
    kColumn,       // `from`: a column of the old table
    kExpression,   // `from`: SQL over the old table's columns, said by the user
    kDefault,      // the column's own default, by leaving it out
    kTypeDefault,  // `from`: the zero of its type, for NOT NULL without a default
    kNull,         // left out, and NULL
    kAssigned,     // an INTEGER PRIMARY KEY that the new table assigns
    kGenerated,    // computed by the new table
  };
  std::string column;
  Kind kind = Kind::kNull;
  std::string from;
};
std::string_view SourceKindName(SqliteColumnSource::Kind kind);

// What the user says of a new column: {"from": old}, {"sql": expression} or {"default": true}.
struct SqliteColumnChoice {
  std::string from;
  std::string sql;
  bool use_default = false;
};
// By new table, then by new column.
using SqliteColumnChoices = std::map<std::string, std::map<std::string, SqliteColumnChoice>>;

// A table that is in both schemas.
struct SqliteTablePair {
  std::string old_name;
  std::string new_name;
  std::vector<SqliteColumnSource> sources;  // one per column of the new table, in its order
  std::vector<std::string> dropped;         // columns of the old table that no source reads
  const SqliteColumnSource* Source(std::string_view new_column) const;
  // The first new column that holds `old_column` as it is; "" when none does.
  std::string CarriedAs(std::string_view old_column) const;
  bool renamed() const { return old_name != new_name; }
};

struct SqliteObjection {
  std::string object;
  std::string why;
};

struct SqliteDiff {
  std::vector<std::string> added;
  std::vector<std::string> removed;
  std::vector<SqliteTablePair> pairs;        // parents before children: the order of copying
  std::vector<std::string> supported;        // one line per difference
  std::vector<SqliteObjection> unsupported;  // what stands in the way, by object
  std::vector<std::string> warnings;
  const SqliteTablePair* OfNew(std::string_view table) const;
  const SqliteTablePair* OfOld(std::string_view table) const;
};

// The difference of two schemas. A table or column is renamed only where `@renamed-from` says so.
SqliteDiff DiffSqliteSchemas(const SqliteSchema& old_schema, const SqliteSchema& new_schema,
                             const SqliteColumnChoices& choices = {});

}  // namespace understudy::catalog
