#include "engine/table_swap/access.h"

#include <algorithm>

#include "engine/db/identifier.h"
#include "engine/table_swap/post_items.h"

namespace understudy::table_swap {
namespace {

// $1: the schemas. One row per privilege, and one per object without any.
constexpr const char* kAccess = R"(
WITH spaces AS (
  SELECT oid, nspname::text AS name FROM pg_namespace WHERE nspname = ANY ($1::text[])
), objects AS (
  SELECT 'pg_class'::regclass AS class, c.oid,
         CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, s.name AS schema,
         c.oid::regclass::text AS identity, c.relowner AS owner, c.relacl AS acl,
         acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner) AS usual,
         c.relkind = 'S' AND EXISTS (
           SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
             AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')) AS follows
  FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  UNION ALL
  SELECT 'pg_proc'::regclass, p.oid, 'ROUTINE', s.name, p.oid::regprocedure::text, p.proowner,
         p.proacl, acldefault('f', p.proowner), false
  FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
  UNION ALL
  SELECT 'pg_type'::regclass, t.oid, 'TYPE', s.name, t.oid::regtype::text, t.typowner, t.typacl,
         acldefault('T', t.typowner), false
  FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
  WHERE (t.typrelid = 0 OR (SELECT c.relkind FROM pg_class c WHERE c.oid = t.typrelid) = 'c')
    AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
    AND t.typtype IN ('b', 'c', 'd', 'e', 'r')
)
SELECT o.kind, o.oid, o.schema, o.identity, o.follows, quote_ident(pg_get_userbyid(o.owner)),
       obj_description(o.oid, (SELECT relname FROM pg_class WHERE oid = o.class)), g.usual, g.col,
       CASE g.grantee WHEN o.owner THEN '' WHEN 0 THEN 'PUBLIC'
                      ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
       g.privilege_type, g.is_grantable
FROM objects o
LEFT JOIN LATERAL (
  SELECT false AS usual, '' AS col, e.* FROM aclexplode(coalesce(o.acl, o.usual)) e
  UNION ALL SELECT true, '', e.* FROM aclexplode(o.usual) e
  UNION ALL SELECT false, quote_ident(a.attname), e.*
  FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) e
  WHERE o.kind = 'TABLE' AND a.attrelid = o.oid AND NOT a.attisdropped
) g ON true
WHERE NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e'))";

constexpr const char* kDefaultAcls = R"(
SELECT quote_ident(pg_get_userbyid(d.defaclrole)), coalesce(n.nspname, ''),
       CASE d.defaclobjtype WHEN 'r' THEN 'TABLE' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'ROUTINE'
                            WHEN 'T' THEN 'TYPE' ELSE '' END,
       CASE e.grantee WHEN d.defaclrole THEN '' WHEN 0 THEN 'PUBLIC'
                      ELSE quote_ident(pg_get_userbyid(e.grantee)) END,
       e.privilege_type, e.is_grantable
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
LEFT JOIN LATERAL aclexplode(d.defaclacl) e ON true)";

std::set<Grant> Without(const std::set<Grant>& some, const std::set<Grant>& others) {
  std::set<Grant> rest;
  std::ranges::set_difference(some, others, std::inserter(rest, rest.end()));
  return rest;
}

std::string Privilege(const Grant& grant) {
  return grant.privilege + (grant.column.empty() ? "" : " (" + grant.column + ")");
}

std::string GrantSql(const Grant& grant, const AccessOf& object, const std::string& identity,
                     const std::string& owner) {
  return "GRANT " + Privilege(grant) + " ON " + object.kind + " " + identity + " TO " +
         (grant.grantee.empty() ? owner : grant.grantee) +
         (grant.grantable ? " WITH GRANT OPTION" : "");
}

std::string Address(const AccessOf& object) {
  return object.kind + " " + std::to_string(object.oid);
}

// As an AccessOf calls it.
std::string KindOf(const Movable& object) {
  if (object.IsRoutine()) return "ROUTINE";
  if (object.kind == "SEQUENCE") return "SEQUENCE";
  if (object.kind == "TYPE" || object.kind == "DOMAIN") return "TYPE";
  return "TABLE";
}

