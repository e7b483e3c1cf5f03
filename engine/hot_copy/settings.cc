#include "engine/hot_copy/settings.h"

#include <algorithm>
#include <cctype>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/capture/sqlite_capture.h"
#include "engine/catalog/sqlite_schema.h"

namespace understudy::hot_copy {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void Wrong(const std::string& key, const std::string& what) {
  throw Error(ErrorKind::kInvalidSpec, "/" + key + ": " + what);
}

std::string Text(const core::Spec& spec, const char* key) {
  if (!spec.document.contains(key) || spec.document[key].is_null()) return "";
  if (!spec.document[key].is_string()) Wrong(key, "a text is needed");
  return spec.document[key].get<std::string>();
}

fs::path Folder(const core::Spec& spec) {
  fs::path folder = fs::absolute(spec.Path(Text(spec, "dir"))).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // "dir/" and "."
  return folder;
}

// <folder>-<hash>.sqlite
bool IsNamed(const fs::path& file, const std::string& stem) {
  const std::string name = file.filename().string();
  const std::string prefix = stem + "-";
  if (name.size() <= prefix.size() + 7 || name.rfind(prefix, 0) != 0) return false;
  const std::string hash = name.substr(prefix.size(), name.size() - prefix.size() - 7);
  return name.substr(name.size() - 7) == ".sqlite" && std::ranges::all_of(hash, [](char c) {
           return std::isalnum(static_cast<unsigned char>(c));
         });
}

// What _migration_status says: "" in a file that no hot copy made.
std::string StatusOf(const fs::path& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return "";
  try {
    const auto session = db::Connect(db::Endpoint::Sqlite(file), {.read_only = true});
    if (session->Scalar("SELECT count(*) FROM main.sqlite_schema WHERE name = '_migration_status'")
            .AsInteger() == 0) {
      return "";
    }
    const auto status =
        session->MaybeScalar("SELECT status FROM main._migration_status WHERE id = 0");
    return status ? status->TextOr("") : "";
  } catch (const Error&) {
    return "";
  }
}

// Its writes are refused for good: an earlier migration has led away from it, whether that was
// cleaned up or not.
bool IsRetired(const fs::path& file) {
  try {
    const auto session = db::Connect(db::Endpoint::Sqlite(file), {.read_only = true});
    capture::SqliteCapture capture(*session);
    if (!capture.RefusesWrites()) return false;
    return capture.Mark() == capture::SqliteMark::kNone || StatusOf(capture.Target()) == "ready";
  } catch (const Error&) {
    return false;
  }
}

struct Found {
  std::vector<fs::path> sources;
  std::vector<fs::path> retired;
  std::vector<fs::path> others;  // SQLite files by other names
};

Found Look(const fs::path& folder, const fs::path& target) {
  Found found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".sqlite") continue;
    if (entry.path() == target) continue;
    // A schema that was edited meanwhile names another new file than the one that was begun.
    if (StatusOf(entry.path()) == "migrating") continue;
    if (IsNamed(entry.path(), folder.filename().string())) {
      found.sources.push_back(entry.path());
    } else {
      found.others.push_back(entry.path());
    }
  }
  std::ranges::sort(found.sources);
  if (found.sources.size() > 1) {
    std::vector<fs::path> live;
    for (const fs::path& file : found.sources) {
      (IsRetired(file) ? found.retired : live).push_back(file);
    }
    if (!live.empty()) found.sources = live;
  }
  return found;
}

std::string Names(const std::vector<fs::path>& files) {
  std::string names;
  for (const fs::path& file : files) {
    names += (names.empty() ? "" : ", ") + file.filename().string();
  }
  return names;
}

}  // namespace

fs::path SchemaFile(const core::Spec& spec) {
  const std::string given = Text(spec, "schema");
  return given.empty() ? Folder(spec) / "schema.sql" : spec.Path(given);
}

bool TriggersOnReplay(const core::Spec& spec) {
  const auto it = spec.document.find("triggers_on_replay");
  if (it == spec.document.end() || it->is_null()) return false;
  if (!it->is_boolean()) Wrong("triggers_on_replay", "true or false is needed");
  return it->get<bool>();
}

