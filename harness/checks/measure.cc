#include "harness/checks/measure.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "harness/checks/client_times.h"
#include "harness/checks/facts.h"
#include "harness/checks/observed_locks.h"

namespace understudy::harness {
namespace {

constexpr std::size_t kMostStalls = 20;
constexpr std::size_t kMostLocks = 200;

double Rounded(double ms) { return std::max(0.0, std::round(ms * 1000) / 1000); }

Json TextOrNull(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json Stalls(const ClientTimes& times) {
  Json stalls = Json::array();
  for (const Stall& stall : times.longest) {
    stalls.push_back({{"started_ms", Rounded(stall.span.begin_ms)},
                      {"duration_ms", Rounded(stall.span.length_ms())},
                      {"client", stall.client},
                      {"operation", stall.operation},
                      {"phase", stall.phase},
                      {"blamed", TextOrNull(stall.blamed)}});
  }
  return stalls;
}

Json Latencies(const Evidence& evidence) {
  Json all = Json::object();
  for (const auto& [phase, latency] : LatencyByPhase(evidence)) {
    all[phase] = {{"operations", latency.operations},
                  {"p50_ms", Rounded(latency.p50_ms)},
                  {"p95_ms", Rounded(latency.p95_ms)},
                  {"p99_ms", Rounded(latency.p99_ms)},
                  {"max_ms", Rounded(latency.max_ms)}};
  }
  return all;
}

Json Locks(const Evidence& evidence) {
  Json locks = Json::array();
  for (const LockSeen& lock : LocksSeen(evidence)) {
    if (locks.size() == kMostLocks) break;
    locks.push_back({{"object", lock.object},
                     {"mode", lock.mode},
                     {"held_ms", Rounded(lock.held_ms)},
                     {"waited_ms", Rounded(lock.waited_ms)},
                     {"statement", TextOrNull(lock.statement)},
                     {"seen", lock.at_point ? "point" : "sample"}});
  }
  return locks;
}

// The ledger's own counts; what was pending in the end is unknown.
Json Writes(const Evidence& evidence) {
  std::map<std::string, std::int64_t> counts;
  if (const auto ledger = evidence.OpenLedger()) {
    for (const db::Row& row :
         ledger
             ->Query("SELECT CASE state WHEN 'pending' THEN 'unknown' ELSE state END, count(*)"
                     " FROM writes GROUP BY 1")
             .rows) {
      counts[row[0].TextOr("unknown")] = row[1].AsInteger();
    }
  }
  const std::int64_t attempted =
      counts["acknowledged"] + counts["refused"] + counts["unknown"] + counts["rolled_back"];
  return {{"attempted", attempted},
          {"acknowledged", counts["acknowledged"]},
          {"refused", counts["refused"]},
          {"unknown", counts["unknown"]},
          {"rolled_back", counts["rolled_back"]}};
}

}  // namespace

Json Measure(const Evidence& evidence) {
  const ClientTimes times = LongestOperations(evidence, kMostStalls);
  std::int64_t rows = 0;
  std::int64_t bytes = 0;
  for (const Event* event : evidence.OfKind("comparison")) {
    const std::string use = TextAt(event->data, "use");
    if (use != "rows" && use != "step") continue;
    const Json result = event->data.value("result", Json::object());
    rows += static_cast<std::int64_t>(NumberAt(result, "rows_compared"));
    bytes += static_cast<std::int64_t>(NumberAt(result, "bytes_compared"));
  }
  std::map<std::string, std::int64_t> wal;
  for (const Event* event : evidence.OfKind("size")) {
    if (!HasNumber(event->data, "wal_bytes")) continue;
    std::int64_t& most = wal[TextAt(event->data, "database")];
    most = std::max(most, static_cast<std::int64_t>(NumberAt(event->data, "wal_bytes")));
  }
  Json wal_bytes = nullptr;
  for (const auto& [database, most] : wal) {
    wal_bytes = (wal_bytes.is_null() ? 0 : wal_bytes.get<std::int64_t>()) + most;
  }
  Json period = nullptr;
  for (const Event* event : evidence.OfKind("observer")) {
    const double ms = NumberAt(event->data, "period_ms");
    if (ms > 0 && (period.is_null() || ms > period.get<double>())) period = ms;
  }
  return {
      {"longest_stall_ms",
       times.longest.empty() ? Json(nullptr) : Json(Rounded(times.longest[0].span.length_ms()))},
      {"stalls", Stalls(times)},
      {"latency", Latencies(evidence)},
      {"locks", Locks(evidence)},
      {"sample_period_ms", period},
      {"writes", Writes(evidence)},
      {"rows_compared", rows},
      {"bytes_compared", bytes},
      {"wal_bytes", wal_bytes}};
}

}  // namespace understudy::harness
