#include "harness/schema/column_rules.h"

#include <algorithm>
#include <set>

#include "harness/schema/expression.h"
#include "harness/schema/ordinal.h"

namespace understudy::harness {
namespace {

using internal::Expression;
using Kind = Expression::Kind;
using Columns = std::map<std::string, ColumnRules, std::less<>>;
using Order = std::vector<std::pair<std::string, std::string>>;  // first < second

std::vector<Interval> Intersect(const std::vector<Interval>& a, const std::vector<Interval>& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  std::vector<Interval> both;
  for (const Interval& x : a) {
    for (const Interval& y : b) {
      const Interval part{std::max(x.low, y.low), std::min(x.high, y.high)};
      if (part.low <= part.high) both.push_back(part);
    }
  }
  return both.empty() ? a : both;  // nothing satisfies both: the server will say so
}

void Merge(ColumnRules& into, const ColumnRules& more) {
  into.intervals = Intersect(into.intervals, more.intervals);
  if (more.has_labels && into.has_labels) {
    std::erase_if(into.labels, [&](const std::string& label) {
      return std::find(more.labels.begin(), more.labels.end(), label) == more.labels.end();
    });
  } else if (more.has_labels) {
    into.has_labels = true;
    into.labels = more.labels;
  }
  into.forbidden.insert(into.forbidden.end(), more.forbidden.begin(), more.forbidden.end());
  into.min_length = std::max(into.min_length, more.min_length);
  if (more.max_length >= 0) {
    into.max_length =
        into.max_length < 0 ? more.max_length : std::min(into.max_length, more.max_length);
  }
  if (into.pattern.empty()) into.pattern = more.pattern;
  into.lower_case |= more.lower_case;
  into.upper_case |= more.upper_case;
  into.not_null |= more.not_null;
  into.always_null |= more.always_null;
  into.json_array |= more.json_array;
}

// A LIKE or GLOB pattern as a regular expression.
std::string FromWildcards(std::string_view text, char any, char one) {
  std::string pattern = "^";
  bool in_class = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_class) {
      pattern += c;
      if (c == ']') in_class = false;
    } else if (c == any) {
      pattern += ".*";
    } else if (c == one) {
      pattern += ".";
    } else if (any == '*' && c == '[') {
      pattern += c;
      in_class = true;
    } else if (std::string_view(".^$*+?()[]{}|\\").find(c) != std::string_view::npos) {
      if (c == '\\' && any == '%' && i + 1 < text.size()) ++i;
      pattern += '\\';
      pattern += text[i];
    } else {
      pattern += c;
    }
  }
  return pattern + "$";
}

bool IsLengthCall(const std::string& name) {
  return name == "length" || name == "char_length" || name == "character_length" ||
         name == "octet_length" || name == "cardinality" || name == "array_length";
}

class Reader {
 public:
  Reader(const SchemaTable& table, Columns& columns, Order& order)
      : table_(table), columns_(columns), order_(order) {}

  // Whether the condition was understood; what it demands is merged into the columns.
  bool Read(const Expression& e) {
    if (e.Is("AND")) {
      const bool left = Read(e.args[0]);
      const bool right = Read(e.args[1]);
      return left && right;
    }
    if (e.Is("OR")) return ReadOr(e);
    if (e.Is("NOT")) return ReadNot(e.args[0]);
    if (e.Is("BETWEEN")) {
      return Compare(e.args[0], ">=", e.args[1]) && Compare(e.args[0], "<=", e.args[2]);
    }
    if (e.Is("IN") || e.Is("NOT IN")) return ReadIn(e);
    if (e.Is("IS NOT NULL")) {
      if (ColumnRules* rules = Column(e.args[0])) {
        rules->not_null = true;
        return true;
      }
      return false;
    }
    if (e.Is("IS NULL")) {
      if (ColumnRules* rules = Column(e.args[0])) {
        rules->always_null = true;
        return true;
      }
      return false;
    }
    if (e.Is("LIKE") || e.Is("GLOB") || e.Is("~") || e.Is("~*")) return ReadMatch(e);
    if (e.kind == Kind::kColumn) {  // a boolean column
      if (ColumnRules* rules = Column(e)) {
        Restrict(*rules, {"true"});
        return true;
      }
      return false;
    }
    if (e.kind == Kind::kLiteral) return e.text == "true" || e.text == "1";
    if (e.kind == Kind::kCall) return ReadCall(e);
    if (e.kind == Kind::kOperator && e.args.size() == 2) {
      return Compare(e.args[0], e.text, e.args[1]);
    }
    return false;
  }

