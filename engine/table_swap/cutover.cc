#include <algorithm>
#include <limits>
#include <ranges>
#include <set>

#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "engine/capture/dropped.h"
#include "engine/table_swap/definitions.h"
#include "engine/table_swap/preflight.h"
#include "engine/table_swap/references.h"
#include "engine/table_swap/swap.h"

// The exchange itself, in the order of the phases of an attempt. What production feels lies between
// TakeLocks and the commit.
namespace understudy::table_swap {
namespace {

// Clients that are short on their way are waited for; the attempt is given up behind this.
constexpr std::chrono::milliseconds kOldSnapshotsMayEnd{1500};
constexpr std::chrono::seconds kShadowLockTimeout{10};
constexpr int kRoundsBeforeLocks = 5;
constexpr int kTruncatesBeforeLocks = 10;
constexpr std::int64_t kNearlyEmpty = 1000;  // entries that the drain may find
constexpr std::string_view kNoTable = "42P01";
constexpr std::string_view kNoObject = "42704";
constexpr std::string_view kThereAlready = "42710";
// Of the session, prepared: which checks of the drained rows have to be made.
constexpr const char* kMayOrphan = "understudy_may_orphan";

void SetLocal(db::Session& session, const char* name, std::chrono::milliseconds value) {
  session.Execute(std::string("SET LOCAL ") + name + " = " + std::to_string(value.count()));
}

std::string Refused(const Json& blocked) {
  std::string text;
  for (const Json& row : blocked) {
    text += (text.empty() ? "" : "; ") + row.value("table", "?") + " " + row.at("key").dump() +
            ": " + row.value("why", "?");
  }
  return text;
}

[[noreturn]] void ThrowOrphans(const DeferredForeignKey& key, const capture::Orphans& orphans,
                               const Settings& settings) {
  throw Error(
      ErrorKind::kMismatch,
      std::to_string(orphans.rows) + " rows of " + key.table.Display() + " refer to nothing in " +
          key.references.Display() + " (foreign key " + db::DisplayIdentifier(key.name) +
          "), such as " + orphans.examples.dump() + "; production is unchanged. " +
          // It leaves out rows of preserved tables, not the new data.
          (settings.drop_orphans
               ? "\"orphans\": \"drop\" leaves out rows of preserved tables only, and these may "
                 "refer to such: mend the rows, then: understudy migrate cutover"
               : "Mend the rows, or set \"orphans\": \"drop\""),
      "orphans");
}

// A TRUNCATE says no key, and whoever has an older snapshot sees its table empty.
bool TruncatePending(db::Session& session, const capture::CapturedTable& table) {
  const auto log = catalog::NameOf(session, table.log);
  return log &&
         session.Scalar("SELECT EXISTS (SELECT FROM ONLY " + log->Quoted() + " WHERE k1 IS NULL)")
             .AsBool();
}

// Other sessions' transactions that would see empty tables behind the exchange; "" = none. A
// snapshot that does not see the last write is of a transaction that began before that write was
// seen to be committed, and has an xmin that is not beyond it.
std::string OldSnapshots(db::Session& session, std::int64_t xid, const std::string& committed_by) {
  if (Sabotaged("swap-ignores-old-snapshots")) return "";
  const db::Result result = session.Query(R"(
WITH last AS (SELECT ($1::bigint % 4294967296)::text::xid AS write)
SELECT 'pid ' || a.pid || ' (' || coalesce(a.usename, '?') || ', ' || a.state || ', since ' ||
       to_char(a.xact_start, 'HH24:MI:SS') || ')'
FROM pg_stat_activity a, last
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND a.backend_type = 'client backend' AND a.backend_xmin IS NOT NULL
  AND a.application_name NOT LIKE 'understudy-engine%'
  AND age(a.backend_xmin) >= age(last.write) AND a.xact_start < $2::timestamptz
UNION ALL
SELECT 'prepared transaction ' || quote_literal(p.gid) || ' of ' || p.owner
FROM pg_prepared_xacts p, last
WHERE p.database = current_database() AND age(p.transaction) >= age(last.write)
ORDER BY 1)",
                                          {db::Value::Integer(xid), db::Value::Text(committed_by)});
  std::string all;
  for (const db::Row& row : result.rows) all += (all.empty() ? "" : ", ") + row[0].text;
  return all;
}

// By which a rollback tells rows that were written later: the new tables hold only our rows now,
// all of them by numbers up to `last_xid`. Whoever was running then, and waits for our locks, may
// write with an older number: transactions and subtransactions that have one hold a lock on it.
struct Moment {
  std::string xid;
  std::string last_xid;
  std::string running;  // an array, as text
};

Moment MomentOfCutover(db::Session& session, const std::string& made_last) {
  const db::Row row = session
                          .Query(R"(
SELECT txid_current(), (SELECT xmin FROM pg_namespace WHERE nspname = $1),
       (SELECT coalesce(array_agg(transactionid), '{}') FROM pg_locks
         WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted
           AND pid IS DISTINCT FROM pg_backend_pid()))",
                                 {db::Value::Text(made_last)})
                          .rows.at(0);
  return {row[0].text, row[1].text, row[2].text};
}

}  // namespace

