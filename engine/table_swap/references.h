#pragma once

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
};

// Those of the manifest's that are to be valid. The result points into `manifest`.
std::vector<WaitingReference> WaitingReferences(
    db::Session& session, const Manifest& manifest,
    const std::vector<capture::CapturedTable>& captured);

}  // namespace understudy::table_swap
