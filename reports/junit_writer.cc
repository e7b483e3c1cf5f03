#include <fmt/format.h>

#include "reports/escape.h"
#include "reports/report.h"

namespace understudy::reports {
namespace {

enum class Kind { kPassed, kFailure, kError, kSkipped };

struct Case {
  std::string name;
  Kind kind = Kind::kPassed;
  std::string message;
  std::string text;
};

// An expected outcome that came is a passed case: of the checks that `expect` names, or, where it
// names none, of every check once the expectation is met.
bool CameAsExpected(const ScenarioReport& scenario, const Verdict& check) {
  if (!scenario.expected.is_object()) return false;
  if (scenario.expected.value("verdict", "") != OutcomeName(check.outcome)) return false;
  for (const Json& named : scenario.expected.value("checks", Json::array())) {
    if (named == check.id) return true;
  }
  return scenario.verdict == Outcome::kPass;
}

std::string FullText(const Verdict& check) {
  std::string text = check.summary;
  for (const std::string& line : check.details) text += "\n" + line;
  for (const Json& example : check.examples) text += "\nexample: " + ToLine(example);
  return text;
}

std::vector<Case> CasesOf(const ScenarioReport& scenario) {
  std::vector<Case> cases;
  bool verdict_shows = scenario.verdict == Outcome::kPass && !scenario.checks.empty();
  for (const Verdict& check : scenario.checks) {
    Case entry{check.id, Kind::kPassed, check.summary, FullText(check)};
    if (check.waived) {
      entry.kind = Kind::kSkipped;
      entry.message = *check.waived;
    } else if (!CameAsExpected(scenario, check)) {
      if (check.outcome == Outcome::kFail) entry.kind = Kind::kFailure;
      if (check.outcome == Outcome::kUnknown) entry.kind = Kind::kError;
    }
    verdict_shows |= scenario.verdict == Outcome::kFail && entry.kind == Kind::kFailure;
    verdict_shows |= scenario.verdict == Outcome::kUnknown && entry.kind == Kind::kError;
    cases.push_back(entry);
  }
  // What no check says: an expectation that was not met, a world that could not be built.
  if (!verdict_shows) {
    const Kind kind = scenario.verdict == Outcome::kFail      ? Kind::kFailure
                      : scenario.verdict == Outcome::kUnknown ? Kind::kError
                                                              : Kind::kPassed;
    cases.push_back({"verdict", kind, scenario.summary, scenario.summary});
  }
  return cases;
}

class Junit final : public Writer {
 public:
  void Write(const Report& report, std::ostream& out) const override {
    std::string suites;
    std::size_t tests = 0;
    std::size_t failures = 0;
    std::size_t errors = 0;
    std::size_t skipped = 0;
    for (const ScenarioReport& scenario : report.scenarios) {
      const auto cases = CasesOf(scenario);
      const auto count = [&](Kind kind) {
        return static_cast<std::size_t>(std::count_if(
            cases.begin(), cases.end(), [&](const Case& entry) { return entry.kind == kind; }));
      };
      tests += cases.size();
      failures += count(Kind::kFailure);
      errors += count(Kind::kError);
      skipped += count(Kind::kSkipped);
      suites += fmt::format(
          "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" "
          "time=\"{}\" timestamp=\"{}\">\n",
          EscapeXml(scenario.name), cases.size(), count(Kind::kFailure), count(Kind::kError),
          count(Kind::kSkipped), Seconds(scenario.duration_ms), EscapeXml(report.started_at));
      suites += fmt::format(
          "    <properties>\n"
          "      <property name=\"file\" value=\"{}\"/>\n"
          "      <property name=\"seed\" value=\"{}\"/>\n"
          "      <property name=\"verdict\" value=\"{}\"/>\n"
          "      <property name=\"command\" value=\"{}\"/>\n"
          "    </properties>\n",
          EscapeXml(scenario.file), scenario.seed, OutcomeName(scenario.verdict),
          EscapeXml(scenario.command));
      for (const Case& entry : cases) suites += CaseXml(scenario, entry);
      suites += "  </testsuite>\n";
    }
    out << "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        << fmt::format(
               "<testsuites name=\"understudy\" tests=\"{}\" failures=\"{}\" errors=\"{}\" "
               "skipped=\"{}\" time=\"{}\">\n",
               tests, failures, errors, skipped, Seconds(report.duration_ms))
        << suites << "</testsuites>\n";
  }

 private:
  static std::string Seconds(std::int64_t ms) {
    return fmt::format("{}.{:03}", ms / 1000, ms % 1000);
  }

  static std::string CaseXml(const ScenarioReport& scenario, const Case& entry) {
    std::string xml = fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"0\"",
                                  EscapeXml(scenario.name), EscapeXml(entry.name));
    const std::string message = EscapeXml(Shorten(entry.message, 300));
    switch (entry.kind) {
      case Kind::kPassed:
        return xml + "/>\n";
      case Kind::kSkipped:
        return xml + ">\n      <skipped message=\"" + message + "\"/>\n    </testcase>\n";
      case Kind::kFailure:
        return xml + ">\n      <failure type=\"fail\" message=\"" + message + "\">" +
               EscapeXml(entry.text) + "</failure>\n    </testcase>\n";
      case Kind::kError:
        break;
    }
    return xml + ">\n      <error type=\"unknown\" message=\"" + message + "\">" +
           EscapeXml(entry.text) + "</error>\n    </testcase>\n";
  }
};

}  // namespace

std::unique_ptr<Writer> JunitWriter() { return std::make_unique<Junit>(); }

}  // namespace understudy::reports