void LockBudget::Spent(std::string_view stage) {
  const double now = milliseconds();
  stages_ += (stages_.empty() ? "" : ", ") + std::string(stage) + " " +
             std::to_string(static_cast<std::int64_t>(now - last_ms_));
  last_ms_ = now;
  const auto left = limit_ - std::chrono::milliseconds(static_cast<std::int64_t>(now));
  if (left.count() <= 0) {
    throw Error(ErrorKind::kConflict,
                "the exchange was not done " + std::to_string(limit_.count()) +
                    " ms after its first lock; everything was given back (" + Stages() +
                    "). More time: limits.lock_timeout_ms, the half of what is needed",
                "budget");
  }
  SetLocal(session_, "statement_timeout", left);
}

std::string LockBudget::Stages() const { return stages_ + " ms"; }

void LockBudget::Within(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCancelled || error.code() != "57014") throw;
    throw Error(ErrorKind::kConflict,
                "the exchange was not done " + std::to_string(limit_.count()) +
                    " ms after its first lock; everything was given back (" + Stages() +
                    ", then a statement was ended). More time: limits.lock_timeout_ms, the half of "
                    "what is needed",
                "budget");
  }
}

StallLimits StallLimits::Of(db::Session& session, std::optional<std::int64_t> lock_timeout_ms) {
  const std::chrono::milliseconds deadlock(
      session.Scalar("SELECT setting FROM pg_settings WHERE name = 'deadlock_timeout'")
          .AsInteger());
  const std::chrono::milliseconds lock(lock_timeout_ms.value_or(kLockTimeout.count()));
  return {std::min(lock, deadlock * 9 / 10),
          lock_timeout_ms ? 2 * lock : std::min(2 * lock, deadlock)};
}

void LockIncoming(db::Session& session, const Exchange& exchange) {
  SetLocal(session, "lock_timeout", kShadowLockTimeout);
  SetLocal(session, "statement_timeout", kShadowLockTimeout);
  if (const std::string sql = exchange.LockIncomingSql(); !sql.empty()) session.Execute(sql);
}

void TableSwap::ThrowHeld(const db::Value& oids, const std::vector<db::TableName>& more,
                          std::chrono::milliseconds waited, bool also_readers) const {
  std::string holders;
  try {
    holders = HoldersOf(*Connect(), oids, more, waited, also_readers);
  } catch (const Error&) {  // no connection is free: it stays unsaid
  }
  throw Error(ErrorKind::kConflict,
              "the tables could not be locked within " + std::to_string(waited.count()) +
                  " ms (limits.lock_timeout_ms): " +
                  (holders.empty() ? "a client holds one of them"
                                   : "held by " + holders +
                                         "; wait for the end, or end it with SELECT "
                                         "pg_terminate_backend(PID), a prepared transaction with "
                                         "ROLLBACK PREPARED"),
              "55P03");
}

void TableSwap::LockOutgoing(db::Session& session, const Exchange& exchange,
                             std::chrono::milliseconds limit) const {
  // lock_timeout counts per relation: of one LOCK TABLE the whole must be bounded.
  SetLocal(session, "lock_timeout", limit);
  SetLocal(session, "statement_timeout", limit);
  const std::string sql = exchange.LockOutgoingSql();
  if (sql.empty()) return;
  try {
    session.Execute(sql);
  } catch (const Error& error) {
    if (error.code() == kNoTable) {
      throw Error(ErrorKind::kConflict, "renamed or dropped a moment ago: " + error.message(),
                  "changed");
    }
    if (error.kind() != ErrorKind::kCancelled) throw;
    ThrowHeld(db::IntegerArray(exchange.out(), &Movable::oid), exchange.Partners(), limit);
  }
}

