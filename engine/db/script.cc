// The rules for PostgreSQL are those of psql's own scanner (src/fe_utils/psqlscan.l), for SQLite
// those of sqlite3_complete(), so that a file means the same here and there.
#include "engine/db/script.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "engine/base/error.h"
#include "engine/db/session.h"

namespace understudy::db {
namespace {

enum class Kind { kEnd, kWord, kQuotedName, kString, kSign, kSemicolon, kShellCommand };

struct Token {
  Kind kind = Kind::kEnd;
  std::size_t begin = 0;
  std::size_t end = 0;
};

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c) || c == '$'; }

std::string Upper(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return upper;
}

// Reads the tokens of one dialect. Knows nothing of statements.
class Scanner {
 public:
  Scanner(std::string_view text, Engine engine, std::string_view file)
      : text_(text), engine_(engine), file_(file) {}

  std::size_t position() const { return at_; }
  void MoveTo(std::size_t position) { at_ = position; }
  std::string_view Text(const Token& token) const {
    return text_.substr(token.begin, token.end - token.begin);
  }

  int LineOf(std::size_t offset) {
    if (offset < counted_) counted_ = 0, line_ = 1;
    line_ +=
        static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(counted_),
                                    text_.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
    counted_ = offset;
    return line_;
  }

  [[noreturn]] void Fail(std::size_t offset, const std::string& what, std::string code = "") {
    const std::string place = std::string(file_) + ":" + std::to_string(LineOf(offset));
    throw Error(ErrorKind::kInvalidSpec, place + ": " + what, std::move(code));
  }

  Token Next() {
    SkipBlanksAndComments();
    Token token{Kind::kSign, at_, at_ + 1};
    if (at_ >= text_.size()) return {Kind::kEnd, at_, at_};
    const char c = text_[at_];
    if (c == '\0') Fail(at_, "a NUL character; neither database takes one: remove it");
    if (c == ';') {
      token.kind = Kind::kSemicolon;
    } else if (c == '\'') {
      token.kind = Kind::kString;
      token.end = QuoteEnd(at_, '\'', "string");
    } else if (c == '"') {
      token.kind = Kind::kQuotedName;
      token.end = QuoteEnd(at_, '"', "quoted name");
    } else if (engine_ == Engine::kSqlite && c == '`') {
      token.kind = Kind::kQuotedName;
      token.end = QuoteEnd(at_, '`', "quoted name");
    } else if (engine_ == Engine::kSqlite && c == '[') {
      token.kind = Kind::kQuotedName;
      const auto close = text_.find(']', at_);
      if (close == std::string_view::npos) Fail(at_, "a name in [ ] that is never closed");
      token.end = close + 1;
    } else if (engine_ == Engine::kPostgres && c == '\\') {
      token.kind = Kind::kShellCommand;
    } else if (engine_ == Engine::kPostgres && c == '$' && DollarTag(at_) != 0) {
      token.kind = Kind::kString;
      const std::string_view tag = text_.substr(at_, DollarTag(at_));
      const auto close = text_.find(tag, at_ + tag.size());
      if (close == std::string_view::npos) {
        Fail(at_, "the string that " + std::string(tag) + " opens is never closed");
      }
      token.end = close + tag.size();
    } else if (engine_ == Engine::kPostgres && (c == 'e' || c == 'E') && Peek(1) == '\'') {
      token.kind = Kind::kString;
      token.end = EscapedEnd(at_ + 1);
    } else if (IsNameStart(c)) {
      token.kind = Kind::kWord;
      while (token.end < text_.size() && IsNamePart(text_[token.end])) ++token.end;
    }
    if (token.kind == Kind::kString || token.kind == Kind::kQuotedName) {
      const auto nul = Text(token).find('\0');
      if (nul != std::string_view::npos) {
        Fail(token.begin + nul, "a NUL character; neither database takes one: remove it");
      }
    }
    at_ = token.end;
    return token;
  }

