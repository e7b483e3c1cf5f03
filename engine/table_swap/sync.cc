#include <algorithm>
#include <atomic>
#include <set>

#include "engine/base/error.h"
#include "engine/core/pacer.h"
#include "engine/core/parallel.h"
#include "engine/table_swap/catalog_digest.h"
#include "engine/table_swap/swap.h"

// Keeping the shadow in step: the first copy of each preserved table, then its dirty keys.
namespace understudy::table_swap {
namespace {

constexpr std::int64_t kEntriesAtOnce = 200000;  // of a log, in one transaction
constexpr std::int64_t kBlocksAtOnce = 1024;     // of the first copy, in one statement
constexpr std::size_t kBlockedAtMost = 20;       // refused rows that are told

std::string CopiedEntry(const capture::CapturedTable& table) {
  return "copied." + std::to_string(table.watched);
}

// A piece of a table, so that the copy can be slowed down and told of between two.
struct BlockRange {
  std::string where;
  std::int64_t bytes = 0;
};

std::int64_t BytesOf(db::Session& session, const capture::CapturedTable& table) {
  return session
      .Scalar("SELECT coalesce(pg_relation_size($1::oid), 0)", {db::Value::Integer(table.watched)})
      .AsInteger();
}

// In the transaction that reads them, behind its snapshot. Before 14 the server would read the
// whole table for each, so there is one; and one of a partitioned table.
std::vector<BlockRange> BlockRanges(db::Session& session, const capture::CapturedTable& table) {
  constexpr std::int64_t kFirstMajor = 14;
  const std::int64_t bytes = BytesOf(session, table);
  const std::int64_t block =
      session.Scalar("SELECT current_setting('block_size')::bigint").AsInteger();
  if (session.Server().major() < kFirstMajor || bytes <= kBlocksAtOnce * block) {
    return {{"", bytes}};
  }
  std::vector<BlockRange> ranges;
  for (std::int64_t first = 0; first * block < bytes; first += kBlocksAtOnce) {
    BlockRange range{"ctid >= '(" + std::to_string(first) + ",0)'", bytes - first * block};
    if (range.bytes > kBlocksAtOnce * block) {
      range.bytes = kBlocksAtOnce * block;
      range.where += " AND ctid < '(" + std::to_string(first + kBlocksAtOnce) + ",0)'";
    }
    ranges.push_back(std::move(range));
  }
  return ranges;
}

}  // namespace

// In the caller's transaction, so that nobody ever trusts a log that is not written to any more.
void SwitchOff(db::Session& session, const std::vector<capture::CapturedTable>& tables,
               const std::string& migration, const char* entry) {
  capture::SwitchOff(session, tables);
  core::Journal journal(session, migration);
  Json detail = journal.Find(entry).value().detail;
  detail["off"] = true;
  journal.Put(entry, detail);
}

std::string ServerTime(db::Session& session) {
  return session.Scalar("SELECT clock_timestamp()").text;
}

std::vector<catalog::Oid> Watched(const std::vector<capture::CapturedTable>& tables) {
  std::vector<catalog::Oid> oids;
  for (const capture::CapturedTable& table : tables) oids.push_back(table.watched);
  return oids;
}

std::vector<capture::CapturedTable> WrittenTo(db::Session& session,
                                              const std::vector<capture::CapturedTable>& tables) {
  std::set<capture::Oid> written;
  for (const db::Row& row :
       session
           // A log that is gone has no size: whoever replays it says so.
           .Query("SELECT l FROM unnest($1::oid[]) AS l WHERE coalesce(pg_relation_size(l), 1) > 0",
                  {db::IntegerArray(tables, &capture::CapturedTable::log)})
           .rows) {
    written.insert(static_cast<capture::Oid>(row[0].AsInteger()));
  }
  std::vector<capture::CapturedTable> some;
  for (const capture::CapturedTable& table : tables) {
    if (written.contains(table.log)) some.push_back(table);
  }
  return some;
}

void TableSwap::FirstCopies(const Known& known) {
  std::vector<const capture::CapturedTable*> left;
  std::vector<std::string> names;
  std::int64_t bytes_total = 0;
  {
    const auto session = Connect();
    core::Journal journal(*session, spec_.id);
    std::set<std::string> done;
    for (const core::JournalEntry& entry : journal.Entries()) done.insert(entry.name);
    for (const capture::CapturedTable& table : known.captured) {
      if (done.contains(CopiedEntry(table))) continue;
      left.push_back(&table);
      const auto name = catalog::NameOf(*session, table.watched);
      names.push_back(name ? name->Display() : "a table");
      bytes_total += BytesOf(*session, table);
    }
  }
  const int jobs = spec_.limits.jobs;
  std::vector<SessionPtr> sessions(static_cast<std::size_t>(jobs));
  core::Pacer pacer(context_, spec_.Target());
  std::atomic<std::int64_t> rows_done{0};
  std::atomic<std::int64_t> bytes_done{0};
  const auto moved = [&](std::size_t index, std::int64_t rows, std::int64_t bytes) {
    rows_done += rows;
    bytes_done += bytes;
    context_.Tell("progress", {{"table", names[index]},
                               {"rows_done", rows_done.load()},
                               {"bytes_done", bytes_done.load()},
                               {"bytes_total", std::max(bytes_total, bytes_done.load())}});
    pacer.Moved(rows, bytes);
  };
  core::ForEachParallel(jobs, left.size(), [&](std::size_t index, int worker) {
    context_.WaitWhilePaused();
    context_.ThrowIfStopped();
    SessionPtr& session = sessions[static_cast<std::size_t>(worker)];
    if (!session) session = Connect();
    const capture::CapturedTable& table = *left[index];
    const Json what = {{"table", names[index]}};
    During("copy " + names[index], [&] {
      std::int64_t rows = 0;
      {
        // One snapshot of the table, however many pieces; what a process that died between the
        // two commits has left is taken out.
        db::Transaction transaction(*session, db::Isolation::kRepeatableRead);
        session->Execute("TRUNCATE " + catalog::NameOf(*session, table.mirror).value().Quoted());
        for (const BlockRange& range : BlockRanges(*session, table)) {
          const std::int64_t some =
              session->Query(capture::InsertSql(*session, table, range.where)).affected;
          rows += some;
          moved(index, some, range.bytes);
        }
        context_.At("copy.before_commit", what);
        core::Journal(*session, spec_.id).CheckEpoch(context_.epoch());
        transaction.Commit();
      }
      // The journal as it is now, not as that snapshot has it.
      db::Transaction transaction(*session, db::Isolation::kReadCommitted);
      core::Journal journal(*session, spec_.id);
      journal.CheckEpoch(context_.epoch());
      journal.Put(CopiedEntry(table), {{"rows", rows}});
      RememberWrite(*session, journal);
      transaction.Commit();
      context_.At("copy.after_commit", what);
    });
  });
}

bool TableSwap::BroughtOrphans(db::Session& session, const capture::CapturedTable& table) const {
  return std::ranges::any_of(followed_.keys, [&](const capture::Reference& reference) {
    return (reference.from == table.mirror || reference.to == table.mirror) &&
           capture::FindOrphansAmong(session, reference, table, followed_.captured).rows > 0;
  });
}

void TableSwap::CommitReplay(db::Session& session, db::Transaction& transaction,
                             const Replayed& replayed, const Json& what) {
  // With orphans the whole is looked at again, and the rows are told; if nobody has mended them.
  const bool checked = checked_ && std::ranges::none_of(replayed, [&](const auto& one) {
                         return BroughtOrphans(session, *one.first);
                       });
  if (checked_ != checked) changed_ = "rows that were written refer to nothing";
  checked_ = false;  // as long as nobody knows whether it is committed
  context_.At("replay.before_commit", what);
  transaction.Commit();
  checked_ = checked;
  for (const auto& [table, rows] : replayed) rows_[table->mirror] += rows;
  written_at_ = ServerTime(session);  // whoever has a snapshot from now on sees the rows
  context_.At("replay.after_commit", what);
}

capture::ReplayResult TableSwap::ReplayOne(db::Session& session,
                                           const capture::CapturedTable& table,
                                           std::int64_t entries) {
  db::Transaction transaction(session, db::Isolation::kRepeatableRead);
  core::Journal journal(session, spec_.id);
  journal.CheckEpoch(context_.epoch());
  session.Execute(kCommitSoon);
  const capture::ReplayResult result = capture::Replay(session, table, {.entries = entries});
  if (result.entries == 0 && result.refused.empty()) return result;  // nothing to commit
  if (result.entries > 0) RememberWrite(session, journal);
  CommitReplay(session, transaction, {{&table, result.inserted - result.deleted}},
               {{"entries", result.entries}, {"keys", result.keys}});
  replayed_ += result.inserted + result.deleted;
  return result;
}

// Past the limit nothing more is logged from this commit on. It needs no lock of production's, so
// that it works behind whatever holds one; the triggers themselves go with the reset. While nobody
// looks, the triggers hold the limit themselves (capture::Full): keys are missing then, and nothing
// that was built is of use any more.
void TableSwap::HoldLogWithinLimit(db::Session& session, const Known& known) {
  const std::int64_t bytes = capture::LogBytes(session, known.captured);
  const bool full = !capture::Full(session, WrittenTo(session, known.captured)).empty();
  if (!full && bytes <= spec_.limits.log_max_bytes) return;
  {
    db::Transaction transaction(session);
    core::Journal journal(session, spec_.id);
    journal.CheckEpoch(context_.epoch());
    SwitchOff(session, known.captured, spec_.id, kCaptureEntry);
    transaction.Commit();
  }
  throw Error(ErrorKind::kMismatch,
              "the log of captured keys has grown to " + std::to_string(bytes) +
                  " bytes, more than limits.log_max_bytes (" +
                  std::to_string(spec_.limits.log_max_bytes) + ")" +
                  (full ? " while nobody replayed it, and keys that were written since are missing"
                        : ": writing was faster than replaying") +
                  ". Capture was switched off; production is unchanged. Give up what was begun "
                  "with: understudy migrate reset, then prepare again with a larger limit, or with "
                  "understudy migrate sync --follow until the cutover",
              "log-limit");
}

void TableSwap::ThrowCaptureIsOff() const {
  throw Error(ErrorKind::kUnsupported,
              "nothing is being captured any more (the log had grown past limits.log_max_bytes, or "
              "somebody took it off). Production is unchanged. Give up what was begun with: "
              "understudy migrate reset",
              "log-limit");
}

// Production feels each group's lock for a moment only: whoever waits behind us waits no longer
// than limits.lock_timeout_ms, and we step back and try again. The triggers do nothing meanwhile.
void TableSwap::TakeCaptureOff(const std::vector<capture::CapturedTable>& tables,
                               const std::string& migration, const char* entry) {
  constexpr std::size_t kTablesAtOnce = 20;
  constexpr std::chrono::milliseconds kLongestPause{2000};
  const auto session = Connect();
  core::Journal journal(*session, spec_.id);
  {
    db::Transaction transaction(*session);
    journal.CheckEpoch(context_.epoch());
    SwitchOff(*session, tables, migration, entry);
    transaction.Commit();
  }
  const auto deadline =
      SteadyClock::now() + std::chrono::milliseconds(spec_.limits.cutover_budget_ms);
  std::chrono::milliseconds pause{50};
  for (std::size_t first = 0; first < tables.size();) {
    const auto begin = tables.begin() + static_cast<std::ptrdiff_t>(first);
    const std::vector<capture::CapturedTable> some(
        begin, begin + static_cast<std::ptrdiff_t>(std::min(kTablesAtOnce, tables.size() - first)));
    try {
      db::Transaction transaction(*session);
      journal.CheckEpoch(context_.epoch());
      // lock_timeout counts per relation: the whole must be bounded.
      session->Execute("SET LOCAL statement_timeout = " + std::to_string(lock_timeout_.count()));
      capture::LockForRemoval(*session, some);
      capture::Remove(*session, some);
      transaction.Commit();
      first += some.size();
    } catch (const Error& error) {
      const bool waited = error.kind() == ErrorKind::kConflict || error.code() == "57014";
      if (!waited) throw;
      if (SteadyClock::now() + pause >= deadline) {
        throw Error(ErrorKind::kConflict,
                    "the capture triggers could not be taken away within "
                    "limits.cutover_budget_ms: a client holds one of their tables (" +
                        std::string(error.what()) +
                        "). They do nothing any more, and production is unchanged; run this again",
                    "55P03");
      }
      context_.ThrowIfStopped();
      session->Query("SELECT pg_sleep($1)",
                     {db::Value::Real(static_cast<double>(pause.count()) / 1000)});
      pause = std::min(pause * 2, kLongestPause);
    }
  }
}

// A column of the key was renamed and is there again, or the like; where it is not, FollowChanges
// says so.
void TableSwap::CopyIncompleteAgain(db::Session& session, const Known& known) {
  for (const catalog::Oid oid : capture::Incomplete(session, WrittenTo(session, known.captured))) {
    const auto table = std::ranges::find(known.captured, oid, &capture::CapturedTable::watched);
    const catalog::Fingerprint now = catalog::ReadFingerprint(session, {oid});
    if (!now.contains(oid) || now.at(oid).columns != known.fingerprint.at(oid).columns) continue;
    const std::string name = now.at(oid).table;
    context_.Log("warn", name +
                             ": keys of rows that were written could not be captured, because "
                             "a column of its key was changed meanwhile; it is copied again");
    During("copy " + name + " again", [&] {
      checked_ = false;
      changed_ = name + ": not every key could be captured";
      db::Transaction transaction(session, db::Isolation::kRepeatableRead);
      core::Journal journal(session, spec_.id);
      journal.CheckEpoch(context_.epoch());
      capture::Recopy(session, *table);
      RememberWrite(session, journal);
      transaction.Commit();
      written_at_ = ServerTime(session);
    });
  }
}

// What no row trigger has seen: the table is copied again, or, where its columns have changed, the
// migration must be planned anew.
void TableSwap::FollowChanges(db::Session& session, Known& known) {
  HoldLogWithinLimit(session, known);
  CopyIncompleteAgain(session, known);
  std::vector<Movable> watched;
  for (const Movable& object : known.manifest->old_objects) {
    if (object.kind == "TABLE") watched.push_back(object);
  }
  const std::string digest = CatalogDigest(session, watched);
  if (digest == followed_digest_) return;  // spares reading all of it
  const catalog::Fingerprint now = catalog::ReadFingerprint(session, Watched(known.captured));
  const auto changes = catalog::CompareFingerprints(known.fingerprint, now);
  for (const catalog::FingerprintChange& change : changes) {
    if (change.gone || change.columns || change.renamed) {
      throw Error(ErrorKind::kUnsupported,
                  change.Text() +
                      " since prepare: the shadow was made for what it was. Production "
                      "is unchanged. Begin again with: understudy migrate reset");
    }
    const auto it =
        std::ranges::find(known.captured, change.table, &capture::CapturedTable::watched);
    if (it == known.captured.end()) continue;
    context_.Log("info", change.Text() + ": it is copied again");
    During("copy " + change.name + " again", [&] {
      {
        db::Transaction transaction(session);
        core::Journal(session, spec_.id).CheckEpoch(context_.epoch());
        capture::Repair(session, {*it});
        transaction.Commit();
      }
      db::Transaction transaction(session, db::Isolation::kRepeatableRead);
      core::Journal journal(session, spec_.id);
      journal.CheckEpoch(context_.epoch());
      capture::Recopy(session, *it);
      known.fingerprint[change.table] =
          catalog::ReadFingerprint(session, {change.table})[change.table];
      Json tables = Json::array();
      for (const capture::CapturedTable& table : known.captured) tables.push_back(table.ToJson());
      journal.Put(kCaptureEntry,
                  {{"tables", tables}, {"fingerprint", catalog::ToJson(known.fingerprint)}});
      RememberWrite(session, journal);
      transaction.Commit();
      written_at_ = ServerTime(session);
    });
    checked_ = false;
    changed_ = change.Text();
  }
  if (changes.empty()) followed_digest_ = digest;
}

core::SyncProgress TableSwap::SyncStep(const core::Budget& /*budget*/) {
  core::SyncProgress progress;
  try {
    if (!sync_session_) sync_session_ = Connect();
    db::Session& session = *sync_session_;
    if (!sync_known_) sync_known_ = ReadOrNothing(session);
    Known& known = *sync_known_;
    if (!known.cutover.is_null()) return progress;  // committed; the lifecycle will learn of it
    if (!known.capture_installed) ThrowCaptureIsOff();
    FollowChanges(session, known);
    Json blocked = Json::array();
    bool more = false;
    const auto written = WrittenTo(session, known.captured);
    for (const capture::CapturedTable& table : written) {
      context_.ThrowIfStopped();
      const capture::ReplayResult result = ReplayOne(session, table, kEntriesAtOnce);
      more = more || result.more || result.incomplete || result.entries >= kEntriesAtOnce / 20;
      for (const capture::RefusedRow& row : result.refused) {
        if (blocked.size() == kBlockedAtMost) break;
        blocked.push_back({{"table", row.table.Display()}, {"key", row.key}, {"why", row.why}});
      }
    }
    if (blocked != (known.blocked.is_null() ? Json::array() : known.blocked)) {
      db::Transaction transaction(session);
      core::Journal journal(session, spec_.id);
      journal.CheckEpoch(context_.epoch());
      if (blocked.empty()) {
        journal.Remove(kBlockedEntry);
      } else {
        journal.Put(kBlockedEntry, blocked);
        context_.Log("warn", "the shadow refuses " + std::to_string(blocked.size()) +
                                 " or more rows; the cutover waits for them: " + blocked.dump());
      }
      transaction.Commit();
      known.blocked = blocked;
    }
    progress.caught_up = !more;
    progress.rows_done = replayed_;
    for (const std::int64_t count : capture::Pending(session, written, 100000)) {
      progress.pending_writes += count;
    }
    context_.At("sync.before_commit");
    context_.At("sync.after_commit");
  } catch (...) {
    sync_session_.reset();
    sync_known_.reset();
    throw;
  }
  return progress;
}

}  // namespace understudy::table_swap
