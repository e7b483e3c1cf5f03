#include "harness/scenario/scenario.h"

#include <set>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/scenario/overrides.h"
#include "harness/scenario/paths.h"
#include "harness/scenario/rules.h"
#include "harness/scenario/schema_walk.h"

namespace understudy::harness {
namespace {
namespace fs = std::filesystem;

constexpr const char* kSchema = "scenario.schema.json";

template <typename T>
std::optional<T> Maybe(const Json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::nullopt;
  return it->get<T>();
}

DatabaseSpec DatabaseOf(const std::string& name, const Json& json, const Scenario& scenario,
                        const Overrides& overrides) {
  DatabaseSpec spec;
  spec.name = name;
  spec.engine = json["engine"].get<std::string>();
  spec.provision = json["provision"].get<std::string>();
  spec.version = Maybe<int>(json, "version");
  spec.image = Maybe<std::string>(json, "image");
  spec.extensions = json["extensions"].get<std::vector<std::string>>();
  spec.fixture = json.value("fixture", Json::array());
  if (spec.fixture.is_null()) spec.fixture = Json::array();
  spec.from = Maybe<std::string>(json, "from");
  spec.endpoint = Maybe<std::string>(json, "endpoint");
  spec.settings = json["settings"];
  spec.seed = scenario.seed;
  spec.may_be_changed = overrides.may_be_changed;
  return spec;
}

StepSpec StepOf(const Json& json) {
  StepSpec step;
  step.name = json["name"].get<std::string>();
  step.outcome = json["outcome"].get<std::string>();
  for (const auto& [key, options] : json.items()) {
    if (key == "name" || key == "outcome") continue;
    step.verb = key;
    step.options = options;
  }
  if (step.verb == "background") {
    for (const Json& inner : step.options) step.background.push_back(StepOf(inner));
  }
  return step;
}

// --scale multiplies each generated fixture's, once: what is handed on holds the product.
void Scale(Json& document, double scale) {
  for (auto& [name, database] : document["databases"].items()) {
    if (!database.contains("fixture") || !database["fixture"].is_array()) continue;
    for (Json& item : database["fixture"]) {
      if (item.is_object() && item.contains("generate")) {
        item["scale"] = item["scale"].get<double>() * scale;
      }
    }
  }
}

Scenario Build(Json document, const fs::path& file, const Overrides& overrides) {
  const std::string where = file.string();
  ApplyOverrides(document, overrides);
  ValidateWithSchema(document, kSchema, where);
  if (!document.contains("name")) {
    document["name"] = file.stem().string();
    ValidateWithSchema(document, kSchema, where);
  }
  const Json& schema = SchemaJson(kSchema);
  document = FillDefaults(schema, document, Nulls::kKeep);
  document.erase("$schema");
  // Every check shows its options, also where the file says nothing of it.
  for (const auto& [id, ignored] : schema["properties"]["checks"]["properties"].items()) {
    if (!document["checks"].contains(id)) document["checks"][id] = Json::object();
  }
  MakeExplicit(document, where);
  document = FillDefaults(schema, document, Nulls::kKeep);
  CheckRules(document, where);
  MakePathsAbsolute(document, fs::absolute(file).parent_path(), where, overrides.files_must_exist);
  if (overrides.scale != 1) Scale(document, overrides.scale);

  // Handed on without the nulls that only mean "not said".
  const Json plain = FillDefaults(schema, document, Nulls::kDrop);
  Scenario scenario;
  scenario.file = fs::absolute(file).lexically_normal();
  scenario.name = plain["name"].get<std::string>();
  scenario.description = plain["description"].get<std::string>();
  scenario.tags = plain["tags"].get<std::vector<std::string>>();
  scenario.seed = plain["seed"].get<std::uint64_t>();
  scenario.lead_s = plain["lead_s"].get<double>();
  scenario.tail_s = plain["tail_s"].get<double>();
  for (const auto& [name, database] : plain["databases"].items()) {
    scenario.databases.push_back(DatabaseOf(name, database, scenario, overrides));
  }
  scenario.migrations = MigrationsOf(plain);
  for (const auto& [name, migration] : scenario.migrations) {
    if (migration.value("strategy", "") != "hot-copy") continue;
    for (DatabaseSpec& database : scenario.databases) {
      database.made_by_migration |= database.name == migration.value("target", "");
    }
  }
  for (std::size_t i = 0; i < plain["workload"].size(); ++i) {
    const Json& json = plain["workload"][i];
    WorkloadSpec spec;
    spec.index = i;
    spec.kind = json["kind"].get<std::string>();
    spec.on = json["on"].get<std::string>();
    spec.clients = json["clients"].get<int>();
    spec.rate_per_s = Maybe<double>(json, "rate_per_s");
    spec.options = json;
    spec.seed = scenario.seed;
    scenario.workload.push_back(std::move(spec));
  }
  for (std::size_t i = 0; i < plain["faults"].size(); ++i) {
    const Json& json = plain["faults"][i];
    FaultSpec spec;
    spec.index = i;
    spec.kind = json["kind"].get<std::string>();
    spec.on = json.value("on", "");
    spec.at = Maybe<std::string>(json, "at");
    spec.at_step = Maybe<std::string>(json, "at_step");
    spec.at_ms = Maybe<std::int64_t>(json, "at_ms");
    spec.nth = json["nth"].get<int>();
    spec.for_ms = Maybe<std::int64_t>(json, "for_ms");
    spec.options = json;
    scenario.faults.push_back(std::move(spec));
  }
  for (const Json& step : plain["steps"]) scenario.steps.push_back(StepOf(step));
  scenario.checks = plain["checks"];
  scenario.expect = plain.value("expect", Json());
  TakeSecretsOut(document);
  scenario.document = std::move(document);
  return scenario;
}

Scenario FromJson(const Json& document, const fs::path& file, const Overrides& overrides) {
  try {
    return Build(document, file, overrides);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInvalidSpec || !ChangesAnything(overrides)) throw;
    if (error.code() == "usage") throw;
    Overrides none;
    none.files_must_exist = overrides.files_must_exist;
    try {
      Build(document, file, none);
    } catch (const Error&) {
      throw error;  // the file itself is wrong
    }
    throw Error(ErrorKind::kInvalidSpec, "as the command line changes it, " + error.message(),
                "usage");
  }
}

}  // namespace

