// `rows`: rows that no client wrote, before against after. The runner compares while the databases
// are there and leaves out the rows that the ledger explains; what is allowed is applied again
// here.
#include <fmt/format.h>

#include "harness/checks/compared_rows.h"
#include "harness/checks/facts.h"
#include "harness/checks/hot_copies.h"
#include "harness/checks/probes.h"
#include "harness/checks/standard.h"
#include "harness/checks/swaps.h"

namespace understudy::harness {
namespace {

class Rows final : public Check {
 public:
  std::string_view id() const override { return "rows"; }

  std::optional<std::string> DoesNotApply(const Evidence&) const override { return std::nullopt; }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const Json options = OptionsOf(evidence, id());
    const AllowedRows allowed{Strings(options, "allow"), Strings(options, "new_rows"),
                              UnledgeredTables(evidence)};
    std::int64_t compared = 0;
    JudgeProbes(evidence, id(), findings);  // the mapping of a hot copy's keys
    std::set<std::string> databases;
    const HotCopies copies(evidence);
    // A hot copy's new file is held against the old one as the drain left it: what was written to
    // that without a ledger is known there.
    AllowedRows of_copies = allowed;
    of_copies.skip.clear();
    for (const Event* event : EventsWith(evidence, "comparison", "use", "rows")) {
      const Comparison comparison = Comparison::FromJson(event->data.at("result"));
      compared += comparison.rows_compared;
      if (comparison.result == CompareResult::kUnknown && comparison.tables.empty()) {
        findings.Unknown(TextAt(event->data, "left") + " against " + TextAt(event->data, "right") +
                         " could not be compared");
      }
      const bool copied = copies.OfTarget(TextAt(event->data, "database")) != nullptr;
      JudgeComparison(comparison, copied ? of_copies : allowed, "", findings);
      // A swap's target is compared in parts: with its own rows and with its source's.
      if (const std::string one = TextAt(event->data, "database"); !one.empty()) {
        databases.insert(one);
        continue;
      }
      for (const char* side : {"left", "right"}) {
        const std::string name = TextAt(event->data, side);
        databases.insert(name.substr(name.find(':') + 1));
      }
    }
    if (databases.empty()) {
      const bool two = SnapshotsToCompare(evidence).has_value();
      findings.Unknown(two ? "the rows before and after were not compared"
                           : "there are no two snapshots to compare");
    } else {
      const Swaps swaps(evidence);
      for (const std::string& name : DatabaseNames(evidence)) {
        if (!databases.contains(name) && !swaps.IsSource(name) && !copies.IsUnfinished(name)) {
          findings.Unknown("the rows of database " + name + " were not compared");
        }
      }
    }
    return findings.Done(id(), fmt::format("{} rows compared, nothing lost or changed", compared),
                         "no row was compared");
  }
};

}  // namespace

CheckPtr RowsCheck() { return std::make_unique<Rows>(); }

}  // namespace understudy::harness
