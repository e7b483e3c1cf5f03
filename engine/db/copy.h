#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/clock.h"
#include "engine/db/session.h"

namespace understudy::db {

// A PostgreSQL connection of its own for COPY streams, over libpq. What is executed on it and what
// is copied share its transactions, so that a chunk and its checkpoint commit together:
//
//   session.Begin();
//   CopyIn in(session, "COPY public.t FROM STDIN");
//   in.Write(rows);
//   in.Finish();
//   session.Execute("UPDATE …", {…});
//   session.Commit();
//
// Not for two threads at once, but for Cancel(). Errors as of db::Session.
class CopySession {
 public:
  explicit CopySession(const Endpoint& endpoint, const SessionOptions& options = {});
  ~CopySession();
  CopySession(const CopySession&) = delete;
  CopySession& operator=(const CopySession&) = delete;

  Result Execute(std::string_view sql, const Params& params = {});
  void Begin(Isolation isolation = Isolation::kDefault, bool read_only = false);
  // REQUIRES: the first thing in a transaction of kRepeatableRead or kSerializable. `id` is what
  // pg_export_snapshot() gave in another session's transaction that is still open.
  void SetSnapshot(const std::string& id);
  void Commit();
  void Rollback() noexcept;

  // Of everything from now on: what is still under way then fails with kCancelled, and the session
  // is dead. nullopt: none.
  void SetDeadline(std::optional<SteadyClock::time_point> deadline);
  // From any thread: what is under way fails with kCancelled.
  void Cancel() noexcept;
  int BackendPid() const;
  const ServerFacts& Server() const;

  // The same connection, for code that takes a Session (a journal): what it does stands in the
  // transaction that is open here. It lives as long as this value; it reads no rows by cursor.
  Session& AsSession();

 private:
  friend class CopyIn;
  friend class CopyOut;
  class View;
  struct State;
  std::unique_ptr<State> state_;
};

// One COPY … FROM STDIN, text or binary as `sql` says. Unless finished it is aborted: no row of it
// stays. The session takes nothing else meanwhile.
class CopyIn {
 public:
  CopyIn(CopySession& session, std::string_view sql);
  ~CopyIn();
  CopyIn(const CopyIn&) = delete;
  CopyIn& operator=(const CopyIn&) = delete;

  // Where the pieces are cut has no meaning. A lost connection shows here, a refused row only in
  // Finish(): libpq tells of it no earlier, and the server reads on until then.
  void Write(std::string_view bytes);
  // Gives the rows copied. The message of a refused row names its line.
  std::int64_t Finish();
  void Abort() noexcept;

 private:
  CopySession& session_;
  std::string buffer_;
  bool open_ = true;
};

// One COPY … TO STDOUT, text or binary as `sql` says. Left before its end, the session is dead.
class CopyOut {
 public:
  CopyOut(CopySession& session, std::string_view sql);
  ~CopyOut();
  CopyOut(const CopyOut&) = delete;
  CopyOut& operator=(const CopyOut&) = delete;

  // Replaces `bytes` by the next whole rows, about `enough` bytes of them; false when there are no
  // more, and `bytes` is empty.
  bool Read(std::string& bytes, std::size_t enough = std::size_t{256} << 10U);
  // REQUIRES: Read() has given false.
  std::int64_t rows() const;
  // Rows read so far; binary's header and trailer may count as one each.
  std::int64_t rows_so_far() const;

 private:
  CopySession& session_;
  bool open_ = true;
};

// Appends one value in COPY's text format: \N, or the text with backslash, tab and newline escaped;
// a blob as bytea in hex. Error(kConstraint, 22021) for text that holds U+0000.
void AppendCopyText(std::string& to, const Value& value);
// A whole line: values, tabs, newline.
void AppendCopyRow(std::string& to, const Row& row);

}  // namespace understudy::db
