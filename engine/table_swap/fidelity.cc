#include "engine/table_swap/fidelity.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/base/sabotage.h"
#include "engine/db/identifier.h"

namespace understudy::table_swap {
namespace {

class Statements {
 public:
  explicit Statements(db::Session& session) : session_(session) {}
  void Add(std::string sql) { pending_.push_back(std::move(sql)); }
  // What one step adds is done before the next one looks.
  void Flush() {
    if (pending_.empty()) return;
    std::string all;
    for (const std::string& sql : pending_) all += sql + ";\n";
    session_.Execute(all);
    std::ranges::move(pending_, std::back_inserter(done_));
    pending_.clear();
  }
  std::vector<std::string> Take() { return std::move(done_); }

 private:
  db::Session& session_;
  std::vector<std::string> pending_;
  std::vector<std::string> done_;
};

void Owners(db::Session& session, const db::Params& relations, const db::Params& routines,
            const db::Params& types, Statements& statements) {
  std::set<std::pair<std::string, std::string>> owners;
  // `query`: rows (object, owner, schema) of `pairs`.
  const auto give = [&](const char* kind, const char* query, const db::Params& pairs) {
    for (const db::Row& row : session.Query(query, pairs).rows) {
      // An owner must be allowed to have it where it is, and foreign keys are checked as its owner.
      if (owners.emplace(row[2].text, row[1].text).second) {
        statements.Add("GRANT USAGE, CREATE ON SCHEMA " + row[2].text + " TO " + row[1].text);
      }
      statements.Add("ALTER " + std::string(kind) + " " + row[0].text + " OWNER TO " + row[1].text);
    }
  };
  // Sequences that belong to a column follow their table.
  give("TABLE", R"(
SELECT i.oid::regclass::text, quote_ident(pg_get_userbyid(o.relowner)),
       i.relnamespace::regnamespace::text
FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
JOIN pg_class o ON o.oid = p.o JOIN pg_class i ON i.oid = p.i
WHERE o.relowner <> i.relowner
  AND NOT (i.relkind = 'S' AND EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.oid
      AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
ORDER BY p.i)",
       relations);
  give("ROUTINE", R"(
SELECT i.oid::regprocedure::text, quote_ident(pg_get_userbyid(o.proowner)),
       i.pronamespace::regnamespace::text
FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
JOIN pg_proc o ON o.oid = p.o JOIN pg_proc i ON i.oid = p.i
WHERE o.proowner <> i.proowner ORDER BY p.i)",
       routines);
  // A multirange follows its range.
  give("TYPE", R"(
SELECT i.oid::regtype::text, quote_ident(pg_get_userbyid(o.typowner)),
       i.typnamespace::regnamespace::text
FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
JOIN pg_type o ON o.oid = p.o JOIN pg_type i ON i.oid = p.i
WHERE o.typowner <> i.typowner AND i.typtype <> 'm' ORDER BY p.i)",
       types);
  // Extended statistics have an owner of their own.
  give("STATISTICS", R"(
SELECT format('%I.%I', n.nspname, x.stxname), quote_ident(pg_get_userbyid(was.stxowner)),
       quote_ident(n.nspname)
FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
JOIN pg_statistic_ext was ON was.stxrelid = p.o
JOIN pg_statistic_ext x ON x.stxrelid = p.i AND x.stxname = was.stxname
JOIN pg_namespace n ON n.oid = x.stxnamespace
WHERE was.stxowner <> x.stxowner ORDER BY p.i, x.stxname)",
       relations);
  statements.Flush();
}

// One privilege as aclexplode tells it.
struct Privilege {
  std::string grantee;  // quoted, or PUBLIC
  std::string name;
  bool grantable = false;
  auto operator<=>(const Privilege&) const = default;
};

struct Acl {
  std::string object;          // "TABLE public.t"
  std::string column;          // " (a)" or ""
  std::vector<Privilege> out;  // in the order in which they were given
  std::vector<Privilege> in;
};

