#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/evidence/evidence.h"
#include "reports/verdict.h"

namespace understudy::harness {

// Judges evidence. Pure: no database but the evidence's own files, no clock, no environment.
class Check {
 public:
  virtual ~Check() = default;
  virtual std::string_view id() const = 0;
  // Whether it has anything to do with this scenario; if not, why ("no writers").
  virtual std::optional<std::string> DoesNotApply(const Evidence& evidence) const = 0;
  virtual reports::Verdict Judge(const Evidence& evidence) const = 0;
};

struct Judgement {
  std::vector<reports::Verdict> verdicts;  // in the order of the standard checks
  Json not_checked = Json::array();        // [{"what": "check:duration", "why": "no budget"}, …]
  reports::Outcome observed = reports::Outcome::kUnknown;
  // What makes the whole scenario unknown, beside its checks: a fault that never struck, a run
  // that failed or was interrupted, nothing checked.
  std::vector<std::string> reasons;
  // The run did not come to its end: unknown, whatever the checks say.
  bool interrupted = false;
};

// Every standard check over `evidence`: waivers, checks that do not apply, and checks that throw
// (unknown, with the reason) are settled here.
Judgement JudgeAll(const Evidence& evidence);
// The same with another table of checks.
Judgement JudgeAll(const Evidence& evidence,
                   const std::vector<std::unique_ptr<const Check>>& checks);

// The final verdict: `expect` of the scenario against what was observed.
struct Final {
  reports::Outcome verdict;
  std::string summary;
};
Final Expect(const Json& expect, const Judgement& judgement);

}  // namespace understudy::harness
