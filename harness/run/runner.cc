// One rehearsal, told in order. Read this first.
#include "harness/run/runner.h"

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "harness/run/comparisons.h"
#include "harness/run/hot_copied.h"
#include "harness/run/probes.h"
#include "harness/run/rehearsal.h"
#include "harness/run/steps.h"
#include "harness/run/swapped.h"

namespace understudy::harness {
namespace {

void TellScenario(const Scenario& scenario, const RunOptions& options, EvidenceWriter& evidence) {
  evidence.Add("scenario", {{"name", scenario.name},
                            {"file", scenario.file.string()},
                            {"file_sha256", scenario.file_sha256},
                            {"seed", scenario.seed},
                            {"started_at", UtcNow()},
                            {"command", options.command},
                            {"tool", options.tool},
                            {"host", options.host}});
}

// Rows and bytes of each database as the scenario begins.
void TellDatabases(Rehearsal& rehearsal) {
  for (const DatabaseSpec& spec : rehearsal.scenario.databases) {
    Lease& lease = rehearsal.Database(spec.name);
    const bool postgres = spec.engine == "postgres";
    const auto size = [&] {
      const auto session = db::Connect(lease.endpoint(), {.application_name = "understudy-runner"});
      return session
          ->Scalar(postgres ? "SELECT pg_database_size(current_database())"
                            : "SELECT (SELECT page_count FROM pragma_page_count()) * "
                              "(SELECT page_size FROM pragma_page_size())")
          .AsInteger();
    };
    const std::int64_t bytes = lease.IsThere() ? size() : 0;
    rehearsal.evidence.Add("database", {{"name", spec.name},
                                        {"engine", spec.engine},
                                        {"version", lease.version()},
                                        {"provision", lease.provision()},
                                        {"rows", nullptr},  // counted by the first snapshot
                                        {"bytes", bytes}});
  }
}

// The catalogs as they are in the end: the check `leftovers` finds there what a cleanup forgot.
void TellEnd(Rehearsal& rehearsal) {
  for (const DatabaseSpec& spec : rehearsal.scenario.databases) {
    const auto started = SteadyClock::now();
    Lease& lease = rehearsal.Database(spec.name);
    const auto take = [&] {
      const auto session =
          db::Connect(lease.endpoint(), {.application_name = "understudy-snapshot"});
      return TakeCatalog(*session);
    };
    StoreSnapshot(rehearsal.evidence.folder(), "$end", spec.name,
                  (lease.IsThere() ? take() : Snapshot{}).ToJson());
    rehearsal.evidence.Add("snapshot", {{"name", "$end"},
                                        {"database", spec.name},
                                        {"rows", nullptr},
                                        {"ms", MillisecondsSince(started)}});
  }
}

// After the last step, nobody writes any more: what is there is read, compared and tried.
void Examine(Rehearsal& rehearsal) {
  rehearsal.ThrowIfStopped();
  std::map<std::string, std::string> map;
  if (rehearsal.scenario.checks.contains("rows")) {
    const Json given = rehearsal.scenario.checks["rows"].value("map", Json::object());
    for (const auto& [from, to] : given.items()) {
      map.emplace(from, to.get<std::string>());
    }
  }
  rehearsal.ledger.Flush();
  TellEnd(rehearsal);
  const Evidence evidence = Evidence::Read(rehearsal.evidence.folder());  // what was told so far
  const HotCopies hot_copies(evidence);
  HotCopied hot_copied(rehearsal, hot_copies);
  const ActorContext where = hot_copied.WhereToLook();
  Observe(where, map);
  const Swaps swaps(evidence);
  const std::string last = CompareFirstWithLast(rehearsal, swaps);
  if (!last.empty()) hot_copied.CompareTargets(last);
  CompareRollback(rehearsal, evidence);
  if (!swaps.empty()) {
    CompareSources(rehearsal, evidence, swaps);
    ProbeMoved(rehearsal, evidence, swaps);
    ProbeLeftovers(rehearsal, swaps);
  }
  hot_copied.ProbeLeftovers(evidence);
  ProbeCopies(rehearsal, hot_copied.NotServed());
}

}  // namespace

RunResult RunScenario(const Scenario& scenario, const RunOptions& options) {
  RunResult result;
  const auto started = SteadyClock::now();
  std::filesystem::create_directories(options.folder);
  WriteFileWhole(options.folder / "scenario.json", ToText(scenario.document));
  EvidenceWriter evidence(options.folder, started);
  evidence.on_event = options.on_event;
  TellScenario(scenario, options, evidence);
  std::string status = "complete";
  std::string reason;
  try {
    Rehearsal rehearsal(scenario, options, evidence);
    rehearsal.BuildWorld();  // databases, fixtures
    TellDatabases(rehearsal);
    PerformSteps(rehearsal);  // snapshots, workload, faults, the migration
    Examine(rehearsal);       // rows, the ledger, probes on copies
    if (options.keep) {
      for (const DatabaseSpec& spec : scenario.databases) {
        result.how_to_connect.push_back(spec.name + ": " +
                                        rehearsal.Database(spec.name).HowToConnect());
      }
    }
    rehearsal.ledger.Flush();
  } catch (const Error& error) {
    result.interrupted = options.stop && options.stop();
    status = result.interrupted ? "interrupted" : "failed";
    reason = error.what();
    if (!result.interrupted) result.failure = error;
  } catch (const std::exception& error) {
    status = "failed";
    reason = error.what();
    result.failure = Error(ErrorKind::kInternal, reason);
  }
  // The leases are given back by now: what is left behind is a finding of its own.
  evidence.Add("end", {{"status", status},
                       {"reason", reason},
                       {"error_kind", result.failure ? Json(ErrorKindName(result.failure->kind()))
                                                     : Json(nullptr)},
                       {"duration_ms", MillisecondsSince(started)}});
  return result;
}

}  // namespace understudy::harness
