// The only file of this room that sees valijson.
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "engine/base/file.h"
#include "reports/report.h"

namespace understudy::reports {
namespace {

// valijson names a place as {"<root>", "[scenarios]", "[0]"}.
std::string PointerOf(const std::vector<std::string>& context) {
  std::string pointer;
  for (std::size_t i = 1; i < context.size(); ++i) {
    const std::string& part = context[i];
    pointer += "/" + (part.size() > 2 ? part.substr(1, part.size() - 2) : part);
  }
  return pointer;
}

}  // namespace

void ValidateReport(const Json& json) {
  // valijson reads nlohmann::json, not its ordered sister.
  const nlohmann::json schema(ParseJsonFile(ShippedPath("schema/report.schema.json")));
  const nlohmann::json document(json);
  valijson::Schema compiled;
  valijson::SchemaParser().populateSchema(valijson::adapters::NlohmannJsonAdapter(schema),
                                          compiled);
  valijson::ValidationResults results;
  if (valijson::Validator().validate(compiled, valijson::adapters::NlohmannJsonAdapter(document),
                                     &results)) {
    return;
  }
  valijson::ValidationResults::Error deepest;
  for (const auto& error : results) {
    if (error.context.size() >= deepest.context.size()) deepest = error;
  }
  FailAt("report.json", PointerOf(deepest.context), deepest.description);
}

}  // namespace understudy::reports
