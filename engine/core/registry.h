#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/context.h"
#include "engine/core/migration.h"
#include "engine/core/plan.h"
#include "engine/core/spec.h"

namespace understudy::core {

// One strategy: its name, the keys that its file may hold, and how it is made.
struct StrategyInfo {
  std::string name;  // "sql", "table-swap", …
  std::vector<std::string>
      endpoint_keys;  // the keys that name databases: "on" | "source", "target"
  std::vector<std::string> required;
  std::vector<std::string> optional;  // "strategy", "id" and "limits" are always allowed
  std::function<std::unique_ptr<Migration>(Context&)> make;
  // The statements of the user's that it would run, told from its files alone: no database is
  // asked, so what is applied already is not left out. Empty where a strategy runs none.
  std::function<std::vector<PlanStatement>(const Spec&)> statements = nullptr;
  // Fills in what follows from the other keys, such as endpoints that are found in a folder. Called
  // at the end of Spec::Parse; throws Error(kInvalidSpec).
  std::function<void(Spec&)> resolve = nullptr;
  bool makes_target = false;  // an SQLite target may be absent: the migration makes it
};

// The strategies that a program knows. Filled in engine/strategies.cc, handed down by reference.
class Registry {
 public:
  void Add(StrategyInfo info) { strategies_.push_back(std::move(info)); }
  // Error(kInvalidSpec) names the known ones.
  const StrategyInfo& Find(std::string_view name) const;
  const std::vector<StrategyInfo>& strategies() const { return strategies_; }

 private:
  std::vector<StrategyInfo> strategies_;
};

}  // namespace understudy::core

namespace understudy {
// Every strategy of the product (engine/strategies.cc).
core::Registry AllStrategies();
}  // namespace understudy
