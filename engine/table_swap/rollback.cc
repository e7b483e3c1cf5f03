#include <algorithm>
#include <iterator>
#include <set>

#include "engine/base/error.h"
#include "engine/table_swap/preflight.h"
#include "engine/table_swap/swap.h"

// The way back: one transaction, after it has been said what it would lose.
namespace understudy::table_swap {
namespace {

constexpr std::size_t kWatchedAtOnce = 20;  // tables that get their triggers in one transaction
// A row's number says "older" or "younger" of half of all numbers; as much again for the rows that
// were written long before the cutover.
constexpr std::int64_t kMostTransactions = 1 << 30;

constexpr std::chrono::milliseconds kOldSnapshotsMayEnd{1500};

[[noreturn]] void RefuseToLose(const std::vector<std::string>& findings) {
  std::string all;
  for (const std::string& finding : findings) all += (all.empty() ? "" : "; ") + finding;
  throw Error(ErrorKind::kUnsupported,
              "going back would lose what was written since the cutover: " + all +
                  ". The new tables stay in service. To go back all the same: understudy migrate "
                  "rollback --lose-writes",
              "would-lose-writes");
}

// Rows that were written since the cutover; age() counts over the wrap-around.
constexpr const char* kYounger = "(age(xmin) < age($1::xid) OR xmin = ANY ($2::xid[]))";

db::Params MomentOf(const Json& cutover) {
  return {db::Value::Text(cutover.at("last_xid").get<std::string>()),
          db::Value::Text(cutover.at("running").get<std::string>())};
}

std::string HoldsOnlyNew(const std::string& table, std::int64_t rows) {
  return table + ": " + std::to_string(rows) +
         " rows inserted or updated have values in columns that the old table has not";
}

}  // namespace

// Tables of the new side whose later writes would be lost.
std::vector<catalog::Oid> TableSwap::NotCarried(db::Session& session, const Known& known) const {
  std::set<catalog::Oid> carried;  // with the partitions, whose rows their root's replay brings
  for (const db::Row& row :
       session
           .Query("SELECT r FROM unnest($1::oid[]) AS r UNION SELECT t.relid::oid FROM "
                  "unnest($1::oid[]) AS r CROSS JOIN LATERAL pg_partition_tree(r) AS t",
                  {db::IntegerArray(known.Carried(), &capture::CapturedTable::watched)})
           .rows) {
    carried.insert(static_cast<catalog::Oid>(row[0].AsInteger()));
  }
  std::vector<catalog::Oid> tables;
  const Json& rows = known.cutover.at("rows");
  for (const auto& item : rows.items()) {
    const auto table = static_cast<catalog::Oid>(std::stoul(item.key()));
    if (!carried.contains(table)) tables.push_back(table);
  }
  return tables;
}

// Counting takes its time: what is written meanwhile, and until the locks are there, is seen by
// triggers that are set before. Users' writes cost what one more trigger costs.
void TableSwap::WatchWrites(db::Session& session, Known& known) {
  core::Journal journal(session, spec_.id);
  std::vector<capture::CapturedTable> left;
  for (const catalog::Oid table : NotCarried(session, known)) {
    if (!catalog::NameOf(session, table)) continue;
    capture::CapturedTable one;
    one.watched = table;
    one.owner = CaptureOwner() + "w";
    one.only_whether = true;
    left.push_back(std::move(one));
  }
  LetVacuumsGiveWay(context_, session, TableOids(known.manifest->new_objects), {});
  while (!left.empty()) {
    context_.ThrowIfStopped();
    const auto end =
        left.begin() + static_cast<std::ptrdiff_t>(std::min(kWatchedAtOnce, left.size()));
    std::vector<capture::CapturedTable> some(left.begin(), end);
    left.erase(left.begin(), end);
    db::Transaction transaction(session);
    journal.CheckEpoch(context_.epoch());
    InstallTriggers(session, some);
    some.insert(some.begin(), known.watch.begin(), known.watch.end());
    Json tables = Json::array();
    for (const capture::CapturedTable& table : some) tables.push_back(table.ToJson());
    journal.Put(kWatchEntry, {{"tables", tables}});
    transaction.Commit();
    known.watch = std::move(some);
  }
}

void TableSwap::StopWatching(const Known& known) {
  if (known.watch.empty()) return;
  TakeCaptureOff(known.watch, spec_.id, kWatchEntry);
  const auto session = Connect();
  db::Transaction transaction(*session);
  core::Journal journal(*session, spec_.id);
  journal.CheckEpoch(context_.epoch());
  journal.Remove(kWatchEntry);
  transaction.Commit();
}

// By table, how many rows users have written since the cutover; exact, since until then every row
// of the new side was ours. A row that was inserted or updated bears another transaction's number,
// and is missing among the older ones, as one that was deleted. Neither VACUUM nor FREEZE changes
// the number. A table that was rewritten (ALTER TABLE) counts as written to.
std::vector<std::string> TableSwap::WritesSince(db::Session& session, const Known& known) const {
  std::vector<std::string> findings;
  const std::int64_t passed =
      session
          .Scalar("SELECT txid_snapshot_xmax(txid_current_snapshot()) - $1::bigint",
                  {db::Value::Text(known.cutover.at("xid").get<std::string>())})
          .AsInteger();
  if (passed > kMostTransactions) {
    findings.push_back(std::to_string(passed) +
                       " transactions have passed, too many to tell which rows are older");
    return findings;
  }
  const db::Params moment = MomentOf(known.cutover);
  for (const catalog::Oid table : NotCarried(session, known)) {
    context_.ThrowIfStopped();
    const auto count = known.cutover.at("rows").at(std::to_string(table)).get<std::int64_t>();
    const auto name = catalog::NameOf(session, table);
    const auto was = std::ranges::find(known.manifest->tables, table, &SetTable::new_oid);
    if (!name) {
      findings.push_back((was == known.manifest->tables.end() ? "a table" : was->name.Display()) +
                         ": the table has been dropped since");
      continue;
    }
    context_.Tell("progress", {{"table", name->Display()}});
    const db::Row row =
        session
            .Query("SELECT count(*) FILTER (WHERE " + std::string(kYounger) + "), count(*) FROM " +
                       OnlyItsRows(*known.manifest, table) + name->Quoted(),
                   moment)
            .rows.at(0);
    const std::int64_t younger = row[0].AsInteger();
    const std::int64_t gone = count - (row[1].AsInteger() - younger);
    if (younger == 0 && gone == 0) continue;
    std::string text = name->Display() + ": ";
    if (younger > 0) text += std::to_string(younger) + " rows inserted or updated";
    if (gone > 0) {
      text += (younger > 0 ? ", " : "") + std::to_string(gone) + " rows deleted or updated";
    }
    if (gone < 0) {  // they can only have come with a table that was attached
      text += (younger > 0 ? ", " : "") + std::to_string(-gone) + " rows more than there were";
    }
    findings.push_back(text);
  }
  std::ranges::move(OnlyNewSince(session, known, OnlyNew(session, known)),
                    std::back_inserter(findings));
  return findings;
}

// A value that the column's default gives is nobody's, unless each call gives another one.
std::map<catalog::Oid, std::string> TableSwap::OnlyNew(db::Session& session,
                                                       const Known& known) const {
  std::map<catalog::Oid, std::string> conditions;
  const std::vector<capture::CapturedTable> carried = known.Carried();
  for (const db::Row& row :
       session
           .Query(R"(
SELECT a.attrelid, a.attname, CASE WHEN NOT EXISTS (
         SELECT FROM regexp_matches(d.adbin::text, ':(?:op)?funcid (\d+)', 'g') AS f
           JOIN pg_proc p ON p.oid = f[1]::oid AND p.provolatile = 'v')
       THEN pg_get_expr(d.adbin, d.adrelid) END
  FROM pg_attribute a
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 ORDER BY 1, a.attnum)",
                  {db::IntegerArray(carried, &capture::CapturedTable::watched)})
           .rows) {
    const auto table = static_cast<catalog::Oid>(row[0].AsInteger());
    const std::string column = db::QuoteIdentifier(row[1].text);
    const auto& captured = *std::ranges::find(carried, table, &capture::CapturedTable::watched);
    if (std::ranges::find(captured.mapping.columns, column, &capture::ColumnSource::expression) !=
        captured.mapping.columns.end()) {
      continue;
    }
    std::string& condition = conditions[table];
    condition += (condition.empty() ? "" : " OR ") + column + "::text IS " +
                 (row[2].is_null() ? "NOT NULL" : "DISTINCT FROM (" + row[2].text + ")::text");
  }
  return conditions;
}

