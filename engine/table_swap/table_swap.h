#pragma once

#include "engine/core/registry.h"

namespace understudy::table_swap {

// The strategy "table-swap".
core::StrategyInfo Strategy();

}  // namespace understudy::table_swap
