#pragma once

// What PgSession (libpqxx) and CopySession (libpq) share. For engine/db/*.cc only.

#include <libpq-fe.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/db/session.h"

namespace understudy::db::internal {

// The text form of each parameter, NULL as nullptr, bytes as hex; they point into `held`, which
// outlives them. Error(kConstraint, "22021") for text with U+0000.
std::vector<const char*> ParameterTexts(const Params& params, std::vector<std::string>& held);

constexpr int kOldestVersion = 120000;

// A server's message without "ERROR:  " and without secrets.
std::string TrimmedMessage(std::string text);
ErrorKind KindOfState(std::string_view sqlstate);
// What to connect with: the endpoint with time limit, name and encoding.
Endpoint WithSessionKeywords(const Endpoint& endpoint, const SessionOptions& options);
// The SET commands of a new session; the one place where settings are pinned.
std::string SetupSql(const SessionOptions& options);
void RefuseOldServer(const Endpoint& endpoint, int version);

// Drives one PGconn, which it does not own, in non-blocking mode. `deadline` is asked at every
// wait: when it has passed, the server is asked to stop, the error is kCancelled, and the
// connection is of no further use (broken()).
class PgDriver {
 public:
  explicit PgDriver(PGconn* connection) : connection_(connection) {}

  void set_deadline(std::optional<SteadyClock::time_point> deadline) { deadline_ = deadline; }
  bool broken() const { return broken_; }

  // REQUIRES: no COPY is under way. `params` empty: several statements are allowed.
  Result Run(std::string_view sql, const Params& params);

  void StartCopyIn(std::string_view sql);
  void PutCopy(std::string_view bytes);
  std::int64_t FinishCopyIn();
  // Makes the server fail the COPY. Never throws.
  void AbortCopyIn(const char* reason) noexcept;

  void StartCopyOut(std::string_view sql);
  // Appends whole rows to `into` until it holds `enough` bytes; false at the end of the data.
  bool GetCopy(std::string& into, std::size_t enough);
  std::int64_t copied_rows() const { return copied_rows_; }
  // Messages of the COPY … TO STDOUT so far: one per row, and binary's header and trailer.
  std::int64_t copy_messages() const { return copy_messages_; }

 private:
  enum class For { kReading, kWriting };
  void Wait(For what);
  void Flush();
  PGresult* NextResult();
  void StartCopy(std::string_view sql, ExecStatusType expected);
  void Drain() noexcept;
  [[noreturn]] void Throw(PGresult* result);
  [[noreturn]] void ThrowLost();

  PGconn* connection_;
  std::optional<SteadyClock::time_point> deadline_;
  bool broken_ = false;
  bool committing_ = false;
  std::int64_t copied_rows_ = 0;
  std::int64_t copy_messages_ = 0;
};

}  // namespace understudy::db::internal
