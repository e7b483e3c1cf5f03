#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "engine/base/clock.h"
#include "engine/core/context.h"
#include "engine/db/endpoint.h"
#include "engine/db/session.h"

namespace understudy::core {

// Keeps bulk work within the limits of the migration file (rows_per_s, bytes_per_s) and slower than
// production can bear. It looks at production at most every kLookEvery, by a session of its own,
// and holds all workers back while production
//   - has sessions that wait for a lock which a session of ours holds;
//   - answers a probe later than max(kSlowAnswer, 10 × the fastest answer so far);
//   - has a standby that is more than kLag behind in replay; more than it was at its best, so that
//     one which is delayed on purpose holds nobody back.
// Each look that finds one of these holds back longer (kFirstPause doubled up to kLongestPause);
// one that finds none ends it. Nobody is held back for good: work goes on at that slowest pace.
// Any thread.
class Pacer {
 public:
  static constexpr std::chrono::milliseconds kLookEvery{500};
  static constexpr std::chrono::milliseconds kSlowAnswer{200};
  static constexpr std::chrono::milliseconds kLag{10000};
  static constexpr std::chrono::milliseconds kNoAnswer{2000};   // slower still: not waited for
  static constexpr std::chrono::milliseconds kBlindFor{30000};  // before it is tried again
  static constexpr std::chrono::milliseconds kFirstPause{50};
  static constexpr std::chrono::milliseconds kLongestPause{2000};

  // `production`: PostgreSQL. `context` outlives it. Connects with the first look; a production
  // that cannot be looked at holds nobody back, and is tried again.
  Pacer(const Context& context, db::Endpoint production, std::chrono::milliseconds lag = kLag);
  ~Pacer();

  // A worker has moved so much, and asks to go on. Sleeps as long as it must; Error(kCancelled)
  // when somebody asked to stop.
  void Moved(std::int64_t rows, std::int64_t bytes);

  // Why work is held back just now; "" = it is not.
  std::string holding() const;

 private:
  // How far a standby is behind, as far as we have seen: its replay_lag stands still with it.
  struct Standby {
    std::deque<std::pair<std::int64_t, SteadyClock::time_point>> written;  // not replayed yet
    std::optional<std::chrono::duration<double>> least;
  };

  std::string Look();
  std::string LookAtStandbys();
  void Sleep(std::chrono::duration<double> time) const;

  const Context& context_;
  const db::Endpoint production_;
  const std::chrono::milliseconds lag_;
  const SteadyClock::time_point began_ = SteadyClock::now();
  mutable std::mutex mutex_;
  std::unique_ptr<db::Session> session_;
  SteadyClock::time_point blind_until_;
  std::map<std::string, Standby> standbys_;
  SteadyClock::time_point next_look_;
  std::chrono::milliseconds pause_{0};
  double fastest_ms_ = 0;
  std::string holding_;
  std::int64_t rows_ = 0;
  std::int64_t bytes_ = 0;
};

}  // namespace understudy::core
