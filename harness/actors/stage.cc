#include "harness/actors/stage.h"

#include <algorithm>

#include "engine/base/error.h"

namespace understudy::harness {
namespace {

constexpr int kNoteLength = 40;

// Whether there are enough values that every row of a long run has its own.
bool HasManyValues(const SchemaColumn& column) {
  static const std::set<std::string> kWide = {
      "int4", "int8", "text", "varchar", "bpchar", "uuid",      "bytea",      "integer",
      "blob", "any",  "real", "float8",  "citext", "timestamp", "timestamptz"};
  if (column.base_type == "numeric") {
    return column.precision < 0 || column.precision - std::max(0, column.scale) >= 10;
  }
  return kWide.contains(column.base_type) && (column.max_length < 0 || column.max_length >= 8);
}

std::size_t Position(const SchemaTable& table, const std::string& name) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i].name == name) return i;
  }
  throw Error(ErrorKind::kInternal, "no column " + name + " in " + table.name.Display());
}

bool Contains(const std::vector<std::size_t>& list, std::size_t what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

std::set<std::string> ReferredTo(const Schema& schema, const SchemaTable& table) {
  std::set<std::string> columns;
  for (const SchemaTable& other : schema.tables) {
    for (const SchemaForeignKey& key : other.foreign_keys) {
      if (key.to == table.name) columns.insert(key.to_columns.begin(), key.to_columns.end());
    }
  }
  return columns;
}

std::unique_ptr<TablePlan> NewPlan(const Schema& schema, const SchemaTable& table) {
  auto plan = std::make_unique<TablePlan>(table);
  plan->display = table.name.Display();
  plan->quoted = table.name.Quoted();
  for (const std::string& name : table.RowKey()) plan->key.push_back(Position(table, name));
  plan->kept = plan->key;
  const std::set<std::string> referred = ReferredTo(schema, table);
  plan->has_children = !referred.empty();
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const SchemaColumn& column = table.columns[i];
    // The text of regclass and its like depends on the search path: it cannot be compared.
    if (!column.type.starts_with("reg")) plan->returned.push_back(i);
    if (referred.contains(column.name) && !Contains(plan->kept, i)) plan->kept.push_back(i);
  }
  for (const SchemaKey& key : table.keys) plan->known_constraints.insert(key.name);
  for (const SchemaCheck& check : table.checks) plan->known_constraints.insert(check.name);
  return plan;
}

// False: a row cannot be inserted, because what it must refer to cannot be read.
bool PlanForeignKeys(Stage& stage, TablePlan& plan) {
  bool possible = true;
  for (const SchemaForeignKey& key : plan.table.foreign_keys) {
    ForeignKeyPlan own;
    own.name = key.name;
    for (const std::string& name : key.columns) {
      own.columns.push_back(Position(plan.table, name));
      if (!plan.table.columns[own.columns.back()].nullable) own.nullable = false;
    }
    const int parent = stage.Find(key.to);
    if (parent < 0 || key.to_columns.size() != key.columns.size()) {
      own.parent = kNoParent;
      if (!own.nullable) {
        possible = false;
        plan.why_not.push_back("inserts: its foreign key " + db::DisplayIdentifier(key.name) +
                               " refers to " + key.to.Display() + ", which cannot be read");
      }
    } else {
      own.parent = static_cast<std::size_t>(parent);
      const TablePlan& to = *stage.plans[own.parent];
      for (const std::string& name : key.to_columns) {
        const auto it = std::find(to.kept.begin(), to.kept.end(), Position(to.table, name));
        own.from.push_back(static_cast<std::size_t>(it - to.kept.begin()));
      }
    }
    plan.foreign_keys.push_back(std::move(own));
  }
  return possible;
}

std::set<std::size_t> FromParents(const TablePlan& plan) {
  std::set<std::size_t> columns;
  for (const ForeignKeyPlan& key : plan.foreign_keys) {
    columns.insert(key.columns.begin(), key.columns.end());
  }
  return columns;
}

