#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

#include "harness/cli/selection.h"

namespace understudy::cli {
namespace {

int List(const Program& program, const Selection& selection) {
  const Selected selected = Select(program, selection);
  if (program.json) {
    Json scenarios = Json::array();
    for (const harness::Scenario& scenario : selected.scenarios) {
      scenarios.push_back({{"name", scenario.name},
                           {"file", scenario.file.string()},
                           {"description", scenario.description},
                           {"tags", scenario.tags},
                           {"needs", scenario.Needs()}});
    }
    Json ignored = Json::array();
    for (const auto& path : selected.ignored) ignored.push_back(path.string());
    std::cout << ToText(
        {{"format", "understudy-list/1"}, {"scenarios", scenarios}, {"ignored", ignored}});
  } else {
    std::size_t widest = 0;
    for (const harness::Scenario& scenario : selected.scenarios) {
      widest = std::max(widest, scenario.name.size());
    }
    for (const harness::Scenario& scenario : selected.scenarios) {
      std::string line =
          fmt::format("{:{}}  needs {}", scenario.name, widest, fmt::join(scenario.Needs(), ", "));
      if (!scenario.tags.empty()) line += fmt::format("  [{}]", fmt::join(scenario.tags, ", "));
      std::cout << line << "\n";
      if (!scenario.description.empty()) {
        std::cout << fmt::format("{:{}}  {}", "", widest, scenario.description) << "\n";
      }
    }
    std::cout << fmt::format("{} scenario{}, {} other JSON file{} ignored\n",
                             selected.scenarios.size(), selected.scenarios.size() == 1 ? "" : "s",
                             selected.ignored.size(), selected.ignored.size() == 1 ? "" : "s");
  }
  if (!selected.scenarios.empty()) return kPass;
  std::cerr << "understudy: " << selected.why_none << "\n";
  return kUnknown;
}

}  // namespace

void AddList(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand("list", "Scenarios with their tags and needs");
  auto selection = std::make_shared<Selection>();
  AddSelection(*verb, *selection);
  AddJsonFlag(*verb, program);
  verb->footer(
      "Example:\n  understudy list scenarios --tag quick\n"
      "Exit: 0, 2 nothing found, 64 usage, 65 a wrong file");
  verb->callback([&program, selection] {
    program.run = [&program, selection] { return List(program, *selection); };
  });
}

}  // namespace understudy::cli
