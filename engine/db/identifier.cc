#include "engine/db/identifier.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "engine/base/error.h"

namespace understudy::db {
namespace {
// PostgreSQL's reserved words (manual, appendix C), those of SQLite that could name a column among
// them. A word too many costs a pair of quotes in a message.
constexpr std::array<std::string_view, 92> kReserved = {"all",
                                                        "analyse",
                                                        "analyze",
                                                        "and",
                                                        "any",
                                                        "array",
                                                        "as",
                                                        "asc",
                                                        "asymmetric",
                                                        "authorization",
                                                        "between",
                                                        "binary",
                                                        "both",
                                                        "case",
                                                        "cast",
                                                        "check",
                                                        "collate",
                                                        "collation",
                                                        "column",
                                                        "concurrently",
                                                        "constraint",
                                                        "create",
                                                        "cross",
                                                        "current_catalog",
                                                        "current_date",
                                                        "current_role",
                                                        "current_schema",
                                                        "current_time",
                                                        "current_timestamp",
                                                        "current_user",
                                                        "default",
                                                        "deferrable",
                                                        "desc",
                                                        "distinct",
                                                        "do",
                                                        "else",
                                                        "end",
                                                        "except",
                                                        "false",
                                                        "fetch",
                                                        "for",
                                                        "foreign",
                                                        "freeze",
                                                        "from",
                                                        "full",
                                                        "grant",
                                                        "group",
                                                        "having",
                                                        "ilike",
                                                        "in",
                                                        "index",
                                                        "initially",
                                                        "inner",
                                                        "intersect",
                                                        "into",
                                                        "is",
                                                        "isnull",
                                                        "join",
                                                        "lateral",
                                                        "leading",
                                                        "left",
                                                        "like",
                                                        "limit",
                                                        "localtime",
                                                        "localtimestamp",
                                                        "natural",
                                                        "not",
                                                        "notnull",
                                                        "null",
                                                        "offset",
                                                        "on",
                                                        "only",
                                                        "or",
                                                        "order",
                                                        "outer",
                                                        "overlaps",
                                                        "placing",
                                                        "primary",
                                                        "references",
                                                        "returning",
                                                        "right",
                                                        "select",
                                                        "session_user",
                                                        "similar",
                                                        "some",
                                                        "symmetric",
                                                        "table",
                                                        "then",
                                                        "to",
                                                        "trailing",
                                                        "true",
                                                        "union"};
constexpr std::array<std::string_view, 12> kReserved2 = {
    "unique", "user",   "using", "variadic",    "verbose",     "when",
    "where",  "window", "with",  "tablesample", "transaction", "values"};
}  // namespace

std::string QuoteIdentifier(std::string_view name) {
  if (name.empty()) throw Error(ErrorKind::kInvalidSpec, "an empty name is no identifier");
  if (name.find('\0') != std::string_view::npos) {
    throw Error(ErrorKind::kInvalidSpec, "a name cannot hold a NUL character");
  }
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string DisplayIdentifier(std::string_view name) {
  const auto is_start = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  const auto is_part = [&](char c) { return is_start(c) || (c >= '0' && c <= '9') || c == '$'; };
  const bool plain = !name.empty() && is_start(name[0]) && std::ranges::all_of(name, is_part) &&
                     std::ranges::find(kReserved, name) == kReserved.end() &&
                     std::ranges::find(kReserved2, name) == kReserved2.end();
  return plain ? std::string(name) : QuoteIdentifier(name);
}

std::string QuoteLiteral(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) {
    throw Error(ErrorKind::kInvalidSpec, "an SQL text literal cannot hold a NUL character");
  }
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted + "'";
}

std::vector<std::string> ParseDottedName(std::string_view text, bool fold) {
  const auto fail = [&](std::string_view why) {
    throw Error(ErrorKind::kInvalidSpec,
                "not a name: '" + std::string(text) + "': " + std::string(why));
  };
  std::vector<std::string> parts;
  std::size_t i = 0;
  for (;;) {
    std::string part;
    if (i < text.size() && text[i] == '"') {
      for (++i;; ++i) {
        if (i >= text.size()) fail("a quote is not closed");
        if (text[i] == '"') {
          if (i + 1 < text.size() && text[i + 1] == '"') {
            ++i;
          } else {
            break;
          }
        }
        part += text[i];
      }
      ++i;
      if (i < text.size() && text[i] != '.') fail("text behind a closing quote");
    } else {
      for (; i < text.size() && text[i] != '.'; ++i) {
        if (text[i] == '"') fail("a quote inside an unquoted name");
        part +=
            fold ? static_cast<char>(std::tolower(static_cast<unsigned char>(text[i]))) : text[i];
      }
    }
    if (part.empty()) fail("an empty part");
    parts.push_back(std::move(part));
    if (i >= text.size()) return parts;
    ++i;  // the dot
  }
}

TableName TableName::Parse(std::string_view text, std::string_view default_schema) {
  std::vector<std::string> parts = ParseDottedName(text);
  if (parts.size() == 1) return {std::string(default_schema), std::move(parts[0])};
  if (parts.size() == 2) return {std::move(parts[0]), std::move(parts[1])};
  throw Error(ErrorKind::kInvalidSpec, "not a table: '" + std::string(text) +
                                           "'; a table is written schema.table, names in double "
                                           "quotes where SQL needs them");
}

std::string TableName::Quoted() const {
  return QuoteIdentifier(schema) + "." + QuoteIdentifier(name);
}

std::string TableName::Display() const {
  return DisplayIdentifier(schema) + "." + DisplayIdentifier(name);
}

bool MatchesGlob(std::string_view text, std::string_view pattern) {
  std::size_t t = 0;
  std::size_t p = 0;
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace understudy::db