 private:
  char Peek(std::size_t ahead) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  void SkipBlanksAndComments() {
    while (at_ < text_.size()) {
      if (IsBlank(text_[at_])) {
        ++at_;
      } else if (text_[at_] == '-' && Peek(1) == '-') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (text_[at_] == '/' && Peek(1) == '*') {
        SkipComment();
      } else {
        return;
      }
    }
  }

  void SkipComment() {
    const std::size_t begin = at_;
    int depth = 1;
    at_ += 2;
    while (depth > 0) {
      if (at_ >= text_.size()) Fail(begin, "a comment that /* opens is never closed");
      if (text_[at_] == '*' && Peek(1) == '/') {
        --depth;
        at_ += 2;
      } else if (engine_ == Engine::kPostgres && text_[at_] == '/' && Peek(1) == '*') {
        ++depth;
        at_ += 2;
      } else {
        ++at_;
      }
    }
  }

  std::size_t QuoteEnd(std::size_t begin, char quote, const std::string& what) {
    for (std::size_t i = begin + 1; i < text_.size(); ++i) {
      if (text_[i] != quote) continue;
      if (i + 1 < text_.size() && text_[i + 1] == quote) {
        ++i;
      } else {
        return i + 1;
      }
    }
    Fail(begin, "a " + what + " that " + std::string(1, quote) + " opens is never closed");
  }

  // E'…': backslashes escape, and a string that goes on after a newline keeps that rule.
  std::size_t EscapedEnd(std::size_t begin) {
    for (std::size_t i = begin + 1; i < text_.size(); ++i) {
      if (text_[i] == '\\') {
        ++i;
      } else if (text_[i] == '\'') {
        if (i + 1 < text_.size() && text_[i + 1] == '\'') {
          ++i;
          continue;
        }
        const std::size_t more = Continuation(i + 1);
        if (more == 0) return i + 1;
        i = more;
      }
    }
    Fail(begin, "a string that E' opens is never closed");
  }

  // Where the quote stands that continues a string after blanks (and -- comments) with at least
  // one newline, or 0.
  std::size_t Continuation(std::size_t i) const {
    bool newline = false;
    while (i < text_.size()) {
      if (text_[i] == '\n' || text_[i] == '\r') {
        newline = true;
        ++i;
      } else if (IsBlank(text_[i])) {
        ++i;
      } else if (newline && text_.substr(i, 2) == "--") {
        i = std::min(text_.find('\n', i), text_.size());
      } else {
        return newline && text_[i] == '\'' ? i : 0;
      }
    }
    return 0;
  }

  // The length of the $tag$ at `i`, or 0.
  std::size_t DollarTag(std::size_t i) const {
    std::size_t end = i + 1;
    if (end < text_.size() && IsNameStart(text_[end])) {
      while (end < text_.size() && (IsNameStart(text_[end]) || IsDigit(text_[end]))) ++end;
    }
    return end < text_.size() && text_[end] == '$' ? end + 1 - i : 0;
  }

  std::string_view text_;
  Engine engine_;
  std::string_view file_;
  std::size_t at_ = 0;
  std::size_t counted_ = 0;  // line_ is the line of this offset
  int line_ = 1;
};

// What the statement under way has shown so far, and whether a semicolon ends it.
class Progress {
 public:
  explicit Progress(Engine engine) : engine_(engine) {}

  bool empty() const { return tokens_ == 0; }
  std::size_t begin() const { return begin_; }
  std::size_t end() const { return end_; }
  bool is_copy_from_stdin() const { return copy_from_stdin_; }
  // What is still open at the end of the script: its offset and name, or nothing.
  bool IsOpen() const {
    return engine_ == Engine::kPostgres ? !parentheses_.empty() || !bodies_.empty()
                                        : trigger_ && body_ != 0 && !body_closed_;
  }
  std::size_t OpenAt() const {
    if (engine_ == Engine::kSqlite) return body_;
    return parentheses_.empty() ? bodies_.back() : parentheses_.back();
  }
  std::string OpenWhat() const {
    if (engine_ == Engine::kSqlite) return "the trigger's body has no END that follows a semicolon";
    return parentheses_.empty() ? "a body that is never closed by END"
                                : "a parenthesis that is never closed";
  }

