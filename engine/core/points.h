#pragma once

#include <span>
#include <string_view>

namespace understudy::core {

// What a migration does, in order; then the two that lead back.
enum class Phase { kPlan, kPrepare, kSync, kDrain, kCutover, kVerify, kCleanup, kRollback, kReset };
std::string_view PhaseName(Phase phase);  // "plan", "prepare", …
// Error(kInvalidSpec) names what is allowed.
Phase PhaseFromName(std::string_view name);

// A named place inside a phase, where progress is told and faults can strike.
struct Point {
  std::string_view name;
  Phase phase;
  std::string_view passed_by;  // "every strategy", "copying strategies", "sql"
  std::string_view meaning;
};

// The one table of points.
std::span<const Point> Points();
// nullptr when there is none of this name.
const Point* FindPoint(std::string_view name);

}  // namespace understudy::core
