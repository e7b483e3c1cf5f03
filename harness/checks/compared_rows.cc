#include "harness/checks/compared_rows.h"

#include <fmt/format.h>

#include "harness/checks/facts.h"

namespace understudy::harness {
namespace {

std::string Rows(std::int64_t count) {
  return fmt::format("{} row{}", count, count == 1 ? "" : "s");
}

class TableJudge {
 public:
  TableJudge(const TableComparison& table, const AllowedRows& allowed, const std::string& where,
             Findings& findings)
      : table_(table), allowed_(allowed), prefix_(where + table.table), findings_(findings) {}

  void Judge() {
    if (IsOwnTable(table_.table) || AnyNamesTable(allowed_.skip, table_.table)) return;
    if (AnyNamesTable(allowed_.allow, table_.table)) {
      findings_.Note(prefix_ + ": need not agree (rows.allow)");
      return;
    }
    switch (table_.result) {
      case CompareResult::kEqual:
        findings_.Judged(table_.left_rows);
        return;
      case CompareResult::kUnknown:
        findings_.Unknown(prefix_ + " could not be compared: " +
                          (table_.why.empty() ? "no reason was given" : table_.why));
        return;
      case CompareResult::kOnlyLeft:
        findings_.Judged(table_.left_rows);
        if (table_.left_rows > 0) {
          findings_.Fail(fmt::format("{} is gone, and with it {}; if that is meant, allow the "
                                     "table by name",
                                     prefix_, Rows(table_.left_rows)),
                         {{"table", table_.table}, {"kind", "missing"}});
        }
        return;
      case CompareResult::kOnlyRight:
        findings_.Note(fmt::format("{} is new, with {}", prefix_, Rows(table_.right_rows)));
        return;
      case CompareResult::kDifferent:
        JudgeDifferent();
        return;
    }
  }

 private:
  void JudgeDifferent() {
    findings_.Judged(std::max(table_.left_rows, table_.right_rows));
    bool told = false;
    const auto fail = [&](const std::string& line) {
      findings_.Fail(prefix_ + ": " + line);
      told = true;
    };
    if (table_.missing > 0) fail(Rows(table_.missing) + " lost");
    if (table_.extra > 0) {
      if (AnyNamesTable(allowed_.new_rows, table_.table)) {
        findings_.Note(prefix_ + ": " + Rows(table_.extra) + " added, as allowed");
        told = true;
      } else {
        fail(Rows(table_.extra) + " that no client wrote appeared");
      }
    }
    std::string columns;
    for (const auto& [column, count] : table_.columns) {
      if (count <= 0 || AnyNamesColumn(allowed_.allow, table_.table, column)) continue;
      columns += fmt::format("{}{} ({})", columns.empty() ? "" : ", ", column, Rows(count));
    }
    if (!columns.empty()) {
      fail("values changed in " + columns);
    } else if (table_.changed > 0 && table_.columns.empty()) {
      fail(Rows(table_.changed) + " changed");
    } else if (table_.changed > 0) {
      findings_.Note(
          fmt::format("{}: {} changed in columns that may change", prefix_, Rows(table_.changed)));
      told = true;
    }
    // Different without a row to show: a column that one side alone has, for instance.
    if (!told) fail("differs" + (table_.why.empty() ? std::string() : ": " + table_.why));
    for (const RowDifference& one : table_.differences) Example(one);
  }

  void Example(const RowDifference& one) {
    if (one.kind == "extra" && AnyNamesTable(allowed_.new_rows, table_.table)) return;
    if (one.kind == "changed" && !table_.columns.empty() && one.left.is_object()) {
      bool finding = false;
      for (const auto& [column, value] : one.left.items()) {
        finding |= !AnyNamesColumn(allowed_.allow, table_.table, column);
      }
      if (!finding) return;
    }
    Json example = {{"table", table_.table},
                    {"kind", one.kind},
                    {"key", one.key},
                    {"left", one.left},
                    {"right", one.right}};
    if (one.copies_left != 1 || one.copies_right != 1) {
      example["copies_left"] = one.copies_left;
      example["copies_right"] = one.copies_right;
    }
    findings_.Example(std::move(example));
  }

  const TableComparison& table_;
  const AllowedRows& allowed_;
  std::string prefix_;
  Findings& findings_;
};

}  // namespace

void JudgeComparison(const Comparison& comparison, const AllowedRows& allowed,
                     const std::string& where, Findings& findings) {
  for (const TableComparison& table : comparison.tables) {
    TableJudge(table, allowed, where, findings).Judge();
  }
}

}  // namespace understudy::harness
