#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/core/context.h"
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
// The rights of the role that works here: steps list the statements that give all of them, what is
// missing is refused with the one that helps.
void CheckPrivileges(db::Session& session, const std::vector<Movable>& old_objects,
                     const Settings& settings, core::Plan& plan);
// A pooler between us and the server that gives each transaction another server process. `side`:
// "target", "source". First of all, since such a server must not see a session of ours.
void CheckPooler(const db::Endpoint& endpoint, const std::string& side, core::Plan& plan);
// Room for the sessions of `jobs` workers, of a target and, where it is there, of a source: on the
// servers, and within the CONNECTION LIMIT of role and database.
void CheckConnections(db::Session& target, db::Session* source, int jobs, core::Plan& plan);
// Room in the server's lock table, for the objects of both sides at once.
void CheckLockTable(db::Session& session, const std::vector<Movable>& old_objects,
                    core::Plan& plan);
// What a shadow of tables takes, by the name of the tablespace; "" = the database's own.
using SpaceNeeds = std::map<std::string, std::int64_t>;
SpaceNeeds NeedsOf(db::Session& session, const std::vector<std::uint32_t>& tables);
// Room on the disks of the target's server: no server tells it, so it is only known of one that
// runs on this machine.
void CheckDisk(db::Session& session, const SpaceNeeds& needs, core::Plan& plan);
// Whether pg_dump could read the schema of this database; the steps list the GRANTs for all of it,
// what is missing is refused with the one that helps.
void CheckReading(db::Session& session, const std::string& side, core::Plan& plan);
// A target that takes no writes.
void CheckStandby(db::Session& target, core::Plan& plan);
// Long and prepared transactions, vacuums that do not give way, standbys, event triggers.
void TellOthers(db::Session& session, const std::vector<Movable>& old_objects, core::Plan& plan);

// Ends vacuums of the server's own on the tables `oids` and `more`, and their partitions, that
// would make our short lock attempts fail for as long as they last: they give way only to who waits
// for longer than deadlock_timeout. It waits in a mode that no client's statement minds, and only
// where somebody holds that mode. What does not give way is left to the attempt itself.
void LetVacuumsGiveWay(const core::Context& context, db::Session& session, const db::Value& oids,
                       const std::vector<db::TableName>& more);

// "pid 17 (psql, bob, idle in transaction, in a transaction for 00:01:02) on public.note": the
// oldest of those who were in their transaction, which may be a prepared one, before a wait of
// `waited` began, and hold one of the tables `oids` or `more`, or a partition of them, against us,
// or against what excludes writers alone.
std::string HoldersOf(db::Session& session, const db::Value& oids,
                      const std::vector<db::TableName>& more, std::chrono::milliseconds waited,
                      bool also_readers);

}  // namespace understudy::table_swap
