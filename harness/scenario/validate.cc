// The only file that sees valijson: a heavy header.
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

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

}  // namespace

void ValidateWithSchema(const Json& document, const std::string& schema_name,
                        const std::string& where) {
  const Json schema = ParseJsonFile(ShippedPath("schema/" + schema_name));
  // valijson reads nlohmann::json, not its ordered sister.
  const nlohmann::json plain_schema(schema);
  const nlohmann::json plain_document(document);
  valijson::Schema compiled;
  valijson::SchemaParser().populateSchema(valijson::adapters::NlohmannJsonAdapter(plain_schema),
                                          compiled);
  valijson::ValidationResults results;
  if (valijson::Validator().validate(
          compiled, valijson::adapters::NlohmannJsonAdapter(plain_document), &results)) {
    return;
  }
  // valijson decides; its messages speak of constraints. Ours speak of the document.
  if (const auto problem = FindProblem(schema, document)) {
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
