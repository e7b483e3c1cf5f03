#include "harness/checks/probes.h"

#include <fmt/format.h>

#include "harness/checks/facts.h"
#include "harness/checks/standard.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

// `orphans`: declared keys, and those that the scenario names.
class Orphans final : public Check {
 public:
  std::string_view id() const override { return "orphans"; }

  std::optional<std::string> DoesNotApply(const Evidence& evidence) const override {
    if (!ProbesOf(evidence, id()).empty()) return std::nullopt;
    if (!OptionsOf(evidence, id()).value("references", Json::array()).empty()) return std::nullopt;
    const auto names = SnapshotsToCompare(evidence);
    if (!names) return std::nullopt;
    for (const std::string& database : DatabaseNames(evidence)) {
      const auto content = evidence.Snapshot(names->after, database);
      if (!content) return std::nullopt;
      for (const CatalogObject& object : Snapshot::FromJson(*content).objects) {
        const auto type = object.properties.find("type");
        if (object.kind == "constraint" && type != object.properties.end() &&
            type->second == "foreign key") {
          return std::nullopt;
        }
      }
    }
    return "no foreign key is declared and the scenario names no reference";
  }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const auto count = JudgeProbes(evidence, id(), findings);
    return findings.Done(id(), fmt::format("{} references searched, no orphan", count),
                         "no reference was searched");
  }
};

// `write-after`: an insert through every default into every table, rolled back.
class WriteAfter final : public Check {
 public:
  std::string_view id() const override { return "write-after"; }

  std::optional<std::string> DoesNotApply(const Evidence&) const override { return std::nullopt; }

  reports::Verdict Judge(const Evidence& evidence) const override {
    Findings findings;
    const auto count = JudgeProbes(evidence, id(), findings);
    return findings.Done(id(), fmt::format("{} tables took an insert", count),
                         "no insert was tried");
  }
};

}  // namespace

std::vector<const Event*> ProbesOf(const Evidence& evidence, std::string_view check) {
  return EventsWith(evidence, "probe", "check", check);
}

std::int64_t JudgeProbes(const Evidence& evidence, std::string_view check, Findings& findings) {
  std::int64_t count = 0;
  for (const Event* event : ProbesOf(evidence, check)) {
    const Json& data = event->data;
    const std::string result = TextAt(data, "result");
    std::string line = TextAt(data, "object");
    if (const std::string detail = TextAt(data, "detail"); !detail.empty()) line += ": " + detail;
    if (const std::string state = TextAt(data, "sqlstate"); !state.empty()) {
      line += " (" + state + ")";
    }
    ++count;
    if (result == "ok") {
      findings.Judged();
      continue;
    }
    if (result != "failed") {
      findings.Unknown(line);
      continue;
    }
    findings.Judged();
    findings.Fail(line);
    for (const Json& example : data.value("examples", Json::array())) findings.Example(example);
  }
  return count;
}

CheckPtr OrphansCheck() { return std::make_unique<Orphans>(); }
CheckPtr WriteAfterCheck() { return std::make_unique<WriteAfter>(); }

}  // namespace understudy::harness
