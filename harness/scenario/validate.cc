// The only file that sees valijson: a heavy header.
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include <map>
#include <mutex>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/scenario/scenario.h"
#include "harness/scenario/schema_walk.h"

namespace understudy::harness {
namespace {

// valijson names a place as {"<root>", "[databases]", "[main]"}.
std::string PointerOf(const std::vector<std::string>& context) {
  std::string pointer;
  for (std::size_t i = 1; i < context.size(); ++i) {
    const std::string& part = context[i];
    pointer = PointerTo(pointer, part.size() > 2 ? part.substr(1, part.size() - 2) : part);
  }
  return pointer;
}

struct CompiledSchema {
  explicit CompiledSchema(const std::string& name)
      : json(ParseJsonFile(ShippedPath("schema/" + name))), plain(json) {
    valijson::SchemaParser().populateSchema(valijson::adapters::NlohmannJsonAdapter(plain),
                                            compiled);
  }
  const Json json;
  const nlohmann::json plain;  // valijson reads nlohmann::json, not its ordered sister
  valijson::Schema compiled;
};

// Compiled once for the life of the process: a suite validates hundreds of documents.
const CompiledSchema& Compiled(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, CompiledSchema> all;
  const std::lock_guard lock(mutex);
  const auto known = all.find(name);
  return (known != all.end() ? known : all.try_emplace(name, name).first)->second;
}

}  // namespace

const Json& SchemaJson(const std::string& schema_name) { return Compiled(schema_name).json; }

void ValidateWithSchema(const Json& document, const std::string& schema_name,
                        const std::string& where) {
  const CompiledSchema& schema = Compiled(schema_name);
  const nlohmann::json plain(document);
  valijson::ValidationResults results;
  if (valijson::Validator().validate(schema.compiled,
                                     valijson::adapters::NlohmannJsonAdapter(plain), &results)) {
    return;
  }
  // valijson decides; its messages speak of constraints. Ours speak of the document.
  if (const auto problem = FindProblem(schema.json, document)) {
    FailAt(where, problem->pointer, problem->what);
  }
  valijson::ValidationResults::Error deepest;
  for (const auto& error : results) {
    if (error.context.size() > deepest.context.size()) deepest = error;
  }
  FailAt(where, PointerOf(deepest.context),
         deepest.description + " See `understudy schema` for what is allowed.");
}

}  // namespace understudy::harness
