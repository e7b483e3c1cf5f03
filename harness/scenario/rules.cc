#include "harness/scenario/rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "engine/base/error.h"
#include "engine/core/points.h"
#include "harness/scenario/schema_walk.h"

namespace understudy::harness {
namespace {

// The migration of a file that has one and gives it no name.
constexpr const char* kOnlyMigration = "migration";

std::vector<std::string> KeysOf(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, ignored] : object.items()) keys.push_back(key);
  return keys;
}

std::vector<std::string> NamesOfMigrations(const Json& document) {
  std::vector<std::string> names;
  for (const auto& [name, ignored] : MigrationsOf(document)) names.push_back(name);
  return names;
}

std::string VerbOf(const Json& step) {
  for (const auto& [key, ignored] : step.items()) {
    if (key != "name" && key != "outcome") return key;
  }
  return "";
}

bool TakesMigration(const std::string& verb) {
  return verb == "migrate" || verb == "rollback" || verb == "cleanup" || verb == "reset" ||
         verb == "verify";
}

class Rules {
 public:
  Rules(const Json& document, std::string where)
      : document_(document), where_(std::move(where)), databases_(KeysOf(document["databases"])) {}

  void Check() {
    for (const auto& [name, database] : document_["databases"].items()) {
      Database(database, PointerTo("/databases", name));
    }
    Migrations();
    for (const char* later : {"sweep", "hunt"}) {
      if (document_.contains(later)) {
        throw Error(ErrorKind::kUnsupported,
                    fmt::format("{}: /{}: this version cannot run a {} yet; take the key out, or "
                                "write its cells as scenarios of their own",
                                where_, later, later));
      }
    }
    for (std::size_t i = 0; i < document_["workload"].size(); ++i) {
      const std::string place = "/workload/" + std::to_string(i);
      const Json& workload = document_["workload"][i];
      DatabaseName(workload["on"], place + "/on");
      if (workload.contains("operations")) {
        double sum = 0;
        for (const auto& [operation, weight] : workload["operations"].items()) {
          sum += weight.get<double>();
        }
        if (sum <= 0)
          FailAt(where_, place + "/operations", "every weight is 0; allowed: one above");
      }
    }
    std::vector<std::string> step_names;
    StepNames(document_["steps"], step_names);
    for (std::size_t i = 0; i < document_["faults"].size(); ++i) {
      const std::string place = "/faults/" + std::to_string(i);
      const Json& fault = document_["faults"][i];
      if (fault.contains("on") && !fault["on"].is_null()) DatabaseName(fault["on"], place + "/on");
      if (fault.contains("at")) PointName(fault["at"], place + "/at");
      if (fault.contains("at_step"))
        Known(fault["at_step"], step_names, "step", place + "/at_step");
      const auto kind = fault["kind"].get<std::string>();
      if ((kind == "fail" || kind == "block" || kind == "kill-engine") && !fault.contains("at")) {
        FailAt(where_, place,
               "the fault '" + kind + "' strikes at a point; the key 'at' is missing");
      }
    }
    std::set<std::string> taken;
    std::set<std::string> snapshots;
    Steps(document_["steps"], "/steps", taken, snapshots);
  }

 private:
  // `what` that a file names must be one of `names`.
  void Known(const Json& value, const std::vector<std::string>& names, const std::string& what,
             const std::string& pointer) const {
    const auto name = value.get<std::string>();
    if (std::find(names.begin(), names.end(), name) != names.end()) return;
    const std::string near = DidYouMean(name, names);
    FailAt(where_, pointer,
           fmt::format("unknown {} '{}';{} allowed: {}", what, name,
                       near.empty() ? "" : " did you mean '" + near + "'?",
                       names.empty() ? "none (the file has none)"
                                     : fmt::format("{}", fmt::join(names, ", "))));
  }

  void DatabaseName(const Json& value, const std::string& pointer) const {
    Known(value, databases_, "database", pointer);
  }

  void PointName(const Json& value, const std::string& pointer) const {
    std::vector<std::string> names;
    for (const core::Point& point : core::Points()) names.emplace_back(point.name);
    Known(value, names, "point", pointer);
  }

