#include "engine/base/error.h"

#include <array>

namespace understudy {
namespace {
constexpr std::array<std::pair<ErrorKind, std::string_view>, 10> kNames{{
    {ErrorKind::kInvalidSpec, "invalid-spec"},
    {ErrorKind::kUnsupported, "unsupported"},
    {ErrorKind::kUnavailable, "unavailable"},
    {ErrorKind::kConflict, "conflict"},
    {ErrorKind::kConstraint, "constraint"},
    {ErrorKind::kMismatch, "mismatch"},
    {ErrorKind::kAmbiguous, "ambiguous"},
    {ErrorKind::kCancelled, "cancelled"},
    {ErrorKind::kEnvironment, "environment"},
    {ErrorKind::kInternal, "internal"},
}};
}  // namespace

std::string_view ErrorKindName(ErrorKind kind) {
  for (const auto& [candidate, name] : kNames) {
    if (candidate == kind) return name;
  }
  return "internal";
}

ErrorKind ErrorKindFromName(std::string_view name) {
  for (const auto& [kind, candidate] : kNames) {
    if (candidate == name) return kind;
  }
  return ErrorKind::kInternal;
}

bool IsRetryable(ErrorKind kind) {
  return kind == ErrorKind::kUnavailable || kind == ErrorKind::kConflict;
}

Error::Error(ErrorKind kind, std::string message, std::string code)
    : std::runtime_error(message),
      kind_(kind),
      code_(std::move(code)),
      message_(std::move(message)),
      whole_(message_) {}

Error& Error::AddFrame(std::string frame) {
  whole_ = frame + ": " + whole_;
  frames_.push_back(std::move(frame));
  return *this;
}

}  // namespace understudy
