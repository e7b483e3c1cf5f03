#include "harness/run/swapped.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/db/identifier.h"
#include "harness/checks/facts.h"
#include "harness/run/comparisons.h"
#include "harness/run/written.h"

namespace understudy::harness {
namespace {

std::unique_ptr<db::Session> Look(const db::Endpoint& endpoint) {
  return db::Connect(endpoint, {.application_name = "understudy-compare"});
}

// ---- preserved tables of another shape: their rows as the document says they should be

struct Column {
  std::string name;
  std::string type;
  std::string default_expression;
  bool generated = false;
};

std::vector<Column> ColumnsOf(db::Session& session, const db::TableName& table) {
  std::vector<Column> columns;
  const db::Result result = session.Query(
      "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),"
      " pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attgenerated <> ''"
      " FROM pg_catalog.pg_attribute a"
      " JOIN pg_catalog.pg_class c ON c.oid = a.attrelid"
      " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
      " LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
      " WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped"
      " ORDER BY a.attnum",
      {db::Value::Text(table.schema), db::Value::Text(table.name)});
  for (const db::Row& row : result.rows) {
    columns.push_back({row[0].text, row[1].text, row[2].TextOr(""), row[3].AsBool()});
  }
  return columns;
}

std::vector<std::string> PrimaryKeyOf(db::Session& session, const db::TableName& table) {
  std::vector<std::string> columns;
  const db::Result result = session.Query(
      "SELECT a.attname FROM pg_catalog.pg_index i"
      " JOIN pg_catalog.pg_class c ON c.oid = i.indrelid"
      " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
      " CROSS JOIN LATERAL pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)"
      " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum"
      " WHERE n.nspname = $1 AND c.relname = $2 AND i.indisprimary ORDER BY k.place",
      {db::Value::Text(table.schema), db::Value::Text(table.name)});
  for (const db::Row& row : result.rows) columns.push_back(row[0].text);
  return columns;
}

// Whether an expression may give another value each time.
bool IsConstant(const std::string& expression) {
  return expression.find('(') == std::string::npos &&
         expression.find("CURRENT") == std::string::npos;
}

const Column* Find(const std::vector<Column>& columns, const std::string& name) {
  const auto it = std::ranges::find(columns, name, &Column::name);
  return it == columns.end() ? nullptr : &*it;
}

// Makes `table` of `copy` what the document's rules make of it, in the shape that `now` has.
// What no rule can tell (a default that differs each time) is left out, and so is not compared.
void Reshape(Rehearsal& rehearsal, db::Session& copy, const db::TableName& table,
             const std::vector<Column>& before, const std::vector<Column>& now,
             const std::vector<std::string>& key, const Json& rules) {
  std::string list;
  for (const Column& column : now) {
    std::string expression;
    const Json rule = rules.is_object() ? rules.value(column.name, Json()) : Json();
    const std::string from = rule.is_object() ? TextAt(rule, "from") : "";
    const std::string sql = rule.is_object() ? TextAt(rule, "sql") : "";
    const bool by_default = rule.is_object() && rule.value("default", false);
    if (!sql.empty()) {
      expression = sql;
    } else if (!from.empty()) {
      expression = db::QuoteIdentifier(from);
    } else if (!by_default && Find(before, column.name) != nullptr) {
      expression = db::QuoteIdentifier(column.name);
    } else if (column.generated || !IsConstant(column.default_expression)) {
      rehearsal.evidence.NotChecked(
          "column:" + table.Display() + "." + db::DisplayIdentifier(column.name),
          "its value is made by the new schema: " + column.default_expression);
      continue;
    } else {
      expression = column.default_expression.empty() ? "NULL" : column.default_expression;
    }
    list += (list.empty() ? "(" : ", (") + expression + ")::" + column.type + " AS " +
            db::QuoteIdentifier(column.name);
  }
  const std::string fresh = "understudy_expected." + db::QuoteIdentifier(table.name);
  db::Transaction transaction(copy);
  copy.Execute("CREATE SCHEMA understudy_expected");
  copy.Execute("CREATE TABLE " + fresh + " AS SELECT " + list + " FROM " + table.Quoted());
  copy.Execute("DROP TABLE " + table.Quoted() + " CASCADE");
  copy.Execute("ALTER TABLE " + fresh + " SET SCHEMA " + db::QuoteIdentifier(table.schema));
  copy.Execute("DROP SCHEMA understudy_expected");
  if (!key.empty()) {
    std::string columns;
    for (const std::string& column : key) {
      columns += (columns.empty() ? "" : ", ") + db::QuoteIdentifier(column);
    }
    copy.Execute("ALTER TABLE " + table.Quoted() + " ADD PRIMARY KEY (" + columns + ")");
  }
  transaction.Commit();
}

struct Reshaped {
  std::unique_ptr<Lease> copy;                                    // null: nothing has another shape
  std::map<std::string, std::string> unknown;                     // table → why
  std::map<std::string, std::map<std::string, std::string>> was;  // table → new column → old one
};

Reshaped ReshapeAll(Rehearsal& rehearsal, const Swaps& swaps,
                    const std::vector<const SwapService*>& services, Lease& left, Lease& right) {
  Reshaped result;
  std::map<std::string, const SwapDocument*> tables;
  for (const SwapService* service : services) {
    const SwapDocument& document = swaps.documents()[service->swap];
    for (const std::string& table : swaps.SetOf(*service)) {
      if (!document.Preserves(table)) continue;
      const auto [it, fresh] = tables.emplace(table, &document);
      if (fresh) continue;
      if (it->second->rules.contains(table) && document.rules.contains(table)) {
        result.unknown[table] = "two swaps in a row have column rules for it";
      }
      if (document.rules.contains(table)) it->second = &document;
    }
  }
  const auto after = Look(right.endpoint());
  auto before = Look(left.endpoint());
  struct Work {
    db::TableName name;
    std::vector<Column> was, is;
    std::vector<std::string> key;
    Json rules;
  };
  std::vector<Work> work;
  for (const auto& [table, document] : tables) {
    if (result.unknown.contains(table)) continue;
    Work one;
    one.name = db::TableName::Parse(table, "public");
    one.was = ColumnsOf(*before, one.name);
    one.is = ColumnsOf(*after, one.name);
    if (one.was.empty() || one.is.empty()) continue;
    const auto rules = document->rules.find(table);
    if (rules != document->rules.end()) one.rules = rules->second;
    const bool same = std::ranges::equal(one.was, one.is, [](const Column& a, const Column& b) {
      return a.name == b.name && a.type == b.type;
    });
    if (same && one.rules.is_null()) continue;
    one.key = PrimaryKeyOf(*after, one.name);
    for (const Column& column : one.is) {
      const Json rule = one.rules.is_object() ? one.rules.value(column.name, Json()) : Json();
      const std::string from = rule.is_object() ? TextAt(rule, "from") : "";
      if (!from.empty()) result.was[table][column.name] = from;
    }
    work.push_back(std::move(one));
  }
  if (work.empty()) return result;
  // A copy is made of a database that nobody is connected to.
  before.reset();
  result.copy = left.Clone("expected");
  const auto copy =
      db::Connect(result.copy->endpoint(),
                  {.settings = db::Settings::kUsers, .application_name = "understudy-compare"});
  for (const Work& one : work) {
    try {
      Reshape(rehearsal, *copy, one.name, one.was, one.is, one.key, one.rules);
    } catch (const Error& error) {
      result.unknown[one.name.Display()] =
          std::string("the rows as they should be could not be made: ") + error.what();
    }
  }
  return result;
}

Json OldNames(const Json& key, const std::map<std::string, std::string>& was) {
  if (was.empty() || !key.is_object()) return key;
  Json old = Json::object();
  for (const auto& [column, value] : key.items()) {
    const auto it = was.find(column);
    old[it == was.end() ? column : it->second] = value;
  }
  return old;
}

std::unique_ptr<Written> WrittenIn(Rehearsal& rehearsal, const std::string& database,
                                   const db::Endpoint& copy) {
  const auto session = Look(copy);
  rehearsal.ledger.Flush();
  const std::lock_guard lock(rehearsal.ledger.mutex());
  return std::make_unique<Written>(rehearsal.ledger.session(), database, *session);
}

void TellComparison(Rehearsal& rehearsal, const std::string& left, const std::string& right,
                    const std::string& database, const Comparison& comparison) {
  rehearsal.evidence.Add("comparison", {{"use", "rows"},
                                        {"database", database},
                                        {"left", left},
                                        {"right", right},
                                        {"clients_left_out", true},
                                        {"result", comparison.ToJson()}});
}

}  // namespace

void CompareTarget(Rehearsal& rehearsal, const Swaps& swaps, const std::string& database,
                   const std::string& first, const std::string& last) {
  Lease* left = rehearsal.Held(first, database);
  Lease* right = rehearsal.Held(last, database);
  if (left == nullptr || right == nullptr) return;
  const auto replaced = swaps.Replaced(database, first, last);
  const auto services =
      swaps.Between(database, swaps.MomentOf(first, database), swaps.MomentOf(last, database));
  const std::string right_name = last + ":" + database;
  const auto written = WrittenIn(rehearsal, database, left->endpoint());
  for (const auto& [table, why] : written->indirect()) {
    rehearsal.evidence.NotChecked("rows of " + table + " that clients did not write themselves",
                                  why);
  }

  // Its own rows.
  const Reshaped reshaped = ReshapeAll(rehearsal, swaps, services, *left, *right);
  CompareOptions own = RowsOptionsOf(rehearsal);
  for (const auto& [table, from] : replaced) own.exclude.push_back(table);
  Comparison unknown;
  for (const auto& [table, why] : reshaped.unknown) {
    own.exclude.push_back(table);
    TableComparison one;
    one.table = table;
    one.why = why;
    unknown.tables.push_back(std::move(one));
  }
  own.explained = [&](const std::string& table, const Json& key, const std::string&) {
    const auto was = reshaped.was.find(table);
    static const std::map<std::string, std::string> kSame;
    return written->indirect().contains(table) ||
           written->Knows(table, OldNames(key, was == reshaped.was.end() ? kSame : was->second)) ||
           written->Knows(table, key);
  };
  TellComparison(
      rehearsal, first + ":" + database, right_name, database,
      CompareRows((reshaped.copy ? *reshaped.copy : *left).endpoint(), right->endpoint(), own));
  if (!unknown.tables.empty()) {
    TellComparison(rehearsal, first + ":" + database, right_name, database, unknown);
  }

  // The rows of its sources.
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> by_source;
  for (const auto& [table, from] : replaced) {
    by_source[{from.database, from.snapshot}].push_back(table);
  }
  for (const auto& [from, tables] : by_source) {
    rehearsal.ThrowIfStopped();
    const std::string left_name = from.second + ":" + from.first;
    Lease* source = rehearsal.Held(from.second, from.first);
    if (source == nullptr) {
      rehearsal.evidence.NotChecked("rows of " + right_name + " that come from " + left_name,
                                    "no copy of that snapshot was held");
      for (const std::string& table : tables) {
        TableComparison one;
        one.table = table;
        one.why = "no copy of " + left_name + " was held";
        Comparison none;
        none.tables.push_back(one);
        TellComparison(rehearsal, left_name, right_name, database, none);
      }
      continue;
    }
    const auto theirs = WrittenIn(rehearsal, from.first, source->endpoint());
    CompareOptions options = RowsOptionsOf(rehearsal);
    options.tables = tables;
    options.explained = [&](const std::string& table, const Json& key, const std::string&) {
      return theirs->Knows(table, key) || theirs->indirect().contains(table) ||
             written->Knows(table, key) || written->indirect().contains(table);
    };
    TellComparison(rehearsal, left_name, right_name, database,
                   CompareRows(source->endpoint(), right->endpoint(), options));
  }
}

void CompareSources(Rehearsal& rehearsal, const Evidence& evidence, const Swaps& swaps) {
  std::set<std::string> told;  // databases and pairs of snapshots
  const auto compare = [&](const std::string& database, const std::string& before,
                           const std::string& after) {
    if (before.empty() || after.empty() || before == after) return;
    if (!told.insert(database + '\n' + before + '\n' + after).second) return;
    rehearsal.ThrowIfStopped();
    const std::string left_name = before + ":" + database;
    const std::string right_name = after + ":" + database;
    const Snapshot* left = rehearsal.Taken(before, database);
    const Snapshot* right = rehearsal.Taken(after, database);
    if (left != nullptr && right != nullptr) {
      DiffAndTell(rehearsal, "source-unchanged", left_name, right_name, *left, *right);
    }
    Lease* left_copy = rehearsal.Held(before, database);
    Lease* right_copy = rehearsal.Held(after, database);
    if (left_copy == nullptr || right_copy == nullptr) {
      rehearsal.Tell("source-unchanged", database, left_name + " against " + right_name, "unknown",
                     "the rows of one side were not held (see not_checked)");
      return;
    }
    CompareAndTell(rehearsal, "source-unchanged", left_name, right_name, left_copy->endpoint(),
                   right_copy->endpoint(), database, true);
  };
  const auto pair = SnapshotsToCompare(evidence);
  for (const SwapDocument& document : swaps.documents()) {
    const std::string& source = document.source;
    if (source.empty() || source == document.target) continue;
    bool served = false;
    for (const SwapService& service : swaps.services()) {
      if (swaps.documents()[service.swap].name != document.name) continue;
      served = true;
      std::string after;
      for (const Event* event : EventsWith(evidence, "snapshot", "database", source)) {
        const std::string name = TextAt(event->data, "name");
        if (!name.starts_with('$') && event->t_ms >= service.in_ms && after.empty()) after = name;
      }
      compare(source, swaps.SnapshotAt(source, service.prepared_ms), after);
    }
    if (!served && pair) compare(source, pair->before, pair->after);
  }
}

// ---- moved

namespace {

struct Object {
  std::string kind;
  std::string oid;
  std::string schema;
  std::string table;  // that it belongs to; its own name for a table
  std::string name;
  std::string Text() const {
    const std::string of = db::TableName{schema, table}.Display();
    return kind == "table" ? kind + " " + of
                           : kind + " " + db::DisplayIdentifier(name) + " of " + of;
  }
};

// Tables and what follows them: indexes, constraints, owned sequences.
constexpr const char* kObjects = R"sql(
SELECT 'table', c.oid::pg_catalog.text, n.nspname, c.relname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
UNION ALL
SELECT 'index', c.oid::pg_catalog.text, n.nspname, t.relname, c.relname
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid AND t.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT CASE k.contype WHEN 'f' THEN 'foreign key' ELSE 'constraint' END,
       k.oid::pg_catalog.text, n.nspname, t.relname, k.conname
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class t ON t.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace
WHERE k.contype <> 't'
UNION ALL
SELECT 'sequence', c.oid::pg_catalog.text, n.nspname, t.relname, c.relname
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
ORDER BY 1, 3, 4, 5)sql";

std::map<std::string, Object> ObjectsOf(const db::Endpoint& endpoint) {
  std::map<std::string, Object> objects;  // kind and OID
  const auto session = Look(endpoint);
  for (const db::Row& row : session->Query(kObjects).rows) {
    objects.emplace(row[0].text + row[1].text,
                    Object{row[0].text, row[1].text, row[2].text, row[3].text, row[4].text});
  }
  return objects;
}

using Objects = std::map<std::string, Object>;

// What of the users' depends on something in a backup: foreign keys, views, rules, defaults,
// triggers, policies, functions with SQL bodies or row types.
constexpr const char* kOnTheBackup = R"sql(
WITH ours AS (
  SELECT oid FROM pg_catalog.pg_namespace WHERE pg_catalog.starts_with(nspname, 'understudy')),
old AS (
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS class, c.oid FROM pg_catalog.pg_class c
  WHERE c.relnamespace IN (SELECT oid FROM ours)
  UNION ALL
  SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid FROM pg_catalog.pg_type t
  WHERE t.typnamespace IN (SELECT oid FROM ours)
  UNION ALL
  SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid FROM pg_catalog.pg_constraint k
  WHERE k.connamespace IN (SELECT oid FROM ours))
SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, 0)
FROM pg_catalog.pg_depend d
JOIN old ON old.class = d.refclassid AND old.oid = d.refobjid
LEFT JOIN pg_catalog.pg_rewrite r
  ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = d.objid
