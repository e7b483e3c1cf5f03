#include "engine/core/migration.h"

namespace understudy::core {

std::string_view OwnerName(Owner owner) {
  switch (owner) {
    case Owner::kOld:
      return "old";
    case Owner::kNew:
      return "new";
    case Owner::kUnknown:
      break;
  }
  return "unknown";
}

Json Plan::ToJson() const {
  Json json = {
      {"format", "understudy-migrate/1"}, {"can_run", can_run()}, {"steps", Json::array()}};
  for (const PlanStep& step : steps) {
    json["steps"].push_back(
        {{"phase", step.phase},
         {"what", step.what},
         {"locks", step.locks},
         {"rows", step.rows ? Json(*step.rows) : Json(nullptr)},
         {"bytes", step.bytes ? Json(*step.bytes) : Json(nullptr)},
         {"estimate_ms", step.estimate_ms ? Json(*step.estimate_ms) : Json(nullptr)}});
  }
  json["statements"] = Json::array();
  for (const PlanStatement& s : statements) {
    json["statements"].push_back({{"file", s.file},
                                  {"line", s.line},
                                  {"sql", s.sql},
                                  {"transaction", s.transaction},
                                  {"note", s.note}});
  }
  json["refused"] = Json::array();
  for (const PlanRefusal& r : refused) {
    json["refused"].push_back({{"object", r.object}, {"why", r.why}});
  }
  json["warnings"] = warnings;
  json["existing_backup"] = existing_backup;
  json["next"] = next;
  return json;
}

}  // namespace understudy::core
