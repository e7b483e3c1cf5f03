#include "harness/snapshot/normal_forms.h"

#include <algorithm>
#include <array>
#include <vector>

#include "engine/db/identifier.h"
#include "harness/snapshot/sqlite_sql.h"

namespace understudy::harness {
namespace {

using Letters = std::map<char, std::string_view>;

std::string Word(const Letters& letters, std::string_view raw) {
  if (raw.size() == 1) {
    if (const auto it = letters.find(raw[0]); it != letters.end()) return std::string(it->second);
  }
  return std::string(raw);
}

// ---- letter: the catalog's one-letter codes as words.
std::string Persistence(std::string_view raw) {
  static const Letters letters = {{'p', "permanent"}, {'u', "unlogged"}, {'t', "temporary"}};
  return Word(letters, raw);
}
std::string ReplicaIdentity(std::string_view raw) {
  static const Letters letters = {
      {'d', "default"}, {'n', "nothing"}, {'f', "full"}, {'i', "index"}};
  return Word(letters, raw);
}
std::string Enabled(std::string_view raw) {
  static const Letters letters = {
      {'O', "enabled"}, {'D', "disabled"}, {'R', "replica"}, {'A', "always"}};
  return Word(letters, raw);
}
std::string Storage(std::string_view raw) {
  static const Letters letters = {
      {'p', "plain"}, {'m', "main"}, {'x', "extended"}, {'e', "external"}};
  return Word(letters, raw);
}
std::string Compression(std::string_view raw) {
  static const Letters letters = {{'p', "pglz"}, {'l', "lz4"}};
  return Word(letters, raw);
}
std::string Identity(std::string_view raw) {
  static const Letters letters = {{'a', "always"}, {'d', "by default"}};
  return Word(letters, raw);
}
std::string ConstraintType(std::string_view raw) {
  static const Letters letters = {{'c', "check"},
                                  {'f', "foreign key"},
                                  {'p', "primary key"},
                                  {'u', "unique"},
                                  {'x', "exclusion"}};
  return Word(letters, raw);
}
std::string TypeVariety(std::string_view raw) {
  static const Letters letters = {
      {'b', "base"}, {'c', "composite"}, {'d', "domain"}, {'e', "enum"}, {'r', "range"}};
  return Word(letters, raw);
}
std::string PolicyCommand(std::string_view raw) {
  static const Letters letters = {
      {'*', "all"}, {'r', "select"}, {'a', "insert"}, {'w', "update"}, {'d', "delete"}};
  return Word(letters, raw);
}

std::vector<std::string> Lines(std::string_view raw, char separator = '\n') {
  std::vector<std::string> lines;
  while (!raw.empty()) {
    const auto end = std::min(raw.find(separator), raw.size());
    if (end > 0) lines.emplace_back(raw.substr(0, end));
    raw.remove_prefix(std::min(end + 1, raw.size()));
  }
  return lines;
}

std::string Join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string all;
  for (const std::string& part : parts) {
    if (!all.empty()) all += separator;
    all += part;
  }
  return all;
}

// ---- options: "name=value" in the order of names. Secrets of foreign servers are hidden.
// `pg_attver` is left out: some builds of the server (Debian's 15.20) keep there the WAL position
// of the last change of the column; it says nothing of the schema and no dump carries it.
std::string Options(std::string_view raw) {
  std::vector<std::string> options = Lines(raw);
  std::erase_if(options, [](const std::string& o) { return o.rfind("pg_attver=", 0) == 0; });
  for (std::string& option : options) {
    const auto equals = option.find('=');
    const std::string name = option.substr(0, equals);
    if (name.find("password") != std::string::npos || name.find("secret") != std::string::npos) {
      option = name + "=***";
    }
  }
  std::sort(options.begin(), options.end());
  return Join(options, ", ");
}

// ---- ACL: "grantee: privileges; …", both sorted; who granted it is left out, a privilege that
// may be passed on has a "*". The caller gives the built-in default where the catalog has none, so
// that NULL and a written-out default read the same.
std::string_view Privilege(char letter) {
  static const Letters letters = {{'r', "SELECT"},   {'a', "INSERT"},   {'w', "UPDATE"},
                                  {'d', "DELETE"},   {'D', "TRUNCATE"}, {'x', "REFERENCES"},
                                  {'t', "TRIGGER"},  {'X', "EXECUTE"},  {'U', "USAGE"},
                                  {'C', "CREATE"},   {'c', "CONNECT"},  {'T', "TEMPORARY"},
                                  {'m', "MAINTAIN"}, {'s', "SET"},      {'A', "ALTER SYSTEM"}};
  const auto it = letters.find(letter);
  return it == letters.end() ? std::string_view("?") : it->second;
}

std::string AclList(std::string_view raw) {
  std::map<std::string, std::set<std::string>> grants;
  for (std::string_view item : Lines(raw)) {
    std::string grantee;
    std::size_t i = 0;
    if (!item.empty() && item[0] == '"') {
      for (i = 1; i < item.size(); ++i) {
        if (item[i] == '"') {
          if (i + 1 < item.size() && item[i + 1] == '"')
            ++i;
          else
            break;
        }
        grantee += item[i];
      }
      ++i;
    } else {
      i = std::min(item.find('='), item.size());
      grantee = item.substr(0, i);
    }
    if (i >= item.size() || item[i] != '=') return std::string(raw);  // no ACL as we know it
    auto& privileges =
        grants[grantee.empty() ? std::string("public") : db::DisplayIdentifier(grantee)];
    for (++i; i < item.size() && item[i] != '/'; ++i) {
      std::string privilege(Privilege(item[i]));
      if (i + 1 < item.size() && item[i + 1] == '*') {
        privilege += "*";
        ++i;
      }
      privileges.insert(std::move(privilege));
    }
  }
  std::vector<std::string> parts;
  for (const auto& [grantee, privileges] : grants) {
    if (privileges.empty()) continue;
    parts.push_back(grantee + ": " + Join({privileges.begin(), privileges.end()}, ", "));
  }
  // Everything revoked from everybody, the owner too, is not the same as nothing said.
  return parts.empty() ? "none" : Join(parts, "; ");
}

// A column without grants has none of its own; the table's hold.
std::string ColumnAcl(std::string_view raw) {
  const std::string list = AclList(raw);
  return list == "none" ? "" : list;
}

// ---- array cast: PostgreSQL keeps `v IN ('a', 'b')` on a varchar as
// (ARRAY['a'::character varying, …])::text[] and, after a dump and a restore of that text, as
// ARRAY[('a'::character varying)::text, …]. The second form is the normal one.
std::size_t SkipQuoted(std::string_view text, std::size_t i) {
  const char quote = text[i++];
  while (i < text.size() && text[i] != quote) ++i;  // a doubled quote is two quoted pieces
  return std::min(i + 1, text.size());
}

// The position after the bracket that closes the one at `open`; npos when none does.
std::size_t AfterClosing(std::string_view text, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open; i < text.size();) {
    const char c = text[i];
    if (c == '\'' || c == '"') {
      i = SkipQuoted(text, i);
      continue;
    }
    if (c == '(' || c == '[') ++depth;
    if ((c == ')' || c == ']') && --depth == 0) return i + 1;
    ++i;
  }
  return std::string_view::npos;
}