// The new columns that CheckBeforeLocks passes over: "public.orders.seen_at".
Json TableSwap::NotCompared(const Known& known) {
  Json columns = Json::array();
  for (const capture::CapturedTable& table : known.captured) {
    const auto named = std::ranges::find(known.manifest->tables, table.watched, &SetTable::old_oid);
    if (named == known.manifest->tables.end()) continue;
    const auto add = [&](const std::string& column) {
      columns.push_back(named->name.Display() + "." + db::DisplayIdentifier(column));
    };
    for (const std::string& column : table.mapping.not_compared) add(column);
    for (const capture::ColumnSource& source : table.mapping.columns) {
      if (!source.compared) add(source.column);
    }
  }
  return columns;
}

ExchangeRequest TableSwap::Forth(const Known& known) const {
  const Manifest& manifest = *known.manifest;
  ExchangeRequest request;
  request.schemas = manifest.schemas;
  request.out = manifest.old_objects;
  request.in = manifest.new_objects;
  request.keys = KeysOf(manifest.foreign_keys);
  request.triggers = manifest.triggers;
  request.access = manifest.access;
  request.from_source = settings_.from_source;
  for (const auto& [table, rules] : settings_.columns) {
    for (const auto& [column, rule] : rules) {
      if (rule.kind == ColumnRule::Kind::kFrom) request.column_from[table][column] = rule.text;
    }
  }
  return request;
}

// Once in a process: whole tables are read. What is pending then is left out; that and what is
// written later is looked at as it is replayed, by the keys that production does not enforce
// itself, and what is drained under the locks by all of them: together everything.
void TableSwap::CheckBeforeLocks(db::Session& session, const Known& known) {
  for (const capture::CapturedTable& table : known.captured) {
    capture::MirrorComparison comparison;
    bool truncated = true;
    for (int tries = 0; truncated && tries < kTruncatesBeforeLocks; ++tries) {
      context_.ThrowIfStopped();
      {
        const db::Transaction snapshot(session, db::Isolation::kRepeatableRead);
        comparison = capture::CompareMirror(session, table);
      }
      truncated = !comparison.equal && TruncatePending(session, table);
      if (truncated) ReplayOne(session, table, std::numeric_limits<std::int64_t>::max());
    }
    if (comparison.equal) continue;
    const auto name = catalog::NameOf(session, table.watched);
    if (truncated) {
      throw Error(
          ErrorKind::kConflict,
          (name ? name->Display() : "a table") +
              " was truncated again and again while it was compared, more often than that takes; "
              "production is unchanged. Keep what truncates it from doing so for a moment, "
              "then: understudy migrate cutover",
          "truncate");
    }
    throw Error(ErrorKind::kMismatch,
                (name ? name->Display() : "a table") +
                    " and its shadow differ: " + std::to_string(comparison.watched_rows) +
                    " rows against " + std::to_string(comparison.mirror_rows) +
                    (comparison.examples.empty() ? std::string()
                                                 : ", such as " + comparison.examples.dump()) +
                    "; production is unchanged. Begin again with: understudy migrate reset",
                "mirror");
  }
  const db::Transaction snapshot(session, db::Isolation::kRepeatableRead);
  Followed followed{{}, known.captured};
  for (const WaitingReference& one :
       WaitingReferences(session, *known.manifest, known.captured, settings_.drop_orphans)) {
    context_.ThrowIfStopped();
    if (one.dropped_by) continue;
    const auto orphans = capture::FindOrphans(session, one.reference, known.captured);
    if (orphans.rows > 0) ThrowOrphans(*one.key, orphans, settings_);
    if (!one.enforced) followed.keys.push_back(one.reference);
  }
  CountRows(session, known);
  followed_ = std::move(followed);
  checked_ = true;
}

std::string OnlyItsRows(const Manifest& manifest, catalog::Oid new_table) {
  const auto table = std::ranges::find(manifest.tables, new_table, &SetTable::new_oid);
  return table != manifest.tables.end() && table->partitioned ? "" : "ONLY ";
}

