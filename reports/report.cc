#include "reports/report.h"

namespace understudy::reports {
namespace {

constexpr std::string_view kFormat = "understudy-report/1";

Json ToJson(const Verdict& verdict) {
  return {{"id", verdict.id},
          {"verdict", OutcomeName(verdict.outcome)},
          {"summary", verdict.summary},
          {"details", verdict.details},
          {"examples", verdict.examples},
          {"waived", verdict.waived ? Json(*verdict.waived) : Json(nullptr)}};
}

Verdict VerdictFromJson(const Json& json) {
  Verdict verdict;
  verdict.id = json.at("id");
  verdict.outcome = OutcomeFromName(json.at("verdict").get<std::string>());
  verdict.summary = json.value("summary", "");
  verdict.details = json.value("details", std::vector<std::string>());
  verdict.examples = json.value("examples", Json::array());
  if (json.contains("waived") && json["waived"].is_string()) verdict.waived = json["waived"];
  return verdict;
}

Json ToJson(const ScenarioReport& scenario) {
  Json checks = Json::array();
  for (const Verdict& verdict : scenario.checks) checks.push_back(ToJson(verdict));
  return {{"name", scenario.name},
          {"file", scenario.file},
          {"file_sha256", scenario.file_sha256},
          {"seed", scenario.seed},
          {"tags", scenario.tags},
          {"verdict", OutcomeName(scenario.verdict)},
          {"observed", OutcomeName(scenario.observed)},
          {"expected", scenario.expected},
          {"summary", scenario.summary},
          {"repetitions", scenario.repetitions},
          {"duration_ms", scenario.duration_ms},
          {"command", scenario.command},
          {"databases", scenario.databases},
          {"steps", scenario.steps},
          {"phases", scenario.phases},
          {"checks", checks},
          {"measurements", scenario.measurements},
          {"not_checked", scenario.not_checked},
          {"faults", scenario.faults},
          {"artifacts", scenario.artifacts}};
}

ScenarioReport ScenarioFromJson(const Json& json) {
  ScenarioReport scenario;
  scenario.name = json.at("name");
  scenario.file = json.value("file", "");
  scenario.file_sha256 = json.value("file_sha256", "");
  scenario.command = json.value("command", "");
  scenario.summary = json.value("summary", "");
  scenario.seed = json.value("seed", std::uint64_t{1});
  scenario.tags = json.value("tags", std::vector<std::string>());
  scenario.verdict = OutcomeFromName(json.at("verdict").get<std::string>());
  scenario.observed = OutcomeFromName(json.value("observed", "unknown"));
  scenario.expected = json.value("expected", Json());
  scenario.repetitions = json.value("repetitions", Json());
  scenario.duration_ms = json.value("duration_ms", std::int64_t{0});
  scenario.databases = json.value("databases", Json::array());
  scenario.steps = json.value("steps", Json::array());
  scenario.phases = json.value("phases", Json::array());
  for (const Json& check : json.value("checks", Json::array())) {
    scenario.checks.push_back(VerdictFromJson(check));
  }
  scenario.measurements = json.value("measurements", Json::object());
  scenario.not_checked = json.value("not_checked", Json::array());
  scenario.faults = json.value("faults", Json::array());
  scenario.artifacts = json.value("artifacts", Json::object());
  return scenario;
}

}  // namespace

Outcome Report::verdict() const {
  if (scenarios.empty()) return Outcome::kUnknown;  // nothing checked is never green
  Outcome worst = Outcome::kPass;
  for (const ScenarioReport& scenario : scenarios) worst = Worse(worst, scenario.verdict);
  return worst;
}

Json Report::counts() const {
  std::int64_t pass = 0;
  std::int64_t fail = 0;
  std::int64_t unknown = 0;
  std::int64_t checks = 0;
  for (const ScenarioReport& scenario : scenarios) {
    pass += scenario.verdict == Outcome::kPass;
    fail += scenario.verdict == Outcome::kFail;
    unknown += scenario.verdict == Outcome::kUnknown;
    for (const Verdict& check : scenario.checks) checks += !check.waived;
  }
  return {{"scenarios", scenarios.size()},
          {"pass", pass},
          {"fail", fail},
          {"unknown", unknown},
          {"checks", checks}};
}

Json Report::ToJson() const {
  Json list = Json::array();
  for (const ScenarioReport& scenario : scenarios) list.push_back(reports::ToJson(scenario));
  return {{"format", kFormat},          {"tool", tool},         {"started_at", started_at},
          {"duration_ms", duration_ms}, {"host", host},         {"verdict", OutcomeName(verdict())},
          {"counts", counts()},         {"selftest", selftest}, {"scenarios", list}};
}

Report Report::FromJson(const Json& json) {
  if (!json.is_object() || json.value("format", Json()) != std::string(kFormat)) {
    FailAt("", "/format", "this is no report of the format " + std::string(kFormat));
  }
  ValidateReport(json);
  Report report;
  report.tool = json.at("tool");
  report.started_at = json.at("started_at");
  report.duration_ms = json.at("duration_ms");
  report.host = json.at("host");
  report.selftest = json.value("selftest", Json());
  for (const Json& scenario : json.at("scenarios")) {
    report.scenarios.push_back(ScenarioFromJson(scenario));
  }
  return report;
}

}  // namespace understudy::reports