std::vector<std::string> TableSwap::OnlyNewSince(
    db::Session& session, const Known& known,
    const std::map<catalog::Oid, std::string>& only_new) const {
  std::vector<std::string> findings;
  for (const auto& [table, condition] : only_new) {
    context_.ThrowIfStopped();
    const auto name = catalog::NameOf(session, table);
    if (!name) continue;
    const std::int64_t rows =
        session
            .Scalar("SELECT count(*) FROM " + OnlyItsRows(*known.manifest, table) + name->Quoted() +
                        " WHERE " + kYounger + " AND (" + condition + ")",
                    MomentOf(known.cutover))
            .AsInteger();
    if (rows > 0) findings.push_back(HoldsOnlyNew(name->Display(), rows));
  }
  return findings;
}

void TableSwap::Rollback(const core::RollbackOptions& options) {
  if (!options.to.empty()) {
    throw Error(ErrorKind::kUnsupported,
                "a table swap has one rollback point, before the cutover: leave --to out");
  }
  const auto session = Connect();
  EndOldBackends(*session);
  core::Journal journal(*session, spec_.id);
  Known known = ReadOrNothing(*session);
  if (known.rolled_back) {  // committed by a process that did not live to say so
    FinishRollback(*session, known);
    return;
  }
  if (known.cutover.is_null()) {
    for (const std::string& line : RemoveAll(false, false)) context_.Log("info", line);
    return;
  }
  RefuseOthersShadow(*session, known);
  LeaveOutLost(*session, known);
  if (options.lose_writes) {
    GoBack(*session, known, options);
    FinishRollback(*session, known);
    return;
  }
  StopWatching(known);  // of a process that was killed
  known.watch.clear();
  try {
    WatchWrites(*session, known);
    if (const auto findings = WritesSince(*session, known); !findings.empty()) {
      RefuseToLose(findings);
    }
    GoBack(*session, known, options);
  } catch (...) {
    try {
      StopWatching(known);
    } catch (const std::exception& error) {
      context_.Log("warn", "the triggers that watched for writes are still there: " +
                               std::string(error.what()) +
                               ". The next rollback, or the cleanup, takes them away");
    }
    throw;
  }
  FinishRollback(*session, known);
}

