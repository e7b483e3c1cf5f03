#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"

// The value that a comparison of rows gives. Pure data: checks read it from evidence.
namespace understudy::harness {

enum class CompareResult { kEqual, kDifferent, kUnknown, kOnlyLeft, kOnlyRight };
std::string_view CompareResultName(
    CompareResult result);  // equal different unknown only-left only-right

struct RowDifference {
  std::string kind;  // missing (only left) | extra (only right) | changed
  Json key;          // {"id": "17"}: text forms; null for a table without a key (a multiset)
  Json left;         // {"column": typed value}: the differing columns; whole row for missing
  Json right;
  std::int64_t copies_left = 1;  // of a multiset's row
  std::int64_t copies_right = 1;
};

struct TableComparison {
  std::string table;  // TableName::Display() of the left side
  CompareResult result = CompareResult::kUnknown;
  std::int64_t left_rows = 0;
  std::int64_t right_rows = 0;
  // -1: not known, as in a comparison of digests that differ.
  std::int64_t missing = 0;  // rows only on the left
  std::int64_t extra = 0;    // rows only on the right
  std::int64_t changed = 0;
  std::map<std::string, std::int64_t> columns;  // changed rows per column
  std::vector<std::string> compared;            // the columns that were compared
  std::vector<RowDifference> differences;       // the first Options::examples of them
  std::string why;                              // of unknown
};

struct Comparison {
  CompareResult result = CompareResult::kUnknown;  // equal | different | unknown
  std::vector<TableComparison> tables;
  std::int64_t rows_compared = 0;
  std::int64_t bytes_compared = 0;
  Json not_checked = Json::array();  // [{"what", "why"}]

  Json ToJson() const;
  static Comparison FromJson(const Json& json);
};

}  // namespace understudy::harness
