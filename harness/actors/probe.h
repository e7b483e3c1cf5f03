#pragma once

#include "harness/actors/writer.h"

namespace understudy::harness {

// Tries on the server, in one transaction that is rolled back, what the plans promise: a table that
// refuses our rows now would refuse them later too, and look like a finding. Takes from the plans
// what is refused. PostgreSQL also tells which other tables a write reached.
void Probe(const std::shared_ptr<Stage>& stage, const ClientSetup& setup);

}  // namespace understudy::harness
