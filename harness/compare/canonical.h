#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/db/value.h"
#include "harness/compare/tables.h"

// The one form in which a value of PostgreSQL and one of SQLite are compared; README.md has the
// table. It follows PostgreSQL's type: SQLite's columns have none to rely on.
namespace understudy::harness {

// Whether there is such a form for the type at all.
bool HasCanonicalForm(const CompareColumn& postgres);
// What the form leaves out, for not_checked; "" when nothing.
std::string LeftOut(const CompareColumn& postgres);

// Two values are the same when their forms are. nullopt: the value cannot be compared (a number
// where PostgreSQL has a timestamp: its epoch and unit are not known).
std::optional<std::string> CanonicalPostgres(const CompareColumn& postgres, const db::Value& value);
std::optional<std::string> CanonicalSqlite(const CompareColumn& postgres, const db::Value& value);

// "1.50e2" → "150", "-0.0" → "0"; nullopt when it is no decimal number (NaN, Infinity, text).
std::optional<std::string> NormalDecimal(std::string_view text);

// JSON without blanks, keys sorted, the last of duplicates, numbers as decimals with their digits;
// nullopt when it is no JSON.
std::optional<std::string> NormalJson(std::string_view text);

}  // namespace understudy::harness