 private:
  ColumnRules* Column(const Expression& e) {
    const SchemaColumn* column = Known(e);
    return column == nullptr ? nullptr : &columns_[column->name];
  }

  const SchemaColumn* Known(const Expression& e) const {
    if (e.kind != Kind::kColumn) return nullptr;
    if (const SchemaColumn* column = table_.Column(e.text)) return column;
    const auto lower = [](std::string text) {
      for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      return text;
    };
    for (const SchemaColumn& column : table_.columns) {  // SQLite: any case
      if (lower(column.name) == lower(e.text)) return &column;
    }
    return nullptr;
  }

  static void Restrict(ColumnRules& rules, std::vector<std::string> labels) {
    ColumnRules more;
    more.has_labels = true;
    more.labels = std::move(labels);
    Merge(rules, more);
  }

  static void Flatten(const Expression& e, std::vector<const Expression*>& branches) {
    if (!e.Is("OR")) {
      branches.push_back(&e);
      return;
    }
    Flatten(e.args[0], branches);
    Flatten(e.args[1], branches);
  }

  // One branch that holds is enough. Ranges and labels of one column are joined, so that rows
  // find every partition and not only the first.
  bool ReadOr(const Expression& e) {
    std::vector<const Expression*> branches;
    Flatten(e, branches);
    struct Understood {
      Columns columns;
      Order order;
    };
    std::vector<Understood> understood;
    bool only_null = true;
    for (const Expression* branch : branches) {
      Understood one;
      if (!Reader(table_, one.columns, one.order).Read(*branch)) continue;
      const bool null = std::any_of(one.columns.begin(), one.columns.end(),
                                    [](const auto& c) { return c.second.always_null; });
      if (!null && only_null) {
        understood.clear();
        only_null = false;
      }
      if (!null || only_null) understood.push_back(std::move(one));
    }
    if (understood.empty()) return false;
    Understood& first = understood.front();
    if (first.columns.size() == 1 && first.order.empty()) {
      auto& [name, joined] = *first.columns.begin();
      for (std::size_t i = 1; i < understood.size(); ++i) {
        const auto it = understood[i].columns.find(name);
        if (understood[i].columns.size() != 1 || it == understood[i].columns.end()) continue;
        if (!joined.intervals.empty() && !it->second.intervals.empty()) {
          joined.intervals.insert(joined.intervals.end(), it->second.intervals.begin(),
                                  it->second.intervals.end());
        }
        if (joined.has_labels && it->second.has_labels) {
          joined.labels.insert(joined.labels.end(), it->second.labels.begin(),
                               it->second.labels.end());
        }
      }
    }
    for (auto& [name, rules] : first.columns) Merge(columns_[name], rules);
    order_.insert(order_.end(), first.order.begin(), first.order.end());
    return true;
  }

  bool ReadNot(const Expression& e) {
    if (e.kind == Kind::kColumn) {
      if (ColumnRules* rules = Column(e)) {
        Restrict(*rules, {"false"});
        return true;
      }
      return false;
    }
    static const std::map<std::string, std::string> kOpposite = {{"=", "<>"},
                                                                 {"<>", "="},
                                                                 {"<", ">="},
                                                                 {">=", "<"},
                                                                 {">", "<="},
                                                                 {"<=", ">"},
                                                                 {"IS NULL", "IS NOT NULL"},
                                                                 {"IN", "NOT IN"}};
    const auto it = e.kind == Kind::kOperator ? kOpposite.find(e.text) : kOpposite.end();
    if (it == kOpposite.end()) return false;
    Expression opposite = e;
    opposite.text = it->second;
    return Read(opposite);
  }

  bool ReadIn(const Expression& e) {
    const Expression& list = e.args[1];
    if (list.kind != Kind::kList) return false;
    std::vector<std::string> labels;
    for (const Expression& item : list.args) {
      if (item.kind != Kind::kLiteral) return false;
      labels.push_back(item.text);
    }
    if (e.args[0].kind == Kind::kCall) {  // SQLite's typeof(c) IN ('text', 'blob')
      if (e.args[0].text != "typeof" || e.args[0].args.empty()) return false;
      ColumnRules* of = Column(e.args[0].args[0]);
      if (of == nullptr) return false;
      if (std::find(labels.begin(), labels.end(), "null") == labels.end()) of->not_null = true;
      return true;
    }
    ColumnRules* rules = Column(e.args[0]);
    if (rules == nullptr) return false;
    if (e.Is("IN")) {
      Restrict(*rules, std::move(labels));
    } else {
      rules->forbidden.insert(rules->forbidden.end(), labels.begin(), labels.end());
    }
    return true;
  }

