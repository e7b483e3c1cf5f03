#include "harness/run/comparisons.h"

#include <limits>

#include "harness/checks/facts.h"
#include "harness/compare/stored_rows.h"
#include "harness/run/swapped.h"
#include "harness/run/written.h"

namespace understudy::harness {
namespace {

std::pair<std::string, std::string> SplitMoment(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) {
    throw Error(ErrorKind::kInvalidSpec, "not SNAPSHOT:DATABASE: '" + text + "'");
  }
  return {text.substr(0, colon), text.substr(colon + 1)};
}

// The version tables of golang-migrate, dbmate, goose, Flyway, sqitch, knex, node-pg-migrate,
// alembic, Prisma.
constexpr std::string_view kToolTables[] = {
    "*.schema_migrations", "*.goose_db_version",     "*.flyway_schema_history", "sqitch.*",
    "*.knex_migrations",   "*.knex_migrations_lock", "*.pgmigrations",          "*.alembic_version",
    "*._prisma_migrations"};

Json RowsOptions(const Rehearsal& rehearsal) {
  const Json& checks = rehearsal.scenario.checks;
  return checks.contains("rows") ? checks["rows"] : Json::object();
}

void ApplyMap(const Json& map, CompareOptions& options) {
  for (const auto& [from, to] : map.items()) options.map[from] = to.get<std::string>();
}

// TABLE.COLUMN need not agree; TABLE is not compared at all.
void ApplyAllow(const Json& allow, CompareOptions& options) {
  for (const Json& item : allow) options.ignore.push_back(item.get<std::string>());
}

}  // namespace

CompareOptions RowsOptionsOf(const Rehearsal& rehearsal) {
  const Json rows = RowsOptions(rehearsal);
  CompareOptions options;
  options.common_columns = true;
  options.exclude = {"understudy*.*", "main._understudy*", "main.sqlite_sequence",
                     // a hot copy's marks: `leftovers` judges them
                     "main._migration_*", "main._id_mapping", "main._schema_identity"};
  // What the migration tools write down about themselves is theirs to change.
  for (const std::string_view table : kToolTables) options.exclude.emplace_back(table);
  options.stop = rehearsal.options.stop;
  // However many rows clients wrote, none of them may be taken for the migration's doing.
  options.most_differences = std::numeric_limits<std::int64_t>::max();
  ApplyMap(rows.value("map", Json::object()), options);
  ApplyAllow(rows.value("allow", Json::array()), options);
  return options;
}

namespace {

// What CompareAndTell and CompareStoredAndTell share. `catalog`: where the triggers are read that
// follow from clients' writes.
template <typename Compare>
Comparison CompareWith(Rehearsal& rehearsal, const std::string& use, const std::string& left_name,
                       const std::string& right_name, const std::string& database,
                       bool leave_out_clients, const db::Endpoint& catalog, Compare compare) {
  CompareOptions options = RowsOptionsOf(rehearsal);
  if (use != "rows" && use != "up-down-up") {
    options.map.clear();
    options.ignore.clear();
  }
  std::unique_ptr<Written> written;
  if (leave_out_clients) {
    const auto copy = db::Connect(catalog, {.application_name = "understudy-compare"});
    rehearsal.ledger.Flush();
    const std::lock_guard lock(rehearsal.ledger.mutex());
    written = std::make_unique<Written>(rehearsal.ledger.session(), database, *copy);
  }
  if (written) {
    for (const auto& [table, why] : written->indirect()) {
      rehearsal.evidence.NotChecked("rows of " + table + " that clients did not write themselves",
                                    why);
    }
    options.explained = [&](const std::string& table, const Json& key, const std::string&) {
      return written->Knows(table, key) || written->indirect().contains(table);
    };
  }
  const Comparison comparison = compare(options, written.get());
  rehearsal.evidence.Add("comparison", {{"use", use},
                                        {"database", database},
                                        {"left", left_name},
                                        {"right", right_name},
                                        {"clients_left_out", leave_out_clients},
                                        {"result", comparison.ToJson()}});
  return comparison;
}

// The same of two moments of which at least one could not be held as a copy.
void CompareStoredAndTell(Rehearsal& rehearsal, const std::string& use, const std::string& first,
                          const std::string& last, const std::string& database) {
  const std::filesystem::path left = rehearsal.StoredRowsOf(first, database);
  const std::filesystem::path right = rehearsal.StoredRowsOf(last, database);
  if (left.empty() || right.empty()) return;
  const Lease* held = rehearsal.Held(first, database);
  const db::Endpoint& catalog =
      held != nullptr ? held->endpoint() : rehearsal.Database(database).endpoint();
  CompareWith(rehearsal, use, first + ":" + database, last + ":" + database, database, true,
              catalog, [&](const CompareOptions& options, const Written* written) {
                return CompareStoredRows(left, right, options, [&](const std::string& table) {
                  return written != nullptr && written->Touched(table);
                });
              });
}

}  // namespace

