#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "engine/base/error.h"
#include "harness/evidence/evidence.h"
#include "harness/scenario/scenario.h"

namespace understudy::harness {

struct RunOptions {
  std::filesystem::path folder;  // RUN/SCENARIO; made here
  std::string run_id;            // labels everything that the world makes
  std::string command;           // that runs this scenario again: for the report
  Json tool = Json::object();
  Json host = Json::object();
  bool keep = false;  // leave the world in place
  std::function<bool()> stop;
  std::function<void(const Event&)> on_event;  // progress; from any thread
};

struct RunResult {
  bool interrupted = false;
  // Why the scenario could not be run as asked; its evidence says the same.
  std::optional<Error> failure;
  std::vector<std::string> how_to_connect;  // with `keep`
};

// One rehearsal, whole: world, workload, steps, faults, snapshots, comparisons, probes; all that it
// sees is on disk in `options.folder` as it happens. Judges nothing (see judge.h) and never throws
// for what the scenario or the machine did wrong: that is in the evidence and in `failure`.
RunResult RunScenario(const Scenario& scenario, const RunOptions& options);

}  // namespace understudy::harness
