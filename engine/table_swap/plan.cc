#include "engine/base/error.h"
#include "engine/table_swap/mapping.h"
#include "engine/table_swap/shared_types.h"
#include "engine/table_swap/swap.h"

// The dry run: everything that can be told without changing anything.
namespace understudy::table_swap {

core::Plan TableSwap::MakePlan() {
  core::Plan plan;
  const auto session = Connect();
  for (const Unmovable& object : ListUnmovables(*session, settings_.schemas)) {
    plan.refused.push_back({object.object, object.why});
  }
  return plan;
}

}  // namespace understudy::table_swap
