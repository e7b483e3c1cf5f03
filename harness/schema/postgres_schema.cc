#include <map>
#include <set>

#include "engine/base/error.h"
#include "harness/schema/readers.h"

namespace understudy::harness::internal {
namespace {

// The user's tables: no partitions (their parent stands for them), no extension members.
constexpr const char* kTables = R"sql(
SELECT c.oid, n.nspname, c.relname, c.relkind = 'p' AS partitioned
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
  AND n.nspname NOT LIKE 'understudy%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.objid = c.oid AND d.deptype = 'e')
)sql";

constexpr const char* kTypes = R"sql(
SELECT t.oid, t.typname, t.typtype, t.typbasetype, t.typtypmod,
       CASE WHEN t.typlen = -1 AND t.typcategory = 'A' THEN t.typelem ELSE 0 END AS element,
       t.typnotnull, t.typdefault IS NOT NULL AS has_default,
       (SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder)
        FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) AS labels
FROM pg_catalog.pg_type t
WHERE t.typtype <> 'c'
)sql";

// json_agg over array_agg: names may hold anything, and JSON quotes them safely.
constexpr const char* kColumns = R"sql(
SELECT a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated,
       CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END AS text
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid >= 16384
ORDER BY a.attrelid, a.attnum
)sql";

// Index columns beyond indnkeyatts are INCLUDEd ones, which make nothing unique. pg_depend knows
// the columns that an expression or a predicate speaks of.
constexpr const char* kKeys = R"sql(
SELECT i.indrelid, x.relname, i.indisprimary,
       i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AS plain,
       (SELECT pg_catalog.json_agg(a.attname ORDER BY k.ord)
        FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(num, ord)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num
        WHERE k.ord <= i.indnkeyatts) AS columns,
       (SELECT pg_catalog.json_agg(DISTINCT a.attname)
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
          AND d.refobjid = i.indrelid AND d.refobjsubid > 0
          AND i.indexprs IS NOT NULL AND i.indpred IS NULL) AS spoken_of
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
WHERE (i.indisunique OR i.indisexclusion) AND i.indisvalid AND i.indrelid >= 16384
ORDER BY i.indrelid, i.indisprimary DESC, x.relname
)sql";

// A key to a partitioned table has further rows for its partitions: those have a parent constraint.
constexpr const char* kForeignKeys = R"sql(
SELECT o.conrelid, o.conname, n.nspname, c.relname, o.confdeltype,
       (SELECT pg_catalog.json_agg(a.attname ORDER BY k.ord)
        FROM pg_catalog.unnest(o.conkey) WITH ORDINALITY AS k(num, ord)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.num),
       (SELECT pg_catalog.json_agg(a.attname ORDER BY k.ord)
        FROM pg_catalog.unnest(o.confkey) WITH ORDINALITY AS k(num, ord)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.num)
FROM pg_catalog.pg_constraint o
JOIN pg_catalog.pg_class c ON c.oid = o.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE o.contype = 'f' AND o.conparentid = 0
ORDER BY o.conrelid, o.conname
)sql";

constexpr const char* kChecks = R"sql(
SELECT o.conrelid, o.contypid, o.conname, pg_catalog.pg_get_expr(o.conbin, o.conrelid),
       (SELECT pg_catalog.json_agg(a.attname ORDER BY k.ord)
        FROM pg_catalog.unnest(o.conkey) WITH ORDINALITY AS k(num, ord)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.num)
FROM pg_catalog.pg_constraint o
WHERE o.contype = 'c' AND (o.conrelid >= 16384 OR o.contypid >= 16384)
ORDER BY o.conrelid, o.contypid, o.conname
)sql";

