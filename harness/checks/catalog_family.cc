// `catalog`, `sequences`, `constraints`, `indexes`, `triggers`: the same comparison of two
// catalogs, each check with its own kinds of object. "Exists" is not enough: what is disabled,
// invalid, weakened or not validated is worse (DiffCatalogs says so) and fails unless allowed.
#include <fmt/format.h>

#include <algorithm>

#include "harness/checks/facts.h"
#include "harness/checks/findings.h"
#include "harness/checks/hot_copies.h"
#include "harness/checks/probes.h"
#include "harness/checks/standard.h"
#include "harness/checks/swaps.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

struct FamilyText {
  CatalogFamily family;
  std::string_view id;
  std::string_view kind;    // "" = every other kind
  std::string_view plural;  // for messages
};
constexpr FamilyText kFamilies[] = {
    {CatalogFamily::kCatalog, "catalog", "", "catalog objects"},
    {CatalogFamily::kSequences, "sequences", "sequence", "sequences"},
    {CatalogFamily::kConstraints, "constraints", "constraint", "constraints"},
    {CatalogFamily::kIndexes, "indexes", "index", "indexes"},
    {CatalogFamily::kTriggers, "triggers", "trigger", "triggers"}};

bool MatchesAny(const std::string& path, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return MatchesPath(path, pattern); });
}

// "index:public.a_idx: changed valid from yes to no"
std::string Describe(const CatalogChange& change) {
  if (change.change == "added") {
    return change.path + " was added" +
           (change.severity == Severity::kWorse
                ? ", but it is not in order (" + change.property + ")"
                : std::string());
  }
  if (change.change == "removed") return change.path + " is gone";
  const auto shown = [](const std::string& value) { return value.empty() ? "nothing" : value; };
  return change.path + " changed from " + shown(change.left) + " to " + shown(change.right);
}

struct Pair {
  std::string database;
  Snapshot before;  // of a swap's target: what its document promises
  Snapshot after;
  std::map<std::string, std::string> tolerated;  // PATH#property → another value that is right
  bool exact = false;  // `before` is the whole truth: what is more than it fails too
};

class Family final : public Check {
 public:
  explicit Family(CatalogFamily family)
      : text_(*std::find_if(std::begin(kFamilies), std::end(kFamilies),
                            [&](const FamilyText& text) { return text.family == family; })) {}

