#include "harness/run/probes.h"

#include <algorithm>

#include "harness/compare/digest.h"
#include "harness/run/comparisons.h"
#include "harness/run/row_probes.h"

namespace understudy::harness {
namespace {

bool Off(const Stage& stage, const std::string& check) {
  return stage.scenario.checks.contains(check) && stage.scenario.checks[check].contains("off");
}

void Tell(Stage& stage, const std::string& check, const std::string& database,
          const std::string& object, const std::string& result, const std::string& detail) {
  stage.evidence.Add("probe", {{"check", check},
                               {"database", database},
                               {"object", object},
                               {"result", result},
                               {"detail", detail}});
}

Snapshot SnapshotOf(const db::Endpoint& endpoint) {
  Snapshot snapshot;
  {
    const auto session = db::Connect(endpoint, {.application_name = "understudy-snapshot"});
    snapshot = TakeCatalog(*session);
  }
  return snapshot;
}

// The state after the last migrate step: the last snapshot's copies, the journal still in them.
std::string LastSnapshot(const Stage& stage) {
  if (stage.snapshot_names().empty()) return "";
  return std::ranges::find(stage.snapshot_names(), "after") != stage.snapshot_names().end()
             ? "after"
             : stage.snapshot_names().back();
}

std::string FirstSnapshot(const Stage& stage) {
  return std::ranges::find(stage.snapshot_names(), "before") != stage.snapshot_names().end()
             ? "before"
             : stage.snapshot_names().front();
}

// Fresh copies of every database at snapshot `name`, to be changed by a probe.
struct Copies {
  std::map<std::string, std::unique_ptr<Lease>> leases;
  std::map<std::string, db::Endpoint> endpoints;
};

Copies CopiesOf(Stage& stage, const std::string& name, const std::string& label) {
  Copies copies;
  for (const DatabaseSpec& database : stage.scenario.databases) {
    Lease* held = stage.Held(name, database.name);
    if (held == nullptr) {
      throw Error(ErrorKind::kUnsupported,
                  "no copy of " + name + ":" + database.name + " was held (see not_checked)");
    }
    auto copy = held->Clone(label);
    copies.endpoints.emplace(database.name, copy->endpoint());
    copies.leases.emplace(database.name, std::move(copy));
  }
  return copies;
}

// The databases that the migration names.
std::vector<std::string> DatabasesOf(const Json& migration, const Copies& copies) {
  std::vector<std::string> names;
  for (const char* role : {"on", "source", "target"}) {
    if (migration.contains(role) && migration[role].is_string() &&
        copies.endpoints.contains(migration[role].get<std::string>())) {
      names.push_back(migration[role]);
    }
  }
  return names;
}

// Runs the migration once more on what it left: it must find nothing to do and change nothing.
void Idempotent(Stage& stage, const std::string& migration, const Json& document) {
  const std::string last = LastSnapshot(stage);
  const Copies copies = CopiesOf(stage, last, "idempotent");
  // A tool is really called again; our journal would answer for it.
  const std::string suffix = document.value("strategy", "") == "command" ? "-again" : "";
  const EngineResult result = stage.RunEngineOn(migration, {{"verb", "run"}, {"through", "verify"}},
                                                copies.endpoints, suffix);
  const bool ran = result.outcome == "done" || result.outcome == "nothing";
  Tell(stage, "idempotent", "", migration, ran ? "ok" : "failed",
       ran ? "ran once more: " + result.outcome : "running it once more: " + result.message);
  if (!ran) return;
  for (const std::string& database : DatabasesOf(document, copies)) {
    const Snapshot* before = stage.Taken(last, database);
    DiffAndTell(stage, "idempotent", last + ":" + database, "again:" + database, *before,
                SnapshotOf(copies.endpoints.at(database)));
    CompareAndTell(stage, "idempotent", last + ":" + database, "again:" + database,
                   stage.Held(last, database)->endpoint(), copies.endpoints.at(database), database,
                   false);
  }
}

// Down: must give the first snapshot again. Up again: must give the last one again.
void UpDownUp(Stage& stage, const std::string& migration, const Json& document) {
  const std::string first = FirstSnapshot(stage);
  const std::string last = LastSnapshot(stage);
  const Copies copies = CopiesOf(stage, last, "updownup");
  const EngineResult down = stage.RunEngineOn(migration, {{"verb", "rollback"}}, copies.endpoints);
  const bool went_down = down.outcome == "done";
  Tell(stage, "up-down-up", "", migration + " down", went_down ? "ok" : "failed",
       went_down ? "went down" : "going down: " + down.outcome + " " + down.message);
  if (!went_down) return;
  for (const std::string& database : DatabasesOf(document, copies)) {
    if (stage.Held(first, database) == nullptr) continue;
    DiffAndTell(stage, "up-down-up", first + ":" + database, "down:" + database,
                *stage.Taken(first, database), SnapshotOf(copies.endpoints.at(database)));
    CompareAndTell(stage, "up-down-up", first + ":" + database, "down:" + database,
                   stage.Held(first, database)->endpoint(), copies.endpoints.at(database), database,
                   true);
  }
  const EngineResult up =
      stage.RunEngineOn(migration, {{"verb", "run"}, {"through", "verify"}}, copies.endpoints);
  const bool went_up = up.outcome == "done";
  Tell(stage, "up-down-up", "", migration + " up again", went_up ? "ok" : "failed",
       went_up ? "went up again" : "going up again: " + up.outcome + " " + up.message);
  if (!went_up) return;
  for (const std::string& database : DatabasesOf(document, copies)) {
    DiffAndTell(stage, "up-down-up", last + ":" + database, "up again:" + database,
                *stage.Taken(last, database), SnapshotOf(copies.endpoints.at(database)));
    CompareAndTell(stage, "up-down-up", last + ":" + database, "up again:" + database,
                   stage.Held(last, database)->endpoint(), copies.endpoints.at(database), database,
                   false);
  }
}

template <typename Probe>
void Guarded(Stage& stage, const std::string& check, const std::string& object, Probe probe) {
  stage.ThrowIfStopped();
  if (Off(stage, check)) return;
  try {
    probe();
  } catch (const Error& error) {
    if (error.code() == "stop") throw;
    Tell(stage, check, "", object, "unknown", error.what());
  }
}

}  // namespace

void ProbeCopies(Stage& stage) {
  if (stage.snapshot_names().empty()) return;
  const std::string last = LastSnapshot(stage);
  for (const DatabaseSpec& database : stage.scenario.databases) {
    Guarded(stage, "write-after", database.name, [&] {
      Lease* held = stage.Held(last, database.name);
      if (held == nullptr) {
        throw Error(ErrorKind::kUnsupported,
                    "no copy of " + last + ":" + database.name + " was held (see not_checked)");
      }
      const auto copy = held->Clone("probe");
      ProbeRows(stage, database.name, copy->endpoint());
    });
  }
  for (const auto& [name, document] : stage.scenario.migrations) {
    const std::string strategy = document.value("strategy", "");
    if (strategy != "sql" && strategy != "command") continue;
    Guarded(stage, "idempotent", name,
            [&, name = name, document = document] { Idempotent(stage, name, document); });
    const bool layout_has_down = strategy == "sql" && document.value("layout", "auto") != "plain" &&
                                 document.contains("up") && document["up"].is_string() &&
                                 std::filesystem::is_directory(document["up"].get<std::string>());
    const bool has_down = document.contains("down") && !document["down"].is_null();
    if (!has_down && !layout_has_down) continue;
    Guarded(stage, "up-down-up", name,
            [&, name = name, document = document] { UpDownUp(stage, name, document); });
  }
}

}  // namespace understudy::harness