LEFT JOIN pg_catalog.pg_constraint k
  ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = d.objid
LEFT JOIN pg_catalog.pg_attrdef f
  ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid
LEFT JOIN pg_catalog.pg_trigger g
  ON d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND g.oid = d.objid
LEFT JOIN pg_catalog.pg_policy p
  ON d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND p.oid = d.objid
LEFT JOIN pg_catalog.pg_class c
  ON c.oid = coalesce(r.ev_class, nullif(k.conrelid, 0), f.adrelid, g.tgrelid, p.polrelid,
                      CASE WHEN d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                           THEN d.objid END)
LEFT JOIN pg_catalog.pg_proc q
  ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND q.oid = d.objid
LEFT JOIN pg_catalog.pg_type t
  ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = d.objid
WHERE coalesce(c.relnamespace, q.pronamespace, t.typnamespace) IS NOT NULL
  AND coalesce(c.relnamespace, q.pronamespace, t.typnamespace) NOT IN (SELECT oid FROM ours)
  AND coalesce(c.relnamespace, 0) <> 'pg_toast'::pg_catalog.regnamespace
ORDER BY 1)sql";

void TellWhatUsesTheBackup(Rehearsal& rehearsal, const std::string& target,
                           const db::Endpoint& copy) {
  const db::Result found = Look(copy)->Query(kOnTheBackup);
  for (const db::Row& row : found.rows) {
    rehearsal.Tell("moved", target, row[0].text, "failed", "it depends on a table of the backup");
  }
  if (found.rows.empty()) {
    rehearsal.Tell("moved", target, "backup", "ok", "nothing in service depends on it");
  }
}

