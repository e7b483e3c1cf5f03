#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/redact.h"
#include "engine/core/lifecycle.h"
#include "harness/cli/program.h"
#include "harness/scenario/overrides.h"

// The real migration, phase by phase, by the engine that the rehearsal used.
namespace understudy::cli {
namespace {

struct Options {
  std::string verb;
  std::string file;
  bool follow = false;
  bool dry_run = false;
  bool lose_writes = false;
  bool confirm = false;
  std::string to;
  std::vector<std::string> set;
};

// Plain lines on stderr: what the engine does, as it does it.
class LineProbe : public core::Probe {
 public:
  void OnEvent(const core::Event& event) override {
    const Json& d = event.data;
    if (event.kind == "phase" && d.value("status", "") == "begin") {
      fmt::print(stderr, "{}…\n", d.value("phase", ""));
    } else if (event.kind == "statement") {
      std::string locks;
      for (const Json& lock : d.value("locks", Json::array())) {
        locks += fmt::format("{}{} on {}", locks.empty() ? "" : ", ", lock.value("mode", "?"),
                             lock.value("object", "?"));
      }
      fmt::print(stderr, "  {}:{}  {:.0f} ms{}{}\n", d.value("file", "?"), d.value("line", 0),
                 d.value("ms", 0.0), locks.empty() ? "" : "  ", locks);
    } else if (event.kind == "output") {
      fmt::print(stderr, "  {}\n", Redact(d.value("text", "")));
    } else if (event.kind == "log") {
      fmt::print(stderr, "  {}\n", Redact(d.value("text", "")));
    }
    std::fflush(stderr);
  }
};

core::Spec LoadSpec(const Options& options, const core::Registry& registry) {
  const std::filesystem::path file(options.file);
  Json document = ParseJsonFile(file);
  harness::Overrides overrides;
  for (const std::string& item : options.set) {
    const auto equals = item.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError("--set " + item + ": KEY=VALUE is needed, such as limits.jobs=4");
    }
    overrides.set.emplace_back(item.substr(0, equals), item.substr(equals + 1));
  }
  harness::ApplyOverrides(document, overrides);
  return core::Spec::Parse(document, file.stem().string(),
                           std::filesystem::absolute(file).parent_path(), options.file, registry);
}

std::string NextCommand(const std::string& next, const Options& options) {
  return next.empty() ? "" : "understudy " + next + " " + options.file;
}

int PrintPlan(const Program& program, const Options& options, core::Plan plan) {
  plan.next = NextCommand(plan.next, options);
  if (program.json) {
    std::cout << ToText(plan.ToJson());
    return plan.can_run() ? kPass : kFail;
  }
  for (const core::PlanStep& step : plan.steps) {
    std::cout << fmt::format("{:<10} {}\n", step.phase, Redact(step.what));
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

int Migrate(const Program& program, const Options& options) {
  const core::Registry registry = AllStrategies();
  const core::Spec spec = LoadSpec(options, registry);
  db::Connect(spec.Target());  // away: exit 69, before anything else is said
  LineProbe probe;
  core::Lifecycle lifecycle(
      spec, registry,
      {.probe = &probe, .stop = Interrupted, .rehearsal = false, .follow = options.follow});
  const std::string& verb = options.verb;
  if (verb == "plan") return PrintPlan(program, options, lifecycle.MakePlan());
  if (verb == "status") return PrintStatus(program, options, lifecycle.GetStatus());
  core::PhaseOutcome outcome;
  if (verb == "rollback") {
    outcome = lifecycle.Rollback({.to = options.to, .lose_writes = options.lose_writes});
  } else if (verb == "reset") {
    outcome = lifecycle.Reset(options.dry_run);
  } else if (verb == "cleanup") {
    outcome = lifecycle.Cleanup();
  } else if (verb == "run") {
    outcome = lifecycle.RunThrough(core::Phase::kVerify);
  } else if (verb == "init") {
    outcome.kind = core::PhaseOutcome::Kind::kNothing;
    outcome.message = "the strategy '" + spec.strategy + "' needs no init; only hot-copy has it";
  } else {
    outcome = lifecycle.RunThrough(core::PhaseFromName(verb));
  }
  return PrintOutcome(program, options, outcome);
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
    verb->add_option("FILE", options->file, "The migration file")->required();
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
    if (name == "reset") verb->add_flag("--dry-run", options->dry_run, "Only say what it would do");
    verb->footer(fmt::format("Example:\n  understudy migrate {} orders.migration.json", v.name));
    verb->callback([&program, options] {
      program.run = [&program, options] { return Migrate(program, *options); };
    });
  }
}

}  // namespace understudy::cli
