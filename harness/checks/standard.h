#pragma once

#include <memory>
#include <vector>

#include "harness/checks/check.h"

// Makers of the standard checks, a file per idea; all_checks.cc puts them into one table.
namespace understudy::harness {

using CheckPtr = std::unique_ptr<const Check>;

CheckPtr RowsCheck();
CheckPtr AcknowledgedWritesCheck();

enum class CatalogFamily { kCatalog, kSequences, kConstraints, kIndexes, kTriggers };
CheckPtr CatalogCheck(CatalogFamily family);

CheckPtr OrphansCheck();
CheckPtr WriteAfterCheck();
CheckPtr LeftoversCheck();
CheckPtr StallsCheck();
CheckPtr LocksCheck();
CheckPtr ErrorsCheck();
CheckPtr DurationCheck();
CheckPtr IdempotentCheck();
CheckPtr UpDownUpCheck();
CheckPtr RollbackRestoresCheck();
CheckPtr SourceUnchangedCheck();
CheckPtr MovedCheck();
CheckPtr StepsCheck();

// Every standard check, in the order of the contract.
const std::vector<CheckPtr>& StandardChecks();

}  // namespace understudy::harness
