#include "engine/db/value.h"

#include <charconv>
#include <cmath>

#include "engine/base/digest.h"
#include "engine/base/error.h"

namespace understudy::db {

Value Value::Real(double number) {
  if (std::isnan(number)) return Null();  // what SQLite does with it
  if (std::isinf(number)) return {Storage::kReal, number > 0 ? "Infinity" : "-Infinity"};
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number).ptr;
  return {Storage::kReal, std::string(buffer, end)};
}

std::int64_t Value::AsInteger() const {
  std::int64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (is_null() || failure != std::errc() || end != text.data() + text.size()) {
    throw Error(ErrorKind::kInternal, is_null() ? "NULL where a whole number was expected"
                                                : "not a whole number: '" + text + "'");
  }
  return number;
}

double Value::AsReal() const {
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (is_null() || failure != std::errc() || end != text.data() + text.size()) {
    throw Error(ErrorKind::kInternal,
                is_null() ? "NULL where a number was expected" : "not a number: '" + text + "'");
  }
  return number;
}

bool Value::AsBool() const {
  if (text == "t" || text == "true" || text == "1") return true;
  if (text == "f" || text == "false" || text == "0") return false;
  throw Error(ErrorKind::kInternal,
              is_null() ? "NULL where a boolean was expected" : "not a boolean: '" + text + "'");
}

Json Value::ToJson() const {
  if (is_null()) return nullptr;
  if (storage == Storage::kBlob) return "\\x" + ToHex(text);
  return text;
}

Value TextArray(const std::vector<std::string>& texts) {
  std::string array = "{";
  for (const std::string& text : texts) {
    array += array.size() > 1 ? ",\"" : "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') array += '\\';
      array += c;
    }
    array += '"';
  }
  return Value::Text(array + "}");
}

}  // namespace understudy::db
