// `acknowledged-writes`: what the server told a client is so. Joins the ledger with the rows that
// were read in the end, in the order of keys, so that memory stays flat.
#include <fmt/format.h>

#include "harness/checks/facts.h"
#include "harness/checks/findings.h"
#include "harness/checks/hot_rows.h"
#include "harness/checks/ledger_rows.h"
#include "harness/checks/standard.h"
#include "harness/checks/swaps.h"

namespace understudy::harness {
namespace {

// A key update is two things: it leaves one key and comes to another.
constexpr std::string_view kWrites = R"sql(
SELECT w.database, w.table_name, w.k, w.role, w.id, w.client, w.txn, w.operation, w.row, w.state,
       w.started_ms, w.ended_ms, o.row, o.why, o.copies
FROM (SELECT database, table_name, key AS k,
             CASE WHEN key_after IS NOT NULL AND key_after <> key THEN 'leaves' ELSE 'stays' END
               AS role,
             id, client, txn, operation, row, state, started_ms, ended_ms
      FROM counted WHERE hot = 0 AND key IS NOT NULL
      UNION ALL
      SELECT database, table_name, key_after, 'comes',
             id, client, txn, operation, row, state, started_ms, ended_ms
      FROM counted WHERE hot = 0 AND key_after IS NOT NULL AND key_after <> key) AS w
LEFT JOIN (SELECT database, table_name, key, min(row) AS row, max(why) AS why, count(*) AS copies
           FROM observed GROUP BY database, table_name, key) AS o
  ON o.database = w.database AND o.table_name = w.table_name AND o.key = w.k
ORDER BY w.database, w.table_name, w.k, w.id
)sql";

Json ParseOrNull(const db::Value& value) {
  return value.is_null() ? Json(nullptr) : ParseJson(value.text, "ledger.sqlite");
}

// Text forms as typed values; the ledger knows no types.
Json Typed(const Json& row) {
  if (!row.is_object()) return nullptr;
  Json typed = Json::object();
  for (const auto& [column, value] : row.items()) {
    typed[column] =
        value.is_null()
            ? Json(nullptr)
            : Json{{"type", "text"},
                   {"text", value.is_string() ? value.get<std::string>() : ToLine(value)}};
  }
  return typed;
}

struct Observed {
  Json row = nullptr;
  std::string why;  // of a row that was not read
  std::int64_t copies = 0;
};

class LedgerJudge {
 public:
  LedgerJudge(const Evidence& evidence, Findings& findings)
      : rules_(ColumnRulesOf(evidence)), phases_(PhasesOf(evidence)), findings_(findings) {}

  void Judge(db::Session& ledger) {
    ledger.ForEachRow(kWrites, {}, [&](const db::Row& row) { Take(row); });
    Close();
    for (const auto& [txn, sides] : transactions_) {
      if (sides.applied.empty() || sides.missing.empty()) continue;
      findings_.Fail(fmt::format("half of the unknown transaction {} is there: {} is, {} is not",
                                 txn, sides.applied, sides.missing));
    }
  }

  std::int64_t keys() const { return keys_; }

 private:
  struct Sides {
    std::string applied;  // the first key of each side
    std::string missing;
  };

  void Take(const db::Row& row) {
    const std::string group = row[0].text + '\0' + row[1].text + '\0' + row[2].text;
    if (group != group_) {
      Close();
      group_ = group;
      table_ = row[1].text;
      key_ = row[2].text;
      history_ = KeyHistory();
      observed_ = {ParseOrNull(row[12]), row[13].TextOr(""),
                   row[14].is_null() ? 0 : row[14].AsInteger()};
    }
    LedgerWrite write;
    using Role = LedgerWrite::Role;
    write.role = row[3].text == "leaves"  ? Role::kLeaves
                 : row[3].text == "comes" ? Role::kComes
                                          : Role::kStays;
    write.id = row[4].AsInteger();
    write.client = row[5].TextOr("");
    write.txn = row[6].is_null() ? 0 : row[6].AsInteger();
    write.operation = row[7].TextOr("");
    write.row = ParseOrNull(row[8]);
    write.state = row[9].TextOr("pending");
    write.started_ms = row[10].is_null() ? 0 : row[10].AsReal();
    write.ended_ms = row[11].is_null() ? write.started_ms : row[11].AsReal();
    history_.Add(write);
  }

  // One key's writes are complete.
  void Close() {
    if (group_.empty()) return;
    group_.clear();
    if (rules_.TableMayDiffer(table_)) {
      if (skipped_.insert(table_).second) {
        findings_.Note(table_ + ": need not agree (rows.allow)");
      }
      return;
    }
    if (observed_.copies == 0) {
      findings_.Unknown(Where() + " was not looked for in the end");
      return;
    }
    if (observed_.row.is_null() && !observed_.why.empty()) {
      findings_.Unknown(Where() + " could not be read: " + observed_.why);
      return;
    }
    findings_.Judged();
    ++keys_;
    if (observed_.copies > 1 && !observed_.row.is_null()) {
      Fail(fmt::format("duplicated: the row is there {} times", observed_.copies), nullptr);
      return;
    }
    bool nothing_in_common = false;
    for (const RowState& state : history_.states()) {
      switch (Matches(state, observed_.row, table_, rules_)) {
        case Match::kYes:
          NoteSide();
          return;
        case Match::kNothingInCommon:
          nothing_in_common = true;
          break;
        case Match::kNo:
          break;
      }
    }
    if (nothing_in_common) {
      findings_.Unknown(Where() + ": no column is left to compare; rows.map names renamed ones");
      return;
    }
    Classify();
  }

