#include <algorithm>
#include <cstdlib>
#include <regex>

#include "engine/db/identifier.h"
#include "harness/snapshot/normal_forms.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

std::string Get(const CatalogObject& object, std::string_view property) {
  const auto it = object.properties.find(std::string(property));
  return it == object.properties.end() ? std::string() : it->second;
}

// Elements of "a, b(c, d), 'e, f'"
std::vector<std::string> Elements(std::string_view list, char separator = ',') {
  std::vector<std::string> all;
  std::string element;
  int depth = 0;
  char quote = 0;
  for (const char c : list) {
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '(') {
      ++depth;
    } else if (c == ')') {
      --depth;
    } else if (c == separator && depth == 0) {
      all.push_back(std::move(element));
      element.clear();
      continue;
    }
    if (!(element.empty() && c == ' ')) element += c;
  }
  if (!element.empty()) all.push_back(std::move(element));
  return all;
}

bool Contains(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

bool LostElement(std::string_view left, std::string_view right, char separator = ',') {
  const auto now = Elements(right, separator);
  const auto before = Elements(left, separator);
  return std::any_of(before.begin(), before.end(),
                     [&](const std::string& e) { return !Contains(now, e); });
}

// Whether the elements that both lists have stand in another order.
bool Reordered(std::string_view left, std::string_view right) {
  auto before = Elements(left);
  auto now = Elements(right);
  std::erase_if(before, [&](const std::string& e) { return !Contains(now, e); });
  std::erase_if(now, [&](const std::string& e) { return !Contains(before, e); });
  return before != now;
}

// `former_owner`: what it had as the owner went with the ownership, which is reported itself.
bool LostGrant(std::string_view left, std::string_view right, std::string_view former_owner) {
  const auto now = ParseGrants(right);
  for (const auto& [grantee, privileges] : ParseGrants(left)) {
    if (grantee == former_owner) continue;
    const auto it = now.find(grantee);
    for (const std::string& privilege : privileges) {
      if (it == now.end()) return true;
      // The right to pass it on includes the right itself.
      if (it->second.count(privilege) == 0 && it->second.count(privilege + "*") == 0) return true;
    }
  }
  return false;
}

std::string AfterWord(const std::string& text, std::string_view word) {
  std::string upper;
  for (const char c : text) {
    upper += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  const auto at = upper.rfind(word);
  return at == std::string::npos ? std::string() : upper.substr(at);
}

// "ON UPDATE … ON DELETE …": what a foreign key does when its parent goes.
std::string Actions(const std::string& definition) {
  const auto close = definition.rfind(')');
  return AfterWord(close == std::string::npos ? definition : definition.substr(close), " ON ");
}

// Where the parenthesis at `open` is closed; quoted text is passed over.
std::size_t Closing(std::string_view text, std::size_t open) {
  int depth = 0;
  char quote = 0;
  for (std::size_t i = open; i < text.size(); ++i) {
    if (quote != 0) {
      if (text[i] == quote) quote = 0;
    } else if (text[i] == '\'' || text[i] == '"') {
      quote = text[i];
    } else if (text[i] == '(') {
      ++depth;
    } else if (text[i] == ')' && --depth == 0) {
      return i;
    }
  }
  return std::string_view::npos;
}

// The columns of the first list; those of INCLUDE are no part of a key.
std::vector<std::string> KeyColumns(const std::string& definition) {
  const auto open = definition.find('(');
  if (open == std::string::npos) return {};
  const auto close = Closing(definition, open);
  if (close == std::string::npos) return {};
  return Elements(std::string_view(definition).substr(open + 1, close - open - 1));
}

// Without casts, which come and go with the types of columns: "(a > (0)::numeric)" is "(a > 0)".
std::string WithoutCasts(std::string text) {
  static const std::regex cast(
      R"(::("[^"]+"|[a-z_][a-z0-9_.]*)( varying| precision| with(out)? time zone)?(\(\d+(,\d+)?\))?(\[\])?)");
  static const std::regex literal(R"(\((-?[0-9.]+|'[^']*')\))");
  return std::regex_replace(std::regex_replace(text, cast, ""), literal, "$1");
}

// The parts of a condition that must all hold. One with an OR beside them is a single part.
std::vector<std::string> Conjuncts(std::string_view text) {
  const auto trim = [&] {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  };
  for (trim(); !text.empty() && text.front() == '(' && Closing(text, 0) == text.size() - 1;
       trim()) {
    text = text.substr(1, text.size() - 2);
  }
  std::vector<std::string> parts;
  std::size_t from = 0;
  const auto add = [&](std::string_view part) {
    if (part.size() == text.size()) {
      parts.emplace_back(part);
      return;
    }
    for (std::string& one : Conjuncts(part)) parts.push_back(std::move(one));
  };
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quote != 0) {
      if (text[i] == quote) quote = 0;
    } else if (text[i] == '\'' || text[i] == '"') {
      quote = text[i];
    } else if (text[i] == '(') {
      const auto close = Closing(text, i);
      if (close == std::string_view::npos) return {std::string(text)};
      i = close;
    } else if (text.substr(i).starts_with(" OR ") || text.substr(i).starts_with(" BETWEEN ")) {
      return {std::string(text)};
    } else if (text.substr(i).starts_with(" AND ")) {
      add(text.substr(from, i - from));
      from = i + 5;
    }
  }
  add(text.substr(from));
  return parts;
}

