#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/core/plan.h"
#include "engine/core/registry.h"
#include "harness/scenario/scenario.h"

// The user's own SQL, read before anything starts.
namespace understudy::cli {

// The statements that the scenario's migrations hold. No database is asked, so what is applied
// already is not left out. A script that does not split is Error(kInvalidSpec), "FILE:LINE: …".
std::vector<core::PlanStatement> StatementsOf(const harness::Scenario& scenario,
                                              const core::Registry& registry);

// Does `work`; when it finds a key of a migration wrong and says so by the key alone ("/through:
// …"), says in which file and where in it.
void AtItsPlace(const std::string& file, const std::string& pointer,
                const std::function<void()>& work);

// Splits every script of every scenario (migrations and their ways back, fixtures, `exec` steps),
// so that a wrong one is told before a database is made. Throws as StatementsOf.
void SplitScripts(const std::vector<harness::Scenario>& scenarios);

}  // namespace understudy::cli
