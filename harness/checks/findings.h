#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "reports/verdict.h"

namespace understudy::harness {

// Collects what one check found and makes its verdict: a failure outranks what could not be judged,
// and a check that judged nothing is unknown, never green.
class Findings {
 public:
  // `example`: an object {"table", "key", "left", "right", …}, or null.
  void Fail(std::string line, Json example = nullptr);
  void Example(Json example);  // one more of a failure; the first 20 are kept
  void Unknown(std::string line);
  void Note(std::string line);          // a detail that changes nothing
  void Judged(std::int64_t count = 1);  // things looked at
  std::int64_t judged() const { return judged_; }
  bool failed() const { return !failures_.empty(); }

  // `passed`: the summary of a pass. `nothing`: why nothing was judged.
  reports::Verdict Done(std::string_view id, std::string passed, std::string nothing) const;

 private:
  std::vector<std::string> failures_;
  std::vector<std::string> unknowns_;
  std::vector<std::string> notes_;
  std::int64_t more_failures_ = 0;
  Json examples_ = Json::array();
  std::int64_t judged_ = 0;
};

}  // namespace understudy::harness
