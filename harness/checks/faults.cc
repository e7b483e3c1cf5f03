#include "harness/checks/faults.h"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::harness {
namespace {

// A client notices a cut with its next operation, or when its timeout ends.
constexpr double kGraceMs = 2000;

bool OneOf(std::string_view text, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

bool Cuts(std::string_view kind) {
  return OneOf(kind, {"kill-backend", "restart", "stop", "pause", "kill-server", "kill-container",
                      "cut-network", "slow-network", "fill-disk", "exhaust-connections"});
}

bool Holds(std::string_view kind) {
  return OneOf(kind, {"hold-transaction", "hold-lock", "block", "pause", "kill-engine", "exec"});
}

// Lost or refused connections, shutdowns, resources; SQLite: I/O errors, a full disk.
bool IsConnectionLoss(std::string_view sqlstate) {
  return sqlstate.empty() || sqlstate.starts_with("08") || sqlstate.starts_with("53") ||
         sqlstate.starts_with("57P") || OneOf(sqlstate, {"10", "13", "14", "ENOSPC"});
}

// Lock timeouts, deadlocks, cancelled statements; SQLITE_BUSY in its forms.
bool IsWaitedInVain(std::string_view sqlstate) {
  return OneOf(sqlstate, {"55P03", "40P01", "57014", "5", "261", "517", "6", "262"});
}

}  // namespace

std::vector<FaultRun> FaultsOf(const Evidence& evidence) {
  std::vector<FaultRun> faults;
  for (const Json& spec : evidence.scenario().value("faults", Json::array())) {
    FaultRun run;
    run.index = faults.size();
    run.kind = TextAt(spec, "kind");
    if (const std::string at = TextAt(spec, "at"); !at.empty()) run.at = at;
    if (const std::string at = TextAt(spec, "at_step"); !at.empty()) run.at = "step " + at;
    if (const std::string at = TextAt(spec, "at_ms"); !at.empty()) run.at = at + " ms";
    faults.push_back(std::move(run));
  }
  const double end = EndOf(evidence);
  for (const Event* event : evidence.OfKind("fault")) {
    const auto index = static_cast<std::size_t>(NumberAt(event->data, "index"));
    if (index >= faults.size()) continue;
    FaultRun& run = faults[index];
    const std::string status = TextAt(event->data, "status");
    const bool struck = event->data.value("struck", Json(false)) == true;
    if (status == "struck" || (status.empty() && struck)) {
      ++run.struck;
      run.windows.push_back({event->t_ms, end});
    } else if (status == "ended" && !run.windows.empty()) {
      run.windows.back().end_ms = event->t_ms;
    }
  }
  return faults;
}

Explanations::Explanations(const Evidence& evidence) {
  for (const FaultRun& run : FaultsOf(evidence)) {
    for (const Span& span : run.windows)
      windows_.push_back({span, Cuts(run.kind), Holds(run.kind)});
  }
  for (const StepRun& step : StepsOf(evidence)) {
    if (step.verb == "restart") windows_.push_back({step.span, true, false});
  }
}

bool Explanations::Explains(const std::string& sqlstate, bool outcome_unknown,
                            const Span& span) const {
  return std::any_of(windows_.begin(), windows_.end(), [&](const Window& window) {
    const bool met =
        span.begin_ms <= window.span.end_ms + kGraceMs && span.end_ms >= window.span.begin_ms;
    if (!met) return false;
    return (window.cuts && (outcome_unknown || IsConnectionLoss(sqlstate))) ||
           (window.holds && IsWaitedInVain(sqlstate));
  });
}

}  // namespace understudy::harness
