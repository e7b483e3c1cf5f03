#pragma once

#include <string>

#include "harness/checks/swaps.h"
#include "harness/run/rehearsal.h"

// What table swaps add to the examination after the last step: which side each table's rows should
// come from, where the old and the new objects stand, whether the source is as it was. It reads
// catalogs and the documents by itself and shares nothing with the strategy.
namespace understudy::harness {

// The rows of a target at snapshot `last`: replaced tables against the source's, preserved ones
// against its own at `first`, through the document's column rules. Comparisons of use "rows".
void CompareTarget(Rehearsal& rehearsal, const Swaps& swaps, const std::string& database,
                   const std::string& first, const std::string& last);

// Each source before and after each swap. Use "source-unchanged".
void CompareSources(Rehearsal& rehearsal, const Evidence& evidence, const Swaps& swaps);

// By OID, around each cutover and rollback: main → backup, shadow → main, and back. Probes "moved".
void ProbeMoved(Rehearsal& rehearsal, const Evidence& evidence, const Swaps& swaps);

// What a catalog does not show: scratch databases, advisory locks, replication slots, prepared
// transactions. Probes "leftovers".
void ProbeLeftovers(Rehearsal& rehearsal, const Swaps& swaps);

}  // namespace understudy::harness
