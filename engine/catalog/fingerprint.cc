#include "engine/catalog/fingerprint.h"

#include "engine/base/sabotage.h"

namespace understudy::catalog {
namespace {

// Of a partitioned table the whole tree counts: TRUNCATE or VACUUM FULL of one partition, a trigger
// disabled there.
constexpr const char* kFingerprints = R"(
WITH asked AS (
  SELECT c.oid, c.relkind, n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.oid = ANY ($1::oid[])
), members AS (
  SELECT a.oid AS root, a.oid AS member FROM asked a
  UNION
  SELECT a.oid, t.relid::oid
    FROM asked a CROSS JOIN LATERAL pg_partition_tree(a.oid) AS t
   WHERE a.relkind = 'p'
)
SELECT a.oid, a.nspname, a.relname,
       (SELECT coalesce(string_agg(format('%s %I %s %s%s%s', x.attnum, x.attname,
                          format_type(x.atttypid, x.atttypmod), x.attnotnull, x.attgenerated,
                          x.attidentity), ', ' ORDER BY m.member, x.attnum), '')
          FROM members m JOIN pg_attribute x ON x.attrelid = m.member
         WHERE m.root = a.oid AND x.attnum > 0 AND NOT x.attisdropped),
       (SELECT string_agg(format('%s:%s', c.oid, c.relfilenode), ' ' ORDER BY c.oid)
          FROM members m JOIN pg_class c ON c.oid = m.member WHERE m.root = a.oid),
       (SELECT coalesce(string_agg(format('%s<%s %s', i.inhparent, i.inhrelid,
                          pg_get_expr(c.relpartbound, c.oid)), ', '
                          ORDER BY i.inhparent, i.inhrelid), '')
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE EXISTS (SELECT FROM members m
                        WHERE m.root = a.oid AND m.member IN (i.inhparent, i.inhrelid))),
       (SELECT coalesce(string_agg(format('%s %I %s %s', t.tgrelid, t.tgname, t.tgfoid, t.tgenabled),
                          ', ' ORDER BY t.tgrelid, t.tgname, t.oid), '')
          FROM members m JOIN pg_trigger t ON t.tgrelid = m.member
         WHERE m.root = a.oid AND (t.tgconstraint = 0 OR NOT t.tgisinternal))
  FROM asked a)";

}  // namespace

Fingerprint ReadFingerprint(db::Session& session, const std::vector<Oid>& tables) {
  Fingerprint all;
  const db::Result found = session.Query(kFingerprints, {db::IntegerArray(tables)});
  for (const db::Row& row : found.rows) {
    TableFingerprint print;
    print.table = db::TableName{row[1].text, row[2].text}.Display();
    print.columns = row[3].text;
    print.files = row[4].text;
    print.inheritance = row[5].text;
    print.triggers = row[6].text;
    all[static_cast<Oid>(row[0].AsInteger())] = std::move(print);
  }
  return all;
}

std::string FingerprintChange::Text() const {
  if (gone) return name + ": the table is gone";
  std::string what;
  const auto add = [&](bool changed, const char* text) {
    if (changed) what += (what.empty() ? "" : ", ") + std::string(text);
  };
  add(columns, "its columns");
  add(files, "its storage");
  add(inheritance, "its partitions or parents");
  add(triggers, "its triggers");
  return name + ": " + what + " changed";
}

std::vector<FingerprintChange> CompareFingerprints(const Fingerprint& before,
                                                   const Fingerprint& now) {
  std::vector<FingerprintChange> changes;
  if (Sabotaged("catalog-ignores-fingerprint")) return changes;
  for (const auto& [oid, old] : before) {
    FingerprintChange change;
    change.table = oid;
    change.name = old.table;
    const auto it = now.find(oid);
    if (it == now.end()) {
      change.gone = true;
    } else {
      change.columns = it->second.columns != old.columns;
      change.files = it->second.files != old.files;
      change.inheritance = it->second.inheritance != old.inheritance;
      change.triggers = it->second.triggers != old.triggers;
    }
    if (change.gone || change.columns || change.files || change.inheritance || change.triggers) {
      changes.push_back(std::move(change));
    }
  }
  return changes;
}

Json ToJson(const Fingerprint& fingerprint) {
  Json json = Json::object();
  for (const auto& [oid, print] : fingerprint) {
    json[std::to_string(oid)] = {{"table", print.table},
                                 {"columns", print.columns},
                                 {"files", print.files},
                                 {"inheritance", print.inheritance},
                                 {"triggers", print.triggers}};
  }
  return json;
}

Fingerprint FingerprintFromJson(const Json& json) {
  Fingerprint all;
  for (auto it = json.begin(); it != json.end(); ++it) {
    const Json& one = it.value();
    all[static_cast<Oid>(std::stoul(it.key()))] = {
        one.at("table").get<std::string>(), one.at("columns").get<std::string>(),
        one.at("files").get<std::string>(), one.at("inheritance").get<std::string>(),
        one.at("triggers").get<std::string>()};
  }
  return all;
}

}  // namespace understudy::catalog
