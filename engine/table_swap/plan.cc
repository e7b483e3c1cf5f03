#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/db/script.h"
#include "engine/table_swap/lost_operators.h"
#include "engine/table_swap/mapping.h"
#include "engine/table_swap/preflight.h"
#include "engine/table_swap/row_copy.h"
#include "engine/table_swap/scratch.h"
#include "engine/table_swap/shared_types.h"
#include "engine/table_swap/swap.h"

// The dry run: everything that can be told without changing anything in the target or the source.
namespace understudy::table_swap {
namespace {

constexpr double kCopyBytesPerMs = 60000;    // rows from the source
constexpr double kInsertBytesPerMs = 40000;  // INSERT … SELECT inside the target
constexpr double kIndexBytesPerMs = 100000;
constexpr double kMsPerExchangedTable = 0.4;  // under the locks
constexpr double kKeysPerMs = 1000;           // looked up by a foreign key that is made whole
constexpr int kKeysAtOnce = 1000;             // of an orphan check against the source

std::int64_t Estimate(std::int64_t bytes, double per_ms) {
  return 10 + static_cast<std::int64_t>(static_cast<double>(bytes) / per_ms);
}

Json LocksOn(const std::vector<std::string>& objects, const char* mode) {
  Json locks = Json::array();
  for (const std::string& object : objects) locks.push_back({{"object", object}, {"mode", mode}});
  return locks;
}

// Keys of a preserved table that the new rows of the table that it references do not have. Their
// values travel as text, a thousand at a time.
struct MissingParents {
  std::int64_t keys = 0;
  std::string example;
};

MissingParents FindMissingParents(db::Session& target, db::Session& source,
                                  const catalog::ForeignKey& key, const db::TableName& child) {
  MissingParents missing;
  std::string columns;
  std::string not_null;
  std::string match;
  std::string arrays;
  std::string names;
  const auto tables = catalog::ReadTablesByOid(source, {key.to_oid});
  if (tables.empty()) return missing;
  // Those of the unique index that the foreign key looks its rows up in.
  std::map<std::string, std::string> equals;
  for (const catalog::Key& unique : tables[0].keys) {
    for (std::size_t i = 0; i < unique.columns.size(); ++i) {
      equals.emplace(unique.columns[i], unique.equals[i]);
    }
  }
  for (std::size_t i = 0; i < key.from_columns.size(); ++i) {
    const std::string from = db::QuoteIdentifier(key.from_columns[i]);
    const catalog::Column* to = tables[0].Find(key.to_columns[i]);
    if (to == nullptr) return missing;
    const std::string n = std::to_string(i + 1);
    columns += (i == 0 ? "" : ", ") + from + "::text";
    not_null += (i == 0 ? "" : " AND ") + from + " IS NOT NULL";
    arrays += (i == 0 ? "$" : ", $") + n + "::text[]";
    names += (i == 0 ? "k" : ", k") + n;
    const auto operation = equals.find(to->name);
    match += (i == 0 ? "" : " AND ") + std::string("p.") + db::QuoteIdentifier(to->name) + " " +
             (operation == equals.end() ? "OPERATOR(pg_catalog.=)" : operation->second) + " v.k" +
             n + "::" + to->type;
  }
  const std::string query = "SELECT concat_ws(', ', " + names + ") FROM unnest(" + arrays +
                            ") AS v(" + names + ") WHERE NOT EXISTS (SELECT FROM " +
                            key.to.Quoted() + " p WHERE " + match + ")";
  std::vector<std::vector<std::string>> batch(key.from_columns.size());
  const auto flush = [&] {
    if (batch[0].empty()) return;
    db::Params params;
    for (const auto& values : batch) params.push_back(db::TextArray(values));
    const db::Result result = source.Query(query, params);
    missing.keys += static_cast<std::int64_t>(result.rows.size());
    if (missing.example.empty() && !result.rows.empty()) missing.example = result.rows[0][0].text;
    for (auto& values : batch) values.clear();
  };
  target.ForEachRow("SELECT DISTINCT " + columns + " FROM " + child.Quoted() + " WHERE " + not_null,
                    {}, [&](const db::Row& row) {
                      for (std::size_t i = 0; i < batch.size(); ++i) {
                        batch[i].push_back(row[i].text);
                      }
                      if (batch[0].size() >= kKeysAtOnce) flush();
                    });
  flush();
  return missing;
}

// What clients see of a table that has other columns from now on; "" where they are the same.
std::string OtherColumns(const catalog::Table& before, const catalog::Table& after) {
  std::string all;
  const auto add = [&](const std::string& text) { all += (all.empty() ? "" : ", ") + text; };
  std::vector<std::string> kept_before;
  std::vector<std::string> kept_after;
  for (const catalog::Column& column : before.columns) {
    const catalog::Column* other = after.Find(column.name);
    const std::string name = db::DisplayIdentifier(column.name);
    if (other == nullptr) {
      add(name + " is gone");
      continue;
    }
    kept_before.push_back(column.name);
    if (other->type != column.type) add(name + " " + column.type + " -> " + other->type);
  }
  for (const catalog::Column& column : after.columns) {
    if (before.Find(column.name) == nullptr) {
      add(db::DisplayIdentifier(column.name) + " " + column.type + " is new");
    } else {
      kept_after.push_back(column.name);
    }
  }
  if (kept_before != kept_after) add("the order is another");
  return all;
}

// Preserved rows that refer to dropped ones are dropped with them, and so on.
void TellWhatHangsOnDropped(const std::vector<catalog::ForeignKey>& keys, const Settings& settings,
                            std::set<db::TableName> incomplete, core::Plan& plan) {
  std::set<catalog::Oid> told;
  for (bool more = true; more;) {
    more = false;
    for (const catalog::ForeignKey& key : keys) {
      if (key.parent != 0 || !key.validated || !incomplete.contains(key.to) ||
          !settings.IsPreserved(key.from) || !told.insert(key.oid).second) {
        continue;
      }
      more = true;
      incomplete.insert(key.from);
      plan.warnings.push_back(key.from.Display() + ": rows that refer to dropped rows of " +
                              key.to.Display() + " (foreign key " +
                              db::DisplayIdentifier(key.name) + ") are dropped with them");
    }
  }
}

std::int64_t RowsOfTree(db::Session& session, const db::TableName& table) {
  constexpr const char* kRows = R"(
SELECT coalesce(sum(CASE WHEN c.reltuples > 0 THEN c.reltuples
                         ELSE pg_relation_size(c.oid) / 60 END), 0)::bigint  -- not analysed yet
FROM pg_partition_tree(to_regclass($1)) AS t JOIN pg_class c ON c.oid = t.relid WHERE t.isleaf)";
  return session.Scalar(kRows, {db::Value::Text(table.Quoted())}).AsInteger();
}

// Of two partitioned tables with too many partitions: `rows` are looked up under the locks.
void PlanWholeKey(const WholeKey& key, std::int64_t rows, std::chrono::milliseconds limit,
                  core::Plan& plan) {
  if (rows == 0) return;
  const std::int64_t ms = Estimate(rows, kKeysPerMs);
  const std::string what =
      "its foreign key " + db::DisplayIdentifier(key.name) + " to " + key.references.Display() +
      " is between two partitioned tables and can only be made at once: " + std::to_string(rows) +
      " rows are looked up under the locks of the cutover, in about " + std::to_string(ms) + " ms";
  if (ms <= limit.count()) {
    plan.warnings.push_back(key.table.Display() + ": " + what);
    return;
  }
  plan.refused.push_back(
      {"table " + key.table.Display(),
       what + ", of which there are " + std::to_string(limit.count()) +
           ": drop the key before and add it again after, or set limits.lock_timeout_ms to " +
           std::to_string(ms / 2 + 1)});
}

std::vector<Movable> OfProduction(const std::vector<Movable>& all, const SetDecision& decision) {
  std::set<std::string> moved;
  for (const Movable& object : decision.moved) moved.insert(object.Key());
  std::vector<Movable> some;
  for (const Movable& object : all) {
    if (moved.contains(object.Key())) some.push_back(object);
  }
  return some;
}

}  // namespace

