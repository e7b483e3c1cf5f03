#include <set>

#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "engine/capture/postgres.h"
#include "engine/capture/sql.h"

namespace understudy::capture {
namespace {

using db::Row;

constexpr const char* kSettings = "SET LOCAL row_security = off; SET LOCAL work_mem = '32MB';";

// What Replay() does in steps, without the numbers that it needs to find refused rows.
std::string Prepared(const TableSql& sql, const std::string& suffix) {
  const std::string log = "ONLY " + sql.log.Quoted();
  const std::string keys = sql.KeyList();
  std::string all = "PREPARE understudy_look_" + suffix +
                    " AS SELECT count(*), count(*) - count(k1) FROM " + log + ";\n";
  all += "PREPARE understudy_take_" + suffix + " AS WITH taken AS (DELETE FROM " + log +
         " RETURNING " + keys + ") INSERT INTO " + sql.batch +
         " (understudy_n, understudy_entries, " + keys +
         ") SELECT row_number() OVER (), s.* FROM (SELECT count(*), " + keys +
         " FROM taken GROUP BY " + keys + ") AS s;\n";
  all += "PREPARE understudy_delete_" + suffix + " AS DELETE FROM " + sql.the_mirror +
         " AS m USING " + sql.batch + " AS b WHERE " + sql.MirrorIsKey("m", "b") + ";\n";
  all += "PREPARE understudy_insert_" + suffix + " AS INSERT INTO " + sql.mirror.Quoted() + " (" +
         sql.mapping->InsertColumns() + ") OVERRIDING SYSTEM VALUE SELECT " +
         sql.mapping->SelectList() + " FROM " + sql.from_watched + " JOIN " + sql.batch +
         " AS understudy_keys ON " + sql.WatchedIsKey("understudy_keys") +
         (sql.mapping->only.empty() ? "" : " WHERE (" + sql.mapping->only + ")") + ";\n";
  return all;
}

// Those whose mirror finds a row by the captured key: statements that were planned for few keys
// must not read the whole of it for each.
std::set<Oid> FoundByKey(db::Session& session, const std::vector<CapturedTable>& tables) {
  std::set<std::pair<Oid, std::string>> first;
  for (const Row& row :
       session
           .Query(
               "SELECT i.indrelid, a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = "
               "i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = ANY ($1::oid[]) AND "
               "i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts <= 4",
               {db::IntegerArray(tables, &CapturedTable::mirror)})
           .rows) {
    first.emplace(static_cast<Oid>(row[0].AsInteger()), row[1].text);
  }
  std::set<Oid> found;
  for (const CapturedTable& table : tables) {
    for (const std::string& column : table.mapping.mirror_key) {
      if (first.contains({table.mirror, column})) found.insert(table.watched);
    }
  }
  return found;
}

}  // namespace

ReadyReplay::ReadyReplay(db::Session& session, const std::vector<CapturedTable>& tables)
    : session_(session) {
  const std::set<Oid> found = FoundByKey(session_, tables);
  db::Transaction transaction(session_);
  session_.Execute(kSettings);
  for (const CapturedTable& table : tables) {
    if (!found.contains(table.watched)) continue;
    const TableSql sql = TableSql::Read(session_, table);
    const std::string suffix = std::to_string(table.log);
    // Of a table that was never analysed the planner takes it that it has ten pages of rows.
    session_.Execute(sql.MakeBatch() + "; INSERT INTO " + sql.batch + " DEFAULT VALUES; ANALYZE " +
                     sql.batch + ";\n" + Prepared(sql, suffix));
    tables_.emplace(table.watched, suffix);
  }
  transaction.Commit();
}

std::optional<ReadyReplay::Done> ReadyReplay::Run(const std::vector<Oid>& watched) {
  // What only steps can do wrong on purpose.
  if (Sabotaged("capture-loses-key") || Sabotaged("capture-writes-stale-image")) {
    return std::nullopt;
  }
  Done done;
  session_.Execute(kSettings);
  std::string takes;
  for (const Oid oid : watched) {
    const auto it = tables_.find(oid);
    if (it == tables_.end()) continue;
    const Row row = session_.Query("EXECUTE understudy_look_" + it->second).rows.at(0);
    if (row[0].AsInteger() == 0) continue;
    if (row[1].AsInteger() > 0) return std::nullopt;  // truncated
    done.entries += row[0].AsInteger();
    done.rows[oid] = 0;
    takes += "EXECUTE understudy_take_" + it->second + ";\n";
  }
  if (done.rows.empty()) return done;
  session_.Execute("SAVEPOINT understudy_ready");
  try {
    session_.Execute(takes);
    for (auto& [oid, rows] : done.rows) {
      const std::string& suffix = tables_.at(oid);
      rows -= session_.Query("EXECUTE understudy_delete_" + suffix).affected;
      rows += session_.Query("EXECUTE understudy_insert_" + suffix).affected;
    }
    session_.Execute("SET CONSTRAINTS ALL IMMEDIATE; RELEASE SAVEPOINT understudy_ready");
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kConstraint) throw;
    session_.Execute("ROLLBACK TO SAVEPOINT understudy_ready; RELEASE SAVEPOINT understudy_ready");
    return std::nullopt;
  }
  return done;
}

}  // namespace understudy::capture