class MoveProbe {
 public:
  MoveProbe(Rehearsal& rehearsal, const SwapDocument& document, std::set<std::string> set)
      : rehearsal_(rehearsal), document_(document), set_(std::move(set)) {}

  bool OfSet(const Object& object, const std::string& schema) const {
    return set_.contains(db::TableName{schema, object.table}.Display());
  }
  bool InMain(const Object& object) const {
    return std::ranges::find(document_.schemas, object.schema) != document_.schemas.end() &&
           OfSet(object, object.schema);
  }
  static bool In(const Object& object, const char* ours) { return object.schema.starts_with(ours); }

  // What of `from` that `picks` must be in `to` by the same OID and name, where `stands` says.
  template <typename Picks, typename Stands>
  void Same(const std::string& what, const Objects& from, const Objects& to, Picks picks,
            Stands stands) {
    std::int64_t count = 0;
    std::int64_t wrong = 0;
    for (const auto& [key, object] : from) {
      if (!picks(object)) continue;
      // Reverse capture takes them off the backup, so that rows can be replayed there, and makes
      // them again on the way back: their definitions are the business of rollback-restores.
      if (document_.reverse && object.kind == "foreign key") continue;
      ++count;
      const auto it = to.find(key);
      std::string why;
      if (it == to.end()) {
        why = "is gone";
      } else if (!stands(it->second)) {
        why = "stands in " + db::DisplayIdentifier(it->second.schema);
      } else if (it->second.name != object.name || it->second.table != object.table) {
        why = "is now " + it->second.Text();
      }
      if (!why.empty() && ++wrong <= 20) {
        rehearsal_.Tell("moved", document_.target, object.Text(), "failed", what + ": it " + why);
      }
    }
    if (count == 0) {
      rehearsal_.Tell("moved", document_.target, what, "unknown", "there was nothing to look at");
    } else if (wrong == 0) {
      rehearsal_.Tell("moved", document_.target, what, "ok",
                      std::to_string(count) + " tables, sequences, indexes and constraints");
    }
  }