// The leaves below each partitioned table, with all that their bounds and their parents' demand.
constexpr const char* kPartitions = R"sql(
WITH RECURSIVE below AS (
  SELECT c.oid AS root, c.oid, FALSE AS takes_all
  FROM pg_catalog.pg_class c WHERE c.relkind = 'p' AND NOT c.relispartition
  UNION ALL
  SELECT b.root, c.oid,
         b.takes_all OR pg_catalog.pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
  FROM below b
  JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
)
SELECT b.root, b.takes_all, pg_catalog.pg_get_partition_constraintdef(b.oid)
FROM below b
JOIN pg_catalog.pg_class c ON c.oid = b.oid
WHERE c.relkind <> 'p'
ORDER BY b.root, b.oid
)sql";

struct TypeFacts {
  std::string name;
  char kind = 'b';
  std::string base;  // of a domain
  int type_modifier = -1;
  std::string element;
  bool not_null = false;
  bool has_default = false;
  std::vector<std::string> labels;
  std::vector<std::pair<std::string, std::string>> checks;  // of a domain: name, expression
};
using Types = std::map<std::string, TypeFacts>;  // by OID

std::vector<std::string> Names(const db::Value& json) {
  if (json.is_null()) return {};
  return Json::parse(json.text).get<std::vector<std::string>>();
}

// Text that looks up names and prints times must not depend on whose session this is.
class PinnedSettings {
 public:
  explicit PinnedSettings(db::Session& session) : session_(session) {
    for (const auto& [name, value] : {std::pair("search_path", ""), std::pair("TimeZone", "UTC"),
                                      std::pair("DateStyle", "ISO, MDY")}) {
      const std::string now = Get(name);
      if (now == value || (std::string_view(name) == "search_path" && now == "\"\"")) continue;
      before_.emplace_back(name, now);
      Set(name, value);
    }
  }
  ~PinnedSettings() {
    for (const auto& [name, value] : before_) {
      try {
        Set(name, value);
      } catch (const std::exception&) {  // the session is dead, and its settings with it
      }
    }
  }
  PinnedSettings(const PinnedSettings&) = delete;
  PinnedSettings& operator=(const PinnedSettings&) = delete;

 private:
  std::string Get(const std::string& name) {
    return session_.Scalar("SELECT pg_catalog.current_setting($1)", {db::Value::Text(name)}).text;
  }
  void Set(const std::string& name, const std::string& value) {
    session_.Query("SELECT pg_catalog.set_config($1, $2, false)",
                   {db::Value::Text(name), db::Value::Text(value)});
  }

  db::Session& session_;
  std::vector<std::pair<std::string, std::string>> before_;
};

// What is below the domains, and whether we know such values. `modifier` is the last one on the
// way that says something.
void Resolve(const Types& types, std::string oid, int modifier, SchemaTable& table,
             SchemaColumn& column) {
  const TypeFacts* type = nullptr;
  for (;;) {
    const auto it = types.find(oid);
    if (it == types.end()) return;  // a composite type: nothing that we make
    type = &it->second;
    if (type->kind != 'd') break;
    if (type->not_null) column.nullable = false;
    if (type->has_default) column.has_default = true;
    for (const auto& [name, expression] : type->checks) {
      std::string about = expression;  // VALUE stands for the column
      const std::string quoted = db::QuoteIdentifier(column.name);
      for (std::size_t at = 0; (at = about.find("VALUE", at)) != std::string::npos;) {
        about.replace(at, 5, quoted);
        at += quoted.size();
      }
      table.checks.push_back({name, about, {column.name}});
    }
    if (modifier < 0) modifier = type->type_modifier;
    oid = type->base;
  }
  if (type->element != "0") {
    column.base_type = "array";
    SchemaTable unused;
    SchemaColumn element;
    element.type = column.type;
    Resolve(types, type->element, modifier, unused, element);
    column.element_type = element.base_type;
    column.enum_labels = element.enum_labels;
    column.max_length = element.max_length;
    column.precision = element.precision;
    column.scale = element.scale;
    return;
  }
  column.base_type = type->kind == 'e' ? "enum" : type->name;
  column.enum_labels = type->labels;
  if (modifier < 0) return;
  if (type->name == "varchar" || type->name == "bpchar") column.max_length = modifier - 4;
  if (type->name == "bit" || type->name == "varbit") column.max_length = modifier;
  if (type->name == "numeric") {
    column.precision = ((modifier - 4) >> 16) & 0xffff;
    column.scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
  }
}