void TableSwap::CountRows(db::Session& session, const Known& known) {
  rows_.clear();
  const auto count = [&](catalog::Oid table) {
    context_.ThrowIfStopped();
    const auto name = catalog::NameOf(session, table);
    if (!name) return;
    rows_[table] =
        session
            .Scalar("SELECT count(*) FROM " + OnlyItsRows(*known.manifest, table) + name->Quoted())
            .AsInteger();
  };
  for (const capture::CapturedTable& table : known.captured) count(table.mirror);
  // The rest: what is replaced, and with {"sql": …} what only the new schema has. The partitions of
  // a captured table are counted with it.
  std::set<catalog::Oid> captured;
  for (const db::Row& row :
       session
           .Query("SELECT m FROM unnest($1::oid[]) AS m UNION SELECT t.relid::oid FROM "
                  "unnest($1::oid[]) AS m CROSS JOIN LATERAL pg_partition_tree(m) AS t",
                  {db::IntegerArray(known.captured, &capture::CapturedTable::mirror)})
           .rows) {
    captured.insert(static_cast<catalog::Oid>(row[0].AsInteger()));
  }
  for (const SetTable& table : known.manifest->tables) {
    if (table.partitioned || table.new_oid == 0 || captured.contains(table.new_oid)) continue;
    count(table.new_oid);
  }
}

void TableSwap::CatchUp(db::Session& session, Known& known) {
  for (int round = 0; round < kRoundsBeforeLocks; ++round) {
    std::int64_t entries = 0;
    for (const capture::CapturedTable& table : WrittenTo(session, known.captured)) {
      entries += ReplayOne(session, table, spec_.limits.chunk_rows * 20).entries;
    }
    if (entries < kNearlyEmpty) break;
  }
  core::Journal journal(session, spec_.id);
  known = Read(journal);
}

void TableSwap::CheckUncaptured(db::Session& session,
                                const std::vector<WaitingReference>& references) {
  db::Transaction snapshot(session, db::Isolation::kRepeatableRead);
  for (const WaitingReference& one : references) {
    if (one.enforced || !one.to_uncaptured) continue;
    const auto orphans = capture::FindOrphans(session, one.reference, followed_.captured);
    if (orphans.rows > 0) ThrowOrphans(*one.key, orphans, settings_);
  }
}

void TableSwap::WaitForOldSnapshots(db::Session& session, const Known& known,
                                    const core::CutoverOptions& options) {
  if (options.allow_old_snapshots || known.written.is_null()) return;
  // Another process has written: it was committed by now.
  if (written_at_.empty()) written_at_ = ServerTime(session);
  const auto until = std::min(options.deadline, SteadyClock::now() + kOldSnapshotsMayEnd);
  for (;;) {
    context_.ThrowIfStopped();
    const std::string old =
        OldSnapshots(session, known.written.at("xid").get<std::int64_t>(), written_at_);
    if (old.empty()) return;
    if (SteadyClock::now() >= until) {
      throw Error(
          ErrorKind::kConflict,
          "sessions hold snapshots from before the last replay and would see empty tables: " + old +
              "; wait for them, end them, or allow it with --allow-old-snapshots",
          "old-snapshots");
    }
    session.Query("SELECT pg_sleep(0.02)");
  }
}

// Written by another session, so that it is there whatever becomes of the exchange's transaction:
// after a lost connection it says whom to wait for and what to ask.
void TableSwap::RememberAttempt(db::Session& session, const char* verb) const {
  const db::Row row =
      session
          .Query(
              "SELECT txid_current(), (SELECT backend_start FROM pg_stat_activity WHERE pid = "
              "pg_backend_pid())")
          .rows.at(0);
  const auto other = Connect();
  core::Journal(*other, spec_.id)
      .Put(kAttemptEntry, {{"verb", verb},
                           {"xid", row[0].text},
                           {"pid", session.BackendPid()},
                           {"backend_start", row[1].TextOr("")}});
}

TableSwap::ReadyDrain TableSwap::MakeReady(db::Session& session, const Known& known,
                                           const std::vector<WaitingReference>& references) const {
  ReadyDrain ready;
  ready.replay.emplace(session, WrittenTo(session, known.captured));
  std::string expressions;
  for (const WaitingReference& one : references) {
    for (const capture::CapturedTable& table : known.captured) {
      if (table.mirror != one.reference.from && table.mirror != one.reference.to) continue;
      const bool made = ready.replay->Has(table.watched);
      ready.checks.push_back({&one, &table, made});
      if (!made) continue;
      expressions += (expressions.empty() ? "" : ", ") +
                     capture::MayOrphanSql(session, one.reference, table,
                                           !one.enforced || one.dropped_by.has_value());
    }
  }
  if (!expressions.empty()) {
    db::Transaction transaction(session);
    session.Execute("SET LOCAL row_security = off; PREPARE " + std::string(kMayOrphan) +
                    " AS SELECT unnest(ARRAY[" + expressions + "]::boolean[])");
    transaction.Commit();
    ready.may_orphan = true;
  }
  return ready;
}

