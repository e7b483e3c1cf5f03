#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/db/endpoint.h"
#include "harness/cli/run_scenarios.h"
#include "harness/cli/scripts.h"
#include "harness/cli/selection.h"

// The newcomer's one command: SQL files and a database, nothing else to write.
namespace understudy::cli {
namespace fs = std::filesystem;
namespace {

struct Options {
  std::vector<std::string> up;
  std::string from;
  std::string down;
  std::string layout;
  std::string save;
  std::string engine;
  std::string provision;
  int pg = 0;
  int clients = 2;
  double rate_per_s = 50;
  RunSettings settings;
  std::string out;
};

std::string Absolute(const std::string& path) {
  return fs::absolute(path).lexically_normal().string();
}

std::string Head(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string head(4096, '\0');
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(in.gcount()));
  return head;
}

// `from` is an endpoint to copy, a dump to restore, or SQL to run.
Json DatabaseFrom(const Options& options) {
  Json database = Json::object();
  const std::string& from = options.from;
  if (db::Endpoint::LooksLikeOne(from)) {
    const db::Endpoint endpoint = db::Endpoint::Parse(from, fs::current_path());
    database["engine"] = db::EngineName(endpoint.engine());
    database["from"] =
        endpoint.engine() == db::Engine::kSqlite ? "sqlite:" + Absolute(endpoint.file()) : from;
    return database;
  }
  if (!fs::exists(from)) {
    throw Error(ErrorKind::kInvalidSpec,
                "--from " + from +
                    ": neither an endpoint nor a file that is there; allowed: "
                    "postgres://…, a conninfo, sqlite:PATH, a dump of pg_dump, a file of SQL");
  }
  database["engine"] = options.engine.empty() ? "postgres" : options.engine;
  const std::string head = fs::is_directory(from) ? "" : Head(from);
  const bool dump = fs::is_directory(from) || head.rfind("PGDMP", 0) == 0 ||
                    head.find("PostgreSQL database dump") != std::string::npos;
  if (head.rfind("SQLite format 3", 0) == 0) {
    database["engine"] = "sqlite";
    database["from"] = "sqlite:" + Absolute(from);
  } else if (dump) {
    database["from"] = Absolute(from);
  } else {
    database["fixture"] = Json::array({Absolute(from)});
  }
  return database;
}

Json MakeDocument(const Options& options) {
  Json migration = {{"strategy", "sql"}, {"on", "main"}};
  if (options.up.size() == 1) {
    migration["up"] = Absolute(options.up[0]);
  } else {
    migration["up"] = Json::array();
    for (const std::string& file : options.up) migration["up"].push_back(Absolute(file));
  }
  if (!options.down.empty()) migration["down"] = Absolute(options.down);
  if (!options.layout.empty()) migration["layout"] = options.layout;
  Json database = DatabaseFrom(options);
  if (!options.provision.empty() && database["engine"] == "postgres") {
    database["provision"] = options.provision;
  }
  if (options.pg != 0 && database["engine"] == "postgres") database["version"] = options.pg;
  std::string name = "try-";
  for (const char c : fs::path(options.up.front()).stem().string()) {
    const auto byte = static_cast<unsigned char>(c);
    name += std::isalnum(byte) != 0 ? static_cast<char>(std::tolower(byte)) : '-';
  }
  return {{"name", name.substr(0, 100)},
          {"description", "Written by: understudy try"},
          {"databases", {{"main", database}}},
          {"migration", migration},
          {"workload",
           {{{"kind", "writers"},
             {"on", "main"},
             {"clients", options.clients},
             {"rate_per_s", options.rate_per_s}},
            {{"kind", "readers"},
             {"on", "main"},
             {"clients", options.clients},
             {"rate_per_s", options.rate_per_s}}}}};
}

// A file that may be kept, sent and committed holds no password. True when one was taken out.
bool TakePasswordOut(Json& document) {
  Json& database = document["databases"]["main"];
  if (!database.contains("from")) return false;
  const std::string from = database["from"];
  if (from.starts_with("env:") || !db::Endpoint::LooksLikeOne(from)) return false;
  const db::Endpoint endpoint = db::Endpoint::Parse(from);
  if (endpoint.engine() != db::Engine::kPostgres) return false;
  std::map<std::string, std::string> settings = endpoint.settings();
  if (settings.erase("password") + settings.erase("sslpassword") == 0) return false;
  database["from"] = db::Endpoint::Postgres(settings).Uri();
  return true;
}

int Try(const Program& program, Options& options) {
  for (const std::string& up : options.up) {
    if (!fs::exists(up)) throw Error(ErrorKind::kInvalidSpec, "no such file: " + up);
  }
  const Json document = MakeDocument(options);
  RunSettings settings = options.settings;
  if (!options.out.empty()) settings.out = options.out;
  if (!options.provision.empty()) settings.provision_by_name = options.provision;
  harness::Overrides overrides;
  overrides.may_be_changed = program.may_be_changed;
  ApplyEnvironment(overrides);
  const std::string name = document["name"];
  // All of it is read before anything is made.
  SplitScripts(
      {harness::ScenarioFromJson(document, fs::current_path() / (name + ".json"), overrides)});
  settings.made = MakeRunFolder(settings);
  const fs::path where = options.save.empty() ? *settings.made / (name + ".scenario.json")
                                              : fs::absolute(options.save);
  fs::create_directories(where.parent_path());
  Json written = document;
  const bool secret = TakePasswordOut(written);
  WriteFileWhole(where, ToText(written));
  const RunDone done =
      RunScenarios(program, {harness::ScenarioFromJson(document, where, overrides)}, settings);
  if (!program.json) {
    std::cout << "Scenario: " << where.string() << "\nAgain:    " << (secret ? "PGPASSWORD=… " : "")
              << "understudy run " << ShellWord(where.string()) << "\n";
    if (secret) std::cout << "The password of --from is not in it; PGPASSFILE does as well.\n";
  }
  return done.exit;
}

}  // namespace

