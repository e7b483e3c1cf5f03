#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/db/endpoint.h"
#include "engine/db/session.h"
#include "harness/world/world.h"

namespace understudy::harness {

// A running PostgreSQL server of ours: a local cluster or a container. May be used by several
// threads at once, but for Restart().
class PostgresServer {
 public:
  virtual ~PostgresServer() = default;
  virtual db::Endpoint Maintenance() const = 0;      // the database "postgres", as a superuser
  virtual std::string provision() const = 0;         // local | docker
  virtual std::string version() const = 0;           // "15.18"
  virtual void Restart(const std::string& how) = 0;  // fast | immediate | kill
  virtual std::string HowToConnect(const std::string& database) const = 0;
  virtual void Keep() = 0;
  // Drops a database that nobody needs any more, now or soon.
  virtual void Discard(const std::string& database) noexcept;
  // A lease of one of its databases began or ended.
  virtual void LeaseBegins() {}
  virtual void LeaseEnds() noexcept {}
};

// A name that no other database of this process has; at most 63 bytes, needs no quotes.
std::string NewDatabaseName(const std::string& label);

// CREATE DATABASE, copying `from` ("" = an empty one). Error(kConflict) when somebody is connected
// to `from`.
void CreateDatabase(const db::Endpoint& maintenance, const std::string& name,
                    const std::string& from);
// What a copy of a database leaves out: its settings, those of roles in it, and the grants on it
// (for the roles that `target` has). CreateDatabase does it by itself.
void CopyDatabaseProperties(db::Session& source, const std::string& from, db::Session& target,
                            const std::string& name);
// Ends its sessions, drops its replication slots, then itself. False when that failed.
bool DropDatabase(const db::Endpoint& maintenance, const std::string& name) noexcept;

void CreateExtensions(const db::Endpoint& database, const std::vector<std::string>& extensions);

// `settings` ({GUC: value}) split by where they can be set: the first needs a server of its own
// (a reload or a restart), the second is ALTER DATABASE's. Error(kInvalidSpec) for a name that the
// server does not know.
struct SplitSettings {
  Json server = Json::object();
  Json database = Json::object();
};
SplitSettings Split(const db::Endpoint& maintenance, const Json& settings);
void ApplyServerSettings(PostgresServer& server, const Json& settings);
void ApplyDatabaseSettings(const db::Endpoint& maintenance, const std::string& database,
                           const Json& settings);

// The lease of one database of `server`. `own`: the server is there for this lease (and its
// clones) alone, so that its power may be cut.
std::unique_ptr<Lease> MakePostgresLease(std::shared_ptr<PostgresServer> server,
                                         const std::string& database, bool own);

// Waits until `endpoint` answers a query: "ready" in a log is no proof (a container's first start
// logs it twice). `still_alive` gives the reason why waiting is vain, or "".
void WaitForAnswer(const db::Endpoint& endpoint, std::chrono::milliseconds deadline,
                   const std::function<std::string()>& still_alive,
                   const std::function<bool()>& stop);

}  // namespace understudy::harness