  bool ReadMatch(const Expression& e) {
    if (e.args[1].kind != Kind::kLiteral) return false;
    const Expression* of = &e.args[0];
    bool lower = false;
    bool upper = false;
    if (of->kind == Kind::kCall && of->args.size() == 1) {
      lower = of->text == "lower";
      upper = of->text == "upper";
      of = &of->args[0];
    }
    ColumnRules* rules = Column(*of);
    if (rules == nullptr || !rules->pattern.empty()) return false;
    const std::string& text = e.args[1].text;
    rules->pattern = e.Is("LIKE")   ? FromWildcards(text, '%', '_')
                     : e.Is("GLOB") ? FromWildcards(text, '*', '?')
                                    : text;
    rules->lower_case |= lower;
    rules->upper_case |= upper;
    return true;
  }

  bool ReadCall(const Expression& e) {
    if (e.args.size() != 1) return false;
    ColumnRules* rules = Column(e.args[0]);
    if (rules == nullptr) return false;
    if (e.text == "json_valid") rules->not_null = true;  // 0 for NULL in older SQLite
    return e.text == "json_valid" || e.text == "isfinite";
  }

  bool Compare(const Expression& left, std::string op, const Expression& right) {
    const auto is_value = [](const Expression& e) {
      return e.kind == Kind::kLiteral || (e.kind == Kind::kCall && e.text == "now");
    };
    if (is_value(left) && !is_value(right)) {
      static const std::map<std::string, std::string> kTurned = {
          {"<", ">"}, {">", "<"}, {"<=", ">="}, {">=", "<="}, {"=", "="}, {"<>", "<>"}};
      const auto it = kTurned.find(op);
      return it != kTurned.end() && Compare(right, it->second, left);
    }
    if (op != "=" && op != "<>" && op != "<" && op != "<=" && op != ">" && op != ">=") return false;
    if (right.kind == Kind::kColumn && left.kind == Kind::kColumn) return Relate(left, op, right);
    if (left.kind == Kind::kCall) return CompareCall(left, op, right);
    if (right.kind == Kind::kCall && right.text != "now") {
      return op == "=" && CompareCall(right, op, left);
    }
    const SchemaColumn* column = Known(left);
    if (column == nullptr || !is_value(right)) return false;
    ColumnRules& rules = columns_[column->name];
    if (right.kind == Kind::kCall) return op == "<" || op == "<=";  // now(): ours is the past
    if (op == "=") {
      Restrict(rules, {right.text});
      return true;
    }
    if (op == "<>") {
      rules.forbidden.push_back(right.text);
      if (right.text.empty()) rules.min_length = std::max(rules.min_length, 1);
      return true;
    }
    return Bound(rules, Ordinal::Of(*column), op, right.text);
  }

  static bool Bound(ColumnRules& rules, const Ordinal& ordinal, const std::string& op,
                    const std::string& literal) {
    if (!ordinal) return false;
    const bool low = op[0] == '>';
    bool exact = false;
    const auto units = ordinal.Units(literal, /*round_up=*/low, &exact);
    if (!units) return false;
    const std::int64_t strict = op.size() == 1 && exact ? 1 : 0;
    const Interval all{ordinal.type_low, ordinal.type_high};
    const Interval part = low ? Interval{*units + strict, std::max(all.high, *units + strict)}
                              : Interval{std::min(all.low, *units - strict), *units - strict};
    rules.intervals = Intersect(rules.intervals, {part});
    return true;
  }

  // a < b: each takes its own part of the range, so that the order holds whatever is drawn.
  bool Relate(const Expression& left, const std::string& op, const Expression& right) {
    const SchemaColumn* a = Known(left);
    const SchemaColumn* b = Known(right);
    if (a == nullptr || b == nullptr || op == "=") return false;
    if (!Ordinal::Of(*a) || Ordinal::Of(*a).kind != Ordinal::Of(*b).kind) return op == "<>";
    if (op[0] == '>') std::swap(a, b);
    order_.emplace_back(a->name, b->name);
    return true;
  }