constexpr const char* kRelationAcls = R"(
WITH pairs AS (SELECT * FROM unnest($1::oid[], $2::oid[]) AS p(o, i)), acls AS (
  SELECT p.i, '' AS col, c.relkind, side, coalesce(c.relacl,
           acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl
  FROM pairs p CROSS JOIN LATERAL (VALUES ('out', p.o), ('in', p.i)) AS s(side, oid)
  JOIN pg_class c ON c.oid = s.oid
  WHERE (SELECT o.relacl::text IS DISTINCT FROM n.relacl::text
         FROM pg_class o, pg_class n WHERE o.oid = p.o AND n.oid = p.i)
  UNION ALL
  SELECT p.i, quote_ident(a.attname), 'r', side, a.attacl
  FROM pairs p CROSS JOIN LATERAL (VALUES ('out', p.o), ('in', p.i)) AS s(side, oid)
  JOIN pg_attribute a ON a.attrelid = s.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
  -- A column that the other side lacks has nothing to be alike to.
  WHERE EXISTS (SELECT FROM pg_attribute x WHERE x.attrelid = p.i AND x.attname = a.attname
                AND NOT x.attisdropped))
SELECT a.i::regclass::text, a.relkind = 'S', a.col, a.side,
       CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(e.grantee)) END,
       e.privilege_type, e.is_grantable
FROM acls a CROSS JOIN LATERAL aclexplode(a.acl) WITH ORDINALITY
     AS e(grantor, grantee, privilege_type, is_grantable, place)
ORDER BY a.i, a.col, e.place)";

constexpr const char* kRoutineAcls = R"(
WITH acls AS (
  SELECT p.i, side, coalesce(c.proacl, acldefault('f', c.proowner)) AS acl
  FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
  CROSS JOIN LATERAL (VALUES ('out', p.o), ('in', p.i)) AS s(side, oid)
  JOIN pg_proc c ON c.oid = s.oid)
SELECT a.i::regprocedure::text, false, '', a.side,
       CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(e.grantee)) END,
       e.privilege_type, e.is_grantable
FROM acls a CROSS JOIN LATERAL aclexplode(a.acl) WITH ORDINALITY
     AS e(grantor, grantee, privilege_type, is_grantable, place)
ORDER BY a.i, e.place)";

constexpr const char* kTypeAcls = R"(
WITH acls AS (
  SELECT p.i, side, coalesce(c.typacl, acldefault('T', c.typowner)) AS acl
  FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
  CROSS JOIN LATERAL (VALUES ('out', p.o), ('in', p.i)) AS s(side, oid)
  JOIN pg_type c ON c.oid = s.oid AND c.typtype <> 'm')
SELECT a.i::regtype::text, false, '', a.side,
       CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(e.grantee)) END,
       e.privilege_type, e.is_grantable
FROM acls a CROSS JOIN LATERAL aclexplode(a.acl) WITH ORDINALITY
     AS e(grantor, grantee, privilege_type, is_grantable, place)
ORDER BY a.i, e.place)";

void Grants(db::Session& session, const char* query, const db::Params& pairs, const char* kind,
            Statements& statements) {
  std::map<std::pair<std::string, std::string>, Acl> acls;
  for (const db::Row& row : session.Query(query, pairs).rows) {
    Acl& acl = acls[{row[0].text, row[2].text}];
    acl.object = std::string(row[1].AsBool() ? "SEQUENCE" : kind) + " " + row[0].text;
    acl.column = row[2].text.empty() ? "" : " (" + row[2].text + ")";
    (row[3].text == "out" ? acl.out : acl.in)
        .push_back({row[4].text, row[5].text, row[6].AsBool()});
  }
  std::set<std::string> revoked;  // objects; what is revoked of a table goes with its columns, too
  for (const auto& [key, acl] : acls) {  // the object before its columns
    const std::set<Privilege> wanted(acl.out.begin(), acl.out.end());
    if (wanted == std::set<Privilege>(acl.in.begin(), acl.in.end()) &&
        !revoked.contains(acl.object)) {
      continue;
    }
    if (Sabotaged("swap-forgets-grant")) continue;
    std::set<std::string> grantees;
    for (const Privilege& privilege : acl.in) grantees.insert(privilege.grantee);
    if (acl.column.empty()) revoked.insert(acl.object);
    for (const std::string& grantee : grantees) {
      statements.Add("REVOKE ALL PRIVILEGES" + acl.column + " ON " + acl.object + " FROM " +
                     grantee);
    }
    for (const Privilege& privilege : acl.out) {
      statements.Add("GRANT " + privilege.name + acl.column + " ON " + acl.object + " TO " +
                     privilege.grantee + (privilege.grantable ? " WITH GRANT OPTION" : ""));
    }
  }
}

