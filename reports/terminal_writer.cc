#include <fmt/format.h>

#include "reports/escape.h"
#include "reports/form.h"

namespace understudy::reports {
namespace {

constexpr std::size_t kDetails = 5;
constexpr std::size_t kExamples = 3;

class Terminal final : public Writer {
 public:
  explicit Terminal(bool colour) : colour_(colour) {}

  void Write(const Report& report, std::ostream& out) const override {
    for (const ScenarioReport& scenario : report.scenarios) WriteScenario(scenario, out);
    out << Painted(report.verdict(), std::string(OutcomeName(report.verdict()))) << "  "
        << CountsLine(report) << "\n";
  }

 private:
  void WriteScenario(const ScenarioReport& scenario, std::ostream& out) const {
    out << Painted(scenario.verdict, fmt::format("{:<7}", OutcomeName(scenario.verdict))) << " "
        << EscapeTerminal(scenario.name);
    if (!scenario.summary.empty()) out << ": " << EscapeTerminal(scenario.summary);
    out << " (" << Milliseconds(static_cast<double>(scenario.duration_ms)) << ")\n";
    if (scenario.verdict == Outcome::kPass) return;
    for (const Verdict* check : Findings(scenario)) {
      out << "  " << Painted(check->outcome, fmt::format("{:<7}", OutcomeName(check->outcome)))
          << " " << EscapeTerminal(check->id) << ": " << EscapeTerminal(check->summary) << "\n";
      if (check->outcome != Outcome::kFail) continue;
      List(check->details.size(), kDetails, out,
           [&](std::size_t i) { return EscapeTerminal(check->details[i]); });
      List(check->examples.size(), kExamples, out,
           [&](std::size_t i) { return EscapeTerminal(ExampleLine(check->examples[i])); });
    }
    if (!scenario.command.empty()) {
      out << "  again:  " << EscapeTerminal(scenario.command) << "\n";
    }
  }

  template <typename LineAt>
  static void List(std::size_t size, std::size_t most, std::ostream& out, LineAt line_at) {
    for (std::size_t i = 0; i < std::min(size, most); ++i) out << "    " << line_at(i) << "\n";
    if (size > most) out << "    … and " << size - most << " more in the report\n";
  }

  std::string Painted(Outcome outcome, const std::string& text) const {
    if (!colour_) return text;
    const char* code = outcome == Outcome::kPass ? "32" : outcome == Outcome::kFail ? "31" : "33";
    return fmt::format("\x1b[1;{}m{}\x1b[0m", code, text);
  }

  bool colour_;
};

}  // namespace

std::unique_ptr<Writer> TerminalWriter(bool colour) { return std::make_unique<Terminal>(colour); }

}  // namespace understudy::reports
