#include "harness/snapshot/sqlite_sql.h"

#include <algorithm>
#include <array>

namespace understudy::harness {
namespace {

enum class Kind { kWord, kQuoted, kString, kOther };

struct Token {
  Kind kind;
  std::string text;  // kQuoted: the name itself, quotes taken off
  bool Is(std::string_view word) const { return kind != Kind::kQuoted && text == word; }
};

bool IsWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || static_cast<unsigned char>(c) >= 0x80;
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::vector<Token> Tokens(std::string_view sql) {
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < sql.size();) {
    const char c = sql[i];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
      ++i;
    } else if (sql.substr(i, 2) == "--") {
      i = std::min(sql.find('\n', i), sql.size());
    } else if (sql.substr(i, 2) == "/*") {
      const auto end = sql.find("*/", i + 2);
      i = end == std::string_view::npos ? sql.size() : end + 2;
    } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
      const char close = c == '[' ? ']' : c;
      std::string text;
      for (++i; i < sql.size(); ++i) {
        if (sql[i] == close) {
          if (close == ']' || i + 1 >= sql.size() || sql[i + 1] != close) break;
          ++i;
        }
        text += sql[i];
      }
      ++i;
      if (c != '\'') {
        tokens.push_back({Kind::kQuoted, std::move(text)});
      } else {
        std::string literal = "'";
        for (const char d : text) literal += d == '\'' ? std::string("''") : std::string(1, d);
        literal += "'";
        if (!tokens.empty() && tokens.back().Is("x")) tokens.pop_back(), literal.insert(0, "x");
        tokens.push_back({Kind::kString, std::move(literal)});
      }
    } else if (IsWordChar(c)) {
      std::string text;
      // 1.5e3 is one token: the point belongs to it.
      const bool number = c >= '0' && c <= '9';
      while (i < sql.size() && (IsWordChar(sql[i]) || (number && sql[i] == '.'))) {
        text += Lower(sql[i++]);
      }
      tokens.push_back({Kind::kWord, std::move(text)});
    } else {
      static constexpr std::array<std::string_view, 10> kLong = {"->>", "||", "<=", ">=", "<>",
                                                                 "!=",  "==", "<<", ">>", "->"};
      const auto found = std::find_if(kLong.begin(), kLong.end(), [&](std::string_view op) {
        return sql.substr(i, op.size()) == op;
      });
      const std::size_t size = found == kLong.end() ? 1 : found->size();
      tokens.push_back({Kind::kOther, std::string(sql.substr(i, size))});
      i += size;
    }
  }
  return tokens;
}

