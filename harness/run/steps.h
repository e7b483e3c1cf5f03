#pragma once

#include "harness/run/rehearsal.h"

namespace understudy::harness {

// Performs the scenario's steps in order, with the workload around the migrate steps. Writes a
// `step` event at each begin and end. A step whose outcome is not the one that must happen ends the
// scenario: the rest are `skipped`. Throws only when the run is interrupted or the machine fails.
void PerformSteps(Rehearsal& rehearsal);

}  // namespace understudy::harness