catalog::SqliteColumnChoices ColumnChoices(const core::Spec& spec) {
  catalog::SqliteColumnChoices choices;
  const auto given = spec.document.find("columns");
  if (given == spec.document.end() || given->is_null()) return choices;
  static constexpr const char* kForm =
      R"({table: {new column: {"from": old column} | {"sql": expression} | {"default": true}}} is needed)";
  if (!given->is_object()) Wrong("columns", kForm);
  for (const auto& [table, columns] : given->items()) {
    if (!columns.is_object()) Wrong("columns/" + table, kForm);
    for (const auto& [column, choice] : columns.items()) {
      const std::string where = "columns/" + table + "/" + column;
      if (!choice.is_object() || choice.size() != 1) Wrong(where, kForm);
      catalog::SqliteColumnChoice& one = choices[table][column];
      if (choice.contains("from") && choice["from"].is_string()) {
        one.from = choice["from"].get<std::string>();
      } else if (choice.contains("sql") && choice["sql"].is_string()) {
        one.sql = choice["sql"].get<std::string>();
      } else if (choice.contains("default") && choice["default"].is_boolean() &&
                 choice["default"].get<bool>()) {
        one.use_default = true;
      } else {
        Wrong(where, kForm);
      }
    }
  }
  return choices;
}

bool SourceIsAmbiguous(const core::Spec& spec) {
  return !Text(spec, "dir").empty() && Look(Folder(spec), spec.Target().file()).sources.size() > 1;
}

std::string WhyNoSource(const core::Spec& spec) {
  if (Text(spec, "dir").empty()) return "the migration has no 'source'";
  const fs::path folder = Folder(spec);
  const Found found = Look(folder, spec.Target().file());
  const std::string form = folder.filename().string() + "-<schema-hash>.sqlite";
  if (found.sources.size() > 1) {
    return "more than one file could be the old one: " + Names(found.sources) +
           "; move what is no longer in use out of " + folder.string();
  }
  if (!found.others.empty()) {
    return "no file by the name " + form + " is in " + folder.string() +
           ", but these, whose names are not of that form: " + Names(found.others) +
           "; rename the one that is in use";
  }
  return "no old SQLite file (" + form + ") is in " + folder.string() +
         "; for a new database: understudy migrate init";
}

void Resolve(core::Spec& spec) {
  const std::string dir = Text(spec, "dir");
  const bool has_dir = !dir.empty();
  if (has_dir && (spec.document.contains("source") || spec.document.contains("schema"))) {
    Wrong("dir", "says where everything is; it goes without 'source' and 'schema'");
  }
  if (!has_dir && (!spec.endpoints.contains("source") || Text(spec, "schema").empty())) {
    Wrong("source", "'dir' is needed, or 'source' and 'schema'");
  }
  for (const auto& [role, endpoint] : spec.endpoints) {
    if (endpoint.engine() != db::Engine::kSqlite) Wrong(role, "an SQLite file is needed");
  }
  const fs::path schema = SchemaFile(spec);
  std::error_code ignored;
  if (!fs::is_regular_file(schema, ignored)) {
    Wrong(has_dir ? "dir" : "schema", "the schema was not found: " + schema.string());
  }
  ColumnChoices(spec);
  TriggersOnReplay(spec);
  const std::string hash =
      catalog::EvaluateSqliteSchema(ReadFile(schema), schema.string()).schema.Hash();
  if (has_dir) {
    const fs::path folder = Folder(spec);
    const fs::path target = folder / (folder.filename().string() + "-" + hash + ".sqlite");
    spec.endpoints.insert_or_assign("target", db::Endpoint::Sqlite(target));
    const Found found = Look(folder, target);
    if (found.sources.size() == 1) {
      spec.endpoints.insert_or_assign("source", db::Endpoint::Sqlite(found.sources[0]));
    }
    return;
  }
  if (spec.endpoints.contains("target")) return;
  const fs::path folder = fs::absolute(spec.Endpoint("source").file()).parent_path();
  spec.endpoints.insert_or_assign(
      "target",
      db::Endpoint::Sqlite(folder / (folder.filename().string() + "-" + hash + ".sqlite")));
}

std::string SchemaCommit(const fs::path& schema) {
  if (FindProgram("git").empty()) return "";
  try {
    const Outcome outcome = RunCommand({.argv = {"git", "rev-parse", "HEAD"},
                                        .folder = fs::absolute(schema).parent_path(),
                                        .deadline = std::chrono::seconds(10)});
    if (!outcome.ok()) return "";
    std::string commit = outcome.out;
    while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back())) != 0) {
      commit.pop_back();
    }
    return commit;
  } catch (const Error&) {
    return "";
  }
}

}  // namespace understudy::hot_copy
