// `errors`: operations of clients that were refused, and neither meant to be nor a fault's doing.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "harness/checks/facts.h"
#include "harness/checks/faults.h"
#include "harness/checks/findings.h"
#include "harness/checks/hot_copies.h"
#include "harness/checks/standard.h"

namespace understudy::harness {
namespace {

constexpr std::size_t kMostSorts = 1000;  // of errors told apart

class Errors final : public Check {
 public:
  std::string_view id() const override { return "errors"; }

  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (HasClients(evidence)) return std::nullopt;
    return "no clients";
  }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const Json options = OptionsOf(evidence, id());
    const auto allow = Strings(options, "allow");
    const double most = NumberAt(options, "max", 0);
    const Explanations explanations(evidence);
    const HotCopies copies(evidence);
    std::int64_t drained = 0;
    const auto phases = PhasesOf(evidence);

    struct Sort {
      std::int64_t count = 0;
      std::string line;
    };
    std::map<std::string, Sort> sorts;
    std::int64_t errors = 0;
    std::int64_t explained = 0;
    std::int64_t allowed = 0;
    std::int64_t total = 0;
    if (const auto ledger = evidence.OpenLedger()) {
      total = ledger->Scalar("SELECT count(*) FROM operations").AsInteger();
      ledger->ForEachRow(
          "SELECT client, operation, database, started_ms, duration_ms, outcome, sqlstate, message,"
          " statement FROM operations"
          " WHERE outcome IN ('refused', 'unknown') AND expected = 0 ORDER BY started_ms",
          {}, [&](const db::Row& row) {
            const std::string state = row[6].TextOr("");
            const double began = row[3].AsReal();
            const Span span{began, began + (row[4].is_null() ? 0 : row[4].AsReal())};
            const bool unknown = row[5].text == "unknown";
            if (explanations.Explains(state, unknown, span)) {
              ++explained;
              return;
            }
            if (copies.IsDrained(row[2].TextOr(""), span, row[7].TextOr(""))) {
              ++drained;
              return;
            }
            if (std::find(allow.begin(), allow.end(), state) != allow.end()) {
              ++allowed;
              return;
            }
            ++errors;
            const std::string message = row[7].TextOr("");
            const std::string key = state + '\0' + row[1].text + '\0' + FirstLine(message);
            if (sorts.size() >= kMostSorts && !sorts.contains(key)) return;
            Sort& sort = sorts[key];
            if (++sort.count > 1) return;
            sort.line = fmt::format("{} of {} {} ({}), first at {} in {}: {}", row[1].text,
                                    row[0].text, unknown ? "has an unknown end" : "was refused",
                                    state.empty() ? "connection lost" : state, Ms(began),
                                    PhaseAt(phases, span), FirstLine(message));
          });
    }
    findings.Judged(total);
    if (static_cast<double>(errors) > most) {
      findings.Fail(
          fmt::format("{} operation{} refused or lost without a reason that the "
                      "scenario gives; {:.0f} allowed",
                      errors, errors == 1 ? " was" : "s were", most));
      std::vector<const Sort*> worst;
      for (const auto& [key, sort] : sorts) worst.push_back(&sort);
      std::stable_sort(worst.begin(), worst.end(),
                       [](const Sort* a, const Sort* b) { return a->count > b->count; });
      if (worst.size() > 20) worst.resize(20);
      for (const Sort* sort : worst)
        findings.Note(fmt::format("{} ×: {}", sort->count, sort->line));
    }
    if (explained > 0) findings.Note(fmt::format("{} explained by faults", explained));
    if (drained > 0) {
      findings.Note(
          fmt::format("{} refused while the hot copy drained, and told to retry", drained));
    }
    if (allowed > 0) findings.Note(fmt::format("{} allowed by their code", allowed));
    for (const Event* event : EventsWith(evidence, "workload", "status", "died")) {
      findings.Unknown(fmt::format("workload {} ({}) died: {}", TextAt(event->data, "index"),
                                   TextAt(event->data, "kind"), TextAt(event->data, "error")));
    }
    return findings.Done(
        id(), fmt::format("{} operations, {} refused, within what is allowed", total, errors),
        "no client did anything");
  }

 private:
  static std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }
};

}  // namespace

CheckPtr ErrorsCheck() { return std::make_unique<Errors>(); }

}  // namespace understudy::harness