Types ReadTypes(db::Session& session) {
  Types types;
  for (const db::Row& row : session.Query(kTypes).rows) {
    TypeFacts& type = types[row[0].text];
    type.name = row[1].text;
    type.kind = row[2].text[0];
    type.base = row[3].text;
    type.type_modifier = static_cast<int>(row[4].AsInteger());
    type.element = row[5].text;
    type.not_null = row[6].AsBool();
    type.has_default = row[7].AsBool();
    type.labels = Names(row[8]);
  }
  return types;
}

}  // namespace

Schema ReadPostgresSchema(db::Session& session) {
  const PinnedSettings pinned(session);
  Schema schema;
  schema.engine = db::Engine::kPostgres;
  std::map<std::string, std::size_t> by_oid;
  for (const db::Row& row : session.Query(kTables).rows) {
    by_oid[row[0].text] = schema.tables.size();
    SchemaTable& table = schema.tables.emplace_back();
    table.name = {row[1].text, row[2].text};
    table.partitioned = row[3].AsBool();
  }
  const auto find = [&](const db::Value& oid) -> SchemaTable* {
    const auto it = by_oid.find(oid.text);
    return it == by_oid.end() ? nullptr : &schema.tables[it->second];
  };

  Types types = ReadTypes(session);
  for (const db::Row& row : session.Query(kChecks).rows) {
    if (SchemaTable* table = find(row[0])) {
      table->checks.push_back({row[2].text, row[3].text, Names(row[4])});
    } else if (const auto it = types.find(row[1].text); it != types.end()) {
      it->second.checks.emplace_back(row[2].text, row[3].text);
    }
  }

  for (const db::Row& row : session.Query(kColumns).rows) {
    SchemaTable* table = find(row[0]);
    if (table == nullptr) continue;
    SchemaColumn column;
    column.name = row[1].text;
    column.type = row[2].text;
    column.nullable = !row[5].AsBool();
    column.generated = !row[8].text.empty();
    const bool identity = !row[7].text.empty();
    column.identity_always = row[7].text == "a";
    column.default_text = row[9].TextOr("");
    column.has_default = identity || (row[6].AsBool() && !column.generated);
    column.sequence_default = identity || column.default_text.find("nextval(") != std::string::npos;
    Resolve(types, row[3].text, static_cast<int>(row[4].AsInteger()), *table, column);
    table->columns.push_back(std::move(column));
  }

  for (const db::Row& row : session.Query(kKeys).rows) {
    SchemaTable* table = find(row[0]);
    if (table == nullptr) continue;
    if (row[3].AsBool()) {
      table->keys.push_back({row[1].text, Names(row[4]), row[2].AsBool()});
      continue;
    }
    std::set<std::string> columns;
    for (std::string& name : Names(row[4])) columns.insert(std::move(name));
    for (std::string& name : Names(row[5])) columns.insert(std::move(name));
    for (SchemaColumn& column : table->columns) {
      if (columns.contains(column.name)) column.in_other_unique = true;
    }
  }

  for (const db::Row& row : session.Query(kForeignKeys).rows) {
    SchemaTable* table = find(row[0]);
    if (table == nullptr) continue;
    table->foreign_keys.push_back(
        {row[1].text, Names(row[5]), {row[2].text, row[3].text}, Names(row[6]), row[4].text[0]});
  }

  std::set<std::string> takes_all;
  for (const db::Row& row : session.Query(kPartitions).rows) {
    SchemaTable* table = find(row[0]);
    if (table == nullptr) continue;
    if (row[1].AsBool() || row[2].is_null()) takes_all.insert(row[0].text);
    std::string& check = table->partition_check;
    if (!check.empty()) check += " OR ";
    check += "(" + row[2].TextOr("true") + ")";
  }
  for (const std::string& oid : takes_all) schema.tables[by_oid[oid]].partition_check.clear();
  return schema;
}

}  // namespace understudy::harness::internal
