#include "engine/core/parallel.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace understudy::core {

void ForEachParallel(int jobs, std::size_t count,
                     const std::function<void(std::size_t index, int worker)>& work) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;
  std::mutex mutex;
  const auto run = [&](int worker) {
    for (;;) {
      const std::size_t index = next.fetch_add(1);
      if (index >= count || failed) return;
      try {
        work(index, worker);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
        failed = true;
      }
    }
  };
  const std::size_t workers = std::min(count, static_cast<std::size_t>(std::max(1, jobs)));
  {
    std::vector<std::jthread> threads;
    for (std::size_t worker = 1; worker < workers; ++worker) {
      threads.emplace_back(run, static_cast<int>(worker));
    }
    run(0);
  }
  if (error) std::rethrow_exception(error);
}

Watch::Watch(std::chrono::milliseconds interval, std::function<void()> look)
    : thread_([this, interval, look = std::move(look)] {
        std::unique_lock lock(mutex_);
        while (!wake_.wait_for(lock, interval, [&] { return over_; })) {
          lock.unlock();
          std::exception_ptr error;
          try {
            look();
          } catch (...) {
            error = std::current_exception();
          }
          lock.lock();
          if (!error) continue;
          error_ = error;
          return;
        }
      }) {}

Watch::~Watch() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watch::ThrowIfFailed() {
  const std::lock_guard lock(mutex_);
  if (error_) std::rethrow_exception(error_);
}

}  // namespace understudy::core
