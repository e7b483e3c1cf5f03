#pragma once

#include <string>
#include <vector>

#include "harness/checks/findings.h"
#include "harness/compare/comparison.h"

namespace understudy::harness {

// What a scenario lets differ between two sides of a comparison.
struct AllowedRows {
  std::vector<std::string> allow;     // TABLE or TABLE.COLUMN
  std::vector<std::string> new_rows;  // tables that may have rows more on the right
  std::vector<std::string> skip;      // tables that are not judged at all
};

// Judges one comparison into `findings`: rows lost, rows that appeared, rows that changed in a
// column that is not allowed to. A table that could not be compared is unknown. `where` stands
// before each line ("" or "second up: ").
void JudgeComparison(const Comparison& comparison, const AllowedRows& allowed,
                     const std::string& where, Findings& findings);

}  // namespace understudy::harness
