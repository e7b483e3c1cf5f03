#include "engine/table_swap/mover.h"

#include "engine/base/error.h"
#include "engine/db/identifier.h"

namespace understudy::table_swap {
namespace {

// One row per object: class, oid, order, kind, schema, name, signature. $1: the schemas as an
// array. Runs as it is in psql with the schemas put in.
constexpr const char* kMovables = R"(
WITH spaces AS (
  SELECT oid, nspname::text AS name FROM pg_namespace WHERE nspname = ANY ($1::text[])
), objects AS (
  -- Routines first: the texts of their signatures name the types where they stand now.
  SELECT 'pg_proc'::regclass AS class, p.oid, 1 AS place,
         CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END
           AS kind,
         s.name AS schema, p.proname::text AS name,
         '(' || CASE
           WHEN p.prokind <> 'a' THEN coalesce((
             SELECT string_agg(format_type(t.oid, NULL), ', ' ORDER BY t.n)
             FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t(oid, n)), '')
           WHEN p.pronargs = 0 THEN '*'
           ELSE pg_get_function_identity_arguments(p.oid) END || ')' AS signature
  FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
  UNION ALL
  SELECT 'pg_operator'::regclass, o.oid, 2, 'OPERATOR', s.name, o.oprname::text,
         ' (' || CASE WHEN o.oprleft = 0 THEN 'NONE' ELSE format_type(o.oprleft, NULL) END || ', '
              || CASE WHEN o.oprright = 0 THEN 'NONE' ELSE format_type(o.oprright, NULL) END || ')'
  FROM pg_operator o JOIN spaces s ON s.oid = o.oprnamespace
  UNION ALL
  SELECT 'pg_opclass'::regclass, o.oid, 3, 'OPERATOR CLASS', s.name, o.opcname::text,
         ' USING ' || quote_ident(a.amname)
  FROM pg_opclass o JOIN spaces s ON s.oid = o.opcnamespace JOIN pg_am a ON a.oid = o.opcmethod
  UNION ALL
  SELECT 'pg_opfamily'::regclass, o.oid, 4, 'OPERATOR FAMILY', s.name, o.opfname::text,
         ' USING ' || quote_ident(a.amname)
  FROM pg_opfamily o JOIN spaces s ON s.oid = o.opfnamespace JOIN pg_am a ON a.oid = o.opfmethod
  UNION ALL
  SELECT 'pg_statistic_ext'::regclass, x.oid, 5, 'STATISTICS', s.name, x.stxname::text, ''
  FROM pg_statistic_ext x JOIN spaces s ON s.oid = x.stxnamespace
  UNION ALL
  SELECT 'pg_class'::regclass, c.oid, 6,
         CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                        WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
         s.name, c.relname::text, ''
  FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
     OR (c.relkind = 'S' AND NOT EXISTS (
           SELECT FROM pg_depend d
           WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
             AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
  UNION ALL
  SELECT 'pg_type'::regclass, t.oid, 7, CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END,
         s.name, t.typname::text, ''
  FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
  WHERE (t.typrelid = 0 OR (SELECT c.relkind FROM pg_class c WHERE c.oid = t.typrelid) = 'c')
    AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
  UNION ALL
  SELECT 'pg_collation'::regclass, c.oid, 8, 'COLLATION', s.name, c.collname::text, ''
  FROM pg_collation c JOIN spaces s ON s.oid = c.collnamespace
  UNION ALL
  SELECT 'pg_conversion'::regclass, c.oid, 8, 'CONVERSION', s.name, c.conname::text, ''
  FROM pg_conversion c JOIN spaces s ON s.oid = c.connamespace
  UNION ALL
  SELECT 'pg_ts_config'::regclass, c.oid, 8, 'TEXT SEARCH CONFIGURATION', s.name,
         c.cfgname::text, ''
  FROM pg_ts_config c JOIN spaces s ON s.oid = c.cfgnamespace
  UNION ALL
  SELECT 'pg_ts_dict'::regclass, c.oid, 8, 'TEXT SEARCH DICTIONARY', s.name, c.dictname::text, ''
  FROM pg_ts_dict c JOIN spaces s ON s.oid = c.dictnamespace
  UNION ALL
  SELECT 'pg_ts_parser'::regclass, c.oid, 8, 'TEXT SEARCH PARSER', s.name, c.prsname::text, ''
  FROM pg_ts_parser c JOIN spaces s ON s.oid = c.prsnamespace
  UNION ALL
  SELECT 'pg_ts_template'::regclass, c.oid, 8, 'TEXT SEARCH TEMPLATE', s.name, c.tmplname::text, ''
  FROM pg_ts_template c JOIN spaces s ON s.oid = c.tmplnamespace
)
SELECT o.oid, o.kind, o.schema, o.name, o.signature
FROM objects o
WHERE NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
ORDER BY o.place, o.schema COLLATE "C", o.name COLLATE "C", o.signature COLLATE "C")";

// What hangs on the objects of the schemas, belongs to no schema, and therefore cannot be
// exchanged.
constexpr const char* kUnmovables = R"(
SELECT DISTINCT i.identity AS object, i.type
FROM pg_depend d
CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
CROSS JOIN LATERAL pg_identify_object(d.refclassid, d.refobjid, 0) r
WHERE d.classid IN ('pg_cast'::regclass, 'pg_event_trigger'::regclass, 'pg_transform'::regclass,
                    'pg_language'::regclass, 'pg_foreign_data_wrapper'::regclass, 'pg_am'::regclass)
  AND d.deptype <> 'e'
  AND NOT EXISTS (SELECT FROM pg_depend e
                  WHERE e.classid = d.classid AND e.objid = d.objid
                    -- i: the cast to its multirange, which a range type brings along
                    AND e.deptype IN ('e', 'i'))
  AND r.schema = ANY ($1::text[])
ORDER BY 1)";

std::string LowerCase(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

bool Movable::IsRoutine() const {
  return kind == "FUNCTION" || kind == "PROCEDURE" || kind == "AGGREGATE";
}

std::string Movable::Key() const {
  return kind + " " + db::QuoteIdentifier(schema) + "." + db::QuoteIdentifier(name) + signature;
}

std::string Movable::Identity() const {
  return db::QuoteIdentifier(schema) + "." +
         (kind == "OPERATOR" ? name : db::QuoteIdentifier(name)) + signature;
}

std::string Movable::Display() const {
  return LowerCase(kind) + " " + db::DisplayIdentifier(schema) + "." +
         (kind == "OPERATOR" ? name : db::DisplayIdentifier(name)) + signature;
}

Json Movable::ToJson() const {
  Json json = {{"kind", kind}, {"oid", oid}, {"schema", schema}, {"name", name}};
  if (!signature.empty()) json["signature"] = signature;
  return json;
}

Movable Movable::FromJson(const Json& json) {
  return {json.at("kind").get<std::string>(), json.at("oid").get<std::uint32_t>(),
          json.at("schema").get<std::string>(), json.at("name").get<std::string>(),
          json.value("signature", "")};
}

std::vector<Movable> ListMovables(db::Session& session, const std::vector<std::string>& schemas) {
  std::vector<Movable> objects;
  for (const db::Row& row : session.Query(kMovables, {db::TextArray(schemas)}).rows) {
    objects.push_back({row[1].text, static_cast<std::uint32_t>(row[0].AsInteger()), row[2].text,
                       row[3].text, row[4].text});
  }
  return objects;
}

db::Value TableOids(const std::vector<Movable>& objects) {
  std::vector<std::uint32_t> oids;
  for (const Movable& object : objects) {
    if (object.kind == "TABLE") oids.push_back(object.oid);
  }
  return db::IntegerArray(oids);
}

std::string MoveSql(const Movable& object, const std::string& to_schema) {
  return "ALTER " + object.kind + " " + object.Identity() + " SET SCHEMA " +
         db::QuoteIdentifier(to_schema) + ";";
}

Movable MovedTo(Movable object, const std::string& schema) {
  object.schema = schema;
  return object;
}

std::vector<Unmovable> ListUnmovables(db::Session& session,
                                      const std::vector<std::string>& schemas) {
  std::vector<Unmovable> all;
  for (const db::Row& row : session.Query(kUnmovables, {db::TextArray(schemas)}).rows) {
    all.push_back({row[1].text + " " + row[0].text,
                   "it uses objects of the schemas that take part and cannot be moved with them"});
  }
  return all;
}

}  // namespace understudy::table_swap
