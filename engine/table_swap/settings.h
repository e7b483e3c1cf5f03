#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/core/spec.h"
#include "engine/db/identifier.h"

namespace understudy::table_swap {

// Where the values of one new column come from.
struct ColumnRule {
  enum class Kind {
    kFrom,     // the old column `text`
    kSql,      // the SQL expression `text` over the old row
    kDefault,  // the column's own default
  };
  Kind kind = Kind::kFrom;
  std::string text;
};

// What the migration file says, read once. Which tables exist is not known here.
struct Settings {
  bool from_source = false;  // "schema": {"from": "source"}; else `sql_files`
  std::vector<std::filesystem::path> sql_files;
  std::vector<std::string> schemas;   // ["public"]
  std::set<db::TableName> preserved;  // as given; with `sql_files` every table is preserved
  std::set<db::TableName> exclude;
  std::map<db::TableName, std::map<std::string, ColumnRule>> columns;  // table → new column → rule
  bool drop_orphans = false;
  bool reverse = false;
  bool resync_publications = false;

  bool IsPreserved(const db::TableName& table) const {
    return !from_source || preserved.contains(table);
  }

  // Error(kInvalidSpec) with the JSON pointer of what is wrong.
  static Settings Read(const core::Spec& spec);
};

}  // namespace understudy::table_swap