void TableSwap::LastRounds(db::Session& session, const Known& known, ReadyDrain& ready) {
  for (int round = 0; round < kRoundsBeforeLocks; ++round) {
    context_.ThrowIfStopped();
    const auto written = WrittenTo(session, known.captured);
    db::Transaction transaction(session, db::Isolation::kRepeatableRead);
    core::Journal journal(session, spec_.id);
    journal.CheckEpoch(context_.epoch());
    session.Execute(kCommitSoon);
    const auto done = ready.replay->Run(Watched(written));
    if (!done || done->entries == 0) return;  // what is refused is found, and told, under the locks
    RememberWrite(session, journal);
    Replayed replayed;
    for (const capture::CapturedTable& table : known.captured) {
      if (const auto it = done->rows.find(table.watched); it != done->rows.end()) {
        replayed.emplace_back(&table, it->second);
      }
    }
    CommitReplay(session, transaction, replayed, {{"entries", done->entries}});
    // The first round plans the statements, here and there.
    if (round == 0 && ready.may_orphan) session.Query("EXECUTE " + std::string(kMayOrphan));
    if (round > 0 && done->entries < kNearlyEmpty / 2) return;
  }
}

void TableSwap::DrainLocked(db::Session& session, const Known& known, ReadyDrain& ready,
                            const core::CutoverOptions& options, capture::DroppedRows* dropped,
                            std::map<catalog::Oid, std::int64_t>& rows,
                            const std::function<void(std::string_view)>& within) {
  if (Sabotaged("swap-skips-drain")) return;
  const auto written = WrittenTo(session, known.captured);
  const auto done = ready.replay->Run(Watched(written));
  std::set<capture::Oid> drained;
  for (const capture::CapturedTable& table : written) {
    if (done && ready.replay->Has(table.watched)) {
      const auto it = done->rows.find(table.watched);
      if (it == done->rows.end()) continue;
      rows[table.mirror] += it->second;
      drained.insert(table.watched);
      continue;
    }
    const auto result = capture::Replay(session, table, {.entries = std::nullopt});
    if (result.incomplete) {
      throw Error(ErrorKind::kConflict, "keys could not be captured a moment ago", "changed");
    }
    if (!result.refused.empty()) {
      throw Error(ErrorKind::kMismatch,
                  "the shadow of " + result.refused[0].table.Display() + " refuses the row " +
                      result.refused[0].key.dump() + ": " + result.refused[0].why +
                      "; production is unchanged. Mend the row, then: understudy migrate cutover",
                  "blocked");
    }
    if (result.entries == 0) continue;
    rows[table.mirror] += result.inserted - result.deleted;
    drained.insert(table.watched);
  }
  within("drain");
  if (drained.empty()) return;
  const db::Result may =
      ready.may_orphan ? session.Query("EXECUTE " + std::string(kMayOrphan)) : db::Result{};
  std::size_t at = 0;
  std::vector<capture::DroppedRows::Hit> hits;
  for (const ReadyDrain::Check& check : ready.checks) {
    const bool may_orphan = !check.ready || may.rows.at(at++)[0].AsBool();
    if (!may_orphan || !drained.contains(check.table->watched)) continue;
    if (check.one->dropped_by) {
      hits.push_back({*check.one->dropped_by, check.table->watched});
      continue;
    }
    const auto orphans = capture::FindOrphansAmong(session, check.one->reference, *check.table, {},
                                                   !check.one->enforced);
    if (orphans.rows > 0) ThrowOrphans(*check.one->key, orphans, settings_);
  }
  if (dropped != nullptr) dropped->TakeOutDrained(drained, hits);
  within("keys of the drained rows");
  if (!options.allow_old_snapshots) RefuseIdleSnapshots(session);
}

