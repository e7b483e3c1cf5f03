#include "harness/schema/expression.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "engine/base/error.h"

namespace understudy::harness::internal {
namespace {

struct Token {
  enum class Kind { kEnd, kWord, kQuoted, kString, kNumber, kSymbol };
  Kind kind = Kind::kEnd;
  std::string text;  // words in lower case
};

[[noreturn]] void GiveUp() { throw Error(ErrorKind::kUnsupported, "not an expression we read"); }

bool IsWordStart(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsWordPart(char c) {
  return IsWordStart(c) || std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '$';
}

std::vector<Token> Tokens(std::string_view sql) {
  using Kind = Token::Kind;
  std::vector<Token> tokens;
  std::size_t i = 0;
  const auto quoted = [&](char close) {
    std::string text;
    for (++i;; ++i) {
      if (i >= sql.size()) GiveUp();
      if (sql[i] != close) {
        text += sql[i];
      } else if (i + 1 < sql.size() && sql[i + 1] == close) {
        text += sql[i++];
      } else {
        ++i;
        return text;
      }
    }
  };
  while (i < sql.size()) {
    const char c = sql[i];
    if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      ++i;
    } else if (sql.substr(i, 2) == "--" || sql.substr(i, 2) == "/*") {
      const std::string_view close = c == '-' ? "\n" : "*/";
      const auto end = sql.find(close, i + 2);
      i = end == std::string_view::npos ? sql.size() : end + close.size();
    } else if (c == '\'') {
      tokens.push_back({Kind::kString, quoted('\'')});
    } else if ((c == 'E' || c == 'e') && i + 1 < sql.size() && sql[i + 1] == '\'') {
      ++i;
      std::string text = quoted('\'');
      std::string plain;
      for (std::size_t k = 0; k < text.size(); ++k) {
        if (text[k] == '\\' && k + 1 < text.size()) ++k;
        plain += text[k];
      }
      tokens.push_back({Kind::kString, plain});
    } else if (c == '"' || c == '`') {
      tokens.push_back({Kind::kQuoted, quoted(c)});
    } else if (IsWordStart(c)) {
      std::string word;
      for (; i < sql.size() && IsWordPart(sql[i]); ++i) {
        word += static_cast<char>(std::tolower(static_cast<unsigned char>(sql[i])));
      }
      tokens.push_back({Kind::kWord, word});
    } else if (std::isdigit(static_cast<unsigned char>(c)) != 0 ||
               (c == '.' && i + 1 < sql.size() &&
                std::isdigit(static_cast<unsigned char>(sql[i + 1])) != 0)) {
      std::string number;
      for (; i < sql.size(); ++i) {
        const bool sign = (sql[i] == '-' || sql[i] == '+') && !number.empty() &&
                          (number.back() == 'e' || number.back() == 'E');
        if (std::isalnum(static_cast<unsigned char>(sql[i])) == 0 && sql[i] != '.' && !sign) break;
        number += sql[i];
      }
      tokens.push_back({Kind::kNumber, number});
    } else if (std::string_view("()[],.").find(c) != std::string_view::npos) {
      tokens.push_back({Kind::kSymbol, std::string(1, c)});
      ++i;
    } else {
      std::string op;
      for (; i < sql.size() &&
             std::string_view("+-*/<>=~!@#%^&|?:").find(sql[i]) != std::string_view::npos;
           ++i) {
        // "=-5" is two operators: a sign ends what is not made of ~ ! @ # % ^ & | ?
        if (!op.empty() && (sql[i] == '-' || sql[i] == '+')) break;
        op += sql[i];
      }
      if (op.empty()) GiveUp();
      tokens.push_back({Kind::kSymbol, op});
    }
  }
  tokens.push_back({});
  return tokens;
}

constexpr std::array<std::string_view, 8> kTypeWords = {
    "varying", "precision", "without", "with", "time", "zone", "unsigned", "local"};

class Parser {
 public:
  explicit Parser(std::string_view sql) : tokens_(Tokens(sql)) {}

  Expression Whole() {
    Expression expression = Binary(0);
    if (Now().kind != Token::Kind::kEnd) GiveUp();
    return expression;
  }

 private:
  using Kind = Expression::Kind;

  const Token& Now() const { return tokens_[at_]; }
  const Token& Ahead(std::size_t by) const {
    return tokens_[std::min(at_ + by, tokens_.size() - 1)];
  }
  bool IsWord(std::string_view word) const {
    return Now().kind == Token::Kind::kWord && Now().text == word;
  }
  bool IsSymbol(std::string_view symbol) const {
    return Now().kind == Token::Kind::kSymbol && Now().text == symbol;
  }
  bool TakeWord(std::string_view word) {
    if (!IsWord(word)) return false;
    ++at_;
    return true;
  }
  bool TakeSymbol(std::string_view symbol) {
    if (!IsSymbol(symbol)) return false;
    ++at_;
    return true;
  }
  void NeedSymbol(std::string_view symbol) {
    if (!TakeSymbol(symbol)) GiveUp();
  }

