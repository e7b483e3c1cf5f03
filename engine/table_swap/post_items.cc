#include "engine/table_swap/post_items.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/json.h"

namespace understudy::table_swap {
namespace {

std::uint32_t Oid(const db::Value& value) {
  return value.is_null() ? 0 : static_cast<std::uint32_t>(value.AsInteger());
}

std::vector<std::string> JsonTexts(const db::Value& value) {
  if (value.is_null()) return {};
  return ParseJson(value.text, "columns").get<std::vector<std::string>>();
}

constexpr const char* kIndexes = R"(
SELECT i.indexrelid, (SELECT h.inhparent FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) AS parent,
       n.nspname, t.relname, t.relkind, x.relname, x.relkind, pg_get_indexdef(i.indexrelid),
       k.conname, k.contype, pg_get_constraintdef(k.oid), k.condeferrable, k.condeferred,
       i.indisclustered, i.indisreplident, s.spcname,
       (SELECT json_agg(json_build_array(a.attnum, a.attstattarget) ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = x.oid AND a.attstattarget >= 0),
       (SELECT string_agg(o, ', ') FROM unnest(x.reloptions) AS u(o))
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_constraint k
  ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
LEFT JOIN pg_tablespace s ON s.oid = x.reltablespace
WHERE n.nspname = ANY ($1::text[])
ORDER BY i.indexrelid)";

std::string SelectForeignKeys() {
  return R"(
SELECT fn.nspname, f.relname, f.relkind, tn.nspname, t.relname, k.conname, k.convalidated,
       k.conparentid <> 0, pg_get_constraintdef(k.oid), k.confrelid::regclass::text,
       obj_description(k.oid, 'pg_constraint'),
       (SELECT json_agg(a.attname ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY AS u(c, n)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.c),
       (SELECT json_agg(a.attname ORDER BY u.n) FROM unnest(k.confkey) WITH ORDINALITY AS u(c, n)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.c),
       (SELECT r.relname FROM pg_class r WHERE r.oid = coalesce(pg_partition_root(f.oid), f.oid)),
       (SELECT r.relname FROM pg_class r WHERE r.oid = coalesce(pg_partition_root(t.oid), t.oid)),
       (SELECT n.nspname FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE r.oid = coalesce(pg_partition_root(f.oid), f.oid)),
       (SELECT n.nspname FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE r.oid = coalesce(pg_partition_root(t.oid), t.oid)),
       )" +
         KeyPartsSql("k", "f", "t") +
         R"(
FROM pg_constraint k
JOIN pg_class f ON f.oid = k.conrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE k.contype = 'f' AND fn.nspname = ANY ($1::text[])
ORDER BY k.oid)";
}

// pg_identify_object words an object as COMMENT ON takes it, the type's name apart.
constexpr const char* kComments = R"(
SELECT CASE WHEN d.objsubid > 0 THEN 'COLUMN' ELSE o.type END, o.identity, d.description, c.relkind, k.contype, k.conname, c2.relname, n2.nspname
FROM pg_description d
CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS o
LEFT JOIN pg_class c ON d.classoid = 'pg_class'::regclass AND c.oid = d.objoid
LEFT JOIN pg_constraint k ON d.classoid = 'pg_constraint'::regclass AND k.oid = d.objoid
LEFT JOIN pg_class c2 ON c2.oid = k.conrelid LEFT JOIN pg_namespace n2 ON n2.oid = c2.relnamespace
LEFT JOIN pg_trigger g ON d.classoid = 'pg_trigger'::regclass AND g.oid = d.objoid
LEFT JOIN pg_rewrite r ON d.classoid = 'pg_rewrite'::regclass AND r.oid = d.objoid
LEFT JOIN pg_policy p ON d.classoid = 'pg_policy'::regclass AND p.oid = d.objoid
LEFT JOIN pg_statistic_ext x ON d.classoid = 'pg_statistic_ext'::regclass AND x.oid = d.objoid
LEFT JOIN pg_class t ON t.oid = coalesce(c.oid, k.conrelid, g.tgrelid, r.ev_class, p.polrelid, x.stxrelid)
WHERE (d.objsubid = 0 OR c.relkind IN ('m', 'v'))
  AND t.relnamespace = ANY (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1::text[]))
  AND (c.oid IS NULL OR c.relkind IN ('i', 'I', 'm', 'v'))
ORDER BY 1, 2)";

}  // namespace

std::vector<std::string> ShadowSchemas(const Settings& settings) {
  std::vector<std::string> schemas;
  for (const std::string& schema : settings.schemas) schemas.push_back(NamesBeside(schema).shadow);
  return schemas;
}

std::string UserSchemaOf(const Settings& settings, const std::string& shadow) {
  for (const std::string& schema : settings.schemas) {
    if (NamesBeside(schema).shadow == shadow) return schema;
  }
  throw Error(ErrorKind::kInternal, "no shadow schema: " + shadow);
}

