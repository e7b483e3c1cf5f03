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

using std::chrono::milliseconds;

constexpr const char* kTemplatePrefix = "understudy_t_";
// What starts and stops in 0.1 s gets a minute on a machine that is busy.
constexpr milliseconds kStartDeadline{60000};
constexpr milliseconds kStopDeadline{60000};
// Templates not used for so long are dropped when a data directory goes back to the pool; and
// beyond so many, the ones not used for longest.
constexpr auto kTemplateAge = std::chrono::hours(24 * 14);
constexpr std::size_t kTemplates = 24;

pid_t PostmasterOf(const fs::path& data) {
  std::ifstream file(data / "postmaster.pid");
  pid_t pid = 0;
  if (!(file >> pid) || pid <= 1 || !ProcessLives(pid)) return 0;
  // The pid may be another process's since; a postmaster's working folder is its data directory.
  std::error_code failed;
  const fs::path works_in = fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", failed);
  return !failed && works_in == fs::weakly_canonical(data) ? pid : 0;
}

// A server that was killed leaves its file, and "ready" in it.
bool Ready(const fs::path& data) {
  if (PostmasterOf(data) == 0) return false;
  std::ifstream file(data / "postmaster.pid");
  std::string line;
  for (int i = 0; i < 8; ++i) {
    if (!std::getline(file, line)) return false;
  }
  return line.rfind("ready", 0) == 0;
}

bool WaitUntilGone(pid_t pid, milliseconds deadline) {
  const auto started = SteadyClock::now();
  while (ProcessLives(pid)) {
    if (SteadyClock::now() - started > deadline) return false;
    std::this_thread::sleep_for(milliseconds(3));
  }
  return true;
}

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
      folder_("pg", options.run_id, user_, parent) {}

std::shared_ptr<Cluster> Cluster::Start(const db::Binaries& binaries, const std::string& key,
                                        bool own, DataIn where, const ProvisionOptions& options) {
  const fs::path parent = where == DataIn::kMemory ? MemoryFolderPath() : fs::path();
  std::shared_ptr<Cluster> cluster(new Cluster(binaries, where, parent, options));
  cluster->taken_ =
      TakeData(binaries, key, !own, where, cluster->folder_.path() / "data", cluster->user_);
  cluster->contents_ = cluster->taken_.contents;
  if (!cluster->contents_.roles.empty()) cluster->roles_of_[key] = cluster->contents_.roles;
  std::string conf;
  const auto set = [&](const char* name, const std::string& value) {
    conf += std::string(name) + " = '" + value + "'\n";
  };
  set("listen_addresses", "");
  set("unix_socket_directories", cluster->folder_.path().string());
  set("unix_socket_permissions", "0700");
  set("max_connections", "200");
  set("fsync", "off");
  set("full_page_writes", "off");
  set("synchronous_commit", "on");
  // A checkpoint in the middle of a load measures the disk, not SQL.
  set("max_wal_size", where == DataIn::kMemory ? kWalInMemory : "4GB");
  if (where == DataIn::kMemory) set("min_wal_size", "32MB");
  set("lc_messages", "C");
  set("cluster_name", "understudy");
  WriteFileWhole(cluster->folder_.path() / "data" / "understudy.conf", conf);
  cluster->Launch(options.stop);
  return cluster;
}

