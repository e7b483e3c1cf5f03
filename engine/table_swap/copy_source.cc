#include "engine/table_swap/copy_source.h"

#include <algorithm>
#include <set>

#include "engine/base/error.h"
#include "engine/table_swap/manifest.h"

namespace understudy::table_swap {
namespace {

// Tables below this are copied together, up to this much or so many in one transaction.
constexpr std::int64_t kSmallBytes = std::int64_t{8} << 20U;
constexpr std::size_t kMostTogether = 50;
constexpr int kMostRanges = 1000;
// Below it rows that follow each other in the index lie far apart: a range would read at random.
constexpr double kGoodCorrelation = 0.9;
// OIDs below are initdb's, the same on every server.
constexpr std::uint32_t kFirstUserOid = 16384;

std::uint32_t Oid(const db::Value& value) { return static_cast<std::uint32_t>(value.AsInteger()); }

struct Type {
  char kind = 'b';
  bool array = false;
  std::uint32_t element = 0;  // of an array; the base of a domain; the subtype of a range
  std::vector<std::uint32_t> attributes;
  bool by_oid = false;  // its binary form holds an OID, or none is there
};

// Which types binary COPY cannot carry into a server of `target_major`.
class Types {
 public:
  Types(db::Session& source, int target_major) : old_(target_major < 14) {
    const std::string multirange = source.Server().major() >= 14
                                       ? "UNION ALL SELECT rngmultitypid, rngtypid FROM pg_range"
                                       : "";
    for (const db::Row& row : source
                                  .Query(R"(
WITH ranges(range, sub) AS (SELECT rngtypid, rngsubtype FROM pg_range )" +
                                         multirange + R"()
SELECT t.oid, t.typtype, t.typcategory = 'A' AND t.typelem <> 0,
       coalesce(nullif(t.typbasetype, 0), r.sub, t.typelem),
       t.typsend = 0 OR t.typreceive = 0
         OR t.typnamespace = 'pg_catalog'::regnamespace AND (t.typname LIKE 'reg%' OR t.typname = 'xml')
FROM pg_type t LEFT JOIN ranges r ON r.range = t.oid)")
                                  .rows) {
      types_[Oid(row[0])] = {row[1].text.at(0), row[2].AsBool(), Oid(row[3]), {}, row[4].AsBool()};
    }
    for (const db::Row& row : source
                                  .Query(R"(
SELECT c.reltype, a.atttypid FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.reltype >= 16384 AND a.attnum > 0 AND NOT a.attisdropped)")
                                  .rows) {
      types_[Oid(row[0])].attributes.push_back(Oid(row[1]));
    }
  }

  bool NeedsText(std::uint32_t oid) const {
    const auto it = types_.find(oid);
    if (it == types_.end()) return true;
    const Type& type = it->second;
    // array_recv and record_recv compare the OIDs of user types; since 14 they let them differ.
    const auto inside = [&](std::uint32_t part) {
      return (old_ && part >= kFirstUserOid) || NeedsText(part);
    };
    if (type.array) return inside(type.element);
    switch (type.kind) {
      case 'c':
        return std::ranges::any_of(type.attributes, inside);
      case 'd':
      case 'r':
      case 'm':
        return NeedsText(type.element);
      default:
        return type.by_oid;
    }
  }

