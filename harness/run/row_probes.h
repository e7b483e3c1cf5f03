#pragma once

#include <string>

#include "harness/run/rehearsal.h"

namespace understudy::harness {

// The probes of single rows, on a copy that is thrown away: `write-after`, `constraints`,
// `orphans`, `sequences`. Writes `probe` events.
void ProbeRows(Rehearsal& rehearsal, const std::string& database, const db::Endpoint& copy);

}  // namespace understudy::harness
