#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "harness/cli/program.h"
#include "harness/scenario/scenario.h"
#include "reports/report.h"

// What `run`, `try` and `demo` share: scenarios in, a run's folder and an exit code out.
namespace understudy::cli {

struct RunSettings {
  std::optional<std::filesystem::path> out;   // absent or empty; else understudy-out/<UTC time>
  std::optional<std::filesystem::path> made;  // the folder is there already, by MakeRunFolder
  int jobs = 1;
  int repeat = 1;
  bool fail_fast = false;
  bool keep = false;
  bool show_values = false;
  bool quiet = false;                            // no progress, no summary: the caller prints
  std::optional<std::string> provision_by_name;  // what was asked for on the command line
};

struct RunDone {
  reports::Report report;
  std::filesystem::path folder;
  int exit = kPass;
};

// A fresh folder for a run. With `out` it must be absent or empty; else it is named by the time and
// `latest` points to it.
std::filesystem::path MakeRunFolder(const RunSettings& settings);

// Runs them all, judges each from its evidence, writes the report files, prints progress (stderr)
// and the summary (stdout). Error when the output folder cannot be had.
RunDone RunScenarios(const Program& program, const std::vector<harness::Scenario>& scenarios,
                     const RunSettings& settings);

}  // namespace understudy::cli
