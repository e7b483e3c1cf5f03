#include "harness/cli/scripts.h"

#include <map>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/db/script.h"

namespace understudy::cli {
namespace {

// A longer one is read once, when it is loaded.
constexpr std::uintmax_t kLongFixture = 64U << 20U;

db::Engine EngineOf(const harness::DatabaseSpec& database) {
  return database.engine == "sqlite" ? db::Engine::kSqlite : db::Engine::kPostgres;
}

void SplitFixture(const harness::DatabaseSpec& database) {
  const db::Engine engine = EngineOf(database);
  for (const Json& item : database.fixture) {
    if (!item.is_string()) continue;
    const std::filesystem::path file = item.get<std::string>();
    std::error_code ignored;
    if (std::filesystem::is_directory(file, ignored) ||
        std::filesystem::file_size(file, ignored) > kLongFixture) {
      continue;
    }
    const std::string text = ReadFile(file);
    if (engine == db::Engine::kPostgres && db::WrittenByPgDump(text)) continue;  // psql's
    db::SplitScript(text, engine, file.string());
  }
}

void SplitSteps(const harness::Scenario& scenario, const std::vector<harness::StepSpec>& steps) {
  for (const harness::StepSpec& step : steps) {
    SplitSteps(scenario, step.background);
    if (step.verb != "exec") continue;
    const db::Engine engine = EngineOf(scenario.Database(step.options.at("on")));
    if (step.options.contains("file")) {
      const std::string file = step.options["file"];
      db::SplitScript(ReadFile(file), engine, file);
    } else if (step.options.at("sql").is_string()) {
      db::SplitScript(step.options["sql"].get<std::string>(), engine,
                      scenario.file.string() + ": step " + step.name);
    }
  }
}

}  // namespace

void AtItsPlace(const std::string& file, const std::string& pointer,
                const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    const std::string& message = error.message();
    const auto colon = message.find(": ");
    if (error.kind() != ErrorKind::kInvalidSpec || !message.starts_with("/") ||
        colon == std::string::npos || message.find_first_of(" .:") < colon) {
      throw;
    }
    FailAt(file, pointer + message.substr(0, colon), message.substr(colon + 2));
  }
}

std::vector<core::PlanStatement> StatementsOf(const harness::Scenario& scenario,
                                              const core::Registry& registry) {
  // The databases of a rehearsal do not exist yet, so names stand for empty endpoints: only their
  // engine is asked.
  std::map<std::string, db::Endpoint> databases;
  for (const harness::DatabaseSpec& database : scenario.databases) {
    databases.emplace(database.name, EngineOf(database) == db::Engine::kSqlite
                                         ? db::Endpoint::Sqlite("plan")
                                         : db::Endpoint::Postgres({}));
  }
  std::vector<core::PlanStatement> all;
  for (const auto& [name, document] : scenario.migrations) {
    const core::Spec spec = core::Spec::Parse(document, name, scenario.file.parent_path(),
                                              scenario.file.string(), registry, databases);
    const core::StrategyInfo& info = registry.Find(spec.strategy);
    if (!info.statements) continue;
    const std::string at =
        scenario.document.contains("migrations") ? "/migrations/" + name : "/migration";
    AtItsPlace(scenario.file.string(), at, [&] {
      const auto statements = info.statements(spec);
      all.insert(all.end(), statements.begin(), statements.end());
    });
  }
  return all;
}

void SplitScripts(const std::vector<harness::Scenario>& scenarios) {
  const core::Registry registry = AllStrategies();
  for (const harness::Scenario& scenario : scenarios) {
    for (const harness::DatabaseSpec& database : scenario.databases) SplitFixture(database);
    SplitSteps(scenario, scenario.steps);
    StatementsOf(scenario, registry);
  }
}

}  // namespace understudy::cli
