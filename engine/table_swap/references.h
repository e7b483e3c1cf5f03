#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "engine/capture/compare.h"
#include "engine/db/session.h"
#include "engine/table_swap/manifest.h"

namespace understudy::table_swap {

// A foreign key that waits for the exchange, between the tables as they stand before it.
struct WaitingReference {
  const DeferredForeignKey* key = nullptr;
  capture::Reference reference;
  // Production has the same key and holds to it: what a replay brings cannot break it.
  bool enforced = false;
  // It refers to a table that is not captured: nobody tells which rows leave that.
  bool to_uncaptured = false;
  // "orphans": "drop": rows that refer to nothing by it are left out. Its place among those.
  std::optional<std::size_t> dropped_by = std::nullopt;
};

// Those of the manifest's that are to be valid; with `drop`, what of preserved rows refers to
// preserved rows that are left out is left out too. The result points into `manifest`.
std::vector<WaitingReference> WaitingReferences(db::Session& session, const Manifest& manifest,
                                                const std::vector<capture::CapturedTable>& captured,
                                                bool drop = false);
// Of those, what goes by `dropped_by`.
std::vector<capture::Reference> DroppedBy(const std::vector<WaitingReference>& references);

}  // namespace understudy::table_swap
