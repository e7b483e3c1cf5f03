#include "reports/report.h"

namespace understudy::reports {
namespace {

bool IsTypedValue(const Json& json) {
  return json.is_object() && json.size() == 2 && json.contains("type") && json.contains("text") &&
         json["type"].is_string() && json["text"].is_string();
}

void RedactIn(Json& json) {
  if (IsTypedValue(json)) {
    std::size_t bytes = json["text"].get_ref<const std::string&>().size();
    if (json["type"] == "bytea" || json["type"] == "blob") bytes /= 2;  // its text is hex
    json = {{"type", json["type"]}, {"redacted", bytes}};
    return;
  }
  if (json.is_object()) {
    for (auto& [name, part] : json.items()) {
      if (name != "key") RedactIn(part);
    }
  } else if (json.is_array()) {
    for (Json& part : json) RedactIn(part);
  }
}

// The server quotes values in its messages: "Failing row contains (1, secret)", "invalid input
// syntax for type integer: "secret"".
void RedactMessage(std::string& text) {
  constexpr std::string_view kRow = "Failing row contains (";
  if (const auto at = text.find(kRow); at != std::string::npos) {
    const auto end = text.find('\n', at);
    text.replace(at + kRow.size(),
                 (end == std::string::npos ? text.size() : end) - at - kRow.size(), "redacted).");
  }
  constexpr std::string_view kInput = "invalid input ";
  if (const auto at = text.find(kInput); at != std::string::npos) {
    const auto open = text.find(": \"", at);
    const auto end = text.find('\n', at);
    if (open != std::string::npos && open < end) {
      text.replace(open + 3, (end == std::string::npos ? text.size() : end) - open - 3,
                   "redacted\"");
    }
  }
}

}  // namespace

void RedactValues(Report& report) {
  for (ScenarioReport& scenario : report.scenarios) {
    RedactMessage(scenario.summary);
    for (Verdict& check : scenario.checks) {
      RedactIn(check.examples);
      RedactMessage(check.summary);
      for (std::string& line : check.details) RedactMessage(line);
    }
    for (Json& step : scenario.steps) {
      if (!step.contains("detail") || !step["detail"].is_string()) continue;
      std::string detail = step["detail"];
      RedactMessage(detail);
      step["detail"] = detail;
    }
  }
}

}  // namespace understudy::reports
