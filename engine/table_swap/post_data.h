#pragma once

#include <vector>

#include "engine/core/context.h"
#include "engine/table_swap/manifest.h"
#include "engine/table_swap/scratch.h"
#include "engine/table_swap/shadow.h"

namespace understudy::table_swap {

// REQUIRES for all of these: the set stands in the shadow schemas of the scratch.

// Builds the shadow's indexes, keys, checks, exclusion constraints and those foreign keys that may
// be active before the cutover, with limits.jobs sessions, the biggest tables first; each commits
// by itself, and what is there and valid already is left alone. A foreign key whose rows do not fit
// (orphans) is Error(kConstraint, "orphans") with the table, the key and how many rows, unless
// settings.drop_orphans: then those rows of the shadow are deleted and told in the log.
void BuildPostData(const core::Context& context, const Scratch& scratch,
                   const ShadowRequest& request);

// Materialised views filled, extended statistics, triggers and rules made and switched off,
// policies of the new schema on the tables that production has not (all of them without a source),
// comments on all these, VACUUM (ANALYZE). May be called again.
void FinishShadow(const core::Context& context, const Scratch& scratch,
                  const ShadowRequest& request);

// Foreign keys that wait for the cutover: they reference preserved tables or tables outside the
// set.
std::vector<DeferredForeignKey> WaitingForeignKeys(const Scratch& scratch,
                                                   const ShadowRequest& request);

// Triggers and rules of the new schema's tables that FinishShadow has switched off, and the state
// that they are to have in service.
std::vector<TriggerState> TriggerStates(const Scratch& scratch, const ShadowRequest& request);

}  // namespace understudy::table_swap
