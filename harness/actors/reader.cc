#include "harness/actors/reader.h"

#include <set>

#include "engine/base/error.h"

namespace understudy::harness {
namespace {

constexpr double kAfterRefusalMs = 2;

}  // namespace

bool CatalogChanged(const Error& error) {
  static const std::set<std::string> kCodes = {"42703", "42P01", "0A000", "42804",
                                               "42P10", "3F000", "42883"};
  const auto says = [&](std::string_view text) {
    return error.message().find(text) != std::string::npos;
  };
  return kCodes.contains(error.code()) || says("no such column") || says("no such table") ||
         says("has no column named");
}

void Reader::Operate(Random& random) {
  if (stage_->chosen.empty()) return Sleep(10);
  const std::size_t index = stage_->chosen[static_cast<std::size_t>(
      random.Uniform(0, static_cast<std::int64_t>(stage_->chosen.size()) - 1))];
  const TablePlan& plan = *stage_->plans[index];
  const auto& rows = stage_->parents[index];
  std::string sql =
      "SELECT " + (plan.returned.empty() ? "1" : plan.Returning()) + " FROM " + plan.quoted;
  std::string operation = "scan";
  db::Params params;
  const double draw = random.Real();
  if (!rows.empty() && draw < 0.85) {
    const db::Row& row =
        rows[static_cast<std::size_t>(random.Zipf(static_cast<std::int64_t>(rows.size())))];
    const bool range = draw > 0.7 && plan.key.size() == 1;
    operation = range ? "range" : "lookup";
    for (std::size_t i = 0; i < plan.key.size(); ++i) {
      params.push_back(row[i]);
      sql += (i == 0 ? " WHERE " : " AND ") +
             db::QuoteIdentifier(plan.table.columns[plan.key[i]].name) + (range ? " >= " : " = ") +
             stage_->Mark(params.size());
    }
    if (range) {
      sql += " ORDER BY " + db::QuoteIdentifier(plan.table.columns[plan.key[0]].name) + " LIMIT 20";
    }
  } else {
    sql += " LIMIT 20";
  }
  const double started = NowMs();
  try {
    Query(sql, params);
    Did(operation, sql, started, "ok");
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInternal) throw;
    const bool lost = IsLost(error);
    Did(operation, sql, started, lost ? "unknown" : "refused", &error,
        Stopping() && error.kind() == ErrorKind::kCancelled);
    if (lost) {
      Lose();
    } else if (refresh_ && CatalogChanged(error)) {
      stage_ = refresh_(stage_);
      Lose();  // a new session has no old plans
    } else {
      Sleep(kAfterRefusalMs);
    }
  }
}

void SqlClient::Operate(Random& /*random*/) {
  const auto number = static_cast<std::size_t>(number_of_operation() - 1);
  const std::string& sql = statements_[number % statements_.size()];
  const std::string operation = "sql" + std::to_string(number % statements_.size());
  const double started = NowMs();
  try {
    session().Execute(sql);
    Did(operation, sql, started, "ok");
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInternal) throw;
    const bool lost = IsLost(error);
    Did(operation, sql, started, lost ? "unknown" : "refused", &error,
        Stopping() && error.kind() == ErrorKind::kCancelled);
    if (lost) {
      Lose();
    } else {
      session().Rollback();  // of a transaction that the statement may have begun
      Sleep(kAfterRefusalMs);
    }
  }
}

}  // namespace understudy::harness