void Comments(db::Session& session, const db::Params& relations, Statements& statements) {
  for (const db::Row& row : session
                                .Query(R"(
WITH texts AS (
  SELECT p.o, p.i, a.attname, a.attnum AS n,
         coalesce((SELECT x.attnum FROM pg_attribute x WHERE x.attrelid = p.o
                   AND x.attname = a.attname AND NOT x.attisdropped), -1) AS m
  FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
  JOIN pg_attribute a ON a.attrelid = p.i AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT p.o, p.i, NULL, 0, 0 FROM unnest($1::oid[], $2::oid[]) AS p(o, i))
SELECT t.i::regclass::text, quote_ident(t.attname), d.description,
       CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                      WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END
FROM texts t
JOIN pg_class c ON c.oid = t.i
LEFT JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = t.o AND d.objsubid = t.m
LEFT JOIN pg_description e ON e.classoid = 'pg_class'::regclass AND e.objoid = t.i AND e.objsubid = t.n
WHERE d.description IS DISTINCT FROM e.description
  -- A column that is new keeps its own.
  AND t.m <> -1 AND NOT (c.relkind = 'S' AND t.n > 0)
ORDER BY t.i, t.n)",
                                       relations)
                                .rows) {
    const std::string on = row[1].is_null() ? row[3].text + " " + row[0].text
                                            : "COLUMN " + row[0].text + "." + row[1].text;
    statements.Add("COMMENT ON " + on + " IS " +
                   (row[2].is_null() ? "NULL" : db::QuoteLiteral(row[2].text)));
  }
}

void ReplicaIdentities(db::Session& session, const db::Params& relations, Statements& statements) {
  for (const db::Row& row : session
                                .Query(R"(
WITH sides AS (
  SELECT p.i, o.relreplident AS wanted, n.relreplident AS present,
         (SELECT c.relname FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
          WHERE x.indrelid = p.o AND x.indisreplident) AS wanted_index,
         (SELECT c.relname FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
          WHERE x.indrelid = p.i AND x.indisreplident) AS present_index
  FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
  JOIN pg_class o ON o.oid = p.o JOIN pg_class n ON n.oid = p.i
  WHERE n.relkind IN ('r', 'p'))
SELECT s.i::regclass::text, s.wanted, quote_ident(s.wanted_index) FROM sides s
WHERE s.wanted <> s.present OR s.wanted_index IS DISTINCT FROM s.present_index
ORDER BY s.i)",
                                       relations)
                                .rows) {
    const std::string& wanted = row[1].text;
    statements.Add("ALTER TABLE " + row[0].text + " REPLICA IDENTITY " +
                   (wanted == "f"                        ? "FULL"
                    : wanted == "n"                      ? "NOTHING"
                    : wanted == "i" && !row[2].is_null() ? "USING INDEX " + row[2].text
                                                         : "DEFAULT"));
  }
}

void RowSecurity(db::Session& session, const db::Params& relations, Statements& statements) {
  for (const db::Row& row : session
                                .Query(R"(
SELECT i.oid::regclass::text, o.relrowsecurity, o.relforcerowsecurity
FROM unnest($1::oid[], $2::oid[]) AS p(o, i)
JOIN pg_class o ON o.oid = p.o JOIN pg_class i ON i.oid = p.i
WHERE i.relkind IN ('r', 'p') AND (o.relrowsecurity, o.relforcerowsecurity)
      IS DISTINCT FROM (i.relrowsecurity, i.relforcerowsecurity)
ORDER BY p.i)",
                                       relations)
                                .rows) {
    statements.Add("ALTER TABLE " + row[0].text + (row[1].AsBool() ? " ENABLE" : " DISABLE") +
                   " ROW LEVEL SECURITY," + (row[2].AsBool() ? " FORCE" : " NO FORCE") +
                   " ROW LEVEL SECURITY");
  }
}

}  // namespace

