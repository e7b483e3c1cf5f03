#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/core/context.h"
#include "engine/db/session.h"

namespace understudy::sql_files {

// Reads what the migration's session holds, from a session of its own, so that nothing is added to
// the user's transaction. Only the file numbers of tables inside a transaction that is still open
// have to be asked there; that is done after statements that can change them, and after no other.
// PostgreSQL; for SQLite every answer is empty.
class Observation {
 public:
  // `watched` outlives this value. What cannot be read is logged once and left out.
  Observation(const core::Context& context, const db::Endpoint& endpoint, db::Session& watched);

  // Before the first statement of a file.
  void BeginFile();
  void BeforeStatement();
  // Adds "locks" (those that it was the first to take), "rewritten" and "wal_bytes" (the whole
  // server's meanwhile) to a statement's event.
  void AfterStatement(const std::string& sql, const std::string& file, int line, Json& event);
  // The transaction has ended: tells a `held` event for each lock. "ms" counts from when the
  // statement that took it was sent, because a request that waits stops others already; "seen_ms"
  // from the first time that it was seen granted.
  void TransactionEnded();

 private:
  struct Held {
    SteadyClock::time_point asked;
    SteadyClock::time_point seen;
    std::string statement;
    std::string file;
    int line = 0;
  };
  std::int64_t WalPosition();
  template <typename Work>
  void Try(Work work);

  const core::Context& context_;
  db::Session& watched_;
  std::unique_ptr<db::Session> own_;
  std::map<std::pair<std::string, std::string>, Held> held_;  // by object and mode
  std::map<std::int64_t, std::int64_t> file_numbers_;         // by OID of the table
  SteadyClock::time_point sent_;
  std::int64_t wal_before_ = 0;
};

}  // namespace understudy::sql_files
