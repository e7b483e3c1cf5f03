// The table of all standard checks, and what is true of every one of them: switched off, not
// applying, throwing.
#include <fmt/format.h>

#include <algorithm>

#include "harness/checks/facts.h"
#include "harness/checks/faults.h"
#include "harness/checks/standard.h"

namespace understudy::harness {
namespace {

using reports::Outcome;
using reports::Verdict;

class NotChecked {
 public:
  void Add(const std::string& what, const std::string& why) {
    const Json entry = {{"what", what}, {"why", why}};
    if (std::find(list_.begin(), list_.end(), entry) == list_.end()) list_.push_back(entry);
  }
  bool Names(const std::string& what) const {
    return std::any_of(list_.begin(), list_.end(),
                       [&](const Json& entry) { return entry["what"] == what; });
  }
  Json Take() { return std::move(list_); }

 private:
  Json list_ = Json::array();
};

// What was skipped, sampled or cut short, whoever said so.
void CollectNotChecked(const Evidence& evidence, NotChecked& list) {
  for (const Event* event : evidence.OfKind("not_checked")) {
    list.Add(TextAt(event->data, "what"), TextAt(event->data, "why"));
  }
  for (const std::string& table : UnledgeredTables(evidence)) {
    list.Add("rows of " + table, "a workload outside the ledger writes to it");
  }
  for (const Event* event : evidence.OfKind("workload")) {
    for (const Json& skipped : event->data.value("skipped", Json::array())) {
      list.Add("writes to " + TextAt(skipped, "table"), TextAt(skipped, "why"));
    }
  }
  for (const Event* event : evidence.OfKind("comparison")) {
    const Json result = event->data.value("result", Json::object());
    for (const Json& entry : result.value("not_checked", Json::array())) {
      list.Add(TextAt(entry, "what"), TextAt(entry, "why"));
    }
    for (const Json& table : result.value("tables", Json::array())) {
      if (TextAt(table, "result") != "unknown") continue;
      list.Add("rows of " + TextAt(table, "table"), TextAt(table, "why"));
    }
  }
  if (const auto names = SnapshotsToCompare(evidence)) {
    for (const std::string& database : DatabaseNames(evidence)) {
      for (const std::string& name : {names->before, names->after}) {
        const auto content = evidence.Snapshot(name, database);
        if (!content) continue;
        for (const Json& entry : content->value("not_checked", Json::array())) {
          list.Add(TextAt(entry, "what"), TextAt(entry, "why"));
        }
      }
    }
  }
}

Verdict JudgeOne(const Check& check, const Evidence& evidence) {
  try {
    return check.Judge(evidence);
  } catch (const std::exception& error) {
    Verdict verdict;
    verdict.id = check.id();
    verdict.summary = std::string("the check could not be made: ") + error.what();
    return verdict;
  }
}

}  // namespace

const std::vector<CheckPtr>& StandardChecks() {
  static const std::vector<CheckPtr> checks = [] {
    std::vector<CheckPtr> table;
    table.push_back(RowsCheck());
    table.push_back(CatalogCheck(CatalogFamily::kCatalog));
    table.push_back(CatalogCheck(CatalogFamily::kSequences));
    table.push_back(CatalogCheck(CatalogFamily::kConstraints));
    table.push_back(CatalogCheck(CatalogFamily::kIndexes));
    table.push_back(CatalogCheck(CatalogFamily::kTriggers));
    table.push_back(OrphansCheck());
    table.push_back(SourceUnchangedCheck());
    table.push_back(AcknowledgedWritesCheck());
    table.push_back(WriteAfterCheck());
    table.push_back(MovedCheck());
    table.push_back(RollbackRestoresCheck());
    table.push_back(LeftoversCheck());
    table.push_back(StallsCheck());
    table.push_back(ErrorsCheck());
    table.push_back(LocksCheck());
    table.push_back(DurationCheck());
    table.push_back(IdempotentCheck());
    table.push_back(UpDownUpCheck());
    table.push_back(StepsCheck());
    return table;
  }();
  return checks;
}

Judgement JudgeAll(const Evidence& evidence) { return JudgeAll(evidence, StandardChecks()); }

Judgement JudgeAll(const Evidence& evidence, const std::vector<CheckPtr>& checks) {
  Judgement judgement;
  NotChecked not_checked;
  try {
    CollectNotChecked(evidence, not_checked);
  } catch (const std::exception& error) {
    judgement.reasons.push_back(std::string("the evidence is broken: ") + error.what());
  }
  bool judged = false;
  Outcome observed = Outcome::kPass;
  for (const CheckPtr& check : checks) {
    const std::string id(check->id());
    const Json options = OptionsOf(evidence, id);
    if (const std::string reason = TextAt(options, "off"); !reason.empty()) {
      Verdict verdict;
      verdict.id = id;
      verdict.summary = "switched off: " + reason;
      verdict.waived = reason;
      judgement.verdicts.push_back(std::move(verdict));
      continue;
    }
    // The runner says so of checks that it could not make the evidence for.
    if (not_checked.Names("check:" + id)) continue;
    std::optional<std::string> why;
    try {
      why = check->DoesNotApply(evidence);
    } catch (const std::exception&) {  // then it applies, and Judge tells what is wrong
    }
    if (why) {
      not_checked.Add("check:" + id, *why);
      continue;
    }
    judgement.verdicts.push_back(JudgeOne(*check, evidence));
    observed = Worse(observed, judgement.verdicts.back().outcome);
    judged = true;
  }
  // hard-case 114: a fault that never struck proves nothing.
  for (const FaultRun& fault : FaultsOf(evidence)) {
    if (fault.struck > 0) continue;
    const std::string what = "fault " + fault.kind + (fault.at.empty() ? "" : " at " + fault.at);
    judgement.reasons.push_back(what + " never struck");
    not_checked.Add(what, "it never struck");
  }
  const auto ends = evidence.OfKind("end");
  const std::string status = ends.empty() ? "" : TextAt(ends.back()->data, "status");
  const std::string reason = ends.empty() ? "" : TextAt(ends.back()->data, "reason");
  if (ends.empty() || status == "interrupted") {
    judgement.interrupted = true;
    judgement.reasons.insert(judgement.reasons.begin(),
                             "interrupted" + (reason.empty() ? "" : ": " + reason));
  } else if (status != "complete") {
    judgement.reasons.insert(judgement.reasons.begin(), reason.empty() ? "the run failed" : reason);
  }
  if (!judged) judgement.reasons.push_back("nothing was checked");
  if (!judgement.reasons.empty()) observed = Worse(observed, Outcome::kUnknown);
  if (judgement.interrupted) observed = Outcome::kUnknown;
  judgement.observed = observed;
  judgement.not_checked = not_checked.Take();
  return judgement;
}

}  // namespace understudy::harness
