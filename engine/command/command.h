#pragma once

#include "engine/core/registry.h"

namespace understudy::command {

// The strategy `command`: any program migrates; its output is evidence, its exit status the
// outcome. README.md has what it finds in its environment.
core::StrategyInfo Strategy();

}  // namespace understudy::command
