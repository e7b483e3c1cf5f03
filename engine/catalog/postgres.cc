#include "engine/catalog/postgres.h"

#include <algorithm>
#include <map>

namespace understudy::catalog {
namespace {

using db::Row;
using db::Value;

Oid ToOid(const Value& value) { return value.is_null() ? 0 : static_cast<Oid>(value.AsInteger()); }

char ToChar(const Value& value) { return value.text.empty() ? '\0' : value.text[0]; }

// Members of extensions belong to the extension, not to the user.
constexpr const char* kTables = R"(
SELECT c.oid, n.nspname, c.relname, c.relkind,
       coalesce((SELECT i.inhparent FROM pg_inherits i
                  WHERE i.inhrelid = c.oid AND c.relispartition), 0),
       c.relpersistence = 'u', greatest(c.reltuples, 0)::bigint,
       CASE WHEN c.relkind = 'p'
            THEN (SELECT coalesce(sum(pg_total_relation_size(t.relid)), 0)
                    FROM pg_partition_tree(c.oid) t)
            WHEN c.relkind = 'r' THEN pg_total_relation_size(c.oid)
            ELSE 0 END::bigint,
       c.relfilenode
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f')
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
   AND )";

// Domains may stand on domains: the base is the first below that is none, with the modifier that
// the nearest domain gives it.
constexpr const char* kColumns = R"(
WITH RECURSIVE columns AS (
  SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation, a.attnotnull,
         a.attgenerated, a.attidentity, a.atthasdef
    FROM pg_attribute a
   WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
), base (type, base, modifier, kind, below) AS (
  SELECT DISTINCT c.atttypid, c.atttypid, -1, t.typtype, t.typbasetype
    FROM columns c JOIN pg_type t ON t.oid = c.atttypid
  UNION ALL
  SELECT b.type, t.oid,
         CASE WHEN b.modifier <> -1 THEN b.modifier
              ELSE (SELECT d.typtypmod FROM pg_type d WHERE d.oid = b.base) END,
         t.typtype, t.typbasetype
    FROM base b JOIN pg_type t ON t.oid = b.below
   WHERE b.kind = 'd'
)
SELECT c.attrelid, c.attnum, c.attname, format_type(c.atttypid, c.atttypmod),
       format_type(b.base, CASE WHEN b.base = c.atttypid THEN c.atttypmod ELSE b.modifier END),
       (SELECT format('%I.%I', n.nspname, l.collname)
          FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
         WHERE l.oid = c.attcollation),
       c.attnotnull, c.attgenerated, c.attidentity, c.atthasdef,
       (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
         WHERE d.adrelid = c.attrelid AND d.adnum = c.attnum)
  FROM columns c JOIN base b ON b.type = c.atttypid AND b.kind <> 'd'
 ORDER BY c.attrelid, c.attnum)";

// An opclass that is not its type's own may call other values equal than GROUP BY does;
// pg_catalog's (text_pattern_ops, …) do not.
constexpr const char* kKeys = R"(
SELECT i.indrelid, i.indexrelid, c.relname, i.indisprimary, NOT i.indimmediate,
       array_agg(a.attname ORDER BY k.place),
       array_agg(format('OPERATOR(%I.%s)', n.nspname, o.oprname) ORDER BY k.place)
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_am am ON am.oid = c.relam AND am.amname = 'btree'
 CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY
         AS k (attnum, opclass, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  JOIN pg_opclass oc ON oc.oid = k.opclass
  JOIN pg_namespace ocn ON ocn.oid = oc.opcnamespace
  JOIN pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
                 AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
  JOIN pg_operator o ON o.oid = ao.amopopr
  JOIN pg_namespace n ON n.oid = o.oprnamespace
 WHERE i.indrelid = ANY ($1::oid[]) AND i.indisunique AND i.indisvalid AND i.indislive
   AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
 GROUP BY i.indrelid, i.indexrelid, c.relname, i.indisprimary, i.indimmediate, i.indnkeyatts
HAVING bool_and(a.attnotnull AND (oc.opcdefault OR ocn.nspname = 'pg_catalog'))
   AND count(*) = i.indnkeyatts
 ORDER BY i.indrelid, i.indisprimary DESC, NOT i.indimmediate, i.indnkeyatts, c.relname)";

std::vector<Table> Read(db::Session& session, const std::string& which, const Value& argument) {
  std::vector<Table> tables;
  std::vector<Oid> oids;
  const db::Result found =
      session.Query(kTables + which + " ORDER BY n.nspname, c.relname", {argument});
  for (const Row& row : found.rows) {
    Table table;
    table.oid = ToOid(row[0]);
    table.name = {row[1].text, row[2].text};
    table.kind = ToChar(row[3]);
    table.partition_of = ToOid(row[4]);
    table.unlogged = row[5].AsBool();
    table.rows_estimate = row[6].AsInteger();
    table.bytes = row[7].AsInteger();
    table.relfilenode = ToOid(row[8]);
    oids.push_back(table.oid);
    tables.push_back(std::move(table));
  }
  if (tables.empty()) return tables;
  std::map<Oid, Table*> by_oid;
  for (Table& table : tables) by_oid[table.oid] = &table;
  const Value these = db::IntegerArray(oids);
  const db::Result columns = session.Query(kColumns, {these});
  for (const Row& row : columns.rows) {
    Column column;
    column.attnum = static_cast<int>(row[1].AsInteger());
    column.name = row[2].text;
    column.type = row[3].text;
    column.base_type = row[4].text;
    column.collation = row[5].TextOr("");
    column.not_null = row[6].AsBool();
    column.generated = ToChar(row[7]);
    column.identity = ToChar(row[8]);
    column.has_default = row[9].AsBool();
    column.default_sql = row[10].TextOr("");
    by_oid.at(ToOid(row[0]))->columns.push_back(std::move(column));
  }
  const db::Result keys = session.Query(kKeys, {these});
  for (const Row& row : keys.rows) {
    Key key;
    key.index = ToOid(row[1]);
    key.name = row[2].text;
    key.primary = row[3].AsBool();
    key.deferrable = row[4].AsBool();
    key.columns = ParseArray(row[5].text);
    key.equals = ParseArray(row[6].text);
    by_oid.at(ToOid(row[0]))->keys.push_back(std::move(key));
  }
  for (Table& table : tables) {
    if (!table.keys.empty()) table.key = table.keys.front();
  }
  return tables;
}

}  // namespace