void AddTry(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand(
      "try", "Rehearse SQL files on a copy of a database, without a scenario file");
  auto options = std::make_shared<Options>();
  verb->add_option("UP", options->up, "SQL files, or one folder of migrations")->required();
  verb->add_option("--from", options->from,
                   "What to copy: an endpoint, a dump of pg_dump, or a file of SQL")
      ->required();
  verb->add_option("--down", options->down, "The SQL file that goes back")
      ->check(CLI::ExistingFile);
  verb->add_option("--layout", options->layout, "Of a folder: whose migrations they are")
      ->check(CLI::IsMember(
          {"auto", "plain", "golang-migrate", "goose", "dbmate", "flyway", "sqitch"}));
  verb->add_option("--engine", options->engine, "Of a file of SQL (default postgres)")
      ->check(CLI::IsMember({"postgres", "sqlite"}));
  verb->add_option("--save", options->save, "Write the scenario here");
  verb->add_option("--provision", options->provision, "Where PostgreSQL comes from")
      ->check(CLI::IsMember({"auto", "local", "docker"}));
  verb->add_option("--pg", options->pg, "The major version of PostgreSQL")
      ->check(CLI::Range(12, 99));
  verb->add_option("--clients", options->clients, "Writers, and as many readers")
      ->check(CLI::Range(0, 200))
      ->capture_default_str();
  verb->add_option("--rate", options->rate_per_s, "Operations per second of all of each kind")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("--out", options->out, "Folder of this run: absent or empty");
  verb->add_flag("--keep", options->settings.keep, "Keep the database and say how to connect");
  verb->add_flag("--show-values", options->settings.show_values, "Show values of rows");
  AddJsonFlag(*verb, program);
  AddMayBeChangedFlag(*verb, program);
  verb->footer(
      "Examples:\n  understudy try 0007_total_cents.sql --from schema.sql\n"
      "  understudy try migrations/0007.up.sql --down migrations/0007.down.sql --from "
      "production.dump\n"
      "  understudy try db/migrations --from postgres://readonly@replica/shop\n"
      "The database that is copied is only read.");
  verb->callback([&program, options] {
    program.run = [&program, options] { return Try(program, *options); };
  });
}

}  // namespace understudy::cli
