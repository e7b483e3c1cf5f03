#include "harness/checks/client_times.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/checks/observed_locks.h"

namespace understudy::harness {
namespace {

std::string OneLine(std::string text) {
  constexpr std::size_t kMost = 300;
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() <= kMost) return text;
  std::size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

// Finds the statement that a stall is to be blamed on. Who blocks whom, as the observer saw it, is
// the best witness; then the locks that the engine says it held; then what it was running.
class Blame {
 public:
  explicit Blame(const Evidence& evidence) {
    for (const Event& event : evidence.events()) {
      if (event.kind == "locks") {
        for (const Json& row : event.data.value("blocking", Json::array())) {
          AddBlocking(event, row);
        }
      } else if (event.kind == "held" && BlocksWriters(TextAt(event.data, "mode"))) {
        held_.push_back({{event.t_ms - NumberAt(event.data, "ms"), event.t_ms},
                         fmt::format("{} (held {} on {})", TextAt(event.data, "statement"),
                                     TextAt(event.data, "mode"), TextAt(event.data, "object"))});
      } else if (event.kind == "statement") {
        run_.push_back(
            {{event.t_ms - NumberAt(event.data, "ms"), event.t_ms}, TextAt(event.data, "sql")});
      }
    }
  }

  std::string Of(const Span& span) const {
    for (const auto* witnesses : {&blocking_, &held_, &run_}) {
      std::map<std::string, double> weights;
      for (const Witness& witness : *witnesses) {
        const bool met =
            witness.span.begin_ms <= span.end_ms && witness.span.end_ms >= span.begin_ms;
        if (met) weights[witness.statement] += 1e-3 + witness.span.Overlap(span);
      }
      const auto most =
          std::max_element(weights.begin(), weights.end(),
                           [](const auto& a, const auto& b) { return a.second < b.second; });
      if (most != weights.end()) return OneLine(most->first);
    }
    return "";
  }

 private:
  struct Witness {
    Span span;
    std::string statement;
  };

  // A client that waits for the engine, which may itself wait for a third: the queue behind it.
  void AddBlocking(const Event& event, const Json& row) {
    if (TextAt(row, "who") != "clients") return;
    std::string statement = TextAt(row, "blocker_statement");
    // The engine's own bookkeeping holds nobody up: an earlier statement's lock does (`held`).
    if (statement.empty() || statement.find("understudy.") != std::string::npos) return;
    for (const Json& other : event.data.value("blocking", Json::array())) {
      if (TextAt(other, "who") == "engine" && TextAt(other, "statement") == statement) {
        statement += " (itself waiting for: " + TextAt(other, "blocker_statement") + ")";
        break;
      }
    }
    const double waited = NumberAt(row, "waited_ms");
    blocking_.push_back({{event.t_ms - waited, event.t_ms}, statement});
  }

  std::vector<Witness> blocking_, held_, run_;
};

// Buckets that grow by 1 %: 2,400 of them reach from a microsecond to half a day.
class Histogram {
 public:
  void Add(double ms) {
    const double micros = std::max(ms * 1000, 1.0);
    const auto bucket = static_cast<std::size_t>(std::log(micros) / std::log(kGrowth));
    if (bucket >= counts_.size()) counts_.resize(bucket + 1);
    ++counts_[bucket];
    ++total_;
    max_ms_ = std::max(max_ms_, ms);
  }
  double Percentile(double share) const {
    const auto wanted = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(total_)));
    std::int64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted) {
        return std::min(max_ms_, std::pow(kGrowth, static_cast<double>(i) + 0.5) / 1000);
      }
    }
    return max_ms_;
  }
  Latency ToLatency() const {
    return {total_, Percentile(0.50), Percentile(0.95), Percentile(0.99), max_ms_};
  }

 private:
  static constexpr double kGrowth = 1.01;
  std::vector<std::int64_t> counts_;
  std::int64_t total_ = 0;
  double max_ms_ = 0;
};

}  // namespace

ClientTimes LongestOperations(const Evidence& evidence, std::size_t most) {
  ClientTimes times;
  const auto ledger = evidence.OpenLedger();
  if (!ledger) return times;
  times.operations = ledger->Scalar("SELECT count(*) FROM operations").AsInteger();
  const auto limit = db::Value::Integer(static_cast<std::int64_t>(most));
  for (const db::Row& row :
       ledger
           ->Query("SELECT started_ms, duration_ms, client, operation, database FROM operations"
                   " ORDER BY duration_ms DESC, started_ms LIMIT ?1",
                   {limit})
           .rows) {
    const double began = row[0].AsReal();
    times.longest.push_back({{began, began + (row[1].is_null() ? 0 : row[1].AsReal())},
                             row[2].TextOr(""),
                             row[3].TextOr(""),
                             row[4].TextOr(""),
                             "",
                             "",
                             false});
  }
  // Writes that never were settled: their clients waited until the run's end.
  const double end = EndOf(evidence);
  for (const db::Row& row :
       ledger
           ->Query("SELECT w.started_ms, w.client, w.operation, w.database FROM writes AS w"
                   " WHERE w.state = 'pending' AND w.id = (SELECT max(l.id) FROM writes AS l"
                   "   WHERE l.client = w.client AND l.state = 'pending')"
                   " GROUP BY w.client ORDER BY w.started_ms LIMIT ?1",
                   {limit})
           .rows) {
    const double began = row[0].AsReal();
    if (began >= end) continue;
    const auto told = ledger->Scalar(
        "SELECT count(*) FROM operations WHERE client = ?1 AND started_ms + duration_ms >= ?2",
        {row[1], row[0]});
    if (told.AsInteger() > 0) continue;
    times.longest.push_back(
        {{began, end}, row[1].TextOr(""), row[2].TextOr(""), row[3].TextOr(""), "", "", true});
    ++times.operations;
  }
  std::stable_sort(times.longest.begin(), times.longest.end(), [](const Stall& a, const Stall& b) {
    return a.span.length_ms() > b.span.length_ms();
  });
  if (times.longest.size() > most) times.longest.resize(most);
  const auto phases = PhasesOf(evidence);
  const Blame blame(evidence);
  for (Stall& stall : times.longest) {
    stall.phase = PhaseAt(phases, stall.span);
    stall.blamed = blame.Of(stall.span);
  }
  return times;
}

std::map<std::string, Latency> LatencyByPhase(const Evidence& evidence) {
  std::map<std::string, Histogram> histograms;
  const auto phases = PhasesOf(evidence);
  if (const auto ledger = evidence.OpenLedger()) {
    ledger->ForEachRow(
        "SELECT started_ms, duration_ms FROM operations WHERE duration_ms IS NOT NULL", {},
        [&](const db::Row& row) {
          const double began = row[0].AsReal();
          const double ms = row[1].AsReal();
          histograms[PhaseAt(phases, {began, began + ms})].Add(ms);
        });
  }
  std::map<std::string, Latency> latency;
  for (const auto& [phase, histogram] : histograms) latency[phase] = histogram.ToLatency();
  return latency;
}

}  // namespace understudy::harness
