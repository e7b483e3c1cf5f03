#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The small part of SQL expressions that checks are commonly made of, as PostgreSQL's catalog
// prints them or a person wrote them in SQLite's CREATE TABLE.
namespace understudy::harness::internal {

struct Expression {
  enum class Kind {
    kColumn,   // text: its name
    kLiteral,  // text: its value, quotes taken off
    kNull,
    kCall,      // text: the function's lower-case name; args
    kOperator,  // text: "AND" "OR" "NOT" "=" "<>" "<" "<=" ">" ">=" "IN" "NOT IN" "BETWEEN"
                // "IS NULL" "IS NOT NULL" "LIKE" "GLOB" "~" "~*" "+" "-" "*" "/" "||" …
    kList,      // ARRAY[…], (a, b, …) behind IN, '{a,b}' behind ANY
  };
  Kind kind = Kind::kNull;
  std::string text;
  std::vector<Expression> args;

  bool Is(std::string_view op) const { return kind == Kind::kOperator && text == op; }
};

// Casts and COLLATE are taken off. nullopt when it is none that we read.
std::optional<Expression> ParseExpression(std::string_view sql);

}  // namespace understudy::harness::internal
