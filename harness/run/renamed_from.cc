#include "harness/run/renamed_from.h"

#include <cctype>
#include <vector>

namespace understudy::harness {
namespace {

bool IsBlank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool IsWord(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' ||
         (static_cast<unsigned char>(c) & 0x80U) != 0;
}

std::string Unquoted(std::string_view word) {
  if (word.size() < 2 || IsWord(word[0])) return std::string(word);
  const char close = word[0] == '[' ? ']' : word[0];
  std::string name;
  for (std::size_t i = 1; i + 1 < word.size(); ++i) {
    name += word[i];
    if (word[i] == close) ++i;  // doubled
  }
  return name;
}

// What stands behind `@renamed-from ` in a comment; "" when it says something else.
std::string NameIn(std::string_view comment) {
  constexpr std::string_view kWord = "@renamed-from";
  std::size_t at = 2;
  while (at < comment.size() && IsBlank(comment[at])) ++at;
  if (comment.substr(at, kWord.size()) != kWord) return "";
  std::string_view rest = comment.substr(at + kWord.size());
  if (rest.ends_with("*/")) rest.remove_suffix(2);
  while (!rest.empty() && IsBlank(rest.front())) rest.remove_prefix(1);
  while (!rest.empty() && IsBlank(rest.back())) rest.remove_suffix(1);
  return Unquoted(rest);
}

class Reader {
 public:
  explicit Reader(std::string_view sql) : sql_(sql) {}

  RenamedFrom Read() {
    std::size_t i = 0;
    while (i < sql_.size()) {
      const char c = sql_[i];
      std::size_t end = i + 1;
      if (c == '\n') {
        code_on_line_ = false;
      } else if (sql_.substr(i, 2) == "--") {
        end = std::min(sql_.find('\n', i), sql_.size());
        Comment(sql_.substr(i, end - i));
      } else if (sql_.substr(i, 2) == "/*") {
        const auto close = sql_.find("*/", i + 2);
        end = close == std::string_view::npos ? sql_.size() : close + 2;
        Comment(sql_.substr(i, end - i));
      } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
        end = Quoted(i);
        Word(sql_.substr(i, end - i));
      } else if (IsWord(c)) {
        while (end < sql_.size() && IsWord(sql_[end])) ++end;
        Word(sql_.substr(i, end - i));
      } else if (!IsBlank(c)) {
        Sign(c);
      }
      i = end;
    }
    return std::move(found_);
  }

 private:
  std::size_t Quoted(std::size_t begin) const {
    const char close = sql_[begin] == '[' ? ']' : sql_[begin];
    for (std::size_t i = begin + 1; i < sql_.size(); ++i) {
      if (sql_[i] != close) continue;
      if (close == ']' || i + 1 >= sql_.size() || sql_[i + 1] != close) return i + 1;
      ++i;
    }
    return sql_.size();
  }

  void Code() {
    code_on_line_ = true;
    for (const std::string& name : waiting_) Say(name, /*alone=*/true);
    waiting_.clear();
  }

  void Word(std::string_view word) {
    if (depth_ == 1 && expects_name_) {
      expects_name_ = false;
      column_ = Unquoted(word);
      ++columns_;
    }
    Code();
  }

  void Sign(char c) {
    if (c == ')' && --depth_ == 0) column_.clear();
    Code();
    if (c == '(' && depth_++ == 0) expects_name_ = true;
    if (c == ',' && depth_ == 1) expects_name_ = true;  // the comma belongs to what it ends
  }

  void Comment(std::string_view comment) {
    const std::string name = NameIn(comment);
    if (name.empty()) return;
    code_on_line_ ? Say(name, /*alone=*/false) : waiting_.push_back(name);
  }

  void Say(const std::string& name, bool alone) {
    if (column_.empty()) {
      found_.table = name;
    } else if (alone && columns_ == 1) {
      found_.first = name;
      found_.first_column = column_;
    } else {
      found_.columns[column_] = name;
    }
  }

  std::string_view sql_;
  RenamedFrom found_;
  int depth_ = 0;
  int columns_ = 0;
  bool expects_name_ = false;
  bool code_on_line_ = false;
  std::string column_;
  std::vector<std::string> waiting_;
};

}  // namespace

RenamedFrom ReadRenamedFrom(std::string_view create) { return Reader(create).Read(); }

}  // namespace understudy::harness
