#include "engine/codegen/query.h"

#include <array>
#include <utility>

#include "engine/base/error.h"

namespace understudy::codegen {
namespace {

constexpr std::array<std::pair<std::string_view, Query::Kind>, 8> kKinds{{
    {"select-all", Query::Kind::kSelectAll},
    {"select-by", Query::Kind::kSelectBy},
    {"select-one-by", Query::Kind::kSelectOneBy},
    {"select-like", Query::Kind::kSelectLike},
    {"select-by-or-insert", Query::Kind::kSelectByOrInsert},
    {"update-by", Query::Kind::kUpdateBy},
    {"delete-by", Query::Kind::kDeleteBy},
    {"insert-or-ignore", Query::Kind::kInsertOrIgnore},
}};

// Words apart by blanks or commas; "a name" in double quotes is one word.
std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  std::size_t at = 0;
  while (at < text.size()) {
    if (text[at] == ' ' || text[at] == '\t' || text[at] == ',') {
      ++at;
    } else if (text[at] == '"') {
      const std::size_t end = text.find('"', at + 1);
      words.emplace_back(text.substr(at + 1, end == std::string_view::npos ? end : end - at - 1));
      at = end == std::string_view::npos ? text.size() : end + 1;
    } else {
      const std::size_t end = text.find_first_of(" \t,", at);
      words.emplace_back(text.substr(at, end == std::string_view::npos ? end : end - at));
      at = end == std::string_view::npos ? text.size() : end;
    }
  }
  return words;
}

}  // namespace

Query ParseQuery(std::string_view text, const std::string& where) {
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::kInvalidSpec,
                where + ": @query " + std::string(text) + ": " + why +
                    "; allowed: select-all, select-by COL…, select-one-by COL…, select-like COL, "
                    "select-by-or-insert COL…, update-by COL…, delete-by COL…, insert-or-ignore, "
                    "each with [order COL [desc]]");
  };
  const std::vector<std::string> words = Words(text);
  if (words.empty()) fail("the kind of query is missing");
  Query query;
  bool known = false;
  for (const auto& [name, kind] : kKinds) {
    if (words[0] != name) continue;
    query.kind = kind;
    known = true;
  }
  if (!known) fail("there is no such query");
  bool ordering = false;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (!ordering && words[i] == "order") {
      ordering = true;
    } else if (!ordering) {
      query.columns.push_back(words[i]);
    } else if (words[i] == "desc" && !query.order.empty()) {
      query.order.back().descending = true;
    } else {
      query.order.push_back({words[i], false});
    }
  }
  if (ordering && query.order.empty()) fail("order needs a column");
  const bool alone =
      query.kind == Query::Kind::kSelectAll || query.kind == Query::Kind::kInsertOrIgnore;
  if (alone && !query.columns.empty()) fail("it takes no columns");
  if (!alone && query.columns.empty()) fail("it needs a column");
  if (query.kind == Query::Kind::kSelectLike && query.columns.size() != 1) {
    fail("it takes one column");
  }
  if (!query.order.empty() && query.writes()) fail("only a select is ordered");
  return query;
}

}  // namespace understudy::codegen
