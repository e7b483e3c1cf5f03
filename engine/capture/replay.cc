// Dirty keys into present rows. Set-based: the keys of a batch are one temporary table, and each
// step is one statement over all of them.
#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "engine/capture/postgres.h"
#include "engine/capture/sql.h"

namespace understudy::capture {
namespace {

using db::Row;
using db::Value;

// From here on the planner's guess about a fresh temporary table is worth correcting.
constexpr std::int64_t kAnalyzeFrom = 500;
constexpr std::int64_t kWidenBy = 8;

// Whether the data is at fault, and not the statement, the connection or a lock.
bool IsRefusal(const Error& error) {
  if (error.kind() != ErrorKind::kConstraint || error.code().size() != 5) return false;
  const std::string of = error.code().substr(0, 2);
  return of == "23" || of == "22" || of == "21" || of == "44" || of == "54" || of == "P0";
}

bool IsUniqueConflict(const Error& error) {
  return error.code() == "23505" || error.code() == "23P01";
}

class Replayer {
 public:
  Replayer(db::Session& session, const CapturedTable& table, const ReplayOptions& options)
      : session_(session), sql_(TableSql::Read(session, table)), options_(options) {}

  ReplayResult Run() {
    // Row security would hide rows from us: rather an error. The rest is for the plans of batches.
    session_.Execute("SET LOCAL row_security = off; SET LOCAL work_mem = '32MB'");
    MakeBatchTable();
    std::optional<std::int64_t> entries = options_.entries;
    for (;;) {
      session_.Execute("SAVEPOINT understudy_replay");
      result_ = {};
      try {
        Take(entries);
        if (result_.entries > 0) {
          Delete();
          result_.inserted = Insert(first_, last_);
        }
        session_.Execute("RELEASE SAVEPOINT understudy_replay");
        return result_;
      } catch (const Error& error) {
        if (!IsRefusal(error)) throw;
        Undo();
        const bool more = entries && result_.more;
        if (more && IsUniqueConflict(error)) {
          // A value may have gone from a row whose key waits behind this batch to one that is in it
          // (hard-case 130). Once all that is visible is taken, there is no such row.
          *entries *= kWidenBy;
          continue;
        }
        if (more) {
          entries.reset();
          continue;
        }
      }
      return RunOneByOne();
    }
  }

 private:
  void MakeBatchTable() {
    if (session_.Scalar("SELECT to_regclass($1) IS NULL", {Value::Text(sql_.batch)}).AsBool()) {
      session_.Execute(sql_.MakeBatch());
      return;
    }
    first_ =
        session_.Scalar("SELECT coalesce(max(understudy_n), 0) FROM " + sql_.batch).AsInteger() + 1;
  }

  void Undo() {
    session_.Execute(
        "ROLLBACK TO SAVEPOINT understudy_replay; RELEASE SAVEPOINT understudy_replay");
  }

  // Moves entries out of the log into the batch: what is taken is what is deleted.
  void Take(std::optional<std::int64_t> entries) {
    const std::string log = "ONLY " + sql_.log.Quoted();
    const std::string keys = sql_.KeyList();
    db::Params params = {Value::Integer(first_ - 1)};
    std::string where;
    if (entries) {
      where = " WHERE ctid = ANY (ARRAY(SELECT ctid FROM " + log + " LIMIT $2))";
      params.push_back(Value::Integer(*entries));
    }
    const auto inserted = session_.Query(
        "WITH taken AS (DELETE FROM " + log + where + " RETURNING " + keys + ") INSERT INTO " +
            sql_.batch + " (understudy_n, understudy_entries, " + keys +
            ") SELECT $1::bigint + row_number() OVER (), s.* FROM (SELECT count(*), " + keys +
            " FROM taken GROUP BY " + keys + " ORDER BY " + keys + ") AS s",
        params);
    last_ = first_ + inserted.affected - 1;
    if (inserted.affected == 0) return;
    const db::Result counts = session_.Query(
        "SELECT sum(understudy_entries)::bigint, count(k1), count(*) - count(k1) FROM " +
            sql_.batch + " WHERE understudy_n BETWEEN $1 AND $2",
        {Value::Integer(first_), Value::Integer(last_)});
    const Row& row = counts.rows.at(0);
    result_.entries = row[0].AsInteger();
    result_.keys = row[1].AsInteger();
    result_.truncated = row[2].AsInteger() > 0;
    result_.more = entries && result_.entries >= *entries;
    if (result_.keys >= kAnalyzeFrom) session_.Execute("ANALYZE " + sql_.batch);
  }