  bool CompareCall(const Expression& call, const std::string& op, const Expression& right) {
    if (call.args.empty()) return false;
    const Expression* of = &call.args[0];
    if (call.text == "typeof") {
      ColumnRules* rules = Column(*of);
      if (rules == nullptr || op != "=") return false;
      rules->not_null = right.text != "null";
      return true;
    }
    if ((call.text == "lower" || call.text == "upper") && op == "=") {
      ColumnRules* rules = Column(*of);
      if (rules == nullptr || right.kind != Kind::kColumn || right.text != of->text) return false;
      (call.text == "lower" ? rules->lower_case : rules->upper_case) = true;
      return true;
    }
    if (call.text == "jsonb_typeof" || call.text == "json_typeof") {
      ColumnRules* rules = Column(*of);
      if (rules == nullptr || op != "=" || right.kind != Kind::kLiteral) return false;
      rules->json_array = right.text == "array";
      return right.text == "array" || right.text == "object";
    }
    const auto trimmed = [](const Expression& e) {
      return e.kind == Kind::kCall && (e.text == "btrim" || e.text == "trim") && !e.args.empty();
    };
    if (trimmed(call)) {  // btrim(c) <> '', btrim(c) = c: what we make has no blanks at its ends
      ColumnRules* rules = Column(*of);
      if (rules == nullptr) return false;
      if (op == "<>" && right.kind == Kind::kLiteral && right.text.empty()) {
        rules->min_length = std::max(rules->min_length, 1);
        return true;
      }
      return op == "=" && right.kind == Kind::kColumn;
    }
    if (call.text == "position" || call.text == "strpos" || call.text == "instr") {
      if (call.args.size() != 2 || call.args[1].kind != Kind::kLiteral) return false;
      ColumnRules* rules = Column(*of);
      if (rules == nullptr || op[0] != '>' || !rules->pattern.empty()) return false;
      rules->pattern = "^.+";
      for (const char c : call.args[1].text) rules->pattern += std::string("[") + c + "]";
      rules->pattern += ".+$";
      return true;
    }
    if (!IsLengthCall(call.text) || right.kind != Kind::kLiteral) return false;
    if (trimmed(*of)) of = &of->args[0];
    ColumnRules* rules = Column(*of);
    if (rules == nullptr) return false;
    static const Ordinal kLengths = Ordinal::OfBase("int4", -1, -1);
    ColumnRules length;
    if (op == "=") {
      if (!Bound(length, kLengths, ">=", right.text)) return false;
      if (!Bound(length, kLengths, "<=", right.text)) return false;
    } else if (op == "<>") {
      if (right.text != "0") return false;
      if (!Bound(length, kLengths, ">", right.text)) return false;
    } else if (!Bound(length, kLengths, op, right.text)) {
      return false;
    }
    ColumnRules more;
    more.min_length = static_cast<int>(std::max<std::int64_t>(0, length.intervals[0].low));
    if (length.intervals[0].high < INT32_MAX) {
      more.max_length = static_cast<int>(length.intervals[0].high);
    }
    Merge(*rules, more);
    return true;
  }

  const SchemaTable& table_;
  Columns& columns_;
  Order& order_;
};

// Columns that are compared with each other share one range, cut into as many parts as the longest
// chain has members.
void Divide(const Order& order, Columns& columns) {
  std::map<std::string, int> level;
  for (const auto& [low, high] : order) level[low] = level[high] = 0;
  for (std::size_t round = 0; round <= level.size(); ++round) {  // a cycle (a <= b <= a) ends too
    for (const auto& [low, high] : order) level[high] = std::max(level[high], level[low] + 1);
  }
  while (!level.empty()) {
    std::set<std::string> group = {level.begin()->first};
    for (std::size_t before = 0; before != group.size();) {
      before = group.size();
      for (const auto& [low, high] : order) {
        if (group.contains(low) || group.contains(high)) group.insert({low, high});
      }
    }
    std::vector<Interval> common;
    int parts = 1;
    for (const std::string& name : group) {
      common = Intersect(common, columns[name].intervals);
      parts = std::min(std::max(parts, level[name] + 1), 8);
    }
    for (const std::string& name : group) {
      ColumnRules& rules = columns[name];
      rules.intervals = common;
      rules.segment = std::min(level[name], parts - 1);
      rules.segments = parts;
      level.erase(name);
    }
  }
}

}  // namespace

TableRules ReadRules(const SchemaTable& table) {
  TableRules rules;
  Order order;
  const auto read = [&](const std::string& text) {
    const auto expression = internal::ParseExpression(text);
    Columns columns;
    Order more;
    bool understood = expression && Reader(table, columns, more).Read(*expression);
    if (!understood) rules.not_understood.push_back(text);
    // Of a conjunction that was understood in part, the part still helps.
    for (auto& [name, one] : columns) Merge(rules.columns[name], one);
    order.insert(order.end(), more.begin(), more.end());
  };
  for (const SchemaCheck& check : table.checks) read(check.expression);
  if (!table.partition_check.empty()) read(table.partition_check);
  Divide(order, rules.columns);
  return rules;
}

}  // namespace understudy::harness
