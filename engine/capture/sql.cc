#include "engine/capture/sql.h"

#include "engine/base/error.h"

namespace understudy::capture {
namespace {

using db::QuoteIdentifier;
using db::Row;
using db::Value;

std::string Only(const db::TableName& name, const std::string& kind) {
  return (kind == "p" ? "" : "ONLY ") + name.Quoted();
}

}  // namespace

TableSql TableSql::Read(db::Session& session, const CapturedTable& table) {
  TableSql sql;
  sql.mapping = &table.mapping;
  const db::Result names =
      session.Query(R"(
SELECT c.oid, n.nspname, c.relname, c.relkind
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY ($1::oid[]))",
                    {db::IntegerArray(std::vector{table.watched, table.mirror, table.log})});
  for (const Row& row : names.rows) {
    const auto oid = static_cast<Oid>(row[0].AsInteger());
    const db::TableName name{row[1].text, row[2].text};
    if (oid == table.watched) {
      sql.watched = name;
      sql.from_watched = Only(name, row[3].text) + " AS " + QuoteIdentifier(name.name);
    }
    if (oid == table.mirror) {
      sql.mirror = name;
      sql.the_mirror = Only(name, row[3].text);
    }
    if (oid == table.log) sql.log = name;
  }
  const auto gone = [&](const char* what, const db::TableName& known) {
    throw Error(ErrorKind::kMismatch,
                std::string(what) + " of " +
                    (known.name.empty() ? "a captured table" : known.Display()) +
                    " is gone: somebody dropped it");
  };
  if (sql.watched.name.empty()) gone("production's side", sql.mirror);
  if (sql.mirror.name.empty()) gone("the mirror", sql.watched);
  if (table.log != 0 && sql.log.name.empty()) gone("the capture log", sql.watched);
  for (std::size_t i = 0; i < table.mapping.key.size(); ++i) {
    KeyColumn column;
    column.log = "k" + std::to_string(i + 1);
    column.watched = QuoteIdentifier(table.mapping.key[i]);
    column.mirror = QuoteIdentifier(table.mapping.mirror_key[i]);
    sql.key.push_back(std::move(column));
  }
  if (table.log != 0) {
    const db::Result types = session.Query(R"(
SELECT format_type(a.atttypid, a.atttypmod),
       (SELECT format(' COLLATE %I.%I', n.nspname, l.collname)
          FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
         WHERE l.oid = a.attcollation)
  FROM pg_attribute a
 WHERE a.attrelid = $1::oid AND a.attnum > 1 AND NOT a.attisdropped ORDER BY a.attnum)",
                                           {Value::Integer(table.log)});
    if (types.rows.size() != sql.key.size()) gone("a key column in the log", sql.watched);
    for (std::size_t i = 0; i < sql.key.size(); ++i) {
      sql.key[i].type = types.rows[i][0].text + types.rows[i][1].TextOr("");
    }
    sql.batch = "pg_temp." + QuoteIdentifier("understudy_keys_" + std::to_string(table.log));
  }
  return sql;
}

std::string TableSql::WatchedAlias() const { return QuoteIdentifier(watched.name); }

std::string TableSql::KeyList(const std::string& alias) const {
  std::string list;
  for (const KeyColumn& column : key) {
    list += (list.empty() ? "" : ", ") + (alias.empty() ? "" : alias + ".") + column.log;
  }
  return list;
}

std::string TableSql::MakeBatch() const {
  std::string columns;
  for (const KeyColumn& column : key) columns += ", " + column.log + " " + column.type;
  return "CREATE TEMPORARY TABLE IF NOT EXISTS " + batch.substr(sizeof("pg_temp.") - 1) +
         " (understudy_n bigint, understudy_entries bigint" + columns + ") ON COMMIT DELETE ROWS";
}

std::string TableSql::WatchedIsKey(const std::string& keys) const {
  std::string all;
  for (std::size_t i = 0; i < key.size(); ++i) {
    all += (i == 0 ? "" : " AND ") + WatchedAlias() + "." + key[i].watched + " " +
           mapping->key_equals[i] + " " + keys + "." + key[i].log;
  }
  return all;
}

std::string TableSql::MirrorIsKey(const std::string& alias, const std::string& keys) const {
  std::string all;
  for (std::size_t i = 0; i < key.size(); ++i) {
    const std::string& collate = mapping->mirror_collate[i];
    all += (i == 0 ? "" : " AND ") + alias + "." + key[i].mirror + " " + mapping->mirror_equals[i] +
           " " + keys + "." + key[i].log + (collate.empty() ? "" : " COLLATE " + collate);
  }
  return all;
}

std::string TableSql::MirrorIsWatched(const std::string& alias) const {
  std::string all;
  for (std::size_t i = 0; i < key.size(); ++i) {
    const std::string& collate = mapping->mirror_collate[i];
    all += (i == 0 ? "" : " AND ") + alias + "." + key[i].mirror + " " + mapping->mirror_equals[i] +
           " " + WatchedAlias() + "." + key[i].watched +
           (collate.empty() ? "" : " COLLATE " + collate);
  }
  return all;
}

Json KeyJson(const RowMapping& mapping, const Row& row, std::size_t from) {
  Json key = Json::object();
  for (std::size_t i = 0; i < mapping.key.size(); ++i) {
    key[mapping.key[i]] = row.at(from + i).ToJson();
  }
  return key;
}

}  // namespace understudy::capture