std::string TextOf(const Token& token) {
  if (token.kind != Kind::kQuoted) return token.text;
  std::string lower;
  for (const char c : token.text) lower += Lower(c);
  const bool plain = !lower.empty() && !(lower[0] >= '0' && lower[0] <= '9') &&
                     std::all_of(lower.begin(), lower.end(), IsWordChar);
  if (plain) return lower;
  std::string quoted = "\"";
  for (const char c : token.text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

using Range = std::pair<const Token*, const Token*>;

std::string TextOf(Range range) {
  std::string out;
  const Token* before = nullptr;
  for (const Token* t = range.first; t != range.second; before = t++) {
    const bool glued = before == nullptr || before->Is("(") || before->Is(".") || t->Is(")") ||
                       t->Is(",") || t->Is(".") || t->Is(";");
    if (!glued) out += ' ';
    out += TextOf(*t);
  }
  return out;
}

// Reads one item of a CREATE TABLE's list, or what comes after it.
class Reader {
 public:
  Reader(Range range, SqliteTable& table) : at_(range.first), end_(range.second), table_(table) {}

  bool ReadColumn() {
    if (at_ == end_ ||
        (at_->kind != Kind::kWord && at_->kind != Kind::kQuoted && at_->kind != Kind::kString)) {
      return false;
    }
    SqliteColumn column;
    column.name =
        at_->kind == Kind::kString ? at_->text.substr(1, at_->text.size() - 2) : at_->text;
    const std::string display = TextOf(*at_);
    ++at_;
    while (at_ != end_ && !StartsConstraint()) {  // the type
      if (at_->Is("(")) {
        if (!Parenthesised()) return false;
      } else {
        ++at_;
      }
    }
    while (at_ != end_) {
      SqliteConstraint constraint;
      if (Take("constraint")) {
        if (at_ == end_) return false;
        constraint.name = at_++->text;
        if (at_ == end_) return false;
      }
      if (Take("not")) {
        if (!Take("null")) return false;
        column.on_conflict = OnConflict();
      } else if (Take("null")) {
        OnConflict();
      } else if (Take("default")) {
        if (!Default()) return false;
      } else if (Take("collate")) {
        if (at_ == end_) return false;
        column.collation = TextOf(*at_++);
      } else if (Take("generated") || (at_ != end_ && at_->Is("as"))) {
        Take("always");
        if (!Take("as")) return false;
        const auto inside = Parenthesised();
        if (!inside) return false;
        column.generated = TextOf(*inside);
        if (!Take("stored")) Take("virtual");
      } else if (Take("primary")) {
        if (!Take("key")) return false;
        constraint.type = "primary key";
        constraint.columns = display;
        constraint.definition = "primary key (" + display + ")";
        if (Take("desc")) constraint.definition = "primary key (" + display + " desc)";
        Take("asc");
        constraint.definition += OnConflict();
        if (Take("autoincrement")) column.autoincrement = true;
        table_.constraints.push_back(constraint);
      } else if (Take("unique")) {
        constraint.type = "unique";
        constraint.columns = display;
        constraint.definition = "unique (" + display + ")" + OnConflict();
        table_.constraints.push_back(constraint);
      } else if (Take("check")) {
        if (!Check(constraint)) return false;
      } else if (at_ != end_ && at_->Is("references")) {
        if (!References(constraint, display)) return false;
      } else {
        return false;
      }
    }
    table_.columns.push_back(std::move(column));
    return true;
  }

  bool StartsTableConstraint() const {
    return at_ != end_ && (at_->Is("constraint") || at_->Is("primary") || at_->Is("unique") ||
                           at_->Is("check") || at_->Is("foreign"));
  }

  // One or several: SQLite lets the commas between them go.
  bool ReadTableConstraints() {
    while (at_ != end_) {
      SqliteConstraint constraint;
      if (Take("constraint")) {
        if (at_ == end_) return false;
        constraint.name = at_++->text;
      }
      if (Take("primary") || (at_ != end_ && at_->Is("unique"))) {
        const bool primary = Take("key");
        if (!primary && !Take("unique")) return false;
        const auto columns = Parenthesised();
        if (!columns) return false;
        constraint.type = primary ? "primary key" : "unique";
        constraint.columns = TextOf(*columns);
        constraint.definition = constraint.type + " (" + constraint.columns + ")" + OnConflict();
        table_.constraints.push_back(constraint);
      } else if (Take("check")) {
        if (!Check(constraint)) return false;
      } else if (Take("foreign")) {
        if (!Take("key")) return false;
        const auto columns = Parenthesised();
        if (!columns || !References(constraint, TextOf(*columns))) return false;
      } else {
        return false;
      }
    }
    return true;
  }

 private:
  bool StartsConstraint() const {
    static constexpr std::array<std::string_view, 12> kWords = {
        "constraint", "primary", "not",        "null",      "unique", "check",
        "default",    "collate", "references", "generated", "as",     "on"};
    return at_->kind == Kind::kWord &&
           std::find(kWords.begin(), kWords.end(), at_->text) != kWords.end();
  }

  bool Take(std::string_view word) {
    if (at_ == end_ || at_->kind != Kind::kWord || at_->text != word) return false;
    ++at_;
    return true;
  }

  // What is between the bracket here and its partner.
  std::optional<Range> Parenthesised() {
    if (at_ == end_ || !at_->Is("(")) return std::nullopt;
    const Token* const begin = at_ + 1;
    int depth = 0;
    for (; at_ != end_; ++at_) {
      if (at_->Is("(")) ++depth;
      if (at_->Is(")") && --depth == 0) return Range{begin, at_++};
    }
    return std::nullopt;
  }

  std::string OnConflict() {
    if (at_ != end_ && at_->Is("on") && end_ - at_ >= 3 && at_[1].Is("conflict")) {
      std::string action = " on conflict " + TextOf(at_[2]);
      at_ += 3;
      return action;
    }
    return "";
  }

  bool Default() {
    if (at_ == end_) return false;
    if (at_->Is("(")) return Parenthesised().has_value();
    if (at_->Is("+") || at_->Is("-")) ++at_;
    if (at_ == end_) return false;
    ++at_;
    return true;
  }

  bool Check(SqliteConstraint& constraint) {
    const auto inside = Parenthesised();
    if (!inside) return false;
    constraint.type = "check";
    constraint.definition = "check (" + TextOf(*inside) + ")" + OnConflict();
    table_.constraints.push_back(constraint);
    return true;
  }

  bool References(SqliteConstraint& constraint, const std::string& columns) {
    if (!Take("references") || at_ == end_) return false;
    constraint.type = "foreign key";
    constraint.columns = columns;
    constraint.definition = "foreign key (" + columns + ") references " + TextOf(*at_++);
    if (at_ != end_ && at_->Is("(")) {
      const auto target = Parenthesised();
      if (!target) return false;
      constraint.definition += " (" + TextOf(*target) + ")";
    }
    // Actions in one order, whatever order they were written in.
    std::string on_delete;
    std::string on_update;
    for (;;) {
      if (at_ != end_ && at_->Is("on") && end_ - at_ >= 3 &&
          (at_[1].Is("delete") || at_[1].Is("update"))) {
        std::string& action = at_[1].Is("delete") ? on_delete : on_update;
        action = " " + at_[0].text + " " + at_[1].text + " ";
        at_ += 2;
        action += at_++->text;
        if (at_ != end_ && (at_->Is("null") || at_->Is("default") || at_->Is("action"))) {
          // SET NULL, SET DEFAULT, NO ACTION; a DEFAULT clause cannot follow CASCADE unseparated.
          if (action.ends_with("set") || action.ends_with("no")) action += " " + at_++->text;
        }
        if (action.ends_with("no action")) action.clear();  // what holds when nothing is said
      } else if (Take("match")) {
        if (at_ != end_) ++at_;  // SQLite parses it and takes no notice
      } else if (at_ != end_ && at_->Is("not") && end_ - at_ >= 2 && at_[1].Is("deferrable")) {
        at_ += 2;
        if (Take("initially") && at_ != end_) ++at_;
      } else if (Take("deferrable")) {
        constraint.deferrable = true;
        if (Take("initially") && at_ != end_) constraint.deferred = at_++->Is("deferred");
      } else {
        break;
      }
    }
    constraint.definition += on_delete + on_update;
    table_.constraints.push_back(constraint);
    return true;
  }

  const Token* at_;
  const Token* end_;
  SqliteTable& table_;
};

}  // namespace

std::string NormalSqliteSql(std::string_view sql) {
  const std::vector<Token> tokens = Tokens(sql);
  return TextOf(Range{tokens.data(), tokens.data() + tokens.size()});
}

std::optional<SqliteTable> ParseSqliteTable(std::string_view sql) {
  const std::vector<Token> tokens = Tokens(sql);
  const Token* at = tokens.data();
  const Token* const end = at + tokens.size();
  if (at == end || !at->Is("create")) return std::nullopt;
  for (; at != end && !at->Is("("); ++at) {
    if (at->Is("virtual")) return std::nullopt;
  }
  if (at == end) return std::nullopt;
  SqliteTable table;
  int depth = 0;
  const Token* item = at + 1;
  for (; at != end; ++at) {
    if (at->Is("(")) ++depth;
    if (at->Is(")")) --depth;
    if ((depth == 1 && at->Is(",")) || depth == 0) {
      Reader reader({item, at}, table);
      if (!(reader.StartsTableConstraint() ? reader.ReadTableConstraints() : reader.ReadColumn())) {
        return std::nullopt;
      }
      item = at + 1;
    }
    if (depth == 0) return table;
  }
  return std::nullopt;
}

}  // namespace understudy::harness
