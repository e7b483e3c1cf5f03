#include "harness/evidence/log_line.h"

#include <algorithm>
#include <map>

namespace understudy::harness {
namespace {

constexpr std::size_t kLongestValue = 400;

// Per kind the keys that a person wants, in the order of reading.
const std::map<std::string_view, std::vector<const char*>>& Shown() {
  static const std::map<std::string_view, std::vector<const char*>> kShown = {
      {"scenario", {"name", "file", "seed", "command"}},
      {"database", {"name", "engine", "version", "provision", "rows", "bytes"}},
      {"step", {"name", "status", "outcome", "detail", "failures"}},
      {"phase", {"migration", "phase", "status", "outcome", "message"}},
      {"statement", {"file", "line", "sql", "transaction", "ms", "locks", "rewritten", "error"}},
      {"held", {"object", "mode", "ms", "statement"}},
      {"output", {"migration", "stream", "text"}},
      {"engine", {"status", "pid", "exit_status"}},
      {"workload", {"kind", "on", "status", "clients", "operations", "error"}},
      {"fault", {"kind", "at", "status", "struck", "detail"}},
      {"snapshot", {"name", "database", "rows", "ms"}},
      {"comparison", {"use", "left", "right"}},
      {"probe", {"check", "database", "object", "result", "detail"}},
      {"not_checked", {"what", "why"}},
      {"log", {"level", "text"}},
      {"end", {"status", "reason", "duration_ms"}}};
  return kShown;
}

std::string OneLine(const Json& value) {
  std::string text = value.is_string() ? value.get<std::string>() : ToLine(value);
  std::ranges::replace_if(
      text, [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  if (text.size() > kLongestValue) {
    std::size_t end = kLongestValue;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
    text.resize(end);
    text += "…";
  }
  return text;
}

}  // namespace

std::string LogLine(std::string_view kind, const Json& data) {
  const auto shown = Shown().find(kind);
  if (shown == Shown().end()) return "";
  std::string line(kind);
  for (const char* key : shown->second) {
    const auto value = data.find(key);
    if (value == data.end() || value->is_null() || value->empty()) continue;
    const std::string text = OneLine(*value);
    if (!text.empty()) line += "  " + std::string(key) + ": " + text;
  }
  return line;
}

}  // namespace understudy::harness
