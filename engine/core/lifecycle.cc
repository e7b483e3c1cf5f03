#include "engine/core/lifecycle.h"

#include <algorithm>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/process.h"
#include "engine/base/random.h"

namespace understudy::core {
namespace {

constexpr int kMostAttempts = 8;  // of a unit of work before cutover
constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{5000};

// How far the phases have come: the number of phases of kOrder that are done.
constexpr Phase kOrder[] = {Phase::kPrepare, Phase::kSync,   Phase::kDrain,
                            Phase::kCutover, Phase::kVerify, Phase::kCleanup};

int DonePhases(State state) {
  switch (state) {
    case State::kSyncing:
      return 1;
    case State::kReady:
      return 3;
    case State::kCutOver:
      return 4;
    case State::kVerified:
      return 5;
    case State::kCleaned:
      return 6;
    default:
      return 0;  // none, preparing, rolled back, reset: from the start
  }
}

std::string NextVerb(State state, const Capabilities& capabilities) {
  switch (state) {
    case State::kNone:
    case State::kReset:
    case State::kPreparing:
      return "migrate prepare";
    case State::kSyncing:
      return capabilities.drains ? "migrate drain" : "migrate sync";
    case State::kReady:
      return "migrate cutover";
    case State::kCutOver:
      return "migrate verify";
    case State::kVerified:
      return "migrate cleanup";
    case State::kFailed:
      return "migrate run";
    case State::kAmbiguous:
      return "migrate status";
    case State::kRolledBack:
      return capabilities.captures ? "migrate cleanup" : "";
    default:
      return "";
  }
}

// Where a failed migration goes on.
State ResumeState(const JournalRecord& record) {
  if (record.state != State::kFailed && record.state != State::kAmbiguous) return record.state;
  return StateFromName(record.detail.value("was", "none"));
}

// What failed on its way back or out, and is tried again, not gone on with; "" = nothing.
std::string FailedWayBack(const JournalRecord& record) {
  if (record.state != State::kFailed) return "";
  const std::string phase = record.detail.value("phase", "");
  for (const Phase back : {Phase::kRollback, Phase::kReset, Phase::kCleanup}) {
    if (phase == PhaseName(back)) return phase;
  }
  return "";
}

// Where the phases of a migration lie far apart, a failed one is tried again: whoever prepares has
// not said that he would cut over.
std::string NextVerb(const JournalRecord& record, const Capabilities& capabilities) {
  if (const std::string back = FailedWayBack(record); !back.empty()) return "migrate " + back;
  if (record.state != State::kFailed || !capabilities.captures) {
    return NextVerb(record.state, capabilities);
  }
  const std::string phase = record.detail.value("phase", "");
  const State was = ResumeState(record);
  // What failed behind a cutover that stands is made up for by what comes next.
  const bool stands = phase == PhaseName(Phase::kCutover) && DonePhases(was) >= 4;
  if (stands || phase == PhaseName(Phase::kPlan)) return NextVerb(was, capabilities);
  return "migrate " + phase;
}

JournalRecord NotBegun(const Spec& spec) {
  return {spec.strategy, spec.digest, State::kNone, 0, Json::object()};
}

std::string Lines(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += (all.empty() ? "" : "\n") + line;
  return all;
}

// `what`: "the migration file has changed".
PhaseOutcome Changed(const Spec& spec, const JournalRecord& record, const std::string& what) {
  const std::string message = what + " since '" + spec.id + "' was begun; nothing was done. ";
  if (DonePhases(ResumeState(record)) >= 4) {
    return {PhaseOutcome::Kind::kRefused, record.state,
            message +
                "The new state is in service: put back what was there, or finish as it is "
                "with: understudy migrate cleanup",
            "migrate cleanup"};
  }
  return {PhaseOutcome::Kind::kRefused, record.state,
          message +
              "Put back what was there, or give up what was begun with: understudy migrate "
              "reset",
          "migrate reset"};
}

// The migration is to make its target, and has not yet.
bool TargetIsAbsent(const Spec& spec, const StrategyInfo& info) {
  return info.makes_target && spec.Target().engine() == db::Engine::kSqlite &&
         !std::filesystem::exists(spec.Target().file());
}

}  // namespace

std::string_view OutcomeName(PhaseOutcome::Kind kind) {
  switch (kind) {
    case PhaseOutcome::Kind::kDone:
      return "done";
    case PhaseOutcome::Kind::kNothing:
      return "nothing";
    case PhaseOutcome::Kind::kRefused:
      return "refused";
    case PhaseOutcome::Kind::kFailed:
      return "failed";
    case PhaseOutcome::Kind::kAmbiguous:
      return "ambiguous";
    case PhaseOutcome::Kind::kInterrupted:
      break;
  }
  return "interrupted";
}

Json Status::ToJson() const {
  return {{"strategy", strategy},
          {"state", StateName(state)},
          {"in_service", OwnerName(of_strategy.in_service)},
          {"rows_done", of_strategy.rows_done},
          {"rows_total", of_strategy.rows_total ? Json(*of_strategy.rows_total) : Json(nullptr)},
          {"pending_writes", of_strategy.pending_writes},
          {"backup", of_strategy.backup},
          {"rollback_points", of_strategy.rollback_points},
          {"blocking", of_strategy.blocking},
          {"detail", of_strategy.detail},
          {"message", message},
          {"next", next}};
}

Lifecycle::Lifecycle(const Spec& spec, const Registry& registry, Options options)
    : spec_(spec),
      info_(registry.Find(spec.strategy)),
      options_(std::move(options)),
      context_(spec, options_.probe, options_.stop, options_.rehearsal),
      migration_(info_.make(context_)),
      capabilities_(migration_->Capabilities()) {
  context_.set_pause_file(options_.pause_file);
}

Lifecycle::~Lifecycle() = default;

Plan Lifecycle::MakePlan() {
  context_.set_phase("plan");
  Plan plan = migration_->MakePlan();
  if (!plan.next.empty() || !plan.can_run()) return plan;
  const State state = Load().state;
  if (state != State::kNone || migration_->NothingToDo().empty()) {
    plan.next = NextVerb(state, capabilities_);
  }
  return plan;
}

// The journal's record, or that of a migration that has not begun.
JournalRecord Lifecycle::Load() {
  if (TargetIsAbsent(spec_, info_)) return NotBegun(spec_);
  const auto session =
      db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
  const auto record = Journal(*session, spec_.id).Load();
  return record ? *record : NotBegun(spec_);
}

void Lifecycle::TakeOver() {
  if (TargetIsAbsent(spec_, info_)) return;
  const auto session =
      db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
  Journal journal(*session, spec_.id);
  if (journal.Load()) context_.set_epoch(journal.TakeOver());
}

void Lifecycle::SetState(State state, const Json& detail) {
  if (TargetIsAbsent(spec_, info_)) return;
  const auto session =
      db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
  Journal journal(*session, spec_.id);
  if (!journal.Exists()) return;  // cleaned up or never begun
  // SQLite lets nobody wait for the write lock who has read in his transaction already.
  db::Transaction transaction(*session, db::Isolation::kDefault, false, /*immediate=*/true);
  if (context_.epoch() > 0) journal.CheckEpoch(context_.epoch());
  journal.SetState(state, detail);
  transaction.Commit();
}

// Every phase runs inside this: it tells begin and end, and turns an exception into a value that
// says what is safe now.
PhaseOutcome Lifecycle::Guarded(Phase phase, const std::function<PhaseOutcome()>& work) {
  const std::string name(PhaseName(phase));
  context_.set_phase(name);
  context_.Tell("phase", {{"status", "begin"}});
  const auto started = SteadyClock::now();
  PhaseOutcome outcome;
  ErrorKind kind = ErrorKind::kInternal;
  std::string code;
  try {
    outcome = work();
  } catch (const Error& error) {
    kind = error.kind();
    code = error.code();
    outcome.message = error.what();
    outcome.kind = PhaseOutcome::Kind::kFailed;
    if (kind == ErrorKind::kUnsupported || kind == ErrorKind::kInvalidSpec || code == "locked") {
      outcome.kind = PhaseOutcome::Kind::kRefused;
    } else if (kind == ErrorKind::kAmbiguous) {
      outcome.kind = PhaseOutcome::Kind::kAmbiguous;
    } else if (kind == ErrorKind::kCancelled && code == "stop") {
      outcome.kind = PhaseOutcome::Kind::kInterrupted;
    }
  } catch (const std::exception& error) {
    outcome.kind = PhaseOutcome::Kind::kFailed;
    outcome.message = error.what();
  }
  const bool taken_over = code == "epoch";  // its state is the new owner's to say
  if (!taken_over && (outcome.kind == PhaseOutcome::Kind::kFailed ||
                      outcome.kind == PhaseOutcome::Kind::kAmbiguous)) {
    try {  // remember it where everybody can see; the phase can be run again from there
      const JournalRecord before = Load();
      if (before.state != State::kNone) {
        const bool ambiguous = outcome.kind == PhaseOutcome::Kind::kAmbiguous;
        SetState(ambiguous ? State::kAmbiguous : State::kFailed,
                 {{"was", StateName(ResumeState(before))},
                  {"phase", context_.preparing() ? std::string(PhaseName(Phase::kPrepare)) : name},
                  {"message", outcome.message}});
      }
    } catch (const std::exception& error) {
      outcome.message +=
          " (and the journal could not be written: " + std::string(error.what()) + ")";
    }
  }
  JournalRecord record = NotBegun(spec_);
  try {
    record = Load();
  } catch (const std::exception&) {  // the database is away: the message says why
    record.state = outcome.ok() ? State::kNone : State::kFailed;
    record.detail["phase"] = name;
  }
  outcome.state = record.state;
  const bool way_back_refused =
      phase == Phase::kRollback && kind == ErrorKind::kUnsupported && code != "no-way-back";
  if (outcome.next.empty() && taken_over) {
    outcome.next = "migrate status";
  } else if (outcome.next.empty() && way_back_refused) {  // not what would go on
    outcome.next = "migrate rollback";
    if (code == "would-lose-writes") outcome.next += " --lose-writes";
  } else if (outcome.next.empty() && code == "log-limit") {  // nothing can be gone on with
    outcome.next = "migrate reset";
  } else if (outcome.next.empty()) {
    outcome.next = NextVerb(record, capabilities_);
  }
  Json end = {{"status", "end"},
              {"outcome", OutcomeName(outcome.kind)},
              {"message", outcome.message},
              {"duration_ms", MillisecondsSince(started)}};
  if (!outcome.ok()) end.update({{"kind", ErrorKindName(kind)}, {"code", code}});
  context_.Tell("phase", end);
  return outcome;
}

PhaseOutcome Lifecycle::RunThrough(Phase through) {
  PhaseOutcome outcome;
  if (through == Phase::kPlan) {
    return Guarded(Phase::kPlan, [&]() -> PhaseOutcome {
      const Plan plan = MakePlan();
      if (plan.can_run()) return {};
      return {PhaseOutcome::Kind::kRefused, State::kNone,
              plan.refused[0].object + ": " + plan.refused[0].why, ""};
    });
  }
  std::unique_ptr<MigrationLock> lock;
  State state = State::kNone;
  outcome = Guarded(Phase::kPlan, [&]() -> PhaseOutcome {
    lock = std::make_unique<MigrationLock>(spec_.Target(), spec_.id);
    JournalRecord record = Load();
    if (record.state == State::kAmbiguous) {
      const State was = ResumeState(record);
      switch (migration_->WhoOwns()) {
        case Owner::kNew:
          SetState(record.state = DonePhases(was) >= 4 ? was : State::kCutOver);
          break;
        case Owner::kOld:
          // A commit before the cutover's may have been lost as well: it goes on from there.
          SetState(record.state = DonePhases(was) >= 4 ? State::kRolledBack : was);
          break;
        case Owner::kUnknown:
          return {PhaseOutcome::Kind::kAmbiguous, record.state,
                  "it is still not known which side is in service; nothing was changed. " +
                      record.detail.value("message", ""),
                  "migrate status"};
      }
    }
    state = ResumeState(record);
    const bool begun = DonePhases(state) > 0 || state == State::kPreparing;
    if (begun) {
      if (auto refused = RefuseChanges(record)) return *refused;
    }
    if (!begun) {
      if (const std::string why = migration_->NothingToDo(); !why.empty()) {
        return {PhaseOutcome::Kind::kNothing, record.state, why, ""};
      }
      const Plan plan = migration_->MakePlan();
      if (!plan.can_run()) {
        return {PhaseOutcome::Kind::kRefused, record.state,
                plan.refused[0].object + ": " + plan.refused[0].why, "migrate plan"};
      }
    } else if (through >= Phase::kPrepare) {
      TakeOver();
    }
    return {};
  });
  if (!outcome.ok()) return outcome;
  if (outcome.kind == PhaseOutcome::Kind::kNothing) {
    outcome.next.clear();
    return outcome;
  }

  // What captures is prepared when it is caught up.
  context_.set_preparing(through == Phase::kPrepare);
  if (through == Phase::kPrepare && capabilities_.captures) through = Phase::kSync;
  if (through == Phase::kSync && capabilities_.captures && state == State::kReady) {
    return Guarded(Phase::kSync, [&]() -> PhaseOutcome {
      DoSync(options_.follow);
      return {};
    });
  }

  bool any = false;
  for (int index = DonePhases(state); index < static_cast<int>(std::size(kOrder)); ++index) {
    const Phase phase = kOrder[index];
    if (phase > through) break;
    if (phase == Phase::kDrain && !capabilities_.drains) continue;  // inside cutover
    any = true;
    outcome = Guarded(phase, [&]() -> PhaseOutcome {
      switch (phase) {
        case Phase::kPrepare:
          DoPrepare();
          break;
        case Phase::kSync:
          DoSync(options_.follow);
          break;
        case Phase::kDrain:
          DoDrain();
          break;
        case Phase::kCutover:
          DoCutover();
          break;
        case Phase::kVerify:
          DoVerify();
          break;
        default:
          DoCleanup();
          break;
      }
      return {};
    });
    if (!outcome.ok()) return outcome;
    if (phase == Phase::kCleanup) outcome.state = State::kCleaned;
  }
  if (!any) {
    outcome.kind = PhaseOutcome::Kind::kNothing;
    outcome.message = "nothing to do: " + std::string(PhaseName(through)) + " is done already";
  }
  return outcome;
}

PhaseOutcome Lifecycle::Verify() {
  return Guarded(Phase::kVerify, [&]() -> PhaseOutcome {
    const MigrationLock lock(spec_.Target(), spec_.id);
    const JournalRecord record = Load();
    const State state = ResumeState(record);
    if (DonePhases(state) < 4) {
      return {PhaseOutcome::Kind::kRefused, record.state,
              "there is nothing to verify: the migration is not cut over; production is unchanged",
              NextVerb(record, capabilities_)};
    }
    if (auto refused = RefuseChanges(record)) return *refused;
    TakeOver();
    DoVerify();
    return {};
  });
}

std::optional<PhaseOutcome> Lifecycle::RefuseChanges(const JournalRecord& record) {
  if (record.digest != spec_.digest) {
    // Files are told by their absolute paths.
    const bool by_path = spec_.Target().engine() == db::Engine::kSqlite;
    return Changed(spec_, record,
                   std::string("the migration file has changed") +
                       (by_path ? ", or its files were moved or are reached by another path (a "
                                  "symbolic link, a mount),"
                                : ""));
  }
  const std::vector<SourceFile> files = migration_->Files();
  const auto session =
      db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
  Journal journal(*session, spec_.id);
  const bool failed = record.state == State::kFailed || record.state == State::kAmbiguous;
  const std::string what = FilesChanged(
      journal, files, failed ? FilesMust::kBeTheSameWhereRun : FilesMust::kAllBeTheSame);
  if (!what.empty()) return Changed(spec_, record, what);
  RememberFiles(journal, files);  // what was mended counts from now on
  return std::nullopt;
}

std::optional<PhaseOutcome> Lifecycle::RefuseChangedWayBack(const JournalRecord& record) {
  if (record.state == State::kFailed) return std::nullopt;  // a way back that failed may be mended
  const auto session =
      db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
  Journal journal(*session, spec_.id);
  const std::string what = FilesChanged(journal, migration_->Files(), FilesMust::kLeadBackAsBefore);
  if (what.empty()) return std::nullopt;
  return PhaseOutcome{PhaseOutcome::Kind::kRefused, record.state,
                      what + " since '" + spec_.id +
                          "' was begun; nothing was rolled back. Put back what was there, or go "
                          "back by hand and then: understudy migrate cleanup",
                      "migrate rollback"};
}

void Lifecycle::DoPrepare() {
  context_.At("prepare.begin");
  if (TargetIsAbsent(spec_, info_)) migration_->MakeTarget();
  WithRetries([&] {
    const auto session = db::Connect(
        spec_.Target(),
        {.application_name = "understudy-engine journal", .lock_timeout = std::chrono::seconds(5)});
    Journal journal(*session, spec_.id);
    // Whoever waited for the lock must see what the other one has written.
    db::Transaction transaction(*session, db::Isolation::kReadCommitted, false, /*immediate=*/true);
    journal.Create();
    journal.LetOneBegin();
    migration_->MayBegin(*session);
    JournalRecord record{spec_.strategy, spec_.digest, State::kPreparing, 1, Json::object()};
    if (const auto before = journal.Load()) record.epoch = before->epoch + 1;
    journal.Save(record);
    RememberFiles(journal, migration_->Files());
    transaction.Commit();
    context_.set_epoch(record.epoch);
  });
  try {
    WithRetries([&] { migration_->Prepare(); });
  } catch (const Error& error) {
    const bool refused =
        error.kind() == ErrorKind::kUnsupported || error.kind() == ErrorKind::kInvalidSpec;
    if (refused && migration_->TakeBack()) ForgetBegin();
    throw;
  }
  context_.At("prepare.end");
  SetState(State::kSyncing);
}

// As if it had never been begun: nothing of it stands in another migration's way.
void Lifecycle::ForgetBegin() {
  const auto session =
      db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
  Journal journal(*session, spec_.id);
  db::Transaction transaction(*session);
  journal.CheckEpoch(context_.epoch());
  journal.Drop();
  transaction.Commit();
}

// Units of sync until nothing is left to do now, or, following, until somebody asks to stop.
void Lifecycle::DoSync(bool follow, SteadyClock::time_point deadline) {
  const Limits& limits = spec_.limits;
  const Budget budget{limits.chunk_rows, limits.chunk_bytes};
  const auto started = SteadyClock::now();
  std::optional<SyncProgress> before;
  for (;;) {
    context_.WaitWhilePaused();
    context_.ThrowIfStopped();
    SyncProgress progress;
    WithRetries([&] { progress = migration_->SyncStep(budget); });
    context_.Tell(
        "progress",
        {{"rows_done", progress.rows_done},
         {"rows_total", progress.rows_total ? Json(*progress.rows_total) : Json(nullptr)},
         {"bytes_done", progress.bytes_done},
         {"bytes_total", progress.bytes_total ? Json(*progress.bytes_total) : Json(nullptr)},
         {"pending_writes", progress.pending_writes}});
    if (progress.caught_up && !follow) break;
    if (SteadyClock::now() >= deadline) {
      throw Error(ErrorKind::kConflict,
                  "users write faster than their writes are replayed: " +
                      std::to_string(progress.pending_writes) +
                      " were pending at the end of limits.cutover_budget_ms (" +
                      std::to_string(limits.cutover_budget_ms) +
                      "). Production is unchanged. Try again at a quieter moment, or with a larger "
                      "budget",
                  "outrun");
    }
    if (!before) before = progress;  // what an earlier run has done is not this one's
    const auto keep = [&](const std::optional<std::int64_t>& rate, std::int64_t done) {
      if (!rate || *rate <= 0) return;
      const double due_ms = 1000.0 * static_cast<double>(done) / static_cast<double>(*rate);
      const double ahead_ms = due_ms - MillisecondsSince(started);
      if (ahead_ms > 0) Pause(std::chrono::milliseconds(static_cast<std::int64_t>(ahead_ms)));
    };
    keep(limits.rows_per_s, progress.rows_done - before->rows_done);  // never ahead of the rate
    keep(limits.bytes_per_s, progress.bytes_done - before->bytes_done);
    Pause(std::chrono::milliseconds(progress.caught_up ? std::max<std::int64_t>(50, limits.pause_ms)
                                                       : limits.pause_ms));
  }
  if (!capabilities_.drains) SetState(State::kReady);
}

void Lifecycle::DoDrain() {
  const auto deadline =
      SteadyClock::now() + std::chrono::milliseconds(spec_.limits.cutover_budget_ms);
  WithRetries([&] { migration_->Drain({.deadline = deadline}); });
  SetState(State::kReady);
}

// Until the moment that the operator named, and his consent.
void Lifecycle::WaitForTheMoment() {
  if (options_.at) {
    context_.Log("info", "waiting for the moment of the cutover");
    while (std::chrono::system_clock::now() < *options_.at) {
      if (capabilities_.captures && !capabilities_.drains) DoSync(false);
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          *options_.at - std::chrono::system_clock::now());
      Pause(std::clamp(left, std::chrono::milliseconds(0), std::chrono::milliseconds(500)));
    }
  }
  if (options_.confirm_with.empty()) return;
  Command shell;
  shell.argv = {"/bin/sh", "-c", options_.confirm_with};
  const understudy::Outcome result = RunCommand(shell, options_.stop);
  if (!result.ok()) {
    throw Error(ErrorKind::kUnsupported,
                "the cutover was not confirmed: '" + options_.confirm_with +
                    "' ended with status " + std::to_string(result.exit_status) +
                    "; production is unchanged and the migration stays ready");
  }
}

