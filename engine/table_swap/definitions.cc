#include "engine/table_swap/definitions.h"

#include <set>

namespace understudy::table_swap {
namespace {

// owner, label, digest. $1: the schemas.
constexpr const char* kDefinitions = R"(
WITH spaces AS (
  SELECT oid, nspname FROM pg_namespace WHERE nspname = ANY ($1::text[])
), rels AS (
  SELECT c.*, format('%I.%I', s.nspname, c.relname) AS name,
         obj_description(c.oid, 'pg_class') AS said
    FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
), things AS (
  SELECT r.oid AS owner,
         CASE r.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END
           || ' ' || r.name AS label,
         concat_ws(' | ', r.relkind, r.relpersistence, r.relrowsecurity, r.relforcerowsecurity,
                   r.relreplident, r.reloptions::text, r.relispartition,
                   pg_get_expr(r.relpartbound, r.oid), r.said,
                   CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END) AS text
    FROM rels r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')
   UNION ALL
  SELECT r.oid, format('column %s.%I', r.name, a.attname),
         concat_ws(' | ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                   a.attidentity, a.attgenerated, a.attcollation, a.attoptions::text,
                   a.attstorage, pg_get_expr(d.adbin, d.adrelid), col_description(r.oid, a.attnum))
    FROM rels r JOIN pg_attribute a ON a.attrelid = r.oid
    LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
   WHERE r.relkind IN ('r', 'p', 'v', 'f') AND a.attnum > 0 AND NOT a.attisdropped
   UNION ALL
  SELECT i.indrelid, 'index ' || r.name,
         concat_ws(' | ', pg_get_indexdef(r.oid), r.said, i.indisreplident)
    FROM rels r JOIN pg_index i ON i.indexrelid = r.oid
   UNION ALL
  SELECT r.oid, format('constraint %I on %s', k.conname, r.name),
         concat_ws(' | ', pg_get_constraintdef(k.oid), k.convalidated,
                   obj_description(k.oid, 'pg_constraint'))
    FROM rels r JOIN pg_constraint k ON k.conrelid = r.oid
   WHERE k.contype IN ('c', 'f', 'p', 'u', 'x')
   UNION ALL
  SELECT r.oid, format('trigger %I on %s', t.tgname, r.name),
         concat_ws(' | ', pg_get_triggerdef(t.oid), t.tgenabled,
                   obj_description(t.oid, 'pg_trigger'))
    FROM rels r JOIN pg_trigger t ON t.tgrelid = r.oid
   WHERE NOT t.tgisinternal AND t.tgname NOT LIKE 'understudy\_capture%'
   UNION ALL
  SELECT r.oid, format('rule %I on %s', w.rulename, r.name),
         concat_ws(' | ', pg_get_ruledef(w.oid), w.ev_enabled)
    FROM rels r JOIN pg_rewrite w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN'
   UNION ALL
  SELECT r.oid, format('policy %I on %s', p.polname, r.name),
         concat_ws(' | ', p.polcmd, p.polpermissive, p.polroles::text,
                   pg_get_expr(p.polqual, r.oid), pg_get_expr(p.polwithcheck, r.oid))
    FROM rels r JOIN pg_policy p ON p.polrelid = r.oid
   UNION ALL
  SELECT x.stxrelid, format('statistics %I.%I', s.nspname, x.stxname),
         pg_get_statisticsobjdef(x.oid)
    FROM pg_statistic_ext x JOIN spaces s ON s.oid = x.stxnamespace
   UNION ALL
  SELECT coalesce((SELECT d.refobjid FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                      AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
                      AND d.deptype IN ('a', 'i') LIMIT 1), r.oid),
         'sequence ' || r.name,
         concat_ws(' | ', q.seqtypid, q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache,
                   q.seqcycle, r.said)
    FROM rels r JOIN pg_sequence q ON q.seqrelid = r.oid
   UNION ALL
  SELECT p.oid,
         format('function %I.%I(%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
         concat_ws(' | ', CASE WHEN p.prokind = 'a' THEN p.xmin::text
                               ELSE pg_get_functiondef(p.oid) END,
                   obj_description(p.oid, 'pg_proc'))
    FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
   UNION ALL
  SELECT t.oid, format('type %I.%I', s.nspname, t.typname),
         concat_ws(' | ', t.typtype, format_type(t.typbasetype, t.typtypmod), t.typnotnull,
                   t.typdefault, obj_description(t.oid, 'pg_type'),
                   (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)
                      FROM pg_enum e WHERE e.enumtypid = t.oid),
                   (SELECT string_agg(pg_get_constraintdef(k.oid), ',' ORDER BY k.conname)
                      FROM pg_constraint k WHERE k.contypid = t.oid),
                   (SELECT string_agg(format('%I %s', a.attname,
                                             format_type(a.atttypid, a.atttypmod)), ','
                                      ORDER BY a.attnum)
                      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'c'
                     WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
    FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
   WHERE t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND EXISTS (
           SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
)
SELECT owner, label, left(md5(coalesce(text, '')), 16) FROM things)";

}  // namespace

Definitions ReadDefinitions(db::Session& session, const std::vector<std::string>& schemas) {
  Definitions all;
  for (const db::Row& row : session.Query(kDefinitions, {db::TextArray(schemas)}).rows) {
    all[row[1].text] = {static_cast<std::uint32_t>(row[0].AsInteger()), row[2].text};
  }
  return all;
}

std::vector<std::string> ChangedDefinitions(const Definitions& before, const Definitions& now,
                                            const std::vector<Movable>& objects) {
  std::set<std::uint32_t> owners;
  for (const Movable& object : objects) owners.insert(object.oid);
  std::vector<std::string> changes;
  for (const auto& [label, definition] : before) {
    if (!owners.contains(definition.owner)) continue;
    const auto it = now.find(label);
    if (it == now.end() || it->second.owner != definition.owner) {
      changes.push_back(label + " was dropped or renamed");
    } else if (it->second.digest != definition.digest) {
      changes.push_back(label + " was changed");
    }
  }
  for (const auto& [label, definition] : now) {
    if (owners.contains(definition.owner) && !before.contains(label)) {
      changes.push_back(label + " was made");
    }
  }
  return changes;
}

Json ToJson(const Definitions& definitions) {
  Json json = Json::object();
  for (const auto& [label, definition] : definitions) {
    json[label] = {definition.owner, definition.digest};
  }
  return json;
}

Definitions DefinitionsFrom(const Json& json) {
  Definitions all;
  for (auto it = json.begin(); it != json.end(); ++it) {
    all[it.key()] = {it.value().at(0).get<std::uint32_t>(), it.value().at(1).get<std::string>()};
  }
  return all;
}

}  // namespace understudy::table_swap
