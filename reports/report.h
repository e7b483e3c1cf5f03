#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "reports/verdict.h"

namespace understudy::reports {

// One scenario in a report. Lists whose form report.schema.json fixes are kept as JSON.
struct ScenarioReport {
  std::string name, file, file_sha256, command, summary;
  std::uint64_t seed = 1;
  std::vector<std::string> tags;
  Outcome verdict = Outcome::kUnknown;   // after `expect`
  Outcome observed = Outcome::kUnknown;  // what the checks said
  Json expected = nullptr;
  Json repetitions = nullptr;  // {runs, pass, fail, unknown}
  std::int64_t duration_ms = 0;
  Json databases = Json::array();
  Json steps = Json::array();
  Json phases = Json::array();
  std::vector<Verdict> checks;
  Json measurements = Json::object();
  Json not_checked = Json::array();
  Json faults = Json::array();
  Json artifacts = Json::object();  // {name: path relative to report.json}
};

struct Report {
  Json tool;  // {name, version, commit}
  std::string started_at;
  std::int64_t duration_ms = 0;
  Json host;  // {os, cpus, memory_bytes}
  Json selftest = nullptr;
  std::vector<ScenarioReport> scenarios;

  Outcome verdict() const;  // of all scenarios; kUnknown when there are none
  Json counts() const;      // {scenarios, pass, fail, unknown, checks}
  Json ToJson() const;      // report.json, as report.schema.json has it
  // Error(kInvalidSpec) with the pointer when `json` is not as report.schema.json has it.
  static Report FromJson(const Json& json);
};

// Error(kInvalidSpec) with the pointer when `json` breaks report.schema.json.
void ValidateReport(const Json& json);

// Writes one form of a report. No clock, no environment: the same report gives the same bytes.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual void Write(const Report& report, std::ostream& out) const = 0;
};
std::unique_ptr<Writer> JsonWriter();  // validates against the schema first
std::unique_ptr<Writer> JunitWriter();
std::unique_ptr<Writer> MarkdownWriter();
std::unique_ptr<Writer> TerminalWriter(bool colour);

// Values are redacted in place: {"type", "text"} → {"type", "redacted": bytes}. Keys stay.
void RedactValues(Report& report);

// Writes report.json, report.md and junit.xml into `folder`, each whole or not at all.
void WriteReportFiles(const Report& report, const std::filesystem::path& folder);

}  // namespace understudy::reports
