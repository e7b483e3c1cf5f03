#include "harness/run/judge.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/checks/check.h"
#include "harness/checks/facts.h"
#include "harness/checks/faults.h"
#include "harness/checks/measure.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

using reports::Outcome;
using reports::ScenarioReport;

double Rounded(double ms) { return std::max(0.0, std::round(ms * 1000) / 1000); }

Json CountOrNull(const Json& data, std::string_view key) {
  return HasNumber(data, key) && NumberAt(data, key) >= 0
             ? Json(static_cast<std::int64_t>(NumberAt(data, key)))
             : Json(nullptr);
}

Json TextOrNull(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

// Rows are counted by the first snapshot when nobody counted them before.
Json Databases(const Evidence& evidence) {
  Json list = Json::array();
  for (const Event* event : evidence.OfKind("database")) {
    const std::string name = TextAt(event->data, "name");
    Json rows = CountOrNull(event->data, "rows");
    for (const Event* snapshot : EventsWith(evidence, "snapshot", "database", name)) {
      if (rows.is_null()) rows = CountOrNull(snapshot->data, "rows");
    }
    list.push_back({{"name", name},
                    {"engine", TextAt(event->data, "engine")},
                    {"version", TextOrNull(TextAt(event->data, "version"))},
                    {"provision", TextOrNull(TextAt(event->data, "provision"))},
                    {"rows", rows},
                    {"bytes", CountOrNull(event->data, "bytes")}});
  }
  return list;
}

Json Steps(const Evidence& evidence) {
  Json list = Json::array();
  for (const StepRun& step : StepsOf(evidence)) {
    std::string detail = step.detail;
    for (const std::string& failure : step.failures) {
      detail += (detail.empty() ? "" : "; ") + failure;
    }
    if (!step.ended) detail = "the run ended in the middle of it";
    list.push_back({{"name", step.name},
                    {"started_ms", Rounded(step.span.begin_ms)},
                    {"duration_ms", Rounded(step.span.length_ms())},
                    {"outcome", step.ended ? step.outcome : "killed"},
                    {"detail", detail}});
  }
  return list;
}

Json Phases(const Evidence& evidence) {
  Json list = Json::array();
  for (const PhaseRun& run : PhasesOf(evidence)) {
    list.push_back({{"migration", run.migration},
                    {"phase", run.phase},
                    {"started_ms", Rounded(run.span.begin_ms)},
                    {"duration_ms", Rounded(run.span.length_ms())}});
  }
  return list;
}

Json Faults(const Evidence& evidence) {
  Json list = Json::array();
  for (const FaultRun& fault : FaultsOf(evidence)) {
    list.push_back({{"kind", fault.kind}, {"at", TextOrNull(fault.at)}, {"struck", fault.struck}});
  }
  return list;
}

Json Artifacts(const fs::path& folder) {
  Json list = Json::object();
  std::error_code ignored;
  for (const char* file : {"evidence.jsonl", "ledger.sqlite", "snapshots.sqlite", "log.txt",
                           "engine.log", "scenario.json"}) {
    if (!fs::exists(folder / file, ignored)) continue;
    list[fs::path(file).stem().string()] = (folder.filename() / file).string();
  }
  return list;
}

void Fill(const Evidence& evidence, ScenarioReport& report) {
  const auto begun = evidence.OfKind("scenario");
  const Json facts = begun.empty() ? Json::object() : begun.front()->data;
  const Json& scenario = evidence.scenario();
  if (const std::string name = TextAt(facts, "name"); !name.empty()) report.name = name;
  report.file = TextAt(facts, "file");
  report.file_sha256 = TextAt(facts, "file_sha256");
  report.command = TextAt(facts, "command");
  report.seed = facts.value("seed", scenario.value("seed", std::uint64_t{1}));
  report.tags = Strings(scenario, "tags");
  report.expected = scenario.value("expect", Json());
  const auto ends = evidence.OfKind("end");
  const double duration =
      ends.empty() ? EndOf(evidence) : NumberAt(ends.back()->data, "duration_ms", EndOf(evidence));
  report.duration_ms = std::llround(std::max(0.0, duration));
  report.databases = Databases(evidence);
  report.steps = Steps(evidence);
  report.phases = Phases(evidence);
  report.faults = Faults(evidence);

  const Judgement judgement = JudgeAll(evidence);
  const Final final_verdict = Expect(report.expected, judgement);
  report.checks = judgement.verdicts;
  report.not_checked = judgement.not_checked;
  report.observed = judgement.observed;
  report.verdict = final_verdict.verdict;
  report.summary = final_verdict.summary;
  report.measurements = Measure(evidence);
}

// When a scenario began, for the order of a run; "" when it is not told.
std::string StartedAt(const fs::path& folder) {
  try {
    const Evidence evidence = Evidence::Read(folder);
    const auto begun = evidence.OfKind("scenario");
    return begun.empty() ? "" : TextAt(begun.front()->data, "started_at");
  } catch (const std::exception&) {  // JudgeScenario tells
    return "";
  }
}

// Whether `folder` is NAME.1, NAME.2, … of the scenario NAME.
bool IsRepetition(const std::string& folder, const std::string& name) {
  if (folder.size() <= name.size() + 1 || !folder.starts_with(name + ".")) return false;
  return std::all_of(folder.begin() + static_cast<std::ptrdiff_t>(name.size()) + 1, folder.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

std::vector<fs::path> ScenarioFolders(const fs::path& folder) {
  std::error_code ignored;
  if (fs::exists(folder / "evidence.jsonl", ignored)) return {folder};
  std::vector<std::pair<std::string, fs::path>> found;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (!fs::exists(entry.path() / "evidence.jsonl", ignored)) continue;
    found.emplace_back(StartedAt(entry.path()), entry.path());
  }
  std::sort(found.begin(), found.end());
  std::vector<fs::path> folders;
  for (auto& [started, path] : found) folders.push_back(std::move(path));
  return folders;
}

}  // namespace

ScenarioReport JudgeScenario(const fs::path& given) {
  const fs::path folder = given.filename().empty() ? given.parent_path() : given;
  ScenarioReport report;
  report.name = folder.filename().string();
  report.artifacts = Artifacts(folder);
  try {
    Fill(Evidence::Read(folder), report);
  } catch (const std::exception& error) {
    report.verdict = Outcome::kUnknown;
    report.observed = Outcome::kUnknown;
    report.summary = std::string("its evidence cannot be judged: ") + error.what();
  }
  return report;
}

ScenarioReport MergeRepetitions(std::vector<ScenarioReport> runs) {
  std::map<Outcome, int> counts;
  std::size_t worst = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    ++counts[runs[i].verdict];
    const bool worse = runs[i].verdict != runs[worst].verdict &&
                       Worse(runs[i].verdict, runs[worst].verdict) == runs[i].verdict;
    if (worse) worst = i;
  }
  const std::size_t size = runs.size();
  ScenarioReport merged = std::move(runs[worst]);
  if (size == 1) return merged;
  merged.repetitions = {{"runs", size},
                        {"pass", counts[Outcome::kPass]},
                        {"fail", counts[Outcome::kFail]},
                        {"unknown", counts[Outcome::kUnknown]}};
  return merged;
}

