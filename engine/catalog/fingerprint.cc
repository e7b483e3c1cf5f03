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
), columns AS (
  SELECT m.root, string_agg(format('%s %I %s %s%s%s', x.attnum, x.attname,
                              format_type(x.atttypid, x.atttypmod), x.attnotnull, x.attgenerated,
                              x.attidentity), ', ' ORDER BY m.member, x.attnum) AS text
    FROM members m JOIN pg_attribute x ON x.attrelid = m.member
   WHERE x.attnum > 0 AND NOT x.attisdropped
   GROUP BY m.root
), files AS (
  SELECT m.root, string_agg(format('%s:%s', c.oid, c.relfilenode), ' ' ORDER BY c.oid) AS text
    FROM members m JOIN pg_class c ON c.oid = m.member
   GROUP BY m.root
), links AS (
  SELECT m.root, i.inhparent, i.inhrelid
    FROM members m JOIN pg_inherits i ON i.inhparent = m.member
   UNION
  SELECT m.root, i.inhparent, i.inhrelid
    FROM members m JOIN pg_inherits i ON i.inhrelid = m.member
), inheritance AS (
  SELECT l.root, string_agg(format('%s<%s %s', l.inhparent, l.inhrelid,
                              pg_get_expr(c.relpartbound, c.oid)), ', '
                              ORDER BY l.inhparent, l.inhrelid) AS text
    FROM links l JOIN pg_class c ON c.oid = l.inhrelid
   GROUP BY l.root
), triggers AS (
  -- With the transaction that wrote it: one that was disabled for a moment is as it was before.
  SELECT m.root, string_agg(format('%s %I %s %s %s', t.tgrelid, t.tgname, t.tgfoid, t.tgenabled,
                              t.xmin), ', ' ORDER BY t.tgrelid, t.tgname, t.oid) AS text
    FROM members m JOIN pg_trigger t ON t.tgrelid = m.member
   WHERE t.tgconstraint = 0 OR NOT t.tgisinternal
   GROUP BY m.root
)
SELECT a.oid, a.nspname, a.relname, coalesce(c.text, ''), coalesce(f.text, ''),
       coalesce(i.text, ''), coalesce(t.text, '')
  FROM asked a
  LEFT JOIN columns c ON c.root = a.oid
  LEFT JOIN files f ON f.root = a.oid
  LEFT JOIN inheritance i ON i.root = a.oid
  LEFT JOIN triggers t ON t.root = a.oid)";

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
  add(renamed, "its name");
  add(columns, "its columns");
  add(files, "its storage (rewritten or truncated)");
  add(inheritance, "its partitions or parents");
  add(triggers, "its triggers");
  if (what.empty() && keys) return name + ": not every write is in its log";
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
      change.renamed = it->second.table != old.table;
      change.columns = it->second.columns != old.columns;
      change.files = it->second.files != old.files;
      change.inheritance = it->second.inheritance != old.inheritance;
      change.triggers = it->second.triggers != old.triggers;
    }
    if (change.gone || change.renamed || change.columns || change.files || change.inheritance ||
        change.triggers) {
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
