#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/cli/run_scenarios.h"
#include "harness/cli/selection.h"

// An unsafe migration and its safe rewrite: one must be red, the other green.
namespace understudy::cli {
namespace {

bool HasTag(const harness::Scenario& scenario, std::string_view tag) {
  return std::ranges::find(scenario.tags, tag) != scenario.tags.end();
}

// Whether PostgreSQL was not to be had, and the scenario says so: no fault of the demo.
bool NotHere(const reports::ScenarioReport& report) {
  return report.verdict == reports::Outcome::kUnknown &&
         report.summary.find("PostgreSQL") != std::string::npos;
}

int Demo(const Program& program, const std::string& out) {
  std::vector<harness::Scenario> scenarios;
  harness::Overrides overrides;
  ApplyEnvironment(overrides);
  for (const auto& file : harness::FindScenarios({ShippedPath("scenarios/demo")}).scenarios) {
    scenarios.push_back(harness::LoadScenario(file, overrides));
  }
  RunSettings settings;
  settings.jobs = 2;
  settings.quiet = true;
  if (!out.empty()) settings.out = out;
  const RunDone done = RunScenarios(program, scenarios, settings);
  if (done.exit == kInterrupted) return kInterrupted;
  bool as_told = true;
  std::size_t judged = 0;
  const bool colour = Colour(STDOUT_FILENO);
  for (const reports::ScenarioReport& report : done.report.scenarios) {
    const auto scenario =
        std::ranges::find(scenarios, report.name, [](const auto& s) { return s.name; });
    const bool unsafe = HasTag(*scenario, "unsafe");
    if (!program.json) {
      const bool fail = report.verdict == reports::Outcome::kFail;
      const bool pass = report.verdict == reports::Outcome::kPass;
      std::cout << fmt::format(
          "{}{:<8}{} {:<22} {}\n",
          !colour ? "" : (fail ? "\033[31m" : (pass ? "\033[32m" : "\033[33m")),
          fail ? "FAIL" : (pass ? "PASS" : "UNKNOWN"), colour ? "\033[0m" : "", report.name,
          scenario->description);
      for (const reports::Verdict& check : report.checks) {
        if (check.outcome == reports::Outcome::kFail) {
          std::cout << fmt::format("         {:<22} {}: {}\n", "", check.id, check.summary);
        }
      }
    }
    if (NotHere(report)) {
      if (!program.json) std::cout << "         " << report.summary << "\n";
      continue;
    }
    ++judged;
    const auto expected = unsafe ? reports::Outcome::kFail : reports::Outcome::kPass;
    as_told = as_told && report.verdict == expected;
  }
  if (program.json) {
    std::cout << ToText(done.report.ToJson());
  } else {
    std::cout << "Report: " << (done.folder / "report.md").string() << "\n"
              << "Next:   understudy try YOUR.sql --from YOUR_DUMP_OR_SCHEMA.sql\n";
  }
  if (judged < 2) return kUnknown;
  return as_told ? kPass : kFail;
}

}  // namespace

void AddDemo(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand(
      "demo", "Rehearse an unsafe migration and its safe rewrite: one red, one green");
  auto out = std::make_shared<std::string>();
  verb->add_option("--out", *out, "Folder of this run: absent or empty");
  AddJsonFlag(*verb, program);
  verb->footer(
      "Example:\n  understudy demo\nExit: 0 when the unsafe one is red and the safe one green");
  verb->callback(
      [&program, out] { program.run = [&program, out] { return Demo(program, *out); }; });
}

}  // namespace understudy::cli
