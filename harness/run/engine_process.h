#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "engine/base/json.h"
#include "engine/base/process.h"
#include "engine/db/endpoint.h"

namespace understudy::harness {

// What an engine did with one job.
struct EngineResult {
  std::string outcome;  // done nothing refused failed ambiguous interrupted; killed: it died
  std::string state;
  std::string message;
  int exit_status = 0;
};

// The runner's side of the engine's child process.
class EngineProcess {
 public:
  // What to do at a point: go on, fail there, or (the callback has killed it) nothing.
  enum class Answer { kGo, kFail };
  struct Callbacks {
    std::function<void(const Json& event)> on_event;    // every event but points
    std::function<Answer(const Json& event)> on_point;  // the engine waits meanwhile
    std::function<bool()> stop;
  };

  explicit EngineProcess(std::filesystem::path log_file) : log_file_(std::move(log_file)) {}

  // Runs one job to its end, in a fresh process. `job` as RunEngineChild takes it.
  EngineResult Run(const Json& job, const Callbacks& callbacks);
  // From any thread, also from inside a callback: SIGKILL.
  void Kill();
  // The pid while a job runs, else 0.
  int pid();

 private:
  std::filesystem::path log_file_;
  std::mutex mutex_;
  std::optional<Child> child_;
};

}  // namespace understudy::harness