  std::string InBatch(const char* alias) const {
    return std::string(alias) + ".understudy_n BETWEEN $1 AND $2";
  }

  void Delete() {
    const bool last = !options_.entries;  // under the locks of a cutover
    if (last && Sabotaged("capture-loses-key")) session_.Execute("DELETE FROM " + sql_.batch);
    if (last && Sabotaged("capture-writes-stale-image")) {
      session_.Execute("DELETE FROM " + sql_.batch + " AS b WHERE EXISTS (SELECT 1 FROM " +
                       sql_.the_mirror + " AS m WHERE " + sql_.MirrorIsKey("m", "b") + ")");
    }
    const db::Params range = {Value::Integer(first_), Value::Integer(last_)};
    result_.deleted =
        session_
            .Query("DELETE FROM " + sql_.the_mirror + " AS m USING " + sql_.batch + " AS b WHERE " +
                       InBatch("b") + " AND " + sql_.MirrorIsKey("m", "b"),
                   range)
            .affected;
    if (!result_.truncated) return;
    // Of the table, or of a partition of it: whatever main has no more. What was written since has
    // entries of its own.
    result_.deleted +=
        session_
            .Query("DELETE FROM " + sql_.the_mirror + " AS m WHERE NOT EXISTS (SELECT 1 FROM " +
                   sql_.from_watched + " WHERE " + sql_.MirrorIsWatched("m") + ")")
            .affected;
  }

  std::int64_t Insert(std::int64_t first, std::int64_t last) {
    const std::int64_t rows =
        session_
            .Query("INSERT INTO " + sql_.mirror.Quoted() + " (" + sql_.mapping->InsertColumns() +
                       ") OVERRIDING SYSTEM VALUE SELECT " + sql_.mapping->SelectList() + " FROM " +
                       sql_.from_watched + " JOIN " + sql_.batch + " AS understudy_keys ON " +
                       sql_.WatchedIsKey("understudy_keys") + " WHERE " +
                       InBatch("understudy_keys") +
                       (sql_.mapping->only.empty() ? "" : " AND (" + sql_.mapping->only + ")"),
                   {Value::Integer(first), Value::Integer(last)})
            .affected;
    session_.Execute("SET CONSTRAINTS ALL IMMEDIATE");
    return rows;
  }

  // All that is visible is taken, so that a refusal is the row's own fault: halves, until the rows
  // that are refused are alone. Those go back into the log.
  ReplayResult RunOneByOne() {
    session_.Execute("SAVEPOINT understudy_replay");
    result_ = {};
    Take(std::nullopt);
    Delete();
    Halve(first_, last_);
    session_.Execute("RELEASE SAVEPOINT understudy_replay");
    return result_;
  }

  void Halve(std::int64_t first, std::int64_t last) {
    if (first > last) return;
    if (static_cast<int>(result_.refused.size()) >= options_.refused_at_most) {
      PutBack(first, last);
      return;
    }
    session_.Execute("SAVEPOINT understudy_half");
    try {
      const std::int64_t rows = Insert(first, last);
      session_.Execute("RELEASE SAVEPOINT understudy_half");
      result_.inserted += rows;
      return;
    } catch (const Error& error) {
      if (!IsRefusal(error)) throw;
      session_.Execute("ROLLBACK TO SAVEPOINT understudy_half; RELEASE SAVEPOINT understudy_half");
      if (first == last) {
        Refuse(first, error);
        return;
      }
    }
    const std::int64_t middle = first + (last - first) / 2;
    Halve(first, middle);
    Halve(middle + 1, last);
  }