void RefuseIdleSnapshots(db::Session& session) {
  // What was drained just now is younger than every snapshot. A transaction that is between two
  // statements and holds one would miss those rows; whoever waits for our locks takes a new one,
  // unless it is REPEATABLE READ, which nobody can see from outside. The server shows a transaction
  // who was there when it first asked, which was before the locks.
  session.Execute("SELECT pg_stat_clear_snapshot()");
  const auto holder = session.MaybeScalar(
      "SELECT 'pid ' || pid || ' (' || coalesce(usename, '?') || ')' FROM pg_stat_activity "
      "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL "
      "AND state LIKE 'idle in transaction%' AND application_name NOT LIKE 'understudy-engine%' "
      "LIMIT 1");
  if (holder) {
    throw Error(ErrorKind::kConflict,
                holder->text +
                    " holds a snapshot from before the last rows were brought over; the "
                    "locks were given back",
                "old-snapshots");
  }
}

// DDL on production's tables since prepare read them, which the new ones do not have.
std::vector<std::string> TableSwap::ChangedSincePrepare(db::Session& session,
                                                        const Known& known) const {
  const auto entry = core::Journal(session, spec_.id).Find(kDefinitionsEntry);
  if (!entry) return {};
  return ChangedDefinitions(DefinitionsFrom(entry->detail),
                            ReadDefinitions(session, settings_.schemas),
                            known.manifest->old_objects);
}

