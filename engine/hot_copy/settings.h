#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/catalog/sqlite_diff.h"
#include "engine/core/spec.h"

namespace understudy::hot_copy {

// Fills in what a migration file leaves to be inferred. With "dir": DIR/schema.sql is the schema,
// DIR/<dir-name>-<schema-hash>.sqlite the target, and the one other DIR/<dir-name>-<hash>.sqlite
// the source; files that were retired by an earlier cutover, and the unfinished new file of another
// schema, are passed over. Without a source the endpoint "source" stays away: what needs it says
// so. Error(kInvalidSpec).
void Resolve(core::Spec& spec);

std::filesystem::path SchemaFile(const core::Spec& spec);
catalog::SqliteColumnChoices ColumnChoices(const core::Spec& spec);
bool TriggersOnReplay(const core::Spec& spec);

// More than one file of the folder could be the source, so that there is none in the endpoints.
bool SourceIsAmbiguous(const core::Spec& spec);

// Why there is no source, for people.
std::string WhyNoSource(const core::Spec& spec);

// `git rev-parse HEAD` where the schema is; "" when that is no repository.
std::string SchemaCommit(const std::filesystem::path& schema);

}  // namespace understudy::hot_copy
