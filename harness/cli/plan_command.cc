#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "engine/base/error.h"
#include "engine/core/registry.h"
#include "harness/cli/scripts.h"
#include "harness/cli/selection.h"

namespace understudy::cli {
namespace {

std::string StepLine(const harness::StepSpec& step) {
  std::string line = step.verb;
  const std::string options = ToLine(step.options);
  if (step.verb == "background") {
    std::vector<std::string> inner;
    for (const harness::StepSpec& one : step.background) inner.push_back(StepLine(one));
    return fmt::format("background ( {} )", fmt::join(inner, " ; "));
  }
  if (options != "{}" && options != "true") line += " " + options;
  if (step.outcome != "done") line += " -> must be " + step.outcome;
  return line;
}

void PrintScenario(const harness::Scenario& scenario, const core::Registry& registry) {
  std::cout << fmt::format("{}  ({})\n", scenario.name, scenario.file.string());
  if (!scenario.description.empty()) std::cout << "  " << scenario.description << "\n";
  std::cout << fmt::format("  needs: {}\n", fmt::join(scenario.Needs(), ", "));
  std::cout << "  steps:\n";
  for (std::size_t i = 0; i < scenario.steps.size(); ++i) {
    std::cout << fmt::format("    {}. {}\n", i + 1, StepLine(scenario.steps[i]));
  }
  const auto statements = StatementsOf(scenario, registry);
  if (!statements.empty()) std::cout << "  statements:\n";
  for (const core::PlanStatement& statement : statements) {
    std::string sql = statement.sql.substr(0, statement.sql.find('\n'));
    if (sql.size() > 90) sql = sql.substr(0, 87) + "…";
    std::cout << fmt::format("    {}:{}  [{}]  {}{}\n", statement.file, statement.line,
                             statement.transaction, sql,
                             statement.note.empty() ? "" : "  -- " + statement.note);
  }
  std::cout << "  with every default filled in:\n";
  std::string text = ToText(scenario.document);
  text.pop_back();
  for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1)) {
    text.insert(at + 1, "    ");
  }
  std::cout << "    " << text << "\n\n";
}

int Plan(const Program& program, const Selection& selection) {
  const Selected selected = Select(program, selection);
  const core::Registry registry = AllStrategies();
  SplitScripts(selected.scenarios);
  if (program.json) {
    Json scenarios = Json::array();
    for (const harness::Scenario& scenario : selected.scenarios) {
      Json statements = Json::array();
      for (const core::PlanStatement& one : StatementsOf(scenario, registry)) {
        statements.push_back({{"file", one.file},
                              {"line", one.line},
                              {"sql", one.sql},
                              {"transaction", one.transaction},
                              {"note", one.note}});
      }
      scenarios.push_back({{"file", scenario.file.string()},
                           {"needs", scenario.Needs()},
                           {"scenario", scenario.document},
                           {"statements", statements}});
    }
    std::cout << ToText({{"format", "understudy-plan/1"}, {"scenarios", scenarios}});
  } else {
    for (const harness::Scenario& scenario : selected.scenarios) {
      PrintScenario(scenario, registry);
    }
  }
  if (!selected.scenarios.empty()) return kPass;
  std::cerr << "understudy: " << selected.why_none << "\n";
  return kUnknown;
}

}  // namespace

void AddPlan(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand(
      "plan", "Everything that run would do, every default filled in; touches nothing");
  auto selection = std::make_shared<Selection>();
  AddSelection(*verb, *selection);
  AddJsonFlag(*verb, program);
  verb->footer(
      "Example:\n  understudy plan orders.json --set workload.0.clients=8\n"
      "Exit: 0, 2 nothing found, 64 usage, 65 a wrong file");
  verb->callback([&program, selection] {
    program.run = [&program, selection] { return Plan(program, *selection); };
  });
}

}  // namespace understudy::cli
