#include "harness/cli/run_scenarios.h"

#include <unistd.h>
#include <algorithm>
#include <cctype>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/redact.h"
#include "engine/db/endpoint.h"
#include "harness/cli/progress.h"
#include "harness/cli/scripts.h"
#include "harness/run/judge.h"
#include "harness/run/runner.h"
#include "harness/world/world.h"

namespace understudy::cli {
namespace fs = std::filesystem;
namespace {

std::string CommandFor(const Program& program, const harness::Scenario& scenario) {
  std::string command = "understudy run " + ShellWord(scenario.file.string());
  for (std::size_t i = 2; i < program.arguments.size(); ++i) {
    const std::string& argument = program.arguments[i];
    if ((argument == "--set" || argument == "--pg" || argument == "--provision" ||
         argument == "--scale") &&
        i + 1 < program.arguments.size()) {
      command += " " + argument + " " + ShellWord(program.arguments[++i]);
    } else if (argument.rfind("--set=", 0) == 0 || argument.rfind("--pg=", 0) == 0 ||
               argument.rfind("--provision=", 0) == 0 || argument.rfind("--scale=", 0) == 0 ||
               argument == "--yes-this-database-may-be-changed") {
      command += " " + ShellWord(argument);
    }
  }
  return command + " --seed " + std::to_string(scenario.seed);
}

// What a scenario that could not be run as asked means for the exit code.
int ExitOfFailure(const Error& failure, const harness::Scenario& scenario,
                  const RunSettings& settings) {
  if (failure.code() == "ENOSPC") return kMissing;
  switch (failure.kind()) {
    case ErrorKind::kInvalidSpec:
      return kInput;
    case ErrorKind::kInternal:
      return kBug;
    case ErrorKind::kUnavailable:
    case ErrorKind::kUnsupported:
    case ErrorKind::kEnvironment: {
      bool by_name = settings.provision_by_name && *settings.provision_by_name != "auto";
      for (const harness::DatabaseSpec& database : scenario.databases) {
        by_name = by_name || database.provision == "external";
        by_name = by_name || (failure.kind() != ErrorKind::kEnvironment && database.from &&
                              db::Endpoint::LooksLikeOne(*database.from));
        by_name = by_name || (database.engine == "postgres" && Required("postgres"));
        by_name = by_name || (database.provision == "docker" && Required("docker"));
      }
      return by_name ? kMissing : kUnknown;
    }
    default:
      return kUnknown;
  }
}

int ExitOf(reports::Outcome outcome) {
  if (outcome == reports::Outcome::kPass) return kPass;
  return outcome == reports::Outcome::kFail ? kFail : kUnknown;
}

struct Task {
  const harness::Scenario* scenario;
  int repetition;  // from 1
  fs::path folder;
};

// A scenario that was asked for and not run stands in the report: a run that was cut short must
// not pass for a whole one.
reports::ScenarioReport NotRun(const Task& task) {
  reports::ScenarioReport report;
  report.name = task.scenario->name;
  report.file = task.scenario->file.string();
  report.file_sha256 = task.scenario->file_sha256;
  report.seed = task.scenario->seed;
  report.verdict = reports::Outcome::kUnknown;
  report.observed = reports::Outcome::kUnknown;
  report.summary = Interrupted() ? "interrupted: it was not begun"
                                 : "it was not run: the run ended before it could be judged";
  return report;
}

}  // namespace

fs::path MakeRunFolder(const RunSettings& settings) {
  std::error_code failed;
  if (settings.out) {
    if (fs::exists(*settings.out) &&
        (!fs::is_directory(*settings.out) || !fs::is_empty(*settings.out))) {
      throw UsageError("--out " + settings.out->string() +
                       ": the folder is not empty; name one that is absent or empty");
    }
    fs::create_directories(*settings.out, failed);
    if (failed) {
      throw Error(ErrorKind::kEnvironment,
                  "cannot make " + settings.out->string() + ": " + failed.message());
    }
    return fs::absolute(*settings.out);
  }
  const char* variable = std::getenv("UNDERSTUDY_OUT");
  const fs::path parent =
      fs::absolute(variable != nullptr && *variable != '\0' ? variable : "understudy-out");
  fs::create_directories(parent, failed);
  const std::string name = UtcFolderName(std::chrono::system_clock::now());
  for (int i = 1; i < 1000; ++i) {
    const fs::path folder = parent / (i == 1 ? name : name + "-" + std::to_string(i));
    if (fs::create_directory(folder, failed)) {
      const fs::path link = parent / ("latest." + std::to_string(::getpid()));
      fs::create_directory_symlink(folder.filename(), link, failed);
      fs::rename(link, parent / "latest", failed);
      return folder;
    }
  }
  throw Error(ErrorKind::kEnvironment,
              "cannot make a folder in " + parent.string() + ": " + failed.message() +
                  "; set UNDERSTUDY_OUT",
              failed == std::errc::no_space_on_device ? "ENOSPC" : "");
}

RunDone RunScenarios(const Program& program, const std::vector<harness::Scenario>& scenarios,
                     const RunSettings& settings) {
  SplitScripts(scenarios);  // a wrong one is told before anything starts
  RunDone done;
  done.folder = settings.made ? *settings.made : MakeRunFolder(settings);
  const auto started = SteadyClock::now();
  const std::string started_at = UtcNow();
  const Json tool = ToolFacts();
  const Json host = HostFacts();
  WriteFileWhole(done.folder / "run.json", ToText({{"format", "understudy-run/1"},
                                                   {"tool", tool},
                                                   {"host", host},
                                                   {"started_at", started_at}}));

  std::vector<Task> tasks;
  for (const harness::Scenario& scenario : scenarios) {
    for (int r = 1; r <= settings.repeat; ++r) {
      const std::string name =
          settings.repeat == 1 ? scenario.name : scenario.name + "." + std::to_string(r);
      tasks.push_back({&scenario, r, done.folder / name});
    }
  }
  Progress progress(tasks.size(), settings.quiet);
  std::vector<std::optional<reports::ScenarioReport>> results(tasks.size());
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> give_up = false;
  std::mutex mutex;
  const auto work = [&] {
    for (;;) {
      const std::size_t i = next++;
      if (i >= tasks.size() || give_up || Interrupted()) return;
      const Task& task = tasks[i];
      const harness::Scenario& scenario = *task.scenario;
      progress.Begins(i, task.folder.filename().string());
      harness::RunOptions options;
      options.folder = task.folder;
      options.run_id = done.folder.filename().string() + "-" + std::to_string(::getpid()) + "-" +
                       std::to_string(i);
      options.command = CommandFor(program, scenario);
      options.tool = tool;
      options.host = host;
      options.keep = settings.keep;
      options.stop = Interrupted;
      options.on_event = [&progress, i](const harness::Event& event) { progress.Event(i, event); };
      int exit = kPass;
      std::optional<reports::ScenarioReport> report;
      std::vector<std::string> connect;
      try {
        const harness::RunResult result = harness::RunScenario(scenario, options);
        connect = result.how_to_connect;
        report = harness::JudgeScenario(task.folder);
        if (result.interrupted) exit = kInterrupted;
        if (result.failure) exit = ExitOfFailure(*result.failure, scenario, settings);
      } catch (const Error& error) {  // not even evidence could be written
        std::cerr << "understudy: " << scenario.name << ": " << Redact(error.what()) << "\n";
        exit = error.code() == "ENOSPC" ? kMissing : kBug;
        give_up = true;
      } catch (const std::exception& error) {
        std::cerr << "understudy: " << scenario.name << ": " << Redact(error.what()) << "\n";
        exit = kBug;
        give_up = true;
      }
      const std::lock_guard lock(mutex);
      if (report) {
        exit = WorseExit(exit, ExitOf(report->verdict));
        progress.Ends(i, *report);
        for (const std::string& line : connect) std::cerr << "  kept: " << line << "\n";
        if (settings.fail_fast && report->verdict == reports::Outcome::kFail) give_up = true;
        results[i] = std::move(report);
      }
      done.exit = WorseExit(done.exit, exit);
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int j = 1; j < std::min<int>(settings.jobs, static_cast<int>(tasks.size())); ++j) {
      threads.emplace_back(work);
    }
    work();
  }
  progress.Done();
  if (!settings.keep) harness::EndServers();
  if (Interrupted()) done.exit = kInterrupted;

  reports::Report& report = done.report;
  report.tool = tool;
  report.host = host;
  report.started_at = started_at;
  for (std::size_t i = 0; i < tasks.size();) {
    const harness::Scenario* scenario = tasks[i].scenario;
    std::vector<reports::ScenarioReport> runs;
    for (; i < tasks.size() && tasks[i].scenario == scenario; ++i) {
      runs.push_back(results[i] ? std::move(*results[i]) : NotRun(tasks[i]));
    }
    report.scenarios.push_back(harness::MergeRepetitions(std::move(runs)));
  }
  report.duration_ms = static_cast<std::int64_t>(MillisecondsSince(started));
  WriteFileWhole(done.folder / "run.json", ToText({{"format", "understudy-run/1"},
                                                   {"tool", tool},
                                                   {"host", host},
                                                   {"started_at", started_at},
                                                   {"duration_ms", report.duration_ms}}));
  if (!settings.show_values) reports::RedactValues(report);
  reports::WriteReportFiles(report, done.folder);
  if (report.scenarios.empty()) done.exit = WorseExit(done.exit, kUnknown);
  if (settings.quiet) return done;
  if (program.json) {
    std::cout << ToText(report.ToJson());
  } else {
    reports::TerminalWriter(Colour(STDOUT_FILENO))->Write(report, std::cout);
    std::cout << "Report: " << (done.folder / "report.json").string() << "\n";
  }
  return done;
}

}  // namespace understudy::cli
