#include "harness/schema/violations.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "harness/schema/expression.h"

namespace understudy::harness {
namespace {

using internal::Expression;

constexpr std::size_t kMostOfAColumn = 24;
constexpr std::size_t kMostLiterals = 6;
constexpr std::int64_t kLongestText = 10000;

bool IsOneOf(const std::string& base, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, base) != names.end();
}

void CollectLiterals(const Expression& expression, std::vector<std::string>& literals) {
  if (expression.kind == Expression::Kind::kLiteral && literals.size() < kMostLiterals) {
    literals.push_back(expression.text);
  }
  for (const Expression& argument : expression.args) CollectLiterals(argument, literals);
}

std::optional<std::int64_t> Whole(const std::string& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

class Candidates {
 public:
  Candidates(const SchemaColumn& column, const std::vector<std::string>& literals)
      : column_(column), literals_(literals) {}

  std::vector<std::string> Take() {
    const std::string& base = column_.base_type;
    if (IsOneOf(base, {"int2", "int4", "int8", "integer", "numeric", "float4", "float8", "real",
                       "money"})) {
      Numbers();
    } else if (IsOneOf(base, {"text", "varchar", "bpchar"})) {
      Texts();
    } else if (base == "bool") {
      Add({"false", "true"});
    } else if (base == "enum") {
      for (const std::string& label : column_.enum_labels) Add(label);
    } else if (IsOneOf(base, {"date", "timestamp", "timestamptz"})) {
      Add({"0001-01-01", "9999-12-31"});
      for (const std::string& literal : literals_) Add(literal);
    } else if (IsOneOf(base, {"json", "jsonb"})) {
      Add({"null", "{}", "[]", "0", "\"\""});
    } else if (base == "array") {
      Add({"{}", "{NULL}"});
    } else {
      for (const std::string& literal : literals_) Add(literal);
      Add({"", "0", "-1"});
    }
    return std::move(values_);
  }

 private:
  void Add(const std::string& value) {
    if (values_.size() < kMostOfAColumn && seen_.insert(value).second) values_.push_back(value);
  }
  void Add(std::initializer_list<const char*> values) {
    for (const char* value : values) Add(std::string(value));
  }

  // Beside each constant, and the ends of the type.
  void Numbers() {
    for (const std::string& literal : literals_) {
      const auto whole = Whole(literal);
      if (!whole || std::abs(*whole) >= INT64_MAX - 1) continue;
      Add(std::to_string(*whole - 1));
      Add(std::to_string(*whole + 1));
      Add(literal);
    }
    Add({"-1", "0", "1"});
    const std::string& base = column_.base_type;
    if (base == "int2") {
      Add({"-32768", "32767"});
    } else if (base == "int4") {
      Add({"-2147483648", "2147483647"});
    } else if (base == "numeric" && column_.precision > 0) {
      const int digits = column_.precision - std::max(column_.scale, 0);
      const std::string most =
          digits <= 0 ? "0" : std::string(static_cast<std::size_t>(digits), '9');
      Add("-" + most);
      Add(most);
    } else {
      Add({"-9223372036854775807", "9223372036854775807"});
    }
  }

  // One that no list holds, other lengths, another case, the constants themselves.
  void Texts() {
    Fitting("?");
    Add("");
    for (const std::string& literal : literals_) {
      const auto length = Whole(literal);
      if (!length || *length < 0 || *length > kLongestText) continue;
      Fitting(std::string(static_cast<std::size_t>(*length) + 1, 'x'));
      if (*length > 0) Fitting(std::string(static_cast<std::size_t>(*length) - 1, 'x'));
    }
    for (const std::string& literal : literals_) {
      Fitting(literal);
      Fitting(literal + "?");
    }
    Add({"a", "A", "0", " "});
  }
  void Fitting(const std::string& text) {
    if (column_.max_length < 0 || text.size() <= static_cast<std::size_t>(column_.max_length)) {
      Add(text);
    }
  }

  const SchemaColumn& column_;
  const std::vector<std::string>& literals_;
  std::vector<std::string> values_;
  std::set<std::string> seen_;
};

}  // namespace

std::vector<ColumnValue> ViolationCandidates(const SchemaTable& table, const SchemaCheck& check) {
  std::vector<std::string> literals;
  if (const auto expression = internal::ParseExpression(check.expression)) {
    CollectLiterals(*expression, literals);
  }
  std::vector<ColumnValue> candidates;
  for (const std::string& name : check.columns) {
    const SchemaColumn* column = table.Column(name);
    if (column == nullptr || column->generated) continue;
    for (std::string& value : Candidates(*column, literals).Take()) {
      candidates.push_back({name, db::Value::Text(std::move(value))});
    }
  }
  // A check is true of NULL unless it speaks of it.
  for (const std::string& name : check.columns) {
    const SchemaColumn* column = table.Column(name);
    if (column == nullptr || column->generated || !column->nullable) continue;
    candidates.push_back({name, db::Value::Null()});
  }
  return candidates;
}

}  // namespace understudy::harness
