#include <algorithm>
#include <cstdlib>

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

std::vector<std::string> KeyColumns(const std::string& definition) {
  const auto open = definition.find('(');
  const auto close = definition.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  return Elements(std::string_view(definition).substr(open + 1, close - open - 1));
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
    // A key over more columns forbids less.
    const auto columns = KeyColumns(before);
    const auto wider = KeyColumns(now);
    const bool holds_all = std::all_of(columns.begin(), columns.end(),
                                       [&](const std::string& c) { return Contains(wider, c); });
    return (holds_all && wider.size() > columns.size()) ||
           (before.find("NULLS NOT DISTINCT") != std::string::npos &&
            now.find("NULLS NOT DISTINCT") == std::string::npos);
  }
  return false;
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
