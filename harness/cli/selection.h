#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "harness/cli/program.h"
#include "harness/scenario/scenario.h"

// Which scenarios a verb (`run`, `plan`, `list`) works on.
namespace understudy::cli {

struct Selection {
  std::vector<std::filesystem::path> paths;
  std::string filter;             // a glob over names
  std::vector<std::string> tags;  // a union
  std::string shard;              // I/N, from 1
  std::string provision;
  int pg = 0;
  std::optional<std::uint64_t> seed;
  double scale = 1;
  std::vector<std::string> set;  // KEY=VALUE
};

struct Selected {
  std::vector<harness::Scenario> scenarios;
  std::vector<std::filesystem::path> ignored;
  std::string why_none;
};

// Overrides from UNDERSTUDY_PROVISION.
void ApplyEnvironment(harness::Overrides& overrides);

void AddSelection(CLI::App& verb, Selection& selection);

// Finds, loads and validates everything before anything starts. Two scenarios of one name, or a
// file that is wrong: Error(kInvalidSpec).
Selected Select(const Program& program, const Selection& selection);

}  // namespace understudy::cli