// Every unique key needs something that gives each of our rows a value of its own.
bool KeysStayUnique(TablePlan& plan, const std::set<std::size_t>& from_parents) {
  for (const SchemaKey& key : plan.table.keys) {
    std::set<std::size_t> columns;
    bool unique = false;
    for (const std::string& name : key.columns) {
      const std::size_t column = Position(plan.table, name);
      columns.insert(column);
      if (from_parents.contains(column)) continue;
      unique |= !Contains(plan.insert[0], column) || HasManyValues(plan.table.columns[column]);
    }
    if (unique) continue;
    int own_parent = -1;
    for (std::size_t f = 0; f < plan.foreign_keys.size(); ++f) {
      const auto& its = plan.foreign_keys[f].columns;
      if (plan.foreign_keys[f].parent != kNoParent &&
          std::all_of(its.begin(), its.end(), [&](std::size_t c) { return columns.contains(c); })) {
        own_parent = static_cast<int>(f);
      }
    }
    if (own_parent >= 0 && (plan.exclusive_parent < 0 || plan.exclusive_parent == own_parent)) {
      plan.exclusive_parent = own_parent;
      continue;
    }
    plan.why_not.push_back("inserts: its unique key " + db::DisplayIdentifier(key.name) +
                           " has too few values for rows of our own");
    return false;
  }
  return true;
}

void PlanInsert(TablePlan& plan) {
  const std::set<std::size_t> from_parents = FromParents(plan);
  plan.can_insert = true;
  for (std::size_t i = 0; i < plan.table.columns.size(); ++i) {
    const SchemaColumn& column = plan.table.columns[i];
    if (column.generated || column.identity_always) continue;
    const bool in_key = Contains(plan.key, i);
    if (from_parents.contains(i)) {
      plan.insert[0].push_back(i);
      plan.insert[1].push_back(i);
    } else if (column.sequence_default) {
      continue;  // as applications do: the server draws it
    } else if (ValueMaker::CanMake(column)) {
      plan.insert[0].push_back(i);
      if (!column.has_default || in_key) plan.insert[1].push_back(i);
    } else if (!column.nullable && !column.has_default) {
      plan.can_insert = false;
      plan.why_not.push_back("inserts: no values can be made for its column " +
                             db::DisplayIdentifier(column.name) + " of type " + column.type);
    }
  }
  for (const std::size_t k : plan.key) {
    if (!Contains(plan.insert[0], k)) plan.server_makes_key = true;
  }
  plan.can_insert = plan.can_insert && KeysStayUnique(plan, from_parents);
  plan.can_insert_short = plan.can_insert && plan.insert[1].size() != plan.insert[0].size();
}

void PlanChanges(const Schema& schema, TablePlan& plan) {
  const SchemaTable& table = plan.table;
  const std::set<std::size_t> from_parents = FromParents(plan);
  const std::set<std::string> referred = ReferredTo(schema, table);
  std::set<std::string> in_keys, in_checks, in_wide_checks;
  for (const SchemaKey& key : table.keys) in_keys.insert(key.columns.begin(), key.columns.end());
  for (const SchemaCheck& check : table.checks) {
    in_checks.insert(check.columns.begin(), check.columns.end());
    if (check.columns.size() == 1) continue;  // a wide one depends on the row as it is
    in_wide_checks.insert(check.columns.begin(), check.columns.end());
  }
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const SchemaColumn& column = table.columns[i];
    if (column.generated || column.identity_always || column.sequence_default) continue;
    if (from_parents.contains(i) || referred.contains(column.name)) continue;
    if (in_keys.contains(column.name) || column.in_other_unique) continue;
    // A row had better stay in its partition.
    if (table.partition_check.find(column.name) != std::string::npos) continue;
    const bool free = !in_checks.contains(column.name);
    if (free && plan.counter < 0 && IsInteger(column)) plan.counter = static_cast<int>(i);
    if (free && plan.note < 0 && IsText(column)) plan.note = static_cast<int>(i);
    if (!in_wide_checks.contains(column.name) && ValueMaker::CanMake(column)) {
      plan.updatable.push_back(i);
    }
  }
  plan.can_delete = true;
  plan.can_upsert = plan.can_insert && !plan.updatable.empty() && plan.exclusive_parent < 0;
  for (const std::size_t k : plan.key) {
    const SchemaColumn& column = table.columns[k];
    if (column.identity_always) plan.can_upsert = false;
    if (column.generated) plan.can_upsert = false;
    if (column.generated || column.identity_always || from_parents.contains(k)) continue;
    if (table.partition_check.find(column.name) != std::string::npos) continue;
    if (!column.sequence_default) {
      if (ValueMaker::CanMake(column) && HasManyValues(column)) plan.movable.push_back(k);
    } else if (column.default_text.find("nextval(") != std::string::npos) {
      // Never above the sequence: the next insert would meet it.
      plan.move_by_sequence = "SELECT " + column.default_text;
      plan.movable.assign(1, k);
      break;
    }
  }
}

}  // namespace

