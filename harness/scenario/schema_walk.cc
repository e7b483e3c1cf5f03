#include "harness/scenario/schema_walk.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <regex>
#include <set>

namespace understudy::harness {
namespace {

bool HasType(const Json& instance, const std::string& type) {
  if (type == "object") return instance.is_object();
  if (type == "array") return instance.is_array();
  if (type == "string") return instance.is_string();
  if (type == "integer") return instance.is_number_integer();
  if (type == "number") return instance.is_number();
  if (type == "boolean") return instance.is_boolean();
  return instance.is_null();
}

std::vector<std::string> TypesOf(const Json& schema) {
  if (!schema.contains("type")) return {};
  const Json& type = schema["type"];
  if (type.is_array()) return type.get<std::vector<std::string>>();
  return {type.get<std::string>()};
}

bool TypeFits(const Json& schema, const Json& instance) {
  const std::vector<std::string> types = TypesOf(schema);
  return types.empty() || std::any_of(types.begin(), types.end(),
                                      [&](const auto& type) { return HasType(instance, type); });
}

bool HasAll(const Json& required, const Json& instance) {
  return std::all_of(required.begin(), required.end(), [&](const Json& key) {
    return instance.is_object() && instance.contains(key.get<std::string>());
  });
}

bool ConditionHolds(const Json& condition, const Json& instance) {
  if (!TypeFits(condition, instance)) return false;
  if (condition.contains("required") && !HasAll(condition["required"], instance)) return false;
  if (condition.contains("properties") && instance.is_object()) {
    for (const auto& [key, property] : condition["properties"].items()) {
      if (instance.contains(key) && instance[key] != property.value("const", Json())) return false;
    }
  }
  return true;
}

void Expand(const Json& root, const Json& schema, const Json& instance,
            std::vector<const Json*>& out) {
  if (schema.contains("$ref")) {
    const auto target = schema["$ref"].get<std::string>();  // "#/definitions/…"
    Expand(root, root.at(Json::json_pointer(target.substr(1))), instance, out);
    return;
  }
  out.push_back(&schema);
  if (schema.contains("allOf")) {
    for (const Json& part : schema["allOf"]) Expand(root, part, instance, out);
  }
  if (schema.contains("if")) {
    const char* way = ConditionHolds(schema["if"], instance) ? "then" : "else";
    if (schema.contains(way)) Expand(root, schema[way], instance, out);
  }
  if (schema.contains("anyOf")) {
    for (const Json& branch : schema["anyOf"]) {
      if (!TypeFits(branch, instance)) continue;
      if (instance.is_object() && branch.contains("required") &&
          !HasAll(branch["required"], instance)) {
        continue;
      }
      Expand(root, branch, instance, out);
      break;
    }
  }
}

// "a list", as people say it.
std::string TypeWord(const std::string& type) {
  if (type == "object") return "an object {…}";
  if (type == "array") return "a list […]";
  if (type == "string") return "a string";
  if (type == "integer") return "a whole number";
  if (type == "number") return "a number";
  if (type == "boolean") return "true or false";
  return "null";
}

std::string KindOf(const Json& instance) {
  for (const char* type : {"object", "array", "string", "integer", "number", "boolean"}) {
    if (HasType(instance, type)) return TypeWord(type);
  }
  return "null";
}

std::string Shown(const Json& value) {
  if (value.is_string()) return "'" + value.get<std::string>() + "'";
  std::string text = value.dump();
  if (text.size() > 60) text = text.substr(0, 57) + "…";
  return text;
}

std::string ListOf(const Json& values) {
  std::vector<std::string> texts;
  for (const Json& value : values) {
    texts.push_back(value.is_string() ? value.get<std::string>() : value.dump());
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string LastPart(const std::string& pointer) {
  return pointer.substr(pointer.find_last_of('/') + 1);
}

// How many single-letter changes, swaps of neighbours included, lie between two words.
std::size_t Distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

std::string Suggestion(const std::string& text, const std::vector<std::string>& names) {
  const std::string near = DidYouMean(text, names);
  return near.empty() ? "" : " did you mean '" + near + "'?";
}

class Finder {
 public:
  explicit Finder(const Json& root) : root_(root) {}

  std::optional<Problem> Find(const Json& schema, const Json& instance,
                              const std::string& pointer) const {
    const std::vector<const Json*> schemas = Applicable(root_, schema, instance);
    for (const Json* one : schemas) {
      if (auto what = Type(*one, instance)) return Problem{pointer, *what};
      if (auto what = Value(*one, instance, pointer)) return Problem{pointer, *what};
    }
    if (instance.is_object()) {
      for (const Json* one : schemas) {
        if (auto problem = Keys(*one, schemas, instance, pointer)) return problem;
      }
      for (const auto& [key, value] : instance.items()) {
        // Every schema that speaks of this member may object to it.
        for (const Json* one : schemas) {
          const Json* member = MemberSchema({one}, key);
          if (member == nullptr) continue;
          if (auto problem = Find(*member, value, PointerTo(pointer, key))) return problem;
        }
      }
    }
    if (instance.is_array()) {
      for (const Json* one : schemas) {
        if (!one->contains("items")) continue;
        for (std::size_t i = 0; i < instance.size(); ++i) {
          auto problem = Find((*one)["items"], instance[i], PointerTo(pointer, std::to_string(i)));
          if (problem) return problem;
        }
      }
    }
    return std::nullopt;
  }

 private:
  static std::optional<std::string> Type(const Json& schema, const Json& instance) {
    if (TypeFits(schema, instance)) return std::nullopt;
    std::vector<std::string> words;
    for (const std::string& type : TypesOf(schema)) words.push_back(TypeWord(type));
    if (schema.contains("enum")) words = {ListOf(schema["enum"])};
    return fmt::format("wrong type: this is {}; allowed: {}", KindOf(instance),
                       fmt::join(words, ", "));
  }

  std::optional<std::string> Value(const Json& schema, const Json& instance,
                                   const std::string& pointer) const {
    if (schema.contains("enum")) {
      const Json& values = schema["enum"];
      if (std::find(values.begin(), values.end(), instance) == values.end()) {
        std::string hint;
        if (instance.is_string()) {
          hint = Suggestion(instance.get<std::string>(), values.get<std::vector<std::string>>());
        }
        const std::string last = LastPart(pointer);
        const bool numbered = last.find_first_not_of("0123456789") == std::string::npos;
        return fmt::format("unknown {} {};{} allowed: {}", numbered ? "value" : last,
                           Shown(instance), hint, ListOf(values));
      }
    }
    if (schema.contains("const") && schema["const"] != instance) {
      return fmt::format("this is {}; allowed: {}", Shown(instance), Shown(schema["const"]));
    }
    if (instance.is_number()) {
      const double value = instance.get<double>();
      if (schema.contains("minimum") && value < schema["minimum"].get<double>()) {
        return fmt::format("{} is too small; allowed: {} or more", instance.dump(),
                           schema["minimum"].dump());
      }
      if (schema.contains("exclusiveMinimum") &&
          value <= schema["exclusiveMinimum"].get<double>()) {
        return fmt::format("{} is too small; allowed: more than {}", instance.dump(),
                           schema["exclusiveMinimum"].dump());
      }
      if (schema.contains("maximum") && value > schema["maximum"].get<double>()) {
        return fmt::format("{} is too large; allowed: {} or less", instance.dump(),
                           schema["maximum"].dump());
      }
    }
    if (instance.is_string()) {
      const auto& text = instance.get_ref<const std::string&>();
      if (schema.contains("minLength") && text.empty()) {
        return "an empty string; allowed: at least one character";
      }
      if (schema.contains("pattern")) {
        const auto pattern = schema["pattern"].get<std::string>();
        if (!std::regex_search(text, std::regex(pattern))) {
          return fmt::format("'{}' has the wrong form; allowed: {}", text, pattern);
        }
      }
    }
    if (instance.is_array()) {
      if (schema.contains("minItems") && instance.size() < schema["minItems"].get<std::size_t>()) {
        return fmt::format("too few items ({}); allowed: at least {}", instance.size(),
                           schema["minItems"].dump());
      }
      if (schema.contains("maxItems") && instance.size() > schema["maxItems"].get<std::size_t>()) {
        return fmt::format("too many items ({}); allowed: at most {}", instance.size(),
                           schema["maxItems"].dump());
      }
    }
    if (schema.contains("anyOf")) {
      const Json& branches = schema["anyOf"];
      const auto fits = [&](const Json& branch) {
        return TypeFits(branch, instance) &&
               (!instance.is_object() || HasAll(branch.value("required", Json::array()), instance));
      };
      if (std::none_of(branches.begin(), branches.end(), fits)) {
        std::vector<std::string> forms;
        for (const Json& branch : branches) forms.push_back(FormOf(branch));
        return fmt::format("this is {}; allowed: {}", KindOf(instance), fmt::join(forms, ", or "));
      }
    }
    return std::nullopt;
  }

  static std::string FormOf(const Json& branch) {
    std::string form = branch.value("title", "");
    if (branch.contains("required")) {
      std::vector<std::string> keys;
      for (const Json& key : branch["required"])
        keys.push_back("\"" + key.get<std::string>() + "\"");
      form += fmt::format(" {{{}: …}}", fmt::join(keys, ": …, "));
    }
    return form;
  }

  std::optional<Problem> Keys(const Json& schema, const std::vector<const Json*>& all,
                              const Json& instance, const std::string& pointer) const {
    if (schema.contains("additionalProperties") && schema["additionalProperties"] == false) {
      std::vector<std::string> names;
      for (const auto& [key, ignored] : schema["properties"].items()) names.push_back(key);
      for (const auto& [key, ignored] : instance.items()) {
        if (schema["properties"].contains(key)) continue;
        const std::string allowed =
            names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
        return Problem{PointerTo(pointer, key), fmt::format("unknown key '{}';{} allowed: {}", key,
                                                            Suggestion(key, names), allowed)};
      }
    }
    if (schema.contains("propertyNames")) {
      const auto pattern = schema["propertyNames"]["pattern"].get<std::string>();
      for (const auto& [key, ignored] : instance.items()) {
        if (std::regex_search(key, std::regex(pattern))) continue;
        return Problem{PointerTo(pointer, key),
                       fmt::format("'{}' cannot be a name; allowed: {}", key, pattern)};
      }
    }
    if (schema.contains("required")) {
      for (const Json& key : schema["required"]) {
        const auto name = key.get<std::string>();
        if (instance.contains(name)) continue;
        std::string allowed;
        if (const Json* member = MemberSchema(all, name)) allowed = Describe(*member);
        return Problem{pointer, fmt::format("the key '{}' is missing{}", name, allowed)};
      }
    }
    if (schema.contains("minProperties") &&
        instance.size() < schema["minProperties"].get<std::size_t>()) {
      return Problem{pointer, "empty; allowed: at least one key"};
    }
    if (schema.contains("maxProperties") &&
        instance.size() > schema["maxProperties"].get<std::size_t>()) {
      std::vector<std::string> names;
      for (const auto& [key, ignored] : schema["properties"].items()) names.push_back(key);
      return Problem{pointer,
                     fmt::format("too many keys; allowed: one of {}", fmt::join(names, ", "))};
    }
    if (schema.contains("oneOf")) {
      std::vector<std::string> forms;
      std::size_t holding = 0;
      for (const Json& branch : schema["oneOf"]) {
        if (HasAll(branch["required"], instance)) ++holding;
        std::vector<std::string> keys = branch["required"].get<std::vector<std::string>>();
        forms.push_back(fmt::format("{}", fmt::join(keys, " with ")));
      }
      if (holding != 1) {
        return Problem{
            pointer, fmt::format("{} of these keys; allowed: exactly one of {}",
                                 holding == 0 ? "none" : "more than one", fmt::join(forms, ", "))};
      }
    }
    return std::nullopt;
  }

  std::string Describe(const Json& member) const {
    const Json* schema = &member;
    if (schema->contains("$ref")) {
      schema = &root_.at(Json::json_pointer((*schema)["$ref"].get<std::string>().substr(1)));
    }
    if (schema->contains("enum")) return "; allowed: " + ListOf((*schema)["enum"]);
    if (schema->contains("description")) {
      return " (" + (*schema)["description"].get<std::string>() + ")";
    }
    return "";
  }

  const Json& root_;
};

Json Fill(const Json& root, const Json& schema, const Json& instance, Nulls nulls) {
  const std::vector<const Json*> schemas = Applicable(root, schema, instance);
  if (instance.is_array()) {
    Json out = Json::array();
    const Json* items = nullptr;
    for (const Json* one : schemas) {
      if (one->contains("items")) items = &(*one)["items"];
    }
    for (const Json& item : instance) {
      out.push_back(items == nullptr ? item : Fill(root, *items, item, nulls));
    }
    return out;
  }
  if (!instance.is_object()) return instance;
  Json out = Json::object();
  for (const Json* one : schemas) {
    if (!one->contains("properties")) continue;
    for (const auto& [key, member] : (*one)["properties"].items()) {
      const std::vector<const Json*> of_member =
          Applicable(root, member, instance.contains(key) ? instance[key] : Json());
      const Json* standard = nullptr;
      for (const Json* candidate : of_member) {
        if (candidate->contains("default")) standard = &(*candidate)["default"];
      }
      if (out.contains(key)) {  // a condition's branch says more about it than its head
        out[key] = Fill(root, member, out[key], nulls);
        continue;
      }
      if (!instance.contains(key) && standard == nullptr) continue;
      const Json& value = instance.contains(key) ? instance[key] : *standard;
      const bool null_by_default = standard != nullptr && standard->is_null();
      if (value.is_null() && null_by_default && nulls == Nulls::kDrop) continue;
      out[key] = Fill(root, member, value, nulls);
    }
  }
  for (const auto& [key, value] : instance.items()) {
    if (out.contains(key)) continue;
    bool dropped = false;
    const Json* additional = nullptr;
    for (const Json* one : schemas) {
      if (one->contains("properties") && (*one)["properties"].contains(key)) dropped = true;
      if (one->contains("additionalProperties") && (*one)["additionalProperties"].is_object()) {
        additional = &(*one)["additionalProperties"];
      }
    }
    if (dropped) continue;
    out[key] = additional == nullptr ? value : Fill(root, *additional, value, nulls);
  }
  return out;
}

}  // namespace

std::vector<const Json*> Applicable(const Json& root, const Json& schema, const Json& instance) {
  std::vector<const Json*> out;
  Expand(root, schema, instance, out);
  return out;
}

const Json* MemberSchema(const std::vector<const Json*>& schemas, const std::string& key) {
  for (const Json* one : schemas) {
    if (one->contains("properties") && (*one)["properties"].contains(key)) {
      return &(*one)["properties"][key];
    }
  }
  for (const Json* one : schemas) {
    if (one->contains("additionalProperties") && (*one)["additionalProperties"].is_object()) {
      return &(*one)["additionalProperties"];
    }
  }
  return nullptr;
}

std::optional<Problem> FindProblem(const Json& root, const Json& instance) {
  return Finder(root).Find(root, instance, "");
}

Json FillDefaults(const Json& root, const Json& instance, Nulls nulls) {
  return Fill(root, root, instance, nulls);
}

std::string PointerTo(const std::string& pointer, const std::string& part) {
  std::string escaped;
  for (const char c : part) {
    if (c == '~') {
      escaped += "~0";
    } else if (c == '/') {
      escaped += "~1";
    } else {
      escaped += c;
    }
  }
  return pointer + "/" + escaped;
}

std::string DidYouMean(const std::string& text, const std::vector<std::string>& names) {
  std::string best;
  std::size_t least = std::max<std::size_t>(1, text.size() / 3) + 1;
  for (const std::string& name : names) {
    const std::size_t distance = Distance(text, name);
    if (distance < least && distance < std::max(text.size(), name.size())) {
      least = distance;
      best = name;
    }
  }
  return best;
}

}  // namespace understudy::harness
