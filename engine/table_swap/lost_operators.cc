#include "engine/table_swap/lost_operators.h"

namespace understudy::table_swap {
namespace {

// Every operator of a stored expression is one ":opno" of its nodes, and one OPERATOR(…) of its
// text where it is not in pg_catalog. Operators of extensions and users are never pinned, so that
// who uses one depends on it.
std::string FindSql(db::Session& session, const std::string& where) {
  return R"(
WITH custom AS (
  SELECT oid::text AS number, oid FROM pg_operator
  WHERE oid >= 16384 AND oprnamespace <> 'pg_catalog'::regnamespace
), users AS (
  SELECT DISTINCT d.classid, d.objid FROM pg_depend d JOIN custom o ON o.oid = d.refobjid
  WHERE d.refclassid = 'pg_operator'::regclass
), texts AS (
  SELECT u.classid, u.objid, c.oid AS rel, c.relnamespace AS space, concat(r.ev_action, r.ev_qual) AS nodes,
         CASE WHEN c.relkind IN ('v', 'm') AND r.ev_type = '1' THEN pg_get_viewdef(c.oid)
              ELSE pg_get_ruledef(r.oid) END AS printed
  FROM users u JOIN pg_rewrite r ON u.classid = 'pg_rewrite'::regclass AND r.oid = u.objid
  JOIN pg_class c ON c.oid = r.ev_class
  UNION ALL
  SELECT u.classid, u.objid, k.conrelid, k.connamespace, k.conbin::text, pg_get_constraintdef(k.oid)
  FROM users u JOIN pg_constraint k ON u.classid = 'pg_constraint'::regclass AND k.oid = u.objid
  UNION ALL
  SELECT u.classid, u.objid, c.oid, c.relnamespace, d.adbin::text, pg_get_expr(d.adbin, d.adrelid)
  FROM users u JOIN pg_attrdef d ON u.classid = 'pg_attrdef'::regclass AND d.oid = u.objid
  JOIN pg_class c ON c.oid = d.adrelid
  UNION ALL
  SELECT u.classid, u.objid, c.oid, c.relnamespace, concat(p.polqual, p.polwithcheck),
         concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  FROM users u JOIN pg_policy p ON u.classid = 'pg_policy'::regclass AND p.oid = u.objid
  JOIN pg_class c ON c.oid = p.polrelid
  UNION ALL
  SELECT u.classid, u.objid, c.oid, c.relnamespace, concat(i.indexprs, i.indpred),
         concat(pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid))
  FROM users u JOIN pg_index i ON u.classid = 'pg_class'::regclass AND i.indexrelid = u.objid
  JOIN pg_class c ON c.oid = i.indrelid
  UNION ALL
  SELECT u.classid, u.objid, c.oid, c.relnamespace, t.tgqual::text, pg_get_triggerdef(t.oid)
  FROM users u JOIN pg_trigger t ON u.classid = 'pg_trigger'::regclass AND t.oid = u.objid
  JOIN pg_class c ON c.oid = t.tgrelid)" +
         // Bodies of SQL text came with 14.
         std::string(session.Server().major() >= 14 ? R"(
  UNION ALL
  SELECT u.classid, u.objid, 0, p.pronamespace, p.prosqlbody::text, pg_get_functiondef(p.oid)
  FROM users u JOIN pg_proc p ON u.classid = 'pg_proc'::regclass AND p.oid = u.objid
  WHERE p.prosqlbody IS NOT NULL)"
                                                    : "") +
         R"(
)
SELECT i.type, i.identity
FROM texts t
-- Of a view its rule depends; people know the view.
LEFT JOIN pg_rewrite r ON t.classid = 'pg_rewrite'::regclass AND r.oid = t.objid
                      AND r.rulename = '_RETURN'
CROSS JOIN LATERAL pg_identify_object(
  CASE WHEN r.oid IS NULL THEN t.classid ELSE 'pg_class'::regclass::oid END,
  coalesce(r.ev_class, t.objid), 0) i
WHERE (SELECT count(*) FROM regexp_matches(t.nodes, ':opno ([0-9]+)', 'g') AS m(x)
       JOIN custom o ON o.number = m.x[1])
      > (length(t.printed) - length(replace(t.printed, 'OPERATOR(', ''))) / length('OPERATOR(')
  AND )" +
         where + " ORDER BY 1, 2";
}

std::vector<Unmovable> Find(db::Session& session, const std::string& where,
                            const db::Params& parameters) {
  std::vector<Unmovable> lost;
  for (const db::Row& row : session.Query(FindSql(session, where), parameters).rows) {
    lost.push_back(
        {row[0].text + " " + row[1].text,
         "it compares values of an extension's type, or by an operator of a user, in a way that "
         "the server writes without the operator (JOIN … USING, IS DISTINCT FROM, NULLIF, CASE … "
         "WHEN), so that it cannot be made again as it is: write it with = and ON, AND, OR, or "
         "drop "
         "it before and create it again after"});
  }
  return lost;
}

}  // namespace

std::vector<Unmovable> LostOperators(db::Session& session,
                                     const std::vector<std::string>& schemas) {
  return Find(session,
              "t.space IN (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1::text[])) "
              "AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e' AND "
              "((e.classid = 'pg_class'::regclass AND e.objid = t.rel) OR "
              "(e.classid = t.classid AND e.objid = t.objid)))",
              {db::TextArray(schemas)});
}

std::vector<Unmovable> LostOperators(db::Session& session, const db::Value& catalogs,
                                     const db::Value& oids) {
  return Find(session, "(t.classid, t.objid) IN (SELECT * FROM unnest($1::oid[], $2::oid[]))",
              {catalogs, oids});
}

}  // namespace understudy::table_swap
