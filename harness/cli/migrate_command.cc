#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/log.h"
#include "engine/base/redact.h"
#include "engine/core/lifecycle.h"
#include "engine/hot_copy/hot_copy.h"
#include "harness/cli/migration_progress.h"
#include "harness/cli/program.h"
#include "harness/cli/scripts.h"
#include "harness/scenario/overrides.h"

// The real migration, phase by phase, by the engine that the rehearsal used.
namespace understudy::cli {
namespace {

struct Options {
  std::string verb;
  std::string file;
  std::string dir;  // of a hot copy, instead of a file
  bool follow = false;
  bool dry_run = false;
  bool lose_writes = false;
  bool confirm = false;
  std::string to;
  std::string at;
  std::string confirm_with;
  std::string pause_file;
  std::string log;
  bool allow_old_snapshots = false;
  std::vector<std::string> set;
};

// "2026-11-21T03:00:00Z" (UTC), "03:00" (the next time that it is, local time) or "+90s", "+5m".
std::chrono::system_clock::time_point ParseMoment(const std::string& text) {
  const auto now = std::chrono::system_clock::now();
  std::tm parts{};
  const auto whole = [&](const char* format) {
    parts = {};
    const char* end = ::strptime(text.c_str(), format, &parts);
    return end != nullptr && *end == '\0';
  };
  if (whole("%Y-%m-%dT%H:%M:%SZ")) return std::chrono::system_clock::from_time_t(::timegm(&parts));
  if (whole("%H:%M") || whole("%H:%M:%S")) {
    const std::time_t today = std::chrono::system_clock::to_time_t(now);
    std::tm local{};
    ::localtime_r(&today, &local);
    local.tm_hour = parts.tm_hour;
    local.tm_min = parts.tm_min;
    local.tm_sec = parts.tm_sec;
    local.tm_isdst = -1;
    auto moment = std::chrono::system_clock::from_time_t(::mktime(&local));
    if (moment <= now) {
      ++local.tm_mday;
      local.tm_isdst = -1;
      moment = std::chrono::system_clock::from_time_t(::mktime(&local));
    }
    return moment;
  }
  std::int64_t amount = 0;
  char unit = 's';
  int read = 0;
  if (std::sscanf(text.c_str(), "+%" SCNd64 "%c%n", &amount, &unit, &read) == 2 &&
      static_cast<std::size_t>(read) == text.size() &&
      (unit == 's' || unit == 'm' || unit == 'h')) {
    return now + std::chrono::seconds(amount * (unit == 's' ? 1 : unit == 'm' ? 60 : 3600));
  }
  throw UsageError("--at " + text +
                   ": a time is needed, such as 2026-11-21T03:00:00Z (UTC), 03:00 (local) or +5m");
}

// The verb's own log: UNDERSTUDY_OUT (or understudy-out) / migrate / ID / TIME-VERB.log.
std::filesystem::path LogFile(const Options& options, const std::string& id) {
  if (!options.log.empty()) return options.log;
  const char* out = std::getenv("UNDERSTUDY_OUT");
  const std::string time = UtcFolderName(std::chrono::system_clock::now());
  const std::filesystem::path folder =
      std::filesystem::path(out != nullptr && *out != '\0' ? out : "understudy-out") / "migrate" /
      id;
  std::filesystem::path file = folder / (time + "-" + options.verb + ".log");
  for (int n = 2; std::filesystem::exists(file); ++n) {
    file = folder / (time + "-" + options.verb + "-" + std::to_string(n) + ".log");
  }
  return file;
}

core::Spec LoadSpec(const Options& options, const core::Registry& registry) {
  if (!options.file.empty() && !options.dir.empty()) {
    throw UsageError("either a FILE or --dir is needed, not both");
  }
  const bool in_folder = options.file.empty();
  std::filesystem::path file(options.file);
  Json document;
  if (in_folder) {  // a hot copy: everything else is found by its name
    const std::string dir = options.dir.empty() ? "." : options.dir;
    if (!std::filesystem::is_directory(dir)) throw UsageError("no such folder: " + dir);
    file = std::filesystem::canonical(dir) / "schema.sql";
    if (options.dir.empty() && !std::filesystem::exists(file)) {
      throw UsageError(
          "FILE is missing: the migration file (or, for the hot copy of an SQLite file, "
          "run this in a folder that holds schema.sql; the schema was not found: " +
          file.string() + ")");
    }
    document = {{"strategy", "hot-copy"}, {"dir", file.parent_path().string()}};
  } else {
    document = ParseJsonFile(file);
  }
  harness::Overrides overrides;
  for (const std::string& item : options.set) {
    const auto equals = item.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError("--set " + item + ": KEY=VALUE is needed, such as limits.jobs=4");
    }
    overrides.set.emplace_back(item.substr(0, equals), item.substr(equals + 1));
  }
  harness::ApplyOverrides(document, overrides);
  return core::Spec::Parse(
      document, in_folder ? file.parent_path().filename().string() : file.stem().string(),
      std::filesystem::absolute(file).parent_path(), in_folder ? options.dir : options.file,
      registry);
}

std::string NextCommand(const std::string& next, const Options& options) {
  if (next.empty()) return "";
  if (!options.file.empty()) return "understudy " + next + " " + ShellWord(options.file);
  return "understudy " + next + (options.dir.empty() ? "" : " --dir " + ShellWord(options.dir));
}

int PrintPlan(const Program& program, const Options& options, core::Plan plan) {
  plan.next = NextCommand(plan.next, options);
  if (program.json) {
    std::cout << ToText(plan.ToJson());
    return plan.can_run() ? kPass : kFail;
  }
  for (const core::PlanStep& step : plan.steps) {
    std::string cost;
    if (step.rows) cost += ", " + Rows(static_cast<double>(*step.rows)) + " rows";
    if (step.bytes) cost += ", " + Bytes(static_cast<double>(*step.bytes));
    if (step.estimate_ms) {
      cost += fmt::format(", about {:.1f} s", static_cast<double>(*step.estimate_ms) / 1000);
    }
    std::cout << fmt::format("{:<10} {}{}\n", step.phase, Redact(step.what),
                             cost.empty() ? "" : " (" + cost.substr(2) + ")");
    for (const Json& lock : step.locks) {
      std::cout << fmt::format("{:<10}   {} on {}\n", "", lock.value("mode", "?"),
                               lock.value("object", "?"));
    }
  }
  for (const core::PlanStatement& s : plan.statements) {
    std::string sql = s.sql.substr(0, s.sql.find('\n'));
    if (sql.size() > 90) sql = sql.substr(0, 87) + "…";
    std::cout << fmt::format("  {}:{}  [{}] {}{}\n", s.file, s.line, s.transaction, sql,
                             s.note.empty() ? "" : "  -- " + s.note);
  }
  if (plan.existing_backup.is_object()) {
    std::cout << fmt::format(
        "backup: one is there ({} tables); it is kept until prepare has succeeded, then removed\n",
        plan.existing_backup.value("tables", Json::array()).size());
  }
  for (const std::string& warning : plan.warnings) std::cout << "warning: " << warning << "\n";
  for (const core::PlanRefusal& r : plan.refused) {
    std::cout << "refused: " << r.object << ": " << r.why << "\n";
  }
  std::cout << "Can run migrate now: " << (plan.can_run() ? "yes" : "no") << "\n";
  if (plan.can_run() && !plan.next.empty()) std::cout << "Next: " << plan.next << "\n";
  return plan.can_run() ? kPass : kFail;
}

int PrintStatus(const Program& program, const Options& options, core::Status status) {
  status.next = NextCommand(status.next, options);
  if (program.json) {
    Json json = {{"format", "understudy-migrate/1"}};
    json.update(status.ToJson());
    std::cout << ToText(json);
  } else {
    std::cout << fmt::format("strategy:    {}\nstate:       {}\nin service:  {}\n", status.strategy,
                             core::StateName(status.state),
                             core::OwnerName(status.of_strategy.in_service));
    if (status.of_strategy.rows_total) {
      std::cout << fmt::format("rows:        {} of {}\n", status.of_strategy.rows_done,
                               *status.of_strategy.rows_total);
    }
    if (status.of_strategy.pending_writes > 0) {
      std::cout << fmt::format("pending:     {} writes to replay\n",
                               status.of_strategy.pending_writes);
    }
    if (status.of_strategy.backup.is_object()) {
      const Json& backup = status.of_strategy.backup;
      std::cout << fmt::format(
          "backup:      {} tables, {} rows, {}\n", backup.value("tables", Json::array()).size(),
          backup.value("rows", std::int64_t{0}), Bytes(backup.value("bytes", 0.0)));
    }
    if (!status.of_strategy.detail.empty()) {
      std::cout << "detail:      " << status.of_strategy.detail << "\n";
    }
    if (!status.message.empty()) std::cout << "message:     " << status.message << "\n";
    for (const std::string& blocking : status.of_strategy.blocking) {
      std::cout << "blocking:    " << blocking << "\n";
    }
    if (!status.next.empty()) std::cout << "next:        " << status.next << "\n";
  }
  return status.state == core::State::kAmbiguous ? kUnknown : kPass;
}

int PrintOutcome(const Program& program, const Options& options, core::PhaseOutcome outcome) {
  outcome.next = NextCommand(outcome.next, options);
  if (program.json) {
    std::cout << ToText({{"format", "understudy-migrate/1"},
                         {"verb", options.verb},
                         {"outcome", core::OutcomeName(outcome.kind)},
                         {"state", core::StateName(outcome.state)},
                         {"next", outcome.next},
                         {"message", Redact(outcome.message)}});
  } else {
    std::ostream& out = outcome.ok() ? std::cout : std::cerr;
    out << options.verb << ": " << core::OutcomeName(outcome.kind);
    if (!outcome.message.empty()) out << ": " << Redact(outcome.message);
    out << "\nState: " << core::StateName(outcome.state) << "\n";
    if (!outcome.next.empty()) out << "Next: " << outcome.next << "\n";
  }
  using Kind = core::PhaseOutcome::Kind;
  switch (outcome.kind) {
    case Kind::kDone:
    case Kind::kNothing:
      return kPass;
    case Kind::kAmbiguous:
      return kUnknown;
    case Kind::kInterrupted:
      return kInterrupted;
    default:
      return kFail;
  }
}

// After a failure: what the databases say, what is safe, and the two ways on.
void PrintRecovery(const Options& options, core::Lifecycle& lifecycle) {
  try {
    const core::Status status = lifecycle.GetStatus();
    std::cerr << "Recovery snapshot:\n  in service: "
              << core::OwnerName(status.of_strategy.in_service) << "\n";
    std::string line;
    for (const char c : status.of_strategy.detail + ";") {
      if (c != ';') {
        if (!line.empty() || c != ' ') line += c;
        continue;
      }
      std::cerr << "  " << Redact(line) << "\n";
      line.clear();
    }
    if (status.of_strategy.in_service != core::Owner::kOld) return;
    std::cerr << "  the old file is the source of truth, and whole\nGo on with: "
              << NextCommand(status.next, options)
              << "\nOr give it up:  " << NextCommand("migrate reset", options)
              << "   (what that does: " << NextCommand("migrate reset --dry-run", options) << ")\n";
  } catch (const std::exception& error) {
    std::cerr << "Recovery snapshot: none to be had: " << Redact(error.what()) << "\n";
  }
}

int Migrate(const Program& program, const Options& options) {
  const core::Registry registry = AllStrategies();
  const core::Spec spec = LoadSpec(options, registry);
  const bool is_hot_copy = spec.strategy == "hot-copy";
  if (options.verb == "init" && is_hot_copy) {
    core::PhaseOutcome outcome;
    try {
      outcome.message = "made " + hot_copy::Init(spec).string() + "; it is ready";
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUnsupported) throw;
      outcome.kind = core::PhaseOutcome::Kind::kRefused;
      outcome.message = error.what();
    }
    return PrintOutcome(program, options, outcome);
  }
  core::Lifecycle::Options engine;
  if (!options.at.empty()) engine.at = ParseMoment(options.at);
  const bool absent =
      registry.Find(spec.strategy).makes_target && !std::filesystem::exists(spec.Target().file());
  if (!absent) {  // away: exit 69, before anything else is said
    db::Connect(spec.Target(), {.settings = db::Settings::kUsers});
  }
  const std::string& verb = options.verb;
  const bool reads_only = verb == "plan" || verb == "status";
  if (!reads_only) {
    const std::filesystem::path file = LogFile(options, spec.id);
    std::error_code ignored;  // SetFile says what is wrong
    std::filesystem::create_directories(std::filesystem::absolute(file).parent_path(), ignored);
    log::SetFile(file);
    fmt::print(stderr, "log: {}\n", file.string());
  }
  MigrationProgress progress(false);
  engine.probe = &progress;
  engine.stop = Interrupted;
  engine.follow = options.follow;
  engine.confirm_with = options.confirm_with;
  engine.allow_old_snapshots = options.allow_old_snapshots;
  engine.pause_file = options.pause_file;
  core::Lifecycle lifecycle(spec, registry, engine);
  if (verb == "plan") return PrintPlan(program, options, lifecycle.MakePlan());
  if (verb == "status") return PrintStatus(program, options, lifecycle.GetStatus());
  core::PhaseOutcome outcome;
  if (verb == "rollback") {
    outcome = lifecycle.Rollback({.to = options.to, .lose_writes = options.lose_writes});
  } else if (verb == "reset") {
    outcome = lifecycle.Reset(options.dry_run);
  } else if (verb == "cleanup") {
    outcome = lifecycle.Cleanup(options.dry_run);
  } else if (verb == "verify") {
    outcome = lifecycle.Verify();
  } else if (verb == "run") {
    outcome = lifecycle.RunThrough(core::Phase::kVerify);
  } else if (verb == "init") {
    outcome.kind = core::PhaseOutcome::Kind::kNothing;
    outcome.message = "the strategy '" + spec.strategy + "' needs no init; only hot-copy has it";
  } else {
    outcome = lifecycle.RunThrough(core::PhaseFromName(verb));
  }
  const int code = PrintOutcome(program, options, outcome);
  if (code != kPass && is_hot_copy) PrintRecovery(options, lifecycle);
  return code;
}

}  // namespace

