#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/clock.h"
#include "engine/capture/compare.h"
#include "engine/capture/dropped.h"
#include "engine/capture/postgres.h"
#include "engine/catalog/fingerprint.h"
#include "engine/core/context.h"
#include "engine/core/journal.h"
#include "engine/core/migration.h"
#include "engine/table_swap/exchange.h"
#include "engine/table_swap/manifest.h"
#include "engine/table_swap/references.h"
#include "engine/table_swap/settings.h"
#include "engine/table_swap/shadow.h"

namespace understudy::table_swap {

class Scratch;
struct SetDecision;

// Entries of the journal beside the manifest's.
inline constexpr const char* kCaptureEntry = "capture";          // [CapturedTable], while installed
inline constexpr const char* kBlockedEntry = "blocked";          // rows that the shadow refuses
inline constexpr const char* kDefinitionsEntry = "definitions";  // of production's side of the set
inline constexpr const char* kAttemptEntry = "attempt";    // who may be committing an exchange
inline constexpr const char* kCutoverEntry = "cutover";    // committed with the cutover, gone with
                                                           // the rollback: the new side serves
inline constexpr const char* kFinishedEntry = "finished";  // what follows the cutover is done
inline constexpr const char* kRolledBackEntry = "rolled-back";
// {table: {"rows", "keys"}}: what "orphans": "drop" leaves out, as of prepare's end, then the
// cutover
inline constexpr const char* kDroppedEntry = "dropped";
inline constexpr std::int64_t kDroppedKeysKept = 1000;  // of each table
// {"tables": [CapturedTable], "fingerprint"}: new main → backup
inline constexpr const char* kReverseEntry = "reverse";
// {"tables": [CapturedTable]}: what is written while a rollback counts and waits for its locks
inline constexpr const char* kWatchEntry = "watch";

// For a transaction that replays: if the server dies before it is on disk, rows and log are both as
// before, and the keys are replayed again. A commit that nobody waits for.
inline constexpr const char* kCommitSoon = "SET LOCAL synchronous_commit = off";

// The strategy. One method per phase, one file per group of them:
//   prepare.cc   Prepare        sync.cc      SyncStep, the first copy of preserved tables
//   cutover.cc   Cutover, Finish             rollback.cc  Rollback
//   removal.cc   Cleanup, Reset, earlier backups
//   status.cc    WhoOwns, Status, Verify     plan.cc      MakePlan
class TableSwap final : public core::Migration {
 public:
  explicit TableSwap(core::Context& context);

  core::Capabilities Capabilities() const override {
    return {.atomic_cutover = true, .retries_cutover = true, .captures = true, .drains = false};
  }
  core::Plan MakePlan() override;
  void MayBegin(db::Session& session) override;
  void Prepare() override;
  bool TakeBack() override;
  core::SyncProgress SyncStep(const core::Budget& budget) override;
  void Cutover(const core::CutoverOptions& options) override;
  void Finish() override;
  core::VerifyResult Verify() override;
  void Rollback(const core::RollbackOptions& options) override;
  std::vector<std::string> Cleanup(bool dry_run) override;
  std::vector<std::string> Reset(bool dry_run) override;
  core::Owner WhoOwns() override;
  core::StrategyStatus Status() override;

 private:
  using SessionPtr = std::unique_ptr<db::Session>;
  // Everything that the journal says of this migration, read at once.
  struct Known {
    std::optional<Manifest> manifest;
    std::vector<capture::CapturedTable> captured;
    bool capture_installed = false;    // and at work
    bool capture_off = false;          // past the log's limit: what was captured is of no use
    catalog::Fingerprint fingerprint;  // of the watched tables
    Json blocked = nullptr;
    Json cutover = nullptr;  // not null: the new side serves
    Json attempt = nullptr;
    Json written = nullptr;  // kLastWriteEntry
    Json dropped = nullptr;  // kDroppedEntry
    bool finished = false;
    bool rolled_back = false;
    std::vector<capture::CapturedTable> reverse;       // empty when it was switched off
    std::vector<capture::CapturedTable> reverse_left;  // what is to be taken away all the same
    catalog::Fingerprint reverse_fingerprint;   // of the watched ones, as the cutover left them
    std::vector<capture::CapturedTable> watch;  // kWatchEntry
    std::set<catalog::Oid> lost;                // of these: LeaveOutLost
    std::vector<capture::CapturedTable> Carried() const;  // `reverse` without those
  };

