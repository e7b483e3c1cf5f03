#pragma once

#include "engine/core/context.h"
#include "engine/db/session.h"
#include "engine/table_swap/scratch.h"
#include "engine/table_swap/shadow.h"

namespace understudy::table_swap {

// Makes the shadow schemas with everything but rows, indexes, constraints that need them, triggers
// and rules: what pg_dump calls pre-data, of the scratch's shadow schemas.
// REQUIRES: the mover has moved the set inside the scratch; a transaction is open on `target`, of a
// session that is given up afterwards (the dump sets its settings). The caller commits, with its
// journal entries: then the schemas are there whole or not at all. Error(kConstraint) names the
// object.
void BuildShadowSchema(const core::Context& context, const Scratch& scratch, db::Session& target,
                       const ShadowRequest& request);

}  // namespace understudy::table_swap