void TableSwap::GoBack(db::Session& session, Known& known, const core::RollbackOptions& options) {
  core::Journal journal(session, spec_.id);
  if (known.capture_installed) {  // a cutover that was not finished
    db::Transaction transaction(session);
    journal.CheckEpoch(context_.epoch());
    capture::Remove(session, known.captured);
    journal.Remove(kCaptureEntry);
    transaction.Commit();
  }
  std::map<catalog::Oid, std::string> only_new;
  // Also where a rollback that was given up may have done it, and the capture is gone since.
  const bool opens =
      !known.reverse.empty() || !known.cutover.value("old_keys", Json::array()).empty();
  if (opens) OpenOldTables(session, known);
  if (!known.reverse.empty()) {
    CopyBackChanged(session, known);
    ReplayReverse(session, known, /*locked=*/false);
    if (!options.lose_writes) {  // what comes from here on is looked at as it is replayed
      only_new = OnlyNew(session, known);
      if (const auto findings = OnlyNewSince(session, known, only_new); !findings.empty()) {
        RefuseToLose(findings);
      }
    }
    // What was brought back is younger than the snapshots of long readers (hard-case 134).
    known.written = Read(journal).written;
    try {
      WaitForOldSnapshots(session, known,
                          {.deadline = SteadyClock::now() + kOldSnapshotsMayEnd,
                           .allow_old_snapshots = options.lose_writes});
    } catch (const Error& error) {
      if (error.code() != "old-snapshots") throw;
      throw Error(ErrorKind::kConflict,
                  "sessions hold snapshots from before the writes were carried back and would miss "
                  "them; the new tables stay in service. Wait for them or end them, then: "
                  "understudy migrate rollback (" +
                      error.message() + ")",
                  "old-snapshots");
    }
  }
  const Manifest& manifest = *known.manifest;
  ExchangeRequest request;
  request.schemas = manifest.schemas;
  request.back = true;
  request.keys = DependentsFrom(known.cutover.at("dropped_keys"));
  for (const Dependent& key : DependentsFrom(known.cutover.value("inner_keys", Json::array()))) {
    if (opens) request.keys.push_back(key);
  }
  request.triggers = TriggersFrom(known.cutover.at("old_triggers"));
  std::vector<std::string> users;
  std::vector<std::string> backups;
  for (const SchemaNames& names : manifest.schemas) {
    users.push_back(names.user);
    backups.push_back(names.backup);
  }
  request.out = ListMovables(session, users);
  std::erase_if(request.out, [&](const Movable& object) {
    return std::ranges::none_of(manifest.new_objects, [&](const Movable& ours) {
      return ours.oid == object.oid && ours.kind == object.kind;
    });
  });
  request.in = ListMovables(session, backups);
  for (const auto& [table, rules] : settings_.columns) {
    for (const auto& [column, rule] : rules) {
      if (rule.kind == ColumnRule::Kind::kFrom) request.column_from[table][rule.text] = column;
    }
  }
  request.keep_sequences = known.reverse.empty();
  const Exchange exchange(session, std::move(request));
  if (!exchange.refused().empty()) {
    throw Error(ErrorKind::kUnsupported,
                exchange.refused()[0].object + ": " + exchange.refused()[0].why);
  }
  // What changes from here on is seen under the locks.
  if (const auto changes = ReverseChanges(session, known); !changes.empty()) {
    throw Error(ErrorKind::kConflict, changes[0].Text() + " while the rollback was made ready",
                "changed");
  }
  LetVacuumsGiveWay(context_, session, TableOids(manifest.new_objects), exchange.Partners());
  db::Transaction transaction(session, db::Isolation::kReadCommitted);
  journal.CheckEpoch(context_.epoch());
  RememberAttempt(session, "rollback");
  LockIncoming(session, exchange);
  const StallLimits stall = StallLimits::Of(session, spec_.limits.lock_timeout_ms);
  LockBudget budget(session, stall.whole);
  LockOutgoing(session, exchange, stall.lock);
  const auto within = [&](std::string_view stage) { budget.Spent(stage); };
  budget.Within([&] {
    within("locks");
    exchange.CheckUnchanged(session);
    within("fingerprint");
    if (!options.lose_writes) {
      std::vector<std::string> late;
      for (const catalog::Oid table : capture::WasWritten(session, known.watch)) {
        const auto name = catalog::NameOf(session, table);
        late.push_back((name ? name->Display() : "a table") + ": written to a moment ago");
      }
      if (!late.empty()) RefuseToLose(late);
      within("writes since the cutover");
    }
    if (!known.reverse.empty()) {
      const auto drained = ReplayReverse(session, known, /*locked=*/true);
      if (!drained.empty() && !options.lose_writes) RefuseIdleSnapshots(session);
      for (const capture::CapturedTable& table : drained) {
        const auto condition = only_new.find(table.watched);
        if (condition == only_new.end()) continue;
        const std::int64_t rows = capture::CountReplayed(session, table, condition->second);
        const auto name = catalog::NameOf(session, table.watched);
        if (rows > 0) RefuseToLose({HoldsOnlyNew(name ? name->Display() : "a table", rows)});
      }
      within("writes carried back");
    }
    for (const SchemaNames& names : manifest.schemas) {
      session.Execute("CREATE SCHEMA IF NOT EXISTS " + db::QuoteIdentifier(names.shadow));
    }
    exchange.Apply(session, within);
    journal.Remove(kCutoverEntry);
    journal.Remove(kFinishedEntry);
    Json finishes = FinishesJson(exchange.finishes());
    if (!known.finished) {  // what was not made whole forth is to be whole all the same
      for (const Json& finish : known.cutover.at("outside_finishes")) finishes.push_back(finish);
    }
    journal.Put(kRolledBackEntry, {{"finishes", finishes}});
  });
  context_.At("rollback.before_commit", {{"locked_ms", budget.milliseconds()}});
  exchange.sequences().CarryForLateWaiters(session);
  within("commit");
  transaction.Commit();
  context_.Log("info", "in service: the old tables; production waited at most " +
                           std::to_string(static_cast<std::int64_t>(budget.milliseconds())) +
                           " ms (" + budget.Stages() + ")");
  context_.At("rollback.after_commit");
}

// What follows the commit; done again where a process did not live to do it.
void TableSwap::FinishRollback(db::Session& session, const Known& known) {
  core::Journal journal(session, spec_.id);
  if (!known.reverse.empty() || !known.watch.empty()) {
    db::Transaction removal(session);  // the new tables stand aside: nobody writes to them
    journal.CheckEpoch(context_.epoch());
    capture::Remove(session, known.reverse);
    journal.Remove(kReverseEntry);
    capture::Remove(session, known.watch);
    journal.Remove(kWatchEntry);
    removal.Commit();
  }
  const Json finishes = journal.Find(kRolledBackEntry)->detail.at("finishes");
  const auto failed = FinishKeys(session, finishes);
  for (const auto& [sql, why] : failed) {
    context_.Log("warn", "the old tables are in service, but a foreign key is not valid: " + why +
                             "; mend the rows, then run: " + sql);
  }
  if (!failed.empty() || finishes.empty()) return;
  db::Transaction transaction(session);
  journal.CheckEpoch(context_.epoch());
  journal.Put(kRolledBackEntry, {{"finishes", Json::array()}});
  transaction.Commit();
}

}  // namespace understudy::table_swap
