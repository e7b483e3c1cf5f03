#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/db/session.h"

namespace understudy::catalog {

// What a column does to the values that are stored in it (https://sqlite.org/datatype3.html).
enum class SqliteAffinity { kBlob, kText, kNumeric, kInteger, kReal };
SqliteAffinity AffinityOf(std::string_view declared_type);

// A comment of the form `-- @word rest` inside a CREATE statement.
struct SqliteAnnotation {
  std::string word;      // "query", "renamed-from"
  std::string argument;  // the rest of the line, blanks trimmed
  std::string column;    // the column in whose definition it stands; "" = the table's or view's own
  bool own_line = false;  // nothing but the comment stands on its line
};

struct SqliteColumn {
  enum class Generated { kNo, kVirtual, kStored };

  std::string name;
  std::string type;  // as declared; "" where none is
  SqliteAffinity affinity = SqliteAffinity::kBlob;
  bool not_null = false;                   // declared, or by WITHOUT ROWID
  std::optional<std::string> default_sql;  // an SQL expression, as written
  int key_place = 0;                       // 1-based place in the primary key; 0 = not in it
  Generated generated = Generated::kNo;
  bool operator==(const SqliteColumn&) const = default;
};

struct SqliteIndexPart {
  std::string column;      // "" = an expression
  std::string expression;  // the SQL of the part where it is one
  std::string collation;
  bool descending = false;
  bool operator==(const SqliteIndexPart&) const = default;
};

struct SqliteIndex {
  enum class Origin { kCreated, kUnique, kPrimaryKey };

  std::string name;
  Origin origin = Origin::kCreated;
  bool unique = false;
  bool partial = false;
  std::vector<SqliteIndexPart> parts;
  std::string sql;  // "" unless it was made by CREATE INDEX
};

struct SqliteForeignKey {
  std::vector<std::string> columns;
  std::string parent;
  std::vector<std::string> parent_columns;  // the parent's primary key where none are written
  std::string on_update;                    // "NO ACTION", "CASCADE", "SET NULL", …
  std::string on_delete;
};

struct SqliteTable {
  std::string name;
  std::string sql;
  std::vector<SqliteColumn> columns;
  bool without_rowid = false;
  bool strict = false;
  bool autoincrement = false;
  bool is_virtual = false;
  std::vector<SqliteIndex> indexes;
  std::vector<SqliteForeignKey> foreign_keys;
  std::vector<SqliteAnnotation> annotations;

  const SqliteColumn* Column(std::string_view column) const;  // nullptr: there is none
  std::vector<std::string> PrimaryKey() const;                // in the key's order
  // The column that is the rowid itself (INTEGER PRIMARY KEY); "" where there is none.
  std::string RowidAlias() const;
  // A name that reaches the rowid and is no column's; "" when WITHOUT ROWID or all are taken.
  std::string RowidName() const;
  std::vector<std::string> Queries() const;  // what stands behind @query, in order
};

struct SqliteView {
  std::string name;
  std::string sql;
  std::vector<SqliteColumn> columns;  // names, and types where SQLite knows them
  std::vector<SqliteAnnotation> annotations;
  std::vector<std::string> Queries() const;
};

struct SqliteTrigger {
  std::string name;
  std::string table;  // or view
  std::string sql;
};

// An INSERT of schema.sql.
struct SqliteSeed {
  std::string sql;
  int line = 0;
};

// The schema of one database, as SQLite itself understands it; nothing here parses SQL but for
// finding comments and the parts of an expression index.
struct SqliteSchema {
  std::vector<SqliteTable> tables;  // in the order in which they were made
  std::vector<SqliteView> views;
  std::vector<SqliteTrigger> triggers;
  std::vector<SqliteSeed> seeds;  // only of a schema that was read from SQL

  const SqliteTable* Table(std::string_view name) const;
  // First 16 hex digits of SHA-256 over every object's SQL and every seed, in normal form: comments
  // and the amount of blank space count for nothing, nor does the case of unquoted words.
  std::string Hash() const;
  // The CREATE statements, in an order in which they can be run: tables, indexes, views, triggers.
  std::vector<std::string> Ddl() const;
};

// Whether a name is of the engine's own or SQLite's: _migration_…, _schema_identity, _id_mapping,
// _understudy_…, sqlite_….
bool IsReservedSqliteName(std::string_view name);

// Reads `main` of a session; names of the engine's own are left out.
SqliteSchema ReadSqliteSchema(db::Session& session);

// schema.sql, run in memory: the schema, its seeds, and the database itself with the seeds' rows
// in it. Error(kInvalidSpec) "FILE:LINE: …" when SQLite refuses a statement, and for one that has
// no place in a schema (ATTACH, DELETE, UPDATE, VACUUM, …).
struct EvaluatedSqliteSchema {
  SqliteSchema schema;
  std::unique_ptr<db::Session> memory;
};
EvaluatedSqliteSchema EvaluateSqliteSchema(std::string_view sql, std::string_view file);

// `sql` without comments, blanks as one, unquoted words in lower case.
std::string NormalSqliteSql(std::string_view sql);

// The annotations inside one CREATE statement.
std::vector<SqliteAnnotation> SqliteAnnotations(std::string_view create);

}  // namespace understudy::catalog
