#pragma once

#include <filesystem>

#include "reports/report.h"

// From evidence to a report: judging live and judging a stored run are the same code. Needs no
// database.
namespace understudy::harness {

// Judges RUN/SCENARIO. Evidence that cannot be read gives a report that says so, verdict unknown.
reports::ScenarioReport JudgeScenario(const std::filesystem::path& scenario_folder);

// All scenarios of a run (or the one whose folder this is), in the order in which they began;
// repetitions (NAME.1, NAME.2, …) become one entry. Error(kInvalidSpec) when `folder` is no run.
reports::Report JudgeRun(const std::filesystem::path& folder);

// One entry out of the repetitions of a scenario: the worst of them, and how many were what.
// REQUIRES: not empty.
reports::ScenarioReport MergeRepetitions(std::vector<reports::ScenarioReport> runs);

}  // namespace understudy::harness