Comparison CompareAndTell(Rehearsal& rehearsal, const std::string& use,
                          const std::string& left_name, const std::string& right_name,
                          const db::Endpoint& left, const db::Endpoint& right,
                          const std::string& database, bool leave_out_clients) {
  return CompareWith(rehearsal, use, left_name, right_name, database, leave_out_clients, left,
                     [&](const CompareOptions& options, const Written*) {
                       return CompareRows(left, right, options);
                     });
}

std::vector<CatalogChange> DiffAndTell(Rehearsal& rehearsal, const std::string& use,
                                       const std::string& left_name, const std::string& right_name,
                                       const Snapshot& left, const Snapshot& right) {
  std::vector<CatalogChange> changes;
  Json list = Json::array();
  for (CatalogChange& change : DiffCatalogs(left, right)) {
    if (IsOurs(change.path)) continue;
    list.push_back(ToJson(change));
    changes.push_back(std::move(change));
  }
  rehearsal.evidence.Add(
      "catalog-diff",
      {{"use", use}, {"left", left_name}, {"right", right_name}, {"changes", list}});
  return changes;
}

std::vector<std::string> CompareStep(Rehearsal& rehearsal, const Json& o) {
  const auto [left_name, left_database] = SplitMoment(o.at("left"));
  const auto [right_name, right_database] = SplitMoment(o.at("right"));
  const std::string part = o.value("part", "all");
  const bool equal = o.value("equal", true);
  std::vector<std::string> failures;
  std::vector<std::string> differences;
  std::vector<std::string> unknown;
  if (part != "catalog") {
    const Lease* left = rehearsal.Held(left_name, left_database);
    const Lease* right = rehearsal.Held(right_name, right_database);
    const bool held = left != nullptr && right != nullptr;
    std::filesystem::path left_rows;
    std::filesystem::path right_rows;
    if (!held) {
      left_rows = rehearsal.StoredRowsOf(left_name, left_database);
      right_rows = rehearsal.StoredRowsOf(right_name, right_database);
    }
    if (!held && (left_rows.empty() || right_rows.empty())) {
      unknown.push_back("the rows of one side were not held (see not_checked)");
    } else {
      CompareOptions options;
      options.exclude = {"understudy*.*", "main._understudy*"};
      options.stop = rehearsal.options.stop;
      ApplyMap(o.value("map", Json::object()), options);
      ApplyAllow(o.value("allow", Json::array()), options);
      const Comparison comparison = held ? CompareRows(left->endpoint(), right->endpoint(), options)
                                         : CompareStoredRows(left_rows, right_rows, options);
      rehearsal.evidence.Add("comparison", {{"use", "step"},
                                            {"left", o.at("left")},
                                            {"right", o.at("right")},
                                            {"result", comparison.ToJson()}});
      for (const TableComparison& table : comparison.tables) {
        if (table.result == CompareResult::kEqual) continue;
        const std::string line = table.missing < 0
                                     ? table.table + ": " + table.why
                                     : table.table + ": " + std::to_string(table.missing) +
                                           " missing, " + std::to_string(table.extra) + " extra, " +
                                           std::to_string(table.changed) + " changed";
        table.result == CompareResult::kUnknown ? unknown.push_back(table.table + ": " + table.why)
                                                : differences.push_back(line);
      }
      if (comparison.result == CompareResult::kUnknown && unknown.empty()) {
        unknown.push_back("no rows were compared");
      }
    }
  }
  if (part != "rows") {
    const Snapshot* left = rehearsal.Taken(left_name, left_database);
    const Snapshot* right = rehearsal.Taken(right_name, right_database);
    if (left == nullptr || right == nullptr) {
      unknown.push_back("there is no snapshot of this name");
    } else {
      const Json allow = o.value("allow", Json::array());
      for (const CatalogChange& change :
           DiffAndTell(rehearsal, "step", o.at("left"), o.at("right"), *left, *right)) {
        bool allowed = false;
        for (const Json& pattern : allow) {
          allowed = allowed || MatchesPath(change.path, pattern.get<std::string>());
        }
        if (!allowed) differences.push_back(change.path + " " + change.change);
      }
    }
  }
  for (const std::string& why : unknown) failures.push_back("could not compare: " + why);
  if (equal) {
    failures.insert(failures.end(), differences.begin(), differences.end());
  } else if (differences.empty() && unknown.empty()) {
    failures.push_back(o.at("left").get<std::string>() + " and " +
                       o.at("right").get<std::string>() + " are equal; a difference was expected");
  }
  return failures;
}