// Attempts at what takes production's locks, with backoff and jitter within the budget.
void Lifecycle::Attempts(const std::string& what,
                         const std::function<void(int, SteadyClock::time_point)>& attempt) {
  const auto deadline =
      SteadyClock::now() + std::chrono::milliseconds(spec_.limits.cutover_budget_ms);
  Random jitter(static_cast<std::uint64_t>(SteadyClock::now().time_since_epoch().count()));
  auto pause = kFirstPause;
  for (int number = 1;; ++number) {
    context_.WaitWhilePaused();
    context_.ThrowIfStopped();
    try {
      attempt(number, deadline);
      return;
    } catch (const Error& error) {
      if (!capabilities_.retries_cutover || !IsRetryable(error.kind()) ||
          SteadyClock::now() + pause >= deadline) {
        throw;
      }
      context_.Log(
          "info", what + " attempt " + std::to_string(number) + " is tried again: " + error.what());
    }
    Pause(std::chrono::milliseconds(jitter.Uniform(pause.count() / 2, pause.count())));
    pause = std::min(pause * 2, kLongestPause);
  }
}

void Lifecycle::DoCutover() {
  WaitForTheMoment();
  Attempts("cutover", [&](int number, SteadyClock::time_point deadline) {
    if (capabilities_.captures && !capabilities_.drains) DoSync(false, deadline);
    context_.At("cutover.begin", {{"attempt", number}});
    try {
      migration_->Cutover({deadline, options_.allow_old_snapshots});
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kAmbiguous || migration_->WhoOwns() != Owner::kNew) throw;
    }
  });
  SetState(State::kCutOver);
  WithRetries([&] { migration_->Finish(); });
}

