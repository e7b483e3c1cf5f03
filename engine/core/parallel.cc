#include "engine/core/parallel.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
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

}  // namespace understudy::core
