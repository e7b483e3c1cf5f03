#pragma once

#include <string>
#include <vector>

#include "engine/db/session.h"
#include "engine/table_swap/mover.h"

namespace understudy::table_swap {

// A digest of everything that the catalogs hold of these objects and of what refers to them:
// columns, files, indexes, constraints, triggers, rules, policies, grants, comments, partitions,
// publications, dependents. It goes by the transactions that wrote the rows, not by what these say,
// so that it is cheap enough for the moment under the locks; it changes with every ALTER, GRANT or
// COMMENT, and with none of VACUUM and ANALYZE. Values of sequences are no part of it.
std::string CatalogDigest(db::Session& session, const std::vector<Movable>& objects);

}  // namespace understudy::table_swap
