#include "engine/base/json.h"

#include <set>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/file.h"

namespace understudy {

void FailAt(std::string_view where, std::string_view pointer, std::string_view what) {
  std::string message;
  if (!where.empty()) message = std::string(where) + ": ";
  message += pointer.empty() ? "(whole file)" : std::string(pointer);
  message += ": " + std::string(what);
  throw Error(ErrorKind::kInvalidSpec, message);
}

Json ParseJson(std::string_view text, std::string_view where) {
  using Event = Json::parse_event_t;
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  const auto watch = [&](int /*depth*/, Event event, Json& parsed) {
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second &&
        duplicate.empty()) {
      duplicate = parsed.get<std::string>();
    }
    return true;
  };
  Json json;
  try {
    json = Json::parse(text, watch, /*allow_exceptions=*/true, /*ignore_comments=*/true);
  } catch (const Json::parse_error& error) {
    std::string what = error.what();  // "[json.exception.parse_error.101] parse error at line …"
    if (const auto end = what.find("] "); end != std::string::npos) what.erase(0, end + 2);
    throw Error(ErrorKind::kInvalidSpec, std::string(where) + ": not valid JSON: " + what);
  }
  if (!duplicate.empty()) {
    throw Error(ErrorKind::kInvalidSpec,
                std::string(where) + ": the key \"" + duplicate + "\" stands twice in one object");
  }
  return json;
}

Json ParseJsonFile(const std::filesystem::path& path) {
  return ParseJson(ReadFile(path), path.string());
}

std::string ToLine(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string ToText(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace understudy
