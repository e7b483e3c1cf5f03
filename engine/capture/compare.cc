// Whether a mirror is what it must be, and whether references hold: read only.
#include "engine/capture/compare.h"

#include <algorithm>
#include <map>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "engine/capture/sql.h"

namespace understudy::capture {
namespace {

using db::QuoteIdentifier;
using db::Row;
using db::Value;

constexpr int kExamples = 10;
constexpr int kRecordHashVersion = 140000;  // hash_record_extended

struct MirrorColumn {
  std::string type;     // with its modifier
  std::string plain;    // "pg_catalog.int8": what is below domains, by name
  bool simple = false;  // its hash tells all values apart, as far as a hash can
  bool has_send = false;
};

// The types whose own hash covers every bit of the value. int8's (and so the timestamps') folds to
// 32 bits, numeric's ignores the scale, float's the sign of zero, bpchar's the blanks.
bool HashIsExact(const std::string& type, bool deterministic) {
  if (type == "text" || type == "varchar") return deterministic;
  return type == "bool" || type == "int2" || type == "int4" || type == "oid" || type == "bytea" ||
         type == "uuid" || type == "date" || type == "char";
}

// Types whose binary form is quick and says everything; no OID is in it.
bool SendIsExact(const std::string& type) {
  return type == "int8" || type == "numeric" || type == "float4" || type == "float8" ||
         type == "timestamp" || type == "timestamptz" || type == "time" || type == "timetz" ||
         type == "interval";
}

std::map<std::string, MirrorColumn> ReadColumns(db::Session& session, Oid table) {
  const db::Result found = session.Query(R"(
WITH RECURSIVE below AS (
  SELECT a.attname, a.atttypid, a.atttypmod, a.attcollation, a.atttypid AS base, t.typtype,
         t.typbasetype
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
   UNION ALL
  SELECT b.attname, b.atttypid, b.atttypmod, b.attcollation, t.oid, t.typtype, t.typbasetype
    FROM below b JOIN pg_type t ON t.oid = b.typbasetype
   WHERE b.typtype = 'd'
)
SELECT b.attname, format_type(b.atttypid, b.atttypmod), t.typname,
       t.typnamespace = 'pg_catalog'::regnamespace,
       coalesce((SELECT l.collisdeterministic FROM pg_collation l WHERE l.oid = b.attcollation),
                true),
       t.typname || 'send', t.typname || '_send'
  FROM below b JOIN pg_type t ON t.oid = b.base
 WHERE b.typtype <> 'd')",
                                         {Value::Integer(table)});
  std::map<std::string, MirrorColumn> columns;
  for (const Row& row : found.rows) {
    MirrorColumn column;
    column.type = row[1].text;
    column.plain = row[3].AsBool() ? row[2].text : "";
    column.simple = !column.plain.empty() && HashIsExact(column.plain, row[4].AsBool());
    column.has_send = !column.plain.empty() && SendIsExact(column.plain);
    columns[row[0].text] = std::move(column);
  }
  return columns;
}

std::string SendFunction(const std::string& type) {
  if (type == "int8" || type == "float4" || type == "float8") return type + "send";
  return type + "_send";
}

// A form of `expression` in which two values are the same only when every bit is.
std::string Exact(const std::string& expression, const MirrorColumn& column) {
  if (column.simple) return expression;
  if (column.has_send) return SendFunction(column.plain) + "(" + expression + ")";
  return "(" + expression + ")::text COLLATE \"C\"";
}

// A 64-bit hash of one row. hash_record is a weighted sum of the columns' hashes: summed over rows
// it would not see two rows exchange a value, so that its bits are mixed once more.
std::string RowHash(const std::vector<std::string>& values, int version, int seed) {
  std::string row = "ROW(";
  for (std::size_t i = 0; i < values.size(); ++i) row += (i == 0 ? "" : ", ") + values[i];
  row += ")";
  const std::string with = std::to_string(seed);
  if (version >= kRecordHashVersion) {
    return "hashint4extended(1, hash_record_extended(" + row + ", " + with + "))";
  }
  return "hashtextextended((" + row + ")::text, " + with + ")";
}

std::string Sums(const std::vector<std::string>& values, int version) {
  return "count(*), coalesce(sum(" + RowHash(values, version, 0) + "::numeric), 0), " +
         "coalesce(sum(" + RowHash(values, version, 1) + "::numeric), 0)";
}

// Types of tables and expressions of one comparison.
struct Sides {
  std::vector<std::string> watched;
  std::vector<std::string> mirror;
};

Sides Columns(db::Session& session, const CapturedTable& table) {
  const std::map<std::string, MirrorColumn> columns = ReadColumns(session, table.mirror);
  Sides sides;
  for (const ColumnSource& source : table.mapping.columns) {
    if (!source.compared) continue;
    const auto it = columns.find(source.column);
    if (it == columns.end()) {
      throw Error(ErrorKind::kMismatch,
                  "the mirror has no column " + db::DisplayIdentifier(source.column) + " any more");
    }
    // What an INSERT makes of the expression: a value of the column's type.
    sides.watched.push_back(
        Exact("CAST(" + source.expression + " AS " + it->second.type + ")", it->second));
    sides.mirror.push_back(Exact("m." + QuoteIdentifier(source.column), it->second));
  }
  return sides;
}

std::string JoinAnd(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += (all.empty() ? "" : " AND ") + part;
  return all;
}

}  // namespace