core::Plan TableSwap::MakePlan() {
  core::Plan plan;
  CheckPooler(spec_.Target(), "target", plan);
  if (settings_.from_source) CheckPooler(spec_.Endpoint("source"), "source", plan);
  if (!plan.can_run()) return plan;
  const auto session = Connect();
  CheckStandby(*session, plan);
  if (!plan.can_run()) return plan;
  const Known known = ReadOrNothing(*session);
  if (known.manifest && !known.rolled_back) {
    PlanWhatIsLeft(known, plan);
    return plan;
  }
  PlanEarlier(*session, plan);
  for (const Unmovable& object : ListUnmovables(*session, settings_.schemas)) {
    plan.refused.push_back({object.object, object.why});
  }
  for (const std::string& schema : settings_.schemas) {
    if (!session
             ->Scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)",
                      {db::Value::Text(schema)})
             .AsBool()) {
      plan.refused.push_back({"schema " + schema, "there is no such schema in the target"});
    }
  }
  if (!plan.can_run()) {
    TellOthers(*session, ListMovables(*session, settings_.schemas), plan);
    return plan;
  }

  // The new schema: the source itself, or a scratch database that is dropped again at once. Not
  // prepare's own, which may be at work just now.
  const ShadowRequest request = RequestOfPlan();
  std::optional<core::MigrationLock> other_plans;
  Scratch scratch(context_, request);
  struct Dropped {
    Scratch* scratch = nullptr;
    ~Dropped() {
      try {
        if (scratch != nullptr) scratch->Drop();
      } catch (const std::exception&) {  // reset finds it by its name
      }
    }
  } dropped;
  SessionPtr fresh;
  if (settings_.from_source) {
    fresh = db::Connect(spec_.Endpoint("source"),
                        {.application_name = "understudy-engine plan", .read_only = true});
    CheckReading(*fresh, "source", plan);
  }
  if (const ScratchPlace place = FindScratchPlace(*session, fresh ? *fresh : *session, spec_.id);
      !place.refused.empty()) {
    plan.refused.push_back({"the role that migrates", place.refused});
  }
  if (!settings_.from_source) {
    core::Plan rights;  // without them there is no scratch database to look at, or a wrong one
    rights.refused = plan.refused;
    CheckPrivileges(*session, ListMovables(*session, settings_.schemas), settings_, rights);
    CheckReading(*session, "target", rights);
    for (const Unmovable& lost : LostOperators(*session, settings_.schemas)) {
      rights.refused.push_back({lost.object, lost.why});
    }
    if (!rights.can_run()) return rights;
    other_plans.emplace(spec_.Target(), request.migration_id);
    dropped.scratch = &scratch;
    scratch.Make();
    fresh = db::Connect(scratch.endpoint(), {.application_name = "understudy-engine plan"});
    for (const auto& file : settings_.sql_files) {
      for (const db::ScriptStatement& statement :
           db::SplitScript(ReadFile(file), db::Engine::kPostgres, file.string())) {
        plan.statements.push_back(
            {file.string(), statement.line, statement.sql, "own", "in the scratch database only"});
      }
    }
  }
  SetDecision decision = DecideSet(*fresh, *session, settings_);
  if (!settings_.from_source) scratch.RefuseAccess(decision);
  plan.refused.insert(plan.refused.end(), decision.refused.begin(), decision.refused.end());
  plan.warnings.insert(plan.warnings.end(), decision.warnings.begin(), decision.warnings.end());
  const std::vector<Movable> old_objects =
      OfProduction(ListMovables(*session, settings_.schemas), decision);
  CheckPrivileges(*session, old_objects, settings_, plan);
  CheckReplication(*session, old_objects, settings_, plan);
  if (!settings_.from_source) CheckReading(*session, "target", plan);
  CheckConnections(*session, settings_.from_source ? fresh.get() : nullptr, spec_.limits.jobs,
                   plan);
  CheckLockTable(*session, old_objects, plan);
  try {
    PlanTables(*session, *fresh, decision, old_objects, plan);
  } catch (const Error& error) {
    if (error.code() != "42501" || plan.can_run()) throw;
    plan.warnings.push_back(
        "not everything could be looked at without the rights that are refused "
        "below: " +
        error.message());
  }
  TellOthers(*session, old_objects, plan);
  return plan;
}

