#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "harness/cli/run_scenarios.h"
#include "harness/cli/selection.h"

namespace understudy::cli {
namespace {

struct Options {
  Selection selection;
  RunSettings settings;
  std::string out;
};

int Run(const Program& program, Options& options) {
  const Selected selected = Select(program, options.selection);
  if (selected.scenarios.empty()) {
    std::cerr << "understudy: nothing to run: " << selected.why_none << "\n";
    return kUnknown;
  }
  RunSettings settings = options.settings;
  if (!options.out.empty()) settings.out = options.out;
  if (!options.selection.provision.empty())
    settings.provision_by_name = options.selection.provision;
  return RunScenarios(program, selected.scenarios, settings).exit;
}

}  // namespace

void AddRun(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand("run", "Run scenarios and write the report");
  auto options = std::make_shared<Options>();
  AddSelection(*verb, options->selection);
  verb->add_option("--out", options->out,
                   "Folder of this run: absent or empty (default understudy-out/<UTC time>)");
  verb->add_option("--jobs", options->settings.jobs, "Scenarios at a time")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  verb->add_option("--repeat", options->settings.repeat, "Run each scenario N times")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->add_flag("--fail-fast", options->settings.fail_fast, "Stop after the first failure");
  verb->add_flag("--keep", options->settings.keep, "Keep the databases and say how to connect");
  verb->add_flag("--show-values", options->settings.show_values,
                 "Show values of rows in the report (default: only their lengths)");
  AddJsonFlag(*verb, program);
  AddMayBeChangedFlag(*verb, program);
  verb->footer(
      "Examples:\n  understudy run scenarios/sql\n"
      "  understudy run scenarios --tag quick --jobs 2\n"
      "  understudy run orders.json --pg 17 --set workload.0.clients=8\n"
      "Exit: 0 all pass, 1 a failure, 2 something unknown or nothing checked, 64 usage, 65 a "
      "wrong file, 69 a missing service, 130 interrupted");
  verb->callback([&program, options] {
    program.run = [&program, options] { return Run(program, *options); };
  });
}

}  // namespace understudy::cli
