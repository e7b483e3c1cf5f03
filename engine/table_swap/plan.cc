#include "engine/base/error.h"
#include "engine/table_swap/mapping.h"
#include "engine/table_swap/shared_types.h"
#include "engine/table_swap/swap.h"

// The dry run: everything that can be told without changing anything.
namespace understudy::table_swap {

// Two swaps of one database would build the same shadow and exchange the same tables.
std::optional<core::PlanRefusal> TableSwap::OtherUnderWay(db::Session& session) {
  if (!core::Journal(session, spec_.id).Exists()) return std::nullopt;
  const db::Result others = session.Query(
      "SELECT m.id, m.state FROM understudy.migrations m WHERE m.strategy = 'table-swap' AND "
      "m.id <> $1 AND (m.state IN ('preparing', 'syncing', 'ready') OR EXISTS (SELECT FROM "
      "understudy.entries e WHERE e.migration = m.id AND e.name = $2 AND m.state = 'failed')) "
      "ORDER BY 1",
      {db::Value::Text(spec_.id), db::Value::Text(kCaptureEntry)});
  if (others.rows.empty()) return std::nullopt;
  const std::string& id = others.rows[0][0].text;
  return core::PlanRefusal{"migration " + id,
                           "it is under way in this database (" + others.rows[0][1].text +
                               "): bring it to its cutover first, or take it back with: understudy "
                               "migrate reset, and its file"};
}

core::Plan TableSwap::MakePlan() {
  core::Plan plan;
  const auto session = Connect();
  for (const Unmovable& object : ListUnmovables(*session, settings_.schemas)) {
    plan.refused.push_back({object.object, object.why});
  }
  if (auto other = OtherUnderWay(*session)) plan.refused.push_back(std::move(*other));
  return plan;
}

}  // namespace understudy::table_swap
