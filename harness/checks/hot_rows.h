#pragma once

#include "harness/checks/findings.h"
#include "harness/evidence/evidence.h"

namespace understudy::harness {

// Rows that clients share: every update adds one to a counter, returns it, and leaves its own name
// in the note. So the final counter tells lost and doubled updates, a counter that two updates
// returned tells a lost one between them, and the note tells their order. The rest of the row must
// be as the last update returned it.
void JudgeHotRows(const Evidence& evidence, db::Session& ledger, Findings& findings);

}  // namespace understudy::harness
