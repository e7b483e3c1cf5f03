#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace understudy::codegen {

// One `-- @query` annotation: KIND COL… [order COL [desc]].
struct Query {
  enum class Kind {
    kSelectAll,
    kSelectBy,
    kSelectOneBy,
    kSelectLike,
    kSelectByOrInsert,
    kUpdateBy,
    kDeleteBy,
    kInsertOrIgnore,
  };
  struct Order {
    std::string column;
    bool descending = false;
  };

  Kind kind = Kind::kSelectAll;
  std::vector<std::string> columns;
  std::vector<Order> order;
  bool writes() const { return kind >= Kind::kSelectByOrInsert; }
};

// Error(kInvalidSpec) with `where` and what is allowed.
Query ParseQuery(std::string_view text, const std::string& where);

}  // namespace understudy::codegen