std::vector<std::string> MakeAlike(db::Session& session, const std::vector<OidPair>& relations,
                                   const std::vector<OidPair>& routines, const Fidelity& fidelity,
                                   const std::vector<OidPair>& types) {
  Statements statements(session);
  const db::Params relation_arrays = Arrays(relations);
  const db::Params routine_arrays = Arrays(routines);
  Owners(session, relation_arrays, routine_arrays, Arrays(types),
         statements);  // first: grants follow the owner
  Grants(session, kRelationAcls, relation_arrays, "TABLE", statements);
  if (!routines.empty()) {
    Grants(session, kRoutineAcls, routine_arrays, "ROUTINE", statements);
  }
  if (!types.empty()) Grants(session, kTypeAcls, Arrays(types), "TYPE", statements);
  if (fidelity.comments) Comments(session, relation_arrays, statements);
  if (fidelity.replica_identity) ReplicaIdentities(session, relation_arrays, statements);
  if (fidelity.row_security) RowSecurity(session, relation_arrays, statements);
  statements.Flush();
  return statements.Take();
}

std::string PoliciesSql(db::Session& session, const std::vector<OidPair>& tables) {
  std::string sql;
  for (const db::Row& row : session
                                .Query(R"(
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(p.polname),
       p.polpermissive, p.polcmd,
       (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END,
                          ', ') FROM unnest(p.polroles) r),
       pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid),
       obj_description(p.oid, 'pg_policy')
FROM unnest($1::oid[], $2::oid[]) AS pair(o, i)
JOIN pg_policy p ON p.polrelid = pair.o
JOIN pg_class c ON c.oid = pair.o JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT EXISTS (SELECT FROM pg_policy x WHERE x.polrelid = pair.i AND x.polname = p.polname)
ORDER BY 1, 2)",
                                       Arrays(tables))
                                .rows) {
    const std::string on = row[1].text + " ON " + row[0].text;
    const std::string& command = row[3].text;
    sql += "CREATE POLICY " + on + (row[2].AsBool() ? "" : " AS RESTRICTIVE") +
           (command == "r"   ? " FOR SELECT"
            : command == "a" ? " FOR INSERT"
            : command == "w" ? " FOR UPDATE"
            : command == "d" ? " FOR DELETE"
                             : "") +
           " TO " + row[4].text;
    if (!row[5].is_null()) sql += " USING (" + row[5].text + ")";
    if (!row[6].is_null()) sql += " WITH CHECK (" + row[6].text + ")";
    sql += ";\n";
    if (!row[7].is_null()) {
      sql += "COMMENT ON POLICY " + on + " IS " + db::QuoteLiteral(row[7].text) + ";\n";
    }
  }
  return sql;
}

std::vector<PublicationChange> PublicationChanges(db::Session& session,
                                                  const std::vector<OidPair>& tables) {
  std::vector<PublicationChange> changes;
  // Column lists and row filters came with 15.
  const bool filters = session.Server().major() >= 15;
  for (const db::Row& row : session
                                .Query(std::string(R"(
SELECT quote_ident(u.pubname), pair.o, quote_ident(n.nspname) || '.' || quote_ident(c.relname),)") +
                                           (filters ? R"(
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = pair.o AND a.attnum = ANY (r.prattrs::int2[])),
       pg_get_expr(r.prqual, r.prrelid))"
                                                    : "NULL, NULL") +
                                           R"(
FROM unnest($1::oid[], $2::oid[]) AS pair(o, i)
JOIN pg_publication_rel r ON r.prrelid = pair.o
JOIN pg_publication u ON u.oid = r.prpubid
JOIN pg_class c ON c.oid = pair.o JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 3)",
                                       Arrays(tables))
                                .rows) {
    PublicationChange change;
    change.publication = row[0].text;
    change.table = row[2].text;
    change.out = static_cast<std::uint32_t>(row[1].AsInteger());
    change.add = "ALTER PUBLICATION " + row[0].text + " ADD TABLE ONLY " + row[2].text +
                 (row[3].is_null() ? "" : " (" + row[3].text + ")") +
                 (row[4].is_null() ? "" : " WHERE (" + row[4].text + ")") + ";";
    changes.push_back(std::move(change));
  }
  return changes;
}

}  // namespace understudy::table_swap