// Whether a check may let through what it did not. Only more of the same conditions is surely
// stronger: whatever else became of it, somebody must say that it is meant.
bool WeakerCheck(const std::string& before, const std::string& now) {
  const auto parts = [](const std::string& definition) {
    const std::string text = WithoutCasts(definition);
    const auto open = text.find('(');
    return open == std::string::npos ? std::vector<std::string>{text}
                                     : Conjuncts(std::string_view(text).substr(open));
  };
  const auto kept = parts(now);
  const auto asked = parts(before);
  return std::any_of(asked.begin(), asked.end(),
                     [&](const std::string& part) { return !Contains(kept, part); });
}

// Whether a key may forbid less: it asks for a column that it did not ask for.
bool WeakerKey(const std::string& before, const std::string& now) {
  const auto columns = KeyColumns(before);
  const auto wanted = KeyColumns(now);
  return std::any_of(wanted.begin(), wanted.end(),
                     [&](const std::string& c) { return !Contains(columns, c); });
}

// Whether an index covers fewer rows, forbids less or has lost columns.
bool WeakerIndex(const CatalogObject& left, const CatalogObject& right) {
  const std::string before = Get(left, "definition");
  const std::string now = Get(right, "definition");
  const std::string only = AfterWord(now, " WHERE ");
  if (!only.empty() && WithoutCasts(AfterWord(before, " WHERE ")) != WithoutCasts(only)) {
    return true;
  }
  if (Get(left, "unique") == "yes" && WeakerKey(before, now)) return true;
  const auto columns = KeyColumns(now);
  const auto asked = KeyColumns(before);
  return Get(left, "unique") != "yes" &&
         std::any_of(asked.begin(), asked.end(),
                     [&](const std::string& c) { return !Contains(columns, c); });
}

