#include "harness/checks/ledger_rows.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "harness/checks/facts.h"

namespace understudy::harness {
namespace {

constexpr std::size_t kMostStates = 256;  // 2^8: eight unknown updates of one row in a row
constexpr std::size_t kMostEarlier = 16;

std::string LastPart(const std::string& dotted) {
  try {
    return db::ParseDottedName(dotted, false).back();
  } catch (const Error&) {
    return dotted;
  }
}

std::string Text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : ToLine(value);
}

void AddOnce(std::vector<RowState>& states, RowState state) {
  if (std::find(states.begin(), states.end(), state) == states.end()) {
    states.push_back(std::move(state));
  }
}

void Remember(std::vector<RowState>& rows, RowState row) {
  if (rows.size() == kMostEarlier) rows.erase(rows.begin());
  rows.push_back(std::move(row));
}

RowState Apply(const LedgerWrite& write, const RowState& before) {
  using Role = LedgerWrite::Role;
  RowState after;
  if (write.role == Role::kLeaves || (write.operation == "delete" && write.role == Role::kStays)) {
    after.absent = true;
    return after;
  }
  const bool fresh = write.operation == "insert" || write.role == Role::kComes;
  if (!fresh && !before.absent) after.columns = before.columns;
  if (write.row.is_object()) {
    for (const auto& [column, value] : write.row.items()) after.columns[column] = value;
  }
  return after;
}

std::vector<RowState> ApplyToAll(const LedgerWrite& write, const std::vector<RowState>& before) {
  std::vector<RowState> after;
  const bool needs_row = write.operation == "update" && write.role == LedgerWrite::Role::kStays;
  for (const RowState& state : before) {
    if (needs_row && state.absent) continue;  // an update that found its row
    AddOnce(after, Apply(write, state));
  }
  if (after.empty()) after.push_back(Apply(write, RowState{.anything = true}));
  return after;
}

}  // namespace

LedgerColumnRules::LedgerColumnRules(std::vector<std::string> allow, const Json& map)
    : allow_(std::move(allow)) {
  if (!map.is_object()) return;
  for (const auto& [from, to] : map.items()) {
    if (to.is_string()) map_.emplace_back(from, LastPart(to.get<std::string>()));
  }
}

bool LedgerColumnRules::TableMayDiffer(const std::string& table) const {
  return AnyNamesTable(allow_, table);
}

std::optional<std::string> LedgerColumnRules::After(const std::string& table,
                                                    const std::string& column) const {
  if (AnyNamesColumn(allow_, table, column)) return std::nullopt;
  const std::string path = table + "." + db::DisplayIdentifier(column);
  for (const auto& [from, to] : map_) {
    if (from == column || NamesTable(from, path)) {
      if (AnyNamesColumn(allow_, table, to)) return std::nullopt;
      return to;
    }
  }
  return column;
}

std::vector<std::string> DifferingColumns(const Json& row, const Json& observed,
                                          const std::string& table,
                                          const LedgerColumnRules& rules) {
  std::vector<std::string> differing;
  for (const auto& [column, value] : row.items()) {
    const auto name = rules.After(table, column);
    if (!name) continue;
    const auto now = observed.find(*name);
    if (now == observed.end()) continue;
    if (now->is_null() != value.is_null() || Text(*now) != Text(value)) differing.push_back(column);
  }
  return differing;
}

Match Matches(const RowState& state, const Json& observed, const std::string& table,
              const LedgerColumnRules& rules) {
  if (state.anything && state.columns.empty()) return Match::kYes;
  if (state.absent) return observed.is_null() ? Match::kYes : Match::kNo;
  if (observed.is_null()) return Match::kNo;
  std::size_t common = 0;
  std::size_t may_differ = 0;
  for (const auto& [column, value] : state.columns.items()) {
    const auto name = rules.After(table, column);
    if (!name) {
      ++may_differ;
      continue;
    }
    const auto now = observed.find(*name);
    if (now == observed.end()) continue;
    ++common;
    if (now->is_null() != value.is_null() || Text(*now) != Text(value)) return Match::kNo;
  }
  const bool nothing = common == 0 && may_differ < state.columns.size();
  return nothing ? Match::kNothingInCommon : Match::kYes;
}

void KeyHistory::Add(const LedgerWrite& write) {
  using Role = LedgerWrite::Role;
  const bool undone = write.state == "refused" || write.state == "rolled_back";
  if (first_) {
    first_ = false;
    // An insert that got as far as being rolled back found the key free; a refused one may not.
    const bool makes = write.operation == "insert" || write.role == Role::kComes;
    if (makes && write.role != Role::kLeaves && write.state != "refused") {
      states_ = {RowState{.absent = true}};
    }
  }
  if (undone) {
    last_undone_ = write;
    if (write.state == "rolled_back") Remember(undone_, Apply(write, states_.back()));
    return;
  }
  if (write.state == "acknowledged") {
    ++acknowledged_;
    last_acknowledged_ = write;
    for (const RowState& state : states_) {
      if (!state.anything) Remember(earlier_, state);
    }
    states_ = ApplyToAll(write, states_);
    unknown_txn_ = 0;
    several_unknown_ = false;
    base_.clear();
    after_.clear();
    return;
  }
  // Unknown, or still pending when the run ended: all of its transaction, or nothing of it.
  last_unknown_ = write;
  const bool same = !after_.empty() && write.txn != 0 && write.txn == unknown_txn_;
  if (!same) {
    several_unknown_ |= !after_.empty();
    base_ = states_;
    after_ = states_;
    unknown_txn_ = write.txn;
  }
  after_ = ApplyToAll(write, after_);
  states_ = base_;
  for (const RowState& state : after_) AddOnce(states_, state);
  if (states_.size() > kMostStates) states_ = {RowState{.anything = true}};
}

std::optional<KeyHistory::Either> KeyHistory::either() const {
  if (after_.size() != 1 || base_.size() != 1 || several_unknown_ || unknown_txn_ == 0 ||
      base_[0].anything || base_[0] == after_[0]) {
    return std::nullopt;
  }
  return Either{unknown_txn_, base_[0], after_[0]};
}

}  // namespace understudy::harness
