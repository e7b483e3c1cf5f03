#include "engine/table_swap/dependents.h"

#include <map>

#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "engine/table_swap/lost_operators.h"

namespace understudy::table_swap {
namespace {

// $1: the classes, $2: the OIDs of the set. `members` is the set with all that lives and dies with
// it (indexes, constraints, row types, owned sequences, defaults, triggers, policies); `outside` is
// what else points at one of them. A table is never a member by its dependence alone: a partition
// depends on its parent as a part of it, and holds rows of users. PostgreSQL manual, 51.18
// pg_depend.
constexpr const char* kOutside = R"(
WITH RECURSIVE members AS (
  SELECT unnest($1::oid[]) AS classid, unnest($2::oid[]) AS objid
  UNION
  SELECT d.classid, d.objid
  FROM members m
  JOIN pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid
  WHERE d.deptype IN ('i', 'a', 'P', 'S')
    AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (
          SELECT FROM pg_class c WHERE c.oid = d.objid AND c.relkind IN ('r', 'p', 'f')))
), outside AS (
  SELECT DISTINCT d.classid, d.objid
  FROM members m
  JOIN pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid
  WHERE (d.deptype NOT IN ('i', 'a', 'P', 'S', 'e')
         OR (d.deptype = 'a' AND d.classid = 'pg_class'::regclass AND EXISTS (
               SELECT FROM pg_class c WHERE c.oid = d.objid AND c.relkind IN ('r', 'p', 'f'))))
    AND NOT EXISTS (SELECT FROM members x WHERE x.classid = d.classid AND x.objid = d.objid)
)
)";

std::uint32_t ClassOf(const std::map<std::string, std::uint32_t>& classes, const Movable& object) {
  const std::string& kind = object.kind;
  const char* name = "pg_class";
  if (kind == "FUNCTION" || kind == "PROCEDURE" || kind == "AGGREGATE") name = "pg_proc";
  if (kind == "TYPE" || kind == "DOMAIN") name = "pg_type";
  if (kind == "STATISTICS") name = "pg_statistic_ext";
  if (kind == "OPERATOR") name = "pg_operator";
  if (kind == "OPERATOR CLASS") name = "pg_opclass";
  if (kind == "OPERATOR FAMILY") name = "pg_opfamily";
  if (kind == "COLLATION") name = "pg_collation";
  if (kind == "CONVERSION") name = "pg_conversion";
  if (kind == "TEXT SEARCH CONFIGURATION") name = "pg_ts_config";
  if (kind == "TEXT SEARCH DICTIONARY") name = "pg_ts_dict";
  if (kind == "TEXT SEARCH PARSER") name = "pg_ts_parser";
  if (kind == "TEXT SEARCH TEMPLATE") name = "pg_ts_template";
  return classes.at(name);
}

// The OIDs of `outside`, by the catalog that they stand in, as arrays.
using Outside = std::map<std::string, db::Value>;

db::Params SetParameters(db::Session& session, const std::vector<Movable>& set) {
  std::map<std::string, std::uint32_t> classes;
  for (const db::Row& row :
       session
           .Query("SELECT relname, oid FROM pg_class WHERE relname ~ '^pg_' "
                  "AND relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'")
           .rows) {
    classes[row[0].text] = static_cast<std::uint32_t>(row[1].AsInteger());
  }
  std::string class_list = "{";
  std::string oid_list = "{";
  for (const Movable& object : set) {
    if (oid_list.size() > 1) {
      class_list += ',';
      oid_list += ',';
    }
    class_list += std::to_string(ClassOf(classes, object));
    oid_list += std::to_string(object.oid);
  }
  return {db::Value::Text(class_list + "}"), db::Value::Text(oid_list + "}")};
}

Outside FindOutside(db::Session& session, const db::Params& set) {
  Outside outside;
  for (const db::Row& row :
       session
           .Query(std::string(kOutside) +
                      "SELECT classid::regclass::text, array_agg(objid ORDER BY objid)::text "
                      "FROM outside GROUP BY classid",
                  set)
           .rows) {
    const std::size_t dot = row[0].text.find('.');
    outside[dot == std::string::npos ? row[0].text : row[0].text.substr(dot + 1)] = row[1];
  }
  return outside;
}

std::string Comment(const std::string& on, const db::Value& text) {
  return text.is_null() ? "" : "COMMENT ON " + on + " IS " + db::QuoteLiteral(text.text) + ";";
}

