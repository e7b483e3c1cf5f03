#include "harness/compare/comparison.h"

#include "engine/base/error.h"

namespace understudy::harness {
namespace {

constexpr std::pair<CompareResult, std::string_view> kNames[] = {
    {CompareResult::kEqual, "equal"},
    {CompareResult::kDifferent, "different"},
    {CompareResult::kUnknown, "unknown"},
    {CompareResult::kOnlyLeft, "only-left"},
    {CompareResult::kOnlyRight, "only-right"}};

CompareResult ResultFromName(std::string_view name) {
  for (const auto& [result, text] : kNames) {
    if (text == name) return result;
  }
  throw Error(ErrorKind::kInvalidSpec, "no result of a comparison: '" + std::string(name) + "'");
}

Json ToJson(const TableComparison& table) {
  Json differences = Json::array();
  for (const RowDifference& one : table.differences) {
    differences.push_back({{"kind", one.kind},
                           {"key", one.key},
                           {"left", one.left},
                           {"right", one.right},
                           {"copies_left", one.copies_left},
                           {"copies_right", one.copies_right}});
  }
  return {{"table", table.table},
          {"result", CompareResultName(table.result)},
          {"left_rows", table.left_rows},
          {"right_rows", table.right_rows},
          {"missing", table.missing},
          {"extra", table.extra},
          {"changed", table.changed},
          {"columns", Json(table.columns)},
          {"compared", table.compared},
          {"differences", std::move(differences)},
          {"why", table.why}};
}

TableComparison TableFromJson(const Json& json) {
  TableComparison table;
  table.table = json.at("table");
  table.result = ResultFromName(json.at("result").get<std::string>());
  table.left_rows = json.at("left_rows");
  table.right_rows = json.at("right_rows");
  table.missing = json.at("missing");
  table.extra = json.at("extra");
  table.changed = json.at("changed");
  for (const auto& [column, rows] : json.at("columns").items()) {
    table.columns[column] = rows.get<std::int64_t>();
  }
  table.compared = json.at("compared").get<std::vector<std::string>>();
  for (const Json& one : json.at("differences")) {
    table.differences.push_back({one.at("kind"), one.at("key"), one.at("left"), one.at("right"),
                                 one.at("copies_left"), one.at("copies_right")});
  }
  table.why = json.at("why");
  return table;
}

}  // namespace

std::string_view CompareResultName(CompareResult result) {
  for (const auto& [one, text] : kNames) {
    if (one == result) return text;
  }
  throw Error(ErrorKind::kInternal, "a result of a comparison without a name");
}

Json Comparison::ToJson() const {
  Json list = Json::array();
  for (const TableComparison& table : tables) list.push_back(harness::ToJson(table));
  return {{"result", CompareResultName(result)},
          {"tables", std::move(list)},
          {"rows_compared", rows_compared},
          {"bytes_compared", bytes_compared},
          {"not_checked", not_checked}};
}

Comparison Comparison::FromJson(const Json& json) {
  Comparison comparison;
  comparison.result = ResultFromName(json.at("result").get<std::string>());
  for (const Json& table : json.at("tables")) comparison.tables.push_back(TableFromJson(table));
  comparison.rows_compared = json.at("rows_compared");
  comparison.bytes_compared = json.at("bytes_compared");
  comparison.not_checked = json.at("not_checked");
  return comparison;
}

}  // namespace understudy::harness
