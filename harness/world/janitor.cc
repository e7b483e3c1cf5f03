#include "harness/world/janitor.h"

#include <exception>

#include "engine/base/log.h"

namespace understudy::harness {

void Janitor::Later(std::function<void()> chore) {
  const std::lock_guard lock(mutex_);
  chores_.push_back(std::move(chore));
  if (!thread_.joinable()) {
    thread_ = std::jthread([this](const std::stop_token& stop) { Work(stop); });
  }
  changed_.notify_all();
}

void Janitor::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return chores_.empty() && !busy_; });
}

void Janitor::Forget() {
  std::jthread ends;
  {
    const std::lock_guard lock(mutex_);
    chores_.clear();
    ends = std::move(thread_);
  }
  ends = {};  // asks it to stop and joins it
}

void Janitor::Work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [&] { return !chores_.empty(); })) {
    if (stop.stop_requested()) break;
    const std::function<void()> chore = std::move(chores_.front());
    chores_.pop_front();
    busy_ = true;
    lock.unlock();
    try {
      chore();
    } catch (const std::exception& error) {
      log::Debug("left undone: " + std::string(error.what()));
    }
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace understudy::harness