// What production gives to what is new.
class Defaults {
 public:
  Defaults(db::Session& target, const Settings& settings) {
    me_ = target.Scalar("SELECT quote_ident(current_user)").text;
    for (const db::Row& row : target.Query(kDefaultAcls).rows) {
      std::set<Grant>& grants = grants_[row[0].text + "." + row[1].text + "." + row[2].text];
      if (row[4].is_null()) continue;
      grants.insert({"", row[3].text, row[4].text, row[5].AsBool()});
      // What the target gives of itself to what we make there.
      if (row[0].text == me_ && row[1].text.empty() && !row[3].text.empty()) {
        given_[row[2].text].insert(row[3].text);
      }
    }
    // New tables belong to whom production's belong, where that is one role.
    for (const db::Row& row :
         target
             .Query("SELECT n.nspname, min(quote_ident(pg_get_userbyid(c.relowner))) "
                    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                    "WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY ($1::text[]) AND NOT EXISTS "
                    "(SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = "
                    "c.oid AND d.deptype = 'e') GROUP BY 1 HAVING count(DISTINCT c.relowner) = 1",
                    {db::TextArray(settings.schemas)})
             .rows) {
      owners_[row[0].text] = row[1].text;
    }
  }
  const std::string& me() const { return me_; }
  const std::string& OwnerIn(const std::string& schema) const {
    const auto it = owners_.find(schema);
    return it == owners_.end() ? me_ : it->second;
  }
  std::set<Grant> For(const AccessOf& object, const std::string& owner) const {
    std::set<Grant> grants = object.usual;
    if (const auto all = grants_.find(owner + ".." + object.kind); all != grants_.end()) {
      grants = all->second;  // in place of the usual ones
    }
    const auto more = grants_.find(owner + "." + object.schema + "." + object.kind);
    if (more != grants_.end()) grants.insert(more->second.begin(), more->second.end());
    return grants;
  }
  const std::set<std::string>& GivenToMine(const std::string& kind) const {
    static const std::set<std::string> none;
    const auto it = given_.find(kind);
    return it == given_.end() ? none : it->second;
  }

 private:
  std::string me_;
  std::map<std::string, std::string> owners_;
  std::map<std::string, std::set<Grant>> grants_;       // role.schema.kind
  std::map<std::string, std::set<std::string>> given_;  // kind → grantees
};

}  // namespace

Access ReadAccess(db::Session& session, const std::vector<std::string>& schemas) {
  Access access;
  for (const db::Row& row : session.Query(kAccess, {db::TextArray(schemas)}).rows) {
    AccessOf& object = access[row[0].text + " " + row[3].text];
    object.kind = row[0].text;
    object.oid = static_cast<std::uint32_t>(row[1].AsInteger());
    object.schema = row[2].text;
    object.identity = row[3].text;
    object.follows = row[4].AsBool();
    object.owner = row[5].text;
    object.comment = row[6].TextOr("");
    if (row[7].is_null()) continue;  // nobody may do anything
    (row[7].AsBool() ? object.usual : object.grants)
        .insert({row[8].text, row[9].text, row[10].text, row[11].AsBool()});
  }
  return access;
}

std::set<std::string> ReadDefaults(db::Session& session, const std::vector<std::string>& schemas) {
  std::set<std::string> all;
  for (const db::Row& row :
       session
           .Query("SELECT format('the default privileges of %s%s', pg_get_userbyid(d.defaclrole), "
                  "' in the schema ' || n.nspname), concat(d.defaclobjtype, d.defaclacl) "
                  "FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace "
                  "UNION ALL SELECT 'the schema ' || nspname, concat(nspowner, nspacl) "
                  "FROM pg_namespace WHERE nspname = ANY ($1::text[])",
                  {db::TextArray(schemas)})
           .rows) {
    all.insert(row[0].text + "\n" + row[1].text);
  }
  return all;
}

void BringGrants(const Access& production, db::Session& scratch) {
  std::string sql;
  for (const auto& [key, object] : production) {
    if (object.grants == object.usual) continue;
    sql += "REVOKE ALL ON " + object.kind + " " + object.identity + " FROM PUBLIC, CURRENT_USER;\n";
    for (const Grant& grant : object.grants) {
      sql += GrantSql(grant, object, object.identity, "CURRENT_USER") + ";\n";
    }
  }
  if (!sql.empty()) scratch.Execute(sql);
}

