#pragma once

#include <string>

#include "engine/base/json.h"

namespace understudy::harness {

// What a schema cannot say, checked on a document with its defaults filled in: names that are used
// exist, points exist, keys that exclude or need each other. Error(kInvalidSpec) with `where` and
// the pointer; Error(kUnsupported) for what this version cannot run yet.
void CheckRules(const Json& document, const std::string& where);

// The standard steps, names of migrations and databases that may be left out, step names: made
// explicit in `document`.
void MakeExplicit(Json& document, const std::string& where);

// {name, migration} of "migrations", or the one of "migration" under the name "migration".
std::vector<std::pair<std::string, Json>> MigrationsOf(const Json& document);

}  // namespace understudy::harness