bool IsInteger(const SchemaColumn& column) {
  return column.base_type == "int2" || column.base_type == "int4" || column.base_type == "int8" ||
         column.base_type == "integer";
}

bool IsText(const SchemaColumn& column) {
  return (column.base_type == "text" || column.base_type == "varchar") &&
         (column.max_length < 0 || column.max_length >= kNoteLength);
}

std::string TablePlan::Returning() const {
  std::string list;
  for (const std::size_t i : returned) {
    list += (list.empty() ? "" : ", ") + db::QuoteIdentifier(table.columns[i].name);
  }
  return list;
}

Json TablePlan::RowJson(const db::Row& returned_row) const {
  Json json = Json::object();
  for (std::size_t i = 0; i < returned.size(); ++i) {
    json[table.columns[returned[i]].name] = returned_row[i].ToJson();
  }
  return json;
}

Json TablePlan::KeyJson(const db::Row& kept_row) const {
  Json json = Json::object();
  for (std::size_t i = 0; i < key.size(); ++i) {
    json[table.columns[key[i]].name] = kept_row[i].ToJson();
  }
  return json;
}

db::Row TablePlan::Keep(const db::Row& returned_row) const {
  db::Row row;
  for (const std::size_t k : kept) {
    const auto it = std::find(returned.begin(), returned.end(), k);
    row.push_back(it == returned.end()
                      ? db::Value::Null()
                      : returned_row[static_cast<std::size_t>(it - returned.begin())]);
  }
  return row;
}

int Stage::Find(const db::TableName& name) const {
  for (std::size_t i = 0; i < plans.size(); ++i) {
    if (plans[i]->table.name == name) return static_cast<int>(i);
  }
  return -1;
}

std::unique_ptr<Stage> PlanStage(db::Session& session, const std::string& database,
                                 const StageOptions& options) {
  const Schema schema = ReadSchema(session);
  auto stage = std::make_unique<Stage>();
  stage->engine = schema.engine;
  stage->database = database;
  for (const SchemaTable* table : schema.InForeignKeyOrder()) {
    stage->plans.push_back(NewPlan(schema, *table));
  }
  for (auto& plan : stage->plans) {
    const bool parents_known = PlanForeignKeys(*stage, *plan);
    if (plan->key.empty()) {
      plan->why_not.push_back("it has no primary key and no unique key of not-null columns");
      continue;
    }
    PlanInsert(*plan);
    if (!parents_known) plan->can_insert = plan->can_insert_short = false;
    PlanChanges(schema, *plan);
  }
  for (std::size_t i = 0; i < stage->plans.size(); ++i) {
    const std::string& name = stage->plans[i]->display;
    if (options.tables.empty() ||
        std::any_of(options.tables.begin(), options.tables.end(), [&](const std::string& wanted) {
          return name == wanted || db::MatchesGlob(name, wanted);
        })) {
      stage->chosen.push_back(i);
    }
  }
  return stage;
}

std::string ClientName(const std::string& kind, std::size_t number) {
  return "understudy-client-" + kind + "-" + std::to_string(number);
}

std::unique_ptr<db::Session> ConnectClient(const db::Endpoint& endpoint, const std::string& name,
                                           bool canonical) {
  db::SessionOptions options;
  options.settings = db::Settings::kUsers;
  options.application_name = name;
  options.foreign_keys = true;
  auto session = db::Connect(endpoint, options);
  if (canonical && endpoint.engine() == db::Engine::kSqlite) {
    // A rehearsal's file need not outlive the machine, and the disk's moods are no finding.
    session->Execute("PRAGMA synchronous = OFF");
  } else if (canonical) {
    // What comes back is compared with what another session reads at the end.
    session->Execute(
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres';"
        "SET bytea_output = 'hex'; SET extra_float_digits = 3; SET lc_monetary = 'C';"
        "SET xmloption = 'content'");
  }
  return session;
}

}  // namespace understudy::harness
