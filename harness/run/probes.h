#pragma once

#include "harness/run/rehearsal.h"

namespace understudy::harness {

// What is tried on copies of the databases after the last step: an insert through every default
// into every table, every constraint violated on purpose, declared keys counted for orphans,
// sequences against their columns, the migration run once more (`idempotent`), down and up again
// (`up-down-up`). Each finding is a `probe` event; nothing here touches the databases themselves.
void ProbeCopies(Rehearsal& rehearsal, const std::map<std::string, std::string>& not_served);

}  // namespace understudy::harness