std::string SelectKeys() {
  return R"(
SELECT n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid), c.relkind = 'p',
  k.convalidated, obj_description(k.oid, 'pg_constraint'), rn.nspname, rc.relname,
  )" + KeyPartsSql("k", "c", "rc") +
         R"(
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class rc ON rc.oid = k.confrelid JOIN pg_namespace rn ON rn.oid = rc.relnamespace
)";
}

Dependent KeyOf(const db::Row& row) {
  const db::TableName table{row[0].text, row[1].text};
  const KeyText text{
      table,           row[2].text,     row[3].text,          row[6].TextOr(""),
      row[5].AsBool(), row[4].AsBool(), KeyPartsFrom(row[9]), {row[7].text, row[8].text}};
  Dependent key;
  key.kind = "foreign key";
  key.object = db::DisplayIdentifier(row[2].text) + " on " + table.Display();
  key.table = table;
  key.detach =
      "ALTER TABLE " + table.Quoted() + " DROP CONSTRAINT " + db::QuoteIdentifier(text.name) + ";";
  key.attach = AttachKeySql(text);
  key.finish = FinishOf(text);
  return key;
}

// --- one function per class of outside objects ---

void AddKeys(db::Session& session, const db::Value& oids, Dependents& found) {
  for (const db::Row& row :
       session
           .Query(SelectKeys() + "WHERE k.oid = ANY ($1::oid[]) AND k.contype = 'f' "
                                 "AND k.conparentid = 0 "
                                 "ORDER BY n.nspname, c.relname, k.conname",
                  {oids})
           .rows) {
    found.rebuilt.push_back(KeyOf(row));
  }
}

void AddRules(db::Session& session, const db::Value& oids, Dependents& found) {
  const db::Result result = session.Query(
      R"(
SELECT n.nspname, c.relname, c.relkind, r.rulename, r.ev_type,
       CASE WHEN c.relkind = 'v' AND r.ev_type = '1' THEN pg_get_viewdef(c.oid)
            ELSE pg_get_ruledef(r.oid) END,
       array_to_string(c.reloptions, ', '), r.ev_enabled
FROM pg_rewrite r
JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.oid = ANY ($1::oid[])
ORDER BY c.oid, r.rulename)",
      {oids});
  for (const db::Row& row : result.rows) {
    const db::TableName name{row[0].text, row[1].text};
    if (row[2].text == "m") {
      found.refused.push_back(
          {"materialized view " + name.Display(),
           "it reads tables that are to be exchanged and cannot be rebuilt in one moment: drop it "
           "before and create it again after, or let the new schema have it too"});
      continue;
    }
    Dependent dependent;
    dependent.table = name;
    if (row[4].text == "1") {
      dependent.kind = "view";
      dependent.object = name.Display();
      dependent.attach = "CREATE OR REPLACE VIEW " + name.Quoted() +
                         (row[6].is_null() ? "" : " WITH (" + row[6].text + ")") + " AS " +
                         row[5].text;
    } else {
      dependent.kind = "rule";
      dependent.object = db::DisplayIdentifier(row[3].text) + " on " + name.Display();
      std::string definition = row[5].text;  // CREATE RULE …
      dependent.attach = "CREATE OR REPLACE" + definition.substr(6);
    }
    if (!dependent.attach.ends_with(";")) dependent.attach += ";";
    found.rebuilt.push_back(std::move(dependent));
  }
}

void AddPolicies(db::Session& session, const db::Value& oids, Dependents& found) {
  const db::Result result = session.Query(
      R"(
SELECT n.nspname, c.relname, p.polname, pg_get_expr(p.polqual, p.polrelid),
       pg_get_expr(p.polwithcheck, p.polrelid)
FROM pg_policy p
JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.oid = ANY ($1::oid[])
ORDER BY 1, 2, 3)",
      {oids});
  for (const db::Row& row : result.rows) {
    const db::TableName name{row[0].text, row[1].text};
    std::string sql = "ALTER POLICY " + db::QuoteIdentifier(row[2].text) + " ON " + name.Quoted();
    if (!row[3].is_null()) sql += " USING (" + row[3].text + ")";
    if (!row[4].is_null()) sql += " WITH CHECK (" + row[4].text + ")";
    found.rebuilt.push_back({"policy", db::DisplayIdentifier(row[2].text) + " on " + name.Display(),
                             name, "", sql + ";"});
  }
}