// Backups of earlier migrations, all of which prepare removes, and others that are under way here.
void TableSwap::PlanEarlier(db::Session& session, core::Plan& plan) {
  std::set<std::string> ours;
  for (core::PlanRefusal& refusal : OthersInTheWay(session)) {
    plan.refused.push_back(std::move(refusal));
  }
  for (const Other& other : Others(session)) {
    if (!other.manifest) continue;
    for (const SchemaNames& names : other.manifest->schemas) ours.insert(names.shadow);
    if (!other.cut_over) continue;
    Json tables = Json::array();
    std::int64_t rows = 0;
    std::int64_t bytes = 0;
    for (const SchemaNames& names : other.manifest->schemas) {
      for (const db::Row& table :
           session
               .Query("SELECT c.relname, greatest(c.reltuples, 0)::bigint, "
                      "pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n "
                      "ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r' "
                      "ORDER BY 1",
                      {db::Value::Text(names.backup)})
               .rows) {
        tables.push_back(db::TableName{names.user, table[0].text}.Display());
        rows += table[1].AsInteger();
        bytes += table[2].AsInteger();
      }
    }
    plan.existing_backup = {
        {"migration", other.id}, {"tables", tables}, {"rows", rows}, {"bytes", bytes}};
    plan.warnings.push_back(
        "the backup of the migration '" + other.id +
        "' is kept until prepare has succeeded, then removed: from then on that one cannot be "
        "rolled back");
  }
  if (const auto mine = core::Journal(session, spec_.id).Load()) {
    const Known known = ReadOrNothing(session);
    if (known.manifest) {
      for (const SchemaNames& names : known.manifest->schemas) ours.insert(names.shadow);
    }
  }
  for (const std::string& schema : settings_.schemas) {
    const std::string shadow = NamesBeside(schema).shadow;
    if (ours.contains(shadow)) continue;
    if (session
            .Scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)",
                    {db::Value::Text(shadow)})
            .AsBool()) {
      plan.refused.push_back({"schema " + shadow,
                              "there is such a schema, which no migration of understudy has made: "
                              "rename or drop it"});
    }
  }
}