MirrorComparison CompareMirror(db::Session& session, const CapturedTable& table) {
  if (Sabotaged("capture-compares-nothing")) return {};
  const TableSql sql = TableSql::Read(session, table);
  session.Execute("SET LOCAL row_security = off");
  MirrorComparison comparison;
  comparison.not_compared = table.mapping.not_compared;
  for (const ColumnSource& source : table.mapping.columns) {
    if (!source.compared) comparison.not_compared.push_back(source.column);
  }
  std::string watched_where;
  std::string mirror_where;
  if (table.log != 0) {
    const db::Result pending =
        session.Query("SELECT count(*) - count(k1), count(k1) FROM ONLY " + sql.log.Quoted());
    comparison.truncate_pending = pending.rows.at(0).at(0).AsInteger() > 0;
    if (comparison.truncate_pending) {
      comparison.equal = false;
      return comparison;
    }
    if (pending.rows.at(0).at(1).AsInteger() > 0) {
      comparison.pending_keys =
          session
              .Scalar("SELECT count(*) FROM (SELECT DISTINCT " + sql.KeyList() + " FROM ONLY " +
                      sql.log.Quoted() + ") AS x")
              .AsInteger();
      const std::string from =
          " WHERE NOT EXISTS (SELECT 1 FROM ONLY " + sql.log.Quoted() + " AS understudy_log WHERE ";
      watched_where = from + sql.WatchedIsKey("understudy_log") + ")";
      mirror_where = from + sql.MirrorIsKey("m", "understudy_log") + ")";
    }
  }
  if (!table.mapping.only.empty()) {
    watched_where += (watched_where.empty() ? " WHERE (" : " AND (") + table.mapping.only + ")";
  }
  const Sides sides = Columns(session, table);
  const int version = session.Server().version;
  const db::Result ours = session.Query("SELECT " + Sums(sides.watched, version) + " FROM " +
                                        sql.from_watched + watched_where);
  const db::Result theirs = session.Query("SELECT " + Sums(sides.mirror, version) + " FROM " +
                                          sql.the_mirror + " AS m" + mirror_where);
  comparison.watched_rows = ours.rows.at(0).at(0).AsInteger();
  comparison.mirror_rows = theirs.rows.at(0).at(0).AsInteger();
  comparison.equal = ours.rows == theirs.rows;
  if (comparison.equal) return comparison;
  // Which rows: by key, and by the hash of the row.
  std::string keys_of_watched;
  std::string keys_of_mirror;
  std::string either;
  std::vector<std::string> same;
  for (std::size_t i = 0; i < sql.key.size(); ++i) {
    const std::string place = std::to_string(i + 1);
    keys_of_watched += sql.WatchedAlias() + "." + sql.key[i].watched + "::text AS w" + place + ", ";
    keys_of_mirror += "m." + sql.key[i].mirror + "::text AS m" + place + ", ";
    either += "coalesce(w" + place + ", m" + place + "), ";
    same.push_back("w" + place + " = m" + place);
  }
  const db::Result differing = session.Query(
      "SELECT " + either + "1 FROM (SELECT " + keys_of_watched +
      RowHash(sides.watched, version, 0) + " AS understudy_a FROM " + sql.from_watched +
      watched_where + ") AS w FULL JOIN (SELECT " + keys_of_mirror +
      RowHash(sides.mirror, version, 0) + " AS understudy_b FROM " + sql.the_mirror + " AS m" +
      mirror_where + ") AS x ON " + JoinAnd(same) +
      " WHERE understudy_a IS DISTINCT FROM understudy_b LIMIT " + std::to_string(kExamples));
  for (const Row& row : differing.rows) {
    comparison.examples.push_back(KeyJson(table.mapping, row, 0));
  }
  return comparison;
}

