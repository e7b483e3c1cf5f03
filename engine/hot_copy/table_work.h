#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/catalog/sqlite_diff.h"
#include "engine/catalog/sqlite_schema.h"

namespace understudy::hot_copy {

// The mapped table whose keys an old column holds.
struct Referred {
  std::string table;  // new name, as in _id_mapping; "" = none
  bool assigned = false;
  // How a value is compared with the keys: by the affinity and the collation of the parent's key,
  // as a foreign key does it. Where the column has the same, as it is.
  std::string type;    // "" = as it is
  std::string loose;   // the parent's key, where its collation is not BINARY: its table,
  std::string column;  // and the column

  bool empty() const { return table.empty(); }
  std::string OldKey(const std::string& value) const;     // as it stands in _id_mapping
  std::string Translate(const std::string& value) const;  // the new key
};

// How the rows of one table go from the old file (attached as `old`) to the new one (`main`), as
// SQL. A row is known by its old key; `o` is a row of the old table, `n` one of the new.
//
// Identity: rows keep their keys (`carried`) unless the new table assigns its own (`assigned`), or
// a seed row took the place (`mapped` without `assigned`). Mapped keys stand in
// _id_mapping(table_name, old_id, new_id), under the new table's name, for as long as the migration
// runs: a key that is translated once is translated the same way ever after.
struct TableWork {
  const catalog::SqliteTable* from = nullptr;
  const catalog::SqliteTable* to = nullptr;
  const catalog::SqliteTablePair* pair = nullptr;
  int number = 0;

  std::vector<std::string> key;      // of the old table: column names, or the rowid's name
  std::vector<std::string> cursor;   // in whose order the old table is read: rowid, or key columns
  std::vector<std::string> new_key;  // columns (or rowid) of the new table, beside `key`; empty
                                     // when `assigned`
  std::string new_rowid;             // the new table's rowid or its alias; "" = WITHOUT ROWID
  bool assigned = false;
  bool seeded = false;  // the schema gives the new table rows
  bool mapped = false;  // _id_mapping may hold rows of it

  std::vector<std::string> columns;      // of the new table that are inserted, quoted
  std::vector<std::string> expressions;  // beside them, over `o`
  // New columns that must hold the same afterwards: name, expression, whether the type converts.
  struct Compared {
    std::string column;
    std::string expression;
    bool converted = false;
  };
  std::vector<Compared> compared;
  // Assigned parents that rows of this table refer to: parent's new table, its old key over `o`.
  std::vector<std::pair<std::string, std::string>> refers;
  // One of these is compared more loosely than BINARY: the parent may be spelled anew in another
  // entry of the log, which must be replayed with the child's.
  bool refers_loosely = false;
  // Beside them, parents whose old rows may become rows of the schema's, or give way to them.
  std::vector<std::pair<std::string, std::string>> seeded_parents;
  // The old key goes into a column of another affinity, which may hold one value for several of
  // its ('1' and '01' as INTEGER): a row whose key would not tell that it was this one is refused.
  bool key_converts = false;

  std::string Old() const;      // old."name"
  std::string New() const;      // main."name"
  std::string Dirty() const;    // temp."dirty_3"
  std::string Literal() const;  // 'name' of the new table, as in _id_mapping
  bool key_is_indexed() const;  // in the old table
  bool by_integer() const;      // the old key is one whole number, and the cursor too
  // The old key as it stands in _id_mapping.old_id, over the row `row`.
  std::string OldId(const std::string& row) const;
  // The rows of the old table that are dirty: a condition over `o`.
  std::string OldIsDirty() const;
  // The rows of the new table whose old keys are dirty: a condition over the table itself.
  std::string NewIsDirty() const;
  // `n` is the row that `o` became.
  std::string IsImage() const;
  // `n` holds what `o` gives.
  std::string Matches() const;
  // For people: the key of `o`.
  std::string ShownKey() const;

  // Beside `key`: whose keys the columns hold.
  std::vector<Referred> translators;
  // `row` (of the new table) has the key that `values`, one for each column of the old key, became.
  std::string HasKey(const std::string& row, const std::vector<std::string>& values) const;
  // `key_converts` alone: `o` has a key that is another one as the new table holds it.
  std::string KeyIsLost() const;

 private:
  std::string TellApart(const std::string& row, const std::vector<std::string>& values) const;
};

// Decides identity and projection for every pair of `diff`; objections go to diff.unsupported.
// `seeds`: new table -> number of seed rows.
std::vector<TableWork> PlanTables(const catalog::SqliteSchema& old_schema,
                                  const catalog::SqliteSchema& new_schema,
                                  catalog::SqliteDiff& diff,
                                  const std::map<std::string, std::int64_t>& seeds);

}  // namespace understudy::hot_copy
