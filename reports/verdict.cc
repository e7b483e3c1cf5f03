#include "reports/verdict.h"

namespace understudy::reports {

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kPass:
      return "pass";
    case Outcome::kFail:
      return "fail";
    case Outcome::kUnknown:
      break;
  }
  return "unknown";
}

Outcome OutcomeFromName(std::string_view name) {
  if (name == "pass") return Outcome::kPass;
  if (name == "fail") return Outcome::kFail;
  return Outcome::kUnknown;
}

Outcome Worse(Outcome a, Outcome b) {
  for (const Outcome outcome : {Outcome::kFail, Outcome::kUnknown}) {
    if (a == outcome || b == outcome) return outcome;
  }
  return Outcome::kPass;
}

}  // namespace understudy::reports