ReferenceSql Describe(db::Session& session, const Reference& reference) {
  ReferenceSql sql;
  const std::vector<catalog::Table> tables =
      catalog::ReadTablesByOid(session, {reference.from, reference.to});
  const auto name = [&](Oid oid, db::TableName& to, std::string& text) {
    for (const catalog::Table& table : tables) {
      if (table.oid != oid) continue;
      to = table.name;
      text = (table.kind == 'p' ? "" : "ONLY ") + table.name.Quoted();
      return;
    }
    throw Error(ErrorKind::kMismatch, "a table of a foreign key is gone");
  };
  name(reference.from, sql.from, sql.from_text);
  name(reference.to, sql.to, sql.to_text);
  // The key's own operators: those of a unique index over the referenced columns, if there is one.
  std::map<std::string, std::string> equals;
  std::map<std::string, std::string> collate;
  for (const catalog::Table& table : tables) {
    if (table.oid != reference.to) continue;
    for (const catalog::Key& key : table.keys) {
      for (std::size_t i = 0; i < key.columns.size(); ++i) {
        equals.emplace(key.columns[i], key.equals[i]);
      }
    }
    for (std::size_t i = 0; i < reference.to_columns.size(); ++i) {
      const catalog::Column* to = table.Find(reference.to_columns[i]);
      for (const catalog::Table& other : tables) {
        if (other.oid != reference.from) continue;
        const catalog::Column* from = other.Find(reference.from_columns.at(i));
        if (to == nullptr || from == nullptr) {
          throw Error(ErrorKind::kMismatch, "a column of a foreign key is gone");
        }
        // Of different types: the operator between the two, which pg_catalog has.
        if (to->base_type != from->base_type) equals.erase(to->name);
        // The referenced column's collation decides, as in the server's own check.
        if (to->collation != from->collation && !to->collation.empty() &&
            !from->collation.empty()) {
          collate[to->name] = " COLLATE " + to->collation;
        }
      }
    }
  }
  std::vector<std::string> not_null;
  std::vector<std::string> matches;
  std::string nulls;
  for (std::size_t i = 0; i < reference.from_columns.size(); ++i) {
    const std::string from = "f." + QuoteIdentifier(reference.from_columns[i]);
    const std::string& column = reference.to_columns.at(i);
    const auto it = equals.find(column);
    not_null.push_back(from + " IS NOT NULL");
    nulls += (i == 0 ? "" : ", ") + from;
    matches.push_back("t." + QuoteIdentifier(column) + " " +
                      (it == equals.end() ? "OPERATOR(pg_catalog.=)" : it->second) + " " + from +
                      collate[column]);
    sql.listed += (i == 0 ? "" : ", ") + from + "::text";
  }
  // MATCH FULL: a row with some of them NULL refers to nothing and is wrong.
  sql.refers = reference.match_full ? "num_nonnulls(" + nulls + ") > 0" : JoinAnd(not_null);
  sql.matches = JoinAnd(matches);
  return sql;
}

namespace {

Orphans Count(db::Session& session, const Reference& reference, const ReferenceSql& sql,
              const std::string& from, const std::string& also) {
  session.Execute("SET LOCAL row_security = off");
  const std::string body = " FROM " + from + " AS f WHERE " + sql.refers +
                           " AND NOT EXISTS (SELECT 1 FROM " + sql.to_text + " AS t WHERE " +
                           sql.matches + ")" + also;
  Orphans orphans;
  orphans.rows = session.Scalar("SELECT count(*)" + body).AsInteger();
  if (orphans.rows == 0) return orphans;
  const db::Result found =
      session.Query("SELECT DISTINCT " + sql.listed + body + " LIMIT " + std::to_string(kExamples));
  for (const Row& row : found.rows) {
    Json example = Json::object();
    for (std::size_t i = 0; i < reference.from_columns.size(); ++i) {
      example[reference.from_columns[i]] = row[i].ToJson();
    }
    orphans.examples.push_back(std::move(example));
  }
  return orphans;
}

const CapturedTable* WithMirror(const std::vector<CapturedTable>& captured, Oid mirror) {
  const auto it = std::ranges::find(captured, mirror, &CapturedTable::mirror);
  return it == captured.end() ? nullptr : &*it;
}

}  // namespace

std::string RefersToKey(const Reference& reference, const CapturedTable& to, const TableSql& sql,
                        const std::string& keys) {
  if (reference.to_columns.size() != sql.key.size()) return "";
  std::vector<std::string> same;
  for (std::size_t i = 0; i < sql.key.size(); ++i) {
    const auto it = std::ranges::find(reference.to_columns, to.mapping.mirror_key[i]);
    if (it == reference.to_columns.end()) return "";
    const auto place = static_cast<std::size_t>(it - reference.to_columns.begin());
    const std::string& collate = to.mapping.mirror_collate[i];
    same.push_back("f." + QuoteIdentifier(reference.from_columns.at(place)) + " " +
                   to.mapping.mirror_equals[i] + " " + keys + "." + sql.key[i].log +
                   (collate.empty() ? "" : " COLLATE " + collate));
  }
  return JoinAnd(same);
}

