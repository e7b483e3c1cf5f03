// The values of engine/capture/postgres.h: how they are written and read.
#include "engine/capture/postgres.h"

namespace understudy::capture {

std::string RowMapping::InsertColumns() const {
  std::string list;
  for (const ColumnSource& source : columns) {
    list += (list.empty() ? "" : ", ") + db::QuoteIdentifier(source.column);
  }
  return list;
}

std::string RowMapping::SelectList() const {
  std::string list;
  for (const ColumnSource& source : columns) {
    list += (list.empty() ? "" : ", ") + source.expression;
  }
  return list;
}

Json RowMapping::ToJson() const {
  Json sources = Json::array();
  for (const ColumnSource& source : columns) {
    sources.push_back({{"column", source.column},
                       {"expression", source.expression},
                       {"compared", source.compared}});
  }
  return {{"columns", sources},
          {"key", key},
          {"mirror_key", mirror_key},
          {"key_equals", key_equals},
          {"mirror_equals", mirror_equals},
          {"mirror_collate", mirror_collate},
          {"not_compared", not_compared},
          {"only", only}};
}

RowMapping RowMapping::FromJson(const Json& json) {
  RowMapping mapping;
  for (const Json& source : json.at("columns")) {
    mapping.columns.push_back({source.at("column").get<std::string>(),
                               source.at("expression").get<std::string>(),
                               source.at("compared").get<bool>()});
  }
  const auto list = [&](const char* name) { return json.at(name).get<std::vector<std::string>>(); };
  mapping.key = list("key");
  mapping.mirror_key = list("mirror_key");
  mapping.key_equals = list("key_equals");
  mapping.mirror_equals = list("mirror_equals");
  mapping.mirror_collate = list("mirror_collate");
  mapping.not_compared = list("not_compared");
  mapping.only = json.value("only", "");
  return mapping;
}

Json CapturedTable::ToJson() const {
  return {{"watched", watched},          {"mirror", mirror},
          {"mapping", mapping.ToJson()}, {"log", log},
          {"function", function},        {"owner", owner},
          {"max_bytes", max_bytes},      {"only_whether", only_whether}};
}

CapturedTable CapturedTable::FromJson(const Json& json) {
  CapturedTable table;
  table.watched = json.at("watched").get<Oid>();
  table.mirror = json.at("mirror").get<Oid>();
  table.mapping = RowMapping::FromJson(json.at("mapping"));
  table.log = json.at("log").get<Oid>();
  table.function = json.at("function").get<Oid>();
  table.owner = json.value("owner", "");
  table.max_bytes = json.value("max_bytes", std::int64_t{0});
  table.only_whether = json.value("only_whether", false);
  return table;
}

}  // namespace understudy::capture