void AddDefaults(db::Session& session, const db::Value& oids, Dependents& found) {
  const db::Result result = session.Query(
      R"(
SELECT n.nspname, c.relname, a.attname, pg_get_expr(d.adbin, d.adrelid), a.attgenerated <> ''
FROM pg_attrdef d
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
JOIN pg_class c ON c.oid = d.adrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.oid = ANY ($1::oid[])
ORDER BY 1, 2, 3)",
      {oids});
  for (const db::Row& row : result.rows) {
    const db::TableName name{row[0].text, row[1].text};
    const std::string column = name.Display() + "." + db::DisplayIdentifier(row[2].text);
    if (row[4].AsBool()) {
      found.refused.push_back(
          {"generated column " + column,
           "it is computed by a function that is to be exchanged: its table would have to be "
           "rewritten; let \"schemas\" take its schema in, or leave the function as it is"});
      continue;
    }
    found.rebuilt.push_back({"default", column, name, "",
                             "ALTER TABLE " + name.Quoted() + " ALTER COLUMN " +
                                 db::QuoteIdentifier(row[2].text) + " SET DEFAULT " + row[3].text +
                                 ";"});
  }
}

void AddTriggers(db::Session& session, const db::Value& oids, Dependents& found) {
  // Those of partitions go and come with their table's; until 15 they were internal. They may be
  // in a state of their own.
  const db::Result result = session.Query(
      std::string(R"(
SELECT n.nspname, c.relname, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled,
       obj_description(t.oid, 'pg_trigger'),
       (SELECT string_agg(format('ALTER TABLE ONLY %s %s TRIGGER %I;', p.tgrelid::regclass,
                                 CASE p.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS'
                                      WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE' END, p.tgname),
                          '' ORDER BY p.oid)
        FROM pg_partition_tree(t.tgrelid) m JOIN pg_trigger p ON p.tgrelid = m.relid
        WHERE p.tgname = t.tgname AND p.tgrelid <> t.tgrelid AND p.tgenabled <> t.tgenabled)
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.oid = ANY ($1::oid[]) AND NOT t.tgisinternal)") +
          (session.Server().major() >= 15 ? " AND t.tgparentid = 0" : "") + " ORDER BY 1, 2, 3",
      {oids});
  for (const db::Row& row : result.rows) {
    const db::TableName name{row[0].text, row[1].text};
    const std::string trigger = db::QuoteIdentifier(row[2].text);
    const std::string alter = "ALTER TABLE " + name.Quoted();
    std::string attach = row[3].text + ";";
    if (row[4].text == "D") attach += alter + " DISABLE TRIGGER " + trigger + ";";
    if (row[4].text == "A") attach += alter + " ENABLE ALWAYS TRIGGER " + trigger + ";";
    if (row[4].text == "R") attach += alter + " ENABLE REPLICA TRIGGER " + trigger + ";";
    attach += row[6].TextOr("");
    attach += Comment("TRIGGER " + trigger + " ON " + name.Quoted(), row[5]);
    found.rebuilt.push_back(
        {"trigger", db::DisplayIdentifier(row[2].text) + " on " + name.Display(), name,
         "DROP TRIGGER " + trigger + " ON " + name.Quoted() + ";", std::move(attach)});
  }
}

void AddFunctions(db::Session& session, const db::Params& set, Dependents& found) {
  // A body of SQL text (BEGIN ATOMIC, PostgreSQL 14) is read again; a signature cannot be changed.
  const bool has_bodies = session.Server().major() >= 14;
  const db::Result result = session.Query(
      std::string(kOutside) + "SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid), " +
          (has_bodies ? "p.prosqlbody IS NOT NULL" : "false") + R"( AND NOT EXISTS (
         SELECT FROM members m JOIN pg_type t ON t.oid = m.objid
         WHERE m.classid = 'pg_type'::regclass
           AND (t.oid = ANY (p.proargtypes::oid[]) OR t.oid = ANY (coalesce(p.proallargtypes, '{}'))
                OR t.oid = p.prorettype))
FROM outside o
JOIN pg_proc p ON p.oid = o.objid AND o.classid = 'pg_proc'::regclass
WHERE p.prokind <> 'a'
ORDER BY 1)",
      set);
  for (const db::Row& row : result.rows) {
    if (!row[2].AsBool()) {
      found.refused.push_back(
          {"function " + row[0].text,
           "the row type of a table that is to be exchanged is in its signature: drop it before "
           "and create it again after, or let \"schemas\" take its schema in"});
      continue;
    }
    found.rebuilt.push_back({"function", row[0].text, {}, "", row[1].text + ";"});
  }
}

