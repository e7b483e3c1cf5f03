#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/capture/postgres.h"
#include "engine/catalog/postgres.h"
#include "engine/db/session.h"
#include "engine/table_swap/settings.h"

namespace understudy::table_swap {

// How the rows of a preserved table get into its new shape, or why they cannot.
struct TableMapping {
  capture::RowMapping rows;
  std::vector<std::string> refused;   // sentences for a plan; empty = it can be done
  std::vector<std::string> notes;     // what a person should know: dropped columns, rounding
  std::vector<std::string> defaults;  // new columns that get their default
  std::vector<std::string> dropped;   // old columns that have no successor
  bool same_shape = false;            // every column arrives as it is
  std::map<std::string, std::string> sql_types;  // new columns by expression → their type
};

// `session`: the target, where the casts and the old types are; it is only read. `old_table` is
// production's, `new_table` the new schema's (read anywhere: scratch, source or shadow; types of a
// moved schema must be named as in the target). `rules` by new column.
//
// Without a rule a column gets the old one of its name, else its default. Types may differ where
// PostgreSQL has an assignment cast that gives the same value under all settings; else the rule
// must say SQL. A usable key of the old table must arrive unchanged (or widened).
TableMapping MakeMapping(db::Session& session, const catalog::Table& old_table,
                         const catalog::Table& new_table,
                         const std::map<std::string, ColumnRule>& rules);

// The way back, for reverse capture: rows of the new table into the old one (the backup).
// `refused` says why there is none: an old column that no new one carries, a narrowing that is not
// the opposite of a widening.
TableMapping InvertMapping(db::Session& session, const TableMapping& mapping,
                           const catalog::Table& old_table, const catalog::Table& new_table);

// Finds which expressions give the same value each time (immutable ones), and marks the others as
// not compared. Makes a temporary table and rolls it back. REQUIRES: no transaction is open.
void MarkComparable(db::Session& session, const catalog::Table& old_table, TableMapping& mapping);

}  // namespace understudy::table_swap
