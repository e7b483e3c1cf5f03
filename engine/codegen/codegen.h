#pragma once

#include <string>
#include <string_view>

#include "engine/catalog/sqlite_schema.h"

namespace understudy::codegen {

struct Options {
  std::string name_space = "db";
  std::string source;  // the schema's file, for the first line and messages
};

// One C++ header on top of understudy/db.h: per table a row type, the type of a new row, Insert and
// what its `-- @query` annotations ask for; per view a row type and its queries; per extension
// table (its primary key refers to another table's) also Put, Remove and Select…Of. The same
// schema gives the same bytes. Error(kInvalidSpec) names the table and the annotation when a query
// is not of the grammar or names a column that is not there, and when two names fall together.
std::string GenerateHeader(const catalog::SqliteSchema& schema, const Options& options);

// "student_grades" → "StudentGrades"; "grade level" → "grade_level"; C++'s own words get a "_".
std::string TypeName(std::string_view name);
std::string FieldName(std::string_view name);

}  // namespace understudy::codegen
