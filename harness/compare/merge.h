#pragma once

#include "harness/compare/differences.h"
#include "harness/compare/table_sql.h"

namespace understudy::harness {

// Reads the same range of rows of both sides, sorted alike, side by side, and hands every row that
// differs to `differences`. Memory does not grow with the rows. Both sides are of one engine.
// `ask` is called now and then and may throw.
void MergeRows(const TablePair& pair, db::Session& left, const TableSql& left_sql,
               db::Session& right, const TableSql& right_sql, int shift,
               const std::vector<std::int64_t>& buckets, Differences& differences,
               const std::function<void()>& ask);

}  // namespace understudy::harness
