#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace understudy::core {

// Does work(index, worker) for every index below `count`, in order of index, on at most `jobs`
// threads (worker 0 … jobs-1, so that each can have a connection of its own). The first exception
// stops further units; it is thrown again here once the running ones are done. With one job, or
// one unit, all is done on the calling thread. The only threads that strategies use.
void ForEachParallel(int jobs, std::size_t count,
                     const std::function<void(std::size_t index, int worker)>& work);

// Calls `look` every `interval` on a thread of its own, from the first interval's end on, until it
// is destroyed or `look` has thrown. ThrowIfFailed() throws what `look` has thrown.
class Watch {
 public:
  Watch(std::chrono::milliseconds interval, std::function<void()> look);
  ~Watch();
  void ThrowIfFailed();

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace understudy::core
