#include "engine/capture/sqlite_capture.h"

#include <algorithm>
#include <set>

#include "engine/db/identifier.h"

namespace understudy::capture {
namespace {
using catalog::SqliteColumn;
using catalog::SqliteIndex;
using catalog::SqliteIndexPart;
using catalog::SqliteTable;
using db::QuoteIdentifier;
using db::QuoteLiteral;

constexpr const char* kRecord = "_migration_on_";
constexpr const char* kRefuse = "_understudy_refuse_";

// What a hot copy makes in an old file, and leaves in a new one.
constexpr std::string_view kOurs[] = {"_migration_marker", "_migration_log",     "_migration_txn",
                                      "_migration_status", "_schema_identity",   "_id_mapping",
                                      "_id_mapping_new",   "_migration_progress"};

// Names without a schema: inside a trigger they are of the trigger's own database.
constexpr const char* kWrites = "INSERT INTO _migration_log(";
constexpr const char* kLogColumns =
    "INSERT INTO _migration_log(txn_id, ordering, operation, table_name, row_data) ";
constexpr const char* kGroup =
    "(SELECT txn_id FROM _migration_txn WHERE id = 0), "
    "(SELECT coalesce((SELECT max(id) FROM _migration_log), 0) + 1 - first_log_id "
    "FROM _migration_txn WHERE id = 0 AND txn_id IS NOT NULL), ";

// A row that would go because NEW takes its place in `index`: REPLACE removes it without firing a
// delete trigger (https://sqlite.org/lang_conflict.html). A partial index is taken for a whole one:
// marking too much does no harm.
std::string Conflict(const SqliteTable& table, const SqliteIndex& index) {
  std::string condition;
  for (const SqliteIndexPart& part : index.parts) {
    std::string one;
    if (!part.column.empty()) {
      const std::string column = QuoteIdentifier(part.column);
      one = QuoteIdentifier(table.name) + "." + column + " = NEW." + column;
    } else {
      std::string row;
      for (const SqliteColumn& column : table.columns) {
        const std::string name = QuoteIdentifier(column.name);
        row += (row.empty() ? "NEW." : ", NEW.") + name + " AS " + name;
      }
      one = "(" + part.expression + ") = (SELECT " + part.expression + " FROM (SELECT " + row +
            ") AS " + QuoteIdentifier(table.name) + ")";
    }
    condition +=
        (condition.empty() ? "" : " AND ") + one + " COLLATE " + QuoteIdentifier(part.collation);
  }
  return condition;
}

std::string Changed(const SqliteTable& table, const SqliteIndex& index) {
  std::string condition;
  for (const SqliteIndexPart& part : index.parts) {
    if (part.column.empty()) return "1";
    const std::string column = QuoteIdentifier(part.column);
    condition += (condition.empty() ? "" : " OR ") + ("NEW." + column) + " IS NOT OLD." + column;
  }
  return table.columns.empty() ? "1" : condition;
}

}  // namespace

std::string_view MarkName(SqliteMark mark) {
  return mark == SqliteMark::kNone        ? "none"
         : mark == SqliteMark::kRecording ? "recording"
                                          : "draining";
}

std::string SqliteKeySql(const SqliteTable& table, const std::vector<std::string>& key,
                         std::string_view row) {
  std::string sql;
  for (const std::string& name : key) {
    const std::string value = std::string(row) + "." + QuoteIdentifier(name);
    if (!sql.empty()) sql += " || ',' || ";
    const bool whole_number = table.Column(name) == nullptr || table.RowidAlias() == name;
    if (whole_number) {
      sql += "'integer:' || hex(" + value + ")";
    } else {
      // hex() of a number is the hex of its text; 17 digits are what a double needs.
      sql += "typeof(" + value + ") || ':' || hex(CASE typeof(" + value +
             ") WHEN 'real' THEN printf('%!.17g', " + value + ") ELSE " + value + " END)";
    }
  }
  return sql;
}

std::vector<std::string> SqliteRecordingTriggers(const SqliteWatched& watched) {
  const SqliteTable& table = *watched.table;
  const std::string name = QuoteIdentifier(table.name);
  const std::string literal = QuoteLiteral(table.name);
  const auto trigger = [&](const char* kind, const char* when, const std::string& body) {
    return "CREATE TRIGGER " + QuoteIdentifier(kRecord + std::string(kind) + "_" + table.name) +
           " " + when + " ON " + name + " BEGIN " + body + " END";
  };
  const auto record = [&](const char* operation, const char* row) {
    return std::string(kLogColumns) + "VALUES (" + kGroup + "'" + operation + "', " + literal +
           ", " + SqliteKeySql(table, watched.key, row) + ");";
  };
  const auto mark = [&](const std::string& condition) {
    return std::string(kLogColumns) + "SELECT " + kGroup + "'conflict', " + literal + ", " +
           SqliteKeySql(table, watched.key, name) + " FROM " + name + " WHERE " + condition + ";";
  };
  std::string before_insert;
  std::string before_update;
  for (const SqliteIndex& index : table.indexes) {
    if (!index.unique || index.parts.empty()) continue;
    before_insert += mark(Conflict(table, index));
    before_update += mark("(" + Changed(table, index) + ") AND " + Conflict(table, index));
  }
  // A rowid can be given, and its row replaced, by hand: under a name of its own, or as the INTEGER
  // PRIMARY KEY, which has no index. Only where it is the key itself, the entry of the write tells.
  const std::string alias = table.RowidAlias();
  const bool is_key = watched.key.size() == 1 && watched.key[0] == alias;
  const std::string rowid = alias.empty() ? table.RowidName() : QuoteIdentifier(alias);
  if (!rowid.empty() && !is_key) {
    before_insert += mark(name + "." + rowid + " = NEW." + rowid);
    before_update += mark("NEW." + rowid + " <> OLD." + rowid + " AND " + name + "." + rowid +
                          " = NEW." + rowid);
  }
  std::string moved;
  for (const std::string& column : watched.key) {
    const std::string quoted = QuoteIdentifier(column);
    moved +=
        (moved.empty() ? "NEW." : " OR NEW.") + quoted + " COLLATE BINARY IS NOT OLD." + quoted;
  }
  std::vector<std::string> triggers;
  if (!before_insert.empty()) {
    triggers.push_back(trigger("before_insert", "BEFORE INSERT", before_insert));
    triggers.push_back(trigger("before_update", "BEFORE UPDATE", before_update));
  }
  triggers.push_back(trigger("insert", "AFTER INSERT", record("insert", "NEW")));
  triggers.push_back(
      trigger("update", "AFTER UPDATE",
              record("update", "OLD") + kLogColumns + "SELECT " + kGroup + "'update', " + literal +
                  ", " + SqliteKeySql(table, watched.key, "NEW") + " WHERE " + moved + ";"));
  triggers.push_back(trigger("delete", "AFTER DELETE", record("delete", "OLD")));
  return triggers;
}

std::vector<std::string> SqliteRefusalTriggers(const SqliteTable& table) {
  std::vector<std::string> triggers;
  for (const char* operation : {"insert", "update", "delete"}) {
    triggers.push_back("CREATE TRIGGER " +
                       QuoteIdentifier(kRefuse + std::string(operation) + "_" + table.name) +
                       " BEFORE " + operation + " ON " + QuoteIdentifier(table.name) +
                       " BEGIN SELECT RAISE(ABORT, " + QuoteLiteral(kDrainingText) + "); END");
  }
  return triggers;
}

std::string SqliteMissingTrigger(db::Session& session, const std::string& database,
                                 const std::vector<std::string>& triggers) {
  std::set<std::string> present;
  const db::Result result =
      session.Query("SELECT sql FROM " + database + ".sqlite_schema WHERE type = 'trigger'");
  for (const db::Row& row : result.rows) present.insert(row[0].TextOr(""));
  for (const std::string& trigger : triggers) {
    if (!present.contains(trigger)) return trigger.substr(0, trigger.find(" BEGIN"));
  }
  return "";
}

bool SqliteCapture::HasTable(const char* name) {
  return old_.Scalar("SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = ?1",
                     {db::Value::Text(name)})
             .AsInteger() > 0;
}

std::vector<std::string> SqliteCapture::TriggersLike(const char* prefix) {
  std::vector<std::string> names;
  const db::Result result = old_.Query(
      "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND "
      "substr(name, 1, length(?1)) = ?1 AND instr(sql, ?2) > 0 ORDER BY name",
      {db::Value::Text(prefix),
       db::Value::Text(std::string_view(prefix) == kRecord ? std::string(kWrites)
                                                           : std::string(kDrainingText))});
  for (const db::Row& row : result.rows) names.push_back(row[0].text);
  return names;
}

std::vector<std::string> SqliteCapture::LikeOurs() {
  std::vector<std::string> names;
  const db::Result result = old_.Query(
      "SELECT type, name, coalesce(sql, '') FROM main.sqlite_schema WHERE name NOT LIKE "
      "'sqlite\\_%' ESCAPE '\\' ORDER BY name");
  for (const db::Row& row : result.rows) {
    const std::string& name = row[1].text;
    if (!catalog::IsReservedSqliteName(name)) continue;
    const bool trigger = row[0].text == "trigger";
    const bool ours = trigger ? row[2].text.find(kWrites) != std::string::npos ||
                                    row[2].text.find(kDrainingText) != std::string::npos
                              : name.starts_with("_understudy_") ||
                                    std::ranges::find(kOurs, name) != std::end(kOurs);
    if (!ours) names.push_back(row[0].text + " " + name);
  }
  return names;
}

SqliteMark SqliteCapture::Mark() {
  if (!HasTable("_migration_marker")) return SqliteMark::kNone;
  const auto status = old_.MaybeScalar("SELECT status FROM main._migration_marker WHERE id = 0");
  if (!status) return SqliteMark::kNone;
  return status->text == "draining" ? SqliteMark::kDraining : SqliteMark::kRecording;
}

std::string SqliteCapture::Target() {
  if (!HasTable("_migration_txn")) return "";
  const auto target = old_.MaybeScalar("SELECT target FROM main._migration_txn WHERE id = 0");
  return target ? target->TextOr("") : "";
}

std::string SqliteCapture::Recording() {
  if (!HasTable("_migration_txn")) return "";
  const auto name = old_.MaybeScalar("SELECT recording FROM main._migration_txn WHERE id = 0");
  return name ? name->TextOr("") : "";
}

std::int64_t SqliteCapture::LastLogId() {
  if (!HasTable("_migration_log")) return 0;
  return old_.Scalar("SELECT coalesce(max(id), 0) FROM main._migration_log").AsInteger();
}

std::int64_t SqliteCapture::LogBytes() {
  if (!HasTable("_migration_log")) return 0;
  // Entries are numbered without gaps; each has a header, its number and two small ones besides.
  return old_
      .Scalar(
          "SELECT coalesce(CAST(((SELECT max(id) FROM main._migration_log) + 1 - (SELECT min(id) "
          "FROM main._migration_log)) * avg(20 + length(operation) + length(table_name) + "
          "length(row_data)) AS INTEGER), 0) FROM (SELECT * FROM main._migration_log ORDER BY id "
          "DESC LIMIT 200)")
      .AsInteger();
}

std::int64_t SqliteCapture::TrimLog(std::int64_t through, std::int64_t most) {
  if (!HasTable("_migration_log")) return 0;
  return old_
      .Query(
          "DELETE FROM main._migration_log WHERE id <= ?1 AND id < (SELECT max(id) FROM "
          "main._migration_log) AND id < (SELECT min(id) FROM main._migration_log) + ?2",
          {db::Value::Integer(through), db::Value::Integer(most)})
      .affected;
}

void SqliteCapture::StopRecording() {
  for (const std::string& name : TriggersLike(kRecord)) {
    old_.Execute("DROP TRIGGER main." + QuoteIdentifier(name));
  }
  for (const char* table : {"_migration_marker", "_migration_txn"}) {
    old_.Execute(std::string("DROP TABLE IF EXISTS main.") + table);
  }
}

bool SqliteCapture::RefusesWrites() { return !TriggersLike(kRefuse).empty(); }

void SqliteCapture::Install(const std::vector<SqliteWatched>& watched, const std::string& target,
                            const std::string& recording) {
  old_.Execute(R"(
    CREATE TABLE IF NOT EXISTS main._migration_marker(id INTEGER PRIMARY KEY, status TEXT);
    DROP TABLE IF EXISTS main._migration_log;
    CREATE TABLE main._migration_log(
      id INTEGER PRIMARY KEY AUTOINCREMENT, txn_id INTEGER, ordering INTEGER, operation TEXT,
      table_name TEXT, row_data TEXT);
    CREATE TABLE IF NOT EXISTS main._migration_txn(
      id INTEGER PRIMARY KEY, txn_id INTEGER, first_log_id INTEGER, last_txn_id INTEGER,
      target TEXT, recording TEXT))");
  old_.Execute("INSERT OR REPLACE INTO main._migration_marker(id, status) VALUES (0, 'recording')");
  old_.Query(
      "INSERT OR REPLACE INTO main._migration_txn(id, last_txn_id, target, recording) VALUES "
      "(0, 0, ?1, ?2)",
      {db::Value::Text(target), db::Value::Text(recording)});
  for (const char* prefix : {kRecord, kRefuse}) {
    for (const std::string& name : TriggersLike(prefix)) {
      old_.Execute("DROP TRIGGER main." + QuoteIdentifier(name));
    }
  }
  for (const SqliteWatched& table : watched) {
    for (const std::string& sql : SqliteRecordingTriggers(table)) old_.Execute(sql);
  }
}

void SqliteCapture::StartDraining(const std::vector<SqliteTable>& tables) {
  old_.Execute("UPDATE main._migration_marker SET status = 'draining' WHERE id = 0");
  for (const SqliteTable& table : tables) {
    if (table.is_virtual) continue;
    for (const std::string& sql : SqliteRefusalTriggers(table)) old_.Execute(sql);
  }
}

std::vector<std::string> SqliteCapture::Remove(bool refusals_stay, bool dry_run) {
  std::vector<std::string> lines;
  std::vector<std::string> statements;
  std::vector<std::string> triggers = TriggersLike(kRecord);
  if (!triggers.empty()) {
    lines.push_back(std::to_string(triggers.size()) + " recording triggers");
  }
  if (!refusals_stay) {
    const std::vector<std::string> refusals = TriggersLike(kRefuse);
    if (!refusals.empty()) {
      lines.push_back(std::to_string(refusals.size()) +
                      " refusal triggers: writes are accepted again at once");
    }
    triggers.insert(triggers.end(), refusals.begin(), refusals.end());
  }
  for (const std::string& name : triggers) {
    statements.push_back("DROP TRIGGER main." + QuoteIdentifier(name));
  }
  for (const char* table : {"_migration_marker", "_migration_log", "_migration_txn"}) {
    if (!HasTable(table)) continue;
    std::string line = std::string("table ") + table;
    if (std::string_view(table) == "_migration_marker") {
      line += " (" + std::string(MarkName(Mark())) + ")";
    } else if (std::string_view(table) == "_migration_log") {
      line += " (" + old_.Scalar("SELECT count(*) FROM main._migration_log").text + " entries)";
    }
    lines.push_back(line);
    statements.push_back(std::string("DROP TABLE main.") + table);
  }
  if (!dry_run) {
    for (const std::string& statement : statements) old_.Execute(statement);
  }
  return lines;
}

}  // namespace understudy::capture