  void Around(const Objects& before, const Objects& after) {
    const bool kept = std::ranges::any_of(
        after, [](const auto& one) { return In(one.second, "understudy_backup"); });
    if (kept) {
      Same(
          "main to backup", before, after, [&](const Object& o) { return InMain(o); },
          [](const Object& o) { return In(o, "understudy_backup"); });
    } else {
      rehearsal_.evidence.NotChecked("main to backup by OID",
                                     "no snapshot between the cutover and the cleanup");
    }
    const bool shadow = std::ranges::any_of(
        before, [](const auto& one) { return In(one.second, "understudy_shadow"); });
    if (shadow) {
      Same(
          "shadow to main", before, after,
          [](const Object& o) { return In(o, "understudy_shadow"); },
          [&](const Object& o) { return InMain(o); });
    } else {
      rehearsal_.evidence.NotChecked("shadow to main by OID",
                                     "no snapshot between prepare and cutover");
    }
    // The new ones are new, and all of them are there.
    std::set<std::string> there;
    std::int64_t wrong = 0;
    for (const auto& [key, object] : after) {
      if (!InMain(object)) continue;
      if (object.kind == "table") {
        there.insert(db::TableName{object.schema, object.table}.Display());
      }
      const auto old = before.find(key);
      if (old == before.end() || !InMain(old->second) || ++wrong > 20) continue;
      rehearsal_.Tell("moved", document_.target, object.Text(), "failed",
                      "it is still the old one");
    }
    for (const std::string& table : set_) {
      if (there.contains(table)) continue;
      ++wrong;
      rehearsal_.Tell("moved", document_.target, "table " + table, "failed",
                      "it is not there after the swap");
    }
    if (wrong == 0) {
      rehearsal_.Tell("moved", document_.target, "new tables", "ok",
                      std::to_string(there.size()) + " tables in service are new");
    }
  }

