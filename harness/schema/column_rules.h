#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "harness/schema/schema.h"

namespace understudy::harness {

struct Interval {  // both ends included, in the ordinal's units
  std::int64_t low;
  std::int64_t high;
};

// What a table's checks leave of one column's values, as far as they are understood.
struct ColumnRules {
  std::vector<Interval> intervals;  // empty = all that the type takes
  bool has_labels = false;
  std::vector<std::string> labels;     // with has_labels: nothing else is allowed
  std::vector<std::string> forbidden;  // <> and NOT IN
  int min_length = 0;                  // of text in characters, of an array in elements
  int max_length = -1;
  std::string pattern;  // a regular expression that the text matches
  bool lower_case = false;
  bool upper_case = false;
  bool not_null = false;
  bool always_null = false;
  bool json_array = false;  // jsonb_typeof(c) = 'array'
  int segment = 0;          // a < b: a takes the first of two parts, b the second
  int segments = 1;
};

struct TableRules {
  std::map<std::string, ColumnRules, std::less<>> columns;
  std::vector<std::string> not_understood;  // expressions
};

TableRules ReadRules(const SchemaTable& table);

}  // namespace understudy::harness
