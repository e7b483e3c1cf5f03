#include "harness/world/cluster.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/memory.h"
#include "engine/base/process.h"
#include "engine/base/redact.h"
#include "engine/db/identifier.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

constexpr const char* kTemplatePrefix = "understudy_t_";
// Templates not used for so long are dropped when a data directory goes back to the pool; and
// beyond so many, the ones not used for longest.
constexpr auto kTemplateAge = std::chrono::hours(24 * 14);
constexpr std::size_t kTemplates = 24;

std::string NotTemplate(const std::string& key) {
  return "ALTER DATABASE " + db::QuoteIdentifier(kTemplatePrefix + key.substr(0, 40)) +
         " IS_TEMPLATE false";
}

// Whether somebody used ALTER SYSTEM; what initdb leaves there is comments.
bool WasSet(const fs::path& data) {
  std::ifstream file(data / "postgresql.auto.conf");
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') return true;
  }
  return false;
}

struct Clusters {
  // What this one's end needs must be made before it, so that it ends after it.
  Clusters() {
    Redact("");
    log::Debug("servers: none yet");
    db::FindBinaries();
    ThisBoot();
  }
  std::mutex mutex;
  std::map<std::pair<int, DataIn>, std::vector<std::shared_ptr<Cluster>>> of;  // major, where
};

Clusters& TheClusters() {
  static Clusters clusters;
  return clusters;
}

// A power cut would lose it anyway, and a checkpoint costs nothing here: WAL is not to pile up.
constexpr const char* kWalInMemory = "512MB";

}  // namespace

Cluster::Cluster(const db::Binaries& binaries, DataIn where, const fs::path& parent,
                 const ProvisionOptions& options)
    : binaries_(binaries),
      user_(ServerUser()),
      where_(where),
      folder_("pg", options.run_id, user_, parent),
      process_(binaries, folder_.path(), user_) {}

std::shared_ptr<Cluster> Cluster::Start(const db::Binaries& binaries, const std::string& key,
                                        bool own, DataIn where, const ProvisionOptions& options) {
  const fs::path parent = where == DataIn::kMemory ? MemoryFolderPath() : fs::path();
  std::shared_ptr<Cluster> cluster(new Cluster(binaries, where, parent, options));
  cluster->taken_ =
      TakeData(binaries, key, !own, where, cluster->folder_.path() / "data", cluster->user_);
  cluster->contents_ = cluster->taken_.contents;
  if (!cluster->contents_.roles.empty()) cluster->roles_of_[key] = cluster->contents_.roles;
  std::map<std::string, std::string> settings = {{"max_connections", "200"},
                                                 {"synchronous_commit", "on"}};
  // A checkpoint in the middle of a load measures the disk, not SQL.
  settings["max_wal_size"] = where == DataIn::kMemory ? kWalInMemory : "4GB";
  if (where == DataIn::kMemory) settings["min_wal_size"] = "32MB";
  cluster->process_.Configure(settings);
  cluster->Launch(options.stop);
  return cluster;
}

std::shared_ptr<Cluster> Cluster::For(const db::Binaries& binaries, const std::string& key,
                                      DataIn where, const ProvisionOptions& options) {
  Clusters& clusters = TheClusters();
  const std::lock_guard lock(clusters.mutex);
  auto& all = clusters.of[{binaries.major, where}];
  std::erase_if(all, [](const auto& cluster) {
    return cluster->process_.Postmaster() == 0 || cluster->Spoiled();  // 0: somebody killed it
  });
  const std::string scenario = options.run_id + "/" + options.scenario;
  std::shared_ptr<Cluster> found;
  for (const auto& cluster : all) {
    if (cluster->Take(scenario, key)) found = cluster;
    if (found) break;
  }
  if (!found) {
    found = Start(binaries, key, false, where, options);
    found->Take(scenario, key);
    all.push_back(found);
  }
  // Its own count of leases holds it for the scenario; this result counts as one.
  return {found.get(), [found](Cluster* cluster) { cluster->LeaseEnds(); }};
}

