#include "engine/table_swap/key_parts.h"

#include <algorithm>

namespace understudy::table_swap {
namespace {

constexpr std::string_view kNotValid = " NOT VALID";
// Of the referencing tree times the referenced one: every partition of the one has a part of its
// key for every partition of the other, until the keys are joined.
constexpr int kMostPairs = 400;
// Before these, joining left the parts of such keys behind.
constexpr const char* kJoinsPairs = R"((
  SELECT v % 10000 >= CASE v / 10000 WHEN 12 THEN 21 WHEN 13 THEN 17 WHEN 14 THEN 14 WHEN 15 THEN 9
                                     WHEN 16 THEN 5 WHEN 17 THEN 1 ELSE 0 END
  FROM (SELECT current_setting('server_version_num')::integer) AS x (v)))";

std::string Add(const db::TableName& table, const std::string& name, const std::string& definition,
                const std::string& comment) {
  const std::string quoted = db::QuoteIdentifier(name);
  std::string sql =
      "ALTER TABLE " + table.Quoted() + " ADD CONSTRAINT " + quoted + " " + definition + ";";
  if (!comment.empty()) {
    sql += "COMMENT ON CONSTRAINT " + quoted + " ON " + table.Quoted() + " IS " +
           db::QuoteLiteral(comment) + ";";
  }
  return sql;
}

std::string LateLeaves(const KeyText& key) {
  std::string known;
  for (const KeyPart& part : key.parts) {
    known += (known.empty() ? "" : ", ") + db::QuoteLiteral(part.table.Quoted());
  }
  const std::string name = db::QuoteLiteral(key.name);
  const std::string definition = db::QuoteLiteral(key.definition);
  return "SELECT 'ALTER TABLE ' || t.relid::regclass || CASE "
         "WHEN own.conname IS NOT NULL THEN ' VALIDATE CONSTRAINT ' || quote_ident(own.conname) "
         "WHEN EXISTS (SELECT FROM pg_constraint x WHERE x.conrelid = t.relid AND x.conname = " +
         name + ") THEN ' ADD ' || " + definition +
         " || ' NOT VALID' "
         "ELSE ' ADD CONSTRAINT ' || quote_ident(" +
         name + ") || ' ' || " + definition +
         " || ' NOT VALID' END "
         "FROM pg_partition_tree(to_regclass(" +
         db::QuoteLiteral(key.table.Quoted()) +
         ")) AS t JOIN pg_class c ON c.oid = t.relid AND pg_has_role(c.relowner, 'USAGE') "
         "LEFT JOIN LATERAL (SELECT x.conname, x.convalidated FROM pg_constraint x "
         "WHERE x.conrelid = t.relid AND x.contype = 'f' AND pg_get_constraintdef(x.oid) IN (" +
         definition + ", " + definition +
         " || ' NOT VALID') "
         "ORDER BY x.convalidated DESC, x.conname LIMIT 1) AS own ON true "
         "WHERE t.isleaf AND c.relkind = 'r' AND own.convalidated IS NOT TRUE "
         "AND NOT EXISTS (SELECT FROM unnest(ARRAY[" +
         known + "]::text[]) AS was WHERE to_regclass(was) = t.relid) ORDER BY t.relid";
}

std::string Validate(const db::TableName& table, const std::string& name) {
  return "ALTER TABLE " + table.Quoted() + " VALIDATE CONSTRAINT " + db::QuoteIdentifier(name) +
         ";";
}

// pg_get_constraintdef says it itself where the key is not valid.
bool SaysNotValid(const KeyText& key) { return key.definition.ends_with(kNotValid); }

bool ByParts(const KeyText& key) {
  return key.partitioned && !SaysNotValid(key) && std::ranges::any_of(key.parts, &KeyPart::leaf);
}

}  // namespace

std::string KeyPartsSql(const std::string& key, const std::string& from, const std::string& to) {
  // A key to a partitioned table has parts for the partitions of that one, too: on the same table.
  return "CASE WHEN " + from + ".relkind = 'p' AND NOT EXISTS (SELECT FROM pg_partition_tree(" +
         from +
         ".oid) AS t JOIN pg_class own ON own.oid = t.relid "
         "WHERE NOT pg_has_role(own.relowner, 'USAGE')) AND (" +
         to + ".relkind <> 'p' OR (" + kJoinsPairs +
         " AND (SELECT count(*) FROM pg_partition_tree(" + from +
         ".oid)) * (SELECT count(*) FROM pg_partition_tree(" + to +
         ".oid)) <= " + std::to_string(kMostPairs) + R"()) THEN (
  WITH RECURSIVE parts AS (
    SELECT )" +
         key + ".oid, " + key + R"(.conrelid, 0 AS depth
    UNION ALL
    SELECT x.oid, x.conrelid, parts.depth + 1
    FROM parts JOIN pg_constraint x ON x.conparentid = parts.oid AND x.conrelid <> parts.conrelid)
  SELECT json_agg(json_build_array(xn.nspname, xc.relname, x.conname,
                                   coalesce(obj_description(x.oid, 'pg_constraint'), ''),
                                   xc.relkind <> 'p')
                  ORDER BY parts.depth DESC, xn.nspname, xc.relname)
  FROM parts JOIN pg_constraint x ON x.oid = parts.oid
  JOIN pg_class xc ON xc.oid = x.conrelid JOIN pg_namespace xn ON xn.oid = xc.relnamespace
  WHERE parts.depth > 0) END)";
}