// Whether a trigger misses an event that it was there for.
bool FiresLess(const std::string& before, const std::string& now) {
  const auto head = [](const std::string& definition) {
    std::string upper;
    for (const char c : definition) {
      upper += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    return upper.substr(0, upper.find(" ON "));
  };
  const std::string was = head(before);
  const std::string is = head(now);
  for (const char* event : {" INSERT", " UPDATE", " DELETE", " TRUNCATE"}) {
    if (was.find(event) != std::string::npos && is.find(event) == std::string::npos) return true;
  }
  const auto has = [](const std::string& text, const char* word) {
    return text.find(word) != std::string::npos;
  };
  return (has(is, " UPDATE OF ") && !has(was, " UPDATE OF ")) ||
         (has(now, " WHEN (") && !has(before, " WHEN ("));
}

bool WeakerConstraint(const CatalogObject& left, const CatalogObject& right) {
  const std::string type = Get(left, "type");
  if (type != Get(right, "type")) return true;
  const std::string before = Get(left, "definition");
  const std::string now = Get(right, "definition");
  if (type == "foreign key") {
    return Actions(before) != Actions(now) ||
           before.substr(0, before.find(" ON ")) != now.substr(0, now.find(" ON "));
  }
  if (type == "unique" || type == "primary key") {
    return WeakerKey(before, now) || (before.find("NULLS NOT DISTINCT") != std::string::npos &&
                                      now.find("NULLS NOT DISTINCT") == std::string::npos);
  }
  if (type == "check") return WeakerCheck(before, now);
  return type == "exclusion";
}

// What is wrong with an object as it is, whatever it was before: the property, or "".
std::string Ailing(const CatalogObject& object) {
  for (const char* property : {"valid", "ready", "validated", "populated"}) {
    if (Get(object, property) == "no") return property;
  }
  const std::string enabled = Get(object, "enabled");
  if (enabled == "disabled" || enabled == "replica") return "enabled";
  for (const char* property : {"triggers_off", "broken"}) {
    if (!Get(object, property).empty()) return property;
  }
  return "";
}

bool IsWorse(const CatalogObject& left, const CatalogObject& right, const std::string& property) {
  const std::string before = Get(left, property);
  const std::string now = Get(right, property);
  const auto lost = [&](const char* name) {
    return !Get(left, name).empty() && Get(right, name).empty();
  };

  if (property == "grants") {
    const std::string owner = Get(left, "owner");
    return LostGrant(before, now, owner == Get(right, "owner") ? "" : db::DisplayIdentifier(owner));
  }
  if (property == "column_grants") return LostElement(before, now, ';');
  if (property == "nullability") return before == "not null";
  if (property == "default" || property == "identity" || property == "generated") {
    // One may stand in for another: a serial that becomes an identity has no default any more.
    return lost(property.c_str()) && Get(right, "default").empty() &&
           Get(right, "identity").empty() && Get(right, "generated").empty();
  }
  if (property == "enabled") return now == "disabled" || now == "replica" || now == "no";
  if (property == "triggers_off" || property == "broken") return !now.empty();
  if (property == "inherited" || property == "constraint") return false;
  if (property == "deferrable" || property == "deferred") return now == "yes";
  if (property == "persistence") return now != "permanent";
  if (property == "replica_identity" && left.kind != "index") return now == "nothing";
  if (property == "definition" && left.kind == "constraint") return WeakerConstraint(left, right);
  if (property == "definition" && left.kind == "index") return WeakerIndex(left, right);
  if (property == "definition" && left.kind == "trigger") return FiresLess(before, now);
  if (property == "partial") return now == "yes";
  if (property == "labels") return LostElement(before, now) || Reordered(before, now);
  if (property == "columns" || property == "operations" || property == "schemas" ||
      property == "attributes") {
    return LostElement(before, now);
  }
  if (property == "tables") return LostElement(before, now, ';');
  if (property == "strict" || property == "without_rowid")
    return property == "strict" && now == "no";
  if (property == "cycle") return false;
  if (before == "yes" && now == "no") return true;  // valid, validated, row_security, unique, …
  return !before.empty() && now.empty();            // a comment, an option, an owner column, …
}

__extension__ typedef __int128 Wide;  // next values near the ends of bigint

// Sequences: last_value and is_called are one thing, the next value.
void DiffSequenceValue(const CatalogObject& left, const CatalogObject& right,
                       std::vector<CatalogChange>& changes) {
  const auto text = [](const CatalogObject& s) {
    const std::string value = Get(s, "last_value");
    return value.empty() || Get(s, "is_called") == "yes" ? value : value + " (not called)";
  };
  const std::string before = text(left);
  const std::string now = text(right);
  if (before == now) return;
  const auto next = [](const CatalogObject& s) -> Wide {
    const Wide last = std::strtoll(Get(s, "last_value").c_str(), nullptr, 10);
    return Get(s, "is_called") == "yes"
               ? last + std::strtoll(Get(s, "increment").c_str(), nullptr, 10)
               : last;
  };
  CatalogChange change{
      left.path + "#last_value", left.kind, "changed", "last_value", before, now, Severity::kInfo};
  if (before.empty() || now.empty()) {
    change.severity = now.empty() ? Severity::kWorse : Severity::kInfo;
  } else if (Get(right, "cycle") != "yes") {
    const bool down = std::strtoll(Get(right, "increment").c_str(), nullptr, 10) < 0;
    const Wide step = next(right) - next(left);
    if (down ? step > 0 : step < 0) change.severity = Severity::kWorse;
  }
  changes.push_back(std::move(change));
}

void DiffObject(const CatalogObject& left, const CatalogObject& right,
                std::vector<CatalogChange>& changes) {
  std::set<std::string> properties;
  for (const CatalogObject* object : {&left, &right}) {
    for (const auto& [name, value] : object->properties) properties.insert(name);
  }
  for (const std::string& property : properties) {
    if (property == "is_called") continue;
    if (property == "last_value") {
      DiffSequenceValue(left, right, changes);
      continue;
    }
    const std::string before = Get(left, property);
    const std::string now = Get(right, property);
    if (before == now) continue;
    // A column that came or went is a change of its own.
    if (property == "column_order" && !Reordered(before, now)) continue;
    changes.push_back({left.path + "#" + property, left.kind, "changed", property, before, now,
                       IsWorse(left, right, property) ? Severity::kWorse : Severity::kInfo});
  }
}

}  // namespace

std::vector<CatalogChange> DiffCatalogs(const Snapshot& left, const Snapshot& right) {
  std::vector<CatalogChange> changes;
  auto l = left.objects.begin();
  auto r = right.objects.begin();
  while (l != left.objects.end() || r != right.objects.end()) {
    if (r == right.objects.end() || (l != left.objects.end() && l->path < r->path)) {
      changes.push_back({l->path, l->kind, "removed", "", Describe(*l), "", Severity::kWorse});
      ++l;
    } else if (l == left.objects.end() || r->path < l->path) {
      const std::string wrong = Ailing(*r);
      changes.push_back({r->path, r->kind, "added", wrong, "", Describe(*r),
                         wrong.empty() ? Severity::kInfo : Severity::kWorse});
      ++r;
    } else {
      DiffObject(*l++, *r++, changes);
    }
  }
  return changes;
}

}  // namespace understudy::harness
