#include "harness/checks/hot_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "harness/checks/facts.h"
#include "harness/checks/ledger_rows.h"

namespace understudy::harness {
namespace {

// The shared rows' writes once, by key: the ledger has no index and is read-only.
constexpr std::string_view kCollect = R"sql(
CREATE TEMP TABLE hot_writes AS
SELECT database, table_name, key, id, client, row, state, counter, started_ms, ended_ms
FROM counted WHERE hot = 1;
CREATE INDEX temp.hot_writes_by_key ON hot_writes(database, table_name, key);
)sql";

constexpr std::string_view kHotRows = R"sql(
SELECT h.database, h.table_name, h.key, h.column_name, h.value, h.note_column,
       (SELECT count(*) FROM hot_writes AS w WHERE w.database = h.database
          AND w.table_name = h.table_name AND w.key = h.key AND w.state = 'acknowledged'),
       (SELECT count(*) FROM hot_writes AS w WHERE w.database = h.database
          AND w.table_name = h.table_name AND w.key = h.key
          AND w.state IN ('unknown', 'pending')),
       o.row, o.why, o.database IS NOT NULL
FROM hot_rows AS h
LEFT JOIN observed AS o
  ON o.database = h.database AND o.table_name = h.table_name AND o.key = h.key
ORDER BY 1, 2, 3
)sql";

constexpr std::string_view kCountersTwice = R"sql(
SELECT json_extract(counter, '$.value'), count(*), min(client), max(client), min(started_ms)
FROM hot_writes WHERE state = 'acknowledged' AND counter IS NOT NULL
  AND database = ?1 AND table_name = ?2 AND key = ?3
GROUP BY 1 HAVING count(*) > 1 LIMIT 20
)sql";

constexpr std::string_view kHighest = R"sql(
SELECT row, client, CAST(json_extract(counter, '$.value') AS INTEGER) AS reached,
       started_ms, ended_ms
FROM hot_writes WHERE state = 'acknowledged' AND counter IS NOT NULL
  AND database = ?1 AND table_name = ?2 AND key = ?3
ORDER BY reached DESC, id DESC LIMIT 1
)sql";

std::optional<std::int64_t> Number(const Json& value) {
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_string()) return std::nullopt;
  const std::string& text = value.get_ref<const std::string&>();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

class HotRow {
 public:
  HotRow(const db::Row& row, const LedgerColumnRules& rules, const std::vector<PhaseRun>& phases,
         db::Session& ledger, Findings& findings)
      : row_(row), rules_(rules), phases_(phases), ledger_(ledger), findings_(findings) {}

  void Judge() {
    const std::int64_t acknowledged = row_[6].AsInteger();
    const std::int64_t unknown = row_[7].AsInteger();
    if (acknowledged + unknown == 0 || rules_.TableMayDiffer(row_[1].text)) return;
    if (!row_[10].AsBool() || (row_[8].is_null() && !row_[9].is_null())) {
      findings_.Unknown(Where() + " (shared) was not read: " + row_[9].TextOr("nobody looked"));
      return;
    }
    if (row_[8].is_null()) {
      Fail(fmt::format("is gone, with {} acknowledged updates", acknowledged));
      return;
    }
    const Json observed = ParseJson(row_[8].text, "ledger.sqlite");
    const auto column = rules_.After(row_[1].text, row_[3].text);
    if (!column) return;
    const Json at_end = observed.value(*column, Json());
    const auto final_value = Number(at_end);
    if (!final_value) {
      findings_.Unknown(
          fmt::format("{} (shared): its counter {} could not be read", Where(), *column));
      return;
    }
    findings_.Judged();
    const std::int64_t start = Number(Json(row_[4].TextOr("0"))).value_or(0);
    const std::int64_t least = start + acknowledged;
    if (*final_value < least) {
      Fail(fmt::format("lost {} of {} acknowledged updates: the counter is {}, not {}",
                       least - *final_value, acknowledged, *final_value, least));
    } else if (*final_value > least + unknown) {
      Fail(fmt::format("{} updates more than were made: the counter is {}, at most {} was possible",
                       *final_value - least - unknown, *final_value, least + unknown));
    }
    for (const db::Row& twice : ledger_.Query(kCountersTwice, Key()).rows) {
      Fail(
          fmt::format("{} acknowledged updates (of {} and {}, first at {}) all got the counter "
                      "{}: one overwrote the other",
                      twice[1].AsInteger(), twice[2].TextOr(""), twice[3].TextOr(""),
                      Ms(twice[4].AsReal()), twice[0].TextOr("")));
    }
    JudgeLast(observed, *final_value);
  }

 private:
  // The update that got the last counter is the last one: the whole row is as it returned it.
  void JudgeLast(const Json& observed, std::int64_t final_value) {
    const auto highest = ledger_.Query(kHighest, Key()).rows;
    if (highest.empty()) return;
    const db::Row& last = highest[0];
    if (last[2].AsInteger() != final_value) return;  // an unknown update came after it
    const Json row = last[0].is_null() ? Json() : ParseJson(last[0].text, "ledger.sqlite");
    if (!row.is_object()) return;
    const auto columns = DifferingColumns(row, observed, row_[1].text, rules_);
    if (columns.empty()) return;
    const double began = last[3].is_null() ? 0 : last[3].AsReal();
    const std::string whose = fmt::format(
        "the update of {} at {} in {} got the last counter {}", last[1].TextOr(""), Ms(began),
        PhaseAt(phases_, {began, last[4].is_null() ? began : last[4].AsReal()}), final_value);
    if (!row_[5].is_null() && std::ranges::find(columns, row_[5].text) != columns.end()) {
      Fail(whose + ", but the note is another operation's: half of one of them is there");
      return;
    }
    Fail(fmt::format("{}, but {} {} not as it left {}", whose, fmt::join(columns, ", "),
                     columns.size() == 1 ? "is" : "are", columns.size() == 1 ? "it" : "them"));
  }

  db::Params Key() const { return {row_[0], row_[1], row_[2]}; }
  std::string Where() const { return row_[1].text + " " + row_[2].text; }
  void Fail(const std::string& what) {
    findings_.Fail(Where() + " (shared) " + what,
                   {{"table", row_[1].text}, {"key", ParseJson(row_[2].text, "ledger.sqlite")}});
  }

  const db::Row& row_;
  const LedgerColumnRules& rules_;
  const std::vector<PhaseRun>& phases_;
  db::Session& ledger_;
  Findings& findings_;
};

}  // namespace

void JudgeHotRows(const Evidence& evidence, db::Session& ledger, Findings& findings) {
  const LedgerColumnRules rules = ColumnRulesOf(evidence);
  const auto phases = PhasesOf(evidence);
  ledger.Execute(kCollect);
  for (const db::Row& row : ledger.Query(kHotRows).rows) {
    HotRow(row, rules, phases, ledger, findings).Judge();
  }
}

}  // namespace understudy::harness
