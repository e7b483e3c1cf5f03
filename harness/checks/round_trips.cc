// The checks of going there and back: `idempotent` (the same files again change nothing),
// `up-down-up` (what the trip lost, in rows and values), `rollback-restores`. All read the same
// three kinds of event: probes, comparisons of rows, differences of catalogs.
#include <fmt/format.h>

#include <algorithm>

#include "harness/checks/compared_rows.h"
#include "harness/checks/facts.h"
#include "harness/checks/probes.h"
#include "harness/checks/standard.h"
#include "harness/checks/swaps.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

class RoundTrip : public Check {
 protected:
  // Whether there is evidence with the use `use`.
  bool HasEvidence(const Evidence& evidence, std::string_view use) const {
    return !ProbesOf(evidence, id()).empty() ||
           !EventsWith(evidence, "comparison", "use", use).empty() ||
           !EventsWith(evidence, "catalog-diff", "use", use).empty();
  }

  // `allow` holds PATHs, tables and columns that the trip may change.
  void JudgeUse(const Evidence& evidence, std::string_view use, Findings& findings) const {
    const Json options = OptionsOf(evidence, id());
    const auto allow = Strings(options, "allow");
    JudgeProbes(evidence, id(), findings);
    for (const Event* event : EventsWith(evidence, "comparison", "use", use)) {
      const Comparison comparison = Comparison::FromJson(event->data.at("result"));
      if (comparison.result == CompareResult::kUnknown && comparison.tables.empty()) {
        findings.Unknown(Sides(*event) + " could not be compared");
      }
      findings.Judged();  // equal and empty is what it should be
      JudgeComparison(comparison, {allow, {}, UnledgeredTables(evidence)}, Sides(*event) + ": ",
                      findings);
    }
    for (const Event* event : EventsWith(evidence, "catalog-diff", "use", use)) {
      findings.Judged();
      for (const Json& change : event->data.value("changes", Json::array())) {
        JudgeChange(*event, change, allow, findings);
      }
    }
  }

 private:
  static std::string Sides(const Event& event) {
    return TextAt(event.data, "left") + " against " + TextAt(event.data, "right");
  }

  static void JudgeChange(const Event& event, const Json& change,
                          const std::vector<std::string>& allow, Findings& findings) {
    const std::string path = TextAt(change, "path");
    const bool allowed = std::any_of(allow.begin(), allow.end(), [&](const std::string& pattern) {
      return MatchesPath(path, pattern);
    });
    const std::string property = TextAt(change, "property");
    // Rows that were inserted on the way moved a sequence on.
    if (IsOurs(path) || allowed || property == "last_value" || property == "is_called") return;
    const std::string kind = TextAt(change, "change");
    std::string line = Sides(event) + ": " + path;
    if (kind == "added") {
      line += " is there and was not";
    } else if (kind == "removed") {
      line += " was there and is not";
    } else {
      line += " was " + TextAt(change, "left") + " and is " + TextAt(change, "right");
    }
    findings.Fail(line, {{"path", path},
                         {"change", kind},
                         {"was", TextAt(change, "left")},
                         {"is", TextAt(change, "right")}});
  }
};

class Idempotent final : public RoundTrip {
 public:
  std::string_view id() const override { return "idempotent"; }
  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (HasEvidence(evidence, id()) || !MigrationsOf(evidence).empty()) return std::nullopt;
    return "no migration";
  }
  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    JudgeUse(evidence, id(), findings);
    return findings.Done(id(), "a second run changed nothing", "no second run was tried");
  }
};

class UpDownUp final : public RoundTrip {
 public:
  std::string_view id() const override { return "up-down-up"; }
  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (HasEvidence(evidence, id())) return std::nullopt;
    for (const Json& migration : MigrationsOf(evidence)) {
      if (migration.contains("down") && !migration["down"].is_null()) return std::nullopt;
    }
    return "no down migration";
  }
  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    JudgeUse(evidence, id(), findings);
    return findings.Done(id(), "up, down and up again lost nothing", "the trip was not tried");
  }
};

