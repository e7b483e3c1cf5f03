#pragma once

#include <string>

#include "harness/run/rehearsal.h"

namespace understudy::harness {

enum class ProbeWhere {
  kCopy,     // thrown away afterwards
  kInPlace,  // a database that stays, and that others may use
};

// The probes of single rows: `write-after`, `constraints`, `orphans`, `sequences`. Writes `probe`
// events. Every row that it writes is rolled back; in place, no lock is waited for longer than half
// a second, and what cannot be tried is listed under not_checked instead of being unknown. (The
// numbers that a sequence gave to such a row are gone, as after any rollback.) False: no insert was
// tried at all.
bool ProbeRows(Rehearsal& rehearsal, const std::string& database, const db::Endpoint& endpoint,
               ProbeWhere where);

}  // namespace understudy::harness
