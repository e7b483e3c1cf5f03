#pragma once

#include "engine/db/endpoint.h"

namespace understudy::db {

// What stands between us and a PostgreSQL server.
enum class Pooler {
  kNone,
  kOwnSession,  // a pooler (PgBouncer's session mode) that keeps a server process for each client
  kSharedSession,  // one that gives every transaction another (transaction and statement mode):
                   // locks and settings of a session do not hold, and SET would reach other clients
};

// Finds out without changing a setting of any session. Connect() with Settings::kOurs refuses a
// kSharedSession: Error(kUnsupported, "pooler").
Pooler FindPooler(const Endpoint& endpoint);

}  // namespace understudy::db
