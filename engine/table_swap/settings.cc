#include "engine/table_swap/settings.h"

#include <algorithm>

#include "engine/base/error.h"

namespace understudy::table_swap {
namespace {

[[noreturn]] void Wrong(const std::string& pointer, const std::string& what) {
  throw Error(ErrorKind::kInvalidSpec, pointer + ": " + what);
}

bool Given(const Json& document, const char* key) {
  return document.contains(key) && !document[key].is_null();
}

std::vector<std::string> Texts(const Json& document, const char* key) {
  std::vector<std::string> texts;
  if (!Given(document, key)) return texts;
  if (!document[key].is_array()) Wrong(std::string("/") + key, "a list of texts is needed");
  for (std::size_t i = 0; i < document[key].size(); ++i) {
    if (!document[key][i].is_string()) {
      Wrong("/" + std::string(key) + "/" + std::to_string(i), "a text is needed");
    }
    texts.push_back(document[key][i].get<std::string>());
  }
  return texts;
}

db::TableName Table(const std::string& text, const std::string& pointer, const Settings& settings) {
  try {
    db::TableName table = db::TableName::Parse(text, settings.schemas.front());
    if (std::ranges::find(settings.schemas, table.schema) == settings.schemas.end()) {
      Wrong(pointer, table.Display() + " is in none of the schemas that take part (\"schemas\")");
    }
    return table;
  } catch (const Error& error) {
    if (error.message().starts_with(pointer)) throw;
    Wrong(pointer, error.message());
  }
}

std::set<db::TableName> Tables(const Json& document, const char* key, const Settings& settings) {
  std::set<db::TableName> tables;
  const auto texts = Texts(document, key);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    tables.insert(Table(texts[i], "/" + std::string(key) + "/" + std::to_string(i), settings));
  }
  return tables;
}

bool Choice(const Json& document, const char* key, const char* off, const char* on) {
  if (!Given(document, key)) return false;
  const Json& value = document[key];
  if (value == off) return false;
  if (value == on) return true;
  Wrong(std::string("/") + key, std::string("allowed: ") + off + ", " + on);
}

ColumnRule Rule(const Json& value, const std::string& pointer) {
  if (value.is_object() && value.size() == 1) {
    const std::string key = value.begin().key();
    if ((key == "from" || key == "sql") && value.begin()->is_string()) {
      return {key == "from" ? ColumnRule::Kind::kFrom : ColumnRule::Kind::kSql,
              value.begin()->get<std::string>()};
    }
    if (key == "default" && *value.begin() == true) return {ColumnRule::Kind::kDefault, ""};
  }
  Wrong(pointer, R"(one of {"from": "old column"}, {"sql": "expression over the old row"}, )"
                 R"({"default": true} is needed)");
}

void ReadSchema(const core::Spec& spec, Settings& settings) {
  const Json& schema = spec.document.at("schema");
  if (!schema.is_object() || schema.size() != 1) {
    Wrong("/schema", R"({"from": "source"} or {"sql": [files]} is needed)");
  }
  if (schema.contains("from")) {
    if (schema["from"] != "source") Wrong("/schema/from", "allowed: source");
    settings.from_source = true;
    if (!spec.endpoints.contains("source")) {
      Wrong("/source", R"(needed with "schema": {"from": "source"}: the endpoint of the new data)");
    }
    return;
  }
  if (!schema.contains("sql")) Wrong("/schema", R"(allowed keys: "from", "sql")");
  const Json list = schema["sql"].is_array() ? schema["sql"] : Json::array({schema["sql"]});
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string pointer = "/schema/sql/" + std::to_string(i);
    if (!list[i].is_string()) Wrong(pointer, "the path of an SQL file is needed");
    settings.sql_files.push_back(spec.Path(list[i].get<std::string>()));
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(settings.sql_files.back(), ignored)) {
      Wrong(pointer, "no such file: " + settings.sql_files.back().string());
    }
  }
  if (list.empty()) Wrong("/schema/sql", "the list is empty");
  if (spec.endpoints.contains("source")) {
    Wrong("/source", R"(only with "schema": {"from": "source"}; with "sql" every row comes from )"
                     "the target");
  }
  if (Given(spec.document, "preserved") && !spec.document["preserved"].empty()) {
    Wrong("/preserved",
          R"(with "schema": {"sql": …} every table is preserved: leave this key out)");
  }
}

}  // namespace

Settings Settings::Read(const core::Spec& spec) {
  const Json& document = spec.document;
  Settings settings;
  for (const char* role : {"target", "source"}) {
    if (spec.endpoints.contains(role) && spec.Endpoint(role).engine() != db::Engine::kPostgres) {
      Wrong(std::string("/") + role, "a table swap needs PostgreSQL; for SQLite see hot-copy");
    }
  }
  settings.schemas = Texts(document, "schemas");
  if (settings.schemas.empty()) settings.schemas = {"public"};
  for (const std::string& schema : settings.schemas) {
    if (schema.starts_with("pg_") || schema == "information_schema" || schema == "understudy") {
      Wrong("/schemas", "'" + schema + "' is not a schema of yours");
    }
    if (std::ranges::count(settings.schemas, schema) > 1) {
      Wrong("/schemas", "'" + schema + "' stands there twice");
    }
  }
  ReadSchema(spec, settings);
  settings.preserved = Tables(document, "preserved", settings);
  settings.exclude = Tables(document, "exclude", settings);
  for (const db::TableName& table : settings.exclude) {
    if (settings.preserved.contains(table)) {
      Wrong("/exclude", table.Display() + " is in \"preserved\" as well");
    }
  }
  if (Given(document, "columns")) {
    if (!document["columns"].is_object()) Wrong("/columns", "an object is needed");
    for (const auto& [table_text, rules] : document["columns"].items()) {
      const std::string pointer = "/columns/" + table_text;
      const db::TableName table = Table(table_text, pointer, settings);
      if (!rules.is_object()) Wrong(pointer, "an object is needed");
      for (const auto& [column, rule] : rules.items()) {
        settings.columns[table][column] = Rule(rule, pointer + "/" + column);
      }
    }
  }
  settings.drop_orphans = Choice(document, "orphans", "fail", "drop");
  settings.resync_publications = Choice(document, "publications", "refuse", "resync");
  if (Given(document, "reverse")) {
    if (!document["reverse"].is_boolean()) Wrong("/reverse", "true or false is needed");
    settings.reverse = document["reverse"].get<bool>();
  }
  return settings;
}

}  // namespace understudy::table_swap
