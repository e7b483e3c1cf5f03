#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "harness/evidence/evidence.h"

// What several checks need to know of a run: a pure reading of its evidence. Times are
// milliseconds since the scenario's start.
namespace understudy::harness {

struct Span {
  double begin_ms = 0;
  double end_ms = 0;
  double length_ms() const { return end_ms - begin_ms; }
  // How long both lasted at once; 0 when they never met.
  double Overlap(const Span& other) const;
};

struct PhaseRun {
  std::string migration;
  std::string phase;
  Span span;
  bool ended = false;  // false: the engine died or the run ended in the middle of it
  std::string outcome;
};
std::vector<PhaseRun> PhasesOf(const Evidence& evidence);
// The phase that covers most of `span`; "idle" when none does.
std::string PhaseAt(const std::vector<PhaseRun>& phases, const Span& span);

struct StepRun {
  std::string name;
  std::string verb;
  Span span;
  bool ended = false;
  std::string outcome;
  std::string expected;
  std::string detail;
  std::vector<std::string> failures;
};
std::vector<StepRun> StepsOf(const Evidence& evidence);

// From the beginning of the migration that was rolled back last (of several: of that one) to the
// end of its rollback; nullopt when none came to its end.
std::optional<Span> LastRollback(const Evidence& evidence);

// The moment of the last event.
double EndOf(const Evidence& evidence);

// The scenario's options of check `id`, and a list of strings among them.
Json OptionsOf(const Evidence& evidence, std::string_view id);
std::vector<std::string> Strings(const Json& options, std::string_view key);

// Every step of the scenario, those in the background too: (verb, what stands behind it).
std::vector<std::pair<std::string, Json>> PlannedSteps(const Evidence& evidence);
bool PlansStep(const Evidence& evidence, std::string_view verb);
// The migrations' documents.
std::vector<Json> MigrationsOf(const Evidence& evidence);
bool HasLedgeredWriters(const Evidence& evidence);  // a "writers" workload or a "mutate" step
bool HasClients(const Evidence& evidence);          // any workload, or a "mutate" step
std::vector<std::string> DatabaseNames(const Evidence& evidence);
bool HasEngine(const Evidence& evidence, std::string_view engine);
// Tables that a workload outside the ledger writes to ("writes").
std::vector<std::string> UnledgeredTables(const Evidence& evidence);

// The snapshots that the standard checks compare: "before" and "after", where there is none the
// first and the last; names that begin with $ are the runner's own. nullopt: fewer than two.
struct BeforeAfter {
  std::string before;
  std::string after;
};
std::optional<BeforeAfter> SnapshotsToCompare(const Evidence& evidence);

// The events of `kind` whose `key` is `value`.
std::vector<const Event*> EventsWith(const Evidence& evidence, std::string_view kind,
                                     std::string_view key, std::string_view value);

// Whether `pattern` of a scenario ("orders", "public.orders", "public.*") names `table`, or, as
// TABLE or TABLE.COLUMN, that column of it.
bool NamesTable(std::string_view pattern, std::string_view table);
bool NamesColumn(std::string_view pattern, std::string_view table, std::string_view column);
bool AnyNamesTable(const std::vector<std::string>& patterns, std::string_view table);
bool AnyNamesColumn(const std::vector<std::string>& patterns, std::string_view table,
                    std::string_view column);
// Whether a table is the engine's own (schema or name `understudy…`).
bool IsOwnTable(std::string_view table);

// Text of a JSON value, "" when it is absent or null.
std::string TextAt(const Json& json, std::string_view key);
double NumberAt(const Json& json, std::string_view key, double otherwise = 0);
bool HasNumber(const Json& json, std::string_view key);
std::string Ms(double ms);  // "1532 ms"

}  // namespace understudy::harness