void AddTheRest(db::Session& session, const db::Params& set, Dependents& found) {
  const db::Result result = session.Query(std::string(kOutside) + R"(
SELECT i.type, i.identity
FROM outside o CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) i
WHERE NOT (o.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_attrdef'::regclass,
                         'pg_trigger'::regclass, 'pg_publication_rel'::regclass)
           OR (o.classid = 'pg_constraint'::regclass
               AND EXISTS (SELECT FROM pg_constraint k WHERE k.oid = o.objid AND k.contype = 'f'))
           OR (o.classid = 'pg_proc'::regclass
               AND EXISTS (SELECT FROM pg_proc p WHERE p.oid = o.objid AND p.prokind <> 'a')))
ORDER BY 1, 2)",
                                          set);
  for (const db::Row& row : result.rows) {
    found.refused.push_back(
        {row[0].text + " " + row[1].text,
         "it is outside of what is exchanged and depends on it, and understudy cannot rebuild it: "
         "drop it before and create it again after, or let \"schemas\" take its schema in"});
  }
}

// They would be rebuilt as something else.
void AddLost(db::Session& session, const db::Params& set, Dependents& found) {
  const db::Row outside = session
                              .Query(std::string(kOutside) +
                                         "SELECT coalesce(array_agg(classid), '{}')::text, "
                                         "coalesce(array_agg(objid), '{}')::text FROM outside",
                                     set)
                              .rows.at(0);
  for (Unmovable& one : LostOperators(session, outside[0], outside[1])) {
    found.refused.push_back(std::move(one));
  }
}

}  // namespace

Dependents FindDependents(db::Session& session, const std::vector<Movable>& set) {
  Dependents found;
  const db::Params parameters = SetParameters(session, set);
  const Outside outside = FindOutside(session, parameters);
  const auto some = [&](const char* catalog) { return outside.contains(catalog); };
  if (some("pg_trigger")) AddTriggers(session, outside.at("pg_trigger"), found);
  if (some("pg_attrdef")) AddDefaults(session, outside.at("pg_attrdef"), found);
  if (some("pg_policy")) AddPolicies(session, outside.at("pg_policy"), found);
  if (some("pg_proc")) AddFunctions(session, parameters, found);
  if (some("pg_rewrite")) AddRules(session, outside.at("pg_rewrite"), found);
  if (some("pg_constraint")) AddKeys(session, outside.at("pg_constraint"), found);
  if (!outside.empty()) AddTheRest(session, parameters, found);
  if (!outside.empty()) AddLost(session, parameters, found);
  return found;
}

std::vector<std::string> StillDepending(db::Session& session, const std::vector<Movable>& set) {
  std::vector<std::string> all;
  for (const db::Row& row :
       session
           .Query(std::string(kOutside) +
                      "SELECT DISTINCT i.type || ' ' || i.identity FROM outside o "
                      "LEFT JOIN pg_rewrite r ON o.classid = 'pg_rewrite'::regclass "
                      "AND r.oid = o.objid AND r.rulename = '_RETURN' "
                      // Of a view its rule depends; people know the view.
                      "CROSS JOIN LATERAL pg_identify_object("
                      "CASE WHEN r.oid IS NULL THEN o.classid ELSE 'pg_class'::regclass::oid END, "
                      "coalesce(r.ev_class, o.objid), 0) i "
                      "WHERE o.classid <> 'pg_publication_rel'::regclass ORDER BY 1",
                  SetParameters(session, set))
           .rows) {
    all.push_back(row[0].text);
  }
  return all;
}