  std::string SessionName() const;
  std::string CaptureOwner() const;  // of this migration's logs and triggers
  SessionPtr Connect(std::chrono::milliseconds lock_timeout) const;
  SessionPtr Connect() const { return Connect(lock_timeout_); }
  // Error(kConflict) for a wait for locks that was given up, and who holds them. The caller's
  // transaction has failed: another session looks.
  [[noreturn]] void ThrowHeld(const db::Value& oids, const std::vector<db::TableName>& more,
                              std::chrono::milliseconds waited, bool also_readers = true) const;
  // Within `limit`, all that production uses. A timeout is Error(kConflict), which names who holds
  // a table.
  void LockOutgoing(db::Session& session, const Exchange& exchange,
                    std::chrono::milliseconds limit) const;
  Known Read(core::Journal& journal) const;
  Known ReadOrNothing(db::Session& session) const;  // without a journal: nothing known
  ShadowRequest Request() const;
  ShadowRequest RequestOfPlan() const;  // for a scratch database of plan's own

  // others.cc: other table swaps of this database, and which of them stand in the way of this one;
  // the latter is what plan, prepare and rollback go by.
  struct Other {
    std::string id;
    std::string state;
    std::optional<Manifest> manifest;  // something of it is built
    bool cut_over = false;
    bool finished = false;
    bool rolled_back = false;
    bool Shares(const std::vector<std::string>& schemas) const;  // one of these
  };
  std::vector<Other> Others(db::Session& session) const;
  std::vector<core::PlanRefusal> OthersInTheWay(db::Session& session) const;
  void RefuseOthers(db::Session& session) const;
  void RefuseOthersShadow(db::Session& session, const Known& known) const;

  // prepare.cc
  void Build(db::Session& session, Scratch& scratch);
  void RemakeScratch(db::Session& session, const Manifest& manifest, Scratch& scratch);
  void InstallCapture(db::Session& session);
  // In the caller's transaction, whose statements it bounds.
  void InstallTriggers(db::Session& session, std::vector<capture::CapturedTable>& some) const;
  void InstallSome(db::Session& session, std::vector<capture::CapturedTable> some, Known& known,
                   bool last);
  void CopyAll(db::Session& session);
  void LeaveOutOrphans(db::Session& session);
  // What would be left out if the cutover came now; into the journal.
  void ListDropped(db::Session& session);
  // The log's lines and the file beside the migration's; `dropped`: of kDroppedEntry.
  void TellDropped(const Json& dropped, const char* when) const;
  Manifest NewManifest() const;
  void WriteRemovalFile(db::Session& session, const Manifest& manifest) const;
  void EndOldBackends(db::Session& session) const;

  // sync.cc
  void FirstCopies(const Known& known);
  // Whether what was just replayed into this table has left rows that refer to nothing.
  bool BroughtOrphans(db::Session& session, const capture::CapturedTable& table) const;
  // Of each table that was replayed, by how many rows its mirror has grown.
  using Replayed = std::vector<std::pair<const capture::CapturedTable*, std::int64_t>>;
  void CommitReplay(db::Session& session, db::Transaction& transaction, const Replayed& replayed,
                    const Json& what);
  capture::ReplayResult ReplayOne(db::Session& session, const capture::CapturedTable& table,
                                  std::int64_t entries);
  void HoldLogWithinLimit(db::Session& session, const Known& known);
  // What is to be said where nothing is captured any more.
  [[noreturn]] void ThrowCaptureIsOff() const;
  // `entry` of `migration`, which names the tables: it says from the first moment on that nothing
  // is captured any more. It stays.
  void TakeCaptureOff(const std::vector<capture::CapturedTable>& tables,
                      const std::string& migration, const char* entry);
  void CopyIncompleteAgain(db::Session& session, const Known& known);
  void FollowChanges(db::Session& session, Known& known);

