#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"

namespace understudy::core {

struct PlanStep {
  std::string phase;
  std::string what;
  Json locks = Json::array();  // [{"object", "mode"}]
  std::optional<std::int64_t> rows;
  std::optional<std::int64_t> bytes;
  std::optional<std::int64_t> estimate_ms;
};

// A statement of the user's that will be run. `transaction`: "file" (with its whole file), "own"
// (by itself, outside any transaction), "script" (the file opens and commits by itself), "all"
// (all files in one).
struct PlanStatement {
  std::string file;
  int line = 0;
  std::string sql;
  std::string transaction;
  std::string note;
};

struct PlanRefusal {
  std::string object;
  std::string why;
};

// What a migration would do; made without changing anything.
struct Plan {
  std::vector<PlanStep> steps;
  std::vector<PlanStatement> statements;
  std::vector<PlanRefusal> refused;
  std::vector<std::string> warnings;
  Json existing_backup = nullptr;
  std::string next;  // the exact next command; filled in by the caller when empty

  bool can_run() const { return refused.empty(); }
  Json ToJson() const;  // `migrate plan --json`
};

}  // namespace understudy::core
