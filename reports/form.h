#pragma once

#include <string>
#include <vector>

#include "reports/report.h"

// What the forms for people (Markdown, terminal) say alike.
namespace understudy::reports {

std::string Milliseconds(double ms);           // "850 ms", "1.23 s", "2 min 3 s"
std::string CountsLine(const Report& report);  // "3 scenarios: 1 pass, 2 fail · 24 checks · 12.3 s"
// Scenarios that are not green first, in the order of the run.
std::vector<const ScenarioReport*> WorstFirst(const Report& report);
// Checks that were not passed, fail before unknown; waived ones are left out.
std::vector<const Verdict*> Findings(const ScenarioReport& scenario);
// An example of a finding on one line: table, key, and what stood where.
std::string ExampleLine(const Json& example);

}  // namespace understudy::reports