std::string CompareFirstWithLast(Rehearsal& rehearsal, const Swaps& swaps) {
  if (rehearsal.snapshot_names().size() < 2) return "";
  // `before` and `after` where a scenario has them, else its first and its last.
  std::string first = rehearsal.snapshot_names().front();
  std::string last = rehearsal.snapshot_names().back();
  bool has_before = false;
  bool has_after = false;
  for (const std::string& name : rehearsal.snapshot_names()) {
    has_before = has_before || name == "before";
    has_after = has_after || name == "after";
  }
  if (has_before && has_after) {
    first = "before";
    last = "after";
  }
  for (const DatabaseSpec& database : rehearsal.scenario.databases) {
    Lease* left = rehearsal.Held(first, database.name);
    Lease* right = rehearsal.Held(last, database.name);
    rehearsal.ThrowIfStopped();
    if (swaps.IsSource(database.name) || database.made_by_migration) continue;
    if (swaps.IsTarget(database.name)) {
      CompareTarget(rehearsal, swaps, database.name, first, last);
      continue;
    }
    if (left == nullptr || right == nullptr) {
      CompareStoredAndTell(rehearsal, "rows", first, last, database.name);
      continue;
    }
    CompareAndTell(rehearsal, "rows", first + ":" + database.name, last + ":" + database.name,
                   left->endpoint(), right->endpoint(), database.name, true);
  }
  return last;
}

void CompareRollback(Rehearsal& rehearsal, const Evidence& evidence) {
  const auto trip = LastRollback(evidence);
  if (!trip) return;
  const double migrated = trip->begin_ms;
  const double rolled_back = trip->end_ms;
  for (const DatabaseSpec& database : rehearsal.scenario.databases) {
    std::string before;
    std::string after;
    for (const Event* event : EventsWith(evidence, "snapshot", "database", database.name)) {
      const std::string name = TextAt(event->data, "name");
      if (name.starts_with('$')) continue;
      if (event->t_ms <= migrated) before = name;
      if (event->t_ms >= rolled_back && after.empty()) after = name;
    }
    Lease* left = rehearsal.Held(before, database.name);
    Lease* right = rehearsal.Held(after, database.name);
    rehearsal.ThrowIfStopped();
    if (before.empty() || after.empty()) continue;
    if (left == nullptr || right == nullptr) {
      CompareStoredAndTell(rehearsal, "rollback", before, after, database.name);
      continue;
    }
    CompareAndTell(rehearsal, "rollback", before + ":" + database.name, after + ":" + database.name,
                   left->endpoint(), right->endpoint(), database.name, true);
  }
}

}  // namespace understudy::harness
