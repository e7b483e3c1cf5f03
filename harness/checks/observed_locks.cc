#include "harness/checks/observed_locks.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "harness/checks/facts.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

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
  std::set<const LockSeen*> accounted;  // by `held`
  for (const Event* event : evidence.OfKind("held")) {
    LockSeen* lock = at(event->data);
    if (lock == nullptr) continue;
    lock->at_point = true;
    longer(*lock, NumberAt(event->data, "ms"), TextAt(event->data, "statement"));
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
  struct Stretch {
    double first = 0;
    double last = 0;
    LockSeen* lock = nullptr;
  };
  double period = 0;
  for (const Event* event : evidence.OfKind("observer")) {
    period = std::max(period, NumberAt(event->data, "period_ms"));
  }
  std::map<std::string, std::map<std::string, Stretch>> open;  // by database, by pid/object/mode
  for (const Event* event : evidence.OfKind("locks")) {
    auto& before = open[TextAt(event->data, "database")];
    std::map<std::string, Stretch> now;
    for (const Json& row : event->data.value("rows", Json::array())) {
      if (TextAt(row, "who") != "engine") continue;
      LockSeen* lock = at(row);
      if (lock == nullptr) continue;
      lock->at_point |= TextAt(event->data, "seen") == "point";
      if (row.value("granted", Json(true)) == false) {
        lock->waited_ms = std::max(lock->waited_ms, NumberAt(row, "waited_ms"));
        if (lock->statement.empty()) lock->statement = TextAt(row, "statement");
        continue;
      }
      const std::string id = TextAt(row, "pid") + "/" + lock->object + "/" + lock->mode;
      const auto known = before.find(id);
      const double first = known == before.end() ? event->t_ms : known->second.first;
      now[id] = {first, event->t_ms, lock};
      if (!accounted.contains(lock)) {
        longer(*lock, event->t_ms - first, TextAt(row, "statement"));
      }
    }
    // The observer writes a picture only when it changed: a lock that is gone now was still there
    // one period ago.
    for (const auto& [id, stretch] : before) {
      if (now.contains(id) || accounted.contains(stretch.lock)) continue;
      longer(*stretch.lock, std::max(stretch.last, event->t_ms - period) - stretch.first, "");
    }
    before = std::move(now);
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