std::vector<std::string_view> SplitList(std::string_view text) {
  std::vector<std::string_view> items;
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\'' || c == '"') {
      i = SkipQuoted(text, i);
      continue;
    }
    if (c == '(' || c == '[') ++depth;
    if (c == ')' || c == ']') --depth;
    if (c == ',' && depth == 0) {
      items.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
    ++i;
  }
  items.push_back(text.substr(begin));
  for (std::string_view& item : items) {
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
  }
  return items;
}

std::string ArrayCasts(std::string_view text) {
  constexpr std::string_view kStart = "(ARRAY[";
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == '\'' || text[i] == '"') {
      const std::size_t end = SkipQuoted(text, i);
      out += text.substr(i, end - i);
      i = end;
      continue;
    }
    if (text.substr(i, kStart.size()) == kStart) {
      const std::size_t close = AfterClosing(text, i);
      if (close != std::string_view::npos && text.substr(close, 2) == "::" &&
          text[close - 2] == ']') {
        const std::size_t type_end = text.find("[]", close);
        const std::string_view type =
            type_end == std::string_view::npos ? "" : text.substr(close + 2, type_end - close - 2);
        if (!type.empty() && type.find_first_of(",;'[]:=<>+") == std::string_view::npos) {
          const std::string_view list =
              text.substr(i + kStart.size(), close - 2 - i - kStart.size());
          out += "ARRAY[";
          bool first = true;
          for (const std::string_view item : SplitList(list)) {
            if (!first) out += ", ";
            first = false;
            out += "(" + ArrayCasts(item) + ")::" + std::string(type);
          }
          out += "]";
          i = type_end + 2;
          continue;
        }
      }
    }
    out += text[i++];
  }
  return out;
}

// ---- constraint definition: whether it is validated and deferrable are properties of their own.
std::string ConstraintDefinition(std::string_view raw) {
  for (const std::string_view tail :
       {" NOT VALID", " NOT ENFORCED", " INITIALLY DEFERRED", " DEFERRABLE"}) {
    if (raw.size() > tail.size() && raw.substr(raw.size() - tail.size()) == tail) {
      raw.remove_suffix(tail.size());
    }
  }
  return ArrayCasts(raw);
}