bool Cluster::Take(const std::string& scenario, const std::string& key) {
  {
    const std::lock_guard lock(mutex_);
    if (leases_ > 0 && scenario_ != scenario) return false;
    if (leases_ == 0 && (dirty_ || kept_ || !MayServe(contents_, key))) return false;
    scenario_ = scenario;
    if (leases_++ > 0) return true;
  }
  janitor_.Wait();  // nothing of the scenario before
  const std::lock_guard lock(mutex_);
  if (!dirty_) return true;
  --leases_;
  return false;
}

bool Cluster::Spoiled() const {
  const std::lock_guard lock(mutex_);
  return leases_ == 0 && dirty_;
}

void Cluster::EndIdle() {
  Clusters& clusters = TheClusters();
  const std::lock_guard lock(clusters.mutex);
  clusters.of.clear();
}

Cluster::~Cluster() {
  if (kept_) {
    folder_.Keep();
    return;
  }
  if (!up_) return;
  if (where_ == DataIn::kMemory && !changed_) {
    janitor_.Forget();
    process_.End(SIGQUIT);  // the original of its data lies in the cache
    TouchData(taken_, contents_);
    return;
  }
  janitor_.Wait();
  const bool tidy = Tidy();
  process_.End(tidy ? SIGINT : SIGQUIT);
  if (!tidy || contents_.templates.empty() || process_.Postmaster() != 0) return;
  const fs::path data = folder_.path() / "data";
  std::error_code ignored;
  if (fs::exists(data / "postmaster.pid", ignored)) return;  // it did not end properly
  // What somebody set for the whole server must not reach the next run.
  std::ofstream(data / "postgresql.auto.conf", std::ios::trunc);
  fs::remove(data / "log", ignored);
  fs::remove(data / "understudy.conf", ignored);
  // What was taken is in it too, unless it had to make room for a template with roles.
  const bool whole = std::ranges::all_of(taken_.contents.templates, [&](const auto& before) {
    return contents_.templates.contains(before.first);
  });
  ReturnData(binaries_, data, contents_, where_, whole ? taken_.copied_from : fs::path());
}

void Cluster::Launch(const std::function<bool()>& stop) {
  up_ = true;  // it may run even where the start fails
  process_.Start(stop);
}

void Cluster::Restart(const std::string& how) {
  if (how != "fast" && how != "immediate" && how != "kill") {
    throw Error(ErrorKind::kInvalidSpec,
                "unknown way to restart: '" + how + "'; allowed: fast, immediate, kill");
  }
  const pid_t pid = process_.Postmaster();
  process_.End(how == "fast" ? SIGINT : how == "immediate" ? SIGQUIT : SIGKILL);
  if (pid != 0) process_.WaitUntilBuried(pid);
  Launch({});
}

db::Endpoint Cluster::Maintenance() const { return process_.Maintenance(); }

std::string Cluster::HowToConnect(const std::string& database) const {
  return (binaries_.folder / "psql").string() + " 'host=" + folder_.path().string() +
         " port=5432 user=postgres dbname=" + database + "'";
}

void Cluster::Keep() {
  const std::lock_guard lock(mutex_);
  kept_ = true;
}

void Cluster::LeaseBegins() {
  const std::lock_guard lock(mutex_);
  ++leases_;
}

void Cluster::Discard(const std::string& database) noexcept {
  try {
    janitor_.Later([this, database] {
      if (DropDatabase(Maintenance(), database)) return;
      const std::lock_guard lock(mutex_);
      dirty_ = true;
    });
  } catch (const std::exception&) {  // its thread could not be started
    DropDatabase(Maintenance(), database);
  }
}

void Cluster::LeaseEnds() noexcept {
  const std::lock_guard lock(mutex_);
  if (--leases_ > 0 || kept_) return;
  try {
    janitor_.Later([this] {
      bool clean = !WasSet(folder_.path() / "data");
      try {
        DropRoles(*db::Connect(Maintenance()));
      } catch (const std::exception&) {
        clean = false;
      }
      const std::lock_guard dirty_lock(mutex_);
      dirty_ = dirty_ || !clean;
    });
  } catch (const std::exception&) {
    dirty_ = true;
  }
}

