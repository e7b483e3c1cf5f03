// `steps`: outcomes against what the scenario says, `assert` and `compare` steps.
#include <fmt/format.h>

#include "harness/checks/facts.h"
#include "harness/checks/findings.h"
#include "harness/checks/standard.h"

namespace understudy::harness {
namespace {

class Steps final : public Check {
 public:
  std::string_view id() const override { return "steps"; }

  std::optional<std::string> DoesNotApply(const Evidence&) const override { return std::nullopt; }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    std::size_t done = 0;
    for (const StepRun& step : StepsOf(evidence)) {
      if (!step.ended) {
        findings.Unknown("step " + step.name + " did not come to its end");
        continue;
      }
      if (step.outcome == "skipped") {
        findings.Unknown("step " + step.name + " was skipped" +
                         (step.detail.empty() ? "" : ": " + step.detail));
        continue;
      }
      findings.Judged();
      ++done;
      std::string detail = step.detail;
      if (detail.empty() && !step.failures.empty()) detail = step.failures[0];
      const std::string expected = step.expected.empty() ? "done" : step.expected;
      if (step.outcome != expected) {
        findings.Fail(fmt::format("step {}: {}, but it must be {}{}", step.name, step.outcome,
                                  expected, detail.empty() ? "" : ": " + detail),
                      {{"step", step.name}, {"outcome", step.outcome}, {"expected", expected}});
      } else if (!step.failures.empty() && expected == "done") {
        findings.Fail("step " + step.name + ": " + step.failures[0]);
      }
      for (const std::string& failure : step.failures) findings.Note(step.name + ": " + failure);
    }
    for (const Event* event : EventsWith(evidence, "comparison", "use", "step")) {
      const Json result = event->data.value("result", Json::object());
      if (TextAt(result, "result") == "unknown") {
        findings.Unknown(TextAt(event->data, "left") + " against " + TextAt(event->data, "right") +
                         " could not be compared");
      }
    }
    if (!evidence.complete()) {
      const auto ends = evidence.OfKind("end");
      const std::string reason = ends.empty() ? "" : TextAt(ends.back()->data, "reason");
      findings.Unknown("the run did not come to its end" + (reason.empty() ? "" : ": " + reason));
    }
    return findings.Done(id(), fmt::format("{} steps went as they should", done),
                         "no step was taken");
  }
};

}  // namespace

CheckPtr StepsCheck() { return std::make_unique<Steps>(); }

}  // namespace understudy::harness
