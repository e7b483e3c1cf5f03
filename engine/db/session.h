#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/db/endpoint.h"
#include "engine/db/value.h"

namespace understudy::db {

struct ResultColumn {
  std::string name;
  std::uint32_t type_oid = 0;  // PostgreSQL only
};

struct Result {
  std::vector<ResultColumn> columns;
  std::vector<Row> rows;
  std::int64_t affected = 0;  // rows that an INSERT, UPDATE, DELETE or COPY touched
};

struct ServerFacts {
  Engine engine = Engine::kPostgres;
  int version = 0;           // 150018 for PostgreSQL 15.18; 3040001 for SQLite 3.40.1
  std::string version_text;  // "15.18", "3.40.1"
  int major() const { return engine == Engine::kPostgres ? version / 10000 : version / 1000000; }
};

enum class Isolation { kDefault, kReadCommitted, kRepeatableRead, kSerializable };

// Whose settings a session has.
enum class Settings {
  kOurs,   // pinned: TimeZone UTC, ISO dates, hex bytea, search_path empty (pg_catalog alone)
  kUsers,  // what the database and its role give a client: for migrations, workloads, fixtures
};

struct SessionOptions {
  Settings settings = Settings::kOurs;
  std::string application_name = "understudy";
  std::chrono::milliseconds connect_timeout{10000};
  std::chrono::milliseconds lock_timeout{0};       // 0 = none; SQLite: the busy timeout (0 = 5 s)
  std::chrono::milliseconds statement_timeout{0};  // 0 = none
  bool read_only = false;
  bool foreign_keys = false;  // SQLite's PRAGMA foreign_keys
  bool create = false;        // SQLite: make the file when it is absent
  // SQLite: ask for a lock again every 0.1 ms, where its own waits grow to a tenth of a second and
  // lose against a writer that comes back at once.
  bool insistent = false;
};

// One connection to one database. Not for two threads at once, but for Cancel(). Errors are
// understudy::Error: kUnavailable (connection refused or lost), kConflict (lock timeout, deadlock,
// serialization, SQLITE_BUSY), kAmbiguous (the connection was lost in a COMMIT), kCancelled,
// kConstraint (everything else that the server refuses: the code says what), kEnvironment (disk
// full). A session never reconnects: after kUnavailable it is dead.
class Session {
 public:
  virtual ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // One statement with its parameters ($1, $2; SQLite takes ?1, ?2 as well). PostgreSQL takes
  // kBlob parameters as bytea.
  virtual Result Query(std::string_view sql, const Params& params = {}) = 0;
  // SQL without parameters or rows; PostgreSQL takes several statements (one implicit
  // transaction), SQLite too.
  virtual void Execute(std::string_view sql) = 0;
  // As Query, but the rows go to `take` one by one and are never all held: PostgreSQL reads by a
  // cursor in a transaction (the current one, else one of its own).
  virtual void ForEachRow(std::string_view sql, const Params& params,
                          const std::function<void(const Row&)>& take) = 0;
  // As Query, through a statement that the server keeps prepared. SQLite keeps every statement.
  virtual Result QueryPrepared(std::string_view sql, const Params& params) = 0;

  // PostgreSQL: one COPY … FROM STDIN with all its data, in the current transaction; gives the
  // rows. For the blocks of a script; what is large goes through CopyIn (engine/db/copy.h).
  virtual std::int64_t CopyFrom(std::string_view sql, std::string_view data);

  // A transaction of the caller's. Commit() in a lost connection is kAmbiguous. Rollback() never
  // throws. `immediate`: SQLite's BEGIN IMMEDIATE.
  virtual void Begin(Isolation isolation = Isolation::kDefault, bool read_only = false,
                     bool immediate = false) = 0;
  virtual void Commit() = 0;
  virtual void Rollback() noexcept = 0;
  // Whether a transaction is open, also one begun by a BEGIN in the user's own SQL.
  virtual bool InTransaction() const = 0;

  // From any thread: the running statement fails with kCancelled.
  virtual void Cancel() noexcept = 0;
  // SQLite alone. `stop` is asked again and again while a statement runs; true ends the statement
  // with kCancelled, and, where it writes, the transaction. An empty function asks nobody any more.
  virtual void StopWhen(std::function<bool()> /*stop*/) {}
  // SQLite alone: pages that were read from files since the session began.
  virtual std::int64_t PagesRead() { return 0; }
  virtual const ServerFacts& Server() const = 0;
  virtual int BackendPid() const = 0;  // PostgreSQL; 0 for SQLite
  // Notices that came since the last call.
  virtual std::vector<std::string> TakeNotices() = 0;

  // The first value of the first row. Error(kInternal) when there is none.
  Value Scalar(std::string_view sql, const Params& params = {});
  // The same, or nullopt when there is no row.
  std::optional<Value> MaybeScalar(std::string_view sql, const Params& params = {});

 protected:
  Session() = default;
};

// Connects. Error(kUnavailable) with the reason and the redacted endpoint when it cannot;
// Error(kUnsupported) for PostgreSQL older than 12; SQLite: Error(kUnavailable) when the file is
// absent and options.create is not set.
std::unique_ptr<Session> Connect(const Endpoint& endpoint, const SessionOptions& options = {});

// Rolls back unless committed.
class Transaction {
 public:
  explicit Transaction(Session& session, Isolation isolation = Isolation::kDefault,
                       bool read_only = false, bool immediate = false)
      : session_(session) {
    session_.Begin(isolation, read_only, immediate);
  }
  ~Transaction() {
    if (!done_) session_.Rollback();
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void Commit() {
    done_ = true;  // a COMMIT that failed leaves nothing to roll back
    session_.Commit();
  }

 private:
  Session& session_;
  bool done_ = false;
};

namespace internal {
std::unique_ptr<Session> ConnectPostgres(const Endpoint& endpoint, const SessionOptions& options);
std::unique_ptr<Session> ConnectSqlite(const Endpoint& endpoint, const SessionOptions& options);
}  // namespace internal

}  // namespace understudy::db
