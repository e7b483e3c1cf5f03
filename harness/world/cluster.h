#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "engine/base/owner.h"
#include "engine/db/binaries.h"
#include "harness/world/pool.h"
#include "harness/world/server.h"

namespace understudy::harness {

// A throwaway cluster from installed binaries: a unix socket in a folder of its own, never TCP,
// never as root. It runs without fsync and full_page_writes (nothing here must survive the
// machine), with synchronous_commit on (a commit waits for its WAL as it does in production).
// Its data directory comes from the pool and goes back there.
class Cluster final : public PostgresServer {
 public:
  // `key`: the template that is wanted first. `own`: for one scenario alone.
  static std::shared_ptr<Cluster> Start(const db::Binaries& binaries, const std::string& key,
                                        bool own, const ProvisionOptions& options);
  // The one that all scenarios of this process share; started with the first call. Any thread.
  static std::shared_ptr<Cluster> Shared(const db::Binaries& binaries, const std::string& key,
                                         const ProvisionOptions& options);
  // Ends the shared ones that nobody uses any more (they end with the process otherwise).
  static void EndShared();

  ~Cluster() override;

  db::Endpoint Maintenance() const override;
  std::string provision() const override { return "local"; }
  std::string version() const override { return binaries_.version; }
  void Restart(const std::string& how) override;
  std::string HowToConnect(const std::string& database) const override;
  void Keep() override;
  void LeaseBegins() override;
  void LeaseEnds() noexcept override;

  // The template database for `key`; `build` fills an empty database when it is not there yet.
  // Any thread: two that want the same one wait for each other.
  std::string Template(const std::string& key,
                       const std::function<void(const db::Endpoint&)>& build);

 private:
  Cluster(const db::Binaries& binaries, const ProvisionOptions& options);
  void Launch(const std::function<bool()>& stop);
  pid_t Postmaster() const;  // 0 when it does not run
  void End(int signal) const;
  bool Tidy() noexcept;
  void DropRoles(db::Session& session) const;
  std::string LogTail() const;

  db::Binaries binaries_;
  std::string user_;
  OwnedFolder folder_;
  Contents contents_;
  std::mutex mutex_;  // contents_, building_, leases_, kept_
  std::condition_variable built_;
  std::set<std::string> building_;  // keys
  int leases_ = 0;
  bool kept_ = false;
  bool up_ = false;
};

// Ends a cluster whose data lies in `folder`, if it runs. For what killed runs left.
void EndClusterIn(const std::filesystem::path& folder);

}  // namespace understudy::harness