const Column* Table::Find(const std::string& column) const {
  const auto it = std::find_if(columns.begin(), columns.end(),
                               [&](const Column& one) { return one.name == column; });
  return it == columns.end() ? nullptr : &*it;
}

std::vector<Table> ReadTables(db::Session& session, const std::vector<std::string>& schemas) {
  return Read(session, "n.nspname = ANY ($1::text[])", db::TextArray(schemas));
}

std::vector<Table> ReadTablesByOid(db::Session& session, const std::vector<Oid>& oids) {
  if (oids.empty()) return {};
  std::vector<Table> tables = Read(session, "c.oid = ANY ($1::oid[])", db::IntegerArray(oids));
  std::map<Oid, std::size_t> place;
  for (std::size_t i = 0; i < oids.size(); ++i) place.emplace(oids[i], i);
  std::sort(tables.begin(), tables.end(), [&](const Table& left, const Table& right) {
    return place.at(left.oid) < place.at(right.oid);
  });
  return tables;
}

std::optional<db::TableName> NameOf(db::Session& session, Oid table) {
  const db::Result found = session.Query(
      "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
      "WHERE c.oid = $1::oid",
      {Value::Integer(table)});
  if (found.rows.empty()) return std::nullopt;
  return db::TableName{found.rows[0][0].text, found.rows[0][1].text};
}

std::vector<ForeignKey> ReadForeignKeys(db::Session& session, const std::vector<Oid>& tables) {
  const db::Result found = session.Query(R"(
SELECT k.oid, k.conname, f.oid, fn.nspname, f.relname, t.oid, tn.nspname, t.relname,
       (SELECT array_agg(a.attname ORDER BY x.place)
          FROM unnest(k.conkey) WITH ORDINALITY AS x (attnum, place)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.attnum),
       (SELECT array_agg(a.attname ORDER BY x.place)
          FROM unnest(k.confkey) WITH ORDINALITY AS x (attnum, place)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.attnum),
       (SELECT array_agg(format('OPERATOR(%I.%s)', n.nspname, o.oprname) ORDER BY x.place)
          FROM unnest(k.conpfeqop) WITH ORDINALITY AS x (operator, place)
          JOIN pg_operator o ON o.oid = x.operator
          JOIN pg_namespace n ON n.oid = o.oprnamespace),
       pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable, k.condeferred,
       k.confmatchtype = 'f', k.conparentid
  FROM pg_constraint k
  JOIN pg_class f ON f.oid = k.conrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
  JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
 WHERE k.contype = 'f'
   AND (k.conrelid = ANY ($1::oid[]) OR k.confrelid = ANY ($1::oid[]))
 ORDER BY fn.nspname, f.relname, k.conname, k.oid)",
                                         {db::IntegerArray(tables)});
  std::vector<ForeignKey> keys;
  for (const Row& row : found.rows) {
    ForeignKey key;
    key.oid = ToOid(row[0]);
    key.name = row[1].text;
    key.from_oid = ToOid(row[2]);
    key.from = {row[3].text, row[4].text};
    key.to_oid = ToOid(row[5]);
    key.to = {row[6].text, row[7].text};
    key.from_columns = ParseArray(row[8].text);
    key.to_columns = ParseArray(row[9].text);
    key.equals = ParseArray(row[10].text);
    key.definition = row[11].text;
    key.validated = row[12].AsBool();
    key.deferrable = row[13].AsBool();
    key.deferred = row[14].AsBool();
    key.match_full = row[15].AsBool();
    key.parent = ToOid(row[16]);
    keys.push_back(std::move(key));
  }
  return keys;
}

std::vector<std::string> ParseArray(const std::string& text) {
  std::vector<std::string> items;
  if (text.size() < 2 || text == "{}") return items;
  std::string item;
  bool quoted = false;   // inside quotes now
  bool literal = false;  // the item had quotes: NULL is a word there
  const auto end_item = [&] {
    items.push_back(!literal && item == "NULL" ? "" : item);
    item.clear();
    literal = false;
  };
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      item += text[++i];
    } else if (c == '"') {
      quoted = !quoted;
      literal = true;
    } else if (c == ',' && !quoted) {
      end_item();
    } else {
      item += c;
    }
  }
  end_item();
  return items;
}

}  // namespace understudy::catalog