  static Expression Make(std::string op, std::vector<Expression> args) {
    return {Kind::kOperator, std::move(op), std::move(args)};
  }

  // How strongly the operator at hand binds; 0 = none. Both dialects' order, where it matters.
  int Strength() const {
    if (Now().kind == Token::Kind::kWord) {
      if (IsWord("or")) return 1;
      if (IsWord("and")) return 2;
      if (IsWord("is") || IsWord("isnull") || IsWord("notnull")) return 4;
      if (IsWord("in") || IsWord("between") || IsWord("like") || IsWord("ilike") ||
          IsWord("glob") || IsWord("similar")) {
        return 5;
      }
      if (IsWord("not") && (Ahead(1).text == "in" || Ahead(1).text == "between" ||
                            Ahead(1).text == "like" || Ahead(1).text == "glob")) {
        return 5;
      }
      return 0;
    }
    if (Now().kind != Token::Kind::kSymbol) return 0;
    const std::string& op = Now().text;
    if (op == "(" || op == ")" || op == "[" || op == "]" || op == "," || op == ".") return 0;
    if (op == "=" || op == "==" || op == "<" || op == ">" || op == "<=" || op == ">=" ||
        op == "<>" || op == "!=") {
      return 4;
    }
    if (op == "+" || op == "-") return 7;
    if (op == "*" || op == "/" || op == "%") return 8;
    if (op == "^") return 9;
    return 6;
  }

  Expression Binary(int above) {
    if (++depth_ > 200) GiveUp();
    Expression left = Unary();
    for (;;) {
      const int strength = Strength();
      if (strength == 0 || strength <= above) break;
      left = Rest(std::move(left), strength);
    }
    --depth_;
    return left;
  }

  Expression Rest(Expression left, int strength) {
    std::string op = Now().text;
    ++at_;
    if (op == "or") return Make("OR", {std::move(left), Binary(strength)});
    if (op == "and") return Make("AND", {std::move(left), Binary(strength)});
    if (op == "isnull") return Make("IS NULL", {std::move(left)});
    if (op == "notnull") return Make("IS NOT NULL", {std::move(left)});
    if (op == "is") {
      const bool negated = TakeWord("not");
      if (TakeWord("null")) return Make(negated ? "IS NOT NULL" : "IS NULL", {std::move(left)});
      if (TakeWord("true")) {
        if (negated) return Make("NOT", {std::move(left)});
        return left;
      }
      if (TakeWord("false")) {
        if (negated) return left;
        return Make("NOT", {std::move(left)});
      }
      GiveUp();
    }
    const bool negated = op == "not";
    if (negated) {
      op = Now().text;
      ++at_;
    }
    if (op == "between") {
      TakeWord("symmetric");
      Expression low = Binary(5);
      if (!TakeWord("and")) GiveUp();
      Expression high = Binary(5);
      Expression between = Make("BETWEEN", {std::move(left), std::move(low), std::move(high)});
      if (negated) return Make("NOT", {std::move(between)});
      return between;
    }
    if (op == "in") {
      NeedSymbol("(");
      Expression list{Kind::kList, "", Arguments(")")};
      return Make(negated ? "NOT IN" : "IN", {std::move(left), std::move(list)});
    }
    if (op == "like" || op == "glob") {
      Expression match = Make(op == "like" ? "LIKE" : "GLOB", {std::move(left), Binary(strength)});
      if (negated) return Make("NOT", {std::move(match)});
      return match;
    }
    if (op == "==") op = "=";
    if (op == "!=") op = "<>";
    if (op == "~~") op = "LIKE";
    if (IsWord("any") || IsWord("some") || IsWord("all")) {
      const bool all = IsWord("all");
      if (!((op == "=" && !all) || (op == "<>" && all))) GiveUp();
      ++at_;
      NeedSymbol("(");
      Expression list = Binary(0);
      NeedSymbol(")");
      if (list.kind == Kind::kLiteral) list = FromArrayText(list.text);
      if (list.kind != Kind::kList) GiveUp();
      return Make(all ? "NOT IN" : "IN", {std::move(left), std::move(list)});
    }
    return Make(std::move(op), {std::move(left), Binary(strength)});
  }

