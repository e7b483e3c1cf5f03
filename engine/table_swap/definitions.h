#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/db/session.h"
#include "engine/table_swap/mover.h"

namespace understudy::table_swap {

// What production's side of a set says of itself, thing by thing: tables with their columns,
// indexes, constraints, triggers, rules, policies, statistics; views, routines, types, sequences.
// The new schema was made for it; what somebody adds or changes later is not in the shadow and
// would go out of service with the old tables. Ours (capture triggers) and what goes over to the
// new objects anyway (owners, grants) are left out.
struct Definition {
  std::uint32_t owner = 0;  // the object of the set that it is part of
  std::string digest;       // of its text
};
using Definitions = std::map<std::string, Definition>;  // "index public.orders_note" → …

Definitions ReadDefinitions(db::Session& session, const std::vector<std::string>& schemas);

// Of these objects, "index public.orders_note was made", "view public.v was changed", … A thing of
// another owner is none of theirs.
std::vector<std::string> ChangedDefinitions(const Definitions& before, const Definitions& now,
                                            const std::vector<Movable>& objects);

Json ToJson(const Definitions& definitions);
Definitions DefinitionsFrom(const Json& json);

}  // namespace understudy::table_swap
