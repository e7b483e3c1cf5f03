#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

// kind:names#property; a '#', ':' or '.' inside double quotes is part of a name.
struct Parts {
  std::string kind;
  std::string names;
  std::string property;
  bool has_property = false;
};

Parts Split(std::string_view path) {
  Parts parts;
  bool quoted = false;
  bool have_kind = false;
  int depth = 0;
  for (const char c : path) {
    if (c == '"') quoted = !quoted;
    if (!quoted && c == '(') ++depth;
    if (!quoted && c == ')') --depth;
    if (parts.has_property) {
      parts.property += c;
    } else if (c == ':' && !quoted && !have_kind) {
      parts.kind = std::move(parts.names);
      parts.names.clear();
      have_kind = true;
    } else if (c == '#' && !quoted && depth <= 0) {
      parts.has_property = true;
    } else {
      parts.names += c;
    }
  }
  return parts;
}

// Names as db::DisplayIdentifier writes them, also where the pattern quotes more than it must.
std::string Requoted(std::string_view names) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] != '"') {
      out += names[i];
      continue;
    }
    std::string name;
    for (++i; i < names.size(); ++i) {
      if (names[i] == '"') {
        if (i + 1 >= names.size() || names[i + 1] != '"') break;
        ++i;
      }
      name += names[i];
    }
    out += name.empty() ? "\"\"" : db::DisplayIdentifier(name);
  }
  return out;
}

// A scenario may say `type` for every type, `function` for every routine and `table` for a
// foreign table.
bool KindMatches(std::string_view kind, std::string_view pattern) {
  if (db::MatchesGlob(kind, pattern)) return true;
  if (pattern == "type") return kind == "enum" || kind == "domain";
  if (pattern == "function") return kind == "procedure" || kind == "aggregate";
  if (pattern == "table") return kind == "foreign-table";
  return false;
}

bool StartsWith(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

std::vector<std::string> Names(std::string_view names) {
  try {
    return db::ParseDottedName(names.substr(0, names.find('(')), false);
  } catch (const Error&) {  // an unnamed constraint's text
    return {std::string(names)};
  }
}

}  // namespace

bool MatchesPath(std::string_view path, std::string_view pattern) {
  const Parts have = Split(path);
  Parts want = Split(pattern);
  if (want.kind.empty() && want.names == "*") want.kind = "*";
  if (!KindMatches(have.kind, want.kind)) return false;
  const std::string names = Requoted(want.names);
  bool matches = db::MatchesGlob(have.names, names);
  // A routine's pattern may leave the signature out.
  if (!matches && names.find('(') == std::string::npos &&
      (have.kind == "function" || have.kind == "procedure" || have.kind == "aggregate")) {
    matches = db::MatchesGlob(std::string_view(have.names).substr(0, have.names.find('(')), names);
  }
  if (!matches) return false;
  if (!want.has_property) return true;
  return have.has_property && db::MatchesGlob(have.property, want.property);
}

bool IsOurs(std::string_view path) {
  const Parts parts = Split(path);
  const std::vector<std::string> names = Names(parts.names);
  if (names.empty()) return false;
  if (names[0] != "main") {
    // A schema of ours and what is in it; in a schema of the user's, a trigger of ours.
    return StartsWith(names[0], "understudy") ||
           (parts.kind == "trigger" && StartsWith(names.back(), "understudy"));
  }
  for (std::size_t i = 1; i < names.size() && i < 3; ++i) {
    if (i == 2 && parts.kind != "trigger") break;  // a column's name says nothing
    // An application may have a table of migrations of its own: only whole names are ours.
    for (const std::string_view ours :
         {"_migration_marker", "_migration_log", "_migration_txn", "_migration_status",
          "_migration_progress", "_id_mapping", "_id_mapping_new", "_schema_identity"}) {
      if (names[i] == ours) return true;
    }
    if (StartsWith(names[i], "_understudy")) return true;
    if (parts.kind == "trigger" && StartsWith(names[i], "_migration_on_")) return true;
  }
  return false;
}

}  // namespace understudy::harness