reports::Report JudgeRun(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw Error(ErrorKind::kInvalidSpec, "no such run: " + folder.string());
  }
  const auto folders = ScenarioFolders(folder);
  const bool has_facts = fs::exists(folder / "run.json", ignored);
  if (folders.empty() && !has_facts) {
    throw Error(ErrorKind::kInvalidSpec,
                folder.string() +
                    " is no run: neither run.json nor a scenario's evidence is in it; "
                    "give a folder that `understudy run` wrote");
  }
  const Json facts = has_facts ? ParseJsonFile(folder / "run.json") : Json::object();
  reports::Report report;
  std::map<std::string, std::vector<ScenarioReport>> repeated;
  std::vector<std::pair<std::string, bool>> order;  // scenario's name, repeated
  std::vector<ScenarioReport> single;
  double longest = 0;
  for (const fs::path& path : folders) {
    ScenarioReport one = JudgeScenario(path);
    longest += static_cast<double>(one.duration_ms);
    if (!IsRepetition(path.filename().string(), one.name)) {
      order.emplace_back(one.name, false);
      single.push_back(std::move(one));
      continue;
    }
    auto& runs = repeated[one.name];
    if (runs.empty()) order.emplace_back(one.name, true);
    runs.push_back(std::move(one));
  }
  std::size_t next_single = 0;
  for (const auto& [name, is_repeated] : order) {
    report.scenarios.push_back(is_repeated ? MergeRepetitions(std::move(repeated[name]))
                                           : std::move(single[next_single++]));
  }
  // A killed run has no run.json to the end: what is missing comes from the first scenario.
  Json first = Json::object();
  if (!folders.empty()) {
    try {
      const Evidence evidence = Evidence::Read(folders.front());
      const auto begun = evidence.OfKind("scenario");
      if (!begun.empty()) first = begun.front()->data;
    } catch (const std::exception&) {  // its entry says so
    }
  }
  const auto fact = [&](const char* key, const Json& otherwise) {
    if (facts.contains(key) && !facts[key].is_null()) return facts[key];
    const Json found = first.value(key, Json());
    return found.is_null() || found.empty() ? otherwise : found;
  };
  report.tool = fact("tool", {{"name", "understudy"}, {"version", ""}, {"commit", nullptr}});
  report.host = fact("host", {{"os", ""}, {"cpus", 0}, {"memory_bytes", 0}});
  report.started_at = fact("started_at", "1970-01-01T00:00:00.000Z").get<std::string>();
  report.duration_ms = std::llround(NumberAt(facts, "duration_ms", longest));
  report.selftest = facts.value("selftest", Json());
  return report;
}

}  // namespace understudy::harness
