#include "harness/compare/tables.h"

#include <algorithm>
#include <map>

#include "engine/base/error.h"

namespace understudy::harness {
namespace {

constexpr std::int64_t kManyPages = 1LL << 32U;  // of a partitioned table: taken first

// No function of sizes here: those wait for locks, and one locked table must not hold up the rest.
// Members of extensions are in: an extension's table may hold rows of the user's (PostGIS:
// spatial_ref_sys).
constexpr std::string_view kPgTables = R"sql(
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpages
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f', 'm') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname !~ '^understudy'
ORDER BY n.nspname, c.relname
)sql";

constexpr std::string_view kPgColumns = R"sql(
SELECT a.attrelid, a.attname, a.atttypid, format_type(a.atttypid, NULL), a.attnotnull,
       a.attcollation <> 0 AND a.attcollation <> 'pg_catalog."default"'::regcollation
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
     JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY a.attrelid, a.attnum
)sql";
// regcollation came with 13.
constexpr std::string_view kDefaultCollation =
    "(SELECT oid FROM pg_collation WHERE collname = 'default' AND "
    "collnamespace = 'pg_catalog'::regnamespace)";

constexpr std::string_view kPgKeys = R"sql(
SELECT i.indrelid, i.indexrelid, a.attname
FROM pg_index AS i
     JOIN pg_class AS c ON c.oid = i.indrelid
     JOIN pg_namespace AS n ON n.oid = c.relnamespace
     CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS k
     JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k]
WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
  AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_attribute AS b
                  WHERE b.attrelid = i.indrelid AND b.attnum = ANY(i.indkey::int2[])
                    AND NOT b.attnotnull)
ORDER BY i.indrelid, NOT i.indisprimary, i.indnkeyatts, i.indexrelid, k
)sql";

struct PgType {
  std::string schema, name;
  char kind = 'b';
  std::string base, element;  // OIDs
};

class PgTypes {
 public:
  explicit PgTypes(db::Session& session) {
    session.ForEachRow(
        "SELECT t.oid, n.nspname, t.typname, t.typtype, t.typbasetype, "
        "CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END "
        "FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace",
        {}, [&](const db::Row& row) {
          types_[row[0].text] = {row[1].text, row[2].text, row[3].text[0], row[4].text,
                                 row[5].text};
        });
  }

  void Describe(const std::string& oid, CompareColumn& column) const {
    const PgType& type = Base(oid);
    const bool system = type.schema == "pg_catalog";
    column.base = system
                      ? type.name
                      : db::DisplayIdentifier(type.schema) + "." + db::DisplayIdentifier(type.name);
    column.category = Category(oid);
    static const std::map<std::string_view, std::string_view> kSends = {
        {"int8", "int8send"},        {"bpchar", "bpcharsend"},
        {"numeric", "numeric_send"}, {"timestamp", "timestamp_send"},
        {"time", "time_send"},       {"timestamptz", "timestamptz_send"},
        {"timetz", "timetz_send"},   {"interval", "interval_send"}};
    static const std::vector<std::string_view> kRaw = {"bool",  "int2", "int4",    "oid",
                                                       "date",  "text", "varchar", "name",
                                                       "bytea", "uuid", "macaddr"};
    // Explicit casts to text other than the output function: these go through ROW().
    static const std::vector<std::string_view> kOddCasts = {"char", "inet", "cidr", "xml", "money"};
    const auto in = [&](const auto& list) {
      return std::find(list.begin(), list.end(), type.name) != list.end();
    };
    if (system && kSends.contains(type.name)) {
      column.form = NativeForm::kSend;
      column.send = kSends.find(type.name)->second;
    } else if (system && in(kRaw)) {
      column.form = NativeForm::kRaw;
    } else if (type.kind == 'e' || type.element != "0" || (system && !in(kOddCasts))) {
      column.form = NativeForm::kText;
    } else {
      column.form = NativeForm::kRow;
    }
  }

 private:
  const PgType& Base(std::string oid) const {
    const PgType* type = &types_.at(oid);
    while (type->kind == 'd') type = &types_.at(type->base);
    return *type;
  }

  std::string Category(const std::string& oid) const {
    const PgType& type = Base(oid);
    if (type.element != "0") return Category(type.element) + "[]";
    if (type.kind == 'e' || type.name == "citext") return "text";
    if (type.schema == "pg_catalog") {
      for (const std::string_view name : {"text", "varchar", "bpchar", "name"}) {
        if (type.name == name) return "text";
      }
      for (const std::string_view name : {"int2", "int4", "int8", "numeric"}) {
        if (type.name == name) return "number";
      }
      if (type.name == "float4" || type.name == "float8") return "float";
      return type.name;
    }
    return type.schema + "." + type.name;
  }

  std::map<std::string, PgType> types_;
};

