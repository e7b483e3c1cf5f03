// What `understudy run` adds to a scenario beyond its own steps, and how much memory a program
// took.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

#include "bench/result.h"
#include "engine/base/error.h"

namespace understudy::bench {

namespace fs = std::filesystem;

namespace {

void OverheadOf(const std::string& scenario_name, const std::string& what, int runs,
                const std::string& program, const std::string& scratch) {
  const fs::path file =
      fs::path(UNDERSTUDY_SOURCE_DIR) / "bench/scenarios" / (scenario_name + ".json");
  const Json scenario = ParseJsonFile(file);
  const double waits = scenario.at("lead_s").get<double>() + scenario.at("tail_s").get<double>();
  Measurement overhead;
  overhead.name = "overhead-" + scenario_name;
  overhead.what = "`run` beyond a scenario's steps, lead_s and tail_s, fixture " + what;
  overhead.target = {"seconds", 1.5, 0};
  std::vector<double> walls;
  for (int i = -1; i < runs; ++i) {  // the first fills the cache
    const fs::path out = fs::path(scratch) / ("overhead-" + std::to_string(i + 1));
    fs::remove_all(out);
    const double wall = Seconds([&] {
      Run({program, "run", file.string(), "--out", out.string()});
    });
    const Json report = ParseJsonFile(out / "report.json");
    double own = waits;
    for (const Json& step : report.at("scenarios").at(0).at("steps")) {
      own += step.at("duration_ms").get<double>() / 1000;
    }
    fs::remove_all(out);
    if (i < 0) continue;
    walls.push_back(wall);
    overhead.ours.push_back(wall - own);
  }
  overhead.more = {{"wall_s", Spread(walls)}};
  std::cout << ToLine(overhead.ToJson()) << "\n";
}

}  // namespace

void Overhead(int runs, const std::string& program, const std::string& scratch) {
  OverheadOf("small", "orders", runs, program, scratch);
  OverheadOf("shop", "shop", runs, program, scratch);
}

namespace {

// Of the child and of what it waited for: its engine too, no server of its own.
double PeakBytes(const std::vector<std::string>& argv) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw Error(ErrorKind::kEnvironment, "cannot fork");
  if (child == 0) {
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
    ::execvp(words[0], words.data());
    ::_exit(127);
  }
  int status = 0;
  rusage usage{};
  while (::wait4(child, &status, 0, &usage) < 0) {
    if (errno != EINTR) throw Error(ErrorKind::kEnvironment, "cannot wait");
    if (Stopped()) ::kill(child, SIGINT);
  }
  StopIfAsked();
  // A red or unknown verdict (1, 2) is a run that came to its end.
  if (!WIFEXITED(status) || WEXITSTATUS(status) > 2)
    throw Error(ErrorKind::kEnvironment, argv.at(0) + " failed");
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

}  // namespace

void Memory(const std::string& name, const std::string& what, double at_most,
            const std::vector<std::string>& argv) {
  Measurement memory;
  memory.name = name;
  memory.what = what;
  memory.ours = {PeakBytes(argv)};
  memory.unit = "bytes";
  memory.target = {"bytes", at_most, 0};
  std::cout << ToLine(memory.ToJson()) << "\n";
}

void Peak(const std::string& file, const std::vector<std::string>& argv) {
  std::ofstream(file) << std::fixed << PeakBytes(argv);
}

}  // namespace understudy::bench