  void Database(const Json& database, const std::string& pointer) const {
    const auto provision = database["provision"].get<std::string>();
    const bool external = provision == "external";
    const bool endpoint = database.contains("endpoint") && !database["endpoint"].is_null();
    if (external && !endpoint) {
      FailAt(where_, pointer,
             "provision 'external' needs the key 'endpoint': where the database is");
    }
    if (!external && endpoint) {
      FailAt(where_, pointer + "/endpoint",
             "goes with provision 'external' only; this is '" + provision +
                 "' (to rehearse on a copy of it, write it as 'from')");
    }
    const bool fixture = database.contains("fixture") && !database["fixture"].empty();
    const bool from = database.contains("from") && !database["from"].is_null();
    if (fixture && from) {
      FailAt(where_, pointer, "'fixture' and 'from' exclude each other; allowed: one of them");
    }
    if (database["engine"] != "sqlite") return;
    if (provision != "auto" && !external) {
      FailAt(where_, pointer + "/provision",
             "sqlite cannot be '" + provision + "'; allowed: auto, external");
    }
    for (const char* key : {"version", "image", "extensions"}) {
      if (database.contains(key) && !database[key].is_null() && !database[key].empty()) {
        FailAt(where_, pointer + "/" + key,
               std::string("sqlite has no '") + key + "'; take it out");
      }
    }
  }

  void Migrations() const {
    if (document_.contains("migration") && document_.contains("migrations")) {
      FailAt(where_, "/migrations",
             "'migration' and 'migrations' exclude each other; allowed: one of them");
    }
    const auto one = [&](const Json& migration, const std::string& pointer) {
      const auto strategy = migration["strategy"].get<std::string>();
      for (const char* role : {"on", "source", "target"}) {
        if (migration.contains(role)) DatabaseName(migration[role], pointer + "/" + role);
      }
      if (strategy == "hot-copy" && !migration.contains("dir")) HotCopy(migration, pointer);
      if (strategy == "hot-copy" && migration.contains("dir")) {
        for (const char* other : {"source", "schema", "target"}) {
          if (migration.contains(other)) {
            FailAt(where_, pointer + "/" + other, "'dir' says this already; take one out");
          }
        }
      }
    };
    if (document_.contains("migration")) one(document_["migration"], "/migration");
    if (!document_.contains("migrations")) return;
    for (const auto& [name, migration] : document_["migrations"].items()) {
      one(migration, PointerTo("/migrations", name));
    }
  }

  // A rehearsal knows both files by name, and the migration makes the new one.
  void HotCopy(const Json& migration, const std::string& pointer) const {
    for (const char* role : {"source", "target"}) {
      if (!migration.contains(role) || migration[role].is_null()) {
        FailAt(where_, pointer,
               std::string("a rehearsed hot copy needs '") + role + "': one of the databases");
      }
      const std::string name = migration[role].get<std::string>();
      const Json& database = document_["databases"][name];
      if (database["engine"] != "sqlite") {
        FailAt(where_, pointer + "/" + role, "'" + name + "' is not sqlite; a hot copy's must be");
      }
      if (std::string_view(role) == "source") continue;
      const bool filled = (database.contains("fixture") && !database["fixture"].empty()) ||
                          (database.contains("from") && !database["from"].is_null());
      if (filled) {
        FailAt(where_, PointerTo("/databases", name),
               "the hot copy makes this database: it has neither 'fixture' nor 'from'");
      }
    }
  }

  void StepNames(const Json& steps, std::vector<std::string>& names) const {
    for (const Json& step : steps) {
      names.push_back(step["name"].get<std::string>());
      if (step.contains("background")) StepNames(step["background"], names);
    }
  }

  void Steps(const Json& steps, const std::string& pointer, std::set<std::string>& taken,
             std::set<std::string>& snapshots) const {
    bool background = false;
    const bool inner = pointer != "/steps";
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const std::string place = PointerTo(pointer, std::to_string(i));
      const Json& step = steps[i];
      const std::string verb = VerbOf(step);
      const Json& options = step[verb];
      const auto name = step["name"].get<std::string>();
      if (!taken.insert(name).second) {
        FailAt(where_, place + "/name", "two steps are called '" + name + "'; names are unique");
      }
      const std::string inside = place + "/" + verb;
      if (TakesMigration(verb)) {
        Known(options["migration"], NamesOfMigrations(document_), "migration",
              inside + "/migration");
      }
      if (verb == "snapshot") {
        for (std::size_t j = 0; j < options["of"].size(); ++j) {
          DatabaseName(options["of"][j], inside + "/of/" + std::to_string(j));
          snapshots.insert(options["name"].get<std::string>() + ":" +
                           options["of"][j].get<std::string>());
        }
      } else if (verb == "compare") {
        for (const char* side : {"left", "right"}) {
          Known(options[side], {snapshots.begin(), snapshots.end()}, "snapshot",
                inside + "/" + side);
        }
      } else if (verb == "background") {
        if (inner)
          FailAt(where_, inside, "a background inside a background; allowed: one second line");
        if (background) {
          FailAt(where_, inside,
                 "a second line of steps runs already; put {\"join\": true} before");
        }
        background = true;
        Steps(options, inside, taken, snapshots);
      } else if (verb == "join") {
        if (!background) {
          FailAt(where_, inside, "nothing to join; a {\"background\": …} step comes before");
        }
        background = false;
      } else if (verb == "wait" && options.contains("point")) {
        PointName(options["point"], inside + "/point");
      }
      if (options.is_object() && options.contains("on"))
        DatabaseName(options["on"], inside + "/on");
    }
  }

  const Json& document_;
  std::string where_;
  std::vector<std::string> databases_;
};

