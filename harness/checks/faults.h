#pragma once

#include <string>
#include <vector>

#include "harness/checks/facts.h"

// What the scenario's faults did, and which errors of clients they explain.
namespace understudy::harness {

struct FaultRun {
  std::size_t index = 0;
  std::string kind;
  std::string at;  // a point, "step NAME", or "MS ms"
  int struck = 0;
  std::vector<Span> windows;  // from each strike to its end (or the run's)
};
// One for each of the scenario's "faults", also those that never struck.
std::vector<FaultRun> FaultsOf(const Evidence& evidence);

// Whether an error with `sqlstate` ("" for a lost connection) in `span` is the doing of a fault, of
// a restart step, or of what these cut short.
class Explanations {
 public:
  explicit Explanations(const Evidence& evidence);
  bool Explains(const std::string& sqlstate, bool outcome_unknown, const Span& span) const;

 private:
  struct Window {
    Span span;
    bool cuts;   // connections are lost or refused
    bool holds;  // locks are held: others time out or are cancelled
  };
  std::vector<Window> windows_;
};

}  // namespace understudy::harness
