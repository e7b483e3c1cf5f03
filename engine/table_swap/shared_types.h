#pragma once

#include <string>
#include <vector>

#include "engine/core/plan.h"
#include "engine/db/session.h"
#include "engine/table_swap/manifest.h"
#include "engine/table_swap/mover.h"
#include "engine/table_swap/shadow.h"

namespace understudy::table_swap {

// ALTER TYPE … ADD VALUE, to be committed before the shadow is built.
struct LabelToAdd {
  db::TableName type;
  std::string label;
  std::string sql;
};

// What of the new schema becomes new objects in the target, and what stays production's.
struct SetDecision {
  std::vector<Movable> moved;      // to be moved in the scratch, in the mover's order
  std::vector<Movable> shared;     // identical on both sides: the shadow binds to production's
  std::vector<LabelToAdd> labels;  // then those enums are shared too
  // Ordinary and partitioned tables of `moved`, partitions too, in the mover's order; the OIDs are
  // filled in by others.
  std::vector<SetTable> tables;
  std::vector<core::PlanRefusal> refused;
  std::vector<std::string> warnings;
};

// Reads only. `fresh`: the scratch before anything is moved in it, or the source itself for a plan
// (the OIDs are then the source's, and what two majors word differently may be taken for
// different: tables and refusals are right, `shared` may be smaller than in prepare).
SetDecision DecideSet(db::Session& fresh, db::Session& target, const Settings& settings);

// In transactions of its own, committed; labels that are there already are left alone.
// REQUIRES: no transaction is open on `target`.
void AppendLabels(db::Session& target, const SetDecision& decision, const ShadowRequest& request);

}  // namespace understudy::table_swap
