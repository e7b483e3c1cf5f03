#pragma once

#include <map>
#include <string>
#include <string_view>

namespace understudy::harness {

// What the comments `-- @renamed-from NAME` in a CREATE TABLE say. A comment speaks of the
// definition that it stands in: behind code, of that code's column (of the table, behind its
// opening parenthesis); alone on its line, of the column that follows.
struct RenamedFrom {
  std::string table;
  std::map<std::string, std::string> columns;  // new name → old name
  // Alone before the first column: of the column, or of the table when no column has had that name.
  std::string first;
  std::string first_column;
};
RenamedFrom ReadRenamedFrom(std::string_view create);

}  // namespace understudy::harness
