#pragma once

#include "engine/core/registry.h"

namespace understudy::sql_files {

// The strategy `sql`: the user's own SQL files, file after file, each committing with its journal
// row. README.md tells how files, transactions and the tools' version tables go together.
core::StrategyInfo Strategy();

}  // namespace understudy::sql_files
