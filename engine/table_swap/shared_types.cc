#include "engine/table_swap/shared_types.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "engine/base/error.h"
#include "engine/core/journal.h"
#include "engine/db/identifier.h"
#include "engine/table_swap/lost_operators.h"

namespace understudy::table_swap {
namespace {

using Address = std::pair<std::uint32_t, std::uint32_t>;  // class, oid

std::uint32_t Oid(const db::Value& value) { return static_cast<std::uint32_t>(value.AsInteger()); }

// A text per object that is the same on both sides when the object is, whatever its OID and the
// server's major (a plan looks at the source itself). Kinds that always move (tables, views) have
// none. $1: the schemas. Values (of sequences), owners, grants and comments are no part of it.
std::string DefinitionsSql(int major, int other_major) {
  const auto collation = [](const std::string& oid) {  // regcollation came with 13
    return "(SELECT format('%I.%I', n.nspname, l.collname) FROM pg_collation l "
           "JOIN pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = " +
           oid + ")";
  };
  // ICU's locale stood where libc's does before.
  const std::string icu = major >= 17   ? "coalesce(c.colllocale, c.collcollate)"
                          : major >= 15 ? "coalesce(c.colliculocale, c.collcollate)"
                                        : "c.collcollate";
  const std::string multirange =
      std::min(major, other_major) >= 14 ? "r.rngmultitypid::regtype::text" : "NULL::text";
  return R"(
WITH spaces AS (
  SELECT oid, nspname AS name FROM pg_namespace WHERE nspname = ANY ($1::text[])
)
SELECT 'pg_type'::regclass::oid, t.oid,
  CASE t.typtype
    WHEN 'e' THEN 'enum'
    WHEN 'c' THEN 'composite ' || coalesce((
      SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
                                  )" +
         collation("a.attcollation") + R"(), ', ' ORDER BY a.attnum)
      FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), '')
    WHEN 'r' THEN 'range ' || coalesce((
      SELECT concat_ws(' ', r.rngsubtype::regtype, )" +
         collation("r.rngcollation") + R"(, o.opcname,
                       r.rngcanonical, r.rngsubdiff, )" +
         multirange + R"()
      FROM pg_range r JOIN pg_opclass o ON o.oid = r.rngsubopc WHERE r.rngtypid = t.oid), '')
    WHEN 'd' THEN concat_ws(' ', 'domain', format_type(t.typbasetype, t.typtypmod), t.typnotnull,
      )" +
         collation("t.typcollation") + R"(, 'default', t.typdefault, (
        SELECT string_agg(concat_ws(' ', quote_ident(k.conname), pg_get_constraintdef(k.oid)), ', '
                          ORDER BY k.conname)
        FROM pg_constraint k WHERE k.contypid = t.oid))
    ELSE concat_ws(' ', 'base', t.typtype, t.typlen, t.typbyval, t.typinput, t.typoutput, t.typreceive,
                   t.typsend, t.typalign, t.typstorage, t.typcategory)
  END
FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
WHERE t.typrelid = 0 OR (SELECT c.relkind FROM pg_class c WHERE c.oid = t.typrelid) = 'c'
UNION ALL
SELECT 'pg_proc'::regclass::oid, p.oid,
  CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) ELSE (
    SELECT concat_ws(' ', 'aggregate', pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
      a.aggkind, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
      a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn, a.aggsortop::regoperator,
      a.aggtranstype::regtype, 'initial', a.agginitval, a.aggminitval, p.proparallel)
    FROM pg_aggregate a WHERE a.aggfnoid = p.oid) END
FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
UNION ALL
SELECT 'pg_class'::regclass::oid, c.oid,
  concat_ws(' ', 'sequence', q.seqtypid::regtype, q.seqstart, q.seqincrement, q.seqmin, q.seqmax,
            q.seqcache, q.seqcycle, c.relpersistence)
FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace JOIN pg_sequence q ON q.seqrelid = c.oid
UNION ALL
SELECT 'pg_class'::regclass::oid, c.oid,
  concat_ws(' ', 'foreign table', v.srvname, f.ftoptions, (
    SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
                                a.attnotnull, a.attfdwoptions), ', ' ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
JOIN pg_foreign_table f ON f.ftrelid = c.oid JOIN pg_foreign_server v ON v.oid = f.ftserver
UNION ALL
SELECT 'pg_collation'::regclass::oid, c.oid,
  concat_ws(' ', c.collprovider, c.collencoding, CASE c.collprovider
              WHEN 'c' THEN concat_ws(' ', c.collcollate, c.collctype) ELSE )" +
         icu + R"( END,
            c.collisdeterministic)
FROM pg_collation c JOIN spaces s ON s.oid = c.collnamespace
UNION ALL
SELECT 'pg_conversion'::regclass::oid, c.oid,
  concat_ws(' ', c.conforencoding, c.contoencoding, c.conproc, c.condefault)
FROM pg_conversion c JOIN spaces s ON s.oid = c.connamespace
UNION ALL
SELECT 'pg_operator'::regclass::oid, o.oid,
  concat_ws(' ', o.oprcode, o.oprresult::regtype, o.oprcom::regoperator, o.oprnegate::regoperator,
            o.oprrest, o.oprjoin, o.oprcanmerge, o.oprcanhash)
FROM pg_operator o JOIN spaces s ON s.oid = o.oprnamespace
UNION ALL
SELECT 'pg_opclass'::regclass::oid, o.oid,
  concat_ws(' ', o.opcintype::regtype, o.opckeytype::regtype, o.opcdefault, f.opfname)
FROM pg_opclass o JOIN spaces s ON s.oid = o.opcnamespace JOIN pg_opfamily f ON f.oid = o.opcfamily
UNION ALL
SELECT 'pg_opfamily'::regclass::oid, f.oid, concat_ws(' ', (
    SELECT string_agg(concat_ws(' ', a.amopstrategy, a.amopopr::regoperator, a.amoppurpose), ', '
                      ORDER BY a.amopstrategy, a.amopopr::regoperator::text)
    FROM pg_amop a WHERE a.amopfamily = f.oid), (
    SELECT string_agg(concat_ws(' ', a.amprocnum, a.amproc), ', '
                      ORDER BY a.amprocnum, a.amproc::text)
    FROM pg_amproc a WHERE a.amprocfamily = f.oid))
FROM pg_opfamily f JOIN spaces s ON s.oid = f.opfnamespace
UNION ALL
SELECT 'pg_ts_config'::regclass::oid, c.oid, concat_ws(' ', p.prsname, (
    SELECT string_agg(concat_ws(' ', m.maptokentype, m.mapseqno, m.mapdict::regdictionary), ', '
                      ORDER BY m.maptokentype, m.mapseqno)
    FROM pg_ts_config_map m WHERE m.mapcfg = c.oid))
FROM pg_ts_config c JOIN spaces s ON s.oid = c.cfgnamespace
JOIN pg_ts_parser p ON p.oid = c.cfgparser
UNION ALL
SELECT 'pg_ts_dict'::regclass::oid, d.oid, concat_ws(' ', t.tmplname, d.dictinitoption)
FROM pg_ts_dict d JOIN spaces s ON s.oid = d.dictnamespace
JOIN pg_ts_template t ON t.oid = d.dicttemplate
UNION ALL
SELECT 'pg_ts_parser'::regclass::oid, p.oid,
  concat_ws(' ', p.prsstart, p.prstoken, p.prsend, p.prsheadline, p.prslextype)
FROM pg_ts_parser p JOIN spaces s ON s.oid = p.prsnamespace
UNION ALL
SELECT 'pg_ts_template'::regclass::oid, t.oid, concat_ws(' ', t.tmplinit, t.tmpllexize)
FROM pg_ts_template t JOIN spaces s ON s.oid = t.tmplnamespace)";
}

