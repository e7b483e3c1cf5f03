#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/capture/postgres.h"

namespace understudy::capture {

struct MirrorComparison {
  bool equal = true;
  // A TRUNCATE waits in the log: nothing could be said, and `equal` is false.
  bool truncate_pending = false;
  std::int64_t watched_rows = 0;  // without pending keys
  std::int64_t mirror_rows = 0;
  std::int64_t pending_keys = 0;
  Json examples = Json::array();          // keys that differ, {"id": "17"}; at most ten
  std::vector<std::string> not_compared;  // columns
};

// Whether the mirror holds exactly what the mapping makes of the watched table's rows, keys that
// are pending left out of both. Counts and additive digests, made in the server; every bit counts:
// types whose hash calls different values equal go by their binary or text form.
// REQUIRES: a transaction of REPEATABLE READ (one snapshot), or locked tables.
MirrorComparison CompareMirror(db::Session& session, const CapturedTable& table);

// One foreign key as two tables and their columns, whether or not there is a constraint.
struct Reference {
  Oid from = 0;
  std::vector<std::string> from_columns;
  Oid to = 0;
  std::vector<std::string> to_columns;
  bool match_full = false;
};

struct Orphans {
  std::int64_t rows = 0;
  Json examples = Json::array();  // {"customer_id": "17"}: what they refer to; at most ten
};

// Rows of `from` whose key is not in `to` (an anti-join). `captured`: rows of a mirror among them
// whose key is pending are left out, and so are rows that refer to a pending key of the other: the
// replay that brings that key has to look at them (FindOrphansAmong). Where the reference goes by
// other columns than the captured key and something is pending, nothing is found before.
Orphans FindOrphans(db::Session& session, const Reference& reference,
                    const std::vector<CapturedTable>& captured = {});

// The same, but only what Replay() of `drained` has brought to its mirror in the present
// transaction: rows of the mirror that refer to nothing (when it is `from`), and rows of `from`
// that refer to keys taken out of the mirror (when it is `to`). Together with FindOrphans() before,
// nothing is overlooked.
//
// Where nobody knows which keys went (a TRUNCATE, a reference by other columns than the captured
// key), all rows are read if `whole_tables`, else they are taken for right: for the moment under
// the locks, and only where production enforces the same.
Orphans FindOrphansAmong(db::Session& session, const Reference& reference,
                         const CapturedTable& drained,
                         const std::vector<CapturedTable>& captured = {}, bool whole_tables = true);

// The same question as one SQL expression that reads little: where it is true, FindOrphansAmong()
// has the answer; where it is false, there are none. Made before the locks.
// REQUIRES: the table of the batch is there (ReadyReplay).
std::string MayOrphanSql(db::Session& session, const Reference& reference,
                         const CapturedTable& drained, bool whole_tables = true);

}  // namespace understudy::capture
