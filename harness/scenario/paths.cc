#include "harness/scenario/paths.h"

#include <algorithm>
#include <functional>

#include "engine/base/error.h"
#include "engine/base/redact.h"
#include "engine/db/endpoint.h"
#include "harness/scenario/schema_walk.h"

namespace understudy::harness {
namespace {
namespace fs = std::filesystem;

class Paths {
 public:
  Paths(fs::path folder, std::string where, bool must_exist)
      : folder_(std::move(folder)), where_(std::move(where)), must_exist_(must_exist) {}

  void One(Json& object, const std::string& key, const std::string& pointer) const {
    if (object.is_object() && object.contains(key)) Value(object[key], PointerTo(pointer, key));
  }

  // A path, or a list of them.
  void Value(Json& value, const std::string& pointer) const {
    if (value.is_array()) {
      for (std::size_t i = 0; i < value.size(); ++i) {
        Value(value[i], PointerTo(pointer, std::to_string(i)));
      }
    }
    if (!value.is_string()) return;
    const fs::path path = Absolute(value.get<std::string>());
    std::error_code ignored;
    if (must_exist_ && !fs::exists(path, ignored)) {
      FailAt(where_, pointer,
             "no such file or folder: " + path.string() +
                 "; paths are relative to the file that holds them");
    }
    value = path.string();
  }

  // An endpoint; `or_file`: or a dump.
  void Endpoint(Json& object, const std::string& key, const std::string& pointer,
                bool or_file) const {
    if (!object.contains(key) || !object[key].is_string()) return;
    const auto text = object[key].get<std::string>();
    if (text.starts_with("env:")) return;
    if (!db::Endpoint::LooksLikeOne(text)) {
      if (!or_file) {
        FailAt(where_, PointerTo(pointer, key),
               "'" + Redact(text) +
                   "' is no endpoint; allowed: postgres://…, a conninfo, sqlite:PATH, a path that "
                   "ends in .db, .sqlite or .sqlite3, env:NAME");
      }
      One(object, key, pointer);
      return;
    }
    const db::Endpoint endpoint = During(where_ + ": " + PointerTo(pointer, key),
                                         [&] { return db::Endpoint::Parse(text, folder_); });
    if (endpoint.engine() == db::Engine::kSqlite) {
      Json path = endpoint.file().string();
      Value(path, PointerTo(pointer, key));
      object[key] = "sqlite:" + path.get<std::string>();
    }
  }

  fs::path Absolute(const fs::path& path) const {
    const fs::path whole = path.is_absolute() ? path : fs::absolute(folder_ / path);
    const fs::path normal = whole.lexically_normal();
    return normal.has_filename() ? normal : normal.parent_path();  // no slash at the end
  }

 private:
  fs::path folder_;
  std::string where_;
  bool must_exist_;
};

void MigrationPaths(const Paths& paths, Json& migration, const std::string& pointer) {
  const auto strategy = migration["strategy"].get<std::string>();
  if (strategy == "sql") {
    paths.One(migration, "up", pointer);
    paths.One(migration, "down", pointer);
  } else if (strategy == "command") {
    if (!migration.contains("cwd")) migration["cwd"] = ".";
    paths.One(migration, "cwd", pointer);
  } else if (strategy == "table-swap") {
    if (migration.contains("schema")) paths.One(migration["schema"], "sql", pointer + "/schema");
  } else if (strategy == "hot-copy") {
    paths.One(migration, "dir", pointer);
    paths.One(migration, "schema", pointer);
  } else if (strategy == "bridge") {
    paths.One(migration, "key_file", pointer);
  }
}

void StepPaths(const Paths& paths, Json& steps, const std::string& pointer) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::string place = PointerTo(pointer, std::to_string(i));
    if (steps[i].contains("exec")) paths.One(steps[i]["exec"], "file", place + "/exec");
    if (steps[i].contains("background")) {
      StepPaths(paths, steps[i]["background"], place + "/background");
    }
  }
}

bool LooksSecret(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const char* word : {"PASS", "SECRET", "TOKEN", "CREDENTIAL", "API_KEY", "PRIVATE"}) {
    if (name.find(word) != std::string::npos) return true;
  }
  return false;
}

void RedactString(Json& object, const char* key) {
  if (object.contains(key) && object[key].is_string()) {
    object[key] = Redact(object[key].get<std::string>());
  }
}

}  // namespace

void MakePathsAbsolute(Json& document, const fs::path& folder, const std::string& where,
                       bool must_exist) {
  const Paths paths(folder, where, must_exist);
  for (auto& [name, database] : document["databases"].items()) {
    const std::string pointer = PointerTo("/databases", name);
    if (database.contains("fixture") && database["fixture"].is_array()) {
      Json& fixture = database["fixture"];
      for (std::size_t i = 0; i < fixture.size(); ++i) {
        const std::string place = pointer + "/fixture/" + std::to_string(i);
        if (fixture[i].is_string()) {
          paths.Value(fixture[i], place);
        } else {
          paths.One(fixture[i], "generate", place);
          paths.One(fixture[i], "migrations", place);
        }
      }
    }
    paths.Endpoint(database, "from", pointer, /*or_file=*/true);
    paths.Endpoint(database, "endpoint", pointer, /*or_file=*/false);
  }
  if (document.contains("migration")) MigrationPaths(paths, document["migration"], "/migration");
  if (document.contains("migrations")) {
    for (auto& [name, migration] : document["migrations"].items()) {
      MigrationPaths(paths, migration, PointerTo("/migrations", name));
    }
  }
  Json& workload = document["workload"];
  for (std::size_t i = 0; i < workload.size(); ++i) {
    paths.One(workload[i], "script", "/workload/" + std::to_string(i));
  }
  if (document.contains("steps")) StepPaths(paths, document["steps"], "/steps");
}

void TakeSecretsOut(Json& document) {
  for (auto& [name, database] : document["databases"].items()) {
    RedactString(database, "from");
    RedactString(database, "endpoint");
  }
  const auto in_migration = [](Json& migration) {
    if (!migration.contains("env")) return;
    for (auto& [name, value] : migration["env"].items()) {
      if (LooksSecret(name)) {
        RememberSecret(value.get<std::string>());
        value = "***";
      } else {
        value = Redact(value.get<std::string>());
      }
    }
  };
  if (document.contains("migration")) in_migration(document["migration"]);
  if (document.contains("migrations")) {
    for (auto& [name, migration] : document["migrations"].items()) in_migration(migration);
  }
}

}  // namespace understudy::harness
