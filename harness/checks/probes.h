#pragma once

#include <string_view>
#include <vector>

#include "harness/checks/findings.h"
#include "harness/evidence/evidence.h"

// Probes: small trials that the runner made on clones after the last step (an insert through every
// default, a constraint violated on purpose, a search for orphans), each with its result.
namespace understudy::harness {

std::vector<const Event*> ProbesOf(const Evidence& evidence, std::string_view check);
// Judges the probes of `check` into `findings`; returns how many there were.
std::int64_t JudgeProbes(const Evidence& evidence, std::string_view check, Findings& findings);

}  // namespace understudy::harness
