#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"

namespace understudy::reports {

enum class Outcome { kPass, kFail, kUnknown };
std::string_view OutcomeName(Outcome outcome);
Outcome OutcomeFromName(std::string_view name);  // anything else is kUnknown

// fail outranks unknown outranks pass.
Outcome Worse(Outcome a, Outcome b);

// What one check says.
struct Verdict {
  std::string id;
  Outcome outcome = Outcome::kUnknown;
  std::string summary;                // one line
  std::vector<std::string> details;   // more lines
  Json examples = Json::array();      // keys whole, values typed
  std::optional<std::string> waived;  // the reason for which it was switched off
};

}  // namespace understudy::reports
