#pragma once

#include "engine/db/session.h"
#include "harness/compare/compare.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {

// Count and digest of every table, and per column, in one snapshot; pushed down into the server.
// Adds to snapshot.tables and snapshot.not_checked. Two databases whose table digests agree hold
// the same rows (as far as 128 bits tell), whatever the engine's session settings.
// A table that cannot be read is in not_checked as "rows:TABLE".
void DigestTables(const db::Endpoint& endpoint, int jobs, Snapshot& snapshot);

// The same question as CompareRows, of stored digests: per table and per column. It names no rows;
// `columns` has -1 for a column that differs. Pure. Heeds tables, exclude, map, ignore and
// common_columns. Digests of two engines are kUnknown.
Comparison CompareDigests(const Snapshot& left, const Snapshot& right,
                          const CompareOptions& options);

}  // namespace understudy::harness
