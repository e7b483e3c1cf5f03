#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::db {

// A name always in double quotes, as both dialects take it: a"b → "a""b". Error(kInvalidSpec) for
// an empty name or one that holds a NUL.
std::string QuoteIdentifier(std::string_view name);

// A name as a person writes it in SQL: quoted only where it must be (capitals, spaces, reserved
// words, …). This is the form of every PATH and table name in files and messages.
std::string DisplayIdentifier(std::string_view name);

// 'text' as an SQL literal that both dialects read alike (standard_conforming_strings on).
// Values travel as parameters; this is for DDL and COPY, which take none.
std::string QuoteLiteral(std::string_view text);

// Splits `public."User".id` into its parts, quotes taken off; unquoted parts become lower case when
// `fold`. Error(kInvalidSpec) on broken quoting or an empty part.
std::vector<std::string> ParseDottedName(std::string_view text, bool fold = true);

// A table by schema and name. SQLite's schema is "main".
struct TableName {
  std::string schema;
  std::string name;

  // "orders" (schema = `default_schema`), "public.orders", "public.\"User\"".
  static TableName Parse(std::string_view text, std::string_view default_schema);

  std::string Quoted() const;   // "public"."User": for SQL
  std::string Display() const;  // public."User": for files and messages
  auto operator<=>(const TableName&) const = default;
};

// Whether `text` matches `pattern`, in which * stands for any characters, dots included.
bool MatchesGlob(std::string_view text, std::string_view pattern);

}  // namespace understudy::db
