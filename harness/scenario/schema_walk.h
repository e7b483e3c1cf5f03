#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"

// Reading a JSON Schema beside a document: what valijson decides but does not explain. Knows the
// forms that our schemas use: local $ref, allOf, if/then/else on a constant or a required key, and
// anyOf whose branches differ by type or by required key.
namespace understudy::harness {

// The JSON Schema at ShippedPath("schema/NAME"), read once.
const Json& SchemaJson(const std::string& schema_name);

// The schemas without $ref, allOf and conditions that hold for `instance` at `schema`; an anyOf is
// replaced by the branch that `instance` means, where one can be told.
std::vector<const Json*> Applicable(const Json& root, const Json& schema, const Json& instance);

// The schema of the member `key`, or null when no schema speaks of it.
const Json* MemberSchema(const std::vector<const Json*>& schemas, const std::string& key);

struct Problem {
  std::string pointer;  // JSON pointer of the place
  std::string what;     // "unknown key 'verson'; did you mean 'version'? allowed: …"
};
// The first thing in `instance` that `root` does not allow, the outer before the inner; nullopt
// when this reading finds none.
std::optional<Problem> FindProblem(const Json& root, const Json& instance);

enum class Nulls { kKeep, kDrop };
// `instance` (valid by `root`) with every "default" of the schema filled in, keys in the schema's
// order. kDrop leaves out what is null by default, so that absent and null are one.
Json FillDefaults(const Json& root, const Json& instance, Nulls nulls);

// `part` appended to a JSON pointer.
std::string PointerTo(const std::string& pointer, const std::string& part);
// The one of `names` that `text` is a likely slip of, or "".
std::string DidYouMean(const std::string& text, const std::vector<std::string>& names);

}  // namespace understudy::harness
