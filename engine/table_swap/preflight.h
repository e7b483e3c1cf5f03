#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/plan.h"
#include "engine/db/endpoint.h"
#include "engine/db/session.h"
#include "engine/table_swap/mover.h"
#include "engine/table_swap/settings.h"

namespace understudy::table_swap {

// What of the server and of its other users stands in a table swap's way. Reads only; each adds to
// `plan` what is refused, with the reason and what to do, and what a person should know.

// Publications, logical slots and subscriptions that the tables of `old_objects` are part of.
void CheckReplication(db::Session& session, const std::vector<Movable>& old_objects,
                      const Settings& settings, core::Plan& plan);
// The rights of the role that works here; what is missing is refused with the GRANT that helps.
void CheckPrivileges(db::Session& session, const std::vector<Movable>& old_objects,
                     const Settings& settings, core::Plan& plan);
// A pooler between us and the server that gives each transaction another server process. `side`:
// "target", "source". First of all, since such a server must not see a session of ours.
void CheckPooler(const db::Endpoint& endpoint, const std::string& side, core::Plan& plan);
// Room in the server's lock table, for the objects of both sides at once.
void CheckLockTable(db::Session& session, const std::vector<Movable>& old_objects,
                    core::Plan& plan);
// Room on the disk, where the server's disk is this machine's.
void CheckDisk(db::Session& session, std::int64_t needed_bytes, core::Plan& plan);
// Long and prepared transactions, vacuums that do not give way, standbys, event triggers.
void TellOthers(db::Session& session, const std::vector<Movable>& old_objects, core::Plan& plan);

}  // namespace understudy::table_swap
