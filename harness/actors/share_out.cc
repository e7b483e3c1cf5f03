// Who owns which row. Rows of before are halved by the hash of their key: one half belongs to
// clients, the other to nobody, so that rows which no client wrote are compared as well.
#include <algorithm>
#include <unordered_map>

#include "engine/base/error.h"
#include "harness/actors/hash.h"
#include "harness/actors/stage.h"

namespace understudy::harness {
namespace {

constexpr std::size_t kRowsPerClient = 400;
constexpr std::size_t kRowsAtLeast = 1000;
constexpr std::size_t kHotRowsPerTable = 3;

struct Candidate {
  std::size_t plan;
  db::Row kept;
  db::Value counter;
  bool by_a_client = false;  // inserted by a client of this run
};

std::string RowsOf(const TablePlan& plan, std::size_t limit) {
  std::string columns, not_null, order;
  for (const std::size_t i : plan.kept) {
    columns += (columns.empty() ? "" : ", ") + db::QuoteIdentifier(plan.table.columns[i].name);
  }
  for (const std::size_t i : plan.key) {
    const std::string name = db::QuoteIdentifier(plan.table.columns[i].name);
    not_null += (not_null.empty() ? "" : " AND ") + name + " IS NOT NULL";
    order += (order.empty() ? "" : ", ") + name;
  }
  columns += plan.counter < 0
                 ? ", NULL"
                 : ", " + db::QuoteIdentifier(
                              plan.table.columns[static_cast<std::size_t>(plan.counter)].name);
  return "SELECT " + columns + " FROM " + plan.quoted + " WHERE " + not_null + " ORDER BY " +
         order + " LIMIT " + std::to_string(limit);
}

// Room for a long run to count up in.
bool CanCount(const TablePlan& plan, const db::Value& counter) {
  if (counter.is_null()) return false;
  std::int64_t value = 0;
  try {
    value = counter.AsInteger();
  } catch (const std::exception&) {
    return false;  // SQLite: text in an integer column
  }
  const std::string& type = plan.table.columns[static_cast<std::size_t>(plan.counter)].base_type;
  const std::int64_t most = type == "int2" ? INT16_MAX : type == "int4" ? INT32_MAX : INT64_MAX;
  return value < most / 2;
}

void ForgetRowsOfClients(std::vector<Candidate>& rows, const Stage& stage, Ledger& ledger) {
  ledger.WaitForKeys();
  std::unordered_map<std::string, std::vector<Candidate*>> by_key;
  for (Candidate& row : rows) {
    const TablePlan& plan = *stage.plans[row.plan];
    by_key[plan.display + '\n' + ToLine(plan.KeyJson(row.kept))].push_back(&row);
  }
  const auto reader =
      db::Connect(db::Endpoint::Sqlite(ledger.evidence().folder() / "ledger.sqlite"));
  reader->ForEachRow(
      "SELECT table_name, key, key_after FROM writes WHERE database = ?1 AND hot = 0",
      {db::Value::Text(stage.database)}, [&](const db::Row& write) {
        for (const std::size_t column : {1U, 2U}) {
          if (write[column].is_null()) continue;
          const auto it = by_key.find(write[0].text + '\n' + write[column].text);
          if (it == by_key.end()) continue;
          for (Candidate* row : it->second) row->by_a_client = true;
        }
      });
}

}  // namespace

void ShareOut(Stage& stage, db::Session& session, Ledger& ledger, const StageOptions& options) {
  const std::size_t limit = std::max(kRowsAtLeast, kRowsPerClient * options.clients);
  stage.parents.assign(stage.plans.size(), {});
  stage.owned.assign(stage.plans.size(), std::vector<std::vector<db::Row>>(options.clients));
  std::vector<Candidate> rows;
  for (std::size_t p = 0; p < stage.plans.size(); ++p) {
    TablePlan& plan = *stage.plans[p];
    const bool chosen =
        std::find(stage.chosen.begin(), stage.chosen.end(), p) != stage.chosen.end();
    if (plan.key.empty() || (!chosen && !plan.has_children)) continue;
    try {
      for (db::Row& row : session.Query(RowsOf(plan, limit)).rows) {
        Candidate candidate{p, std::move(row), {}};
        candidate.counter = std::move(candidate.kept.back());
        candidate.kept.pop_back();
        rows.push_back(std::move(candidate));
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kConstraint) throw;
      plan.why_not.push_back("reads: " + error.message());  // no privilege
      plan.can_insert = plan.can_insert_short = plan.can_delete = plan.can_upsert = false;
      plan.updatable.clear();
    }
  }
  ForgetRowsOfClients(rows, stage, ledger);

  std::vector<std::size_t> hot_of(stage.plans.size(), 0);
  for (Candidate& row : rows) {
    if (row.by_a_client) continue;
    const TablePlan& plan = *stage.plans[row.plan];
    if (plan.has_children || !options.writes) stage.parents[row.plan].push_back(row.kept);
    if (!options.writes || !plan.CanWrite() ||
        std::find(stage.chosen.begin(), stage.chosen.end(), row.plan) == stage.chosen.end()) {
      continue;
    }
    const Json key = plan.KeyJson(row.kept);
    const std::string text = ToLine(key);
    if (options.hot_share > 0 && plan.counter >= 0 && !plan.updatable.empty() &&
        hot_of[row.plan] < kHotRowsPerTable && CanCount(plan, row.counter)) {
      if (!ledger.Claim(stage.database, plan.display, text)) continue;
      ++hot_of[row.plan];
      const auto name = [&](int column) {
        return column < 0
                   ? db::Value::Null()
                   : db::Value::Text(plan.table.columns[static_cast<std::size_t>(column)].name);
      };
      const std::lock_guard lock(ledger.mutex());
      ledger.session().Query(
          "INSERT INTO hot_rows(database, table_name, key, column_name, value, note_column)"
          " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
          {db::Value::Text(stage.database), db::Value::Text(plan.display), db::Value::Text(text),
           name(plan.counter), db::Value::Text(row.counter.text), name(plan.note)});
      stage.hot.push_back({row.plan, std::move(row.kept)});
      continue;
    }
    const std::size_t bucket = Hash(plan.display + text) % (2 * options.clients);
    if (bucket % 2 == 0) continue;
    if (!ledger.Claim(stage.database, plan.display, text)) continue;
    stage.owned[row.plan][bucket / 2].push_back(std::move(row.kept));
  }
}

}  // namespace understudy::harness
