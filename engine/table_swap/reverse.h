#pragma once

#include <string>
#include <vector>

#include "engine/capture/postgres.h"
#include "engine/db/session.h"

namespace understudy::table_swap {

// "reverse": from the cutover transaction on, what users write to the preserved tables in service
// is captured the other way, so that a rollback loses nothing.
struct ReversePlan {
  std::vector<capture::CapturedTable> tables;  // watched: the new tables; mirror: the old ones
  std::vector<std::string> refused;            // tables that have no way back, and why
};

// `captured`: as prepare has it, watched = old, mirror = new. Reads only; to be called before the
// cutover locks anything. In the cutover's transaction, once the new tables stand in their place
// and before the commit: capture::Install(session, plan.tables), and keep them in the journal.
ReversePlan PlanReverse(db::Session& session, const std::vector<capture::CapturedTable>& captured);

// One round over all `reverse` tables that have entries, in the caller's transaction (REPEATABLE
// READ before the locks, any under them). `entries`: of each log; nullopt = all. Gives the entries
// taken. Error(kMismatch, "blocked") names the first row that the old table refuses.
std::int64_t ReplayReverse(db::Session& session, const std::vector<capture::CapturedTable>& reverse,
                           std::optional<std::int64_t> entries);

// Whether the old tables hold what the new ones do, in one snapshot (REPEATABLE READ, or locks):
// what differs, by table; empty = a rollback loses nothing of these.
std::vector<std::string> CompareReverse(db::Session& session,
                                        const std::vector<capture::CapturedTable>& reverse);

}  // namespace understudy::table_swap