void Lifecycle::DoVerify() {
  WithRetries([&] { migration_->Finish(); });  // nothing, where the cutover has finished
  VerifyResult result;
  WithRetries([&] { result = migration_->Verify(); });
  context_.At("verify.end", {{"ok", result.ok}, {"not_checked", result.not_checked}});
  if (!result.ok) {
    std::string all;
    for (const std::string& finding : result.findings) all += (all.empty() ? "" : "; ") + finding;
    throw Error(ErrorKind::kMismatch, "verification found: " + all);
  }
  SetState(State::kVerified);
}

void Lifecycle::DoCleanup() {
  WithRetries([&] {
    for (const std::string& line : migration_->Cleanup(false)) context_.Log("info", line);
    if (TargetIsAbsent(spec_, info_)) return;
    const auto session = db::Connect(
        spec_.Target(),
        {.application_name = "understudy-engine journal", .lock_timeout = std::chrono::seconds(5)});
    Journal(*session, spec_.id).Drop();
  });
  context_.At("cleanup.end");
}

PhaseOutcome Lifecycle::Rollback(const RollbackOptions& options) {
  return Guarded(Phase::kRollback, [&]() -> PhaseOutcome {
    const MigrationLock lock(spec_.Target(), spec_.id);
    const JournalRecord record = Load();
    const State state = ResumeState(record);
    if (state == State::kNone && migration_->Status().finished) {
      migration_->Rollback(options);  // its journal is gone: the strategy knows what it did
      return {};
    }
    if (state == State::kRolledBack) {
      return {PhaseOutcome::Kind::kNothing, state,
              "nothing to do: it is rolled back already; the old state is in service", ""};
    }
    if (state == State::kNone || state == State::kReset) {
      return {PhaseOutcome::Kind::kNothing, state,
              "nothing to roll back: '" + spec_.id +
                  "' has not been run here (its journal is removed by cleanup)",
              ""};
    }
    if (!capabilities_.can_roll_back) {
      return {PhaseOutcome::Kind::kRefused, state,
              "this migration has no way back that understudy could take", ""};
    }
    if (auto refused = RefuseChangedWayBack(record)) return *refused;
    TakeOver();
    Attempts("rollback",
             [&](int /*number*/, SteadyClock::time_point) { migration_->Rollback(options); });
    SetState(State::kRolledBack);
    PhaseOutcome outcome;
    outcome.message = "rolled back; the old state is in service";
    return outcome;
  });
}