 private:
  Rehearsal& rehearsal_;
  const SwapDocument& document_;
  std::set<std::string> set_;
};

}  // namespace

void ProbeMoved(Rehearsal& rehearsal, const Evidence& evidence, const Swaps& swaps) {
  bool looked = false;
  std::vector<const SwapService*> not_seen;
  for (const SwapService& service : swaps.services()) {
    rehearsal.ThrowIfStopped();
    const SwapDocument& document = swaps.documents()[service.swap];
    const std::string& target = document.target;
    // Nothing else may have been exchanged between the snapshots that are held against each other.
    double since = 0;
    double until = service.leaving_ms;
    for (const SwapService& other : swaps.services()) {
      if (&other == &service || swaps.documents()[other.swap].target != target) continue;
      if (other.in_ms <= service.locked_ms) since = std::max(since, other.in_ms);
      if (other.out_ms <= service.locked_ms) since = std::max(since, other.out_ms);
      if (other.prepared_ms >= service.in_ms) until = std::min(until, other.prepared_ms);
    }
    std::string before;
    std::string after;
    std::string back;
    for (const Event* event : EventsWith(evidence, "snapshot", "database", target)) {
      const std::string name = TextAt(event->data, "name");
      if (name.starts_with('$') || rehearsal.Held(name, target) == nullptr) continue;
      if (event->t_ms >= since && event->t_ms <= service.locked_ms) before = name;
      if (after.empty() && event->t_ms >= service.in_ms && event->t_ms <= until) after = name;
      if (back.empty() && event->t_ms >= service.out_ms) back = name;
    }
    if (before.empty() || (after.empty() && back.empty())) {
      not_seen.push_back(&service);
      continue;
    }
    looked = true;
    MoveProbe probe(rehearsal, document, swaps.SetOf(service));
    const Objects was = ObjectsOf(rehearsal.Held(before, target)->endpoint());
    if (!after.empty()) {
      const db::Endpoint& copy = rehearsal.Held(after, target)->endpoint();
      probe.Around(was, ObjectsOf(copy));
      TellWhatUsesTheBackup(rehearsal, target, copy);
    }
    if (back.empty()) continue;
    const auto main = [&](const Object& object) { return probe.InMain(object); };
    probe.Same("backup to main", was, ObjectsOf(rehearsal.Held(back, target)->endpoint()), main,
               main);
  }
  for (const SwapService* service : not_seen) {
    const SwapDocument& document = swaps.documents()[service->swap];
    const std::string why = "no copies of snapshots around its cutover were held";
    if (looked) {
      rehearsal.evidence.NotChecked("moved:" + document.name, why);
    } else {
      rehearsal.Tell("moved", document.target, document.name, "unknown", why);
    }
  }
}

