#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/db/session.h"
#include "engine/table_swap/shared_types.h"

namespace understudy::table_swap {

// Owners and grants that the user's files give, and what production gives to new tables: dumps go
// without owners and privileges. Objects that production has keep production's (fidelity.h); what
// the files have changed comes on top of that.

struct Grant {
  std::string column;   // quoted; "" = the whole object
  std::string grantee;  // quoted, or PUBLIC; "" = the owner
  std::string privilege;
  bool grantable = false;
  auto operator<=>(const Grant&) const = default;
};

struct AccessOf {
  std::string kind;  // as in GRANT … ON: TABLE, SEQUENCE, ROUTINE, TYPE
  std::uint32_t oid = 0;
  std::string schema;
  std::string identity;  // as SQL, where it stands
  bool follows = false;  // a sequence of a column: its owner is its table's
  std::string owner;
  std::string comment;
  std::set<Grant> grants;
  std::set<Grant> usual;  // what it has while nobody has granted or revoked anything
};

// By kind and identity. Members of extensions are left out.
using Access = std::map<std::string, AccessOf>;
Access ReadAccess(db::Session& session, const std::vector<std::string>& schemas);

// What belongs to a schema or role as a whole: texts that differ when it does.
std::set<std::string> ReadDefaults(db::Session& session, const std::vector<std::string>& schemas);

// Gives the scratch's objects production's grants, so that a REVOKE in the files has something to
// revoke.
void BringGrants(const Access& production, db::Session& scratch);

// What stood in the scratch at which time.
struct AccessHistory {
  Access production;
  Access before;  // the files; empty when there are none
  Access after;
  std::set<std::string> defaults_before;
  std::set<std::string> defaults_after;
};

// Adds refusals for changes of the files to what is not exchanged.
void RefuseAccess(const AccessHistory& history, SetDecision& decision);

// For the objects that stand in the shadow schemas of the target, after those that production has
// too were made alike. REQUIRES: the set stands in the shadow schemas of `scratch`.
std::vector<std::string> AccessStatements(const AccessHistory& history, db::Session& scratch,
                                          db::Session& target, const Settings& settings);

}  // namespace understudy::table_swap
