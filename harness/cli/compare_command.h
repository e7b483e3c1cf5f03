#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace understudy::cli {

struct CompareArguments {
  // Each an endpoint, FILE.snapshot, or RUN/SCENARIO/snapshots.sqlite#NAME:DATABASE.
  std::string left;
  std::string right;
  std::vector<std::string> tables;
  std::vector<std::string> exclude;
  std::int64_t examples = 20;
  int jobs = 2;
  bool rows_only = false;
  bool catalog_only = false;
  bool second_digest = false;
  bool show_values = false;
  bool json = false;
};

// Compares rows and catalog and prints to `out`. 0 equal, 1 different, 2 when something could not
// be compared and nothing differs.
int CompareCommand(const CompareArguments& arguments, std::ostream& out);

}  // namespace understudy::cli
