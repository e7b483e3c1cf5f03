#include <CLI/CLI.hpp>
#include <iostream>

#include "harness/cli/program.h"
#include "harness/world/world.h"

namespace understudy::cli {

void AddClean(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand(
      "clean", "Remove what killed runs left behind: clusters, containers, databases, files");
  AddJsonFlag(*verb, program);
  verb->footer("What a living run owns is never touched.\nExample:\n  understudy clean");
  verb->callback([&program] {
    program.run = [&program] {
      const std::vector<std::string> removed = harness::CleanLeftovers();
      if (program.json) {
        std::cout << ToText({{"format", "understudy-clean/1"}, {"removed", removed}});
        return kPass;
      }
      for (const std::string& line : removed) std::cout << line << "\n";
      if (removed.empty()) std::cout << "nothing was left behind\n";
      return kPass;
    };
  });
}

}  // namespace understudy::cli