  // cutover.cc
  std::vector<std::string> ChangedSincePrepare(db::Session& session, const Known& known) const;
  void CheckBeforeLocks(db::Session& session, const Known& known);
  // Replays what has come while the tables were read; `known` is read again.
  void CatchUp(db::Session& session, Known& known);
  // Keys onto tables that are not captured: at every attempt, all rows.
  void CheckUncaptured(db::Session& session, const std::vector<WaitingReference>& references);
  void WaitForOldSnapshots(db::Session& session, const Known& known,
                           const core::CutoverOptions& options);
  ExchangeRequest Forth(const Known& known) const;
  static Json NotCompared(const Known& known);
  void RememberAttempt(db::Session& session, const char* verb) const;
  // What is done under the locks for each table that was written to, made ready before them.
  struct ReadyDrain {
    struct Check {
      const WaitingReference* one = nullptr;
      const capture::CapturedTable* table = nullptr;
      bool ready = false;  // one statement of the session answers for all of these
    };
    std::optional<capture::ReadyReplay> replay;
    std::vector<Check> checks;  // of each key and each table at an end of it
    bool may_orphan = false;    // there is such a statement
  };
  ReadyDrain MakeReady(db::Session& session, const Known& known,
                       const std::vector<WaitingReference>& references) const;
  // Brings what is left in the logs close to nothing, all tables in one transaction.
  void LastRounds(db::Session& session, const Known& known, ReadyDrain& ready);
  void DrainLocked(db::Session& session, const Known& known, ReadyDrain& ready,
                   const core::CutoverOptions& options, capture::DroppedRows* dropped,
                   std::map<catalog::Oid, std::int64_t>& rows,
                   const std::function<void(std::string_view)>& within);
  void CountRows(db::Session& session, const Known& known);
  struct NotFinished {
    std::string sql;
    std::string why;
  };
  // Behind the commit of an exchange, also again: `keys`, a list of KeyFinish. A lock that is not
  // had in time is Error(kConflict).
  std::vector<NotFinished> FinishKeys(db::Session& session, const Json& keys) const;

  // reverse.cc
  struct Reverse {
    std::vector<capture::CapturedTable> tables;
    std::vector<TriggerState> triggers;  // of the old tables, as they are before the cutover
    // Foreign keys between old tables, which are taken off while rows are replayed into these.
    Json keys = Json::array();
    std::vector<Dependent> inner_keys;  // the same as SQL
    std::vector<std::string> not_covered;
  };
  Reverse PlanReverse(db::Session& session, const Known& known) const;
  std::vector<catalog::FingerprintChange> ReverseChanges(db::Session& session,
                                                         const Known& known) const;
  bool GoesBackWhole(db::Session& session, const Known& known,
                     const catalog::FingerprintChange& change) const;
  void LeaveOutLost(db::Session& session, Known& known) const;
  void CopyBackChanged(db::Session& session, Known& known) const;
  void OpenOldTables(db::Session& session, const Known& known) const;
  // Gives the tables that were replayed.
  std::vector<capture::CapturedTable> ReplayReverse(db::Session& session, const Known& known,
                                                    bool locked);

  // rollback.cc: a line per table that was written to since the cutover
  void FinishRollback(db::Session& session, const Known& known);
  std::vector<std::string> WritesSince(db::Session& session, const Known& known) const;
  // The same of values in columns that the old tables have not, which no replay carries. By table,
  // as SQL over a row of it: it holds such a value.
  std::map<catalog::Oid, std::string> OnlyNew(db::Session& session, const Known& known) const;
  std::vector<std::string> OnlyNewSince(db::Session& session, const Known& known,
                                        const std::map<catalog::Oid, std::string>& only_new) const;
  void WatchWrites(db::Session& session, Known& known);
  void StopWatching(const Known& known);
  std::vector<catalog::Oid> NotCarried(db::Session& session, const Known& known) const;
  void GoBack(db::Session& session, Known& known, const core::RollbackOptions& options);

  // plan.cc
  void PlanEarlier(db::Session& session, core::Plan& plan);
  void PlanWhatIsLeft(const Known& known, core::Plan& plan);
  void PlanTables(db::Session& session, db::Session& fresh, const SetDecision& decision,
                  const std::vector<Movable>& old_objects, core::Plan& plan);