const std::map<std::string, std::string>& ClassOfKind() {
  static const std::map<std::string, std::string> classes = {
      {"FUNCTION", "pg_proc"},
      {"PROCEDURE", "pg_proc"},
      {"AGGREGATE", "pg_proc"},
      {"OPERATOR", "pg_operator"},
      {"OPERATOR CLASS", "pg_opclass"},
      {"OPERATOR FAMILY", "pg_opfamily"},
      {"STATISTICS", "pg_statistic_ext"},
      {"TABLE", "pg_class"},
      {"VIEW", "pg_class"},
      {"MATERIALIZED VIEW", "pg_class"},
      {"FOREIGN TABLE", "pg_class"},
      {"SEQUENCE", "pg_class"},
      {"TYPE", "pg_type"},
      {"DOMAIN", "pg_type"},
      {"COLLATION", "pg_collation"},
      {"CONVERSION", "pg_conversion"},
      {"TEXT SEARCH CONFIGURATION", "pg_ts_config"},
      {"TEXT SEARCH DICTIONARY", "pg_ts_dict"},
      {"TEXT SEARCH PARSER", "pg_ts_parser"},
      {"TEXT SEARCH TEMPLATE", "pg_ts_template"},
  };
  return classes;
}

bool AlwaysMoves(const Movable& object) {
  return object.kind == "TABLE" || object.kind == "VIEW" || object.kind == "MATERIALIZED VIEW";
}

// What one database holds of the schemas that take part.
class Side {
 public:
  // `other_major`: of the server that it is compared with.
  Side(db::Session& session, int other_major, const std::vector<std::string>& schemas)
      : session_(session) {
    for (const db::Row& row : session
                                  .Query("SELECT oid, relname FROM pg_class WHERE relnamespace = "
                                         "'pg_catalog'::regnamespace AND relkind = 'r'")
                                  .rows) {
      classes_[row[1].text] = Oid(row[0]);
      class_names_[Oid(row[0])] = row[1].text;
    }
    objects = ListMovables(session, schemas);
    for (std::size_t i = 0; i < objects.size(); ++i) {
      by_address_[AddressOf(objects[i])] = i;
      by_key_[objects[i].Key()] = i;
    }
    for (const db::Row& row :
         session
             .Query(DefinitionsSql(session.Server().major(), other_major), {db::TextArray(schemas)})
             .rows) {
      definitions_[{Oid(row[0]), Oid(row[1])}] = row[2].TextOr("");
    }
    for (const db::Row& row :
         session
             .Query("SELECT e.enumtypid, e.enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = "
                    "e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname "
                    "= ANY ($1::text[]) ORDER BY e.enumtypid, e.enumsortorder",
                    {db::TextArray(schemas)})
             .rows) {
      labels_[Oid(row[0])].push_back(row[1].text);
    }
    // 10000 to 16383 are initdb's: never anybody's own.
    for (const db::Row& row :
         session
             .Query("SELECT classid, objid, refclassid, refobjid, deptype FROM pg_depend "
                    "WHERE objid >= 16384 AND refobjid >= 16384 AND deptype <> 'p'")
             .rows) {
      const Address object = {Oid(row[0]), Oid(row[1])};
      const Address on = {Oid(row[2]), Oid(row[3])};
      edges_.push_back({object, on});
      const char type = row[4].text.at(0);
      if (type == 'e') member_of_extension_.insert(object);
      // 'n' is the only kind of dependency that says nothing about whose part an object is.
      if (type != 'n' && type != 'e' && object != on) owner_.emplace(object, on);
    }
  }

  Address AddressOf(const Movable& object) const {
    return {classes_.at(ClassOfKind().at(object.kind)), object.oid};
  }

  // The object of `objects` that `address` is, or is a part of (an index, a default, a rule, …).
  std::optional<std::size_t> Whole(Address address) const {
    for (int steps = 0; steps < 16; ++steps) {
      if (const auto it = by_address_.find(address); it != by_address_.end()) return it->second;
      const auto owner = owner_.find(address);
      if (owner == owner_.end()) return std::nullopt;
      address = owner->second;
    }
    return std::nullopt;
  }
  // The same for what is not of the schemas: the object that `address` is a part of.
  Address Top(Address address) const {
    for (int steps = 0; steps < 16; ++steps) {
      if (by_address_.contains(address)) return address;
      const auto owner = owner_.find(address);
      if (owner == owner_.end()) return address;
      address = owner->second;
    }
    return address;
  }