// After prepare: only what has not been done.
void TableSwap::PlanWhatIsLeft(const Known& known, core::Plan& plan) {
  const std::string tables = std::to_string(known.manifest->tables.size()) + " tables";
  if (!known.cutover.is_null()) {
    plan.steps.push_back({"cleanup", "drop the backup of " + tables});
    return;
  }
  std::vector<std::string> objects;
  for (const Movable& object : known.manifest->old_objects) {
    if (object.kind == "TABLE") objects.push_back(object.Display());
  }
  if (!known.manifest->complete) {
    plan.steps.push_back({"prepare", "go on building the shadow of " + tables});
  }
  plan.steps.push_back({"sync", "bring over what users have written"});
  core::PlanStep step{"cutover", "exchange " + tables};
  step.locks = LocksOn(objects, "AccessExclusiveLock");
  plan.steps.push_back(step);
  if (known.dropped.is_object()) {
    for (const auto& [table, what] : known.dropped.items()) {
      plan.warnings.push_back(DroppedText(table, what));
    }
  }
  if (!known.blocked.is_null()) {
    for (const Json& row : known.blocked) {
      plan.warnings.push_back("the shadow refuses " + row.value("table", "?") + " " +
                              row.at("key").dump() + ": " + row.value("why", "?"));
    }
  }
}