PhaseOutcome Lifecycle::Cleanup(bool dry_run) {
  PhaseOutcome outcome = Guarded(Phase::kCleanup, [&]() -> PhaseOutcome {
    const MigrationLock lock(spec_.Target(), spec_.id);
    const JournalRecord record = Load();
    const State state = ResumeState(record);
    if (state == State::kNone) {
      return {PhaseOutcome::Kind::kNothing, state,
              "nothing to clean up: '" + spec_.id + "' has left nothing here", ""};
    }
    if (state != State::kRolledBack && DonePhases(state) < 4) {
      return {PhaseOutcome::Kind::kRefused, state,
              "the migration is not cut over yet; go on with what is next, or give it up with: "
              "understudy migrate reset",
              NextVerb(record, capabilities_)};
    }
    if (dry_run) return {.message = Lines(migration_->Cleanup(true))};
    TakeOver();
    DoCleanup();
    return {};
  });
  if (outcome.kind == PhaseOutcome::Kind::kDone && !dry_run) outcome.state = State::kCleaned;
  if (outcome.state == State::kCleaned) outcome.next.clear();
  return outcome;
}

PhaseOutcome Lifecycle::Reset(bool dry_run) {
  PhaseOutcome outcome = Guarded(Phase::kReset, [&]() -> PhaseOutcome {
    const MigrationLock lock(spec_.Target(), spec_.id);
    const JournalRecord record = Load();
    const State state = ResumeState(record);
    if (DonePhases(state) >= 4) {
      return {PhaseOutcome::Kind::kRefused, state,
              "the new state is in service: reset would not be safe; go back with: understudy "
              "migrate rollback",
              "migrate rollback"};
    }
    if (!dry_run) TakeOver();
    PhaseOutcome given_up;
    given_up.message = Lines(migration_->Reset(dry_run));
    if (!dry_run && !TargetIsAbsent(spec_, info_)) {
      const auto session =
          db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
      Journal(*session, spec_.id).Drop();
    }
    return given_up;
  });
  if (outcome.kind == PhaseOutcome::Kind::kDone && !dry_run) {
    outcome.state = State::kReset;
    outcome.next = NextVerb(State::kReset, capabilities_);
  }
  return outcome;
}