std::shared_ptr<Cluster> Cluster::For(const db::Binaries& binaries, const std::string& key,
                                      DataIn where, const ProvisionOptions& options) {
  Clusters& clusters = TheClusters();
  const std::lock_guard lock(clusters.mutex);
  auto& all = clusters.of[{binaries.major, where}];
  std::erase_if(all, [](const auto& cluster) {
    return cluster->Postmaster() == 0 || cluster->Spoiled();  // 0: somebody killed it
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
    End(SIGQUIT);  // the original of its data lies in the cache
    TouchData(taken_, contents_);
    return;
  }
  janitor_.Wait();
  const bool tidy = Tidy();
  End(tidy ? SIGINT : SIGQUIT);
  if (!tidy || contents_.templates.empty() || Postmaster() != 0) return;
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
  const fs::path data = folder_.path() / "data";
  Command command;
  command.user = user_;
  command.folder = folder_.path();
  command.environment["LC_ALL"] = "C";
  command.unset = {"PGDATA", "PGPORT", "PGOPTIONS"};
  // pg_ctl detaches the server from us; waiting is ours, because its own goes by 0.1 s.
  command.argv = {(binaries_.folder / "pg_ctl").string(),
                  "-D",
                  data.string(),
                  "-W",
                  "-s",
                  "-l",
                  (data / "log").string(),
                  "start"};
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::kEnvironment,
                "the throwaway PostgreSQL " + binaries_.version + " did not start: " + why +
                    "; see `understudy doctor`",
                why.find("No space left") != std::string::npos ? "ENOSPC" : "");
  };
  const Outcome outcome = RunCommand(command);
  if (!outcome.ok()) fail(outcome.err + LogTail());
  up_ = true;
  const auto started = SteadyClock::now();
  while (!Ready(data)) {
    const auto waited = SteadyClock::now() - started;
    // Its file is there some milliseconds after the start.
    if (waited > milliseconds(1000) && PostmasterOf(data) == 0) fail(LogTail());
    if (stop && stop()) throw Error(ErrorKind::kCancelled, "stopped while a server started");
    if (waited > kStartDeadline) fail("no answer within 60 s. " + LogTail());
    std::this_thread::sleep_for(milliseconds(3));
  }
}

pid_t Cluster::Postmaster() const { return PostmasterOf(folder_.path() / "data"); }

void Cluster::End(int signal) const {
  const pid_t pid = Postmaster();
  if (pid == 0) return;
  const std::vector<pid_t> backends = Descendants(pid);
  ::kill(pid, signal);
  // A power cut spares nobody; without this, busy backends would finish their statement.
  if (signal == SIGKILL) {
    for (const pid_t backend : backends) ::kill(backend, SIGKILL);
  }
  if (!WaitUntilGone(pid, kStopDeadline)) {
    ::kill(pid, SIGKILL);
    for (const pid_t backend : Descendants(pid)) ::kill(backend, SIGKILL);
    WaitUntilGone(pid, milliseconds(5000));
  }
  for (const pid_t backend : backends) WaitUntilGone(backend, milliseconds(5000));
}

// A start believes in a server whose pid still exists, were it only as a zombie that the machine's
// first process is slow to bury.
void Cluster::WaitUntilBuried(pid_t pid) const {
  const auto dead_since = SteadyClock::now();
  while (::kill(pid, 0) == 0 && SteadyClock::now() - dead_since < milliseconds(1000)) {
    std::this_thread::sleep_for(milliseconds(3));
  }
  if (::kill(pid, 0) != 0) return;
  std::error_code ignored;
  fs::remove(folder_.path() / "data" / "postmaster.pid", ignored);
  fs::remove(folder_.path() / ".s.PGSQL.5432.lock", ignored);
}

void Cluster::Restart(const std::string& how) {
  if (how != "fast" && how != "immediate" && how != "kill") {
    throw Error(ErrorKind::kInvalidSpec,
                "unknown way to restart: '" + how + "'; allowed: fast, immediate, kill");
  }
  const pid_t pid = Postmaster();
  End(how == "fast" ? SIGINT : how == "immediate" ? SIGQUIT : SIGKILL);
  if (pid != 0) WaitUntilBuried(pid);
  Launch({});
}

db::Endpoint Cluster::Maintenance() const {
  return db::Endpoint::Postgres({{"host", folder_.path().string()},
                                 {"port", "5432"},
                                 {"user", "postgres"},
                                 {"dbname", "postgres"}});
}

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

std::string Cluster::LogTail() const {
  std::ifstream file(folder_.path() / "data" / "log");
  std::ostringstream text;
  text << file.rdbuf();
  std::string all = text.str();
  if (all.size() > 1500) all.erase(0, all.size() - 1500);
  while (!all.empty() && all.back() == '\n') all.pop_back();
  return all.empty() ? "it wrote no log" : "its log ends with: " + all;
}

void EndClusterIn(const fs::path& folder) {
  const pid_t pid = PostmasterOf(folder / "data");
  if (pid == 0) return;
  ::kill(pid, SIGQUIT);
  if (WaitUntilGone(pid, milliseconds(10000))) return;
  const std::vector<pid_t> backends = Descendants(pid);
  ::kill(pid, SIGKILL);
  for (const pid_t backend : backends) ::kill(backend, SIGKILL);
  WaitUntilGone(pid, milliseconds(5000));
}

}  // namespace understudy::harness