std::optional<std::string> LeftOut(db::Session& session, const Reference& reference,
                                   const std::vector<CapturedTable>& captured) {
  std::string also;
  const auto leave_out = [&](const CapturedTable* table, bool is_from) {
    if (table == nullptr || table->log == 0) return true;
    if (Pending(session, {*table}, 1).at(0) == 0) return true;
    const TableSql sql = TableSql::Read(session, *table);
    const std::string log = "ONLY " + sql.log.Quoted();
    if (session.Scalar("SELECT count(*) > count(k1) FROM " + log).AsBool()) return false;
    const std::string same = is_from ? sql.MirrorIsKey("f", "understudy_log")
                                     : RefersToKey(reference, *table, sql, "understudy_log");
    if (same.empty()) return false;
    also += " AND NOT EXISTS (SELECT 1 FROM " + log + " AS understudy_log WHERE " + same + ")";
    return true;
  };
  if (!leave_out(WithMirror(captured, reference.from), true)) return std::nullopt;
  if (!leave_out(WithMirror(captured, reference.to), false)) return std::nullopt;
  return also;
}

Orphans FindOrphans(db::Session& session, const Reference& reference,
                    const std::vector<CapturedTable>& captured) {
  const auto left_out = LeftOut(session, reference, captured);
  if (!left_out) return {};
  const ReferenceSql sql = Describe(session, reference);
  return Count(session, reference, sql, sql.from_text, *left_out);
}

Orphans FindOrphansAmong(db::Session& session, const Reference& reference,
                         const CapturedTable& drained, const std::vector<CapturedTable>& captured,
                         bool whole_tables) {
  const TableSql keys = TableSql::Read(session, drained);
  if (session.Scalar("SELECT to_regclass($1) IS NULL", {Value::Text(keys.batch)}).AsBool()) {
    return {};  // nothing was drained
  }
  const auto whole = [&]() -> Orphans {
    return whole_tables ? FindOrphans(session, reference, captured) : Orphans{};
  };
  // After a TRUNCATE nobody knows which keys went.
  if (session.Scalar("SELECT count(*) > count(k1) FROM " + keys.batch).AsBool()) return whole();
  const auto left_out = LeftOut(session, reference, captured);
  if (!left_out) return {};
  const ReferenceSql sql = Describe(session, reference);
  if (reference.from == drained.mirror) {
    Orphans brought = Count(session, reference, sql, sql.from_text,
                            " AND EXISTS (SELECT 1 FROM " + keys.batch + " AS b WHERE " +
                                keys.MirrorIsKey("f", "b") + ")" + *left_out);
    if (brought.rows > 0) return brought;
  }
  if (reference.to != drained.mirror) return {};
  // A key that was taken out: rows that refer to it were complete before. The batch knows the
  // mirror's key; where the reference goes by other columns, all rows are looked at.
  const std::string same = RefersToKey(reference, drained, keys, "b");
  if (same.empty()) return whole();
  // Mostly all of them are there again: then nobody has to look for who refers to them.
  const std::string gone = " NOT EXISTS (SELECT 1 FROM " + sql.to_text + " AS t WHERE " +
                           keys.MirrorIsKey("t", "b") + ")";
  if (!session.Scalar("SELECT EXISTS (SELECT 1 FROM " + keys.batch + " AS b WHERE" + gone + ")")
           .AsBool()) {
    return {};
  }
  return Count(session, reference, sql, sql.from_text,
               " AND EXISTS (SELECT 1 FROM " + keys.batch + " AS b WHERE " + same + " AND" + gone +
                   ")" + *left_out);
}

std::string MayOrphanSql(db::Session& session, const Reference& reference,
                         const CapturedTable& drained, bool whole_tables) {
  const ReferenceSql sql = Describe(session, reference);
  const TableSql keys = TableSql::Read(session, drained);
  const std::string batch = "EXISTS (SELECT 1 FROM " + keys.batch + " AS b";
  std::string may = batch + " WHERE b.k1 IS NULL)";  // of a TRUNCATE
  if (reference.from == drained.mirror) {
    may += " OR " + batch + " JOIN " + sql.from_text + " AS f ON " + keys.MirrorIsKey("f", "b") +
           " WHERE " + sql.refers + " AND NOT EXISTS (SELECT 1 FROM " + sql.to_text +
           " AS t WHERE " + sql.matches + "))";
  }
  if (reference.to == drained.mirror) {
    if (!RefersToKey(reference, drained, keys, "b").empty()) {
      may += " OR " + batch + " WHERE NOT EXISTS (SELECT 1 FROM " + sql.to_text + " AS t WHERE " +
             keys.MirrorIsKey("t", "b") + "))";
    } else if (whole_tables) {
      may += " OR true";
    }
  }
  return may;
}

}  // namespace understudy::capture
