#include "engine/core/registry.h"

#include "engine/base/error.h"

namespace understudy::core {

const StrategyInfo& Registry::Find(std::string_view name) const {
  std::string known;
  for (const StrategyInfo& strategy : strategies_) {
    if (strategy.name == name) return strategy;
    known += (known.empty() ? "" : ", ") + strategy.name;
  }
  throw Error(ErrorKind::kInvalidSpec,
              "/strategy: no such strategy: '" + std::string(name) + "'; allowed: " + known);
}

}  // namespace understudy::core