void RefuseAccess(const AccessHistory& history, SetDecision& decision) {
  if (history.before.empty()) return;
  std::set<std::string> exchanged;
  std::set<std::string> others;
  for (const Movable& object : decision.moved) {
    exchanged.insert(KindOf(object) + " " + std::to_string(object.oid));
  }
  for (const Movable& object : decision.shared) {
    others.insert(KindOf(object) + " " + std::to_string(object.oid));
  }
  for (const auto& [key, now] : history.after) {
    const auto before = history.before.find(key);
    if (before == history.before.end() || before->second.oid != now.oid) continue;
    const bool stays =
        others.contains(Address(now)) || (now.kind == "TABLE" && !exchanged.contains(Address(now)));
    if (!stays || (before->second.owner == now.owner && before->second.grants == now.grants &&
                   before->second.comment == now.comment)) {
      continue;
    }
    decision.refused.push_back({now.kind + " " + now.identity,
                                "the files change its owner, grants or comment, and it is not "
                                "exchanged: make that change in production itself"});
  }
  std::set<std::string> told;
  const auto tell = [&](const std::set<std::string>& some, const std::set<std::string>& more) {
    for (const std::string& text : some) {
      const std::string object = text.substr(0, text.find('\n'));
      if (more.contains(text) || !told.insert(object).second) continue;
      decision.refused.push_back(
          {object,
           "the files change it, which is no part of what is exchanged: make that change "
           "in production itself, and take it out of the files"});
    }
  };
  tell(history.defaults_after, history.defaults_before);
  tell(history.defaults_before, history.defaults_after);
}

std::vector<std::string> AccessStatements(const AccessHistory& history, db::Session& scratch,
                                          db::Session& target, const Settings& settings) {
  const Defaults defaults(target, settings);
  std::map<std::string, std::string> stands;  // address → identity in the shadow
  for (const auto& [key, object] : ReadAccess(scratch, ShadowSchemas(settings))) {
    stands[Address(object)] = object.identity;
  }
  std::vector<std::string> statements;
  std::vector<std::string> later;  // sequences of columns have their table's owner by then
  for (const auto& [key, now] : history.after) {
    const auto it = stands.find(Address(now));
    if (it == stands.end()) continue;
    const std::string& identity = it->second;
    const auto production = history.production.find(key);
    const bool is_new = production == history.production.end();
    if (!is_new && history.before.empty()) continue;
    const auto before = history.before.find(key);
    const bool same = before != history.before.end() && before->second.oid == now.oid;
    const bool told = now.owner != (same ? before->second.owner : defaults.me());
    const std::string& owner = told     ? now.owner
                               : is_new ? defaults.OwnerIn(now.schema)
                                        : production->second.owner;
    if ((is_new || told) && !now.follows && owner != defaults.me()) {
      statements.push_back("GRANT USAGE, CREATE ON SCHEMA " +
                           db::QuoteIdentifier(NamesBeside(now.schema).shadow) + " TO " + owner);
      statements.push_back("ALTER " + (now.kind == "SEQUENCE" ? "TABLE" : now.kind) + " " +
                           identity + " OWNER TO " + owner);
    }
    const std::string on = " ON " + now.kind + " " + identity;
    if (is_new) {
      std::set<Grant> wanted = defaults.For(now, owner);
      wanted.merge(Without(now.grants, now.usual));
      wanted = Without(wanted, Without(now.usual, now.grants));
      const auto& given = defaults.GivenToMine(now.kind);
      if (wanted == now.usual && given.empty()) continue;
      std::string revoke = "REVOKE ALL" + on + " FROM PUBLIC, " + owner;
      for (const std::string& role : given) revoke += role == "PUBLIC" ? "" : ", " + role;
      later.push_back(revoke);
      for (const Grant& grant : wanted) later.push_back(GrantSql(grant, now, identity, owner));
      continue;
    }
    const std::set<Grant>& was = same ? before->second.grants : now.usual;
    if (same) {
      for (const Grant& grant : Without(was, now.grants)) {
        later.push_back("REVOKE " + Privilege(grant) + on + " FROM " +
                        (grant.grantee.empty() ? owner : grant.grantee));
      }
    }
    for (const Grant& grant : Without(now.grants, was)) {
      later.push_back(GrantSql(grant, now, identity, owner));
    }
  }
  std::ranges::move(later, std::back_inserter(statements));
  return statements;
}

}  // namespace understudy::table_swap