void TableSwap::PlanTables(db::Session& session, db::Session& fresh, const SetDecision& decision,
                           const std::vector<Movable>& old_objects, core::Plan& plan) {
  const auto old_tables = catalog::ReadTables(session, settings_.schemas);
  const auto new_tables = catalog::ReadTables(fresh, settings_.schemas);
  const auto find = [](const std::vector<catalog::Table>& tables, const db::TableName& name) {
    const auto it = std::ranges::find(tables, name, &catalog::Table::name);
    return it == tables.end() ? nullptr : &*it;
  };
  const auto add = [&](const char* phase, std::string what) -> core::PlanStep& {
    plan.steps.push_back({phase, std::move(what)});
    return plan.steps.back();
  };
  for (const db::TableName& name : settings_.preserved) {
    if (find(new_tables, name) == nullptr) {
      plan.refused.push_back({"table " + name.Display(),
                              "it is to be preserved, and the new schema has no such table"});
    } else if (find(old_tables, name) == nullptr) {
      plan.refused.push_back(
          {"table " + name.Display(), "it is to be preserved, and production has no such table"});
    }
  }
  for (const auto& [name, rules] : settings_.columns) {
    if (find(new_tables, name) == nullptr) {
      plan.refused.push_back({"table " + name.Display(),
                              "\"columns\" names it, and the new schema has no such table"});
    }
  }
  add("prepare", "make " + FindScratchPlace(session, fresh, spec_.id).text);
  for (const LabelToAdd& label : decision.labels) add("prepare", label.sql);
  std::vector<std::string> captured;
  std::int64_t bytes = 0;
  std::vector<catalog::Oid> kept;     // of production, copied to the shadow
  std::vector<catalog::Oid> brought;  // of the source
  std::vector<core::PlanStep> copies;
  for (const SetTable& table : decision.tables) {
    const catalog::Table* old_table = find(old_tables, table.name);
    const catalog::Table* new_table = find(new_tables, table.name);
    if (old_table != nullptr && new_table != nullptr && new_table->partition_of == 0) {
      if (const std::string other = OtherColumns(*old_table, *new_table); !other.empty()) {
        plan.warnings.push_back(table.name.Display() + ": clients will see other columns (" +
                                other +
                                "); prepared statements that return them fail once with "
                                "\"cached plan must not change result type\"");
      }
    }
    if (table.partitioned) continue;
    const bool preserved = table.preserved && old_table != nullptr;
    const catalog::Table* from = preserved               ? old_table
                                 : settings_.from_source ? new_table
                                                         : nullptr;
    core::PlanStep copy{"prepare", "rows of " + table.name.Display() +
                                       (preserved         ? ": production's, kept in step"
                                        : from != nullptr ? ": the source's"
                                                          : ": none, the table is new")};
    if (from != nullptr) {
      copy.rows = std::max<std::int64_t>(0, from->rows_estimate);
      copy.bytes = from->bytes;
      copy.estimate_ms = Estimate(from->bytes, preserved ? kInsertBytesPerMs : kCopyBytesPerMs);
      bytes += from->bytes;
      (preserved ? kept : brought).push_back(from->oid);
    }
    copies.push_back(std::move(copy));
  }
  for (const SetTable& table : decision.tables) {
    const catalog::Table* old_table = find(old_tables, table.name);
    const catalog::Table* new_table = find(new_tables, table.name);
    if (!table.preserved || old_table == nullptr || new_table == nullptr) continue;
    if (old_table->partition_of != 0) continue;
    captured.push_back("table " + table.name.Display());
    const auto rules = settings_.columns.find(table.name);
    const TableMapping mapping = MakeMapping(
        session, *old_table, *new_table,
        rules == settings_.columns.end() ? std::map<std::string, ColumnRule>{} : rules->second);
    for (const std::string& why : mapping.refused) {
      plan.refused.push_back({"table " + table.name.Display(), why});
    }
    for (const std::string& note : mapping.notes) {
      plan.warnings.push_back(table.name.Display() + ": " + note);
    }
    if (settings_.reverse) {
      const TableMapping back = InvertMapping(session, mapping, *old_table, *new_table);
      for (const std::string& why : back.refused) {
        plan.warnings.push_back(table.name.Display() +
                                ": writes behind the cutover cannot be carried back: " + why);
      }
    }
  }
  add("prepare", "build " + std::to_string(decision.tables.size()) + " tables beside production's");
  core::PlanStep& triggers =
      add("prepare", "capture triggers on " + std::to_string(captured.size()) +
                         " tables, in a short transaction that waits for their writers");
  triggers.locks = LocksOn(captured, "ShareRowExclusiveLock");
  for (core::PlanStep& copy : copies) plan.steps.push_back(std::move(copy));
  core::PlanStep& build = add("prepare", "indexes, constraints, statistics of the shadow");
  build.bytes = bytes;
  build.estimate_ms = Estimate(bytes, kIndexBytesPerMs);
  if (plan.existing_backup.is_object()) {
    add("prepare", "remove the backup of '" + plan.existing_backup.value("migration", "?") + "'");
  }
  add("sync", "bring over what users have written since, until little is left");

  if (settings_.from_source) {
    std::vector<catalog::Oid> oids;
    for (const catalog::Table& table : new_tables) oids.push_back(table.oid);
    const auto keys = catalog::ReadForeignKeys(fresh, oids);
    std::set<db::TableName> incomplete;
    for (const catalog::ForeignKey& key : keys) {
      const bool from_preserved = settings_.preserved.contains(key.from);
      if (!from_preserved || settings_.preserved.contains(key.to) || key.parent != 0) continue;
      const catalog::Table* child = find(old_tables, key.from);
      if (child == nullptr || std::ranges::any_of(key.from_columns, [&](const std::string& c) {
            return child->Find(c) == nullptr;
          })) {
        continue;
      }
      const MissingParents missing = FindMissingParents(session, fresh, key, key.from);
      if (missing.keys == 0) continue;
      const std::string what = std::to_string(missing.keys) + " values that rows of " +
                               key.from.Display() + " refer to are not in the new " +
                               key.to.Display() + " (foreign key " +
                               db::DisplayIdentifier(key.name) + "), such as " + missing.example;
      if (settings_.drop_orphans) {
        plan.warnings.push_back(what + ": those rows are dropped (\"orphans\": \"drop\")");
        incomplete.insert(key.from);
      } else {
        plan.refused.push_back(
            {"table " + key.from.Display(),
             what + ": bring them into the source, or say \"orphans\": \"drop\""});
      }
    }
    TellWhatHangsOnDropped(keys, settings_, std::move(incomplete), plan);
  }

  const Dependents dependents = FindDependents(session, old_objects);
  for (const Unmovable& refused : dependents.refused) {
    plan.refused.push_back({refused.object, refused.why});
  }
  for (const ColumnUse& use : ColumnsUsedOutside(session, old_objects)) {
    const catalog::Table* old_table = find(old_tables, use.table);
    const catalog::Table* new_table = find(new_tables, use.table);
    if (old_table == nullptr || new_table == nullptr) continue;
    const catalog::Column* before = old_table->Find(use.column);
    const catalog::Column* after = new_table->Find(use.column);
    if (before == nullptr) continue;
    std::set<std::string> lost;
    if (after != nullptr && use.names_types) {
      lost = TypeParts(session, old_table->oid, use.column);
      for (const std::string& part : TypeParts(fresh, new_table->oid, use.column)) lost.erase(part);
    }
    if (const auto unfit = Unfit(use, *before, after, lost)) {
      plan.refused.push_back({unfit->object, unfit->why});
    }
  }
  const auto stall = StallLimits::Of(session, spec_.limits.lock_timeout_ms).whole;
  const auto in_set = [&](const db::TableName& name) {
    const auto it = std::ranges::find(decision.tables, name, &SetTable::name);
    return it == decision.tables.end() ? nullptr : &*it;
  };
  for (const WholeKey& key : KeysMadeWhole(session, TableOids(old_objects))) {
    if (in_set(key.table) == nullptr) {
      PlanWholeKey(key, RowsOfTree(session, key.table), stall, plan);
    }
  }
  for (const WholeKey& key :
       KeysMadeWhole(fresh, db::IntegerArray(new_tables, &catalog::Table::oid))) {
    const SetTable* from = in_set(key.table);
    const SetTable* to = in_set(key.references);
    // One between replaced tables is made in prepare.
    if (from == nullptr || (to != nullptr && !to->preserved)) continue;
    PlanWholeKey(key, RowsOfTree(from->preserved ? session : fresh, key.table), stall, plan);
  }
  std::vector<std::string> locked;
  for (const Movable& object : old_objects) {
    if (object.kind == "TABLE" || object.kind == "VIEW") locked.push_back(object.Display());
  }
  std::set<std::string> partners;
  for (const Dependent& dependent : dependents.rebuilt) {
    if (!dependent.table.name.empty()) partners.insert("table " + dependent.table.Display());
  }
  for (const Dependent& key : FindOutbound(session, old_objects)) {
    partners.insert("table " + key.table.Display());
  }
  locked.insert(locked.end(), partners.begin(), partners.end());
  core::PlanStep& exchange =
      add("cutover",
          "one transaction: lock, bring over the last rows, main to backup, shadow to "
          "main; at most " +
              std::to_string(stall.count()) + " ms from the first lock to the commit");
  exchange.locks = LocksOn(locked, "AccessExclusiveLock");
  exchange.estimate_ms =
      20 + static_cast<std::int64_t>(kMsPerExchangedTable * static_cast<double>(locked.size()));
  for (const Dependent& dependent : dependents.rebuilt) {
    add("cutover", "rebuild " + dependent.Text() + " on the new tables");
  }
  if (settings_.reverse) {
    add("cutover", "capture writes to the new tables, so that a rollback loses none");
  }
  add("verify", "validate the foreign keys that were added in the cutover; check the exchange");
  add("cleanup", "drop the backup");
  if (settings_.from_source) {
    std::vector<db::TableName> of_source;
    for (const SetTable& table : decision.tables) {
      if (!table.preserved && !table.partitioned) of_source.push_back(table.name);
    }
    std::ranges::move(CopyWarnings(fresh, of_source), std::back_inserter(plan.warnings));
  }
  SpaceNeeds needs = NeedsOf(session, kept);
  for (const auto& [tablespace, size] : NeedsOf(fresh, brought)) needs[tablespace] += size;
  CheckDisk(session, needs, plan);
}

}  // namespace understudy::table_swap
