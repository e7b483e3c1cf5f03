#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "harness/evidence/evidence.h"

// What the ledger lets the row of one key be in the end. Pure: no files, no time.
namespace understudy::harness {

// Which columns may differ and what they are called afterwards: `rows.allow`, `rows.map`.
class LedgerColumnRules {
 public:
  LedgerColumnRules(std::vector<std::string> allow, const Json& map);
  bool TableMayDiffer(const std::string& table) const;
  // The column's name in the end, or nullopt when it need not agree.
  std::optional<std::string> After(const std::string& table, const std::string& column) const;

 private:
  std::vector<std::string> allow_;
  std::vector<std::pair<std::string, std::string>> map_;  // pattern of TABLE.COLUMN → new name
};

// Those of the scenario, and what the column rules of its table swaps say.
LedgerColumnRules ColumnRulesOf(const Evidence& evidence);

// One write to one key, as the ledger has it.
struct LedgerWrite {
  std::int64_t id = 0;
  std::string client;
  std::int64_t txn = 0;
  std::string operation;
  enum class Role { kStays, kLeaves, kComes };  // a key update leaves one key and comes to another
  Role role = Role::kStays;
  Json row = nullptr;
  std::string state;
  double started_ms = 0;
  double ended_ms = 0;
};

// A row as it may be. `anything`: before the first write that we know of.
struct RowState {
  bool anything = false;
  bool absent = false;
  Json columns = Json::object();  // those that are known
  bool operator==(const RowState&) const = default;
};

// The columns of `row`, as the ledger has it, that `observed` has too and with another value.
std::vector<std::string> DifferingColumns(const Json& row, const Json& observed,
                                          const std::string& table, const LedgerColumnRules& rules);

enum class Match { kYes, kNo, kNothingInCommon };
// `observed`: the row as it was read in the end, null when it was absent.
Match Matches(const RowState& state, const Json& observed, const std::string& table,
              const LedgerColumnRules& rules);

// Folds the writes of one key, in the order of their ids, into the states that are right.
class KeyHistory {
 public:
  void Add(const LedgerWrite& write);

  const std::vector<RowState>& states() const { return states_; }
  // The last acknowledged write, the last one that was undone (rolled back or refused) and the last
  // unknown one; null when there is none.
  const std::optional<LedgerWrite>& last_acknowledged() const { return last_acknowledged_; }
  const std::optional<LedgerWrite>& last_undone() const { return last_undone_; }
  const std::optional<LedgerWrite>& last_unknown() const { return last_unknown_; }
  // Rows that acknowledged or undone writes made and later ones replaced: to name what came back.
  const std::vector<RowState>& earlier() const { return earlier_; }
  const std::vector<RowState>& undone() const { return undone_; }
  std::int64_t acknowledged() const { return acknowledged_; }

  // When everything after the last acknowledged write is ONE unknown transaction, and what was
  // before it is known: its number and the two states, of which exactly one is right.
  struct Either {
    std::int64_t txn = 0;
    RowState before;
    RowState after;
  };
  std::optional<Either> either() const;

 private:
  std::vector<RowState> states_{RowState{.anything = true}};
  std::vector<RowState> base_;   // before the open unknown transaction
  std::vector<RowState> after_;  // after all of it
  std::int64_t unknown_txn_ = 0;
  bool several_unknown_ = false;
  bool first_ = true;
  std::int64_t acknowledged_ = 0;
  std::optional<LedgerWrite> last_acknowledged_, last_undone_, last_unknown_;
  std::vector<RowState> earlier_, undone_;
};

}  // namespace understudy::harness
