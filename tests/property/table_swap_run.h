#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/base/file.h"
#include "engine/core/lifecycle.h"
#include "engine/core/registry.h"
#include "harness/snapshot/snapshot.h"
#include "tests/property/table_swap_case.h"
#include "tests/property/table_swap_writers.h"
#include "tests/support/server.h"

namespace understudy::property {

struct Totals {
  std::int64_t cases = 0;
  std::int64_t acknowledged = 0;
  std::int64_t after_cutover = 0;  // of them
  std::int64_t interrupted = 0;
  std::int64_t resets = 0;
  std::int64_t rollbacks = 0;
  std::int64_t carried_back = 0;          // of them, with "reverse"
  std::int64_t acknowledged_carried = 0;  // writes after those cutovers
};

// The databases that all cases share, emptied before each, and one swap in them, driven through the
// real lifecycle, every verb with a Lifecycle of its own, as processes would.
class SwapRunner : public core::Probe {
 public:
  SwapRunner();
  // What is wrong; "" = every property holds.
  std::string Run(const SwapCase& swap);
  const Totals& totals() const { return totals_; }

  void OnEvent(const core::Event& event) override;

 private:
  void Empty(const testing::Database& database);
  void Begin(const SwapCase& swap);
  core::PhaseOutcome With(const std::function<core::PhaseOutcome(core::Lifecycle&)>& work);
  core::PhaseOutcome Through(core::Phase phase);
  // Through a phase, with the interruption of the case and what follows it.
  std::string Reach(const SwapCase& swap, core::Phase phase);
  std::string AfterCutover(const SwapCase& swap, bool written_since);
  std::string GoBack(const SwapCase& swap, bool lose);
  // A verb that is not a phase before the cutover: interrupted, it is run again.
  core::PhaseOutcome Insist(const std::function<core::PhaseOutcome(core::Lifecycle&)>& work);
  std::string CheckReset();
  std::string CheckCatalog(const std::string& when, const harness::Snapshot& expected,
                           const testing::Database& database);
  std::string CheckSource();
  std::string Ours();
  // The rows of the preserved tables in their old shape.
  std::map<std::size_t, std::string> OldShapes(const SwapCase& swap, bool become);
  // Every row of every table, whoever it belongs to.
  std::map<std::size_t, std::string> AllRows(const SwapCase& swap,
                                             const testing::Database& database, bool only_replaced);

  testing::Database target_;
  testing::Database source_;
  testing::Database reference_;
  TemporaryFolder folder_;
  core::Registry registry_;
  Json document_;
  std::string id_;
  harness::Snapshot target_before_;
  harness::Snapshot source_before_;
  harness::Snapshot reference_catalog_;
  std::string source_rows_before_;
  std::map<std::size_t, std::string> replaced_before_;
  std::unique_ptr<Writers> writers_;
  std::string interrupt_at_;
  int interrupt_nth_ = 0;
  bool interrupted_ = false;
  bool cut_ = false;
  Totals totals_;
  std::int64_t number_ = 0;
};

}  // namespace understudy::property