  std::string_view id() const override { return text_.id; }

  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (text_.kind.empty() || !ProbesOf(evidence, id()).empty()) return std::nullopt;
    if (GivesExpect(OptionsOf(evidence, id()))) return std::nullopt;
    Findings ignored;
    const auto pairs = Pairs(evidence, ignored);
    if (pairs.empty()) return std::nullopt;  // it applies, and cannot be judged
    for (const Pair& pair : pairs) {
      for (const Snapshot* side : {&pair.before, &pair.after}) {
        for (const CatalogObject& object : side->objects) {
          if (Mine(object.kind) && !IsOurs(object.path)) return std::nullopt;
        }
      }
    }
    return fmt::format("there are no {}", text_.plural);
  }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const Json options = OptionsOf(evidence, id());
    const auto allow = Strings(options, "allow");
    const auto expect = Strings(options, "expect");
    std::set<std::string> came;  // patterns of `expect` that something matched
    for (const Pair& pair : Pairs(evidence, findings)) {
      const auto changes = DiffCatalogs(pair.before, pair.after);
      const auto gone = AllowedTables(evidence, changes);
      for (const CatalogObject& object : pair.after.objects) findings.Judged(Mine(object.kind));
      for (const CatalogChange& change : changes) {
        if (IsOurs(change.path)) continue;
        for (const std::string& pattern : expect) {
          if (MatchesPath(change.path, pattern)) came.insert(pattern);
        }
        if (!Mine(change.kind)) continue;
        findings.Judged();
        JudgeChange(change, pair, allow, expect, GivesExpect(options), gone, findings);
      }
    }
    for (const std::string& pattern : expect) {
      if (!came.contains(pattern)) findings.Fail(pattern + " was expected to change, and did not");
    }
    JudgeProbes(evidence, id(), findings);
    return findings.Done(
        id(), fmt::format("{} {} judged, none is worse", findings.judged(), text_.plural),
        fmt::format("no {} were found to judge", text_.plural));
  }

 private:
  static bool GivesExpect(const Json& options) {
    return options.contains("expect") && options["expect"].is_array();
  }

  bool Mine(const std::string& kind) const {
    if (!text_.kind.empty()) return kind == text_.kind;
    return std::none_of(std::begin(kFamilies), std::end(kFamilies), [&](const FamilyText& other) {
      return !other.kind.empty() && kind == other.kind;
    });
  }

  static std::vector<Pair> Pairs(const Evidence& evidence, Findings& findings) {
    std::vector<Pair> pairs;
    const auto names = SnapshotsToCompare(evidence);
    if (!names) {
      findings.Unknown("there are no two snapshots to compare");
      return pairs;
    }
    const Swaps swaps(evidence);
    const HotCopies copies(evidence);
    for (const std::string& database : DatabaseNames(evidence)) {
      if (swaps.IsSource(database)) continue;  // the business of source-unchanged
      if (const HotCopy* copy = copies.OfTarget(database)) {
        if (!copy->in_service()) continue;
        auto expected = copies.ExpectedCatalog(*copy, names->after);
        const auto made = evidence.Snapshot(names->after, database);
        if (!expected || !made) {
          findings.Unknown("what the new schema promises of database " + database +
                           " is not known");
          continue;
        }
        pairs.push_back({database, std::move(*expected), Snapshot::FromJson(*made), {}, true});
        continue;
      }
      const auto before = evidence.Snapshot(names->before, database);
      const auto after = evidence.Snapshot(names->after, database);
      if (!before || !after) {
        findings.Unknown(fmt::format("database {} is not in the snapshot {}", database,
                                     before ? names->after : names->before));
        continue;
      }
      Pair pair{database, Snapshot::FromJson(*before), Snapshot::FromJson(*after), {}, false};
      if (auto expected = swaps.ExpectedCatalog(database, names->before, names->after)) {
        pair.before = std::move(expected->catalog);
        pair.tolerated = std::move(expected->tolerated);
      }
      pairs.push_back(std::move(pair));
    }
    return pairs;
  }

  // Tables whose removal `catalog.allow` names: their columns, indexes and so on may go with them.
  static std::vector<std::string> AllowedTables(const Evidence& evidence,
                                                const std::vector<CatalogChange>& changes) {
    std::vector<std::string> tables;
    const auto allow = Strings(OptionsOf(evidence, "catalog"), "allow");
    for (const CatalogChange& change : changes) {
      if (change.change == "removed" && change.path.starts_with("table:") &&
          MatchesAny(change.path, allow)) {
        tables.push_back(change.path.substr(6));
      }
    }
    return tables;
  }

  // Whether a removed object went with one of those tables.
  static bool WentWith(const CatalogChange& change, const Pair& pair,
                       const std::vector<std::string>& gone) {
    if (change.change != "removed" || gone.empty()) return false;
    const std::string names = change.path.substr(change.path.find(':') + 1);
    std::string owner;
    for (const CatalogObject& object : pair.before.objects) {
      if (object.path != change.path) continue;
      for (const char* property : {"table", "owned_by"}) {
        const auto at = object.properties.find(property);
        if (at != object.properties.end()) owner = at->second;
      }
    }
    return std::any_of(gone.begin(), gone.end(), [&](const std::string& table) {
      return names.starts_with(table + ".") || owner == table || owner.starts_with(table + ".");
    });
  }

  void JudgeChange(const CatalogChange& change, const Pair& pair,
                   const std::vector<std::string>& allow, const std::vector<std::string>& expect,
                   bool only_expected, const std::vector<std::string>& gone,
                   Findings& findings) const {
    const std::string line = Describe(change);
    const auto other = pair.tolerated.find(change.path);
    if (other != pair.tolerated.end() && (other->second == "*" || other->second == change.right)) {
      return;
    }
    if (MatchesAny(change.path, allow) || MatchesAny(change.path, expect) ||
        WentWith(change, pair, gone)) {
      findings.Note(line + " (allowed)");
      return;
    }
    const bool moved_on = change.property == "last_value" && change.severity == Severity::kInfo;
    if (moved_on) return;  // writers ran
    const Json example = {{"database", pair.database}, {"path", change.path},
                          {"change", change.change},   {"property", change.property},
                          {"was", change.left},        {"is", change.right}};
    if (change.severity == Severity::kWorse) {
      findings.Fail(line, example);
    } else if (pair.exact) {
      findings.Fail(line + ", and the new schema says otherwise", example);
    } else if (only_expected) {
      findings.Fail(line + ", which is neither allowed nor expected", example);
    } else {
      findings.Note(line);
    }
  }

  const FamilyText& text_;
};

}  // namespace

CheckPtr CatalogCheck(CatalogFamily family) { return std::make_unique<Family>(family); }

}  // namespace understudy::harness