// Roles belong to the whole cluster: those that a scenario made must not meet the next one.
void Cluster::DropRoles(db::Session& session) const {
  std::set<std::string> needed;
  {
    const std::lock_guard lock(mutex_);
    needed = contents_.roles;
  }
  const auto roles = session.Query(
      "SELECT rolname FROM pg_roles WHERE rolname <> 'postgres' AND rolname !~ '^pg_'");
  for (const db::Row& row : roles.rows) {
    if (needed.contains(row[0].text)) continue;
    session.Execute("DROP ROLE " + db::QuoteIdentifier(row[0].text));
  }
}

std::string Cluster::Template(const std::string& key,
                              const std::function<void(const db::Endpoint&)>& build) {
  const std::string name = kTemplatePrefix + key.substr(0, 40);
  {
    std::unique_lock lock(mutex_);
    built_.wait(lock, [&] { return !building_.contains(key); });
    if (const auto it = contents_.templates.find(key); it != contents_.templates.end()) {
      it->second = UtcNow();
      return name;
    }
    building_.insert(key);
  }
  const auto finish = [&](const std::set<std::string>* roles) {
    const std::lock_guard lock(mutex_);
    building_.erase(key);
    if (roles != nullptr) {
      contents_.templates[key] = UtcNow();
      changed_ = true;
      contents_.roles.insert(roles->begin(), roles->end());
      if (!roles->empty()) roles_of_[key] = *roles;
    }
    built_.notify_all();
  };
  const db::Endpoint maintenance = Maintenance();
  const std::string partial = NewDatabaseName("building");
  try {
    const auto session = db::Connect(maintenance);
    const auto roles_now = [&] {
      std::set<std::string> roles;
      for (const db::Row& row :
           session->Query("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'").rows) {
        roles.insert(row[0].text);
      }
      return roles;
    };
    std::set<std::string> before = roles_now();
    CreateDatabase(maintenance, partial, "");
    build(maintenance.WithDatabase(partial));
    std::set<std::string> made;
    for (const std::string& role : roles_now()) {
      if (!before.contains(role)) made.insert(role);
    }
    session->Execute("ALTER DATABASE " + db::QuoteIdentifier(partial) +
                     " WITH ALLOW_CONNECTIONS false IS_TEMPLATE true");
    session->Execute("ALTER DATABASE " + db::QuoteIdentifier(partial) + " RENAME TO " +
                     db::QuoteIdentifier(name));
    finish(&made);
  } catch (...) {
    DropDatabase(maintenance, partial);
    finish(nullptr);
    throw;
  }
  return name;
}

// Leaves nothing but the templates. False when that failed: then the data is not kept.
bool Cluster::Tidy() noexcept {
  try {
    const db::Endpoint maintenance = Maintenance();
    const auto session = db::Connect(maintenance);
    if (!roles_of_.empty()) {  // see MayServe
      const auto& [key, roles] = *roles_of_.begin();
      std::map<std::string, std::string> only = {{key, contents_.templates.at(key)}};
      for (const auto& [other, used] : contents_.templates) {
        if (other != key) session->Execute(NotTemplate(other));
      }
      contents_ = {std::move(only), roles};
    }
    std::vector<std::pair<std::string, std::string>> by_use;  // when, key
    for (const auto& [key, used] : contents_.templates) by_use.emplace_back(used, key);
    std::sort(by_use.rbegin(), by_use.rend());
    const std::string oldest = FormatUtc(std::chrono::system_clock::now() - kTemplateAge);
    for (std::size_t i = 0; i < by_use.size(); ++i) {
      if (i < kTemplates && by_use[i].first >= oldest) continue;
      session->Execute(NotTemplate(by_use[i].second));
      contents_.templates.erase(by_use[i].second);
    }
    std::set<std::string> stay = {"postgres", "template0", "template1"};
    for (const auto& [key, used] : contents_.templates) {
      stay.insert(kTemplatePrefix + key.substr(0, 40));
    }
    for (const db::Row& row : session->Query("SELECT datname FROM pg_database").rows) {
      if (!stay.contains(row[0].text) && !DropDatabase(maintenance, row[0].text)) return false;
    }
    DropRoles(*session);
    return session->Query("SELECT 1 FROM pg_tablespace WHERE spcname !~ '^pg_'").rows.empty();
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace understudy::harness
