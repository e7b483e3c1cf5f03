#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/db/identifier.h"
#include "engine/db/session.h"

// Tables of a PostgreSQL database, as strategies need to know them. REQUIRES everywhere: a session
// with our settings (empty search_path), so that names of types and operators are whole.
namespace understudy::catalog {

using Oid = std::uint32_t;

struct Column {
  std::string name;
  int attnum = 0;
  std::string type;       // with its modifier: "numeric(10,2)", "public.role"
  std::string base_type;  // the same below domains, of which nothing is left
  std::string collation;  // of a type that has one: "pg_catalog.\"default\""; else ""
  bool not_null = false;
  char generated = 0;  // 's' stored, 'v' virtual; 0 = no
  char identity = 0;   // 'a' always, 'd' by default; 0 = no
  bool has_default = false;
  std::string default_sql;  // also of a generated column: its expression
};

// A unique key that names every row: all of its columns are NOT NULL.
struct Key {
  Oid index = 0;
  std::string name;  // of the index
  bool primary = false;
  bool deferrable = false;
  std::vector<std::string> columns;
  std::vector<std::string> equals;  // per column: "OPERATOR(pg_catalog.=)", the index's own
};

struct Table {
  Oid oid = 0;
  db::TableName name;
  char kind = 'r';       // 'r' ordinary, 'p' partitioned, 'f' foreign
  Oid partition_of = 0;  // 0 = no partition
  bool unlogged = false;
  std::vector<Column> columns;  // in their order, without dropped ones
  std::optional<Key> key;       // keys[0]: the primary key, else the one with the fewest columns
  std::vector<Key> keys;        // all that are usable
  std::int64_t rows_estimate = 0;
  std::int64_t bytes = 0;  // with indexes and TOAST; a partitioned table has its partitions'
  std::uint32_t relfilenode = 0;

  const Column* Find(const std::string& column) const;  // nullptr = none
};

// All tables of `schemas`, partitions and foreign tables too, members of extensions not; by schema
// and name.
std::vector<Table> ReadTables(db::Session& session, const std::vector<std::string>& schemas);
// By OID, in the order given; one that is gone is left out.
std::vector<Table> ReadTablesByOid(db::Session& session, const std::vector<Oid>& oids);
// The table's name now, nullopt when it is gone.
std::optional<db::TableName> NameOf(db::Session& session, Oid table);

struct ForeignKey {
  Oid oid = 0;
  std::string name;
  Oid from_oid = 0;
  db::TableName from;  // referencing
  Oid to_oid = 0;
  db::TableName to;  // referenced
  std::vector<std::string> from_columns;
  std::vector<std::string> to_columns;
  std::vector<std::string>
      equals;              // per column: "OPERATOR(pg_catalog.=)", referenced = referencing
  std::string definition;  // pg_get_constraintdef
  bool validated = true;
  bool deferrable = false;
  bool deferred = false;
  bool match_full = false;
  Oid parent = 0;  // of one that a partition inherits: the constraint it comes from
};

// Every foreign key from or to one of `tables`, each once.
std::vector<ForeignKey> ReadForeignKeys(db::Session& session, const std::vector<Oid>& tables);

// Reads a one-dimensional array as text: {a,"b c",NULL}; NULL becomes "".
std::vector<std::string> ParseArray(const std::string& text);

}  // namespace understudy::catalog