class RollbackRestores final : public RoundTrip {
 public:
  std::string_view id() const override { return "rollback-restores"; }
  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (PlansStep(evidence, "rollback") || HasEvidence(evidence, "rollback")) return std::nullopt;
    return "no step rolls back";
  }
  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    JudgeUse(evidence, "rollback", findings);
    if (EventsWith(evidence, "comparison", "use", "rollback").empty()) {
      findings.Unknown("the rows before and after the rollback were not compared");
    }
    JudgeCatalogs(evidence, findings);
    return findings.Done(id(), "the rollback brought back what was there", "nothing was compared");
  }

 private:
  // The last snapshot before what was rolled back began against the first one after the last
  // rollback.
  static void JudgeCatalogs(const Evidence& evidence, Findings& findings) {
    const auto trip = LastRollback(evidence);
    if (!trip) {
      findings.Unknown("no rollback came to its end");
      return;
    }
    const double migrated = trip->begin_ms;
    const double rolled_back = trip->end_ms;
    for (const std::string& database : DatabaseNames(evidence)) {
      std::string before;
      std::string after;
      for (const Event* event : EventsWith(evidence, "snapshot", "database", database)) {
        if (event->t_ms <= migrated) before = TextAt(event->data, "name");
        if (event->t_ms >= rolled_back && after.empty()) after = TextAt(event->data, "name");
      }
      const auto left = evidence.Snapshot(before, database);
      const auto right = evidence.Snapshot(after, database);
      if (!left || !right) {
        findings.Unknown("database " + database + " has no snapshots around the rollback");
        continue;
      }
      findings.Judged();
      for (const CatalogChange& change :
           DiffCatalogs(Snapshot::FromJson(*left), Snapshot::FromJson(*right))) {
        if (IsOurs(change.path) ||
            (change.property == "last_value" && change.severity == Severity::kInfo)) {
          continue;
        }
        findings.Fail(
            fmt::format("{} is not as it was before: {}", change.path,
                        change.change == "changed" ? change.left + " became " + change.right
                                                   : change.change),
            {{"path", change.path}, {"change", change.change}});
      }
    }
  }
};

// Whether a migration has a strategy that moves tables: plain SQL and commands change a database in
// its place, a hot copy makes another file.
bool Copies(const Evidence& evidence) {
  const auto migrations = MigrationsOf(evidence);
  return std::any_of(migrations.begin(), migrations.end(), [](const Json& migration) {
    const std::string strategy = TextAt(migration, "strategy");
    return strategy != "sql" && strategy != "command" && strategy != "hot-copy";
  });
}

class SourceUnchanged final : public RoundTrip {
 public:
  std::string_view id() const override { return "source-unchanged"; }
  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (HasEvidence(evidence, id())) return std::nullopt;
    for (const Json& migration : MigrationsOf(evidence)) {
      const std::string strategy = TextAt(migration, "strategy");
      if (strategy == "sql" || strategy == "command") continue;
      if (strategy == "hot-copy") continue;  // it marks its source; `rows` and `catalog` judge it
      if (strategy == "table-swap" && TextAt(migration, "source").empty()) continue;
      return std::nullopt;
    }
    return "the strategy has no source of its own";
  }
  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    JudgeUse(evidence, id(), findings);
    return findings.Done(id(), "the source is as it was", "the source was not compared");
  }
};

class Moved final : public RoundTrip {
 public:
  std::string_view id() const override { return "moved"; }
  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (HasEvidence(evidence, id())) return std::nullopt;
    if (!Copies(evidence)) return "the strategy moves no tables";
    const Swaps swaps(evidence);
    if (!swaps.empty() && swaps.services().empty()) return "nothing was swapped";
    return std::nullopt;
  }
  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const auto count = JudgeProbes(evidence, id(), findings);
    return findings.Done(id(), fmt::format("{} times everything stands where it should", count),
                         "nobody looked where the tables went");
  }
};

}  // namespace

CheckPtr IdempotentCheck() { return std::make_unique<Idempotent>(); }
CheckPtr UpDownUpCheck() { return std::make_unique<UpDownUp>(); }
CheckPtr RollbackRestoresCheck() { return std::make_unique<RollbackRestores>(); }
CheckPtr SourceUnchangedCheck() { return std::make_unique<SourceUnchanged>(); }
CheckPtr MovedCheck() { return std::make_unique<Moved>(); }

}  // namespace understudy::harness
