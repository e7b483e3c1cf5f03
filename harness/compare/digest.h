#pragma once

#include "engine/db/session.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {

// Count and digest of every table, and per column, in one snapshot; pushed down into the server.
// Adds to snapshot.tables and snapshot.not_checked. Two databases whose table digests agree hold
// the same rows (as far as 128 bits tell), whatever the engine's session settings.
void DigestTables(const db::Endpoint& endpoint, int jobs, Snapshot& snapshot);

}  // namespace understudy::harness
