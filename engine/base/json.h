#pragma once

#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace understudy {

// Objects keep the order of their keys, so that what is written reads as it was meant.
using Json = nlohmann::ordered_json;

// Parses JSON with // and /* */ comments; trailing commas and duplicate keys are errors.
// Error(kInvalidSpec) names `where` (a file), line and column, or the JSON pointer of the
// duplicate key.
Json ParseJson(std::string_view text, std::string_view where);
Json ParseJsonFile(const std::filesystem::path& path);

// One line, for JSON Lines; invalid UTF-8 is replaced, never thrown on.
std::string ToLine(const Json& json);
// Indented by two, with a final newline.
std::string ToText(const Json& json);

// "what" at `pointer` of `where` is wrong: Error(kInvalidSpec)
// "orders.json: /workload/0/kind: unknown kind 'writer'; allowed: writers, readers".
[[noreturn]] void FailAt(std::string_view where, std::string_view pointer, std::string_view what);

}  // namespace understudy
