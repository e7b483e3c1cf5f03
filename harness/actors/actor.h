#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "engine/db/session.h"
#include "harness/evidence/evidence.h"
#include "harness/scenario/scenario.h"

namespace understudy::harness {

// The clients' own record of every write, in ledger.sqlite. Thread-safe. A pending line is on disk
// (in the kernel's hands) before Pending returns, so before the write is sent.
class Ledger {
 public:
  explicit Ledger(EvidenceWriter& evidence);
  ~Ledger();

  struct Write {
    std::string client, database, operation, table;
    std::int64_t txn = 0;
    Json key = nullptr, row = nullptr;  // objects of text forms; key null: the server makes it
    Json key_after = nullptr;
    bool hot = false;
  };
  std::int64_t Pending(const Write& write);
  // `row`: what RETURNING gave back (null: as sent). `counter`: {"column", "value"} of a hot row.
  // `key`: of a write whose key the server made. On disk with the next Pending or Flush.
  void Settle(std::int64_t id, std::string_view state, const Json& row = nullptr,
              std::string_view sqlstate = "", std::string_view message = "",
              const Json& counter = nullptr, const Json& key = nullptr);

  struct Operation {
    std::string client, kind, operation, database, statement, outcome, sqlstate, message;
    double started_ms = 0, duration_ms = 0;
    bool expected = false;
  };
  void Did(Operation operation);  // buffered; Flush writes it
  void Flush();

  // Takes a row for one owner (a client, the shared parents, the hot rows) for the whole run. False
  // when it is taken.
  bool Claim(const std::string& database, const std::string& table, const std::string& key);
  // Returns when every insert that is pending now and whose key the server makes is settled, so
  // that what other clients inserted can be told by the ledger's keys; and writes all of it.
  void WaitForKeys();
  std::int64_t NextTransaction() { return ++transactions_; }
  // Numbers for `count` clients, which no other client of this run has: names and serial numbers
  // are made of them.
  std::size_t TakeClientNumbers(std::size_t count) { return clients_.fetch_add(count); }

  // SQLite lets one write at a time and wakes nobody: our own clients take turns, so that a stall
  // is never of their making.
  std::mutex& TurnOf(const std::string& database);

  EvidenceWriter& evidence() { return evidence_; }
  db::Session& session() { return *session_; }  // under mutex()
  std::mutex& mutex() { return mutex_; }

 private:
  struct Settled {
    std::int64_t id;
    std::string state, row, sqlstate, message, counter, key;  // JSON; "" = leave as it is
    double ended_ms;
  };
  void WriteSettled();     // REQUIRES: mutex_, a transaction
  void WriteOperations();  // REQUIRES: mutex_, a transaction

  EvidenceWriter& evidence_;
  std::unique_ptr<db::Session> session_;
  std::mutex mutex_;
  std::condition_variable settled_one_;
  std::int64_t last_id_ = 0;
  std::atomic<std::int64_t> transactions_ = 0;
  std::atomic<std::size_t> clients_ = 0;
  std::vector<Settled> settled_;
  std::vector<Operation> operations_;
  std::set<std::int64_t> keyless_;  // pending without a key
  std::unordered_set<std::uint64_t> claimed_;
  std::map<std::string, std::mutex> turns_;
};

// What an actor sees of the run.
struct ActorContext {
  Ledger& ledger;
  std::map<std::string, db::Endpoint> databases;
  std::uint64_t seed = 1;
  std::size_t client_offset = 0;  // not needed: the ledger numbers the clients
};

// Anything that acts beside the migration. Owns its threads; they are joined in Stop().
class Actor {
 public:
  virtual ~Actor() = default;
  virtual void Start() = 0;
  // Ends it and writes its last event ("workload"/"fault"). A client that died in the middle says
  // so there. Safe to call twice.
  virtual void Stop() = 0;
};

// A workload of the scenario. Before Start returns, every client is connected and has read what it
// needs of the catalog. Errors: kInvalidSpec (a table that is not there), kUnavailable.
std::unique_ptr<Actor> MakeWorkload(const WorkloadSpec& spec, const ActorContext& context);

// The step {"mutate"}: `options` {on, writes | seconds, tables}; ledgered writers until done.
void Mutate(const Json& options, const ActorContext& context);

// A fault that acts from outside the engine: hold-transaction (the rest is a later issue). Strike()
// begins it and returns once it holds; it ends by itself after for_ms, or in Stop().
class Fault : public Actor {
 public:
  virtual void Strike() = 0;
};
std::unique_ptr<Fault> MakeFault(const FaultSpec& spec, const ActorContext& context);

// After the last step: reads the present row of every key that the ledger knows into `observed`.
// Keys are looked up by the columns that they name, renamed through `map` ({"old": "new"} by
// TABLE.COLUMN); what cannot be read is there with its reason.
void Observe(const ActorContext& context, const std::map<std::string, std::string>& map);

}  // namespace understudy::harness
