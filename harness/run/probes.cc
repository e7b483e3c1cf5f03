#include "harness/run/probes.h"

#include <algorithm>

#include "harness/compare/digest.h"
#include "harness/run/comparisons.h"
#include "harness/run/row_probes.h"

namespace understudy::harness {
namespace {

bool Off(const Rehearsal& rehearsal, const std::string& check) {
  return rehearsal.scenario.checks.contains(check) &&
         rehearsal.scenario.checks[check].contains("off");
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
std::string LastSnapshot(const Rehearsal& rehearsal) {
  if (rehearsal.snapshot_names().empty()) return "";
  return std::ranges::find(rehearsal.snapshot_names(), "after") != rehearsal.snapshot_names().end()
             ? "after"
             : rehearsal.snapshot_names().back();
}

std::string FirstSnapshot(const Rehearsal& rehearsal) {
  return std::ranges::find(rehearsal.snapshot_names(), "before") != rehearsal.snapshot_names().end()
             ? "before"
             : rehearsal.snapshot_names().front();
}

// Fresh copies of every database at snapshot `name`, to be changed by a probe.
struct Copies {
  std::map<std::string, std::unique_ptr<Lease>> leases;
  std::map<std::string, db::Endpoint> endpoints;
};

constexpr std::string_view kNoCopy = "no-copy";

[[noreturn]] void ThrowNoCopy(Rehearsal& rehearsal, const std::string& name,
                              const std::string& database) {
  const bool external = rehearsal.Database(database).provision() == "external";
  throw Error(
      ErrorKind::kUnsupported,
      external ? "it would have to be tried on a copy, and none is made of the external "
                 "database " +
                     database
               : "no copy of " + name + ":" + database + " was held: somebody was connected to it",
      std::string(kNoCopy));
}

Copies CopiesOf(Rehearsal& rehearsal, const std::string& name, const std::string& label) {
  Copies copies;
  for (const DatabaseSpec& database : rehearsal.scenario.databases) {
    Lease* held = rehearsal.Held(name, database.name);
    if (held == nullptr) ThrowNoCopy(rehearsal, name, database.name);
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

// A migration whose databases are not known was not compared: never a silent pass.
std::vector<std::string> DatabasesToCompare(const Json& migration, const Copies& copies) {
  const std::vector<std::string> names = DatabasesOf(migration, copies);
  if (names.empty()) {
    throw Error(ErrorKind::kUnsupported,
                "the migration names none of the scenario's databases (on, source, target): there "
                "is nothing to compare");
  }
  return names;
}

// Runs the migration once more on what it left: it must find nothing to do and change nothing.
void Idempotent(Rehearsal& rehearsal, const std::string& migration, const Json& document) {
  const std::string last = LastSnapshot(rehearsal);
  const Copies copies = CopiesOf(rehearsal, last, "idempotent");
  // A tool is really called again; our journal would answer for it.
  const std::string suffix = document.value("strategy", "") == "command" ? "-again" : "";
  const EngineResult result = rehearsal.RunEngineOn(
      migration, {{"verb", "run"}, {"through", "verify"}}, copies.endpoints, suffix);
  const bool ran = result.outcome == "done" || result.outcome == "nothing";
  rehearsal.Tell(
      "idempotent", "", migration, ran ? "ok" : "failed",
      ran ? "ran once more: " + result.outcome : "running it once more: " + result.message);
  if (!ran) return;
  for (const std::string& database : DatabasesToCompare(document, copies)) {
    const Snapshot* before = rehearsal.Taken(last, database);
    DiffAndTell(rehearsal, "idempotent", last + ":" + database, "again:" + database, *before,
                SnapshotOf(copies.endpoints.at(database)));
    CompareAndTell(rehearsal, "idempotent", last + ":" + database, "again:" + database,
                   rehearsal.Held(last, database)->endpoint(), copies.endpoints.at(database),
                   database, false);
  }
}

// Down: must give the first snapshot again. Up again: must give the last one again.
void UpDownUp(Rehearsal& rehearsal, const std::string& migration, const Json& document) {
  const std::string first = FirstSnapshot(rehearsal);
  const std::string last = LastSnapshot(rehearsal);
  const Copies copies = CopiesOf(rehearsal, last, "updownup");
  const EngineResult down =
      rehearsal.RunEngineOn(migration, {{"verb", "rollback"}}, copies.endpoints);
  const bool went_down = down.outcome == "done";
  rehearsal.Tell("up-down-up", "", migration + " down", went_down ? "ok" : "failed",
                 went_down ? "went down" : "going down: " + down.outcome + " " + down.message);
  if (!went_down) return;
  for (const std::string& database : DatabasesToCompare(document, copies)) {
    if (rehearsal.Held(first, database) == nullptr) ThrowNoCopy(rehearsal, first, database);
    DiffAndTell(rehearsal, "up-down-up", first + ":" + database, "down:" + database,
                *rehearsal.Taken(first, database), SnapshotOf(copies.endpoints.at(database)));
    CompareAndTell(rehearsal, "up-down-up", first + ":" + database, "down:" + database,
                   rehearsal.Held(first, database)->endpoint(), copies.endpoints.at(database),
                   database, true);
  }
  const EngineResult up =
      rehearsal.RunEngineOn(migration, {{"verb", "run"}, {"through", "verify"}}, copies.endpoints);
  const bool went_up = up.outcome == "done";
  rehearsal.Tell("up-down-up", "", migration + " up again", went_up ? "ok" : "failed",
                 went_up ? "went up again" : "going up again: " + up.outcome + " " + up.message);
  if (!went_up) return;
  for (const std::string& database : DatabasesToCompare(document, copies)) {
    DiffAndTell(rehearsal, "up-down-up", last + ":" + database, "up again:" + database,
                *rehearsal.Taken(last, database), SnapshotOf(copies.endpoints.at(database)));
    CompareAndTell(rehearsal, "up-down-up", last + ":" + database, "up again:" + database,
                   rehearsal.Held(last, database)->endpoint(), copies.endpoints.at(database),
                   database, false);
  }
}

// The migrations that one check could not be tried on, for want of a copy. When there was none that
// it could be tried on, the check itself was not made.
struct Untried {
  std::string check;
  int tried = 0;
  std::vector<std::pair<std::string, std::string>> untried = {};  // object, why

  void Tell(Rehearsal& rehearsal) const {
    for (const auto& [object, why] : untried) {
      rehearsal.evidence.NotChecked(tried > 0 ? check + " of " + object : "check:" + check, why);
    }
  }
};

template <typename Probe>
void Guarded(Rehearsal& rehearsal, Untried& check, const std::string& object, Probe probe) {
  rehearsal.ThrowIfStopped();
  try {
    probe();
    ++check.tried;
  } catch (const Error& error) {
    if (error.code() == "stop") throw;
    if (error.code() == kNoCopy) {
      check.untried.emplace_back(object, error.message());
      return;
    }
    ++check.tried;
    rehearsal.Tell(check.check, "", object, "unknown", error.what());
  }
}

// Rows are tried on a copy of the last snapshot, else of what is there now, else in the database
// itself.
void ProbeRowsSomewhere(Rehearsal& rehearsal, const std::string& last,
                        const std::string& database) {
  Lease& lease = rehearsal.Database(database);
  std::unique_ptr<Lease> copy;
  try {
    Lease* held = rehearsal.Held(last, database);
    copy = (held != nullptr ? *held : lease).Clone("probe");
  } catch (const Error& error) {
    if (lease.provision() != "external" && error.kind() != ErrorKind::kConflict) throw;
  }
  const bool tried = copy ? ProbeRows(rehearsal, database, copy->endpoint(), ProbeWhere::kCopy)
                          : ProbeRows(rehearsal, database, lease.endpoint(), ProbeWhere::kInPlace);
  if (copy || tried) return;
  throw Error(ErrorKind::kUnsupported,
              "no insert could be tried in the external database " + database +
                  " in a transaction that is rolled back",
              std::string(kNoCopy));
}

// Whether a migration reads the database and none changes it.
bool IsSourceOnly(const Rehearsal& rehearsal, const std::string& database) {
  bool source = false;
  for (const auto& [name, document] : rehearsal.scenario.migrations) {
    if (document.value("strategy", "") == "hot-copy") continue;  // `not_served` says of both sides
    source = source || document.value("source", "") == database;
    for (const char* role : {"on", "target"}) {
      if (document.value(role, "") == database) return false;
    }
  }
  return source;
}

}  // namespace

void ProbeCopies(Rehearsal& rehearsal, const std::map<std::string, std::string>& not_served) {
  if (rehearsal.snapshot_names().empty()) return;
  const std::string last = LastSnapshot(rehearsal);
  Untried write_after{"write-after"};
  const bool wanted = std::ranges::any_of(
      std::initializer_list<const char*>{"write-after", "constraints", "orphans", "sequences"},
      [&](const char* check) { return !Off(rehearsal, check); });
  for (const DatabaseSpec& database : rehearsal.scenario.databases) {
    if (!wanted) break;
    if (const auto it = not_served.find(database.name); it != not_served.end()) {
      rehearsal.evidence.NotChecked("write-after of database " + database.name, it->second);
      continue;
    }
    if (IsSourceOnly(rehearsal, database.name)) {
      rehearsal.evidence.NotChecked("write-after of database " + database.name,
                                    "it is the source of a migration");
      continue;
    }
    Guarded(rehearsal, write_after, database.name,
            [&] { ProbeRowsSomewhere(rehearsal, last, database.name); });
  }
  write_after.Tell(rehearsal);
  if (std::ranges::none_of(rehearsal.scenario.migrations,
                           [&](const auto& m) { return rehearsal.IsDone(m.first); })) {
    for (const char* check : {"idempotent", "up-down-up"}) {
      rehearsal.evidence.NotChecked("check:" + std::string(check),
                                    "no migration is in service in the end");
    }
  }
  Untried idempotent{"idempotent"};
  Untried up_down_up{"up-down-up"};
  for (const auto& [name, document] : rehearsal.scenario.migrations) {
    const std::string strategy = document.value("strategy", "");
    if (strategy != "sql" && strategy != "command") {
      rehearsal.evidence.NotChecked("check:idempotent",
                                    "the strategy is not run again on a copy of its databases");
      continue;
    }
    if (!rehearsal.IsDone(name)) continue;
    if (!Off(rehearsal, "idempotent")) {
      Guarded(rehearsal, idempotent, name,
              [&, name = name, document = document] { Idempotent(rehearsal, name, document); });
    }
    const bool layout_has_down = strategy == "sql" && document.value("layout", "auto") != "plain" &&
                                 document.contains("up") && document["up"].is_string() &&
                                 std::filesystem::is_directory(document["up"].get<std::string>());
    const bool has_down = document.contains("down") && !document["down"].is_null();
    if ((!has_down && !layout_has_down) || Off(rehearsal, "up-down-up")) continue;
    Guarded(rehearsal, up_down_up, name,
            [&, name = name, document = document] { UpDownUp(rehearsal, name, document); });
  }
  idempotent.Tell(rehearsal);
  up_down_up.Tell(rehearsal);
}

}  // namespace understudy::harness
