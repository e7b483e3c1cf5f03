#pragma once

#include "harness/schema/schema.h"

// The two readers behind ReadSchema; their tables are in no particular order.
namespace understudy::harness::internal {

Schema ReadPostgresSchema(db::Session& session);
Schema ReadSqliteSchema(db::Session& session);

}  // namespace understudy::harness::internal
