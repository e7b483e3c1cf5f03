#include "harness/run/rehearsal.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "harness/compare/digest.h"
#include "harness/compare/stored_rows.h"

namespace understudy::harness {
Rehearsal::Rehearsal(const Scenario& scenario_in, const RunOptions& options_in,
                     EvidenceWriter& evidence_in)
    : scenario(scenario_in), options(options_in), evidence(evidence_in), ledger(evidence_in) {}

Rehearsal::~Rehearsal() {
  timed_faults_ = {};
  faults_.clear();
  workload_.clear();
  observers_.clear();
  held_.clear();
  leases_.clear();
  std::error_code ignored;  // what was compared is evidence; the keys of all rows are not
  for (const auto& [moment, file] : stored_rows_) std::filesystem::remove(file, ignored);
}

void Rehearsal::ThrowIfStopped() const {
  if (Stopped()) throw Error(ErrorKind::kCancelled, "interrupted", "stop");
}

// ---- world

void Rehearsal::BuildWorld() {
  for (const DatabaseSpec& spec : scenario.databases) {
    ThrowIfStopped();
    ProvisionOptions provision;
    provision.run_id = options.run_id;
    provision.scenario = scenario.name;
    provision.stop = options.stop;
    provision.needs_power = std::ranges::any_of(scenario.steps, [&](const StepSpec& step) {
      return step.verb == "restart" && step.options.value("on", "") == spec.name;
    });
    provision.run_migrations = [&](const Json& item, const db::Endpoint& endpoint) {
      RunHistory(item, endpoint);
    };
    provision.progress = [&](std::string_view text) {
      evidence.Add("log", {{"level", "info"}, {"text", text}});
    };
    std::unique_ptr<Lease> lease = Provision(spec, provision);
    if (options.keep) lease->Keep();
    leases_.emplace(spec.name, std::move(lease));
  }
}

// The project's own migrations bring a fixture to where the rehearsed one begins. The journal of
// the engine is taken away again; the tool's version table stays, as the tool would leave it.
void Rehearsal::RunHistory(const Json& item, const db::Endpoint& endpoint) {
  Json document = {{"strategy", "sql"}, {"on", "fixture"}, {"up", item.at("migrations")}};
  for (const char* key : {"layout", "through"}) {
    if (item.contains(key) && !item[key].is_null()) document[key] = item[key];
  }
  Json job = {{"id", "fixture"},
              {"document", document},
              {"folder", scenario.file.parent_path().string()},
              {"where", scenario.file.string()},
              {"databases", {{"fixture", endpoint.Uri()}}}};
  for (const char* through : {"verify", "cleanup"}) {
    job["verb"] = "run";
    job["through"] = through;
    EngineProcess engine(evidence.folder() / "engine.log");
    EngineProcess::Callbacks callbacks;
    callbacks.stop = options.stop;
    const EngineResult result = engine.Run(job, callbacks);
    if (result.outcome != "done") {
      throw Error(ErrorKind::kInvalidSpec, "fixture: the migrations in " +
                                               item.at("migrations").get<std::string>() +
                                               " did not run: " + result.message);
    }
  }
}

Lease& Rehearsal::Database(const std::string& name) {
  const auto it = leases_.find(name);
  if (it == leases_.end()) throw Error(ErrorKind::kInternal, "no database '" + name + "'");
  return *it->second;
}

std::map<std::string, db::Endpoint> Rehearsal::Endpoints() const {
  std::map<std::string, db::Endpoint> endpoints;
  for (const auto& [name, lease] : leases_) endpoints.emplace(name, lease->endpoint());
  return endpoints;
}

ActorContext Rehearsal::Actors() {
  return {.ledger = ledger, .databases = Endpoints(), .seed = scenario.seed};
}

// ---- snapshots

void Rehearsal::TakeSnapshot(const std::string& name, const std::vector<std::string>& of) {
  const std::lock_guard lock(snapshots_mutex_);
  const bool observing = [&] {
    const std::lock_guard also(observers_mutex_);
    return !observers_.empty();
  }();
  if (observing) StopObservers();  // a copy needs a database that nobody is connected to
  for (const std::string& database : of) {
    ThrowIfStopped();
    const auto started = SteadyClock::now();
    Lease& lease = Database(database);
    // What a migration has not made yet, or has taken away again, is an empty database.
    const std::unique_ptr<Lease> nothing = lease.IsThere() ? nullptr : lease.Clone(name);
    Lease& there = nothing ? *nothing : lease;
    Snapshot snapshot = During("snapshot '" + name + "' of '" + database + "'", [&] {
      const auto session =
          db::Connect(there.endpoint(), {.application_name = "understudy-snapshot"});
      return TakeCatalog(*session);
    });
    std::unique_ptr<Lease> copy;
    std::string why_not;
    try {
      copy = lease.Clone(name);
    } catch (const Error& error) {
      why_not = error.what();
    }
    // The copy is at rest: digests of it are those of the moment.
    DigestTables(copy ? copy->endpoint() : there.endpoint(), 2, snapshot);
    if (!copy) {
      evidence.Add("log", {{"level", "info"},
                           {"text", "snapshot " + name + " of " + database +
                                        " holds hashes of its rows: " + why_not}});
      KeepRows(name, database, lease.endpoint(), snapshot);
    }
    StoreSnapshot(evidence.folder(), name, database, snapshot.ToJson());
    std::int64_t rows = 0;
    for (const TableDigest& table : snapshot.tables) rows += table.rows;
    evidence.Add("snapshot", {{"name", name},
                              {"database", database},
                              {"rows", rows},
                              {"ms", MillisecondsSince(started)}});
    held_[{name, database}] = std::move(copy);
    snapshots_[{name, database}] = std::move(snapshot);
  }
  if (std::ranges::find(snapshot_names_, name) == snapshot_names_.end()) {
    snapshot_names_.push_back(name);
  }
  if (observing) StartObservers();
}

Lease* Rehearsal::Held(const std::string& name, const std::string& database) {
  const std::lock_guard lock(snapshots_mutex_);
  const auto it = held_.find({name, database});
  return it == held_.end() ? nullptr : it->second.get();
}

void Rehearsal::KeepRows(const std::string& name, const std::string& database,
                         const db::Endpoint& endpoint, const Snapshot& snapshot) {
  const std::filesystem::path file =
      evidence.folder() / ("rows-" + std::to_string(stored_rows_.size() + 1) + ".sqlite");
  std::filesystem::path& kept = stored_rows_[{name, database}];
  kept = file;
  try {
    StoreRows(endpoint, snapshot, file, options.stop);
  } catch (const Error& error) {
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
    kept.clear();
    if (error.code() == "stop" || error.kind() == ErrorKind::kEnvironment) throw;
    evidence.NotChecked("rows of snapshot " + name + ":" + database,
                        std::string("only digests are kept: ") + error.what());
  }
}

std::filesystem::path Rehearsal::StoredRowsOf(const std::string& name,
                                              const std::string& database) {
  const std::lock_guard lock(snapshots_mutex_);
  if (const auto it = stored_rows_.find({name, database}); it != stored_rows_.end()) {
    return it->second;
  }
  const Lease* held = Held(name, database);
  if (held == nullptr) return {};
  KeepRows(name, database, held->endpoint(), *Taken(name, database));
  return stored_rows_[{name, database}];
}

const Snapshot* Rehearsal::Taken(const std::string& name, const std::string& database) const {
  const std::lock_guard lock(snapshots_mutex_);
  const auto it = snapshots_.find({name, database});
  return it == snapshots_.end() ? nullptr : &it->second;
}

// ---- workload and observers

void Rehearsal::StartObservers() {
  const std::lock_guard lock(observers_mutex_);
  // A command's program names its sessions as it likes: whoever is not ours is the engine's.
  const bool by_command = std::ranges::any_of(scenario.migrations, [](const auto& migration) {
    return migration.second.value("strategy", "") == "command";
  });
  for (const auto& [name, lease] : leases_) {
    if (!lease->IsThere()) continue;  // an SQLite file, of which the observer sees little anyway
    ObserverOptions observe{.database = name, .endpoint = lease->endpoint()};
    if (by_command) {
      observe.is_engine = [](int, const std::string& application) {
        return !application.starts_with("understudy");
      };
    }
    auto observer = std::make_unique<Observer>(std::move(observe), evidence);
    observer->Start();
    observers_.emplace(name, std::move(observer));
  }
}

void Rehearsal::StopObservers() {
  const std::lock_guard lock(observers_mutex_);
  for (auto& [name, observer] : observers_) observer->Stop();
  observers_.clear();
}

void Rehearsal::StartActors() {
  actors_running_ = true;
  {
    const std::lock_guard lock(snapshots_mutex_);
    StartObservers();
  }
  ActorContext context = Actors();
  for (const WorkloadSpec& spec : scenario.workload) {
    workload_.push_back(MakeWorkload(spec, context));
    workload_.back()->Start();
    context.client_offset += static_cast<std::size_t>(spec.clients);
    workload_ran_ = true;
  }
  if (std::ranges::any_of(scenario.faults,
                          [](const FaultSpec& f) { return f.at_ms.has_value(); })) {
    timed_faults_ = std::jthread([this](const std::stop_token& stop) { RunTimedFaults(stop); });
  }
}

void Rehearsal::StopActors() {
  timed_faults_ = {};
  for (auto& [index, fault] : faults_) fault->Stop();
  for (auto& actor : workload_) actor->Stop();
  workload_.clear();
  ledger.Flush();
  {
    const std::lock_guard lock(snapshots_mutex_);
    StopObservers();
  }
  actors_running_ = false;
}

// ---- faults

void Rehearsal::Strike(const FaultSpec& spec, EngineProcess* engine, EngineProcess::Answer& answer,
                       std::string& then) {
  {
    const std::lock_guard lock(mutex_);
    if (!struck_.insert(spec.index).second) return;
  }
  const auto told = [&](std::string_view status, std::string_view detail) {
    evidence.Add(
        "fault",
        {{"index", spec.index},
         {"kind", spec.kind},
         {"at", spec.at ? Json(*spec.at)
                        : (spec.at_step ? Json(*spec.at_step) : Json(spec.at_ms.value_or(0)))},
         {"status", status},
         {"struck", status == "struck"},
         {"detail", detail}});
  };
  if (spec.kind == "fail") {
    told("struck", "the engine fails at this point");
    answer = EngineProcess::Answer::kFail;
  } else if (spec.kind == "block") {
    const std::int64_t for_ms = spec.for_ms.value_or(1000);
    told("struck", "the engine waits at this point for " + std::to_string(for_ms) + " ms");
    const auto end = SteadyClock::now() + std::chrono::milliseconds(for_ms);
    while (SteadyClock::now() < end && !Stopped()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    told("ended", "");
  } else if (spec.kind == "kill-engine") {
    told("struck", "SIGKILL to the engine's process");
    then = spec.options.value("then", "resume");
    if (engine != nullptr) engine->Kill();
  } else {
    try {
      Fault* fault = nullptr;
      {
        const std::lock_guard lock(mutex_);
        if (!faults_.contains(spec.index)) {
          faults_.emplace(spec.index, MakeFault(spec, Actors()));  // throws for an unknown kind
        }
        fault = faults_.at(spec.index).get();
      }
      fault->Strike();
    } catch (const Error& error) {
      told("failed", error.what());
    }
  }
}

void Rehearsal::Tell(const std::string& check, const std::string& database,
                     const std::string& object, const std::string& result,
                     const std::string& detail) {
  evidence.Add("probe", {{"check", check},
                         {"database", database},
                         {"object", object},
                         {"result", result},
                         {"detail", detail}});
}

EngineProcess::Answer Rehearsal::AtPoint(const Json& event, EngineProcess& engine,
                                         std::string& then) {
  const std::string point = event.at("point");
  Json data = event;
  data.erase("kind");
  evidence.Add("point", std::move(data));
  int passes = 0;
  {
    const std::lock_guard lock(mutex_);
    passes = ++points_passed_[point];
    passed_.notify_all();
  }
  {
    const std::lock_guard lock(observers_mutex_);
    for (auto& [name, observer] : observers_) observer->AtPoint(point);
  }
  EngineProcess::Answer answer = EngineProcess::Answer::kGo;
  for (const FaultSpec& spec : scenario.faults) {
    if (spec.at == point && passes == spec.nth) Strike(spec, &engine, answer, then);
  }
  return answer;
}

void Rehearsal::StepBegins(const std::string& name) {
  EngineProcess::Answer answer = EngineProcess::Answer::kGo;
  std::string then;
  for (const FaultSpec& spec : scenario.faults) {
    if (spec.at_step == name) Strike(spec, nullptr, answer, then);
  }
}

void Rehearsal::RunTimedFaults(const std::stop_token& stop) {
  const auto started = SteadyClock::now();
  EngineProcess::Answer answer = EngineProcess::Answer::kGo;
  std::string then;
  while (!stop.stop_requested()) {
    for (const FaultSpec& spec : scenario.faults) {
      // at_ms counts from the first migrate step, which comes lead_s after the workload's start.
      const double lead_ms = scenario.workload.empty() ? 0 : scenario.lead_s * 1000;
      if (spec.at_ms && MillisecondsSince(started) >= static_cast<double>(*spec.at_ms) + lead_ms) {
        Strike(spec, nullptr, answer, then);
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

bool Rehearsal::WaitForPoint(const std::string& point, int seen, double timeout_s) {
  const auto end = SteadyClock::now() + std::chrono::duration<double>(timeout_s);
  std::unique_lock lock(mutex_);
  while (points_passed_[point] <= seen) {
    if (Stopped() || SteadyClock::now() >= end) return false;
    passed_.wait_for(lock, std::chrono::milliseconds(50));
  }
  return true;
}

// ---- the engine

Json Rehearsal::JobOf(const std::string& migration, Json job,
                      const std::map<std::string, db::Endpoint>& databases) const {
  for (const auto& [name, document] : scenario.migrations) {
    if (name != migration) continue;
    job["id"] = name;
    job["document"] = document;
    job["folder"] = scenario.file.parent_path().string();
    job["where"] = scenario.file.string();
    job["databases"] = Json::object();
    for (const auto& [database, endpoint] : databases) job["databases"][database] = endpoint.Uri();
    return job;
  }
  throw Error(ErrorKind::kInternal, "no migration '" + migration + "'");
}

EngineResult Rehearsal::RunEngine(const std::string& migration, Json job) {
  job = JobOf(migration, std::move(job), Endpoints());
  for (;;) {
    EngineProcess engine(evidence.folder() / "engine.log");
    std::string then;
    EngineProcess::Callbacks callbacks;
    callbacks.stop = options.stop;
    callbacks.on_event = [&](const Json& event) {
      Json data = event;
      const std::string kind = data.value("kind", "log");
      data.erase("kind");
      evidence.Add(kind, std::move(data));
    };
    callbacks.on_point = [&](const Json& event) { return AtPoint(event, engine, then); };
    evidence.Add("engine", {{"status", "started"}, {"migration", migration}});
    const EngineResult result = engine.Run(job, callbacks);
    evidence.Add("engine", {{"status", result.outcome == "killed" ? "killed" : "exited"},
                            {"exit_status", result.exit_status}});
    ThrowIfStopped();
    const std::string verb = job.at("verb");
    {
      const std::lock_guard lock(mutex_);
      if (result.outcome == "done" && verb == "run") done_.insert(migration);
      if (result.outcome != "nothing" && (verb == "rollback" || verb == "reset")) {
        done_.erase(migration);
      }
    }
    if (result.outcome != "killed" || then.empty() || then == "none") return result;
    evidence.Add("log", {{"level", "info"}, {"text", "after the kill: " + then}});
    if (then == "reset") job["verb"] = "reset";
    if (then == "rollback") job["verb"] = "rollback";
  }
}

EngineResult Rehearsal::RunEngineOn(const std::string& migration, Json job,
                                    const std::map<std::string, db::Endpoint>& databases,
                                    const std::string& id_suffix) {
  job = JobOf(migration, std::move(job), databases);
  job["id"] = job["id"].get<std::string>() + id_suffix;
  EngineProcess engine(evidence.folder() / "engine.log");
  EngineProcess::Callbacks callbacks;
  callbacks.stop = options.stop;
  return engine.Run(job, callbacks);
}

}  // namespace understudy::harness
