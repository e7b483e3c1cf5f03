#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "harness/compare/compare.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {

// Beyond, a table's rows are not kept one by one, only its digests.
constexpr std::int64_t kMostStoredRows = 1000000;

// For a moment of a database of which no copy can be held: writes, into a new SQLite file of ours,
// each row's key and a 64-bit hash of each of its values; read in one snapshot, streamed. A value
// is told from every other one of its column but not kept. `digested`: the same moment with its
// digests, which are kept for tables of more than `most_rows`. `stop`: true = Error(kCancelled).
void StoreRows(const db::Endpoint& endpoint, const Snapshot& digested,
               const std::filesystem::path& file, const std::function<bool()>& stop = {},
               std::int64_t most_rows = kMostStoredRows);

// The same question as CompareRows, of two such files of one engine. An example names its row by
// its key, and a changed value by its hash ({"type": "digest"}). `written`: whether a client may
// have changed rows of this table; a table of which digests alone were kept is then listed under
// not_checked when they differ, and one whose rows have no key on both sides is kUnknown.
Comparison CompareStoredRows(const std::filesystem::path& left, const std::filesystem::path& right,
                             const CompareOptions& options,
                             const std::function<bool(const std::string& table)>& written = {});

}  // namespace understudy::harness
