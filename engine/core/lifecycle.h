#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

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
  };
  Lifecycle(const Spec& spec, const Registry& registry, Options options);
  ~Lifecycle();

  Plan MakePlan();
  // The phases that are not done yet, up to and including `through`.
  PhaseOutcome RunThrough(Phase through);
  PhaseOutcome Rollback(const RollbackOptions& options);
  // Takes away what the migration left behind (journal, backups), after cutover or rollback.
  PhaseOutcome Cleanup();
  // Gives up what was begun, at any moment before cutover.
  PhaseOutcome Reset(bool dry_run);
  core::Status GetStatus();

 private:
  PhaseOutcome Guarded(Phase phase, const std::function<PhaseOutcome()>& work);
  void DoPrepare();
  void DoSync();
  void DoCutover();
  void DoVerify();
  void DoCleanup();
  void WithRetries(const std::function<void()>& work);
  void Pause(std::chrono::milliseconds time) const;
  JournalRecord Load();
  void SetState(State state, const Json& detail = Json::object());

  const Spec& spec_;
  Options options_;
  Context context_;
  std::unique_ptr<Migration> migration_;
  core::Capabilities capabilities_;
};

}  // namespace understudy::core
