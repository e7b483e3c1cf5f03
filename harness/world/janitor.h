#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace understudy::harness {

// Does chores one after the other in a thread of its own, so that nobody waits for them.
class Janitor {
 public:
  ~Janitor() { Forget(); }
  // Exceptions of `chore` go nowhere.
  void Later(std::function<void()> chore);
  // Until everything asked for is done.
  void Wait();
  // Drops what has not begun, waits for what has.
  void Forget();

 private:
  void Work(const std::stop_token& stop);

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::function<void()>> chores_;
  bool busy_ = false;
  std::jthread thread_;  // started with the first chore
};

}  // namespace understudy::harness