void AddMigrate(CLI::App& app, Program& program) {
  CLI::App* migrate =
      app.add_subcommand("migrate", "Run the real migration that a migration file describes");
  migrate->require_subcommand(1);
  migrate->footer(
      "Examples:\n  understudy migrate plan orders.migration.json\n"
      "  understudy migrate run orders.migration.json\n"
      "  understudy migrate status orders.migration.json --json\n"
      "Exit: 0 done or nothing to do, 1 refused or failed with production still serving, 2 "
      "ambiguous: "
      "read the message first");
  struct Verb {
    const char* name;
    const char* what;
  };
  static constexpr Verb kVerbs[] = {
      {"plan", "What would be done; changes nothing"},
      {"run", "Everything through verify, in one go"},
      {"prepare", "Make what the migration needs beside production"},
      {"sync", "Copy and replay until little is left"},
      {"drain", "Hold new writes back until nothing is left to replay"},
      {"cutover", "Put the new state in service"},
      {"status", "Where the migration stands, by what the databases say"},
      {"verify", "Check what is in service now"},
      {"rollback", "Put the old state back in service"},
      {"cleanup", "Remove what is no longer needed"},
      {"reset", "Give up what was begun, before cutover"},
      {"init", "hot-copy: a new database from the schema alone"},
  };
  for (const Verb& v : kVerbs) {
    CLI::App* verb = migrate->add_subcommand(v.name, v.what);
    auto options = std::make_shared<Options>();
    options->verb = v.name;
    verb->add_option("FILE", options->file,
                     "The migration file; without one, the hot copy of an SQLite file in --dir");
    verb->add_option(
        "--dir,-d", options->dir,
        "Hot copy: the folder with schema.sql and the SQLite file (default: this one)");
    verb->add_option("--set", options->set, "KEY=VALUE: set any key of the file")
        ->allow_extra_args(false);
    AddJsonFlag(*verb, program);
    const std::string name = v.name;
    if (name == "run" || name == "sync") {
      verb->add_flag("--follow", options->follow, "Go on replaying until stopped");
    }
    if (name == "rollback") {
      verb->add_option("--to", options->to, "A rollback point");
      verb->add_flag("--lose-writes", options->lose_writes,
                     "Go back even where rows written since would be lost");
    }
    if (name == "reset" || name == "cleanup") {
      verb->add_flag("--dry-run", options->dry_run, "Only say what it would do");
    }
    if (name == "cutover" || name == "run") {
      verb->add_option("--at", options->at,
                       "Not before this time: 2026-11-21T03:00:00Z (UTC), 03:00 (local), +5m");
      verb->add_option("--confirm-with", options->confirm_with,
                       "A shell command that must end with status 0 before the first lock");
      verb->add_flag("--allow-old-snapshots", options->allow_old_snapshots,
                     "Cut over although a session with an old snapshot would see empty tables");
    }
    if (name != "plan" && name != "status") {
      verb->add_option("--pause-file", options->pause_file,
                       "Copy and cut over nothing while this file exists");
      verb->add_option("--log", options->log,
                       "The log file (default: below understudy-out/migrate)");
    }
    verb->footer(fmt::format("Example:\n  understudy migrate {} orders.migration.json", v.name));
    verb->callback([&program, options] {
      program.run = [&program, options] {
        int exit = kPass;
        AtItsPlace(options->file, "", [&] { exit = Migrate(program, *options); });
        return exit;
      };
    });
  }
}

}  // namespace understudy::cli
