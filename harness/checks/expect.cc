#include <fmt/format.h>

#include <algorithm>

#include "harness/checks/check.h"

namespace understudy::harness {
namespace {

using reports::Outcome;

std::string Listed(const Judgement& judgement, Outcome outcome) {
  std::string list;
  for (const auto& verdict : judgement.verdicts) {
    if (verdict.outcome != outcome || verdict.waived) continue;
    list += (list.empty() ? "" : ", ") + verdict.id;
  }
  return list;
}

// What was observed, in one line.
std::string Observed(const Judgement& judgement) {
  std::string line;
  if (judgement.interrupted || judgement.observed == Outcome::kUnknown) {
    for (const std::string& reason : judgement.reasons) {
      line += (line.empty() ? "" : "; ") + reason;
    }
  }
  if (const std::string failed = Listed(judgement, Outcome::kFail); !failed.empty()) {
    line += (line.empty() ? "" : "; ") + failed + " failed";
  } else if (const std::string unknown = Listed(judgement, Outcome::kUnknown);
             !unknown.empty() && !judgement.interrupted) {
    line += (line.empty() ? "" : "; ") + unknown + " not known";
  }
  if (!line.empty()) return line;
  const auto passed = std::count_if(judgement.verdicts.begin(), judgement.verdicts.end(),
                                    [](const auto& verdict) { return !verdict.waived; });
  return fmt::format("{} checks passed", passed);
}

// Why the expectation is not met; "" when it is.
std::string Unmet(const Json& expect, const Judgement& judgement) {
  const Outcome wanted = reports::OutcomeFromName(expect.value("verdict", "pass"));
  if (judgement.observed != wanted) {
    return fmt::format("expected {}, but it is {}", OutcomeName(wanted),
                       OutcomeName(judgement.observed));
  }
  const Json named = expect.value("checks", Json::array());
  for (const Json& id : named) {
    const auto found =
        std::find_if(judgement.verdicts.begin(), judgement.verdicts.end(),
                     [&](const auto& verdict) { return id == verdict.id && !verdict.waived; });
    if (found == judgement.verdicts.end()) {
      return fmt::format("expected {} of check {}, which was not judged", OutcomeName(wanted),
                         id.get<std::string>());
    }
    if (found->outcome != wanted) {
      return fmt::format("expected {} of check {}, but it is {}: {}", OutcomeName(wanted),
                         found->id, OutcomeName(found->outcome), found->summary);
    }
  }
  if (expect.value("only", false)) {
    for (const auto& verdict : judgement.verdicts) {
      if (verdict.waived || verdict.outcome != wanted) continue;
      if (std::find(named.begin(), named.end(), Json(verdict.id)) != named.end()) continue;
      return fmt::format("check {} is {} too, which was not expected: {}", verdict.id,
                         OutcomeName(wanted), verdict.summary);
    }
  }
  return "";
}

}  // namespace

Final Expect(const Json& expect, const Judgement& judgement) {
  const std::string observed = Observed(judgement);
  if (!expect.is_object() || judgement.interrupted) return {judgement.observed, observed};
  const std::string unmet = Unmet(expect, judgement);
  if (unmet.empty()) return {Outcome::kPass, "as expected: " + observed};
  const bool unknown = judgement.observed == Outcome::kUnknown;
  return {unknown ? Outcome::kUnknown : Outcome::kFail, unmet + " (" + observed + ")"};
}

}  // namespace understudy::harness