 private:
  bool old_;
  std::map<std::uint32_t, Type> types_;
};

std::string Literal(const std::optional<std::string>& bound, const std::string& type) {
  return db::QuoteLiteral(*bound) + "::" + type;
}

std::string ColumnList(const SourceTable& table) {
  std::string list;
  for (const std::string& column : table.columns) {
    list += (list.empty() ? "" : ", ") + db::QuoteIdentifier(column);
  }
  return list;
}

// Bounds between ranges, by the histogram of the column; empty when there is none.
std::vector<std::string> Bounds(db::Session& source, const SourceTable& table, int ranges) {
  const db::Result result = source.Query(
      "SELECT b FROM pg_stats s CROSS JOIN unnest(s.histogram_bounds::text::text[]) WITH "
      "ORDINALITY AS u(b, n) WHERE s.schemaname = $1 AND s.tablename = $2 AND s.attname = $3 AND "
      "NOT s.inherited ORDER BY n",
      {db::Value::Text(table.name.schema), db::Value::Text(table.name.name),
       db::Value::Text(table.range_column)});
  std::vector<std::string> bounds;
  const std::size_t buckets = result.rows.empty() ? 0 : result.rows.size() - 1;
  for (int i = 1; i < ranges && buckets > 0; ++i) {
    const std::size_t at = buckets * static_cast<std::size_t>(i) / static_cast<std::size_t>(ranges);
    const std::string& bound = result.rows[at][0].text;
    if (at > 0 && (bounds.empty() || bounds.back() != bound)) bounds.push_back(bound);
  }
  return bounds;
}

}  // namespace

db::TableName ShadowOf(const db::TableName& table) {
  return {NamesBeside(table.schema).shadow, table.name};
}

std::map<db::TableName, SourceTable> ReadSourceTables(db::Session& source, db::Session& target,
                                                      const ShadowRequest& request,
                                                      const std::vector<db::TableName>& tables) {
  const Types types(source, target.Server().major());
  const std::set<db::TableName> wanted(tables.begin(), tables.end());
  std::map<db::TableName, SourceTable> all;
  std::map<db::TableName, std::string> shapes;
  const auto columns_of = [](db::Session& session, const std::string& schema) {
    // attmissingval and the like make no difference to COPY: names and types do.
    return session.Query(
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid, "
        "a.attgenerated <> '' FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND "
        "a.attnum > 0 AND NOT a.attisdropped WHERE c.relnamespace = (SELECT oid FROM pg_namespace "
        "WHERE nspname = $1) AND c.relkind = 'r' ORDER BY c.relname, a.attnum",
        {db::Value::Text(schema)});
  };
  for (const std::string& schema : request.settings.schemas) {
    for (const db::Row& row : columns_of(source, schema).rows) {
      const db::TableName name{schema, row[0].text};
      if (!wanted.contains(name)) continue;
      SourceTable& table = all[name];
      table.name = name;
      if (row[1].is_null() || row[4].AsBool()) continue;
      table.columns.push_back(row[1].text);
      table.text = table.text || types.NeedsText(Oid(row[3]));
    }
    std::map<db::TableName, std::vector<std::string>> shadow;
    for (const db::Row& row : columns_of(target, NamesBeside(schema).shadow).rows) {
      auto& columns = shadow[{schema, row[0].text}];
      if (!row[1].is_null() && !row[4].AsBool()) columns.push_back(row[1].text);
    }
    for (const db::TableName& name : tables) {
      if (name.schema != schema) continue;
      const auto left = all.find(name);
      const auto right = shadow.find(name);
      if (right == shadow.end()) {
        throw Error(ErrorKind::kInternal, name.Display() + " has no shadow");
      }
      if (left == all.end() || left->second.columns != right->second) {
        throw Error(ErrorKind::kMismatch,
                    "the source's table " + name.Display() +
                        " has changed its columns since its schema was read; production is "
                        "untouched: run migrate reset, then prepare again",
                    "source-changed");
      }
    }
    for (const db::Row& row : source
                                  .Query(R"(
SELECT c.relname, greatest(c.reltuples, 0)::bigint, pg_table_size(c.oid)
FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1))",
                                         {db::Value::Text(schema)})
                                  .rows) {
      const auto it = all.find({schema, row[0].text});
      if (it == all.end()) continue;
      it->second.rows_estimate = row[1].AsInteger();
      it->second.bytes = row[2].AsInteger();
    }
    for (const db::Row& row : source
                                  .Query(R"(
SELECT c.relname, q.relname
FROM pg_depend d JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S'
JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.deptype IN ('a', 'i') AND q.relnamespace = c.relnamespace AND n.nspname = $1)",
                                         {db::Value::Text(schema)})
                                  .rows) {
      const auto it = all.find({schema, row[0].text});
      if (it != all.end()) it->second.sequences.push_back(row[1].text);
    }
    // Types whose order is the same everywhere, and which have it in their text form too.
    for (const db::Row& row :
         source
             .Query(R"(
SELECT DISTINCT ON (c.relname) c.relname, a.attname, format_type(a.atttypid, NULL)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] AND a.attnotnull
JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
WHERE n.nspname = $1 AND c.relkind = 'r' AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
  AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype,
                     'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'uuid'::regtype)
  AND NOT s.inherited AND abs(s.correlation) >= $2
ORDER BY c.relname, i.indisprimary DESC, i.indexrelid)",
                    {db::Value::Text(schema), db::Value::Real(kGoodCorrelation)})
             .rows) {
      const auto it = all.find({schema, row[0].text});
      if (it == all.end()) continue;
      it->second.range_column = row[1].text;
      it->second.range_type = row[2].text;
    }
  }
  return all;
}

std::vector<db::TableName> UnownedSequences(db::Session& target, const ShadowRequest& request) {
  std::vector<db::TableName> sequences;
  for (const std::string& schema : request.settings.schemas) {
    for (const db::Row& row : target
                                  .Query(R"(
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'S' AND NOT EXISTS (
  SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))",
                                         {db::Value::Text(NamesBeside(schema).shadow)})
                                  .rows) {
      sequences.push_back({schema, row[0].text});
    }
  }
  return sequences;
}

