#pragma once

#include <cstddef>
#include <functional>

namespace understudy::core {

// Does work(index, worker) for every index below `count`, in order of index, on at most `jobs`
// threads (worker 0 … jobs-1, so that each can have a connection of its own). The first exception
// stops further units; it is thrown again here once the running ones are done. With one job, or
// one unit, all is done on the calling thread. The only threads that strategies use.
void ForEachParallel(int jobs, std::size_t count,
                     const std::function<void(std::size_t index, int worker)>& work);

}  // namespace understudy::core