  const Movable* Find(const std::string& key) const {
    const auto it = by_key_.find(key);
    return it == by_key_.end() ? nullptr : &objects[it->second];
  }
  const std::string& Definition(const Movable& object) const {
    static const std::string none;
    const auto it = definitions_.find(AddressOf(object));
    return it == definitions_.end() ? none : it->second;
  }
  const std::vector<std::string>& Labels(const Movable& type) const {
    static const std::vector<std::string> none;
    const auto it = labels_.find(type.oid);
    return it == labels_.end() ? none : it->second;
  }
  bool IsMember(Address address) const { return member_of_extension_.contains(address); }
  const std::vector<std::pair<Address, Address>>& edges() const { return edges_; }
  std::string ClassName(std::uint32_t oid) const { return class_names_.at(oid); }
  // "view reports.totals", for messages; and its parts for looking it up elsewhere.
  db::Row Identify(Address address) {
    return session_
        .Query("SELECT type, identity FROM pg_identify_object($1, $2, 0)",
               {db::Value::Integer(address.first), db::Value::Integer(address.second)})
        .rows.at(0);
  }

  std::vector<Movable> objects;

 private:
  db::Session& session_;
  std::map<std::string, std::uint32_t> classes_;
  std::map<std::uint32_t, std::string> class_names_;
  std::map<Address, std::size_t> by_address_;
  std::map<std::string, std::size_t> by_key_;
  std::map<Address, std::string> definitions_;
  std::map<std::uint32_t, std::vector<std::string>> labels_;
  std::map<Address, Address> owner_;
  std::set<Address> member_of_extension_;
  std::vector<std::pair<Address, Address>> edges_;
};

// The statements that make `have` into `want` by ADD VALUE alone; nullopt when labels would have to
// go or to change places.
std::optional<std::vector<LabelToAdd>> MissingLabels(const Movable& type,
                                                     const std::vector<std::string>& have,
                                                     const std::vector<std::string>& want) {
  std::vector<LabelToAdd> added;
  std::size_t next = 0;
  std::string before;
  for (const std::string& label : want) {
    if (next < have.size() && have[next] == label) {
      ++next;
    } else {
      std::string sql = "ALTER TYPE " + db::TableName{type.schema, type.name}.Quoted() +
                        " ADD VALUE IF NOT EXISTS " + db::QuoteLiteral(label);
      if (!before.empty()) {
        sql += " AFTER " + db::QuoteLiteral(before);
      } else if (!have.empty()) {
        sql += " BEFORE " + db::QuoteLiteral(have.front());
      }
      added.push_back({{type.schema, type.name}, label, sql});
    }
    before = label;
  }
  if (next != have.size()) return std::nullopt;
  return added;
}

}  // namespace

