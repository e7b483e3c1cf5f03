// The program: one table of verbs, and the one place where an exception becomes an exit code.
#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>

#include "engine/base/error.h"
#include "engine/base/log.h"
#include "engine/base/redact.h"
#include "engine/base/sabotage.h"
#include "harness/cli/program.h"
#include "harness/cli/version.h"

namespace understudy::cli {
namespace {

using AddVerb = void (*)(CLI::App&, Program&);
constexpr AddVerb kVerbs[] = {AddDemo,   AddTry,     AddRun,      AddPlan,       AddList,
                              AddJudge,  AddCompare, AddSnapshot, AddMigrate,    AddCodegen,
                              AddSchema, AddDoctor,  AddClean,    AddCompletion, AddEngine};

volatile std::sig_atomic_t signals_seen = 0;

void OnSignal(int number) {
  signals_seen = signals_seen + 1;
  if (signals_seen > 2) {
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
}

int ExitOf(const Error& error) {
  if (error.code() == "usage") return kUsage;
  switch (error.kind()) {
    case ErrorKind::kInvalidSpec:
      return kInput;
    case ErrorKind::kUnavailable:
    case ErrorKind::kEnvironment:
    case ErrorKind::kUnsupported:
      return kMissing;
    case ErrorKind::kCancelled:
      return error.code() == "stop" ? kInterrupted : kFail;
    case ErrorKind::kAmbiguous:
      return kUnknown;
    case ErrorKind::kInternal:
      return kBug;
    default:
      return kFail;
  }
}

// Why the arguments name no verb; empty when they do, or ask for --help or the like.
std::string NoVerb(const CLI::App& app, int argc, char** argv) {
  std::string verbs;
  std::string given;
  for (int i = 1; i < argc && given.empty(); ++i) {
    const std::string argument = argv[i];
    if (!argument.starts_with("-")) {
      given = argument;
    } else if (argument != "--verbose") {
      return "";
    }
  }
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (verb->get_name() == given) return "";
    if (!verb->get_group().empty()) verbs += (verbs.empty() ? "" : ", ") + verb->get_name();
  }
  return (given.empty() ? "a verb is needed" : "there is no verb '" + Redact(given) + "'") +
         "; the verbs are: " + verbs;
}

int Main(int argc, char** argv) {
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
  std::signal(SIGPIPE, SIG_IGN);

  CLI::App app{"Rehearses a database migration before the real one, and performs the real one."};
  app.name("understudy");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("understudy ") + kVersion + " (" + kCommit + ")");
  app.footer(
      "Start here:  understudy demo\nA migration: understudy try 0007_total.sql --from dump.sql\n"
      "All verbs:   understudy VERB --help");
  app.get_formatter()->column_width(36);
  app.fallthrough();
  Program program;
  app.add_flag("--verbose", program.verbose, "Say on stderr what is being done");
  for (int i = 0; i < argc; ++i) program.arguments.push_back(Redact(argv[i]));
  for (const AddVerb add : kVerbs) add(app, program);

  if (const std::string why = NoVerb(app, argc, argv); !why.empty()) {
    std::cerr << "understudy: " << why << "\nTry: understudy --help\n";
    return kUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    const CLI::App* where = &app;
    for (const CLI::App* verb : app.get_subcommands()) where = verb;
    std::string verbs;  // of a verb that has verbs of its own, where none of them was named
    if (where != &app && error.get_name() == "RequiredError") {
      for (const CLI::App* verb : where->get_subcommands([](const CLI::App*) { return true; })) {
        verbs += (verbs.empty() ? "; one of: " : ", ") + verb->get_name();
      }
    }
    std::cerr << "understudy: " << Redact(error.what()) << verbs << "\nTry: understudy "
              << (where == &app ? "" : where->get_name() + " ") << "--help\n";
    return kUsage;
  }
  log::SetVerbose(program.verbose);
  try {
    if (const SabotageInfo* wrong = ChosenSabotage()) {
      std::cerr << "understudy: SABOTAGED (" << wrong->id << "): " << wrong->what << "\n";
    }
    return program.run ? program.run() : kUsage;
  } catch (const UsageError& error) {
    std::cerr << "understudy: " << Redact(error.what()) << "\n";
    return kUsage;
  } catch (const Error& error) {
    std::cerr << "understudy: " << Redact(error.what()) << "\n";
    const int code = ExitOf(error);
    if (code == kBug) {
      std::cerr << "This is a bug in understudy " << kVersion << " (" << kCommit
                << "). Please report it with the command and this message.\n";
    }
    return code;
  } catch (const std::exception& error) {
    std::cerr << "understudy: internal error: " << Redact(error.what())
              << "\nThis is a bug in understudy " << kVersion << " (" << kCommit
              << "). Please report it with the command and this message.\n";
    return kBug;
  }
}

}  // namespace

bool Interrupted() { return signals_seen > 0; }

}  // namespace understudy::cli

int main(int argc, char** argv) { return understudy::cli::Main(argc, argv); }
