#include "engine/table_swap/catalog_digest.h"

namespace understudy::table_swap {
namespace {

// $1: relations, $2: routines, $3: types and the rest that is no relation.
constexpr const char* kDigest = R"(
WITH seqs AS (
  SELECT d.objid AS oid FROM pg_depend d
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid = ANY ($1::oid[]) AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    AND d.objsubid = 0
), rels AS (
  SELECT unnest($1::oid[]) AS oid UNION SELECT oid FROM seqs
  UNION SELECT indexrelid FROM pg_index WHERE indrelid = ANY ($1::oid[])
), refs AS (
  SELECT 'pg_class'::regclass::oid AS class, oid FROM rels
  UNION ALL SELECT 'pg_proc'::regclass, unnest($2::oid[])
  UNION ALL SELECT 'pg_type'::regclass, unnest($3::oid[])
  UNION ALL SELECT 'pg_type'::regclass, t.oid FROM pg_type t
    WHERE t.typrelid <> 0 AND t.typrelid = ANY ($1::oid[])
  UNION ALL SELECT 'pg_type'::regclass, t.typarray FROM pg_type t
    WHERE t.typrelid <> 0 AND t.typrelid = ANY ($1::oid[])
)
SELECT concat_ws(' ',
  (SELECT sum(hashtext(concat_ws(':', c.oid, c.xmin, c.relfilenode))::bigint)
   FROM pg_class c JOIN rels r ON r.oid = c.oid),
  (SELECT sum(hashtext(concat_ws(':', a.attrelid, a.attnum, a.xmin))::bigint)
   FROM pg_attribute a WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0),
  (SELECT sum(hashtext(concat_ws(':', d.oid, d.xmin))::bigint)
   FROM pg_attrdef d WHERE d.adrelid = ANY ($1::oid[])),
  (SELECT sum(hashtext(concat_ws(':', t.oid, t.xmin))::bigint)
   FROM pg_trigger t WHERE t.tgrelid = ANY ($1::oid[])),
  (SELECT sum(hashtext(concat_ws(':', k.oid, k.xmin))::bigint)
   FROM pg_constraint k WHERE k.conrelid = ANY ($1::oid[]) OR k.confrelid = ANY ($1::oid[])),
  (SELECT sum(hashtext(concat_ws(':', i.inhrelid, i.inhparent, i.xmin))::bigint)
   FROM pg_inherits i WHERE i.inhrelid = ANY ($1::oid[]) OR i.inhparent = ANY ($1::oid[])),
  (SELECT sum(hashtext(concat_ws(':', w.oid, w.xmin))::bigint)
   FROM pg_rewrite w WHERE w.ev_class = ANY ($1::oid[])),
  (SELECT sum(hashtext(concat_ws(':', p.oid, p.xmin))::bigint)
   FROM pg_policy p WHERE p.polrelid = ANY ($1::oid[])),
  (SELECT sum(hashtext(concat_ws(':', p.oid, p.xmin))::bigint)
   FROM pg_publication_rel p WHERE p.prrelid = ANY ($1::oid[])),
  (SELECT sum(hashtext(concat_ws(':', p.oid, p.xmin))::bigint)
   FROM pg_proc p WHERE p.oid = ANY ($2::oid[])),
  (SELECT sum(hashtext(concat_ws(':', d.objoid, d.objsubid, d.xmin))::bigint)
   FROM pg_description d WHERE d.classoid = 'pg_class'::regclass AND d.objoid = ANY ($1::oid[])),
  (SELECT sum(hashtext(concat_ws(':', d.classid, d.objid, d.objsubid, d.refobjid, d.refobjsubid,
                                 d.deptype, d.xmin))::bigint)
   FROM pg_depend d JOIN refs r ON r.class = d.refclassid AND r.oid = d.refobjid)))";

}  // namespace

std::string CatalogDigest(db::Session& session, const std::vector<Movable>& objects) {
  std::vector<std::uint32_t> relations;
  std::vector<std::uint32_t> routines;
  std::vector<std::uint32_t> others;
  for (const Movable& object : objects) {
    const bool relation = object.kind == "TABLE" || object.kind == "VIEW" ||
                          object.kind == "MATERIALIZED VIEW" || object.kind == "FOREIGN TABLE" ||
                          object.kind == "SEQUENCE";
    (relation ? relations : object.IsRoutine() ? routines : others).push_back(object.oid);
  }
  return session
      .Scalar(kDigest,
              {db::IntegerArray(relations), db::IntegerArray(routines), db::IntegerArray(others)})
      .text;
}

}  // namespace understudy::table_swap
