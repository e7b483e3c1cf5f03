#include "harness/checks/facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/db/identifier.h"

namespace understudy::harness {
namespace {

// A pattern without a schema means a table of either engine's default one.
constexpr std::string_view kDefaultSchemas[] = {"", "public.", "main."};

void CollectSteps(const Json& steps, std::vector<std::pair<std::string, Json>>& found) {
  if (!steps.is_array()) return;
  for (const Json& step : steps) {
    for (const auto& [verb, options] : step.items()) {
      if (verb == "name" || verb == "outcome") continue;
      found.emplace_back(verb, options);
      if (verb == "background") CollectSteps(options, found);
    }
  }
}

}  // namespace

double Span::Overlap(const Span& other) const {
  return std::max(0.0, std::min(end_ms, other.end_ms) - std::max(begin_ms, other.begin_ms));
}

std::string TextAt(const Json& json, std::string_view key) {
  const auto at = json.find(std::string(key));
  if (at == json.end() || at->is_null()) return "";
  return at->is_string() ? at->get<std::string>() : ToLine(*at);
}

double NumberAt(const Json& json, std::string_view key, double otherwise) {
  const auto at = json.find(std::string(key));
  return at != json.end() && at->is_number() ? at->get<double>() : otherwise;
}

bool HasNumber(const Json& json, std::string_view key) {
  const auto at = json.find(std::string(key));
  return at != json.end() && at->is_number();
}

std::string Ms(double ms) { return fmt::format("{:.0f} ms", ms); }

double EndOf(const Evidence& evidence) {
  double end = 0;
  for (const Event& event : evidence.events()) end = std::max(end, event.t_ms);
  return end;
}

std::vector<PhaseRun> PhasesOf(const Evidence& evidence) {
  std::vector<PhaseRun> phases;
  const auto close = [&](PhaseRun& run, double at, bool ended) {
    run.span.end_ms = at;
    run.ended = ended;
  };
  std::set<std::size_t> open;
  for (const Event& event : evidence.events()) {
    if (event.kind == "phase") {
      const std::string migration = TextAt(event.data, "migration");
      const std::string phase = TextAt(event.data, "phase");
      if (TextAt(event.data, "status") == "begin") {
        // One migration is in one phase at a time: a second begin means that the first died.
        for (auto it = open.begin(); it != open.end();) {
          if (phases[*it].migration != migration) {
            ++it;
            continue;
          }
          close(phases[*it], event.t_ms, false);
          it = open.erase(it);
        }
        phases.push_back({migration, phase, {event.t_ms, event.t_ms}, false, ""});
        open.insert(phases.size() - 1);
      } else {
        for (const std::size_t i : open) {
          if (phases[i].migration != migration || phases[i].phase != phase) continue;
          close(phases[i], event.t_ms, true);
          phases[i].outcome = TextAt(event.data, "outcome");
          open.erase(i);
          break;
        }
      }
    } else if (event.kind == "engine" && TextAt(event.data, "status") != "started") {
      for (const std::size_t i : open) close(phases[i], event.t_ms, false);
      open.clear();
    }
  }
  for (const std::size_t i : open) close(phases[i], EndOf(evidence), false);
  return phases;
}

std::string PhaseAt(const std::vector<PhaseRun>& phases, const Span& span) {
  std::string best = "idle";
  double longest = 0;
  for (const PhaseRun& run : phases) {
    double overlap = run.span.Overlap(span);
    const bool inside = run.span.begin_ms <= span.begin_ms && span.end_ms <= run.span.end_ms;
    if (inside) overlap = std::max(overlap, 1e-6);  // an operation shorter than the clock's tick
    if (overlap > longest) {
      longest = overlap;
      best = run.phase;
    }
  }
  return best;
}

std::vector<StepRun> StepsOf(const Evidence& evidence) {
  std::vector<StepRun> steps;
  std::map<std::string, std::size_t> open;
  for (const Event* event : evidence.OfKind("step")) {
    const Json& data = event->data;
    const std::string id =
        TextAt(data, "line") + "/" + TextAt(data, "index") + "/" + TextAt(data, "name");
    if (TextAt(data, "status") == "begin") {
      steps.push_back({TextAt(data, "name"), TextAt(data, "verb"), {event->t_ms, event->t_ms}});
      open[id] = steps.size() - 1;
      continue;
    }
    auto at = open.find(id);
    if (at == open.end()) {  // a step that was skipped has no begin
      steps.push_back({TextAt(data, "name"), TextAt(data, "verb"), {event->t_ms, event->t_ms}});
      at = open.emplace(id, steps.size() - 1).first;
    }
    StepRun& step = steps[at->second];
    open.erase(at);
    step.span.end_ms = event->t_ms;
    step.ended = true;
    step.outcome = TextAt(data, "outcome");
    step.expected = TextAt(data, "expected");
    step.detail = TextAt(data, "detail");
    step.failures = Strings(data, "failures");
  }
  for (const auto& [id, i] : open) steps[i].span.end_ms = EndOf(evidence);
  return steps;
}

std::optional<Span> LastRollback(const Evidence& evidence) {
  double migrated = -1;
  double rolled_back = -1;
  for (const StepRun& step : StepsOf(evidence)) {
    if (step.verb == "migrate" && migrated < 0) migrated = step.span.begin_ms;
    if (step.verb == "rollback" && step.ended && step.outcome == "done") {
      rolled_back = step.span.end_ms;
    }
  }
  if (migrated < 0 || rolled_back < 0) return std::nullopt;
  // Steps do not say whose they are; phases do.
  std::string whose;
  double begun = -1;
  const std::vector<PhaseRun> phases = PhasesOf(evidence);
  for (const PhaseRun& run : phases) {
    if (run.phase == "rollback") whose = run.migration;
  }
  for (const PhaseRun& run : phases) {
    if (!whose.empty() && run.migration == whose && begun < 0) begun = run.span.begin_ms;
  }
  return Span{begun >= 0 && begun < rolled_back ? std::max(begun, migrated) : migrated,
              rolled_back};
}

Json OptionsOf(const Evidence& evidence, std::string_view id) {
  const Json checks = evidence.scenario().value("checks", Json::object());
  if (!checks.is_object()) return Json::object();
  const Json options = checks.value(std::string(id), Json::object());
  return options.is_object() ? options : Json::object();
}

std::vector<std::string> Strings(const Json& options, std::string_view key) {
  std::vector<std::string> strings;
  const auto list = options.find(std::string(key));
  if (list == options.end() || !list->is_array()) return strings;
  for (const Json& item : *list) {
    strings.push_back(item.is_string() ? item.get<std::string>() : ToLine(item));
  }
  return strings;
}

std::vector<std::pair<std::string, Json>> PlannedSteps(const Evidence& evidence) {
  std::vector<std::pair<std::string, Json>> found;
  CollectSteps(evidence.scenario().value("steps", Json::array()), found);
  return found;
}

bool PlansStep(const Evidence& evidence, std::string_view verb) {
  const auto steps = PlannedSteps(evidence);
  return std::any_of(steps.begin(), steps.end(), [&](const auto& s) { return s.first == verb; });
}

std::vector<Json> MigrationsOf(const Evidence& evidence) {
  std::vector<Json> migrations;
  const Json& scenario = evidence.scenario();
  if (scenario.contains("migration") && scenario["migration"].is_object()) {
    migrations.push_back(scenario["migration"]);
  }
  if (scenario.contains("migrations") && scenario["migrations"].is_object()) {
    for (const auto& [name, document] : scenario["migrations"].items()) {
      migrations.push_back(document);
    }
  }
  return migrations;
}

bool HasLedgeredWriters(const Evidence& evidence) {
  for (const Json& workload : evidence.scenario().value("workload", Json::array())) {
    if (TextAt(workload, "kind") == "writers") return true;
  }
  return PlansStep(evidence, "mutate");
}

bool HasClients(const Evidence& evidence) {
  return !evidence.scenario().value("workload", Json::array()).empty() ||
         PlansStep(evidence, "mutate");
}

std::vector<std::string> DatabaseNames(const Evidence& evidence) {
  std::vector<std::string> names;
  const Json databases = evidence.scenario().value("databases", Json::object());
  for (const auto& [name, spec] : databases.items()) names.push_back(name);
  if (!names.empty()) return names;
  for (const Event* event : evidence.OfKind("database")) {
    names.push_back(TextAt(event->data, "name"));
  }
  return names;
}

bool HasEngine(const Evidence& evidence, std::string_view engine) {
  const Json databases = evidence.scenario().value("databases", Json::object());
  for (const auto& [name, spec] : databases.items()) {
    if (TextAt(spec, "engine") == engine) return true;
  }
  for (const Event* event : evidence.OfKind("database")) {
    if (TextAt(event->data, "engine") == engine) return true;
  }
  return false;
}

std::vector<std::string> UnledgeredTables(const Evidence& evidence) {
  std::vector<std::string> tables;
  for (const Json& workload : evidence.scenario().value("workload", Json::array())) {
    for (std::string& table : Strings(workload, "writes")) tables.push_back(std::move(table));
  }
  return tables;
}

std::optional<BeforeAfter> SnapshotsToCompare(const Evidence& evidence) {
  std::vector<std::string> names;
  for (const Event* event : evidence.OfKind("snapshot")) {
    const std::string name = TextAt(event->data, "name");
    if (name.empty() || name[0] == '$') continue;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (names.size() < 2) return std::nullopt;
  const auto has = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return BeforeAfter{has("before") ? "before" : names.front(),
                     has("after") ? "after" : names.back()};
}

std::vector<const Event*> EventsWith(const Evidence& evidence, std::string_view kind,
                                     std::string_view key, std::string_view value) {
  std::vector<const Event*> found;
  for (const Event* event : evidence.OfKind(kind)) {
    if (TextAt(event->data, key) == value) found.push_back(event);
  }
  return found;
}

bool NamesTable(std::string_view pattern, std::string_view table) {
  return std::any_of(std::begin(kDefaultSchemas), std::end(kDefaultSchemas), [&](auto schema) {
    return db::MatchesGlob(table, std::string(schema) + std::string(pattern));
  });
}

bool NamesColumn(std::string_view pattern, std::string_view table, std::string_view column) {
  return NamesTable(pattern, table) ||
         NamesTable(pattern, std::string(table) + "." + db::DisplayIdentifier(column)) ||
         NamesTable(pattern, std::string(table) + "." + std::string(column));
}

bool AnyNamesTable(const std::vector<std::string>& patterns, std::string_view table) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return NamesTable(pattern, table); });
}

bool AnyNamesColumn(const std::vector<std::string>& patterns, std::string_view table,
                    std::string_view column) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return NamesColumn(pattern, table, column);
  });
}

bool IsOwnTable(std::string_view table) {
  return table.starts_with("understudy") || table.starts_with("main.understudy") ||
         table.starts_with("public.understudy");
}

}  // namespace understudy::harness
