#pragma once

#include <map>
#include <string>
#include <vector>

#include "harness/checks/facts.h"

// What the clients lived through, measured on their side: the longest operations, and latency by
// phase.
namespace understudy::harness {

struct Stall {
  Span span;
  std::string client;
  std::string operation;
  std::string database;
  std::string phase;
  std::string blamed;  // "" when nothing was seen
  bool open = false;   // it had not ended when the run did
};
struct ClientTimes {
  std::int64_t operations = 0;
  std::vector<Stall> longest;  // longest first
};
// The `most` longest single operations of any client, also those that never ended.
ClientTimes LongestOperations(const Evidence& evidence, std::size_t most);

struct Latency {
  std::int64_t operations = 0;
  double p50_ms = 0;
  double p95_ms = 0;
  double p99_ms = 0;
  double max_ms = 0;
};
// By phase, "idle" outside of all. Percentiles within 1 % of their value; memory stays flat.
std::map<std::string, Latency> LatencyByPhase(const Evidence& evidence);

}  // namespace understudy::harness
