#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "harness/snapshot/snapshot.h"

// What a comparison must know of the tables of one side. Introspection of our own: the judge
// shares none with the strategies (engine/catalog).
namespace understudy::harness {

// How the values of a PostgreSQL type hash exactly, natively.
enum class NativeForm {
  kRaw,   // the type's own hash tells every two of its values apart
  kSend,  // its binary form (`send`), where its own equality is too wide (1.0 = 1.00) or its hash
          // too narrow (int8 folds to 32 bits)
  kText,  // ::text is the output function
  kRow,   // ROW(c)::text: the output function whatever casts to text somebody has made
};

struct CompareColumn {
  std::string name;
  std::string type;      // for people: "timestamp with time zone"; SQLite: as declared
  std::string base;      // the type below all domains: "int4", "shop.status"
  std::string category;  // types of one category hold the same values in the same text form
  NativeForm form = NativeForm::kRow;
  std::string send;            // of kSend: "int8send"
  bool own_collation = false;  // text whose column has a collation of its own
  bool not_null = false;
  bool rowid = false;  // SQLite's INTEGER PRIMARY KEY: holds whole numbers only
};

struct CompareTable {
  db::TableName name;
  bool partitioned = false;
  std::int64_t pages = 0;  // as the last ANALYZE saw it: a guess, to begin with the large ones
  std::vector<CompareColumn> columns;
  std::vector<std::vector<std::string>> keys;  // primary key first, then unique ones without NULL
  const CompareColumn* Find(const std::string& column) const;
};

struct CompareTables {
  std::vector<CompareTable> tables;  // sorted by name
  std::vector<NotChecked> not_checked;
};

// Tables with rows of their own; the engine's own (schemas `understudy…`; SQLite `understudy_…`)
// are left to the check `leftovers`. REQUIRES: a transaction, so that it agrees with the rows.
CompareTables ReadTables(db::Session& session);

}  // namespace understudy::harness