std::vector<KeyPart> KeyPartsFrom(const Json& json) {
  std::vector<KeyPart> parts;
  for (const Json& part : json) {
    parts.push_back({{part.at(0).get<std::string>(), part.at(1).get<std::string>()},
                     part.at(2).get<std::string>(),
                     part.at(3).get<std::string>(),
                     part.at(4).get<bool>()});
  }
  return parts;
}

std::vector<KeyPart> KeyPartsFrom(const db::Value& value) {
  return value.is_null() ? std::vector<KeyPart>{}
                         : KeyPartsFrom(ParseJson(value.text, "parts of a foreign key"));
}

Json KeyPartsJson(const std::vector<KeyPart>& parts) {
  Json json = Json::array();
  for (const KeyPart& part : parts) {
    json.push_back({part.table.schema, part.table.name, part.name, part.comment, part.leaf});
  }
  return json;
}

Json KeyFinish::ToJson() const {
  Json tables = Json::array();
  for (const db::TableName& table : lock) tables.push_back({table.schema, table.name});
  return {
      {"validate", validate}, {"late", late}, {"lock", tables}, {"join", join}, {"joined", joined}};
}

KeyFinish KeyFinish::FromJson(const Json& json) {
  KeyFinish finish{json.at("validate").get<std::vector<std::string>>(),
                   json.at("late").get<std::string>(),
                   {},
                   json.at("join").get<std::vector<std::string>>(),
                   json.at("joined").get<std::string>()};
  for (const Json& table : json.at("lock")) {
    finish.lock.push_back({table.at(0).get<std::string>(), table.at(1).get<std::string>()});
  }
  return finish;
}

std::string AttachKeySql(const KeyText& key) {
  if (!ByParts(key)) {
    const bool whole = key.partitioned || SaysNotValid(key);
    return Add(key.table, key.name, key.definition + (whole ? "" : std::string(kNotValid)),
               key.comment);
  }
  std::string sql;
  for (const KeyPart& part : key.parts) {
    if (!part.leaf) continue;
    sql += Add(part.table, part.name, key.definition + std::string(kNotValid), part.comment);
  }
  return sql;
}

KeyFinish FinishOf(const KeyText& key) {
  KeyFinish finish;
  if (!key.partitioned && key.validated) finish.validate = {Validate(key.table, key.name)};
  if (!ByParts(key)) return finish;
  // The whole tree, from above as clients do, and at once: adding the key locks less at first and
  // more when it takes a leaf's over, which a client that reads and then writes would not let it.
  finish.lock = {key.table};
  if (key.references != key.table) finish.lock.push_back(key.references);
  finish.late = LateLeaves(key);
  for (const KeyPart& part : key.parts) {
    if (part.leaf) {
      finish.validate.push_back(Validate(part.table, part.name));
    } else {
      finish.join.push_back(Add(part.table, part.name, key.definition, part.comment));
    }
  }
  finish.join.push_back(Add(key.table, key.name, key.definition, key.comment));
  finish.joined = "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass(" +
                  db::QuoteLiteral(key.table.Quoted()) +
                  ") AND conname = " + db::QuoteLiteral(key.name) + ")";
  return finish;
}

std::vector<WholeKey> KeysMadeWhole(db::Session& session, const db::Value& tables) {
  std::vector<WholeKey> keys;
  for (const db::Row& row :
       session
           .Query("SELECT cn.nspname, c.relname, k.conname, rn.nspname, rc.relname "
                  "FROM pg_constraint k "
                  "JOIN pg_class c ON c.oid = k.conrelid "
                  "JOIN pg_namespace cn ON cn.oid = c.relnamespace "
                  "JOIN pg_class rc ON rc.oid = k.confrelid "
                  "JOIN pg_namespace rn ON rn.oid = rc.relnamespace "
                  "WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relkind = 'p' "
                  "AND k.convalidated "
                  "AND (k.conrelid = ANY ($1::oid[]) OR k.confrelid = ANY ($1::oid[])) AND " +
                      KeyPartsSql("k", "c", "rc") + " IS NULL ORDER BY 1, 2, 3",
                  {tables})
           .rows) {
    keys.push_back({{row[0].text, row[1].text}, row[2].text, {row[3].text, row[4].text}});
  }
  return keys;
}

}  // namespace understudy::table_swap
