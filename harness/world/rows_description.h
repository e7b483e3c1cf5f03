#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/json.h"
#include "harness/schema/schema.h"

// The file behind {"generate": FILE}, read and checked against the schema that it fills.
namespace understudy::harness::internal {

struct ColumnDescription {
  std::vector<std::pair<std::string, double>> values;  // text form, weight
  std::optional<std::pair<std::string, std::string>> uniform;
  std::optional<std::pair<std::string, std::string>> zipf;
  std::optional<std::pair<int, int>> text;
  std::optional<double> null_share;
  std::string foreign_key;  // "" | uniform | zipf | each
  std::optional<bool> unique;
  std::optional<std::pair<std::int64_t, std::int64_t>> sequence;  // start, step
  std::string pattern;
  std::optional<std::string> value;
  bool use_default = false;
  std::string pointer;  // where it stands, for messages
};

struct TableDescription {
  std::int64_t rows = 0;
  std::map<std::string, ColumnDescription, std::less<>> columns;
  std::string pointer;
};

struct RowsDescription {
  std::string where;
  std::map<db::TableName, TableDescription> tables;
};

// Error(kInvalidSpec) "WHERE: /pointer: …" for unknown keys, tables, columns, wrong types.
RowsDescription ReadDescription(const Json& json, std::string_view where, const Schema& schema,
                                double scale);

}  // namespace understudy::harness::internal
