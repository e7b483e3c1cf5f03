#include "engine/db/pooler.h"

#include "engine/base/error.h"
#include "engine/db/session.h"

namespace understudy::db {
namespace {
constexpr int kAskedAgain = 5;  // on a busy pooler one answer may be the same by chance
}

Pooler FindPooler(const Endpoint& endpoint) {
  SessionOptions options;
  options.settings = Settings::kUsers;
  const auto server_pid = [](Session& session) {
    return session.Scalar("SELECT pg_catalog.pg_backend_pid()").AsInteger();
  };
  const auto first = Connect(endpoint, options);
  const std::int64_t pid = server_pid(*first);
  if (pid == first->BackendPid()) return Pooler::kNone;  // the protocol names the same process
  // While `second` is in a transaction, the server process of `first` is free to others in every
  // mode but the session's.
  const auto second = Connect(endpoint, options);
  try {
    second->Begin();
    if (server_pid(*second) == pid) return Pooler::kSharedSession;
  } catch (const Error&) {  // statement mode knows no transactions
    return Pooler::kSharedSession;
  }
  for (int i = 0; i < kAskedAgain; ++i) {
    if (server_pid(*first) != pid) return Pooler::kSharedSession;
  }
  return Pooler::kOwnSession;
}

}  // namespace understudy::db
