#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "engine/table_swap/shadow.h"

// What row_copy must know of the tables that it reads, and how they are cut into units. For
// row_copy only.
namespace understudy::table_swap {

struct SourceTable {
  db::TableName name;                  // in the source
  std::vector<std::string> columns;    // those that are stored: not the generated ones
  bool text = false;                   // binary COPY would not carry a column's type
  std::vector<std::string> sequences;  // owned by its columns; of its schema
  std::int64_t rows_estimate = 0;
  std::int64_t bytes = 0;
  // The column that ranges may be cut by: the first of a unique not-null index, whose order is that
  // of the rows on the disk. "" = none.
  std::string range_column;
  std::string range_type;
};

// What is copied and recorded at once: small tables together, one table, or a range of a big one.
struct CopyUnit {
  std::vector<db::TableName> tables;
  std::string range_column;  // "" = whole tables
  std::string range_type;
  std::optional<std::string> from;  // nullopt: from the smallest
  std::optional<std::string> to;    // not included; nullopt: to the largest
};

db::TableName ShadowOf(const db::TableName& table);

// `source` in the snapshot's transaction. Error(kMismatch) when a table has other columns than its
// shadow in `target`.
std::map<db::TableName, SourceTable> ReadSourceTables(db::Session& source, db::Session& target,
                                                      const ShadowRequest& request,
                                                      const std::vector<db::TableName>& tables);

// Sequences of the shadow that no column owns, by their names in the source.
std::vector<db::TableName> UnownedSequences(db::Session& target, const ShadowRequest& request);

// The big ones first.
std::vector<CopyUnit> PlanUnits(db::Session& source,
                                const std::map<db::TableName, SourceTable>& tables, int jobs,
                                std::int64_t range_bytes);

std::string CopyOutSql(const SourceTable& table, const CopyUnit& unit);
std::string CopyInSql(const SourceTable& table, const db::TableName& shadow, bool freeze);
std::string RangeCondition(const CopyUnit& unit);  // " WHERE …"; "" for whole tables

// A row per unit of this table that has rows: its bucket, how many, and a sum of hashes.
std::string DigestSql(const SourceTable& table, const std::vector<CopyUnit>& units, bool shadow);
std::string BucketOf(const std::vector<CopyUnit>& units, std::size_t index);

}  // namespace understudy::table_swap
