#include "reports/form.h"

#include <fmt/format.h>

#include <cmath>

namespace understudy::reports {
namespace {

std::string Plural(std::size_t count, const char* word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

std::string ValueText(const Json& value) {
  if (value.is_object()) {
    if (value.contains("redacted")) return fmt::format("({} bytes)", value["redacted"].dump());
    if (value.contains("text") && value["text"].is_string()) {
      return "'" + value["text"].get<std::string>() + "'";
    }
    std::string text;
    for (const auto& [name, part] : value.items()) {
      text += (text.empty() ? "" : ", ") + name + " " + ValueText(part);
    }
    return text;
  }
  if (value.is_null()) return "NULL";
  return value.is_string() ? value.get<std::string>() : ToLine(value);
}

}  // namespace

std::string Milliseconds(double ms) {
  if (ms < 10) return fmt::format("{:.1f} ms", ms);
  if (ms < 1000) return fmt::format("{:.0f} ms", ms);
  if (ms < 60000) return fmt::format("{:.2f} s", ms / 1000);
  const auto seconds = static_cast<std::int64_t>(std::llround(ms / 1000));
  return fmt::format("{} min {} s", seconds / 60, seconds % 60);
}

std::string CountsLine(const Report& report) {
  const Json counts = report.counts();
  if (report.scenarios.empty()) return "no scenario was run, so nothing was checked";
  std::string line = Plural(report.scenarios.size(), "scenario") + ": ";
  bool first = true;
  for (const char* outcome : {"pass", "fail", "unknown"}) {
    if (counts[outcome] == 0) continue;
    line += fmt::format("{}{} {}", first ? "" : ", ", counts[outcome].get<std::int64_t>(), outcome);
    first = false;
  }
  return line + " · " + Plural(counts["checks"].get<std::size_t>(), "check") + " · " +
         Milliseconds(static_cast<double>(report.duration_ms));
}

std::vector<const ScenarioReport*> WorstFirst(const Report& report) {
  std::vector<const ScenarioReport*> sorted;
  for (const Outcome outcome : {Outcome::kFail, Outcome::kUnknown, Outcome::kPass}) {
    for (const ScenarioReport& scenario : report.scenarios) {
      if (scenario.verdict == outcome) sorted.push_back(&scenario);
    }
  }
  return sorted;
}

std::vector<const Verdict*> Findings(const ScenarioReport& scenario) {
  std::vector<const Verdict*> found;
  for (const Outcome outcome : {Outcome::kFail, Outcome::kUnknown}) {
    for (const Verdict& check : scenario.checks) {
      if (check.outcome == outcome && !check.waived) found.push_back(&check);
    }
  }
  return found;
}

std::string ExampleLine(const Json& example) {
  if (!example.is_object()) return ToLine(example);
  std::string line;
  for (const auto& [name, value] : example.items()) {
    if (!line.empty()) line += "; ";
    line += name + ": " + ValueText(value);
  }
  return line;
}

}  // namespace understudy::reports
