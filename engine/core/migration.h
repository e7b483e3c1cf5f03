#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/plan.h"
#include "engine/core/source_files.h"

namespace understudy::core {

struct Capabilities {
  bool atomic_cutover = true;   // all or nothing; `sql` commits file after file and resumes
  bool retries_cutover = true;  // a cutover that failed with a retryable kind may be tried again
  // Keeps what users write in step from prepare to cutover: prepare ends caught up, sync may be run
  // again at any time before cutover, and every attempt of a cutover syncs first.
  bool captures = false;
  bool drains = false;        // has a drain phase of its own (else: inside cutover)
  bool can_roll_back = true;  // after cutover
};

// ONE bounded unit of sync: a chunk or a batch of captured writes.
struct SyncProgress {
  bool caught_up = true;  // nothing is left to do now
  std::int64_t rows_done = 0;
  std::optional<std::int64_t> rows_total;
  std::int64_t pending_writes = 0;
  std::int64_t bytes_done = 0;
  std::optional<std::int64_t> bytes_total;
};

struct CutoverOptions {
  std::chrono::steady_clock::time_point deadline;
  bool allow_old_snapshots = false;  // swap although a session would see empty tables
};

struct Budget {
  std::int64_t rows = 10000;
  std::int64_t bytes = 8388608;
};

struct VerifyResult {
  bool ok = true;
  std::vector<std::string> findings;     // what is wrong
  std::vector<std::string> not_checked;  // what could not be looked at
};

struct RollbackOptions {
  std::string to;            // a rollback point; "" = before the migration
  bool lose_writes = false;  // go back even where rows written since would be lost
};

// Which side serves?
enum class Owner { kOld, kNew, kUnknown };
std::string_view OwnerName(Owner owner);  // old new unknown

// What the strategy itself can tell for `status`; read-only.
struct StrategyStatus {
  Owner in_service = Owner::kOld;
  std::int64_t rows_done = 0;
  std::optional<std::int64_t> rows_total;
  std::int64_t pending_writes = 0;
  Json backup = nullptr;
  std::vector<std::string> rollback_points;
  std::vector<std::string> blocking;  // what stands in the way of the next phase
  std::string detail;                 // one line for people
  std::string next;                   // the verb, where it is not that of the state
  // The new state is in service: where no journal is left, the migration was cleaned up.
  bool finished = false;
};

// A strategy. It owns no loop, no sleep, no retry, no thread: those live once, in Lifecycle. Every
// phase may be called again after a crash and goes on where the journal says; data and checkpoint
// commit together. Errors are understudy::Error.
class Migration {
 public:
  virtual ~Migration() = default;

  virtual core::Capabilities Capabilities() const = 0;
  virtual core::Plan MakePlan() = 0;  // read-only
  // The files whose content it runs: from prepare on they may not change.
  virtual std::vector<SourceFile> Files() { return {}; }
  // Why there is nothing to migrate; "" when there is. Asked before anything is begun.
  virtual std::string NothingToDo() { return ""; }
  // Makes the empty database that the journal and the new data go to; only with
  // StrategyInfo::makes_target, when it is absent.
  virtual void MakeTarget() {}
  // Asked in the transaction that writes down that this migration is begun, by one at a time of all
  // that begin in this database: throws what stands in its way, and nothing has been begun.
  virtual void MayBegin(db::Session& /*journal*/) {}
  virtual void Prepare() = 0;  // additive, safe to repeat
  // After Prepare() has refused: takes back what it did where nothing was built yet; true = nothing
  // is left, and the migration counts as never begun.
  virtual bool TakeBack() { return false; }
  virtual SyncProgress SyncStep(const Budget& budget) = 0;
  // Holds new writes back and replays the rest; only with Capabilities().drains.
  virtual void Drain(const CutoverOptions&) {}
  // All or nothing, unless Capabilities().atomic_cutover is false.
  virtual void Cutover(const CutoverOptions& options) = 0;
  // What is left to do after the commit of a cutover ("swapped, finishing"): called after it and
  // again before verify; safe to repeat. A failure here never takes the cutover back.
  virtual void Finish() {}
  virtual VerifyResult Verify() = 0;
  virtual void Rollback(const RollbackOptions& options) = 0;
  // Takes away what was in service before. With `dry_run` it only says what it would take away.
  // Gives a line per thing.
  virtual std::vector<std::string> Cleanup(bool dry_run) = 0;
  // Back to before prepare. With `dry_run` it only says what it would do. Gives a line per thing.
  virtual std::vector<std::string> Reset(bool dry_run) = 0;
  // Read-only: after a lost connection in a commit, which side is in service? Waits until the old
  // backend is gone before it asks.
  virtual Owner WhoOwns() = 0;
  virtual StrategyStatus Status() = 0;
};

}  // namespace understudy::core
