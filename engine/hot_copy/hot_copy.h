#pragma once

#include "engine/core/registry.h"

namespace understudy::hot_copy {

// An SQLite database that is in use, migrated to a new file: copy, record, drain, cutover.
core::StrategyInfo Strategy();

// `migrate init`: the new file from the schema alone, ready to be served. Gives its path;
// Error(kUnsupported) when it is there already or when there is an old file to migrate.
std::filesystem::path Init(const core::Spec& spec);

}  // namespace understudy::hot_copy