std::vector<ColumnUse> ColumnsUsedOutside(db::Session& session, const std::vector<Movable>& set) {
  std::vector<ColumnUse> uses;
  for (const db::Row& row :
       session
           .Query(std::string(kOutside) +
                      "SELECT DISTINCT i.type, i.identity, n.nspname, c.relname, a.attname, "
                      "o.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass), "
                      "EXISTS (SELECT FROM pg_depend t JOIN members x ON x.classid = t.refclassid "
                      "AND x.objid = t.refobjid WHERE t.classid = o.classid AND t.objid = o.objid "
                      "AND (x.classid = 'pg_type'::regclass OR (x.classid = 'pg_class'::regclass "
                      "AND EXISTS (SELECT FROM pg_class k WHERE k.oid = x.objid "
                      "AND k.relkind = 'c')))) "
                      "FROM outside o JOIN pg_depend d ON d.classid = o.classid AND d.objid = "
                      "o.objid AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 "
                      "JOIN members m ON m.classid = d.refclassid AND m.objid = d.refobjid "
                      "JOIN pg_class c ON c.oid = d.refobjid "
                      "JOIN pg_namespace n ON n.oid = c.relnamespace "
                      "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid "
                      "LEFT JOIN pg_rewrite r ON o.classid = 'pg_rewrite'::regclass "
                      "AND r.oid = o.objid AND r.rulename = '_RETURN' "
                      "CROSS JOIN LATERAL pg_identify_object("
                      "CASE WHEN r.oid IS NULL THEN o.classid ELSE 'pg_class'::regclass::oid END, "
                      "coalesce(r.ev_class, o.objid), 0) i "
                      "WHERE c.relkind IN ('r', 'p') ORDER BY 1, 2, 3, 4, 5",
                  SetParameters(session, set))
           .rows) {
    uses.push_back({row[0].text + " " + row[1].text,
                    {row[2].text, row[3].text},
                    row[4].text,
                    row[5].AsBool(),
                    row[6].AsBool()});
  }
  return uses;
}

std::set<std::string> TypeParts(db::Session& session, catalog::Oid table,
                                const std::string& column) {
  std::set<std::string> parts;
  for (const db::Row& row : session
                                .Query(R"(
WITH RECURSIVE t AS (
  SELECT atttypid AS oid FROM pg_attribute WHERE attrelid = $1::oid AND attname = $2
  UNION
  SELECT CASE y.typtype WHEN 'd' THEN y.typbasetype ELSE y.typelem END
  FROM t JOIN pg_type y ON y.oid = t.oid
  WHERE y.typtype = 'd' OR (y.typelem <> 0 AND y.typlen = -1)
)
SELECT quote_literal(e.enumlabel) FROM t JOIN pg_enum e ON e.enumtypid = t.oid
UNION ALL
SELECT quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
FROM t JOIN pg_type y ON y.oid = t.oid JOIN pg_attribute a ON a.attrelid = y.typrelid
WHERE a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT format_type(r.rngsubtype, NULL) FROM t JOIN pg_range r ON r.rngtypid = t.oid)",
                                       {db::Value::Integer(table), db::Value::Text(column)})
                                .rows) {
    parts.insert(row[0].text);
  }
  return parts;
}

std::optional<Unmovable> Unfit(const ColumnUse& use, const catalog::Column& before,
                               const catalog::Column* after, const std::set<std::string>& lost) {
  std::string why;
  if (after == nullptr) {
    why = ", which the new table does not have";
  } else if (!use.by_type) {
    return std::nullopt;
  } else if (after->type != before.type) {
    why = ", which becomes " + after->type;
  } else if (after->base_type != before.base_type) {
    why = ", which becomes " + after->type + " over " + after->base_type;
  } else if (use.names_types && !lost.empty()) {
    why = ", whose type will be without " + *lost.begin();
  } else {
    return std::nullopt;
  }
  return Unmovable{use.object,
                   "it reads " + use.table.Display() + "." + db::DisplayIdentifier(use.column) +
                       why +
                       ", and cannot be made again on it: drop it before and create it again "
                       "after, or let \"schemas\" take its schema in"};
}

std::vector<Dependent> FindOutbound(db::Session& session, const std::vector<Movable>& set,
                                    bool inner_too) {
  std::vector<Dependent> keys;
  std::string oids = "{";
  for (const Movable& object : set) {
    if (object.kind != "TABLE") continue;
    oids += (oids.size() > 1 ? "," : "") + std::to_string(object.oid);
  }
  for (const db::Row& row :
       session
           .Query(SelectKeys() +
                      "WHERE k.contype = 'f' AND k.conparentid = 0 "
                      "AND k.conrelid = ANY ($1::oid[]) AND ($2::boolean OR NOT k.confrelid = ANY "
                      "($1::oid[])) "
                      "ORDER BY 1, 2, 3",
                  {db::Value::Text(oids + "}"), db::Value::Text(inner_too ? "t" : "f")})
           .rows) {
    Dependent key = KeyOf(row);
    key.table = {row[7].text, row[8].text};
    keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace understudy::table_swap