Status Lifecycle::GetStatus() {
  Status status;
  status.strategy = spec_.strategy;
  const JournalRecord record = Load();
  status.state = record.state;
  status.of_strategy = migration_->Status();
  if (status.state == State::kNone && status.of_strategy.finished) status.state = State::kCleaned;
  status.message = record.detail.value("message", "");
  status.next = status.state == record.state ? NextVerb(record, capabilities_)
                                             : NextVerb(status.state, capabilities_);
  if (!status.of_strategy.next.empty() && FailedWayBack(record).empty()) {
    status.next = status.of_strategy.next;
  }
  return status;
}

// Tries `work` again after a retryable error, with a pause that doubles.
void Lifecycle::WithRetries(const std::function<void()>& work) {
  auto pause = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    try {
      work();
      return;
    } catch (const Error& error) {
      if (!IsRetryable(error.kind()) || attempt >= kMostAttempts) throw;
      context_.Log("info",
                   "attempt " + std::to_string(attempt) + " failed, tried again: " + error.what());
    }
    Pause(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
}

void Lifecycle::Pause(std::chrono::milliseconds time) const {
  const auto end = SteadyClock::now() + time;
  while (SteadyClock::now() < end) {
    context_.ThrowIfStopped();
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - SteadyClock::now());
    std::this_thread::sleep_for(
        std::clamp(left, std::chrono::milliseconds(0), std::chrono::milliseconds(50)));
  }
}

}  // namespace understudy::core