  void PutBack(std::int64_t first, std::int64_t last) {
    session_.Query("INSERT INTO " + sql_.log.Quoted() + " (" + sql_.KeyList() + ") SELECT " +
                       sql_.KeyList() + " FROM " + sql_.batch +
                       " WHERE k1 IS NOT NULL AND understudy_n BETWEEN $1 AND $2",
                   {Value::Integer(first), Value::Integer(last)});
  }

  void Refuse(std::int64_t number, const Error& error) {
    std::string texts;
    for (const KeyColumn& column : sql_.key) {
      texts += (texts.empty() ? "" : ", ") + column.log + "::text";
    }
    const db::Result key =
        session_.Query("SELECT " + texts + " FROM " + sql_.batch + " WHERE understudy_n = $1",
                       {Value::Integer(number)});
    result_.refused.push_back(
        {sql_.watched, KeyJson(*sql_.mapping, key.rows.at(0), 0), error.message(), error.code()});
    PutBack(number, number);
  }

  db::Session& session_;
  TableSql sql_;
  ReplayOptions options_;
  ReplayResult result_;
  std::int64_t first_ = 1;  // numbers of this batch in the temporary table
  std::int64_t last_ = 0;
};

}  // namespace

ReplayResult Replay(db::Session& session, const CapturedTable& table,
                    const ReplayOptions& options) {
  // Most tables have nothing most of the time, and under the locks of a cutover every round trip
  // counts.
  if (Pending(session, {table}, 1).at(0) == 0) return {};
  if (!Incomplete(session, {table}).empty()) {
    ReplayResult result;
    result.incomplete = true;
    return result;
  }
  Replayer replayer(session, table, options);
  return replayer.Run();
}

std::int64_t CountReplayed(db::Session& session, const CapturedTable& table,
                           const std::string& condition) {
  const TableSql sql = TableSql::Read(session, table);
  return session
      .Scalar("SELECT count(*) FROM " + sql.from_watched + " WHERE (" + condition +
              ") AND EXISTS (SELECT FROM " + sql.batch + " AS understudy_keys WHERE " +
              sql.WatchedIsKey("understudy_keys") + ")")
      .AsInteger();
}

std::int64_t Recopy(db::Session& session, const CapturedTable& table) {
  const TableSql sql = TableSql::Read(session, table);
  session.Execute("SET LOCAL row_security = off");
  session.Execute("DELETE FROM ONLY " + sql.log.Quoted());
  // TRUNCATE is for tables that no foreign key references.
  const bool referenced =
      session
          .Scalar(
              "SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid IN "
              "(SELECT $1::oid UNION SELECT relid FROM pg_partition_tree($1::oid)))",
              {Value::Integer(table.mirror)})
          .AsBool();
  session.Execute((referenced ? "DELETE FROM " : "TRUNCATE ") + sql.the_mirror);
  const std::int64_t rows = session.Query(InsertSql(session, table, table.mapping.only)).affected;
  session.Execute("SET CONSTRAINTS ALL IMMEDIATE");
  return rows;
}

std::string InsertSql(db::Session& session, const CapturedTable& table, const std::string& where) {
  const TableSql sql = TableSql::Read(session, table);
  return "INSERT INTO " + sql.mirror.Quoted() + " (" + table.mapping.InsertColumns() +
         ") OVERRIDING SYSTEM VALUE SELECT " + table.mapping.SelectList() + " FROM " +
         sql.from_watched + (where.empty() ? "" : " WHERE " + where);
}

}  // namespace understudy::capture
