#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "harness/snapshot/catalog_builder.h"

namespace understudy::harness {
namespace {

// The functions that print definitions look at the catalog as it is now, not as the transaction
// sees it: an object that is dropped meanwhile makes them fail. Then the whole is read again.
bool DroppedMeanwhile(const Error& error) {
  const std::string& text = error.message();
  return text.find("cache lookup failed") != std::string::npos ||
         text.find("could not open relation with OID") != std::string::npos ||
         text.find("could not find tuple for") != std::string::npos || error.code() == "42P01";
}

}  // namespace

Snapshot TakeCatalog(db::Session& session) {
  constexpr int kAttempts = 5;
  for (int attempt = 1;; ++attempt) {
    Snapshot snapshot;
    snapshot.engine = std::string(db::EngineName(session.Server().engine));
    snapshot.version = session.Server().version_text;
    snapshot.taken_at = UtcNow();
    CatalogBuilder builder;
    try {
      db::Transaction transaction(session, db::Isolation::kRepeatableRead, true);
      if (session.Server().engine == db::Engine::kPostgres) {
        ReadPostgresCatalog(session, builder, snapshot);
      } else {
        ReadSqliteCatalog(session, builder, snapshot);
      }
      transaction.Commit();
      snapshot.objects = builder.Take();
      if (Sabotaged("catalog-misses-triggers")) {
        std::erase_if(snapshot.objects, [](const CatalogObject& object) {
          return object.path.starts_with("trigger:");
        });
      }
      return snapshot;
    } catch (Error& error) {
      if (attempt == kAttempts || !DroppedMeanwhile(error)) {
        error.AddFrame("read the catalog");
        throw;
      }
    }
  }
}

}  // namespace understudy::harness
