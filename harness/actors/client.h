#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "harness/actors/actor.h"

// One client of a workload: a session of its own, a rate, reconnecting. What it does is up to the
// kinds of client below it.
namespace understudy::harness {

struct ClientSetup {
  Ledger* ledger = nullptr;
  db::Endpoint endpoint;
  std::string database;
  std::string kind;        // as operations.kind says it
  std::size_t number = 0;  // among all clients of the run: its name, its serial numbers
  std::uint64_t seed = 1;
  double interval_ms = 0;  // between two operations; 0 = full speed
  bool canonical = true;   // text forms that compare; false: the user's own settings
  bool prepared = false;
};

class Client {
 public:
  explicit Client(ClientSetup setup);
  virtual ~Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Connect();  // the first time; Error(kUnavailable)
  // The thread's body: operations until `stop`, or until `enough` says so. Never throws.
  void Run(const std::atomic<bool>& stop, const std::function<bool()>& enough = {}) noexcept;
  // From another thread: the statement that runs is cancelled.
  void Cancel() noexcept;

  bool done() const { return done_; }
  std::int64_t operations() const { return operations_; }
  // After Run: why it could not go on, "" when it did.
  const std::string& died() const { return died_; }
  const std::string& died_code() const { return died_code_; }

 protected:
  // One operation, recorded with Did. `random` is the same for the same seed, client and number
  // of operation.
  virtual void Operate(Random& random) = 0;
  // After a lost connection, on the new session.
  virtual void Reconnected() {}
  // Whether it is worth a last connection to learn what became of something.
  virtual bool HasDoubts() const { return false; }

  db::Result Query(std::string_view sql, const db::Params& params);
  db::Session& session() { return *session_; }
  // Gives the session up: the next operation is done on a new one.
  void Lose();
  // Records an operation that began at `started_ms`. `error`: what refused it, or null.
  void Did(std::string operation, std::string statement, double started_ms, std::string outcome,
           const Error* error = nullptr, bool expected = false);
  bool Stopping() const { return stop_ != nullptr && *stop_; }
  void Sleep(double ms) const;  // ends early when stopping
  double NowMs() const { return setup_.ledger->evidence().NowMs(); }
  Ledger& ledger() const { return *setup_.ledger; }
  const ClientSetup& setup() const { return setup_; }
  const std::string& name() const { return name_; }
  int lost_pid() const { return lost_pid_; }  // in Reconnected(): the backend before this one
  std::int64_t number_of_operation() const { return operations_; }

 private:
  bool Reconnect();  // false: stopped before it could

  ClientSetup setup_;
  std::string name_;
  std::mutex session_mutex_;  // the pointer, for Cancel
  std::shared_ptr<db::Session> session_;
  int lost_pid_ = 0;
  const std::atomic<bool>* stop_ = nullptr;
  std::atomic<std::int64_t> operations_ = 0;
  std::atomic<bool> done_ = false;
  double lost_since_ms_ = -1;
  std::string why_lost_;
  std::string died_, died_code_;
};

// What is left of a session after this error: nothing.
bool IsLost(const Error& error);

}  // namespace understudy::harness
