#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/core/context.h"
#include "engine/core/journal.h"
#include "engine/core/migration.h"
#include "engine/core/points.h"
#include "engine/core/registry.h"
#include "engine/core/spec.h"

namespace understudy::core {

// How a verb ended.
struct PhaseOutcome {
  enum class Kind { kDone, kNothing, kRefused, kFailed, kAmbiguous, kInterrupted };
  Kind kind = Kind::kDone;
  State state = State::kNone;
  std::string message;  // what happened, what is safe now
  std::string next;     // the verb to run next: "migrate verify"; "" = nothing
  bool ok() const { return kind == Kind::kDone || kind == Kind::kNothing; }
};
std::string_view OutcomeName(PhaseOutcome::Kind kind);  // done nothing refused failed ambiguous …

struct Status {
  std::string strategy;
  State state = State::kNone;
  StrategyStatus of_strategy;
  std::string message;
  std::string next;
  Json ToJson() const;  // `migrate status --json` but for "format"
};

// Drives one migration through its phases. Here, and nowhere else, are the loop, the pacing, the
// retries, the deadlines, resume and the journal of states. Read this to know what the product
// does with a migration.
//
//   plan → prepare → sync → (drain) → cutover → verify → cleanup;  aside: rollback, reset
//
// A phase that is done is not done again; one that was interrupted goes on. Retryable errors are
// tried again with backoff before cutover, and in cutover where the strategy allows it within
// limits.cutover_budget_ms. After kAmbiguous nothing is retried: WhoOwns() decides.
class Lifecycle {
 public:
  struct Options {
    Probe* probe = nullptr;
    std::function<bool()> stop;
    bool rehearsal = false;
    bool follow = false;  // sync goes on until stopped
    // Of a cutover: not before this moment, only when this shell command exits 0, and even where a
    // session would see empty tables. Until then a capturing migration is kept in step.
    std::optional<std::chrono::system_clock::time_point> at;
    std::string confirm_with;
    bool allow_old_snapshots = false;
    std::filesystem::path pause_file;  // while it exists, nothing is copied and nothing cut over
  };
  Lifecycle(const Spec& spec, const Registry& registry, Options options);
  ~Lifecycle();

  Plan MakePlan();
  // The phases that are not done yet, up to and including `through`. A capturing migration that is
  // ready is synced again when that is `through`.
  PhaseOutcome RunThrough(Phase through);
  // Checks what is in service, as often as it is asked; refused before cutover.
  PhaseOutcome Verify();
  PhaseOutcome Rollback(const RollbackOptions& options);
  // Takes away what the migration left behind (journal, backups), after cutover or rollback.
  PhaseOutcome Cleanup(bool dry_run = false);
  // Gives up what was begun, at any moment before cutover.
  PhaseOutcome Reset(bool dry_run);
  core::Status GetStatus();

 private:
  PhaseOutcome Guarded(Phase phase, const std::function<PhaseOutcome()>& work);
  void DoPrepare();
  void ForgetBegin();
  // Error(kConflict, "outrun") when it is not caught up at the deadline.
  void DoSync(bool follow, SteadyClock::time_point deadline = SteadyClock::time_point::max());
  void DoDrain();
  void DoCutover();
  void DoVerify();
  void DoCleanup();
  void WaitForTheMoment();
  // Makes this process the migration's owner: the epoch rises, whoever had it is refused.
  void TakeOver();
  void WithRetries(const std::function<void()>& work);
  // The same within limits.cutover_budget_ms, for what takes production's locks; `attempt` gets its
  // number, from 1, and the budget's end.
  void Attempts(const std::string& what,
                const std::function<void(int number, SteadyClock::time_point deadline)>& attempt);
  void Pause(std::chrono::milliseconds time) const;
  JournalRecord Load();
  // Refused when the migration file, or a file that it names, is not what was begun; else nothing.
  std::optional<PhaseOutcome> RefuseChanges(const JournalRecord& record);
  // The same for a way back, which needs those files alone.
  std::optional<PhaseOutcome> RefuseChangedWayBack(const JournalRecord& record);
  // Error(kMismatch, "epoch") when another process has taken over.
  void SetState(State state, const Json& detail = Json::object());

  const Spec& spec_;
  const StrategyInfo& info_;
  Options options_;
  Context context_;
  std::unique_ptr<Migration> migration_;
  core::Capabilities capabilities_;
};

}  // namespace understudy::core
