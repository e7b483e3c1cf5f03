#include "harness/checks/swaps.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "harness/checks/facts.h"
#include "harness/checks/ledger_rows.h"

namespace understudy::harness {
namespace {

std::string Normal(const std::string& table) {
  return db::TableName::Parse(table, "public").Display();
}

std::set<std::string> Tables(const Json& document, std::string_view key) {
  std::set<std::string> tables;
  for (const std::string& table : Strings(document, key)) tables.insert(Normal(table));
  return tables;
}

// The first `count` names of a path behind its kind: "index:public.a_idx" → public.a_idx.
std::string NamesOf(const std::string& path, std::size_t count) {
  const std::string names = path.substr(path.find(':') + 1);
  std::vector<std::string> parts;
  try {
    parts = db::ParseDottedName(names.substr(0, names.find('(')), false);
  } catch (const Error&) {
    return names;
  }
  std::string text;
  for (std::size_t i = 0; i < parts.size() && i < count; ++i) {
    text += (i > 0 ? "." : "") + db::DisplayIdentifier(parts[i]);
  }
  return text;
}

std::string SchemaOf(const std::string& path) { return NamesOf(path, 1); }

std::string PropertyOf(const CatalogObject& object, const char* name) {
  const auto it = object.properties.find(name);
  return it == object.properties.end() ? "" : it->second;
}

// The table that an object belongs to; "" for one that stands by itself.
std::string TableOf(const CatalogObject& object) {
  if (object.kind == "table" || object.kind == "column" || object.kind == "constraint" ||
      object.kind == "trigger" || object.kind == "rule" || object.kind == "policy") {
    return NamesOf(object.path, 2);
  }
  std::string table;
  if (object.kind == "index") table = PropertyOf(object, "table");
  if (object.kind == "statistics") {
    const std::string text = PropertyOf(object, "definition");
    const auto from = text.rfind(" FROM ");
    if (from != std::string::npos) table = text.substr(from + 6);
  }
  if (!table.empty()) return Normal(table);
  if (object.kind == "sequence") {
    const std::string column = PropertyOf(object, "owned_by");
    if (column.empty()) return "";
    try {
      const auto parts = db::ParseDottedName(column, false);
      if (parts.size() == 3) return db::TableName{parts[0], parts[1]}.Display();
    } catch (const Error&) {  // a name that cannot be read belongs to nobody
    }
  }
  return "";
}

// What production says of its tables, whatever the new schema says of them.
constexpr std::string_view kProductions[] = {"owner",
                                             "grants",
                                             "row_security",
                                             "row_security_forced",
                                             "replica_identity",
                                             "replica_identity_index"};
// Where the design leaves both open.
constexpr std::string_view kEither[] = {"comment",           "enabled",         "tablespace",
                                        "access_method",     "options",         "toast_options",
                                        "statistics_target", "storage",         "compression",
                                        "clustered",         "column_comments", "column_grants"};

// What stands in a schema by itself and can come with the new schema.
constexpr std::string_view kAlone[] = {"view",      "materialized-view", "function",   "procedure",
                                       "aggregate", "sequence",          "enum",       "domain",
                                       "type",      "collation",         "statistics", "operator"};

template <typename List>
bool IsOneOf(std::string_view name, const List& list) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

struct Timeline {
  double prepared_ms = -1;
  double locked_ms = -1;
  double leaving_ms = -1;
  int service = -1;  // in service: its number
};

}  // namespace

bool SwapDocument::HasSchema(const std::string& displayed) const {
  const std::string schema = db::ParseDottedName(displayed, false).front();
  return std::find(schemas.begin(), schemas.end(), schema) != schemas.end();
}

bool SwapDocument::CanHold(const std::string& table) const {
  return !exclude.contains(table) && HasSchema(table);
}

Swaps::Swaps(const Evidence& evidence) : evidence_(evidence) {
  ReadDocuments();
  if (documents_.empty()) return;
  ReadServices();
  for (SwapDocument& document : documents_) PreservePartitions(document);
}

void Swaps::ReadDocuments() {
  const auto one = [&](const std::string& name, const Json& document) {
    if (!document.is_object() || TextAt(document, "strategy") != "table-swap") return;
    SwapDocument swap;
    swap.name = document.contains("id") ? TextAt(document, "id") : name;
    swap.target = TextAt(document, "target");
    const Json schema = document.value("schema", Json::object());
    if (TextAt(schema, "from") == "source") swap.source = TextAt(document, "source");
    swap.schemas = Strings(document, "schemas");
    if (swap.schemas.empty()) swap.schemas = {"public"};
    swap.preserved = Tables(document, "preserved");
    swap.exclude = Tables(document, "exclude");
    const Json columns = document.value("columns", Json::object());
    for (const auto& [table, rules] : columns.items()) swap.rules[Normal(table)] = rules;
    swap.reverse = document.value("reverse", false);
    documents_.push_back(std::move(swap));
  };
  const Json& scenario = evidence_.scenario();
  if (scenario.contains("migration")) one("migration", scenario["migration"]);
  if (scenario.contains("migrations") && scenario["migrations"].is_object()) {
    for (const auto& [name, document] : scenario["migrations"].items()) one(name, document);
  }
}

// A partition's rows are its table's: they stay or go with them.
void Swaps::PreservePartitions(SwapDocument& document) const {
  if (document.source.empty() || document.preserved.empty()) return;
  const auto content = evidence_.Snapshot(SnapshotAt(document.source, 0), document.source);
  if (!content) return;
  const Snapshot snapshot = Snapshot::FromJson(*content);
  for (bool grew = true; grew;) {
    grew = false;
    for (const CatalogObject& object : snapshot.objects) {
      if (object.kind != "table") continue;
      const std::string parent = PropertyOf(object, "partition_of");
      if (parent.empty() || !document.preserved.contains(Normal(parent))) continue;
      grew |= document.preserved.insert(NamesOf(object.path, 2)).second;
    }
  }
}

void Swaps::ReadServices() {
  std::map<std::string, Timeline> lines;
  const auto number = [&](const std::string& name) {
    for (std::size_t i = 0; i < documents_.size(); ++i) {
      if (documents_[i].name == name) return static_cast<int>(i);
    }
    return -1;
  };
  const auto comes = [&](Timeline& line, int swap, double t_ms) {
    if (line.service >= 0) return;
    line.service = static_cast<int>(services_.size());
    SwapService service;
    service.swap = static_cast<std::size_t>(swap);
    service.prepared_ms = std::max(0.0, line.prepared_ms);
    service.locked_ms = line.locked_ms >= 0 ? line.locked_ms : t_ms;
    service.in_ms = t_ms;
    services_.push_back(service);
  };
  const auto goes = [&](Timeline& line, double t_ms) {
    if (line.service < 0) return;
    SwapService& service = services_[static_cast<std::size_t>(line.service)];
    service.leaving_ms = line.leaving_ms >= 0 ? line.leaving_ms : t_ms;
    service.out_ms = t_ms;
    line = {};
  };
  for (const Event& event : evidence_.events()) {
    if (event.kind != "point" && event.kind != "phase") continue;
    const std::string name = TextAt(event.data, "migration");
    const int swap = number(name);
    if (swap < 0) continue;
    Timeline& line = lines[name];
    const std::string phase = TextAt(event.data, "phase");
    if (event.kind == "point") {
      const std::string point = TextAt(event.data, "point");
      if (point == "cutover.locked") line.locked_ms = event.t_ms;
      if (point == "cutover.after_commit") comes(line, swap, event.t_ms);
      if (point == "rollback.after_commit") goes(line, event.t_ms);
      continue;
    }
    if (TextAt(event.data, "status") == "begin") {
      if (phase == "prepare" && line.prepared_ms < 0) line.prepared_ms = event.t_ms;
      if (phase == "cutover" && line.locked_ms < 0) line.locked_ms = event.t_ms;
      if (phase == "rollback" && line.leaving_ms < 0) line.leaving_ms = event.t_ms;
      continue;
    }
    // The engine may have died between a commit and the point behind it.
    if (TextAt(event.data, "outcome") != "done") continue;
    if (phase == "cutover" || phase == "verify") comes(line, swap, event.t_ms);
    if (phase == "rollback") goes(line, event.t_ms);
    if (phase == "reset" && line.service < 0) line = {};
  }
}

bool Swaps::IsSource(const std::string& database) const {
  return !IsTarget(database) && std::ranges::any_of(documents_, [&](const SwapDocument& swap) {
    return swap.source == database;
  });
}

bool Swaps::IsTarget(const std::string& database) const {
  return std::ranges::any_of(documents_,
                             [&](const SwapDocument& swap) { return swap.target == database; });
}

std::vector<const SwapService*> Swaps::Between(const std::string& database, double from_ms,
                                               double to_ms) const {
  std::vector<const SwapService*> found;
  for (const SwapService& service : services_) {
    if (documents_[service.swap].target != database) continue;
    if (service.in_ms > from_ms && service.in_ms <= to_ms && service.out_ms > to_ms) {
      found.push_back(&service);
    }
  }
  return found;
}

double Swaps::MomentOf(const std::string& snapshot, const std::string& database) const {
  for (const Event* event : EventsWith(evidence_, "snapshot", "name", snapshot)) {
    if (TextAt(event->data, "database") == database) return event->t_ms;
  }
  return -1;
}

std::string Swaps::SnapshotAt(const std::string& database, double ms) const {
  std::string found;
  for (const Event* event : EventsWith(evidence_, "snapshot", "database", database)) {
    const std::string name = TextAt(event->data, "name");
    if (name.starts_with('$')) continue;
    if (found.empty() || event->t_ms <= ms) found = name;
  }
  return found;
}

std::set<std::string> Swaps::TablesIn(const std::string& snapshot, const std::string& database,
                                      const SwapDocument& document) const {
  std::set<std::string> tables;
  const auto content = evidence_.Snapshot(snapshot, database);
  if (!content) return tables;
  for (const CatalogObject& object : Snapshot::FromJson(*content).objects) {
    if (object.kind != "table") continue;
    const std::string table = NamesOf(object.path, 2);
    if (document.CanHold(table)) tables.insert(table);
  }
  return tables;
}

std::set<std::string> Swaps::SetOf(const SwapService& service) const {
  const SwapDocument& document = documents_[service.swap];
  const std::string& of = document.source.empty() ? document.target : document.source;
  return TablesIn(SnapshotAt(of, service.prepared_ms), of, document);
}

std::map<std::string, RowsFrom> Swaps::Replaced(const std::string& database,
                                                const std::string& before,
                                                const std::string& after) const {
  std::map<std::string, RowsFrom> replaced;
  for (const SwapService* service :
       Between(database, MomentOf(before, database), MomentOf(after, database))) {
    const SwapDocument& document = documents_[service->swap];
    for (const std::string& table : SetOf(*service)) {
      if (document.Preserves(table)) continue;
      replaced[table] = {document.source, SnapshotAt(document.source, service->prepared_ms)};
    }
  }
  return replaced;
}

std::optional<Swaps::Expected> Swaps::ExpectedCatalog(const std::string& database,
                                                      const std::string& before,
                                                      const std::string& after) const {
  const auto services = Between(database, MomentOf(before, database), MomentOf(after, database));
  if (services.empty()) return std::nullopt;
  const auto production = evidence_.Snapshot(before, database);
  if (!production) return std::nullopt;
  Expected expected;
  expected.catalog = Snapshot::FromJson(*production);
  for (const SwapService* service : services) {
    const SwapDocument& document = documents_[service->swap];
    expected.changed_by.insert(document.name);
    if (document.source.empty()) continue;  // what the SQL makes is for `expect` and `allow` to say
    const auto source =
        evidence_.Snapshot(SnapshotAt(document.source, service->prepared_ms), document.source);
    if (!source) return std::nullopt;
    const std::set<std::string> set = SetOf(*service);
    std::map<std::string, CatalogObject> objects;
    for (CatalogObject& object : expected.catalog.objects) {
      std::string path = object.path;
      objects.emplace(std::move(path), std::move(object));
    }
    std::set<std::string> had;  // tables that production has
    for (const auto& [path, object] : objects) {
      if (object.kind == "table") had.insert(NamesOf(path, 2));
    }
    // What the new schema has not goes, with the tables of the set; policies are production's.
    std::map<std::string, CatalogObject> result;
    for (const auto& [path, object] : objects) {
      const bool of_set = object.kind != "policy" && set.contains(TableOf(object));
      if (!of_set) result.emplace(path, object);
    }
    for (const CatalogObject& theirs : Snapshot::FromJson(*source).objects) {
      const std::string table = TableOf(theirs);
      const bool taken =
          table.empty() ? IsOneOf(theirs.kind, kAlone) && document.HasSchema(SchemaOf(theirs.path))
                        : set.contains(table);
      if (!taken) continue;
      const auto ours = objects.find(theirs.path);
      if (theirs.kind == "policy" && had.contains(table)) continue;
      if (ours == objects.end()) {
        CatalogObject fresh = theirs;
        // A new object belongs to whoever migrates.
        for (const char* property : {"owner", "grants"}) {
          expected.tolerated[fresh.path + "#" + property] = "*";
        }
        result[fresh.path] = std::move(fresh);
        continue;
      }
      CatalogObject merged = theirs;
      const auto keep = [&](const std::string& property) {
        const auto it = ours->second.properties.find(property);
        if (it == ours->second.properties.end()) {
          merged.properties.erase(property);
        } else {
          merged.properties[property] = it->second;
        }
      };
      std::set<std::string> names;
      for (const auto& [name, value] : theirs.properties) names.insert(name);
      for (const auto& [name, value] : ours->second.properties) names.insert(name);
      const bool keeps_value =
          theirs.kind == "sequence" && (table.empty() || document.Preserves(table));
      for (const std::string& name : names) {
        if (IsOneOf(name, kProductions)) keep(name);
        if (IsOneOf(name, kEither)) {
          expected.tolerated[theirs.path + "#" + name] = PropertyOf(ours->second, name.c_str());
        }
        if (keeps_value && (name == "last_value" || name == "is_called")) keep(name);
      }
      result[theirs.path] = std::move(merged);
    }
    expected.catalog.objects.clear();
    for (auto& [path, object] : result) expected.catalog.objects.push_back(std::move(object));
  }
  return expected;
}

std::vector<LostTime> Swaps::LostTimes() const {
  std::vector<LostTime> times;
  for (const SwapService& service : services_) {
    const SwapDocument& document = documents_[service.swap];
    const bool rolled_back = service.out_ms != SwapService::kNever;
    for (const std::string& table : SetOf(service)) {
      if (rolled_back && !document.reverse) {
        times.push_back({document.target, table, service.locked_ms, service.in_ms,
                         service.leaving_ms, service.out_ms});
      } else if (!rolled_back && !document.Preserves(table)) {
        times.push_back({document.target, table, -1, -1, service.locked_ms, service.in_ms});
      }
    }
  }
  return times;
}

std::map<std::string, Json> Swaps::RulesAtEnd(const std::string& database) const {
  std::map<std::string, Json> rules;
  for (const SwapService& service : services_) {
    if (service.out_ms != SwapService::kNever) continue;
    const SwapDocument& document = documents_[service.swap];
    if (document.target != database) continue;
    for (const auto& [table, columns] : document.rules) {
      if (document.Preserves(table)) rules[table] = columns;
    }
  }
  return rules;
}

void CreateCounted(const Evidence& evidence, db::Session& ledger) {
  const std::vector<LostTime> times = Swaps(evidence).LostTimes();
  if (times.empty()) {
    ledger.Execute("CREATE TEMP VIEW counted AS SELECT * FROM main.writes");
    return;
  }
  ledger.Execute(
      "CREATE TEMP TABLE lost(database TEXT, table_name TEXT, from_begin REAL, from_end REAL,"
      " to_begin REAL, to_end REAL)");
  for (const LostTime& time : times) {
    ledger.Query("INSERT INTO temp.lost VALUES ($1, $2, $3, $4, $5, $6)",
                 {db::Value::Text(time.database), db::Value::Text(time.table),
                  db::Value::Real(time.from_begin_ms), db::Value::Real(time.from_end_ms),
                  db::Value::Real(time.to_begin_ms), db::Value::Real(time.to_end_ms)});
  }
  // An unknown one of no transaction: whether its fellows of other tables count is another matter.
  ledger.Execute(R"sql(
CREATE TEMP VIEW counted AS
SELECT w.id, w.client, w.database, w.table_name, w.operation, w.key, w.row, w.sqlstate,
       w.started_ms, w.ended_ms, w.key_after, w.hot, w.counter,
       CASE WHEN t.edge THEN 0 ELSE w.txn END AS txn,
       CASE WHEN t.edge AND w.state = 'acknowledged' THEN 'unknown' ELSE w.state END AS state
FROM main.writes AS w
LEFT JOIN (SELECT w.id, max(w.started_ms < l.from_end OR w.ended_ms > l.to_begin) AS edge,
                  max(w.started_ms >= l.from_end AND w.ended_ms <= l.to_begin) AS inside
           FROM main.writes AS w
           JOIN temp.lost AS l ON l.database = w.database AND l.table_name = w.table_name
            AND w.ended_ms >= l.from_begin AND w.started_ms <= l.to_end
           GROUP BY w.id) AS t ON t.id = w.id
WHERE t.inside IS NOT 1)sql");
}

LedgerColumnRules ColumnRulesOf(const Evidence& evidence) {
  const Json options = OptionsOf(evidence, "rows");
  auto allow = Strings(options, "allow");
  Json map = options.value("map", Json::object());
  const Swaps swaps(evidence);
  for (const std::string& database : DatabaseNames(evidence)) {
    for (const auto& [table, rules] : swaps.RulesAtEnd(database)) {
      for (const auto& [column, rule] : rules.items()) {
        const std::string path = table + "." + db::DisplayIdentifier(column);
        if (const std::string from = TextAt(rule, "from"); !from.empty()) {
          if (from != column) map[table + "." + db::DisplayIdentifier(from)] = path;
        } else {
          allow.push_back(path);  // computed: the comparison of rows computes it as well
        }
      }
    }
  }
  return {std::move(allow), map};
}

}  // namespace understudy::harness
