// The first ten lines are for the person who has ten seconds: the verdict, the counts, a line per
// scenario (the worst first), the worst findings. Details stand below.
#include <fmt/format.h>

#include "reports/escape.h"
#include "reports/form.h"

namespace understudy::reports {
namespace {

constexpr std::size_t kLinesAtTop = 7;
constexpr std::size_t kLongestLine = 300;

const char* Sign(Outcome outcome) {
  switch (outcome) {
    case Outcome::kPass:
      return "PASS";
    case Outcome::kFail:
      return "FAIL";
    case Outcome::kUnknown:
      break;
  }
  return "UNKNOWN";
}

std::string Text(std::string_view text) { return EscapeMarkdown(Shorten(text, kLongestLine)); }

// One line; with its worst finding when it is not green.
std::string LineOf(const ScenarioReport& scenario) {
  std::string line =
      fmt::format("- **{}** {}", Sign(scenario.verdict), MarkdownCode(scenario.name));
  if (!scenario.summary.empty()) line += ": " + Text(scenario.summary);
  const auto findings = Findings(scenario);
  if (scenario.verdict != Outcome::kPass && !findings.empty()) {
    line +=
        fmt::format(" — worst: {}: {}", MarkdownCode(findings[0]->id), Text(findings[0]->summary));
  }
  return line;
}

std::string Cell(const Json& value) {
  if (value.is_null()) return "–";
  if (value.is_string()) return EscapeMarkdown(value.get<std::string>());
  if (value.is_number_float()) return fmt::format("{:.1f}", value.get<double>());
  return EscapeMarkdown(ToLine(value));
}

class Markdown final : public Writer {
 public:
  void Write(const Report& report, std::ostream& out) const override {
    out << "# Understudy: " << Sign(report.verdict()) << "\n\n";
    out << EscapeMarkdown(CountsLine(report)) << "\n\n";
    const auto scenarios = WorstFirst(report);
    // A list that is cut names what it leaves out.
    const bool all = scenarios.size() <= kLinesAtTop - 1;
    const std::size_t shown = all ? scenarios.size() : kLinesAtTop - 2;
    for (std::size_t i = 0; i < shown; ++i) out << LineOf(*scenarios[i]) << "\n";
    if (!all) out << "- … and " << scenarios.size() - shown << " more, below\n";
    out << "\n";
    for (const ScenarioReport* scenario : scenarios) WriteScenario(*scenario, out);
    out << "---\n\n"
        << EscapeMarkdown(fmt::format("{} {}", report.tool.value("name", "understudy"),
                                      report.tool.value("version", "")));
    if (report.tool.contains("commit") && report.tool["commit"].is_string()) {
      out << EscapeMarkdown(" (" + report.tool["commit"].get<std::string>() + ")");
    }
    out << ", started " << EscapeMarkdown(report.started_at) << ", on "
        << EscapeMarkdown(report.host.value("os", "")) << "\n";
  }

 private:
  static void WriteScenario(const ScenarioReport& scenario, std::ostream& out) {
    out << "## " << Sign(scenario.verdict) << ": " << MarkdownCode(scenario.name) << "\n\n";
    if (!scenario.summary.empty()) out << Text(scenario.summary) << "\n\n";
    if (scenario.repetitions.is_object()) {
      const Json& r = scenario.repetitions;
      out << fmt::format("Repeated: {} of {} runs failed, {} unknown.\n\n", Cell(r["fail"]),
                         Cell(r["runs"]), Cell(r["unknown"]));
    }
    WriteChecks(scenario, out);
    WriteMeasurements(scenario, out);
    if (!scenario.faults.empty()) {
      out << "Faults:\n\n";
      for (const Json& fault : scenario.faults) {
        out << fmt::format("- {} at {}: struck {} time(s)\n", Cell(fault["kind"]),
                           Cell(fault["at"]), Cell(fault["struck"]));
      }
      out << "\n";
    }
    if (!scenario.not_checked.empty()) {
      out << "Not checked:\n\n";
      for (const Json& entry : scenario.not_checked) {
        out << "- " << MarkdownCode(entry.value("what", "")) << ": " << Text(entry.value("why", ""))
            << "\n";
      }
      out << "\n";
    }
    for (const Json& database : scenario.databases) {
      out << fmt::format("- database {}: {} {}, {} rows, {} bytes\n", Cell(database["name"]),
                         Cell(database["engine"]), Cell(database["version"]),
                         Cell(database["rows"]), Cell(database["bytes"]));
    }
    out << fmt::format("- took {}, seed {}\n",
                       Milliseconds(static_cast<double>(scenario.duration_ms)), scenario.seed);
    if (!scenario.command.empty()) out << "- again: " << MarkdownCode(scenario.command) << "\n";
    out << "\n";
  }

  static void WriteChecks(const ScenarioReport& scenario, std::ostream& out) {
    if (scenario.checks.empty()) return;
    out << "| check | verdict | |\n|---|---|---|\n";
    for (const Verdict& check : scenario.checks) {
      const std::string said = check.waived ? "switched off: " + *check.waived : check.summary;
      out << fmt::format("| {} | {} | {} |\n", MarkdownCode(check.id),
                         check.waived ? "waived" : std::string(OutcomeName(check.outcome)),
                         Text(said));
    }
    out << "\n";
    for (const Verdict* check : Findings(scenario)) {
      if (check->details.empty() && check->examples.empty()) continue;
      out << "### " << MarkdownCode(check->id) << "\n\n";
      for (const std::string& line : check->details) out << "- " << Text(line) << "\n";
      for (const Json& example : check->examples) {
        out << "- example: " << MarkdownCode(Shorten(ExampleLine(example), kLongestLine)) << "\n";
      }
      out << "\n";
    }
  }

  static void WriteMeasurements(const ScenarioReport& scenario, std::ostream& out) {
    const Json& m = scenario.measurements;
    const Json latency = m.value("latency", Json::object());
    if (!latency.empty()) {
      out << "| latency | operations | p50 ms | p95 ms | p99 ms | max ms |\n"
             "|---|---:|---:|---:|---:|---:|\n";
      for (const auto& [phase, row] : latency.items()) {
        out << fmt::format("| {} | {} | {} | {} | {} | {} |\n", EscapeMarkdown(phase),
                           Cell(row["operations"]), Cell(row["p50_ms"]), Cell(row["p95_ms"]),
                           Cell(row["p99_ms"]), Cell(row["max_ms"]));
      }
      out << "\n";
    }
    const Json writes = m.value("writes", Json::object());
    if (!writes.empty()) {
      out << fmt::format(
          "Writes: {} attempted, {} acknowledged, {} refused, {} unknown, {} rolled back. "
          "Rows compared: {}.\n\n",
          Cell(writes["attempted"]), Cell(writes["acknowledged"]), Cell(writes["refused"]),
          Cell(writes["unknown"]), Cell(writes["rolled_back"]),
          Cell(m.value("rows_compared", Json())));
    }
    const Json period = m.value("sample_period_ms", Json());
    if (period.is_number()) {
      out << fmt::format(
          "Locks were sampled every {} ms and at every point; a shorter lock shows only in the "
          "clients' stalls.\n\n",
          Cell(period));
    }
  }
};

}  // namespace

std::unique_ptr<Writer> MarkdownWriter() { return std::make_unique<Markdown>(); }

}  // namespace understudy::reports
