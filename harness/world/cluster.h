#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "engine/base/owner.h"
#include "engine/db/binaries.h"
#include "engine/db/local_server.h"
#include "harness/world/janitor.h"
#include "harness/world/pool.h"
#include "harness/world/server.h"

namespace understudy::harness {

// A throwaway cluster from installed binaries: a unix socket in a folder of its own, never TCP,
// never as root. It runs without fsync and full_page_writes (nothing here must survive the
// machine), with synchronous_commit on (a commit waits for its WAL as it does in production).
// Its data directory comes from the pool and goes back there.
class Cluster final : public PostgresServer {
 public:
  // `key`: the template that is wanted first. `own`: for one database (and its clones) alone.
  static std::shared_ptr<Cluster> Start(const db::Binaries& binaries, const std::string& key,
                                        bool own, DataIn where, const ProvisionOptions& options);
  // The one that serves the scenario of `options` already, else one that no scenario uses now and
  // that MayServe() `key`, else a new one: roles belong to a whole cluster, so no two scenarios
  // have the same one at the same time. It is reserved until the result and all leases are gone.
  // Any thread.
  static std::shared_ptr<Cluster> For(const db::Binaries& binaries, const std::string& key,
                                      DataIn where, const ProvisionOptions& options);
  // Ends those that nobody uses (they end with the process otherwise).
  static void EndIdle();

  ~Cluster() override;

  db::Endpoint Maintenance() const override;
  std::string provision() const override { return "local"; }
  std::string version() const override { return binaries_.version; }
  void Restart(const std::string& how) override;
  std::string HowToConnect(const std::string& database) const override;
  void Keep() override;
  void Discard(const std::string& database) noexcept override;
  void LeaseBegins() override;
  void LeaseEnds() noexcept override;

  // The template database for `key`; `build` fills an empty database when it is not there yet.
  // Any thread: two that want the same one wait for each other.
  std::string Template(const std::string& key,
                       const std::function<void(const db::Endpoint&)>& build);

 private:
  Cluster(const db::Binaries& binaries, DataIn where, const std::filesystem::path& parent,
          const ProvisionOptions& options);
  bool Spoiled() const;  // nobody uses it, and nobody else may
  bool Take(const std::string& scenario, const std::string& key);
  void Launch(const std::function<bool()>& stop);
  bool Tidy() noexcept;
  void DropRoles(db::Session& session) const;

  db::Binaries binaries_;
  std::string user_;
  DataIn where_;
  OwnedFolder folder_;
  db::ServerProcess process_;
  TakenData taken_;
  mutable std::mutex mutex_;  // all that follows but up_
  Contents contents_;
  std::map<std::string, std::set<std::string>> roles_of_;  // key → what its template made
  std::condition_variable built_;
  std::set<std::string> building_;  // keys
  std::string scenario_;            // whose it is while leases_ > 0
  int leases_ = 0;
  bool changed_ = false;  // templates were made that the cache has not
  bool dirty_ = false;    // something of a scenario could not be removed
  bool kept_ = false;
  bool up_ = false;
  Janitor janitor_;  // last: its chores use the rest
};

}  // namespace understudy::harness