const DatabaseSpec& Scenario::Database(const std::string& wanted) const {
  for (const DatabaseSpec& database : databases) {
    if (database.name == wanted) return database;
  }
  throw Error(ErrorKind::kInvalidSpec, name + ": no such database: '" + wanted + "'");
}

std::vector<std::string> Scenario::Needs() const {
  std::set<std::string> needs;
  for (const DatabaseSpec& database : databases) {
    if (database.engine == "sqlite") {
      needs.insert("sqlite");
    } else {
      needs.insert(database.version ? "postgres==" + std::to_string(*database.version)
                                    : std::string("postgres>=12"));
    }
    if (database.provision == "docker" || database.image) needs.insert("docker");
    if (database.provision == "external") needs.insert("external:" + database.name);
    for (const std::string& extension : database.extensions) needs.insert("extension:" + extension);
  }
  for (const WorkloadSpec& one : workload) {
    if (one.kind == "pgbench") needs.insert("pgbench");
  }
  return {needs.begin(), needs.end()};
}

Scenario LoadScenario(const fs::path& file, const Overrides& overrides) {
  const std::string text = ReadFile(file);
  Scenario scenario = FromJson(ParseJson(text, file.string()), file, overrides);
  scenario.file_sha256 = Sha256Hex(text);
  return scenario;
}

Scenario ScenarioFromJson(const Json& document, const fs::path& file, const Overrides& overrides) {
  Scenario scenario = FromJson(document, file, overrides);
  scenario.file_sha256 = Sha256Hex(ToText(document));
  return scenario;
}

}  // namespace understudy::harness