  void NoteSide() {
    const auto either = history_.either();
    if (!either) return;
    const bool before = Matches(either->before, observed_.row, table_, rules_) == Match::kYes;
    const bool after = Matches(either->after, observed_.row, table_, rules_) == Match::kYes;
    if (before == after) return;
    Sides& sides = transactions_[either->txn];
    std::string& side = after ? sides.applied : sides.missing;
    if (side.empty()) side = Where();
  }

  void Classify() {
    const RowState& expected = history_.states().back();
    const auto& acknowledged = history_.last_acknowledged();
    const bool unknown = history_.states().size() > 1;
    const auto found = [&](const std::vector<RowState>& states) {
      for (const RowState& state : states) {
        if (state.anything || (state.absent != observed_.row.is_null())) continue;
        if (!state.absent && state.columns.empty()) continue;
        if (Matches(state, observed_.row, table_, rules_) == Match::kYes) return true;
      }
      return false;
    };
    if (!observed_.row.is_null() && found(history_.undone())) {
      Fail("a write that was rolled back is there: " + Named(history_.last_undone()), expected);
    } else if (unknown) {
      Fail("half: the row is neither as before nor as after " + Named(history_.last_unknown()),
           expected);
    } else if (observed_.row.is_null()) {
      Fail("lost: " + Named(acknowledged) + " is gone", expected);
    } else if (expected.absent) {
      Fail("resurrected: the row is there again after " + Named(acknowledged), expected);
    } else if (found(history_.earlier())) {
      Fail("lost: the row is as it was before " + Named(acknowledged), expected);
    } else {
      Fail("changed: the row is not as " + Named(acknowledged) + " left it", expected);
    }
  }

  std::string Where() const { return table_ + " " + key_; }

  std::string Named(const std::optional<LedgerWrite>& write) const {
    if (!write) return "no write at all";
    return fmt::format("the {} of {} ({} at {}, in {})", write->operation, write->client,
                       write->state, Ms(write->ended_ms),
                       PhaseAt(phases_, {write->started_ms, write->ended_ms}));
  }

  void Fail(const std::string& what, const std::optional<RowState>& expected) {
    Json example = {{"table", table_},
                    {"key", ParseJson(key_, "ledger.sqlite")},
                    {"what", what.substr(0, what.find(':'))},
                    {"left", expected && !expected->absent ? Typed(expected->columns) : Json()},
                    {"right", Typed(observed_.row)}};
    findings_.Fail(Where() + " " + what, std::move(example));
  }
  void Fail(const std::string& what, std::nullptr_t) { Fail(what, std::optional<RowState>()); }

  LedgerColumnRules rules_;
  std::vector<PhaseRun> phases_;
  Findings& findings_;
  std::string group_, table_, key_;
  KeyHistory history_;
  Observed observed_;
  std::set<std::string> skipped_;
  std::map<std::int64_t, Sides> transactions_;  // unknown ones: few
  std::int64_t keys_ = 0;
};

class AcknowledgedWrites final : public Check {
 public:
  std::string_view id() const override { return "acknowledged-writes"; }

  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (HasLedgeredWriters(evidence)) return std::nullopt;
    return "no writers";
  }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const auto ledger = evidence.OpenLedger();
    if (!ledger) {
      findings.Unknown("there is no ledger");
      return findings.Done(id(), "", "");
    }
    const auto count = [&](const char* condition) {
      return ledger->Scalar(std::string("SELECT count(*) FROM writes WHERE ") + condition)
          .AsInteger();
    };
    const auto acknowledged = count("state = 'acknowledged'");
    if (acknowledged == 0) findings.Unknown("no write was acknowledged");
    if (const auto keyless = count("key IS NULL AND state = 'acknowledged'"); keyless > 0) {
      findings.Unknown(fmt::format("{} acknowledged writes have no key to look for", keyless));
    }
    CreateCounted(evidence, *ledger);
    LedgerJudge judge(evidence, findings);
    judge.Judge(*ledger);
    JudgeHotRows(evidence, *ledger, findings);
    return findings.Done(
        id(),
        fmt::format("{} acknowledged writes of {} rows are there as they were acknowledged",
                    acknowledged, findings.judged()),
        "no row of the ledger could be judged");
  }
};

}  // namespace

CheckPtr AcknowledgedWritesCheck() { return std::make_unique<AcknowledgedWrites>(); }

}  // namespace understudy::harness
