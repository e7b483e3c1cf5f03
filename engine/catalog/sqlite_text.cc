#include "engine/catalog/sqlite_text.h"

#include <cctype>

#include "engine/catalog/sqlite_schema.h"

namespace understudy::catalog {
namespace {
using Kind = SqlitePiece::Kind;

bool IsWordByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return std::isalnum(byte) != 0 || c == '_' || c == '$' || c == '.' || byte >= 0x80;
}
bool IsBlank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

std::size_t EndOfQuoted(std::string_view sql, std::size_t at) {
  const char close = sql[at] == '[' ? ']' : sql[at];
  for (std::size_t i = at + 1; i < sql.size(); ++i) {
    if (sql[i] != close) continue;
    if (close != ']' && i + 1 < sql.size() && sql[i + 1] == close) {
      ++i;
      continue;
    }
    return i + 1;
  }
  return sql.size();
}

// A column's definition begins with its name; these begin a table's constraint instead.
bool BeginsConstraint(std::string_view word) {
  std::string upper;
  for (const char c : word) upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return upper == "CONSTRAINT" || upper == "PRIMARY" || upper == "UNIQUE" || upper == "CHECK" ||
         upper == "FOREIGN";
}

}  // namespace

std::vector<SqlitePiece> SqlitePieces(std::string_view sql) {
  std::vector<SqlitePiece> pieces;
  int line = 0;
  for (std::size_t at = 0; at < sql.size();) {
    std::size_t end = at + 1;
    Kind kind = Kind::kSign;
    const char c = sql[at];
    if (IsBlank(c)) {
      kind = Kind::kBlank;
      while (end < sql.size() && IsBlank(sql[end])) ++end;
    } else if (sql.substr(at, 2) == "--") {
      kind = Kind::kComment;
      end = std::min(sql.find('\n', at), sql.size());
    } else if (sql.substr(at, 2) == "/*") {
      kind = Kind::kComment;
      const auto close = sql.find("*/", at + 2);
      end = close == std::string_view::npos ? sql.size() : close + 2;
    } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
      kind = Kind::kQuoted;
      end = EndOfQuoted(sql, at);
    } else if (IsWordByte(c)) {
      kind = Kind::kWord;
      while (end < sql.size() && IsWordByte(sql[end])) ++end;
    }
    pieces.push_back({kind, sql.substr(at, end - at), line});
    for (std::size_t i = at; i < end; ++i) line += sql[i] == '\n' ? 1 : 0;
    at = end;
  }
  return pieces;
}

std::string UnquotedSqliteName(std::string_view text) {
  if (text.size() < 2) return std::string(text);
  const char open = text.front();
  if (open != '"' && open != '`' && open != '[' && open != '\'') return std::string(text);
  std::string name;
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    name += text[i];
    if (open != '[' && text[i] == open) ++i;
  }
  return name;
}

std::vector<std::string> SqliteIndexExpressions(std::string_view create_index) {
  std::vector<std::string> parts;
  int depth = 0;
  std::string part;
  for (const SqlitePiece& piece : SqlitePieces(create_index)) {
    if (piece.kind == Kind::kComment) {
      part += ' ';
      continue;
    }
    if (piece.kind == Kind::kSign && piece.text == "(" && depth++ == 0) {
      part.clear();
      continue;
    }
    if (piece.kind == Kind::kSign && piece.text == ")" && --depth == 0) {
      parts.emplace_back(Trimmed(part));
      return parts;  // what follows is the WHERE of a partial index
    }
    if (piece.kind == Kind::kSign && piece.text == "," && depth == 1) {
      parts.emplace_back(Trimmed(part));
      part.clear();
      continue;
    }
    part += piece.text;
  }
  return parts;
}

std::string NormalSqliteSql(std::string_view sql) {
  std::string normal;
  bool blank = false;
  bool last_is_word = false;
  for (const SqlitePiece& piece : SqlitePieces(sql)) {
    if (piece.kind == Kind::kBlank || piece.kind == Kind::kComment) {
      blank = true;
      continue;
    }
    const bool word = piece.kind == Kind::kWord || piece.kind == Kind::kQuoted;
    if (blank && word && last_is_word) normal += ' ';
    blank = false;
    last_is_word = word;
    for (const char c : piece.text) {
      normal += piece.kind == Kind::kWord
                    ? static_cast<char>(std::tolower(static_cast<unsigned char>(c)))
                    : c;
    }
  }
  return normal;
}

std::vector<SqliteAnnotation> SqliteAnnotations(std::string_view create) {
  std::vector<SqliteAnnotation> annotations;
  const std::vector<SqlitePiece> pieces = SqlitePieces(create);
  // Which definition a piece stands in: -1 before the first and after the last, else its number.
  int depth = 0;
  int element = -1;
  std::vector<std::string> columns;  // by element; "" = a constraint
  bool expects_name = false;
  std::vector<int> element_of(pieces.size(), -1);
  bool done = false;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const SqlitePiece& piece = pieces[i];
    const bool sign = piece.kind == Kind::kSign;
    if (sign && piece.text == ")" && --depth == 0) {
      element = -1;
      done = true;
    }
    element_of[i] = element;
    if (sign && piece.text == "(" && depth++ == 0 && !done) expects_name = true;
    if (sign && piece.text == "," && depth == 1 && !done) expects_name = true;
    const bool word = piece.kind == Kind::kWord || piece.kind == Kind::kQuoted;
    if (word && expects_name && depth == 1 && !done) {
      expects_name = false;
      const bool constraint = piece.kind == Kind::kWord && BeginsConstraint(piece.text);
      columns.push_back(constraint ? "" : UnquotedSqliteName(piece.text));
      element = static_cast<int>(columns.size()) - 1;
      element_of[i] = element;
    }
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const SqlitePiece& piece = pieces[i];
    if (piece.kind != Kind::kComment) continue;
    std::string_view text = piece.text;
    text.remove_prefix(2);
    if (piece.text.substr(0, 2) == "/*" && text.size() >= 2) text.remove_suffix(2);
    text = Trimmed(text);
    if (text.empty() || text.front() != '@') continue;
    text.remove_prefix(1);
    SqliteAnnotation annotation;
    const auto space = text.find_first_of(" \t");
    annotation.word = std::string(text.substr(0, space));
    if (space != std::string_view::npos) annotation.argument = Trimmed(text.substr(space));
    // The code before it on its line, else the definition that follows.
    int owner = -1;
    annotation.own_line = true;
    for (std::size_t j = i; j-- > 0 && pieces[j].line == piece.line;) {
      if (pieces[j].kind == Kind::kBlank || pieces[j].kind == Kind::kComment) continue;
      annotation.own_line = false;
      owner = element_of[j];
      break;
    }
    if (annotation.own_line) {
      for (std::size_t j = i + 1; j < pieces.size(); ++j) {
        if (pieces[j].kind == Kind::kBlank || pieces[j].kind == Kind::kComment) continue;
        owner = element_of[j];
        break;
      }
    }
    if (owner >= 0) annotation.column = columns[static_cast<std::size_t>(owner)];
    annotations.push_back(std::move(annotation));
  }
  return annotations;
}

}  // namespace understudy::catalog
