#pragma once

#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "harness/actors/actor.h"
#include "harness/evidence/evidence.h"
#include "harness/observe/observer.h"
#include "harness/run/engine_process.h"
#include "harness/run/runner.h"
#include "harness/snapshot/snapshot.h"
#include "harness/world/world.h"

namespace understudy::harness {

// What one run holds: its databases, its actors, its record. Owned by RunScenario; steps and
// probes work on it.
class Rehearsal {
 public:
  Rehearsal(const Scenario& scenario, const RunOptions& options, EvidenceWriter& evidence);
  ~Rehearsal();

  const Scenario& scenario;
  const RunOptions& options;
  EvidenceWriter& evidence;
  Ledger ledger;

  // ---- world
  void BuildWorld();
  Lease& Database(const std::string& name);
  std::map<std::string, db::Endpoint> Endpoints() const;
  ActorContext Actors();
  // What a probe saw, for `check`: `result` is ok, failed or unknown.
  void Tell(const std::string& check, const std::string& database, const std::string& object,
            const std::string& result, const std::string& detail);
  bool Stopped() const { return options.stop && options.stop(); }
  void ThrowIfStopped() const;

  // ---- snapshots: the catalog and digests are stored, the rows are held as a copy, or where none
  // can be made (an external database, clients that are connected) row by row as hashes
  void TakeSnapshot(const std::string& name, const std::vector<std::string>& of);
  // The copy of `database` at snapshot `name`; nullptr when none could be held (already told).
  Lease* Held(const std::string& name, const std::string& database);
  // The file of the rows' hashes (compare/stored_rows.h), made from the copy where one is held;
  // empty when there is neither (already told).
  std::filesystem::path StoredRowsOf(const std::string& name, const std::string& database);
  const Snapshot* Taken(const std::string& name, const std::string& database) const;
  const std::vector<std::string>& snapshot_names() const { return snapshot_names_; }

  // ---- workload and observers, around the migrate steps
  void StartActors();
  void StopActors();
  bool actors_running() const { return actors_running_; }
  bool workload_ran() const { return workload_ran_; }

  // ---- the engine
  // Runs a job of `migration` in the engine's process; strikes faults at points; follows
  // kill-engine's `then`. Gives the outcome for the step.
  EngineResult RunEngine(const std::string& migration, Json job);
  // The same on other databases, without faults, observers or a line in the evidence: for probes.
  EngineResult RunEngineOn(const std::string& migration, Json job,
                           const std::map<std::string, db::Endpoint>& databases,
                           const std::string& id_suffix = "");
  // Whether its last job left it done: not failed, rolled back or reset.
  bool IsDone(const std::string& migration) const {
    const std::lock_guard lock(mutex_);
    return done_.contains(migration);
  }
  // Waits until `point` was passed more than `seen` times.
  bool WaitForPoint(const std::string& point, int seen, double timeout_s);
  std::map<std::string, int> PointsPassed() const {
    const std::lock_guard lock(mutex_);
    return points_passed_;
  }
  void StepBegins(const std::string& name);  // faults with at_step

 private:
  void KeepRows(const std::string& name, const std::string& database, const db::Endpoint& endpoint,
                const Snapshot& snapshot);
  void RunHistory(const Json& item, const db::Endpoint& endpoint);
  Json JobOf(const std::string& migration, Json job,
             const std::map<std::string, db::Endpoint>& databases) const;
  EngineProcess::Answer AtPoint(const Json& event, EngineProcess& engine, std::string& then);
  void Strike(const FaultSpec& spec, EngineProcess* engine, EngineProcess::Answer& answer,
              std::string& then);
  void RunTimedFaults(const std::stop_token& stop);
  void StartObservers();
  void StopObservers();

  std::map<std::string, std::unique_ptr<Lease>> leases_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Lease>> held_;
  std::map<std::pair<std::string, std::string>, Snapshot> snapshots_;
  std::map<std::pair<std::string, std::string>, std::filesystem::path> stored_rows_;
  std::vector<std::string> snapshot_names_;
  std::vector<std::unique_ptr<Actor>> workload_;
  std::map<std::size_t, std::unique_ptr<Fault>> faults_;
  std::map<std::string, std::unique_ptr<Observer>> observers_;
  bool actors_running_ = false;
  bool workload_ran_ = false;

  mutable std::mutex mutex_;  // of what follows: engine thread, background steps, timed faults
  std::condition_variable passed_;
  std::map<std::string, int> points_passed_;
  std::set<std::size_t> struck_;
  std::set<std::string> done_;  // migrations
  // Of what snapshots hold. Kept while one is taken, because the observers are stopped for it: two
  // lines of steps take theirs one after the other.
  mutable std::recursive_mutex snapshots_mutex_;
  std::mutex observers_mutex_;  // a snapshot may stop them while a point is passed
  std::jthread timed_faults_;   // last: joined first
};

}  // namespace understudy::harness
