#include <algorithm>
#include <optional>
#include <set>

#include "engine/base/error.h"
#include "engine/table_swap/mapping.h"
#include "engine/table_swap/swap.h"

// Capture the other way: from the cutover on, the keys of rows that users write to the new tables
// are recorded, and a rollback brings their present state to the old ones first.
namespace understudy::table_swap {
namespace {
constexpr std::int64_t kEntriesAtOnce = 200000;
constexpr int kRoundsBeforeLocks = 20;
constexpr std::int64_t kNearlyEmpty = 1000;
// The limit is that of the logs of one direction.
constexpr const char* kReverseOwner = "r";
}  // namespace

TableSwap::Reverse TableSwap::PlanReverse(db::Session& session, const Known& known) const {
  Reverse reverse;
  std::vector<catalog::Oid> old_oids;
  std::vector<catalog::Oid> new_oids;
  for (const SetTable& table : known.manifest->tables) {
    if (table.old_oid == 0 || table.new_oid == 0) continue;
    old_oids.push_back(table.old_oid);
    new_oids.push_back(table.new_oid);
  }
  const auto old_tables = catalog::ReadTablesByOid(session, old_oids);
  const auto new_tables = catalog::ReadTablesByOid(session, new_oids);
  for (std::size_t i = 0; i < old_oids.size(); ++i) {
    const auto old_table = std::ranges::find(old_tables, old_oids[i], &catalog::Table::oid);
    const auto new_table = std::ranges::find(new_tables, new_oids[i], &catalog::Table::oid);
    if (old_table == old_tables.end() || new_table == new_tables.end()) continue;
    if (old_table->partition_of != 0) continue;
    const auto rules = settings_.columns.find(old_table->name);
    const TableMapping forth = MakeMapping(
        session, *old_table, *new_table,
        rules == settings_.columns.end() ? std::map<std::string, ColumnRule>{} : rules->second);
    if (!forth.refused.empty()) {
      reverse.not_covered.push_back(old_table->name.Display() + ": " + forth.refused[0]);
      continue;
    }
    TableMapping back = InvertMapping(session, forth, *old_table, *new_table);
    if (!back.refused.empty()) {
      reverse.not_covered.push_back(old_table->name.Display() + ": " + back.refused[0]);
      continue;
    }
    reverse.tables.push_back({new_table->oid, old_table->oid, std::move(back.rows), 0, 0,
                              CaptureOwner() + kReverseOwner, spec_.limits.log_max_bytes});
    // Triggers and rules of a table that is replayed into must not fire.
    for (const db::Row& row :
         session
             .Query(
                 "SELECT tgname, tgenabled, false FROM pg_trigger WHERE tgrelid = $1 AND NOT "
                 "tgisinternal AND tgenabled <> 'D' AND tgname NOT LIKE 'understudy\\_capture%' "
                 "UNION ALL SELECT rulename, ev_enabled, true FROM pg_rewrite WHERE ev_class = $1 "
                 "AND ev_enabled <> 'D' ORDER BY 3, 1",
                 {db::Value::Integer(old_table->oid)})
             .rows) {
      reverse.triggers.push_back(
          {old_table->name, row[0].text, row[2].AsBool(), row[1].text.at(0)});
    }
  }
  std::set<std::string> outbound;
  for (const Dependent& key : FindOutbound(session, known.manifest->old_objects)) {
    outbound.insert(key.object);
  }
  for (Dependent& key : FindOutbound(session, known.manifest->old_objects, true)) {
    if (!outbound.contains(key.object)) reverse.inner_keys.push_back(std::move(key));
  }
  for (const catalog::ForeignKey& key : catalog::ReadForeignKeys(session, old_oids)) {
    if (key.parent != 0) continue;
    if (std::ranges::find(old_oids, key.from_oid) == old_oids.end() ||
        std::ranges::find(old_oids, key.to_oid) == old_oids.end()) {
      continue;
    }
    reverse.keys.push_back({{"name", key.name},
                            {"from", key.from_oid},
                            {"from_columns", key.from_columns},
                            {"to", key.to_oid},
                            {"to_columns", key.to_columns},
                            {"match_full", key.match_full},
                            {"validated", key.validated}});
  }
  return reverse;
}

std::vector<capture::CapturedTable> TableSwap::Known::Carried() const {
  std::vector<capture::CapturedTable> carried;
  for (const capture::CapturedTable& table : reverse) {
    if (!lost.contains(table.watched)) carried.push_back(table);
  }
  return carried;
}

// What no trigger has seen of the watched tables since the cutover, or since they were copied back
// as a whole.
std::vector<catalog::FingerprintChange> TableSwap::ReverseChanges(db::Session& session,
                                                                  const Known& known) const {
  const std::vector<capture::CapturedTable> carried = known.Carried();
  catalog::Fingerprint before;
  for (const capture::CapturedTable& table : carried) {
    before[table.watched] = known.reverse_fingerprint.at(table.watched);
  }
  auto changes =
      catalog::CompareFingerprints(before, catalog::ReadFingerprint(session, Watched(carried)));
  std::set<catalog::Oid> without_log;
  for (const db::Row& row :
       session
           .Query("SELECT w FROM unnest($1::oid[], $2::oid[]) AS t (w, l) WHERE NOT EXISTS "
                  "(SELECT FROM pg_class c WHERE c.oid = t.l)",
                  {db::IntegerArray(carried, &capture::CapturedTable::watched),
                   db::IntegerArray(carried, &capture::CapturedTable::log)})
           .rows) {
    without_log.insert(static_cast<catalog::Oid>(row[0].AsInteger()));
  }
  for (const catalog::FingerprintChange& change : changes) without_log.erase(change.table);
  std::vector<capture::CapturedTable> with_log;
  for (const capture::CapturedTable& table : carried) {
    if (!without_log.contains(table.watched) &&
        std::ranges::find(changes, table.watched, &catalog::FingerprintChange::table) ==
            changes.end()) {
      with_log.push_back(table);
    }
  }
  for (const catalog::Oid oid : capture::Incomplete(session, with_log)) {
    catalog::FingerprintChange change;
    change.table = oid;
    change.name = before[oid].table;
    change.keys = true;
    changes.push_back(std::move(change));
  }
  for (const catalog::Oid oid : without_log) {
    catalog::FingerprintChange change;
    change.table = oid;
    change.name = before[oid].table;
    change.triggers = true;
    changes.push_back(std::move(change));
  }
  return changes;
}

// Of a replaced table the new rows would go back with those that users wrote.
bool TableSwap::GoesBackWhole(db::Session& session, const Known& known,
                              const catalog::FingerprintChange& change) const {
  const auto table = std::ranges::find(known.manifest->tables, change.table, &SetTable::new_oid);
  const auto captured =
      std::ranges::find(known.reverse, change.table, &capture::CapturedTable::watched);
  return table != known.manifest->tables.end() && table->preserved && !change.gone &&
         !change.columns && !change.renamed && catalog::NameOf(session, captured->mirror);
}

// Tables whose later writes cannot be told from the other rows, or cannot be brought to the old
// ones any more: what was written to them would be lost, so that it is counted like that of tables
// that nobody watches. A preserved table is none: its rows go back as a whole.
void TableSwap::LeaveOutLost(db::Session& session, Known& known) const {
  for (const catalog::FingerprintChange& change : ReverseChanges(session, known)) {
    if (GoesBackWhole(session, known, change)) continue;
    context_.Log("warn", change.Text() + " since the cutover: writes to it are not carried back");
    known.lost.insert(change.table);
  }
}

// Writes that no trigger has seen: the whole table goes back. REQUIRES: OpenOldTables.
void TableSwap::CopyBackChanged(db::Session& session, Known& known) const {
  core::Journal journal(session, spec_.id);
  for (const catalog::FingerprintChange& change : ReverseChanges(session, known)) {
    context_.ThrowIfStopped();
    if (!GoesBackWhole(session, known, change)) {  // since LeaveOutLost: from the beginning
      throw Error(ErrorKind::kConflict, change.Text() + " while the rollback was made ready",
                  "changed");
    }
    capture::CapturedTable& table =
        *std::ranges::find(known.reverse, change.table, &capture::CapturedTable::watched);
    context_.Log("warn", change.Text() + " since the cutover: all of its rows are copied back");
    During("copy " + change.name + " back", [&] {
      {
        db::Transaction transaction(session);
        journal.CheckEpoch(context_.epoch());
        std::vector<capture::CapturedTable> one = {table};
        const bool there =
            session
                .Scalar(
                    "SELECT EXISTS (SELECT FROM pg_class WHERE oid = $1) AND EXISTS (SELECT "
                    "FROM pg_proc WHERE oid = $2)",
                    {db::Value::Integer(table.log), db::Value::Integer(table.function)})
                .AsBool();
        if (there && !change.keys) {
          capture::Repair(session, one);
        } else {  // a full log stays full
          capture::Remove(session, one);
          capture::Install(session, one);
        }
        table = one[0];
        journal.Put(kReverseEntry, ReverseJson(known.reverse, known.reverse_fingerprint));
        transaction.Commit();
      }
      db::Transaction transaction(session, db::Isolation::kRepeatableRead);
      journal.CheckEpoch(context_.epoch());
      capture::Recopy(session, table);
      RememberWrite(session, journal);
      known.reverse_fingerprint[change.table] =
          catalog::ReadFingerprint(session, {change.table})[change.table];
      journal.Put(kReverseEntry, ReverseJson(known.reverse, known.reverse_fingerprint));
      transaction.Commit();
    });
  }
}

// Makes the old tables, which nobody uses, ready to be replayed into: their triggers and the
// foreign keys between them must not act. The exchange that follows puts them back.
void TableSwap::OpenOldTables(db::Session& session, const Known& known) const {
  db::Transaction transaction(session);
  core::Journal(session, spec_.id).CheckEpoch(context_.epoch());
  for (const TriggerState& one : TriggersFrom(known.cutover.at("old_triggers"))) {
    session.Execute("ALTER TABLE " + known.manifest->Backup(one.table).Quoted() + " DISABLE " +
                    (one.rule ? "RULE " : "TRIGGER ") + db::QuoteIdentifier(one.name));
  }
  for (const Json& key : known.cutover.value("old_keys", Json::array())) {
    const auto table = catalog::NameOf(session, key.at("from").get<catalog::Oid>());
    if (!table) continue;
    session.Execute("ALTER TABLE " + table->Quoted() + " DROP CONSTRAINT IF EXISTS " +
                    db::QuoteIdentifier(key.at("name").get<std::string>()));
  }
  transaction.Commit();
}

// Before the locks until little is left, and under them to the end. A row that the old table does
// not take holds the rollback back.
std::vector<capture::CapturedTable> TableSwap::ReplayReverse(db::Session& session,
                                                             const Known& known, bool locked) {
  std::vector<capture::CapturedTable> drained;
  for (int round = 0; round < (locked ? 1 : kRoundsBeforeLocks); ++round) {
    std::int64_t entries = 0;
    for (const capture::CapturedTable& table : WrittenTo(session, known.Carried())) {
      context_.ThrowIfStopped();
      const capture::ReplayResult result =
          locked ? capture::Replay(session, table, {.entries = std::nullopt})
                 : ReplayOne(session, table, kEntriesAtOnce);
      if (result.incomplete) {
        throw Error(ErrorKind::kConflict, "keys could not be captured a moment ago", "changed");
      }
      if (!result.refused.empty()) {
        throw Error(ErrorKind::kMismatch,
                    "the old table " + result.refused[0].table.Display() + " refuses the row " +
                        result.refused[0].key.dump() + ": " + result.refused[0].why +
                        "; the new tables stay in service. Mend the row, then: understudy migrate "
                        "rollback",
                    "blocked");
      }
      entries += result.entries;
      if (result.entries > 0) drained.push_back(table);
    }
    if (entries < kNearlyEmpty) break;
  }
  // Those keys come back with the tables: all of them looked at before the locks, without what is
  // pending in one snapshot (tables are replayed one by one while clients write: a parent may have
  // gone whose child is still to go); what was replayed just now under them.
  const auto check = [&](const Json& key, const capture::Orphans& orphans) {
    if (orphans.rows == 0) return;
    throw Error(ErrorKind::kMismatch,
                std::to_string(orphans.rows) +
                    " rows would refer to nothing in the old tables (foreign key " +
                    key.at("name").get<std::string>() + "), such as " + orphans.examples.dump() +
                    "; the new tables stay in service. Mend the rows, then: understudy migrate "
                    "rollback",
                "orphans");
  };
  const std::vector<capture::CapturedTable> carried = known.Carried();
  std::optional<db::Transaction> snapshot;
  if (!locked) snapshot.emplace(session, db::Isolation::kRepeatableRead);
  for (const Json& key : known.cutover.value("old_keys", Json::array())) {
    const capture::Reference reference = {
        key.at("from").get<catalog::Oid>(), key.at("from_columns").get<std::vector<std::string>>(),
        key.at("to").get<catalog::Oid>(), key.at("to_columns").get<std::vector<std::string>>(),
        key.at("match_full").get<bool>()};
    if (!locked) check(key, capture::FindOrphans(session, reference, carried));
    for (const capture::CapturedTable& table : drained) {
      if (locked && (table.mirror == reference.from || table.mirror == reference.to)) {
        check(key, capture::FindOrphansAmong(session, reference, table));
      }
    }
  }
  return drained;
}

}  // namespace understudy::table_swap
