#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "harness/evidence/evidence.h"
#include "reports/report.h"

namespace understudy::cli {

// What a person sees on stderr while scenarios run: on a terminal one live line per running
// scenario; elsewhere a plain line as each begins and ends. Thread-safe.
class Progress {
 public:
  Progress(std::size_t scenarios, bool quiet);
  void Begins(std::size_t scenario, const std::string& name);
  void Event(std::size_t scenario, const harness::Event& event);
  void Ends(std::size_t scenario, const reports::ScenarioReport& report);
  void Done();

 private:
  struct Running {
    std::size_t scenario;
    std::string name;
    std::string doing;
    SteadyClock::time_point since;
  };
  void Erase();
  void Draw();

  std::mutex mutex_;
  std::size_t total_;
  std::size_t ended_ = 0;
  bool quiet_;
  bool live_;
  bool colour_;
  std::size_t drawn_ = 0;
  std::vector<Running> running_;
  SteadyClock::time_point last_draw_;
};

}  // namespace understudy::cli