void TableSwap::Cutover(const core::CutoverOptions& options) {
  sync_session_.reset();
  sync_known_.reset();
  const auto session = Connect();
  EndOldBackends(*session);
  core::Journal journal(*session, spec_.id);
  Known known = ReadOrNothing(*session);
  if (!known.cutover.is_null()) return;  // committed by a process that did not live to say so
  if (known.capture_off) ThrowCaptureIsOff();
  if (!known.manifest || !known.manifest->complete || !known.capture_installed) {
    throw Error(ErrorKind::kUnsupported,
                "there is no shadow that could be put in service; first: understudy migrate "
                "prepare");
  }
  if (!checked_) {
    During("compare the preserved tables with their shadows",
           [&] { CheckBeforeLocks(*session, known); });
    CatchUp(*session, known);
  }
  if (!known.blocked.is_null() && !known.blocked.empty()) {
    throw Error(ErrorKind::kMismatch,
                "the shadow refuses rows that users have written: " + Refused(known.blocked) +
                    "; production is unchanged. Mend them, then: understudy migrate cutover",
                "blocked");
  }
  Reverse reverse;
  if (settings_.reverse) {
    reverse = PlanReverse(*session, known);
    for (const std::string& table : reverse.not_covered) {
      context_.Log("warn", "writes behind the cutover will not be carried back: " + table);
    }
  }
  const Exchange exchange(*session, Forth(known));
  if (!exchange.refused().empty()) {
    throw Error(ErrorKind::kUnsupported,
                exchange.refused()[0].object + ": " + exchange.refused()[0].why);
  }
  if (const auto& wrong = exchange.sequences().misfits(); !wrong.empty()) {
    throw Error(ErrorKind::kMismatch, wrong[0], "sequence");
  }
  // What changed before `exchange` was read is seen here, what changes later under the locks.
  if (const auto changed = ChangedSincePrepare(*session, known); !changed.empty()) {
    constexpr std::size_t kToldAtMost = 10;
    std::string all;
    for (const std::string& change : changed | std::views::take(kToldAtMost)) {
      all += (all.empty() ? "" : "; ") + change;
    }
    if (changed.size() > kToldAtMost) {
      all += "; and " + std::to_string(changed.size() - kToldAtMost) + " more";
    }
    if (!settings_.from_source) {
      throw Error(ErrorKind::kUnsupported,
                  all +
                      ": since prepare, so that the new tables do not have it and the cutover "
                      "would undo it. Production is unchanged. Take it back, or begin again with: "
                      "understudy migrate reset, then understudy migrate prepare");
    }
    context_.Log("warn",
                 all +
                     ": since prepare. The new tables are the source's and may not have it; "
                     "make it there again behind the cutover");
  }
  FollowChanges(*session, known);
  const auto references =
      WaitingReferences(*session, *known.manifest, known.captured, settings_.drop_orphans);
  const auto not_enforced = std::ranges::count_if(
      references, [](const WaitingReference& one) { return !one.enforced && !one.dropped_by; });
  const auto compared = [&](bool still) {
    if (still) return;
    checked_ = false;
    throw Error(ErrorKind::kConflict,
                (changed_.empty() ? "something has changed" : changed_) +
                    ", behind the comparison of the tables; they are compared again",
                "changed");
  };
  compared(checked_ && static_cast<std::size_t>(not_enforced) == followed_.keys.size());
  exchange.MakeAlike(*session);
  LetVacuumsGiveWay(context_, *session, TableOids(known.manifest->old_objects),
                    exchange.Partners());
  ReadyDrain ready = MakeReady(*session, known, references);
  LastRounds(*session, known, ready);
  compared(checked_);
  known.written = Read(journal).written;
  WaitForOldSnapshots(*session, known, options);
  CheckUncaptured(*session, references);

  const StallLimits stall = StallLimits::Of(*session, spec_.limits.lock_timeout_ms);
  db::Transaction transaction(*session, db::Isolation::kReadCommitted);
  journal.CheckEpoch(context_.epoch());
  RememberAttempt(*session, "cutover");
  LockIncoming(*session, exchange);
  capture::MakeLogs(*session, reverse.tables);
  std::optional<capture::DroppedRows> dropped;
  if (settings_.drop_orphans) {
    SetLocal(*session, "statement_timeout", std::chrono::milliseconds(0));
    dropped.emplace(*session, known.captured, DroppedBy(references));
    dropped->TakeOut();
  }
  LockBudget budget(*session, stall.whole);
  LockOutgoing(*session, exchange, stall.lock);
  context_.At("cutover.locked", {{"tables", known.manifest->tables.size()}});
  const auto within = [&](std::string_view stage) { budget.Spent(stage); };
  budget.Within([&] {
    within("locks");
    exchange.CheckUnchanged(*session);
    within("fingerprint");
    auto rows = rows_;
    DrainLocked(*session, known, ready, options, dropped ? &*dropped : nullptr, rows, within);
    if (dropped) {
      for (const auto& [table, count] : dropped->taken()) rows[table] -= count;
      journal.Put(kDroppedEntry, dropped->List(kDroppedKeysKept));
      within("dropped rows");
    }
    // In a subtransaction: its number is younger than that of every row that was drained.
    std::string schemas = "SAVEPOINT understudy_mark;";
    for (const SchemaNames& names : known.manifest->schemas) {
      schemas += "CREATE SCHEMA " + db::QuoteIdentifier(names.backup) + ";";
    }
    session->Execute(schemas + "RELEASE SAVEPOINT understudy_mark");
    exchange.Apply(*session, within);
    if (settings_.reverse) {
      capture::SetTriggers(*session, reverse.tables);
      std::vector<catalog::Oid> watched;
      for (const capture::CapturedTable& table : reverse.tables) watched.push_back(table.watched);
      journal.Put(kReverseEntry,
                  ReverseJson(reverse.tables, catalog::ReadFingerprint(*session, watched)));
      within("reverse capture");
    }
    const Moment moment = MomentOfCutover(*session, known.manifest->schemas[0].backup);
    Json counts = Json::object();
    for (const auto& [table, count] : rows) counts[std::to_string(table)] = count;
    journal.Put(kCutoverEntry, {{"xid", moment.xid},
                                {"last_xid", moment.last_xid},
                                {"running", moment.running},
                                {"rows", counts},
                                {"old_triggers", TriggersJson(reverse.triggers)},
                                {"new_triggers", TriggersJson(exchange.triggers())},
                                {"old_keys", reverse.keys},
                                {"inner_keys", DependentsJson(reverse.inner_keys)},
                                {"dropped_keys", DependentsJson(exchange.dropped_keys())},
                                {"outside_finishes", FinishesJson(exchange.outside_finishes())},
                                {"finishes", FinishesJson(exchange.finishes())},
                                {"not_compared", NotCompared(known)}});
  });
  context_.At("cutover.before_commit", {{"locked_ms", budget.milliseconds()}});
  exchange.sequences().CarryForLateWaiters(*session);
  within("commit");
  transaction.Commit();
  context_.Log("info", "in service: the new tables; production waited at most " +
                           std::to_string(static_cast<std::int64_t>(budget.milliseconds())) +
                           " ms (" + budget.Stages() + ")");
  context_.At("cutover.after_commit", {{"locked_ms", budget.milliseconds()}});
}