  void See(const Token& token, std::string_view text) {
    if (tokens_++ == 0) begin_ = token.begin;
    end_ = token.end;
    const std::string word = token.kind == Kind::kWord ? Upper(text) : std::string();
    if (engine_ == Engine::kPostgres) {
      SeePostgres(token, text, word);
    } else {
      SeeSqlite(token, word);
    }
    if (token.kind == Kind::kWord && words_.size() < 8) words_.push_back(word);
    previous_ = token.kind == Kind::kWord ? word : std::string(text.substr(0, 1));
  }

  // Whether a semicolon here ends the statement; if not, it is part of it.
  bool EndsAt(std::size_t offset) {
    if (engine_ == Engine::kPostgres) {
      if (parentheses_.empty() && bodies_.empty()) return true;
    } else {
      if (!trigger_ || body_ == 0 || body_closed_) return true;
    }
    end_ = offset + 1;
    previous_ = ";";
    return false;
  }

 private:
  void SeePostgres(const Token& token, std::string_view text, const std::string& word) {
    if (token.kind == Kind::kSign) {
      if (text == "(") parentheses_.push_back(token.begin);
      if (text == ")" && !parentheses_.empty()) parentheses_.pop_back();
    }
    if (token.kind != Kind::kWord || !parentheses_.empty()) return;
    if (word == "STDIN" && previous_ == "FROM" && !words_.empty() && words_[0] == "COPY") {
      copy_from_stdin_ = true;
    }
    if (!MakesRoutine()) return;
    if (word == "BEGIN") bodies_.push_back(token.begin);
    if (word == "CASE" && !bodies_.empty()) bodies_.push_back(token.begin);
    if (word == "END" && !bodies_.empty()) bodies_.pop_back();
  }

  // CREATE [OR REPLACE] FUNCTION | PROCEDURE
  bool MakesRoutine() const {
    if (words_.empty() || words_[0] != "CREATE") return false;
    const std::size_t i = words_.size() > 2 && words_[1] == "OR" && words_[2] == "REPLACE" ? 3 : 1;
    return words_.size() > i && (words_[i] == "FUNCTION" || words_[i] == "PROCEDURE");
  }

  void SeeSqlite(const Token& token, const std::string& word) {
    if (!trigger_ && word == "TRIGGER") {  // [EXPLAIN [QUERY PLAN]] CREATE [TEMP] TRIGGER
      static const std::array<std::string_view, 6> kBefore = {"EXPLAIN", "QUERY", "PLAN",
                                                              "CREATE",  "TEMP",  "TEMPORARY"};
      trigger_ = !words_.empty() && std::all_of(words_.begin(), words_.end(), [](const auto& w) {
        return std::find(kBefore.begin(), kBefore.end(), w) != kBefore.end();
      }) && std::find(words_.begin(), words_.end(), "CREATE") != words_.end();
    } else if (trigger_ && body_ == 0 && word == "BEGIN") {
      body_ = token.begin;
    }
    // As in sqlite3_complete: the body ends with "; END", so that CASE … END needs no counting.
    body_closed_ = body_ != 0 && word == "END" && previous_ == ";";
  }

  Engine engine_;
  std::size_t tokens_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::vector<std::string> words_;  // the first unquoted ones
  std::string previous_;            // the last word, or the first character of another token
  std::vector<std::size_t> parentheses_;
  std::vector<std::size_t> bodies_;  // of BEGIN … END and the CASE … END inside
  bool copy_from_stdin_ = false;
  bool trigger_ = false;
  std::size_t body_ = 0;
  bool body_closed_ = false;
};

