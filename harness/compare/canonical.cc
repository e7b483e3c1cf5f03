#include "harness/compare/canonical.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "engine/base/digest.h"
#include "engine/base/json.h"

namespace understudy::harness {
namespace {

enum class Form {
  kNone,
  kNumber,
  kReal,
  kBoolean,
  kText,
  kBytes,
  kUuid,
  kMoment,
  kZoned,
  kJson,
  kJsonb
};

Form FormOf(const CompareColumn& column) {
  static const std::map<std::string, Form, std::less<>> kForms = {
      {"bool", Form::kBoolean}, {"bytea", Form::kBytes},       {"uuid", Form::kUuid},
      {"date", Form::kMoment},  {"time", Form::kMoment},       {"timestamp", Form::kMoment},
      {"json", Form::kJson},    {"timestamptz", Form::kZoned}, {"jsonb", Form::kJsonb},
      {"oid", Form::kNumber}};
  if (column.category == "number") return Form::kNumber;
  if (column.category == "float") return Form::kReal;
  if (column.category == "text") return Form::kText;
  const auto it = kForms.find(column.base);
  return it == kForms.end() ? Form::kNone : it->second;
}

// With T for the blank, without zeros at the end of the fraction; `zoned`: without UTC's sign.
std::string NormalMoment(std::string text, bool zoned) {
  if (text.size() > 10 && text[10] == 'T') text[10] = ' ';
  if (zoned) {
    for (const std::string_view utc : {"+00:00", "+00", "Z"}) {
      if (text.ends_with(utc)) {
        text.resize(text.size() - utc.size());
        break;
      }
    }
  }
  if (text.find('.') != std::string::npos && text.find("BC") == std::string::npos) {
    while (text.ends_with('0')) text.pop_back();
    if (text.ends_with('.')) text.pop_back();
  }
  return text;
}

std::string ClassOf(const db::Value& value) {
  switch (value.storage) {
    case db::Storage::kInteger:
      return "integer:";
    case db::Storage::kReal:
      return "real:";
    case db::Storage::kBlob:
      return "blob:";
    default:
      return "text:";
  }
}

std::string RealOf(const std::string& text) {
  if (text == "NaN" || text.ends_with("Infinity")) return "real:" + text;
  return "real:" + db::Value::Real(db::Value::Text(text).AsReal()).text;
}

// A DOM whose numbers are their digits.
class NormalSax : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return Put("null"); }
  bool boolean(bool value) override { return Put(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return Put(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return Put(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override {
    // jsonb keeps the scale (1.0, 1.00) and expands exponents.
    const bool plain = text.find_first_of("eE") == std::string::npos;
    return Put(plain ? text : NormalDecimal(text).value_or(text));
  }
  bool string(string_t& value) override { return Put(nlohmann::json(value).dump()); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    open_.push_back({true, {}, {}, ""});
    return true;
  }
  bool key(string_t& name) override {
    open_.back().key = nlohmann::json(name).dump();
    return true;
  }
  bool end_object() override {
    std::string text;
    for (const auto& [name, value] : open_.back().members) {
      text += (text.empty() ? "" : ",") + name + ":" + value;
    }
    return Close("{" + text + "}");
  }
  bool start_array(std::size_t) override {
    open_.push_back({false, {}, {}, ""});
    return true;
  }
  bool end_array() override {
    std::string text;
    for (const std::string& value : open_.back().items) {
      text += (text.empty() ? "" : ",") + value;
    }
    return Close("[" + text + "]");
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }
  std::string result;

 private:
  struct Level {
    bool object;
    std::map<std::string, std::string> members;
    std::vector<std::string> items;
    std::string key;
  };
  bool Put(std::string text) {
    if (open_.empty()) {
      result = std::move(text);
    } else if (open_.back().object) {
      open_.back().members[open_.back().key] = std::move(text);
    } else {
      open_.back().items.push_back(std::move(text));
    }
    return true;
  }
  bool Close(std::string text) {
    open_.pop_back();
    return Put(std::move(text));
  }
  std::vector<Level> open_;
};

}  // namespace

std::optional<std::string> NormalDecimal(std::string_view text) {
  std::size_t at = 0;
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) ++at;
  std::string digits;
  std::int64_t scale = 0;
  bool fraction = false;
  for (; at < text.size(); ++at) {
    if (text[at] == '.' && !fraction) {
      fraction = true;
    } else if (text[at] >= '0' && text[at] <= '9') {
      digits += text[at];
      if (fraction) ++scale;
    } else {
      break;
    }
  }
  if (digits.empty()) return std::nullopt;
  if (at < text.size()) {
    if (text[at] != 'e' && text[at] != 'E') return std::nullopt;
    const std::string exponent(
        text.substr(at + (at + 1 < text.size() && text[at + 1] == '+' ? 2 : 1)));
    if (exponent.empty() || exponent.size() > 6 ||
        exponent.find_first_not_of("0123456789", exponent[0] == '-' ? 1 : 0) != std::string::npos ||
        exponent == "-") {
      return std::nullopt;
    }
    scale -= std::stoll(exponent);
  }
  if (scale < 0) digits.append(static_cast<std::size_t>(-scale), '0');
  scale = std::max<std::int64_t>(scale, 0);
  if (static_cast<std::size_t>(scale) >= digits.size()) {
    digits.insert(0, static_cast<std::size_t>(scale) + 1 - digits.size(), '0');
  }
  std::string whole = digits.substr(0, digits.size() - static_cast<std::size_t>(scale));
  std::string rest = digits.substr(whole.size());
  while (rest.ends_with('0')) rest.pop_back();
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size() - 1));
  std::string result = rest.empty() ? whole : whole + "." + rest;
  return negative && result != "0" ? "-" + result : result;
}

