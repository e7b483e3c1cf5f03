#include <algorithm>
#include <map>

#include "engine/base/error.h"
#include "harness/schema/column_plan.h"
#include "harness/schema/schema.h"

namespace understudy::harness {
namespace {

constexpr double kNullShare = 0.1;

// The columns that make each unique key unique: of every key the one with the most values, a
// column that is no foreign key before one that is (whose values the caller chooses).
std::map<std::string, bool> UniqueColumns(const SchemaTable& table, const TableRules& rules) {
  std::map<std::string, bool> unique;
  const auto rules_of = [&](const std::string& name) {
    const auto it = rules.columns.find(name);
    return it == rules.columns.end() ? ColumnRules() : it->second;
  };
  for (const SchemaKey& key : table.keys) {
    const SchemaColumn* best = nullptr;
    std::int64_t most = -1;
    for (const std::string& name : key.columns) {
      const SchemaColumn* column = table.Column(name);
      if (column == nullptr || column->generated || !ValueMaker::CanMake(*column)) continue;
      const bool foreign = std::any_of(
          table.foreign_keys.begin(), table.foreign_keys.end(), [&](const SchemaForeignKey& to) {
            return std::find(to.columns.begin(), to.columns.end(), name) != to.columns.end();
          });
      const std::int64_t capacity =
          foreign ? 0 : ColumnPlan(*column, rules_of(name), true).Capacity();
      if (capacity <= most) continue;
      most = capacity;
      best = column;
    }
    if (best != nullptr) unique[best->name] = true;
  }
  for (const SchemaColumn& column : table.columns) {
    if (column.in_other_unique && column.base_type != "bool" && column.base_type != "enum") {
      unique[column.name] = true;
    }
  }
  return unique;
}

}  // namespace

struct ValueMaker::State {
  std::string table;
  TableRules rules;
  std::map<std::string, ColumnPlan, std::less<>> plans;
  std::map<std::string, bool> in_key;
};

ValueMaker::ValueMaker(const SchemaTable& table) : state_(std::make_unique<State>()) {
  state_->table = table.name.Display();
  state_->rules = ReadRules(table);
  const std::map<std::string, bool> unique = UniqueColumns(table, state_->rules);
  for (const SchemaKey& key : table.keys) {
    for (const std::string& name : key.columns) state_->in_key[name] = true;
  }
  for (const SchemaColumn& column : table.columns) {
    if (!CanMake(column)) continue;
    state_->plans.emplace(column.name, ColumnPlan(column, state_->rules.columns[column.name],
                                                  unique.contains(column.name)));
  }
}

ValueMaker::~ValueMaker() = default;
ValueMaker::ValueMaker(ValueMaker&&) noexcept = default;

const ColumnPlan& ValueMaker::Plan(const SchemaColumn& column) const {
  const auto it = state_->plans.find(column.name);
  if (it == state_->plans.end()) {
    throw Error(ErrorKind::kUnsupported,
                "no values of the type " + column.type + " can be made for " + state_->table + "." +
                    db::DisplayIdentifier(column.name) +
                    "; give the column a default or fill the table by SQL");
  }
  return it->second;
}

const std::vector<std::string>& ValueMaker::NotUnderstood() const {
  return state_->rules.not_understood;
}

db::Value ValueMaker::Make(const SchemaColumn& column, Random& random, std::int64_t serial,
                           bool allow_null) const {
  if (!CanMake(column) && column.nullable) return db::Value::Null();
  const ColumnPlan& plan = Plan(column);
  if (plan.always_null()) return db::Value::Null();
  // A key's columns are never NULL: a unique index may hold NULLs equal.
  if (allow_null && !plan.not_null() && !state_->in_key.contains(column.name) &&
      random.Chance(kNullShare)) {
    return db::Value::Null();
  }
  return plan.Make(random, serial);
}

}  // namespace understudy::harness
