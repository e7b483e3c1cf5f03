// Which statement a writer sends next: always one that the schema of the start accepts and that no
// other client's write can make fail.
#include <algorithm>

#include "engine/base/error.h"
#include "harness/actors/writer.h"

namespace understudy::harness {
namespace {

// Numbers that no other client of the run draws, above what fixtures number their rows with.
constexpr std::int64_t kFirstSerial = std::int64_t{1} << 27;
constexpr std::int64_t kSerialStride = 512;
constexpr int kTries = 8;
constexpr double kNullParent = 0.1;
constexpr double kOwnParent = 0.3;
constexpr double kShortInsert = 0.2;
constexpr double kManyColumns = 0.25;
constexpr std::size_t kMostColumns = 8;

}  // namespace

std::int64_t Writer::NextSerial() {
  return kFirstSerial + kSerialStride * serial_++ +
         static_cast<std::int64_t>(setup().number) % kSerialStride;
}

std::string Writer::Where(const TablePlan& plan, const db::Row& key, db::Params& params) const {
  std::string sql;
  for (std::size_t i = 0; i < plan.key.size(); ++i) {
    params.push_back(key[i]);
    sql += (i == 0 ? " WHERE " : " AND ") +
           db::QuoteIdentifier(plan.table.columns[plan.key[i]].name) + " = " +
           stage_->Mark(params.size());
  }
  return sql;
}

void Writer::AskForRow(Step& step) const { step.sql += " RETURNING " + step.plan->Returning(); }

KnownRow* Writer::Pick(std::size_t plan, Random& random, bool removable) {
  KnownRows& rows = own_[plan];
  if (rows.empty()) return nullptr;
  const bool has_children = stage_->plans[plan]->has_children;
  for (int i = 0; i < kTries; ++i) {
    KnownRow& row = rows.at(
        static_cast<std::size_t>(random.Uniform(0, static_cast<std::int64_t>(rows.size()) - 1)));
    if (row.busy) continue;
    // Rows of before may have children that we know nothing of.
    if (removable && has_children && (row.parent || !row.inserted)) continue;
    if (removable && !KeyStaysUnused(plan, row)) continue;
    return &row;
  }
  return nullptr;
}

// SQLite gives the next row the number after the greatest: if that row is deleted, its number comes
// back, perhaps to somebody else. Whoever deletes owns a greater one: so the greatest stays.
bool Writer::KeyStaysUnused(std::size_t plan, const KnownRow& row) {
  if (stage_->engine != db::Engine::kSqlite || !stage_->plans[plan]->server_makes_key) return true;
  KnownRows& rows = own_[plan];
  const KnownRow& last = rows.at(rows.size() - 1);
  return &last != &row && !last.busy && last.kept[0].AsInteger() > row.kept[0].AsInteger();
}

bool Writer::Parents(Random& random, Step& step, std::vector<std::optional<db::Value>>& values) {
  const TablePlan& plan = *step.plan;
  const std::uint64_t bit = std::uint64_t{1} << (step.plan_index % 64);
  for (std::size_t f = 0; f < plan.foreign_keys.size(); ++f) {
    const ForeignKeyPlan& key = plan.foreign_keys[f];
    const bool exclusive = plan.exclusive_parent == static_cast<int>(f);
    const bool already = std::any_of(key.columns.begin(), key.columns.end(), [&](std::size_t c) {
      return values[c] && !values[c]->is_null();
    });
    const auto none = [&] {
      for (const std::size_t c : key.columns) {
        if (!values[c] && plan.table.columns[c].nullable) values[c] = db::Value::Null();
      }
    };
    const bool may_be_null =
        !exclusive && std::any_of(key.columns.begin(), key.columns.end(), [&](std::size_t c) {
          return plan.table.columns[c].nullable && (!values[c] || values[c]->is_null());
        });
    if (key.parent == kNoParent || (may_be_null && !already && random.Chance(kNullParent))) {
      if (!may_be_null) return false;
      none();
      continue;
    }
    KnownRows& own = own_[key.parent];
    const std::vector<db::Row>& shared = stage_->parents[key.parent];
    bool found = false;
    for (int i = 0; i < kTries && !found; ++i) {
      const db::Row* kept = nullptr;
      KnownRow* chosen = nullptr;
      if (exclusive || shared.empty() || (!own.empty() && random.Chance(kOwnParent))) {
        if (own.empty()) break;
        chosen = &own.at(
            static_cast<std::size_t>(random.Uniform(0, static_cast<std::int64_t>(own.size()) - 1)));
        if (chosen->busy || (exclusive && (!chosen->inserted || (chosen->exclusive_for & bit)))) {
          continue;
        }
        kept = &chosen->kept;
      } else {
        kept = &shared[static_cast<std::size_t>(
            random.Zipf(static_cast<std::int64_t>(shared.size())))];
      }
      bool fits = true;
      for (std::size_t c = 0; c < key.columns.size() && fits; ++c) {
        const db::Value& value = (*kept)[key.from[c]];
        const auto& now = values[key.columns[c]];
        fits = !value.is_null() && (!now || *now == value);
      }
      if (!fits) continue;
      for (std::size_t c = 0; c < key.columns.size(); ++c) {
        values[key.columns[c]] = (*kept)[key.from[c]];
      }
      if (chosen != nullptr) {
        chosen->parent = true;
        if (exclusive) chosen->exclusive_for |= bit;
      }
      found = true;
    }
    if (found) continue;
    if (!may_be_null) return false;
    none();
  }
  return true;
}

bool Writer::PrepareInsert(Random& random, Step& step, bool upsert) {
  const TablePlan& plan = *step.plan;
  const SchemaTable& table = plan.table;
  if (!(upsert ? plan.can_upsert : plan.can_insert)) return false;
  const std::int64_t serial = NextSerial();
  KnownRow* existing = nullptr;
  if (upsert && (plan.server_makes_key || random.Chance(0.5))) {
    existing = Pick(step.plan_index, random, false);
    if (existing == nullptr && plan.server_makes_key) return false;
  }
  std::vector<std::optional<db::Value>> values(table.columns.size());
  if (existing != nullptr) {
    for (std::size_t i = 0; i < plan.key.size(); ++i) values[plan.key[i]] = existing->kept[i];
  }
  if (!Parents(random, step, values)) return false;
  bool brief = plan.can_insert_short && !upsert && random.Chance(kShortInsert);
  if (short_insert_ >= 0) brief = short_insert_ == 1;
  std::vector<std::size_t> columns = plan.insert[brief ? 1 : 0];
  if (existing != nullptr) {
    for (const std::size_t k : plan.key) {
      if (std::find(columns.begin(), columns.end(), k) == columns.end()) columns.push_back(k);
    }
  }
  step.sent = Json::object();
  std::string names, marks;
  for (const std::size_t i : columns) {
    if (!values[i]) values[i] = plan.maker.Make(table.columns[i], random, serial);
    step.params.push_back(*values[i]);
    // A row that is there keeps what the statement does not set.
    if (existing == nullptr ||
        std::find(plan.updatable.begin(), plan.updatable.end(), i) != plan.updatable.end()) {
      step.values.emplace_back(i, *values[i]);
      step.sent[table.columns[i].name] = values[i]->ToJson();
    }
    names += (names.empty() ? "" : ", ") + db::QuoteIdentifier(table.columns[i].name);
    marks += (marks.empty() ? "" : ", ") + stage_->Mark(step.params.size());
  }
  step.sql = columns.empty()
                 ? "INSERT INTO " + plan.quoted + " DEFAULT VALUES"
                 : "INSERT INTO " + plan.quoted + " (" + names + ") VALUES (" + marks + ")";
  if (upsert) {
    std::string target, set;
    for (const std::size_t k : plan.key) {
      target += (target.empty() ? "" : ", ") + db::QuoteIdentifier(table.columns[k].name);
    }
    for (const std::size_t u : plan.updatable) {
      if (std::find(columns.begin(), columns.end(), u) == columns.end()) continue;
      const std::string name = db::QuoteIdentifier(table.columns[u].name);
      set += (set.empty() ? "" : ", ") + name + " = excluded." + name;
    }
    if (set.empty()) return false;
    step.sql += " ON CONFLICT (" + target + ") DO UPDATE SET " + set;
  }
  AskForRow(step);
  if (existing != nullptr || !plan.server_makes_key) {
    db::Row key;
    for (const std::size_t k : plan.key) key.push_back(values[k].value_or(db::Value::Null()));
    step.key = plan.KeyJson(key);
    step.key_row = std::move(key);
  }
  step.row = existing;
  return true;
}

bool Writer::PrepareUpdate(Random& random, Step& step) {
  const TablePlan& plan = *step.plan;
  if (plan.updatable.empty()) return false;
  step.row = Pick(step.plan_index, random, false);
  if (step.row == nullptr) return false;
  std::vector<std::size_t> columns;
  if (only_column_ >= 0) {
    columns.push_back(static_cast<std::size_t>(only_column_));
  } else if (random.Chance(kManyColumns)) {
    columns = plan.updatable;
    if (columns.size() > kMostColumns) columns.resize(kMostColumns);
  } else {
    columns.push_back(plan.updatable[static_cast<std::size_t>(
        random.Uniform(0, static_cast<std::int64_t>(plan.updatable.size()) - 1))]);
  }
  step.sent = Json::object();
  std::string set;
  for (const std::size_t i : columns) {
    const SchemaColumn& column = plan.table.columns[i];
    db::Value value = plan.maker.Make(column, random, NextSerial());
    step.sent[column.name] = value.ToJson();
    step.values.emplace_back(i, value);
    step.params.push_back(std::move(value));
    set += (set.empty() ? "" : ", ") + db::QuoteIdentifier(column.name) + " = " +
           stage_->Mark(step.params.size());
  }
  step.sql = "UPDATE " + plan.quoted + " SET " + set + Where(plan, step.row->kept, step.params);
  AskForRow(step);
  step.key = plan.KeyJson(step.row->kept);
  return true;
}

bool Writer::PrepareDelete(Random& random, Step& step) {
  const TablePlan& plan = *step.plan;
  if (!plan.can_delete) return false;
  step.row = Pick(step.plan_index, random, true);
  if (step.row == nullptr) return false;
  step.sql = "DELETE FROM " + plan.quoted + Where(plan, step.row->kept, step.params);
  step.key = plan.KeyJson(step.row->kept);
  return true;
}

bool Writer::PrepareMove(Random& random, Step& step) {
  const TablePlan& plan = *step.plan;
  if (plan.movable.empty() || plan.updatable.empty()) return false;
  step.row = Pick(step.plan_index, random, true);
  if (step.row == nullptr) return false;
  db::Row after(step.row->kept.begin(),
                step.row->kept.begin() + static_cast<std::ptrdiff_t>(plan.key.size()));
  const std::int64_t serial = NextSerial();
  std::string set;
  for (const std::size_t k : plan.movable) {
    const SchemaColumn& column = plan.table.columns[k];
    db::Value value = plan.move_by_sequence.empty() ? plan.maker.Make(column, random, serial, false)
                                                    : session().Scalar(plan.move_by_sequence);
    after[static_cast<std::size_t>(std::find(plan.key.begin(), plan.key.end(), k) -
                                   plan.key.begin())] = value;
    step.params.push_back(std::move(value));
    set += (set.empty() ? "" : ", ") + db::QuoteIdentifier(column.name) + " = " +
           stage_->Mark(step.params.size());
  }
  step.sent = plan.KeyJson(after);
  step.sql = "UPDATE " + plan.quoted + " SET " + set + Where(plan, step.row->kept, step.params);
  AskForRow(step);
  step.key = plan.KeyJson(step.row->kept);
  step.key_after = step.sent;
  step.key_row_after = std::move(after);
  return true;
}

bool Writer::PrepareHot(Random& random, Step& step) {
  if (stage_->hot.empty()) return false;
  const auto index = static_cast<std::size_t>(
      random.Uniform(0, static_cast<std::int64_t>(stage_->hot.size()) - 1));
  if (std::find(full_counters_.begin(), full_counters_.end(), static_cast<std::int64_t>(index)) !=
      full_counters_.end()) {
    return false;
  }
  step.hot = &stage_->hot[index];
  step.plan_index = step.hot->plan;
  step.plan = stage_->plans[step.plan_index].get();
  const TablePlan& plan = *step.plan;
  if (plan.counter < 0) return false;
  const std::string counter =
      db::QuoteIdentifier(plan.table.columns[static_cast<std::size_t>(plan.counter)].name);
  step.sql = "UPDATE " + plan.quoted + " SET " + counter + " = " + counter + " + 1";
  step.sent = Json::object();
  if (plan.note >= 0) {
    const SchemaColumn& note = plan.table.columns[static_cast<std::size_t>(plan.note)];
    db::Value value =
        db::Value::Text("hot:" + name() + ":" + std::to_string(number_of_operation()));
    step.sent[note.name] = value.text;
    step.values.emplace_back(static_cast<std::size_t>(plan.note), value);
    step.params.push_back(std::move(value));
    step.sql += ", " + db::QuoteIdentifier(note.name) + " = " + stage_->Mark(step.params.size());
  }
  step.sql += Where(plan, step.hot->kept, step.params);
  AskForRow(step);
  step.key = plan.KeyJson(step.hot->kept);
  return true;
}

bool Writer::Prepare(Kind kind, std::size_t plan, Random& random, Step& step) {
  step = Step{};
  step.kind = kind;
  step.plan_index = plan;
  step.plan = stage_->plans[plan].get();
  bool ready = false;
  switch (kind) {
    case Kind::kInsert:
      ready = PrepareInsert(random, step, false);
      break;
    case Kind::kUpsert:
      ready = PrepareInsert(random, step, true);
      break;
    case Kind::kUpdate:
      ready = PrepareUpdate(random, step);
      break;
    case Kind::kDelete:
      ready = PrepareDelete(random, step);
      break;
    case Kind::kKeyUpdate:
      ready = PrepareMove(random, step);
      break;
    case Kind::kHot:
      ready = PrepareHot(random, step);
      break;
    case Kind::kTransaction:
    case Kind::kRollback:
      throw Error(ErrorKind::kInternal, "a group of statements is no statement");
  }
  if (ready && step.row != nullptr) step.row->busy = true;
  return ready;
}

bool Writer::PrepareAny(Kind kind, Random& random, Step& step) {
  if (kind == Kind::kHot) return Prepare(kind, 0, random, step);
  const auto& chosen = stage_->chosen;
  const auto first =
      static_cast<std::size_t>(random.Uniform(0, static_cast<std::int64_t>(chosen.size()) - 1));
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    Random own = random.Fork(std::to_string(i));
    if (Prepare(kind, chosen[(first + i) % chosen.size()], own, step)) return true;
  }
  return false;
}

}  // namespace understudy::harness