std::vector<CopyUnit> PlanUnits(db::Session& source,
                                const std::map<db::TableName, SourceTable>& tables, int jobs,
                                std::int64_t range_bytes) {
  std::vector<const SourceTable*> order;
  for (const auto& [name, table] : tables) order.push_back(&table);
  std::ranges::stable_sort(
      order, [](const SourceTable* a, const SourceTable* b) { return a->bytes > b->bytes; });
  std::vector<CopyUnit> units;
  CopyUnit together;
  std::int64_t together_bytes = 0;
  const auto close = [&] {
    if (!together.tables.empty()) units.push_back(std::move(together));
    together = {};
    together_bytes = 0;
  };
  for (const SourceTable* table : order) {
    if (table->bytes < std::min(kSmallBytes, range_bytes)) {
      if (together.tables.size() >= kMostTogether || together_bytes > kSmallBytes) close();
      together.tables.push_back(table->name);
      together_bytes += table->bytes;
      continue;
    }
    std::vector<std::string> bounds;
    if (!table->range_column.empty() && table->bytes > 2 * range_bytes && jobs > 1) {
      // A multiple of the workers, so that they end together.
      std::int64_t ranges = std::min<std::int64_t>(table->bytes / range_bytes, kMostRanges);
      ranges = (ranges + jobs - 1) / jobs * jobs;
      bounds = Bounds(source, *table, static_cast<int>(ranges));
    }
    if (bounds.empty()) {
      units.push_back({{table->name}, "", "", {}, {}});
      continue;
    }
    for (std::size_t i = 0; i <= bounds.size(); ++i) {
      CopyUnit& unit = units.emplace_back();
      unit.tables = {table->name};
      unit.range_column = table->range_column;
      unit.range_type = table->range_type;
      if (i > 0) unit.from = bounds[i - 1];
      if (i < bounds.size()) unit.to = bounds[i];
    }
  }
  close();
  return units;
}

std::string RangeCondition(const CopyUnit& unit) {
  if (unit.range_column.empty()) return "";
  const std::string column = db::QuoteIdentifier(unit.range_column);
  std::string sql;
  if (unit.from) sql += " WHERE " + column + " >= " + Literal(unit.from, unit.range_type);
  if (unit.to) {
    sql += (sql.empty() ? " WHERE " : " AND ") + column + " < " + Literal(unit.to, unit.range_type);
  }
  return sql;
}

std::string CopyOutSql(const SourceTable& table, const CopyUnit& unit) {
  const std::string condition = RangeCondition(unit);
  const std::string columns = ColumnList(table);
  std::string what;
  if (condition.empty() && !columns.empty()) {
    what = table.name.Quoted() + " (" + columns + ")";
  } else {
    what = "(SELECT " + columns + " FROM ONLY " + table.name.Quoted() + condition + ")";
  }
  return "COPY " + what + " TO STDOUT" + (table.text ? "" : " (FORMAT binary)");
}

std::string CopyInSql(const SourceTable& table, const db::TableName& shadow, bool freeze) {
  const std::string columns = ColumnList(table);
  return "COPY " + shadow.Quoted() + (columns.empty() ? "" : " (" + columns + ")") +
         " FROM STDIN (FORMAT " + (table.text ? "text" : "binary") + (freeze ? ", FREEZE" : "") +
         ")";
}

std::string DigestSql(const SourceTable& table, const std::vector<CopyUnit>& units, bool shadow) {
  std::string bounds;
  std::string column;
  for (const CopyUnit& unit : units) {
    if (unit.range_column.empty() || unit.tables.front() != table.name || !unit.from) continue;
    column = db::QuoteIdentifier(unit.range_column);
    bounds += (bounds.empty() ? "" : ", ") + Literal(unit.from, unit.range_type);
  }
  const std::string bucket =
      bounds.empty() ? "'0'::text" : "width_bucket(" + column + ", ARRAY[" + bounds + "])::text";
  const std::string row = "ROW(" + ColumnList(table) + ")::text";
  return "SELECT " + bucket + ", count(*), coalesce(sum(hashtextextended(" + row +
         " COLLATE \"C\", 0)::numeric), 0) FROM ONLY " +
         (shadow ? ShadowOf(table.name) : table.name).Quoted() + " GROUP BY 1";
}

std::string BucketOf(const std::vector<CopyUnit>& units, std::size_t index) {
  const CopyUnit& unit = units.at(index);
  if (unit.range_column.empty()) return "0";
  std::size_t bucket = 0;
  for (std::size_t i = 0; i < index; ++i) {
    if (!units[i].range_column.empty() && units[i].tables == unit.tables) ++bucket;
  }
  return std::to_string(bucket);
}

}  // namespace understudy::table_swap
