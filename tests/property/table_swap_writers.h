#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/db/session.h"
#include "tests/property/table_swap_case.h"

// Sessions that write while a swap is under way, and what must be there because of it.
//
// The oracle asks nothing of the engine. A row belongs to one writer, who writes in transactions:
// what he sees of his rows at the end of one, if its COMMIT is acknowledged, is what must be there
// at the beginning of the next, before, in, and after the cutover, and at the end. Rows that all
// share have counters, and every acknowledged increment is counted here.
namespace understudy::property {

// The rows of one owner: per table the sorted texts of StateOf.
using Rows = std::map<std::size_t, std::vector<std::string>>;
Rows ReadRows(db::Session& session, const SwapCase& swap, int owner);
std::string Difference(const SwapCase& swap, const Rows& expected, const Rows& found);

struct Counts {
  std::map<std::pair<std::size_t, int>, std::int64_t> n;  // by table and tag
  std::map<std::size_t, std::int64_t> hits;               // by table
  void Add(const Counts& other);
};

class Writers {
 public:
  // Reads what is there, and begins to write.
  Writers(db::Endpoint endpoint, const SwapCase& swap);
  ~Writers() { Stop(); }
  void Stop();
  // Every writer has begun and ended one more transaction at least, or has failed.
  void WaitForARound();
  // What is wrong; "" = nothing so far. After Stop(): all rows and counters as well.
  std::string Wrong();
  std::string WrongRows();

  std::int64_t acknowledged() const { return acknowledged_; }
  std::int64_t rolled_back() const { return rolled_back_; }

 private:
  struct Writer {
    int owner = 0;
    std::unique_ptr<db::Session> session;
    Rows rows;
    std::atomic<std::int64_t> rounds = 0;
    std::chrono::steady_clock::time_point may_truncate;
    std::chrono::milliseconds between_truncates{0};
    std::thread thread;
  };
  void Run(Writer& writer);
  // One transaction, from the op `next` on.
  void Transact(Writer& writer, std::size_t& next);
  void Fail(const std::string& what);

  db::Endpoint endpoint_;
  const SwapCase swap_;
  Rows fixed_;
  Counts before_;
  std::vector<std::unique_ptr<Writer>> writers_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::int64_t> acknowledged_ = 0;
  std::atomic<std::int64_t> rolled_back_ = 0;
  std::mutex mutex_;
  std::string wrong_;
  Counts counted_;
};

}  // namespace understudy::property