Json StandardSteps(const std::vector<std::string>& migrations) {
  Json steps = Json::array();
  steps.push_back({{"snapshot", "before"}});
  for (const std::string& name : migrations) {
    steps.push_back({{"migrate", {{"migration", name}, {"through", "verify"}}}});
  }
  steps.push_back({{"snapshot", "after"}});
  for (const std::string& name : migrations) steps.push_back({{"cleanup", {{"migration", name}}}});
  return steps;
}

void StepsExplicit(Json& steps, const Json& document, const std::string& where,
                   const std::string& pointer, const std::string& prefix) {
  const std::vector<std::string> migrations = NamesOfMigrations(document);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Json& step = steps[i];
    const std::string verb = VerbOf(step);
    Json& options = step[verb];
    const std::string number = prefix + std::to_string(i + 1);
    if (TakesMigration(verb) && !options.contains("migration")) {
      if (migrations.size() != 1) {
        FailAt(where, PointerTo(pointer, std::to_string(i)) + "/" + verb,
               fmt::format("the key 'migration' is missing; allowed: {}",
                           migrations.empty() ? "none (the file has no migration)"
                                              : fmt::format("{}", fmt::join(migrations, ", "))));
      }
      Json named{{"migration", migrations.front()}};
      named.update(options);
      options = std::move(named);
    }
    if (verb == "snapshot") {
      if (options.is_string()) options = Json{{"name", options}};
      if (!options.contains("of")) options["of"] = KeysOf(document["databases"]);
    }
    if (verb == "background") {
      StepsExplicit(options, document, where, PointerTo(pointer, std::to_string(i)) + "/background",
                    number + ".");
    }
    if (!step.contains("name")) step["name"] = verb + "-" + number;
  }
}

}  // namespace

std::vector<std::pair<std::string, Json>> MigrationsOf(const Json& document) {
  std::vector<std::pair<std::string, Json>> migrations;
  if (document.contains("migration"))
    migrations.emplace_back(kOnlyMigration, document["migration"]);
  if (document.contains("migrations")) {
    for (const auto& [name, migration] : document["migrations"].items()) {
      migrations.emplace_back(name, migration);
    }
  }
  return migrations;
}

void MakeExplicit(Json& document, const std::string& where) {
  if (document.contains("migration") && !document["migration"].contains("id")) {
    document["migration"]["id"] = document["name"];
  }
  if (document.contains("migrations")) {
    for (auto& [name, migration] : document["migrations"].items()) {
      if (!migration.contains("id")) migration["id"] = name;
    }
  }
  if (!document.contains("steps")) {
    const std::vector<std::string> names = NamesOfMigrations(document);
    if (names.empty()) {
      FailAt(where, "", "neither 'migration' nor 'steps': there is nothing to rehearse");
    }
    document["steps"] = StandardSteps(names);
  }
  StepsExplicit(document["steps"], document, where, "/steps", "");
  if (document["databases"].size() == 1) {
    for (Json& fault : document["faults"]) {
      if (!fault.contains("on") || fault["on"].is_null()) {
        fault["on"] = document["databases"].begin().key();
      }
    }
  } else {
    for (std::size_t i = 0; i < document["faults"].size(); ++i) {
      const Json& fault = document["faults"][i];
      const auto kind = fault["kind"].get<std::string>();
      const bool at_the_engine = kind == "fail" || kind == "block" || kind == "kill-engine";
      if (!at_the_engine && (!fault.contains("on") || fault["on"].is_null())) {
        FailAt(where, "/faults/" + std::to_string(i),
               fmt::format("the key 'on' is missing; allowed: {}",
                           fmt::join(KeysOf(document["databases"]), ", ")));
      }
    }
  }
}

void CheckRules(const Json& document, const std::string& where) { Rules(document, where).Check(); }

}  // namespace understudy::harness