SetDecision DecideSet(db::Session& fresh_session, db::Session& target_session,
                      const Settings& settings) {
  SetDecision decision;
  Side fresh(fresh_session, target_session.Server().major(), settings.schemas);
  Side target(target_session, fresh_session.Server().major(), settings.schemas);
  const auto refuse = [&](const std::string& object, const std::string& why) {
    decision.refused.push_back({object, why});
  };

  // First what moves by itself: tables and views, and what is new or differs.
  std::vector<bool> moved(fresh.objects.size(), false);
  std::vector<bool> stays(fresh.objects.size(), false);  // excluded tables
  std::map<std::size_t, std::string> why;                // something shared must move
  for (std::size_t i = 0; i < fresh.objects.size(); ++i) {
    const Movable& object = fresh.objects[i];
    if (object.kind == "TABLE" && settings.exclude.contains({object.schema, object.name})) {
      stays[i] = true;
      continue;
    }
    if (AlwaysMoves(object)) {
      moved[i] = true;
      continue;
    }
    if (object.kind == "STATISTICS") continue;  // with its table, below
    const Movable* same = target.Find(object.Key());
    if (same == nullptr) {
      moved[i] = true;
      continue;
    }
    if (fresh.Definition(object) != target.Definition(*same)) {
      moved[i] = true;
      why[i] = "differs from production's";
      continue;
    }
    const auto labels = MissingLabels(object, target.Labels(*same), fresh.Labels(object));
    if (!labels) {
      moved[i] = true;
      why[i] = "its labels differ from production's otherwise than by new ones";
      continue;
    }
    decision.labels.insert(decision.labels.end(), labels->begin(), labels->end());
  }

  // Then whatever is bound to what moves, by its OID.
  for (bool again = true; again;) {
    again = false;
    for (const auto& [object, on] : fresh.edges()) {
      const auto from = fresh.Whole(object);
      const auto to = fresh.Whole(on);
      if (!from || !to || *from == *to) continue;
      // A sequence that rows from the source have drawn on is exchanged with them: production's
      // value may lie behind these rows, and the furthest of both is taken in the cutover.
      const Movable& table = fresh.objects[*from];
      if (settings.from_source && moved[*from] && !moved[*to] && table.kind == "TABLE" &&
          fresh.objects[*to].kind == "SEQUENCE" &&
          !settings.IsPreserved({table.schema, table.name})) {
        moved[*to] = true;
        again = true;
        continue;
      }
      if (!moved[*to] || moved[*from] || stays[*from]) continue;
      moved[*from] = true;
      why[*from] = "is bound to " + fresh.objects[*to].Display();
      again = true;
    }
  }
  std::erase_if(decision.labels, [&](const LabelToAdd& label) {
    for (std::size_t i = 0; i < moved.size(); ++i) {
      const Movable& object = fresh.objects[i];
      if (moved[i] && object.kind == "TYPE" && object.schema == label.type.schema &&
          object.name == label.type.name) {
        return true;
      }
    }
    return false;
  });

  std::set<std::string> old_set;  // keys in the target of what goes to the backup
  for (std::size_t i = 0; i < fresh.objects.size(); ++i) {
    const Movable& object = fresh.objects[i];
    if (stays[i] || (object.kind == "STATISTICS" && !moved[i])) continue;
    (moved[i] ? decision.moved : decision.shared).push_back(object);
    if (moved[i]) old_set.insert(object.Key());
    if (moved[i] && object.kind == "FOREIGN TABLE") {
      refuse(object.Display(),
             "a foreign table that production has not, or has otherwise, cannot be exchanged; make "
             "it equal on both sides first");
    }
  }

  // Excluded tables stay: what they are bound to must stay as well, foreign keys apart.
  std::set<std::pair<std::size_t, std::size_t>> told;
  for (const auto& [object, on] : fresh.edges()) {
    const auto from = fresh.Whole(object);
    const auto to = fresh.Whole(on);
    if (!from || !to || !stays[*from] || !moved[*to] || !told.insert({*from, *to}).second) continue;
    const Movable& other = fresh.objects[*to];
    if (other.kind != "TABLE") {
      refuse(fresh.objects[*from].Display(),
             "it is excluded, and bound to " + other.Display() + ", which is exchanged");
    }
  }

  // What the set is bound to outside the schemas must be there in production.
  std::set<Address> outside;
  for (const auto& [object, on] : fresh.edges()) {
    const auto from = fresh.Whole(object);
    if (!from || !moved[*from]) continue;
    if (const auto to = fresh.Whole(on)) {
      if (stays[*to] && target.Find(fresh.objects[*to].Key()) == nullptr) {
        refuse(fresh.objects[*to].Display(), "it is excluded and production has none");
      }
      continue;
    }
    const Address top = fresh.Top(on);
    const std::string of = fresh.ClassName(top.first);
    if (fresh.IsMember(top) || fresh.IsMember(on)) continue;  // by its extension, below
    if (of == "pg_namespace" || of == "pg_class" || of == "pg_type" || of == "pg_proc" ||
        of == "pg_foreign_server" || of == "pg_language") {
      outside.insert(top);
    }
  }
  for (const Address& address : outside) {
    const db::Row who = fresh.Identify(address);
    const std::string of = fresh.ClassName(address.first);
    if (of == "pg_language" || of == "pg_foreign_server" || of == "pg_namespace") continue;
    const std::string look = of == "pg_class"  ? "to_regclass($1)"
                             : of == "pg_type" ? "to_regtype($1)"
                                               : "to_regprocedure($1)";
    if (target_session.Scalar("SELECT " + look + " IS NULL", {who[1]}).AsBool()) {
      refuse(who[0].text + " " + who[1].text,
             "the new schema needs it, it is in no schema that takes part, and production has "
             "none; make it there first, or add its schema to \"schemas\"");
    }
  }

  // Extensions: the shadow binds to production's members.
  const char* extensions =
      "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = "
      "e.extnamespace ORDER BY 1";
  std::map<std::string, std::string> present;
  for (const db::Row& row : target_session.Query(extensions).rows) {
    present[row[0].text] = row[1].text;
  }
  for (const db::Row& row : fresh_session.Query(extensions).rows) {
    const auto it = present.find(row[0].text);
    if (it == present.end()) {
      refuse("extension " + row[0].text,
             "the new schema has it and production has not; CREATE "
             "EXTENSION there first");
    } else if (it->second != row[1].text) {
      refuse("extension " + row[0].text, "it stands in the schema " + it->second +
                                             " in production and in " + row[1].text +
                                             " in the new schema");
    }
  }

  // Unmovable things of the new schema are carried when production has the same.
  std::set<std::string> has;
  for (const Unmovable& one : ListUnmovables(target_session, settings.schemas)) {
    has.insert(one.object);
  }
  for (const Unmovable& one : ListUnmovables(fresh_session, settings.schemas)) {
    if (!has.contains(one.object)) refuse(one.object, one.why);
  }

  for (const Unmovable& one : LostOperators(fresh_session, settings.schemas)) {
    refuse(one.object, one.why);
  }

  // A type or collation that is exchanged must have no user outside the set in production: its
  // columns would keep the old one.
  std::set<std::pair<Address, std::size_t>> users;
  for (const auto& [object, on] : target.edges()) {
    const auto to = target.Whole(on);
    if (!to) continue;
    const Movable& used = target.objects[*to];
    const bool a_type = used.kind == "TYPE" || used.kind == "DOMAIN" || used.kind == "COLLATION";
    if (!a_type || !old_set.contains(used.Key())) continue;
    const auto from = target.Whole(object);
    if (from && (*from == *to || old_set.contains(target.objects[*from].Key()) ||
                 target.objects[*from].kind == "STATISTICS")) {
      continue;
    }
    const Address top = target.Top(object);
    const std::string of = target.ClassName(top.first);
    if (of != "pg_class" && of != "pg_type" && of != "pg_proc" && of != "pg_operator") continue;
    if (target.IsMember(top) || !users.insert({top, *to}).second) continue;
    const db::Row who = target.Identify(top);
    refuse(used.Display(), "it would be exchanged, and " + who[0].text + " " + who[1].text +
                               " outside the set uses it; make the type equal on both sides, or "
                               "take the schema or table into the migration");
  }
  for (const auto& [i, reason] : why) {
    const Movable& object = fresh.objects[i];
    if ((object.kind == "TYPE" || object.kind == "DOMAIN") &&
        target.Find(object.Key()) != nullptr) {
      decision.warnings.push_back(object.Display() + " " + reason +
                                  ": it is exchanged, and gets another OID; clients that "
                                  "keep it in prepared statements must prepare them again");
    }
  }

  // Values that name what is exchanged by its OID would go on naming what is put aside.
  for (const db::Row& row : fresh_session
                                .Query(R"(
SELECT c.oid, a.attname, t.typname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_type e ON e.oid = a.atttypid JOIN pg_type t ON t.oid IN (e.oid, e.typelem)
WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND t.oid IN ('regclass'::regtype, 'regtype'::regtype, 'regproc'::regtype,
                'regprocedure'::regtype, 'regoper'::regtype, 'regoperator'::regtype)
  AND c.relnamespace = ANY (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1::text[])))",
                                       {db::TextArray(settings.schemas)})
                                .rows) {
    for (std::size_t i = 0; i < fresh.objects.size(); ++i) {
      if (!moved[i] || fresh.objects[i].kind != "TABLE" || fresh.objects[i].oid != Oid(row[0])) {
        continue;
      }
      refuse(fresh.objects[i].Display(),
             "its column " + db::DisplayIdentifier(row[1].text) + " is of the type " + row[2].text +
                 ": its values would go on naming objects that are put aside; keep names as text");
    }
  }

  // The tables, and those that are only half in the set.
  std::map<std::uint32_t, bool> in_set;  // by OID, tables of the schemas
  for (std::size_t i = 0; i < fresh.objects.size(); ++i) {
    if (fresh.objects[i].kind == "TABLE") in_set[fresh.objects[i].oid] = moved[i];
  }
  std::set<std::uint32_t> partitioned;
  for (const db::Row& row :
       fresh_session.Query("SELECT oid FROM pg_class WHERE relkind = 'p'").rows) {
    partitioned.insert(Oid(row[0]));
  }
  std::map<std::uint32_t, std::uint32_t> partition_of;
  for (const db::Row& row :
       fresh_session
           .Query("SELECT inhrelid, inhparent, inhrelid::regclass::text, "
                  "inhparent::regclass::text, c.relispartition FROM pg_inherits i "
                  "JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p', 'f')")
           .rows) {
    if (row[4].AsBool()) partition_of[Oid(row[0])] = Oid(row[1]);
    const auto inside = [&](const db::Value& value) {
      const auto it = in_set.find(Oid(value));
      return it != in_set.end() && it->second;
    };
    if (inside(row[0]) != inside(row[1])) {
      refuse("table " + (inside(row[0]) ? row[3].text : row[2].text),
             "it does not take part, but " + (inside(row[0]) ? row[2].text : row[3].text) +
                 " does, which inherits from it or is inherited by it: take both in or leave both "
                 "out");
    }
  }
  std::map<std::uint32_t, db::TableName> names;
  for (const Movable& object : decision.moved) {
    if (object.kind == "TABLE") names[object.oid] = {object.schema, object.name};
  }
  for (const Movable& object : decision.moved) {
    if (object.kind != "TABLE") continue;
    SetTable table;
    table.name = {object.schema, object.name};
    // A partition's rows are its table's: they stay or go with them.
    std::uint32_t root = object.oid;
    while (partition_of.contains(root)) root = partition_of.at(root);
    table.preserved = settings.IsPreserved(names.contains(root) ? names.at(root) : table.name);
    if (!table.preserved && settings.IsPreserved(table.name)) {
      refuse("table " + table.name.Display(),
             "it is named in \"preserved\" and is a partition of a table that is not: name " +
                 names.at(root).Display());
    }
    table.partitioned = partitioned.contains(object.oid);
    decision.tables.push_back(table);
  }
  for (const db::TableName& name : settings.preserved) {
    if (std::ranges::none_of(decision.tables,
                             [&](const SetTable& table) { return table.name == name; })) {
      refuse("table " + name.Display(),
             settings.exclude.contains(name)
                 ? "it is named in \"preserved\" and in \"exclude\""
                 : "it is named in \"preserved\", and the new schema has no such table");
    }
  }
  return decision;
}

void AppendLabels(db::Session& target, const SetDecision& decision, const ShadowRequest& request) {
  if (decision.labels.empty()) return;
  core::Journal journal(target, request.migration_id);
  db::Transaction transaction(target);
  journal.CheckEpoch(request.epoch);
  // Allowed in a transaction since PostgreSQL 12 as long as it does not use the labels.
  for (const LabelToAdd& label : decision.labels) target.Execute(label.sql);
  transaction.Commit();
}

}  // namespace understudy::table_swap