std::vector<PostIndex> ReadIndexes(db::Session& scratch, const Settings& settings) {
  std::vector<PostIndex> indexes;
  for (const db::Row& row :
       scratch.Query(kIndexes, {db::TextArray(ShadowSchemas(settings))}).rows) {
    PostIndex& index = indexes.emplace_back();
    index.oid = Oid(row[0]);
    index.parent = Oid(row[1]);
    index.table = {row[2].text, row[3].text};
    index.relkind = row[4].text.at(0);
    index.name = {row[2].text, row[5].text};
    index.partitioned = row[6].text == "I";
    const std::string table = index.table.Quoted();
    const std::string name = db::QuoteIdentifier(index.name.name);
    const std::string space = row[15].is_null() ? "" : db::QuoteIdentifier(row[15].text);
    if (!row[8].is_null()) {
      index.constraint_name = row[8].text;
      const std::string add =
          "ALTER TABLE ONLY " + table + " ADD CONSTRAINT " + db::QuoteIdentifier(row[8].text) + " ";
      const bool whole = row[9].text == "x" || index.partitioned;
      if (whole) {  // USING INDEX takes neither exclusion constraints nor partitioned tables
        std::string definition = row[10].text;
        // Options of a partitioned key, which new partitions take over, are not in its definition.
        if (row[9].text != "x" && !row[17].is_null()) {
          definition.insert(definition.rfind(')') + 1, " WITH (" + row[17].text + ")");
        }
        index.constraint = add + definition;
      } else {
        index.create = row[7].text;
        index.constraint = add + (row[9].text == "p" ? "PRIMARY KEY" : "UNIQUE") + " USING INDEX " +
                           name + (row[11].AsBool() ? " DEFERRABLE" : "") +
                           (row[12].AsBool() ? " INITIALLY DEFERRED" : "");
      }
    } else {
      index.create = row[7].text;
    }
    if (!space.empty()) {
      index.after.push_back("ALTER INDEX " + index.name.Quoted() + " SET TABLESPACE " + space);
    }
    if (row[13].AsBool()) index.after.push_back("ALTER TABLE " + table + " CLUSTER ON " + name);
    if (row[14].AsBool()) {
      index.after.push_back("ALTER TABLE ONLY " + table + " REPLICA IDENTITY USING INDEX " + name);
    }
    if (!row[16].is_null()) {
      for (const Json& pair : ParseJson(row[16].text, "statistics")) {
        index.after.push_back("ALTER INDEX " + index.name.Quoted() + " ALTER COLUMN " +
                              std::to_string(pair.at(0).get<int>()) + " SET STATISTICS " +
                              std::to_string(pair.at(1).get<int>()));
      }
    }
  }
  return indexes;
}

std::vector<PostForeignKey> ReadShadowKeys(db::Session& scratch, const Settings& settings) {
  const std::vector<std::string> shadows = ShadowSchemas(settings);
  std::vector<PostForeignKey> keys;
  for (const db::Row& row : scratch.Query(SelectForeignKeys(), {db::TextArray(shadows)}).rows) {
    PostForeignKey& key = keys.emplace_back();
    key.from = {row[0].text, row[1].text};
    key.partitioned = row[2].text == "p";
    key.to = {row[3].text, row[4].text};
    key.from_root = {row[15].text, row[13].text};
    key.to_root = {row[16].text, row[14].text};
    key.to_shadow = std::ranges::count(shadows, key.to.schema) > 0;
    key.name = row[5].text;
    key.validated = row[6].AsBool();
    key.inherited = row[7].AsBool();
    key.definition = key.final_definition = row[8].text;
    key.comment = row[10].TextOr("");
    key.columns = JsonTexts(row[11]);
    key.referenced_columns = JsonTexts(row[12]);
    key.parts = KeyPartsFrom(row[17]);
    if (key.to_shadow) {
      // The text is the server's own: "… REFERENCES " and the name just as regclass writes it.
      const std::string now = ") REFERENCES " + row[9].text + "(";
      const auto at = key.definition.find(now);
      if (at == std::string::npos) {
        throw Error(ErrorKind::kInternal, "unexpected foreign key: " + key.definition);
      }
      const db::TableName last{UserSchemaOf(settings, key.to.schema), key.to.name};
      key.final_definition.replace(at, now.size(), ") REFERENCES " + last.Quoted() + "(");
    }
  }
  return keys;
}

bool Waits(const PostForeignKey& key, const Settings& settings) {
  return !key.to_shadow ||
         settings.IsPreserved({UserSchemaOf(settings, key.to_root.schema), key.to_root.name});
}

std::vector<std::string> ReadComments(db::Session& scratch, const Settings& settings) {
  const auto keys = ReadShadowKeys(scratch, settings);
  std::vector<std::string> comments;
  for (const db::Row& row :
       scratch.Query(kComments, {db::TextArray(ShadowSchemas(settings))}).rows) {
    std::string type = row[0].text;
    if (type == "table constraint") type = "CONSTRAINT";
    if (type == "statistics object") type = "STATISTICS";
    if (row[4].TextOr("") == "f") {
      const bool waits = std::ranges::any_of(keys, [&](const PostForeignKey& key) {
        return key.name == row[5].text && key.from.name == row[6].text &&
               key.from.schema == row[7].text && Waits(key, settings);
      });
      if (waits) continue;
    }
    comments.push_back("COMMENT ON " + type + " " + row[1].text + " IS " +
                       db::QuoteLiteral(row[2].text));
  }
  return comments;
}

}  // namespace understudy::table_swap
