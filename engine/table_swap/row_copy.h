#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/context.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "engine/table_swap/shadow.h"

namespace understudy::table_swap {

struct CopiedRows {
  std::int64_t rows = 0;   // now in the shadow
  std::int64_t bytes = 0;  // that travelled in this call
  std::int64_t copied_again_rows = 0;
};

// Copies the rows of `tables` (their names in the new schema; leaf partitions and ordinary tables,
// not preserved ones) from the source into their shadows, under one exported snapshot, with
// limits.jobs workers, and sets the shadows' sequences to the source's. Units (a table, or a range
// of a big one) commit with their journal entries `rows.…`; those that an earlier call has
// committed are compared with the source's present snapshot and copied again where they differ.
// Passes copy.before_commit and copy.after_commit. Error(kMismatch) when a table of the source has
// other columns than when the scratch was made.
CopiedRows CopyRows(const core::Context& context, const ShadowRequest& request,
                    const std::vector<db::TableName>& tables);

// What of the source does not travel with its rows, for a plan: large objects.
std::vector<std::string> CopyWarnings(db::Session& source,
                                      const std::vector<db::TableName>& tables);

}  // namespace understudy::table_swap
