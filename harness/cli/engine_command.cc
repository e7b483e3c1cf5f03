#include <CLI/CLI.hpp>

#include "engine/core/registry.h"
#include "harness/cli/program.h"
#include "harness/run/engine_child.h"

namespace understudy::cli {

void AddEngine(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand("engine", "The engine of a rehearsal: started by `run`");
  verb->group("");  // not in --help
  verb->callback([&program] {
    program.run = [] {
      const core::Registry registry = AllStrategies();
      return harness::RunEngineChild(registry, Interrupted);
    };
  });
}

}  // namespace understudy::cli