  Expression Unary() {
    if (TakeWord("not")) return Make("NOT", {Binary(3)});
    if (TakeSymbol("+")) return Unary();
    if (TakeSymbol("-")) {
      Expression of = Unary();
      if (of.kind != Kind::kLiteral) return Make("-", {std::move(of)});
      of.text = of.text.starts_with("-") ? of.text.substr(1) : "-" + of.text;
      return of;
    }
    return Suffixed(Primary());
  }

  Expression Suffixed(Expression of) {
    for (;;) {
      if (TakeSymbol("::")) {
        TypeName();
      } else if (TakeWord("collate")) {
        ++at_;
        while (TakeSymbol(".")) ++at_;
      } else if (IsSymbol("[") || IsSymbol(".")) {
        GiveUp();  // a part of an array or of a composite value
      } else {
        return of;
      }
    }
  }

  void TypeName() {
    do {
      if (Now().kind != Token::Kind::kWord && Now().kind != Token::Kind::kQuoted) GiveUp();
      ++at_;
    } while (TakeSymbol("."));
    const auto more = [&] {
      while (Now().kind == Token::Kind::kWord &&
             std::find(kTypeWords.begin(), kTypeWords.end(), Now().text) != kTypeWords.end()) {
        ++at_;
      }
    };
    more();
    if (TakeSymbol("(")) (void)Arguments(")");
    more();
    while (TakeSymbol("[")) {
      if (Now().kind == Token::Kind::kNumber) ++at_;
      NeedSymbol("]");
    }
  }

  std::vector<Expression> Arguments(std::string_view close) {
    std::vector<Expression> arguments;
    if (TakeSymbol(close)) return arguments;
    for (;;) {
      arguments.push_back(Binary(0));
      if (TakeSymbol(close)) return arguments;
      NeedSymbol(",");
    }
  }

  Expression Primary() {
    const Token token = Now();
    ++at_;
    switch (token.kind) {
      case Token::Kind::kString:
      case Token::Kind::kNumber:
        return {Kind::kLiteral, token.text, {}};
      case Token::Kind::kSymbol: {
        if (token.text != "(") GiveUp();
        Expression inner = Binary(0);
        NeedSymbol(")");
        return inner;
      }
      case Token::Kind::kQuoted:
        break;
      case Token::Kind::kWord:
        if (token.text == "null") return {Kind::kNull, "", {}};
        if (token.text == "true" || token.text == "false") return {Kind::kLiteral, token.text, {}};
        if (token.text == "current_timestamp" || token.text == "current_date" ||
            token.text == "localtimestamp") {
          return {Kind::kCall, "now", {}};
        }
        if (token.text == "array" && TakeSymbol("[")) return {Kind::kList, "", Arguments("]")};
        if (token.text == "cast" && TakeSymbol("(")) {
          Expression inner = Binary(0);
          if (!TakeWord("as")) GiveUp();
          TypeName();
          NeedSymbol(")");
          return inner;
        }
        if (token.text == "case" || token.text == "select" || token.text == "exists" ||
            token.text == "row" || token.text == "interval" || token.text == "extract") {
          GiveUp();
        }
        break;
      case Token::Kind::kEnd:
        GiveUp();
    }
    std::string name = token.text;
    while (TakeSymbol(".")) {  // schema.function, table.column: the last part says it
      name = Now().text;
      ++at_;
    }
    if (TakeSymbol("(")) {
      if (name != "position") return {Kind::kCall, name, Arguments(")")};
      Expression part = Binary(5);  // POSITION(part IN whole)
      if (!TakeWord("in")) NeedSymbol(",");
      const bool whole_first = tokens_[at_ - 1].text == ",";
      Expression whole = Binary(5);
      NeedSymbol(")");
      if (whole_first) std::swap(part, whole);
      return {Kind::kCall, name, {std::move(whole), std::move(part)}};
    }
    return {Kind::kColumn, name, {}};
  }

  static Expression FromArrayText(std::string_view text) {
    if (text.size() < 2 || text.front() != '{' || text.back() != '}') GiveUp();
    Expression list{Kind::kList, "", {}};
    std::string item;
    bool inside = false;
    for (const char c : text.substr(1, text.size() - 2)) {
      if (c == '\\' || c == '{') GiveUp();
      if (c == '"') {
        inside = !inside;
      } else if (c == ',' && !inside) {
        list.args.push_back({Kind::kLiteral, std::exchange(item, {}), {}});
      } else {
        item += c;
      }
    }
    list.args.push_back({Kind::kLiteral, item, {}});
    return list;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::optional<Expression> ParseExpression(std::string_view sql) {
  try {
    return Parser(sql).Whole();
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace understudy::harness::internal