std::optional<std::string> NormalJson(std::string_view text) {
  NormalSax sax;
  if (!nlohmann::json::sax_parse(text, &sax)) return std::nullopt;
  return sax.result;
}

bool HasCanonicalForm(const CompareColumn& postgres) { return FormOf(postgres) != Form::kNone; }

std::string LeftOut(const CompareColumn& postgres) {
  if (postgres.base == "numeric") return "the scale of numeric (1.0 against 1.00)";
  if (FormOf(postgres) == Form::kJsonb) return "blanks and the order of keys in jsonb";
  if (FormOf(postgres) == Form::kZoned) return "whether a text without a zone means UTC (taken so)";
  return "";
}

std::optional<std::string> CanonicalPostgres(const CompareColumn& postgres,
                                             const db::Value& value) {
  if (value.is_null()) return "null";
  const std::string& text = value.text;
  switch (FormOf(postgres)) {
    case Form::kNumber:
      return "number:" + NormalDecimal(text).value_or(text);
    case Form::kReal:
      return RealOf(text);
    case Form::kBoolean:
      return value.AsBool() ? "boolean:1" : "boolean:0";
    case Form::kText:
      return "text:" + text;
    case Form::kBytes:
      return "blob:" + FromHex(std::string_view(text).substr(2));
    case Form::kUuid:
      return "uuid:" + text;
    case Form::kMoment:
      return "moment:" + NormalMoment(text, false);
    case Form::kZoned:
      return "moment:" + NormalMoment(text, true);
    case Form::kJson:
      return "text:" + text;
    case Form::kJsonb:
      return "json:" + NormalJson(text).value_or(text);
    case Form::kNone:
      break;
  }
  return std::nullopt;
}

std::optional<std::string> CanonicalSqlite(const CompareColumn& postgres, const db::Value& value) {
  if (value.is_null()) return "null";
  const bool number = value.storage == db::Storage::kInteger || value.storage == db::Storage::kReal;
  const bool is_text = value.storage == db::Storage::kText;
  const std::string other = ClassOf(value) + value.text;  // another class than the type's
  switch (FormOf(postgres)) {
    case Form::kNumber: {
      // A numeric may live in TEXT, where SQLite keeps all its digits; a whole number may not.
      if (!number && !(is_text && postgres.base == "numeric")) return other;
      const auto decimal = NormalDecimal(value.text);
      return decimal ? "number:" + *decimal : other;
    }
    case Form::kReal:
      return number ? RealOf(value.text) : other;
    case Form::kBoolean:
      return value.storage == db::Storage::kInteger && (value.text == "0" || value.text == "1")
                 ? "boolean:" + value.text
                 : other;
    case Form::kText:
    case Form::kJson:
    case Form::kBytes:
      return other;
    case Form::kUuid: {
      if (is_text) return "uuid:" + value.text;
      if (value.storage != db::Storage::kBlob || value.text.size() != 16) return other;
      std::string hex = ToHex(value.text);
      for (const std::size_t dash : {8U, 13U, 18U, 23U}) hex.insert(dash, 1, '-');
      return "uuid:" + hex;
    }
    case Form::kMoment:
    case Form::kZoned:
      if (number) return std::nullopt;
      return is_text ? "moment:" + NormalMoment(value.text, FormOf(postgres) == Form::kZoned)
                     : other;
    case Form::kJsonb: {
      const auto json = is_text ? NormalJson(value.text) : std::nullopt;
      return json ? "json:" + *json : other;
    }
    case Form::kNone:
      break;
  }
  return std::nullopt;
}

}  // namespace understudy::harness
