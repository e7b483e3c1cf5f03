#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace understudy {

// What the caller can do about a failure.
enum class ErrorKind {
  kInvalidSpec,  // an input is wrong: the message names file, place, what is allowed
  kUnsupported,  // the product cannot do this, by design or yet
  kUnavailable,  // a server or connection is away; may be retried before cutover
  kConflict,     // lock timeout, deadlock, serialization failure; may be retried before cutover
  kConstraint,   // the data or the SQL is refused by the database
  kMismatch,     // two sides that must agree do not
  kAmbiguous,    // a commit whose outcome is not known; never retried: ask WhoOwns() first
  kCancelled,    // by a person or a deadline
  kEnvironment,  // the machine lacks something: a program, disk space, a permission
  kInternal,     // a bug of ours
};

std::string_view ErrorKindName(ErrorKind kind);
ErrorKind ErrorKindFromName(std::string_view name);
bool IsRetryable(ErrorKind kind);

// A failure with a kind and the frames of work that it passed on its way up. what() is the
// message with its frames, outermost first: "copy chunk 17 of public.orders: <message>".
// `code` is the driver's own code (SQLSTATE for PostgreSQL, the extended result code for SQLite).
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string message, std::string code = "");

  ErrorKind kind() const { return kind_; }
  const std::string& code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::vector<std::string>& frames() const { return frames_; }
  const char* what() const noexcept override { return whole_.c_str(); }

  // Adds what the caller was doing, and to which object.
  Error& AddFrame(std::string frame);

 private:
  ErrorKind kind_;
  std::string code_;
  std::string message_;
  std::vector<std::string> frames_;  // innermost first
  std::string whole_;
};

// Runs `work`; an Error that leaves it gets `frame` added.
template <typename Work>
auto During(std::string frame, Work&& work) -> decltype(work()) {
  try {
    return std::forward<Work>(work)();
  } catch (Error& error) {
    error.AddFrame(std::move(frame));
    throw;
  }
}

}  // namespace understudy