void ProbeLeftovers(Rehearsal& rehearsal, const Swaps& swaps) {
  std::set<std::string> targets;
  for (const SwapDocument& document : swaps.documents()) targets.insert(document.target);
  for (const std::string& target : targets) {
    rehearsal.ThrowIfStopped();
    try {
      const auto session = Look(rehearsal.Database(target).endpoint());
      const auto listed = [&](const std::string& sql) {
        std::string names;
        for (const db::Row& row : session->Query(sql).rows) {
          names += (names.empty() ? "" : ", ") + row[0].text;
        }
        return names;
      };
      // Another scenario of the same server may be preparing just now: what stays is left behind.
      std::string scratch;
      for (int i = 0; i < 100; ++i) {
        scratch = listed(
            "SELECT datname FROM pg_catalog.pg_database"
            " WHERE pg_catalog.starts_with(datname, 'understudy_scratch') ORDER BY 1");
        if (scratch.empty()) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
      const auto probe = [&](const std::string& what, const std::string& found) {
        rehearsal.Tell("leftovers", target, what, found.empty() ? "ok" : "failed",
                       found.empty() ? "none" : found);
      };
      probe("scratch databases", scratch);
      probe("advisory locks",
            listed("SELECT l.pid::pg_catalog.text FROM pg_catalog.pg_locks l"
                   " WHERE l.locktype = 'advisory' AND l.database ="
                   " (SELECT oid FROM pg_catalog.pg_database"
                   "  WHERE datname = pg_catalog.current_database()) ORDER BY 1"));
      probe("replication slots",
            listed("SELECT slot_name FROM pg_catalog.pg_replication_slots"
                   " WHERE pg_catalog.starts_with(slot_name, 'understudy')"
                   " AND database = pg_catalog.current_database() ORDER BY 1"));
      probe("prepared transactions",
            listed("SELECT gid FROM pg_catalog.pg_prepared_xacts"
                   " WHERE database = pg_catalog.current_database() ORDER BY 1"));
    } catch (const Error& error) {
      if (error.code() == "stop") throw;
      rehearsal.Tell("leftovers", target, "locks and databases", "unknown", error.what());
    }
  }
}

}  // namespace understudy::harness