std::string ShellWord(std::string_view text, std::size_t at) {
  std::size_t end = at + 1;
  while (end < text.size() && !IsBlank(text[end])) ++end;
  return std::string(text.substr(at, std::min<std::size_t>(end - at, 40)));
}

class Splitter {
 public:
  Splitter(std::string_view text, Engine engine, std::string_view file)
      : text_(text), engine_(engine), scanner_(text, engine, file) {}

  std::vector<ScriptStatement> Split() {
    Progress progress(engine_);
    for (;;) {
      const Token token = scanner_.Next();
      if (token.kind == Kind::kEnd) break;
      if (token.kind == Kind::kShellCommand) RefusePsql(token.begin);
      if (token.kind == Kind::kSemicolon) {
        if (!progress.empty() && !progress.EndsAt(token.begin)) continue;
        Take(progress, true);
        progress = Progress(engine_);
        continue;
      }
      if (engine_ == Engine::kSqlite && progress.empty() && text_[token.begin] == '.') {
        scanner_.Fail(token.begin,
                      "'" + ShellWord(text_, token.begin) +
                          "' is a command of the sqlite3 shell, not SQL: remove it from the script",
                      "shell-command");
      }
      progress.See(token, scanner_.Text(token));
    }
    if (progress.IsOpen()) scanner_.Fail(progress.OpenAt(), progress.OpenWhat());
    Take(progress, false);
    return std::move(statements_);
  }

 private:
  [[noreturn]] void RefusePsql(std::size_t at) {
    const std::string command = ShellWord(text_, at);
    if (command == "\\restrict" || command == "\\unrestrict") {
      scanner_.Fail(at, "'" + command + "' stands in files written by pg_dump: load with psql",
                    "pg-dump");
    }
    scanner_.Fail(at,
                  "'" + command +
                      "' is a command of psql, not SQL: remove it, or run the file with psql "
                      "through the strategy 'command'",
                  "shell-command");
  }

  void Take(const Progress& progress, bool ended) {
    if (progress.empty()) return;
    ScriptStatement& statement = statements_.emplace_back();
    statement.sql = std::string(text_.substr(progress.begin(), progress.end() - progress.begin()));
    statement.line = scanner_.LineOf(progress.begin());
    statement.offset = progress.begin();
    statement.copy_from_stdin = progress.is_copy_from_stdin();
    if (statement.copy_from_stdin && ended) statement.copy_data = TakeCopyData();
  }

  // The lines after this one, up to \. or the end of the script (as psql does).
  std::string TakeCopyData() {
    std::size_t at = scanner_.position();
    const std::size_t line_end = std::min(text_.find('\n', at), text_.size());
    const std::string_view rest = text_.substr(at, line_end - at);
    const auto something = std::find_if_not(rest.begin(), rest.end(), IsBlank);
    if (something != rest.end() && !std::string_view(something, rest.end()).starts_with("--")) {
      scanner_.Fail(at,
                    "the rows of COPY … FROM stdin begin on the next line: nothing may follow "
                    "its semicolon");
    }
    at = std::min(line_end + 1, text_.size());
    const std::size_t begin = at;
    while (at < text_.size()) {
      const std::size_t end = std::min(text_.find('\n', at), text_.size());
      const std::string_view line = text_.substr(at, end - at);
      if (line == "\\." || line == "\\.\r") {
        scanner_.MoveTo(std::min(end + 1, text_.size()));
        return std::string(text_.substr(begin, at - begin));
      }
      at = std::min(end + 1, text_.size());
    }
    scanner_.MoveTo(text_.size());
    return std::string(text_.substr(begin));
  }

  std::string_view text_;
  Engine engine_;
  Scanner scanner_;
  std::vector<ScriptStatement> statements_;
};

}  // namespace