CompareTables ReadPg(db::Session& session) {
  CompareTables result;
  std::map<std::string, std::size_t> by_oid;
  for (const db::Row& row : session.Query(kPgTables).rows) {
    const db::TableName name{row[1].text, row[2].text};
    if (row[3].text == "f" || row[3].text == "m") {
      const bool foreign = row[3].text == "f";
      result.not_checked.push_back(
          {"rows:" + name.Display(), foreign
                                         ? "a foreign table: its rows live in another place"
                                         : "a materialised view: its rows follow from its query"});
      continue;
    }
    by_oid[row[0].text] = result.tables.size();
    CompareTable& table = result.tables.emplace_back();
    table.name = name;
    table.partitioned = row[3].text == "p";
    table.pages = table.partitioned ? kManyPages : row[4].AsInteger();
  }
  const PgTypes types(session);
  std::string columns(kPgColumns);
  if (session.Server().version < 130000) {
    const std::string_view modern = "'pg_catalog.\"default\"'::regcollation";
    columns.replace(columns.find(modern), modern.size(), kDefaultCollation);
  }
  for (const db::Row& row : session.Query(columns).rows) {
    const auto it = by_oid.find(row[0].text);
    if (it == by_oid.end()) continue;
    CompareColumn& column = result.tables[it->second].columns.emplace_back();
    column.name = row[1].text;
    column.type = row[3].text;
    column.not_null = row[4].AsBool();
    column.own_collation = row[5].AsBool();
    types.Describe(row[2].text, column);
  }
  std::string index;
  for (const db::Row& row : session.Query(kPgKeys).rows) {
    const auto it = by_oid.find(row[0].text);
    if (it == by_oid.end()) continue;
    auto& keys = result.tables[it->second].keys;
    if (row[1].text != index) keys.emplace_back();
    index = row[1].text;
    keys.back().push_back(row[2].text);
  }
  const db::Value objects = session.Scalar("SELECT count(*) FROM pg_largeobject_metadata");
  if (objects.AsInteger() > 0) {
    result.not_checked.push_back(
        {"large objects", objects.text + " large objects: their content is not compared"});
  }
  return result;
}

// The key's columns hold no NULL: in SQLite a PRIMARY KEY may, and then it is no key.
bool WithoutNull(db::Session& session, const CompareTable& table,
                 const std::vector<std::string>& key) {
  std::string where;
  for (const std::string& column : key) {
    where += (where.empty() ? "" : " OR ") + db::QuoteIdentifier(column) + " IS NULL";
  }
  return session.Query("SELECT 1 FROM " + table.name.Quoted() + " WHERE " + where + " LIMIT 1")
      .rows.empty();
}

CompareTables ReadSqlite(db::Session& session) {
  CompareTables result;
  const db::Result tables = session.Query(
      "SELECT s.name, upper(ltrim(s.sql)) LIKE 'CREATE VIRTUAL%', s.sql FROM sqlite_schema AS s "
      "WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
      "AND s.name NOT LIKE 'understudy\\_%' ESCAPE '\\' ORDER BY s.name");
  for (const db::Row& row : tables.rows) {
    const db::TableName name{"main", row[0].text};
    if (row[1].AsBool()) {
      result.not_checked.push_back(
          {"rows:" + name.Display(),
           "a virtual table: what it keeps is compared in its shadow tables only"});
      continue;
    }
    CompareTable& table = result.tables.emplace_back();
    table.name = name;
    std::map<std::int64_t, std::string> primary;
    for (const db::Row& column :
         session
             .Query("SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1) "
                    "WHERE hidden <> 1 ORDER BY cid",
                    {db::Value::Text(name.name)})
             .rows) {
      CompareColumn& added = table.columns.emplace_back();
      added.name = column[0].text;
      added.type = column[1].text;
      added.category = added.base = "sqlite";
      added.not_null = column[2].AsBool();
      if (column[3].AsInteger() > 0) primary[column[3].AsInteger()] = column[0].text;
    }
    if (!primary.empty()) {
      std::vector<std::string> key;
      for (const auto& [position, column] : primary) key.push_back(column);
      const bool indexed = session
                               .Query("SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk'",
                                      {db::Value::Text(name.name)})
                               .rows.size() > 0;
      if (key.size() == 1 && !indexed) {
        for (CompareColumn& column : table.columns) column.rowid = column.name == key[0];
      }
      if (WithoutNull(session, table, key)) table.keys.push_back(key);
    }
    for (const db::Row& index :
         session
             .Query("SELECT name FROM pragma_index_list(?1) WHERE \"unique\" AND NOT partial AND "
                    "origin <> 'pk' ORDER BY name",
                    {db::Value::Text(name.name)})
             .rows) {
      std::vector<std::string> key;
      bool usable = true;
      for (const db::Row& part :
           session.Query("SELECT name FROM pragma_index_info(?1) ORDER BY seqno", {index[0]})
               .rows) {
        const CompareColumn* column = part[0].is_null() ? nullptr : table.Find(part[0].text);
        usable = usable && column != nullptr && column->not_null;
        key.push_back(part[0].text);
      }
      if (usable) table.keys.push_back(key);
    }
  }
  return result;
}

}  // namespace

const CompareColumn* CompareTable::Find(const std::string& column) const {
  for (const CompareColumn& one : columns) {
    if (one.name == column) return &one;
  }
  return nullptr;
}

CompareTables ReadTables(db::Session& session) {
  CompareTables result =
      session.Server().engine == db::Engine::kPostgres ? ReadPg(session) : ReadSqlite(session);
  std::sort(result.tables.begin(), result.tables.end(),
            [](const CompareTable& a, const CompareTable& b) { return a.name < b.name; });
  return result;
}

}  // namespace understudy::harness
