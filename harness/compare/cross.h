#pragma once

#include <functional>

#include "harness/compare/compare.h"
#include "harness/compare/pairing.h"

namespace understudy::harness {

// One pair of tables of which one is PostgreSQL's and the other SQLite's, by canonical forms. The
// servers share no hash: both sides are read once into counts and digests per bucket of the key,
// and again for the buckets that differ, so many at a time as fit in memory. Fills `result`;
// `note` takes what was left out.
void CompareAcrossEngines(const TablePair& pair, db::Session& left, db::Session& right,
                          const CompareOptions& options, TableComparison& result,
                          const std::function<void(Json)>& note, const std::function<void()>& ask);

}  // namespace understudy::harness