std::vector<ScriptStatement> SplitScript(std::string_view text, Engine engine,
                                         std::string_view file) {
  // A byte order mark becomes blanks, so that offsets hold.
  std::string without_mark;
  if (text.starts_with("\xEF\xBB\xBF")) {
    without_mark = "   " + std::string(text.substr(3));
    text = without_mark;
  }
  return Splitter(text, engine, file).Split();
}

void Send(Session& session, const ScriptStatement& statement) {
  if (statement.copy_from_stdin) {
    session.CopyFrom(statement.sql, statement.copy_data);
  } else {
    session.Execute(statement.sql);
  }
}

bool WrittenByPgDump(std::string_view text) {
  const std::string_view head = text.substr(0, 4096);
  return head.find("-- PostgreSQL database dump") != std::string_view::npos ||
         head.find("-- PostgreSQL database cluster dump") != std::string_view::npos;
}

std::vector<std::string> Tokens(std::string_view sql, Engine engine, std::size_t limit) {
  Scanner scanner(sql, engine, "statement");
  std::vector<std::string> tokens;
  while (tokens.size() < limit) {
    const Token token = scanner.Next();
    if (token.kind == Kind::kEnd) break;
    if (token.kind == Kind::kString) {
      tokens.emplace_back("''");
    } else if (token.kind == Kind::kWord) {
      tokens.push_back(Upper(scanner.Text(token)));
    } else {
      tokens.emplace_back(scanner.Text(token));
    }
  }
  return tokens;
}

namespace {

// The character that the escape at `at`, a backslash, stands for; `at` moves behind it. Beyond
// ASCII a '?' stands for it.
char Unescaped(std::string_view text, std::size_t& at) {
  const char kind = ++at < text.size() ? text[at] : '\\';
  ++at;
  std::size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
  int base = 16;
  if (kind >= '0' && kind <= '7') {
    --at;
    digits = 3;
    base = 8;
  }
  if (digits == 0) {
    constexpr std::string_view kBlanks = "bfnrt";
    return kBlanks.find(kind) != std::string_view::npos ? '\n' : kind;
  }
  unsigned long code = 0;
  const char* begin = text.data() + at;
  const char* end = begin + std::min(digits, text.size() - std::min(at, text.size()));
  const auto parsed = std::from_chars(begin, end, code, base);
  if (parsed.ptr == begin) return kind;
  at += static_cast<std::size_t>(parsed.ptr - begin);
  return code < 0x80 ? static_cast<char>(code) : '?';
}

std::string Content(std::string_view text) {
  if (text[0] == '$') {
    const std::size_t tag = text.find('$', 1) + 1;
    return std::string(text.substr(tag, text.size() - 2 * tag));
  }
  const bool escapes = text[0] != '\'';
  std::string content;
  for (std::size_t i = escapes ? 2 : 1; i + 1 < text.size();) {
    if (escapes && text[i] == '\\') {
      content += Unescaped(text, i);
    } else if (text[i] != '\'') {
      content += text[i++];
    } else if (text[i + 1] == '\'') {
      content += '\'';
      i += 2;
    } else {  // it goes on at the next quote
      i = std::min(text.find('\'', i + 1), text.size() - 1) + 1;
    }
  }
  return content;
}

}  // namespace

std::vector<std::string> StringContents(std::string_view sql, Engine engine) {
  Scanner scanner(sql, engine, "statement");
  std::vector<std::string> contents;
  std::size_t first = 0;  // of the parts of the string under way
  Token previous;
  for (Token token = scanner.Next(); token.kind != Kind::kEnd; token = scanner.Next()) {
    if (token.kind == Kind::kString) {
      std::string content = Content(scanner.Text(token));
      const bool goes_on =
          previous.kind == Kind::kString && sql[previous.end - 1] == '\'' &&
          sql[token.begin] == '\'' &&
          sql.substr(previous.end, token.begin - previous.end).find_first_of("\r\n") !=
              std::string_view::npos;
      if (goes_on) {
        contents[first] += content;
        contents.emplace_back();
      } else {
        first = contents.size();
        contents.push_back(std::move(content));
      }
    }
    previous = token;
  }
  return contents;
}