// ---- foreign key triggers that are off: "table function=letter" with the letter as a word.
std::string TriggersOff(std::string_view raw) {
  std::vector<std::string> parts;
  for (std::string part : Lines(raw, ',')) {
    if (part.size() < 3) continue;
    if (part[0] == ' ') part.erase(0, 1);
    const std::string word = Enabled(part.substr(part.size() - 1));
    parts.push_back(part.substr(0, part.size() - 2) + " " + word);
  }
  return Join(parts, ", ");
}

// ---- SQLite text: tokens, one blank apart, without comments; quotes only where a name needs them,
// names and keywords in lower case (SQLite tells neither apart; ALTER TABLE … RENAME puts quotes
// around what it rewrites). Strings and numbers stay as they are.
std::string SqliteText(std::string_view raw) { return NormalSqliteSql(raw); }

// ---- SQLite type: what was declared, in capitals, one blank between words.
std::string SqliteType(std::string_view raw) {
  std::string out;
  for (const char c : raw) {
    if (c == ' ' && (out.empty() || out.back() == ' ')) continue;
    out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

// ---- SQLite default: as SQLite text, but "text" in double quotes may be a string here.
std::string SqliteDefault(std::string_view raw) {
  return raw.find('"') == std::string_view::npos ? NormalSqliteSql(raw) : std::string(raw);
}

struct Form {
  std::string_view kind;  // "" = any
  std::string_view property;
  std::string_view name;
  std::string (*apply)(std::string_view);
};

// The first that fits holds.
constexpr std::array kForms = {
    Form{"", "persistence", "letter", Persistence},
    Form{"table", "replica_identity", "letter", ReplicaIdentity},
    Form{"foreign-table", "replica_identity", "letter", ReplicaIdentity},
    Form{"event-trigger", "enabled", "letter", Enabled},
    Form{"trigger", "enabled", "letter", Enabled},
    Form{"rule", "enabled", "letter", Enabled},
    Form{"column", "storage", "letter", Storage},
    Form{"column", "compression", "letter", Compression},
    Form{"column", "identity", "letter", Identity},
    Form{"constraint", "type", "letter", ConstraintType},
    Form{"", "variety", "letter", TypeVariety},
    Form{"policy", "command", "letter", PolicyCommand},
    Form{"", "options", "options", Options},
    Form{"", "toast_options", "options", Options},
    Form{"", "foreign_options", "options", Options},
    Form{"", "settings", "options", Options},
    Form{"column", "grants", "ACL", ColumnAcl},
    Form{"", "grants", "ACL", AclList},
    Form{"constraint", "definition", "constraint definition", ConstraintDefinition},
    Form{"constraint", "triggers_off", "triggers off", TriggersOff},
    Form{"index", "definition", "array cast", ArrayCasts},
    Form{"view", "definition", "array cast", ArrayCasts},
    Form{"materialized-view", "definition", "array cast", ArrayCasts},
    Form{"rule", "definition", "array cast", ArrayCasts},
    Form{"trigger", "definition", "array cast", ArrayCasts},
    Form{"statistics", "definition", "array cast", ArrayCasts},
    Form{"policy", "using", "array cast", ArrayCasts},
    Form{"policy", "check", "array cast", ArrayCasts},
    Form{"column", "default", "array cast", ArrayCasts},
    Form{"domain", "default", "array cast", ArrayCasts},
    Form{"", "generated", "array cast", ArrayCasts},
    Form{"sqlite-column", "type", "SQLite type", SqliteType},
    Form{"sqlite-column", "default", "SQLite default", SqliteDefault},
    Form{"sqlite", "definition", "SQLite text", SqliteText},
};

const Form* Find(std::string_view kind, std::string_view property) {
  for (const Form& form : kForms) {
    if (form.property == property && (form.kind.empty() || form.kind == kind)) return &form;
  }
  return nullptr;
}

}  // namespace

std::string NormalForm(std::string_view kind, std::string_view property, std::string_view raw) {
  const Form* form = Find(kind, property);
  return form == nullptr ? std::string(raw) : form->apply(raw);
}

std::string_view NormalFormName(std::string_view kind, std::string_view property) {
  const Form* form = Find(kind, property);
  return form == nullptr ? std::string_view() : form->name;
}

std::map<std::string, std::set<std::string>> ParseGrants(std::string_view grants) {
  std::map<std::string, std::set<std::string>> all;
  if (grants == "none") return all;
  for (std::string part : Lines(grants, ';')) {
    if (part[0] == ' ') part.erase(0, 1);
    const auto colon = part.rfind(": ");
    if (colon == std::string::npos) continue;
    auto& privileges = all[part.substr(0, colon)];
    for (std::string privilege : Lines(std::string_view(part).substr(colon + 2), ',')) {
      if (privilege[0] == ' ') privilege.erase(0, 1);
      privileges.insert(privilege);
    }
  }
  return all;
}

}  // namespace understudy::harness