std::vector<TableSwap::NotFinished> TableSwap::FinishKeys(db::Session& session,
                                                          const Json& keys) const {
  std::vector<NotFinished> failed;
  if (Sabotaged("swap-never-validates")) return failed;
  const StallLimits stall = StallLimits::Of(session, spec_.limits.lock_timeout_ms);
  for (const Json& item : keys) {
    const KeyFinish key = KeyFinish::FromJson(item);
    bool holds = true;  // else joining would look every row up, and find the same
    for (const std::string& sql : key.validate) {
      context_.ThrowIfStopped();
      try {
        session.Execute(sql);
      } catch (const Error& error) {
        if (error.code() == kNoTable) continue;  // gone since
        if (error.code() == kNoObject) {         // somebody has given the key up
          holds = false;
          if (!key.join.empty()) context_.Log("warn", error.message() + ": left as it is");
          continue;
        }
        if (IsRetryable(error.kind())) throw;
        holds = false;
        failed.push_back({sql, error.message()});
      }
    }
    if (!holds || key.join.empty() || session.Scalar(key.joined).AsBool()) continue;
    std::string now = key.late;
    try {
      for (int step = 0; step < 2; ++step) {  // adds, validates
        for (const db::Row& row : session.Query(key.late).rows) {
          now = row[0].text;
          db::Transaction transaction(session);
          core::Journal(session, spec_.id).CheckEpoch(context_.epoch());
          SetLocal(session, "lock_timeout", stall.lock);
          session.Execute(now);
          transaction.Commit();
        }
      }
      LetVacuumsGiveWay(context_, session, db::Value(), key.lock);
      std::string tables;
      for (const db::TableName& table : key.lock) {
        tables += (tables.empty() ? "" : ", ") + table.Quoted();
      }
      now = "LOCK TABLE " + tables + " IN ACCESS EXCLUSIVE MODE";
      db::Transaction transaction(session);
      core::Journal(session, spec_.id).CheckEpoch(context_.epoch());
      SetLocal(session, "lock_timeout", stall.lock);
      SetLocal(session, "statement_timeout", stall.whole);
      session.Execute(now);
      for (const std::string& sql : key.join) {
        now = sql;
        session.Execute("SAVEPOINT understudy_join");
        try {
          session.Execute(sql);
        } catch (const Error& error) {  // a part that has gone, or was made
          if (error.code() != kNoTable && error.code() != kThereAlready) throw;
          session.Execute("ROLLBACK TO SAVEPOINT understudy_join");
        }
      }
      transaction.Commit();
    } catch (const Error& error) {
      if (error.code() == kNoTable) continue;
      if (error.kind() == ErrorKind::kCancelled && error.code() == "57014") {
        throw Error(
            ErrorKind::kConflict,
            "the foreign keys of the partitions hold, but that of the whole could not be "
            "made within " +
                std::to_string(stall.whole.count()) +
                " ms: the tables were in use, or a partition has come without the key: " + now,
            error.code());
      }
      if (error.code() == "epoch" || IsRetryable(error.kind())) throw;
      failed.push_back({now, error.message()});
    }
  }
  return failed;
}

void TableSwap::Finish() {
  const auto session = Connect(std::chrono::seconds(5));
  core::Journal journal(*session, spec_.id);
  const Known known = ReadOrNothing(*session);
  if (known.cutover.is_null() || known.finished) return;
  std::string failed;
  for (const auto& [sql, why] : FinishKeys(*session, known.cutover.at("finishes"))) {
    failed += (failed.empty() ? "" : "; ") + why;
  }
  if (!failed.empty()) {
    throw Error(ErrorKind::kMismatch,
                "the new tables are in service, but a foreign key is not valid: " + failed +
                    ". Mend the rows, then: understudy migrate verify",
                "finishing");
  }
  db::Transaction transaction(*session);
  journal.CheckEpoch(context_.epoch());
  // Not under the locks: nobody writes to what is in the backup, and dropping takes its time.
  if (known.capture_installed) {
    capture::Remove(*session, known.captured);
    journal.Remove(kCaptureEntry);
  }
  for (const SchemaNames& names : known.manifest->schemas) {
    session->Execute("DROP SCHEMA IF EXISTS " + db::QuoteIdentifier(names.shadow) + " RESTRICT");
  }
  journal.Put(kFinishedEntry, Json::object());
  transaction.Commit();
  TellDropped(known.dropped, "cutover");
}

}  // namespace understudy::table_swap
