// `leftovers`: after a cleanup or a reset nothing of the engine's own is left. The evidence is a
// snapshot taken after the last such step (the runner takes one named "$end") or probes of check
// "leftovers".
#include <fmt/format.h>

#include <algorithm>

#include "harness/checks/facts.h"
#include "harness/checks/hot_copies.h"
#include "harness/checks/probes.h"
#include "harness/checks/standard.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

// What a hot copy in service leaves: in the new file its marks, which applications read; in the old
// one the triggers that refuse writes, so that a straggler does not write into a dead file.
bool MayStay(const HotCopies& copies, const std::string& database, const CatalogObject& object) {
  const auto speaks_of = [&](const char* name) {
    return object.path.find(name) != std::string::npos;
  };
  if (const HotCopy* copy = copies.OfTarget(database); copy != nullptr && copy->in_service()) {
    return speaks_of("_migration_status") || speaks_of("_schema_identity");
  }
  const HotCopy* copy = copies.OfSource(database);
  return copy != nullptr && copy->in_service() && object.kind == "trigger" &&
         speaks_of("_understudy_refuse_");
}

class Leftovers final : public Check {
 public:
  std::string_view id() const override { return "leftovers"; }

  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (LastCleaning(evidence) || Planned(evidence)) return std::nullopt;
    return "no step cleans up or resets";
  }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const auto count = JudgeProbes(evidence, id(), findings);
    const auto cleaned = LastCleaning(evidence);
    const HotCopies copies(evidence);
    std::set<std::string> databases;
    for (const Event* event : evidence.OfKind("snapshot")) {
      const std::string name = TextAt(event->data, "name");
      const std::string database = TextAt(event->data, "database");
      if (!cleaned || event->t_ms < *cleaned || databases.contains(database)) continue;
      const auto content = evidence.Snapshot(name, database);
      if (!content) continue;
      databases.insert(database);
      for (const CatalogObject& object : Snapshot::FromJson(*content).objects) {
        if (!IsOurs(object.path) || MayStay(copies, database, object)) continue;
        findings.Fail(fmt::format("{} of database {} was left behind", object.path, database));
      }
      findings.Judged();
    }
    if (!cleaned) {
      findings.Unknown("no cleanup or reset came to its end");
    } else if (count == 0 && databases.empty()) {
      findings.Unknown("nobody looked after the cleanup");
    }
    return findings.Done(id(), "nothing of the engine's own is left", "nobody looked");
  }

 private:
  static bool Planned(const Evidence& evidence) {
    if (PlansStep(evidence, "cleanup") || PlansStep(evidence, "reset")) return true;
    for (const auto& [verb, options] : PlannedSteps(evidence)) {
      if (verb == "migrate" && options.is_object() && TextAt(options, "through") == "cleanup") {
        return true;
      }
    }
    return false;
  }

  // When the last cleanup or reset ended well.
  static std::optional<double> LastCleaning(const Evidence& evidence) {
    std::optional<double> last;
    for (const PhaseRun& run : PhasesOf(evidence)) {
      if ((run.phase == "cleanup" || run.phase == "reset") && run.ended) {
        last = std::max(last.value_or(0), run.span.end_ms);
      }
    }
    for (const StepRun& step : StepsOf(evidence)) {
      if ((step.verb == "cleanup" || step.verb == "reset") && step.ended &&
          step.outcome == "done") {
        last = std::max(last.value_or(0), step.span.end_ms);
      }
    }
    return last;
  }
};

}  // namespace

CheckPtr LeftoversCheck() { return std::make_unique<Leftovers>(); }

}  // namespace understudy::harness
