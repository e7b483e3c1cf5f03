#include "harness/checks/observed_locks.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <tuple>

#include "harness/checks/facts.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

constexpr double kSlackMs = 50;  // a sampler's lateness on a busy machine

std::string WithoutKind(const std::string& object) {
  const auto colon = object.find(':');
  return colon == std::string::npos || object.find('"') < colon ? object : object.substr(colon + 1);
}

// Relations of the user's; transaction ids, advisory locks and the like have no dot.
bool IsUsers(const std::string& object) {
  return object.find('.') != std::string::npos && !object.starts_with("pg_") &&
         !object.starts_with("information_schema.") && !IsOwnTable(object);
}

bool Renames(const Evidence& evidence) {
  for (const Event* event : evidence.OfKind("statement")) {
    std::string sql = TextAt(event->data, "sql");
    std::transform(sql.begin(), sql.end(), sql.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (sql.find("rename") != std::string::npos) return true;
  }
  return false;
}

// What was there before the first migrate step; empty when it is not known. A renamed table is new
// only by name, and steps of plain SQL may add tables after the snapshot: then it is not known.
std::set<std::string> KnownBefore(const Evidence& evidence) {
  std::set<std::string> known;
  const auto snapshots = evidence.OfKind("snapshot");
  if (snapshots.empty() || PlansStep(evidence, "exec") || Renames(evidence)) return known;
  const std::string first = TextAt(snapshots.front()->data, "name");
  for (const std::string& database : DatabaseNames(evidence)) {
    const auto content = evidence.Snapshot(first, database);
    if (!content) return {};
    for (const CatalogObject& object : Snapshot::FromJson(*content).objects) {
      known.insert(WithoutKind(object.path));
    }
  }
  return known;
}

// What the observer's pictures say of the engine's granted locks.
struct Samples {
  bool reliable = false;  // the observer was there and missed nothing
  double period_ms = 0;
  std::map<std::pair<std::string, std::string>, std::vector<Span>> granted;

  std::vector<Span> Of(const std::string& object, const std::string& mode) const {
    const auto found = granted.find({object, mode});
    return found == granted.end() ? std::vector<Span>() : found->second;
  }
};

Samples SamplesOf(const Evidence& evidence) {
  Samples samples;
  const auto observers = evidence.OfKind("observer");
  // One that saw nothing, of any database, is enough: its silence would shorten a lock.
  samples.reliable = !observers.empty();
  for (const Event* event : observers) {
    samples.period_ms = std::max(samples.period_ms, NumberAt(event->data, "period_ms"));
    if (NumberAt(event->data, "samples") <= 0 || NumberAt(event->data, "errors") > 0) {
      samples.reliable = false;
    }
  }
  using Key = std::tuple<std::string, std::string, std::string>;  // pid, object, mode
  std::map<std::string, std::map<Key, Span>> open;                // by database
  const auto close = [&](const Key& key, const Span& span) {
    samples.granted[{std::get<1>(key), std::get<2>(key)}].push_back(span);
  };
  for (const Event* event : evidence.OfKind("locks")) {
    auto& before = open[TextAt(event->data, "database")];
    std::map<Key, Span> now;
    for (const Json& row : event->data.value("rows", Json::array())) {
      if (TextAt(row, "who") != "engine" || row.value("granted", Json(true)) == false) continue;
      const Key key{TextAt(row, "pid"), WithoutKind(TextAt(row, "object")), TextAt(row, "mode")};
      const auto known = before.find(key);
      now[key] = {known == before.end() ? event->t_ms : known->second.begin_ms, event->t_ms};
    }
    // A picture is written only when it changed: what is gone now was there one period ago.
    for (const auto& [key, span] : before) {
      if (now.contains(key)) continue;
      close(key, {span.begin_ms, std::max(span.end_ms, event->t_ms - samples.period_ms)});
    }
    before = std::move(now);
  }
  for (const auto& [database, spans] : open) {
    for (const auto& [key, span] : spans) close(key, span);
  }
  return samples;
}

}  // namespace

bool BlocksWriters(const std::string& mode) {
  return mode == "ShareLock" || mode == "ShareRowExclusiveLock" || mode == "ExclusiveLock" ||
         mode == "AccessExclusiveLock";
}

std::vector<LockSeen> LocksSeen(const Evidence& evidence) {
  std::map<std::pair<std::string, std::string>, LockSeen> locks;
  const auto at = [&](const Json& json) -> LockSeen* {
    const std::string object = WithoutKind(TextAt(json, "object"));
    if (!IsUsers(object)) return nullptr;
    const std::string mode = TextAt(json, "mode");
    LockSeen& lock = locks[{object, mode}];
    lock.object = object;
    lock.mode = mode;
    return &lock;
  };
  const auto longer = [](LockSeen& lock, double ms, const std::string& statement) {
    if (ms < lock.held_ms) return;
    lock.held_ms = ms;
    if (!statement.empty()) lock.statement = statement;
  };
  const Samples samples = SamplesOf(evidence);
  std::set<const LockSeen*> accounted;  // by `held`
  for (const Event* event : evidence.OfKind("held")) {
    LockSeen* lock = at(event->data);
    if (lock == nullptr) continue;
    lock->at_point = true;
    // The transaction tells when it asked for the lock (`ms`) and when it certainly had it
    // (`seen_ms`): waiting is not holding, and the samples tell the two apart.
    const double asked = NumberAt(event->data, "ms");
    double held = asked;
    if (samples.reliable) {
      const Span span{event->t_ms - asked, event->t_ms};
      double granted = 0;
      for (const Span& seen : samples.Of(lock->object, lock->mode)) granted += seen.Overlap(span);
      held = std::min(asked, std::max(NumberAt(event->data, "seen_ms", asked),
                                      granted + 2 * samples.period_ms + kSlackMs));
    }
    longer(*lock, held, TextAt(event->data, "statement"));
    lock->waited_ms = std::max(lock->waited_ms, asked - held);
    accounted.insert(lock);
  }
  for (const Event* event : evidence.OfKind("statement")) {
    for (const Json& one : event->data.value("locks", Json::array())) {
      LockSeen* lock = at(one);
      if (lock == nullptr) continue;
      lock->at_point = true;
      // Without the transaction's account the statement's own time is what is known.
      if (!accounted.contains(lock)) {
        longer(*lock, NumberAt(event->data, "ms"), TextAt(event->data, "sql"));
      }
    }
  }
  for (const Event* event : evidence.OfKind("locks")) {
    for (const Json& row : event->data.value("rows", Json::array())) {
      if (TextAt(row, "who") != "engine") continue;
      LockSeen* lock = at(row);
      if (lock == nullptr) continue;
      lock->at_point |= TextAt(event->data, "seen") == "point";
      if (lock->statement.empty()) lock->statement = TextAt(row, "statement");
      if (row.value("granted", Json(true)) != false) continue;
      lock->waited_ms = std::max(lock->waited_ms, NumberAt(row, "waited_ms"));
    }
  }
  for (auto& [key, lock] : locks) {
    if (accounted.contains(&lock)) continue;
    for (const Span& seen : samples.Of(lock.object, lock.mode)) longer(lock, seen.length_ms(), "");
  }

  const auto known = KnownBefore(evidence);
  std::vector<LockSeen> sorted;
  for (auto& [key, lock] : locks) {
    lock.is_new = !known.empty() && !known.contains(lock.object);
    sorted.push_back(lock);
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const LockSeen& a, const LockSeen& b) { return a.held_ms > b.held_ms; });
  return sorted;
}

}  // namespace understudy::harness
