#pragma once

#include "harness/evidence/evidence.h"

namespace understudy::harness {

// `measurements` of report.json: the longest stalls, latency by phase, locks, writes of the ledger,
// what was compared, WAL, the observer's period.
Json Measure(const Evidence& evidence);

}  // namespace understudy::harness
