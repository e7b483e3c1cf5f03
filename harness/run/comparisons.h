#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "harness/checks/swaps.h"
#include "harness/compare/compare.h"
#include "harness/run/rehearsal.h"

namespace understudy::harness {

// Performs a `compare` step: what is not as it says, one line each. Its whole result is evidence.
std::vector<std::string> CompareStep(Rehearsal& rehearsal, const Json& options);

// What the check `rows` judges: the first snapshot against the last, of every database that has
// both, without the rows that a ledgered client wrote.
// A table swap's source is left to `source-unchanged`, its target is compared with both sides; what
// a hot copy makes is left to HotCopied. Gives the name of the last snapshot, "" for fewer than
// two.
std::string CompareFirstWithLast(Rehearsal& rehearsal, const Swaps& swaps);

// How the rows before and after are compared: the scenario's `rows.map` and `rows.allow`; without
// what the engine and migration tools write down for themselves.
CompareOptions RowsOptionsOf(const Rehearsal& rehearsal);

// The rows before the first migrate step against those after the last rollback: what
// `rollback-restores` judges beside the catalogs.
void CompareRollback(Rehearsal& rehearsal, const Evidence& evidence);

// Compares two databases and adds a `comparison` event. `leave_out_clients`: rows that the ledger
// knows, and tables that triggers or cascades of a written table may have written, are not judged.
Comparison CompareAndTell(Rehearsal& rehearsal, const std::string& use,
                          const std::string& left_name, const std::string& right_name,
                          const db::Endpoint& left, const db::Endpoint& right,
                          const std::string& database, bool leave_out_clients);

// Compares the catalogs and adds a `catalog-diff` event. The engine's own objects are left out.
std::vector<CatalogChange> DiffAndTell(Rehearsal& rehearsal, const std::string& use,
                                       const std::string& left_name, const std::string& right_name,
                                       const Snapshot& left, const Snapshot& right);

}  // namespace understudy::harness
