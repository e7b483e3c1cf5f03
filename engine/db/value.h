#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/json.h"

namespace understudy::db {

// How a value is held. PostgreSQL gives everything as its text form (kText) or kNull; SQLite's
// values keep their storage class.
enum class Storage : std::uint8_t { kNull, kInteger, kReal, kText, kBlob };

// One value of one row: its storage class and its text form (kBlob: the raw bytes; kReal: the
// shortest text that reads back as the same number).
struct Value {
  Storage storage = Storage::kNull;
  std::string text;

  static Value Null() { return {}; }
  static Value Text(std::string text) { return {Storage::kText, std::move(text)}; }
  static Value Integer(std::int64_t number) { return {Storage::kInteger, std::to_string(number)}; }
  static Value Real(double number);
  static Value Blob(std::string bytes) { return {Storage::kBlob, std::move(bytes)}; }

  bool is_null() const { return storage == Storage::kNull; }
  // Throws Error(kInternal) when it is null or no number.
  std::int64_t AsInteger() const;
  double AsReal() const;
  bool AsBool() const;  // t/f, true/false, 1/0
  // null, or the text form; a blob as "\\x…", as PostgreSQL writes bytea.
  Json ToJson() const;
  std::string TextOr(std::string_view instead_of_null) const {
    return is_null() ? std::string(instead_of_null) : text;
  }
  bool operator==(const Value&) const = default;
};

using Row = std::vector<Value>;
using Params = std::vector<Value>;

// Several texts, or whole numbers, as one parameter of PostgreSQL's: `= ANY ($1::text[])`,
// `unnest($1::oid[])`. `number` says which number of an item: IntegerArray(pairs, &OidPair::in).
Value TextArray(const std::vector<std::string>& texts);
template <typename Items, typename Number = std::identity>
Value IntegerArray(const Items& items, Number number = {}) {
  std::string array = "{";
  for (const auto& item : items) {
    if (array.size() > 1) array += ',';
    array += std::to_string(std::invoke(number, item));
  }
  return Value::Text(array + "}");
}

}  // namespace understudy::db
