#include "harness/scenario/overrides.h"

#include <algorithm>

#include "engine/base/error.h"

namespace understudy::harness {
namespace {

std::vector<std::string> PathOf(const std::string& key) {
  const bool pointer = !key.empty() && key[0] == '/';
  const char separator = pointer ? '/' : '.';
  std::vector<std::string> parts(1);
  for (const char c : pointer ? key.substr(1) : key) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (pointer) {
    for (std::string& part : parts) {
      for (const auto& [escaped, plain] : {std::pair{"~1", "/"}, std::pair{"~0", "~"}}) {
        for (auto at = part.find(escaped); at != std::string::npos;
             at = part.find(escaped, at + 1)) {
          part.replace(at, 2, plain);
        }
      }
    }
  }
  return parts;
}

[[noreturn]] void Refuse(const std::string& key, const std::string& why) {
  throw Error(ErrorKind::kInvalidSpec, "--set " + key + ": " + why, "usage");
}

void Set(Json& document, const std::string& key, const std::string& text) {
  const std::vector<std::string> path = PathOf(key);
  if (std::any_of(path.begin(), path.end(), [](const auto& part) { return part.empty(); })) {
    Refuse(key, "the key has an empty part; write it as a.b.0.c or as /a/b/0/c");
  }
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) value = text;

  Json* at = &document;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const std::string& part = path[i];
    const bool last = i + 1 == path.size();
    if (at->is_array()) {
      if (part.empty() || part.size() > 6 ||
          part.find_first_not_of("0123456789") != std::string::npos) {
        Refuse(key, "'" + part + "' must be the number of a list item, from 0");
      }
      const std::size_t index = std::stoul(part);
      if (index > at->size() || (index == at->size() && last && value.is_null())) {
        Refuse(key,
               "the list has " + std::to_string(at->size()) + " items, there is no number " + part);
      }
      if (last && value.is_null()) {
        at->erase(index);
        return;
      }
      if (index == at->size()) at->push_back(last ? Json() : Json::object());
      at = &(*at)[index];
    } else {
      if (at->is_null()) *at = Json::object();
      if (!at->is_object()) Refuse(key, "'" + part + "' is below a value that is no object");
      if (last && value.is_null()) {
        at->erase(part);
        return;
      }
      if (!at->contains(part)) {
        if (value.is_null()) return;  // nothing there to remove
        (*at)[part] = last ? Json() : Json::object();
      }
      at = &(*at)[part];
    }
  }
  *at = std::move(value);
}

}  // namespace

bool ChangesAnything(const Overrides& overrides) {
  return !overrides.set.empty() || overrides.provision || overrides.provision_auto ||
         overrides.pg || overrides.seed;
}

void ApplyOverrides(Json& document, const Overrides& overrides) {
  for (const auto& [key, value] : overrides.set) Set(document, key, value);
  if (!document.is_object()) return;  // validation says so
  if (overrides.seed) document["seed"] = *overrides.seed;
  if (!document.contains("databases") || !document["databases"].is_object()) return;
  for (auto& [name, database] : document["databases"].items()) {
    if (!database.is_object() || database.value("engine", Json()) != "postgres") continue;
    if (overrides.pg) database["version"] = *overrides.pg;
    if (overrides.provision) {
      database["provision"] = *overrides.provision;
    } else if (overrides.provision_auto &&
               (!database.contains("provision") || database["provision"] == "auto")) {
      database["provision"] = *overrides.provision_auto;
    }
  }
}

}  // namespace understudy::harness