  // removal.cc
  std::vector<std::string> RemoveAll(bool dry_run, bool also_backup);
  void RemoveEarlierBackups(db::Session& session, Manifest& manifest);

  core::Context& context_;
  const core::Spec& spec_;
  Settings settings_;
  std::chrono::milliseconds lock_timeout_;
  SessionPtr sync_session_;  // kept between the steps of one sync
  std::optional<Known> sync_known_;
  std::string followed_digest_;  // of the catalog when FollowChanges last found nothing
  std::string written_at_;       // after the commit of the last replay of this process
  // By OID of the new table, as of the check before the locks and what was replayed since: what a
  // rollback counts from.
  std::map<catalog::Oid, std::int64_t> rows_;
  // CheckBeforeLocks has passed in this process, and nothing was replayed since that it would have
  // refused.
  bool checked_ = false;
  std::string changed_;  // why not any more
  // From then on every replay is looked at by these keys, which production does not enforce.
  struct Followed {
    std::vector<capture::Reference> keys;
    std::vector<capture::CapturedTable> captured;
  };
  Followed followed_;
  std::int64_t replayed_ = 0;  // rows, in this process
};

// The limit on what production may feel of one exchange, from the first lock to the commit. `Spent`
// throws Error(kConflict, "budget") when it is over, and sets what is left as the session's
// statement_timeout otherwise.
class LockBudget {
 public:
  LockBudget(db::Session& session, std::chrono::milliseconds limit)
      : session_(session), limit_(limit), started_(SteadyClock::now()) {}
  void Spent(std::string_view stage);
  double milliseconds() const { return MillisecondsSince(started_); }
  // "locks 12, drain 3, … ms": what took how long.
  std::string Stages() const;
  // Runs what is done under the locks. A statement that was ended because nothing was left is told
  // as Spent() tells it: Error(kConflict, "budget").
  void Within(const std::function<void()>& work);

 private:
  db::Session& session_;
  std::chrono::milliseconds limit_;
  SteadyClock::time_point started_;
  std::string stages_;
  double last_ms_ = 0;
};

// What comes in: hurts nobody, and autovacuum gives way to it.
void LockIncoming(db::Session& session, const Exchange& exchange);
// What production may feel. While we wait for locks, less than the server's deadlock_timeout: a
// client whom we hold up there would be the one that the server ends. From the first lock to the
// commit twice limits.lock_timeout_ms, and less than deadlock_timeout unless the file names it.
struct StallLimits {
  static constexpr std::chrono::milliseconds kLockTimeout{500};
  std::chrono::milliseconds lock;
  std::chrono::milliseconds whole;
  static StallLimits Of(db::Session& session, std::optional<std::int64_t> lock_timeout_ms);
};

// What was replayed under the locks is younger than every snapshot: Error(kConflict,
// "old-snapshots") names a session between two statements that holds one and would miss it.
void RefuseIdleSnapshots(db::Session& session);

std::vector<catalog::Oid> Watched(const std::vector<capture::CapturedTable>& tables);
// Those of `tables` whose log holds anything, or has since it was last vacuumed: of a thousand
// tables only some are written to in a moment.
std::vector<capture::CapturedTable> WrittenTo(db::Session& session,
                                              const std::vector<capture::CapturedTable>& tables);
std::string ServerTime(db::Session& session);

// The detail of kReverseEntry and back.
Json ReverseJson(const std::vector<capture::CapturedTable>& tables,
                 const catalog::Fingerprint& fingerprint);
std::vector<capture::CapturedTable> CapturedFrom(const Json& json);

// "ONLY ", where a table's rows are counted; "" for the parent of partitions, which has theirs.
std::string OnlyItsRows(const Manifest& manifest, catalog::Oid new_table);

// "public.note: 2 rows are left out, since …": of one of kDroppedEntry.
std::string DroppedText(const std::string& table, const Json& what);

Json DependentsJson(const std::vector<Dependent>& dependents);
std::vector<Dependent> DependentsFrom(const Json& json);
Json FinishesJson(const std::vector<KeyFinish>& finishes);

}  // namespace understudy::table_swap
