#include "harness/compare/side.h"

#include <future>

#include "engine/base/error.h"

namespace understudy::harness {
namespace {

// For a table that somebody holds ACCESS EXCLUSIVE (or an SQLite file with a writer).
constexpr std::chrono::milliseconds kLockTimeout{60000};

std::unique_ptr<db::Session> ConnectReader(const db::Endpoint& endpoint) {
  db::SessionOptions options;
  options.read_only = true;
  options.lock_timeout = kLockTimeout;
  try {
    return db::Connect(endpoint, options);
  } catch (const Error&) {
    // A file in WAL mode that nobody has open, in a folder that a reader may not write to.
    if (endpoint.engine() != db::Engine::kSqlite) throw;
    options.read_only = false;
    return db::Connect(endpoint, options);
  }
}

}  // namespace

Side::Side(const db::Endpoint& endpoint, int sessions) : engine_(endpoint.engine()) {
  sessions_.push_back(ConnectReader(endpoint));
  db::Session& first = *sessions_.front();
  version_ = first.Server().version;
  first.Begin(db::Isolation::kRepeatableRead, true);
  if (engine_ == db::Engine::kPostgres) {
    encoding_ = first.Scalar("SHOW server_encoding").text;
    std::string snapshot;
    if (sessions > 1) {
      try {
        snapshot = first.Scalar("SELECT pg_export_snapshot()").text;
      } catch (const Error&) {  // a server that exports none: one session it is
        first.Rollback();
        first.Begin(db::Isolation::kRepeatableRead, true);
      }
    }
    for (int i = 1; i < sessions && !snapshot.empty(); ++i) {
      auto another = ConnectReader(endpoint);
      another->Begin(db::Isolation::kRepeatableRead, true);
      another->Execute("SET TRANSACTION SNAPSHOT " + db::QuoteLiteral(snapshot));
      sessions_.push_back(std::move(another));
    }
  } else {
    first.Query("SELECT count(*) FROM sqlite_schema");  // BEGIN alone sees nothing yet
  }
}

Side::~Side() {
  for (auto& session : sessions_) session->Rollback();
}

void Side::Cancel() noexcept {
  for (auto& session : sessions_) session->Cancel();
}

void InParallel(const std::function<void()>& left, const std::function<void()>& right) {
  std::future<void> other = std::async(std::launch::async, right);
  std::exception_ptr failure;
  try {
    left();
  } catch (...) {
    failure = std::current_exception();
  }
  try {
    other.get();
  } catch (...) {
    if (!failure) failure = std::current_exception();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace understudy::harness