std::string FirstWords(std::string_view sql, Engine engine, std::size_t count) {
  std::string words;
  for (const std::string& token : Tokens(sql, engine, count)) {
    if (!IsNameStart(token[0])) break;
    if (!words.empty()) words += ' ';
    words += token;
  }
  return words;
}

namespace {

bool Contains(const std::vector<std::string>& tokens, std::string_view word) {
  return std::find(tokens.begin(), tokens.end(), word) != tokens.end();
}

bool PostgresRefuses(const std::vector<std::string>& t) {
  const auto at = [&](std::size_t i) -> std::string_view {
    return i < t.size() ? std::string_view(t[i]) : std::string_view();
  };
  const std::string_view first = at(0);
  const std::string_view second = at(1);
  if (first == "VACUUM") return true;
  if (first == "CREATE") {
    if (second == "DATABASE" || second == "TABLESPACE" || second == "SUBSCRIPTION") return true;
    const std::size_t i = second == "UNIQUE" ? 2 : 1;
    return at(i) == "INDEX" && at(i + 1) == "CONCURRENTLY";
  }
  if (first == "DROP") {
    return second == "DATABASE" || second == "TABLESPACE" || second == "SUBSCRIPTION" ||
           (second == "INDEX" && at(2) == "CONCURRENTLY");
  }
  if (first == "REINDEX") {
    return Contains(t, "CONCURRENTLY") || Contains(t, "SCHEMA") || Contains(t, "DATABASE") ||
           Contains(t, "SYSTEM");
  }
  if (first == "ALTER") {
    if (second == "SYSTEM") return true;
    if (second == "DATABASE") return Contains(t, "TABLESPACE");
    if (second == "SUBSCRIPTION") return Contains(t, "REFRESH") || Contains(t, "PUBLICATION");
    return second == "TABLE" && Contains(t, "DETACH") && t.back() == "CONCURRENTLY";
  }
  if (first == "CLUSTER") {  // without a table: every table that was clustered before
    if (t.size() == 1) return true;
    if (second == "VERBOSE") return t.size() == 2;
    return second == "(" && t.back() == ")";
  }
  if (first == "DISCARD") return second == "ALL";
  return (first == "COMMIT" || first == "ROLLBACK") && second == "PREPARED";
}

bool SqliteRefuses(const std::vector<std::string>& t) {
  if (t.empty()) return false;
  if (t[0] == "VACUUM" || t[0] == "ATTACH" || t[0] == "DETACH") return true;
  if (t[0] != "PRAGMA" || t.size() < 2) return false;
  const std::size_t i = t.size() > 3 && t[2] == "." ? 3 : 1;
  if (t[i] == "WAL_CHECKPOINT") return true;
  if (i + 1 >= t.size()) return false;  // only asks
  return t[i] == "FOREIGN_KEYS" || t[i] == "JOURNAL_MODE" || t[i] == "SYNCHRONOUS" ||
         t[i] == "PAGE_SIZE" || t[i] == "AUTO_VACUUM";
}

}  // namespace

bool CannotRunInTransaction(std::string_view sql, Engine engine) {
  const std::vector<std::string> tokens = Tokens(sql, engine, 400);
  return engine == Engine::kPostgres ? PostgresRefuses(tokens) : SqliteRefuses(tokens);
}

bool ControlsTransaction(std::string_view sql, Engine engine) {
  const std::vector<std::string> t = Tokens(sql, engine, 8);
  if (t.empty()) return false;
  if (t[0] == "BEGIN" || t[0] == "START" || t[0] == "COMMIT" || t[0] == "END" || t[0] == "ABORT") {
    return true;
  }
  if (t[0] == "PREPARE") return t.size() > 1 && t[1] == "TRANSACTION";
  return t[0] == "ROLLBACK" && !Contains(t, "TO");
}

}  // namespace understudy::db
