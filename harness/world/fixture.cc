#include "harness/world/fixture.h"

#include <algorithm>
#include <vector>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/base/redact.h"
#include "engine/db/script.h"
#include "engine/db/session.h"
#include "harness/world/generate.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

void Tell(const FixtureContext& context, const std::string& what) {
  if (context.progress) context.progress(what);
}

void StopIfAsked(const FixtureContext& context) {
  if (context.stop && context.stop()) {
    throw Error(ErrorKind::kCancelled, "interrupted while a fixture was loaded");
  }
}

// The server counts lines from the start of what it was given: "LINE 3: …".
int LineInStatement(std::string_view message) {
  const auto at = message.find("\nLINE ");
  if (at == std::string_view::npos) return 1;
  return std::max(1, std::atoi(message.data() + at + 6));
}

void ThroughPsql(const db::Endpoint& endpoint, const fs::path& file,
                 const FixtureContext& context) {
  Command command;
  command.argv = {context.psql.string(), "-X", "-q",        "-w", "-v",
                  "ON_ERROR_STOP=1",     "-o", "/dev/null", "-f", file.string()};
  command.environment = endpoint.Environment();
  command.environment["PGOPTIONS"] += " -c client_min_messages=warning";
  command.environment["PGAPPNAME"] = "understudy";
  const Outcome outcome = [&] {
    try {
      return RunCommand(command, context.stop);
    } catch (Error& error) {
      throw Error(ErrorKind::kEnvironment,
                  "psql is needed to load " + file.string() +
                      ", a file that pg_dump wrote: " + error.message() +
                      "; install the PostgreSQL client (Debian: postgresql-client)");
    }
  }();
  StopIfAsked(context);
  if (outcome.ok()) return;
  std::string why = Redact(outcome.err.empty() ? outcome.out : outcome.err);
  while (!why.empty() && why.back() == '\n') why.pop_back();
  if (why.starts_with("psql:")) why.erase(0, 5);  // psql:FILE:LINE: ERROR: …
  if (!why.starts_with(file.string())) why = file.string() + ": " + why;
  // psql: 1 fatal, 2 the connection, 3 an error in the script
  throw Error(outcome.exit_status == 2 ? ErrorKind::kUnavailable : ErrorKind::kInvalidSpec, why);
}

void CheckItem(const Json& item, const std::string& pointer) {
  if (item.is_string()) return;
  if (!item.is_object()) FailAt("fixture", pointer, "must be a path or an object");
  const bool generate = item.contains("generate");
  if (!generate && !item.contains("migrations")) {
    FailAt("fixture", pointer, "must have the key generate or migrations");
  }
  for (const auto& [key, value] : item.items()) {
    const bool known = generate ? key == "generate" || key == "scale"
                                : key == "migrations" || key == "layout" || key == "through";
    if (!known) {
      FailAt("fixture", pointer + "/" + key,
             generate ? "unknown key; allowed: generate, scale"
                      : "unknown key; allowed: migrations, layout, through");
    }
  }
}

double ScaleOf(const Json& item, const FixtureContext& context) {
  return item.value("scale", 1.0) * context.scale;
}

}  // namespace

void LoadSqlFile(const db::Endpoint& endpoint, const fs::path& file,
                 const FixtureContext& context) {
  const std::string text = ReadFile(file);
  if (endpoint.engine() == db::Engine::kPostgres && db::WrittenByPgDump(text)) {
    return ThroughPsql(endpoint, file, context);
  }
  const auto statements = db::SplitScript(text, endpoint.engine(), file.string());
  db::SessionOptions options;
  options.settings = db::Settings::kUsers;
  options.application_name = "understudy fixture";
  options.create = true;
  const auto session = db::Connect(endpoint, options);
  for (const db::ScriptStatement& statement : statements) {
    StopIfAsked(context);
    try {
      db::Send(*session, statement);
    } catch (const Error& error) {
      const int line = statement.line + LineInStatement(error.message()) - 1;
      throw Error(error.kind() == ErrorKind::kConstraint ? ErrorKind::kInvalidSpec : error.kind(),
                  file.string() + ":" + std::to_string(line) + ": " + error.message(),
                  error.code());
    }
  }
  if (session->InTransaction()) {
    throw Error(ErrorKind::kInvalidSpec,
                file.string() + ": ends inside a transaction; a COMMIT is missing");
  }
}

void LoadFixture(const db::Endpoint& endpoint, const Json& fixture, const FixtureContext& context) {
  if (fixture.is_null()) return;
  if (!fixture.is_array()) FailAt("fixture", "", "must be an array");
  for (std::size_t i = 0; i < fixture.size(); ++i) {
    CheckItem(fixture[i], "/" + std::to_string(i));
  }
  for (const Json& item : fixture) {
    StopIfAsked(context);
    if (item.is_string()) {
      const fs::path file = item.get<std::string>();
      Tell(context, "loading " + file.filename().string());
      LoadSqlFile(endpoint, file, context);
    } else if (item.contains("generate")) {
      const fs::path file = item["generate"].get<std::string>();
      GenerateOptions options;
      options.seed = context.seed;
      options.scale = ScaleOf(item, context);
      options.progress = context.progress;
      options.stop = context.stop;
      GenerateRows(endpoint, ParseJsonFile(file), file.string(), options);
    } else {
      if (!context.run_migrations) {
        throw Error(ErrorKind::kInternal, "a fixture's migrations have nobody to run them");
      }
      Tell(context, "migrating to " + item.value("through", std::string("the newest version")));
      context.run_migrations(item, endpoint);
    }
  }
}

std::string FixtureDigest(const Json& fixture, const FixtureContext& context) {
  std::string all = "understudy-fixture/1\n";
  if (!fixture.is_array()) return Sha256Hex(all);
  for (const Json& item : fixture) {
    if (item.is_string()) {
      all += "sql " + Sha256HexOfFile(item.get<std::string>()) + "\n";
    } else if (item.contains("generate")) {
      all += "generate " + Sha256HexOfFile(item["generate"].get<std::string>()) + " " +
             std::to_string(ScaleOf(item, context)) + " " + std::to_string(context.seed) + "\n";
    } else {
      all += "migrations " + item.value("layout", std::string()) + " " +
             item.value("through", std::string()) + "\n";
      const fs::path folder = item.value("migrations", std::string());
      std::vector<fs::path> files;
      std::error_code ignored;
      if (fs::is_regular_file(folder, ignored)) files.push_back(folder);
      for (fs::recursive_directory_iterator it(folder, ignored), end; it != end;
           it.increment(ignored)) {
        if (it->is_regular_file(ignored)) files.push_back(it->path());
      }
      std::sort(files.begin(), files.end());
      for (const fs::path& file : files) {
        all += file.lexically_relative(folder).string() + " " + Sha256HexOfFile(file) + "\n";
      }
    }
  }
  return Sha256Hex(all);
}

}  // namespace understudy::harness
