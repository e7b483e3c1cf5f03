#include "engine/db/local_server.h"

#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"

namespace understudy::db {
namespace fs = std::filesystem;
namespace {

using std::chrono::milliseconds;

constexpr const char* kSettingsFile = "understudy.conf";
constexpr std::size_t kLogShown = 1500;
// What starts and stops in 0.1 s gets a minute on a machine that is busy.
constexpr milliseconds kStartDeadline{60000};
constexpr milliseconds kStopDeadline{60000};
constexpr milliseconds kKillDeadline{5000};

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

// Backends go with their postmaster, but would finish their statement first.
void Kill(pid_t pid) {
  const std::vector<pid_t> backends = Descendants(pid);
  ::kill(pid, SIGKILL);
  for (const pid_t backend : backends) ::kill(backend, SIGKILL);
  WaitUntilGone(pid, kKillDeadline);
}

void RunOrThrow(Command command) {
  const Outcome outcome = RunCommand(command);
  if (outcome.ok()) return;
  std::string why = outcome.err.empty() ? outcome.out : outcome.err;
  while (!why.empty() && why.back() == '\n') why.pop_back();
  const bool full = why.find("No space left") != std::string::npos;
  throw Error(ErrorKind::kEnvironment, command.argv[0] + " failed: " + why, full ? "ENOSPC" : "");
}

std::string PurposeOf(const fs::path& folder) {
  std::ifstream file(folder / "owner");
  std::string line;
  std::getline(file, line);
  std::getline(file, line);
  return line;
}

}  // namespace

void InitData(const Binaries& binaries, const std::string& user, const fs::path& folder,
              const std::string& name) {
  const fs::path data = folder / name;
  Command command;
  command.argv = {(binaries.folder / "initdb").string(),
                  "--no-sync",
                  "-A",
                  "trust",
                  "-U",
                  "postgres",
                  "-E",
                  "UTF8",
                  "--locale",
                  "C.UTF-8",
                  "-D",
                  data.string()};
  command.user = user;
  command.folder = folder;
  RunOrThrow(std::move(command));
  // What a start adds stands in a file of its own.
  std::ofstream(data / "postgresql.conf", std::ios::app)
      << "include_if_exists = '" << kSettingsFile << "'\n";
}

ServerProcess::ServerProcess(Binaries binaries, fs::path folder, std::string user)
    : binaries_(std::move(binaries)), folder_(std::move(folder)), user_(std::move(user)) {}

void ServerProcess::Configure(const std::map<std::string, std::string>& settings) const {
  std::map<std::string, std::string> all = {{"listen_addresses", ""},
                                            {"unix_socket_directories", folder_.string()},
                                            {"unix_socket_permissions", "0700"},
                                            {"fsync", "off"},
                                            {"full_page_writes", "off"},
                                            {"lc_messages", "C"},
                                            {"cluster_name", "understudy"}};
  for (const auto& [name, value] : settings) all[name] = value;
  std::string text;
  for (const auto& [name, value] : all) text += name + " = '" + value + "'\n";
  WriteFileWhole(data() / kSettingsFile, text);
}

void ServerProcess::Start(const std::function<bool()>& stop) const {
  Command command;
  command.user = user_;
  command.folder = folder_;
  command.environment["LC_ALL"] = "C";
  command.unset = {"PGDATA", "PGPORT", "PGOPTIONS"};
  // pg_ctl detaches the server from us; waiting is ours, because its own goes by 0.1 s.
  command.argv = {(binaries_.folder / "pg_ctl").string(),
                  "-D",
                  data().string(),
                  "-W",
                  "-s",
                  "-l",
                  (data() / "log").string(),
                  "start"};
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::kEnvironment,
                "the throwaway PostgreSQL " + binaries_.version + " did not start: " + why +
                    "; see `understudy doctor`",
                why.find("No space left") != std::string::npos ? "ENOSPC" : "");
  };
  const Outcome outcome = RunCommand(command);
  if (!outcome.ok()) fail(outcome.err + LogTail());
  const auto started = SteadyClock::now();
  while (!Ready(data())) {
    const auto waited = SteadyClock::now() - started;
    // Its file is there some milliseconds after the start.
    if (waited > milliseconds(1000) && Postmaster() == 0) fail(LogTail());
    if (stop && stop()) throw Error(ErrorKind::kCancelled, "stopped while a server started");
    if (waited > kStartDeadline) fail("no answer within 60 s. " + LogTail());
    std::this_thread::sleep_for(milliseconds(3));
  }
}

pid_t ServerProcess::Postmaster() const { return PostmasterOf(data()); }

void ServerProcess::End(int signal) const {
  const pid_t pid = Postmaster();
  if (pid == 0) return;
  const std::vector<pid_t> backends = Descendants(pid);
  ::kill(pid, signal);
  // A power cut spares nobody.
  if (signal == SIGKILL) {
    for (const pid_t backend : backends) ::kill(backend, SIGKILL);
  }
  if (!WaitUntilGone(pid, kStopDeadline)) Kill(pid);
  for (const pid_t backend : backends) WaitUntilGone(backend, kKillDeadline);
}

// A start believes in a server whose pid still exists, were it only as a zombie that the machine's
// first process is slow to bury.
void ServerProcess::WaitUntilBuried(pid_t pid) const {
  const auto dead_since = SteadyClock::now();
  while (::kill(pid, 0) == 0 && SteadyClock::now() - dead_since < milliseconds(1000)) {
    std::this_thread::sleep_for(milliseconds(3));
  }
  if (::kill(pid, 0) != 0) return;
  std::error_code ignored;
  fs::remove(data() / "postmaster.pid", ignored);
  fs::remove(folder_ / ".s.PGSQL.5432.lock", ignored);
}

Endpoint ServerProcess::Maintenance() const {
  return Endpoint::Postgres(
      {{"host", folder_.string()}, {"port", "5432"}, {"user", "postgres"}, {"dbname", "postgres"}});
}

std::string ServerProcess::LogTail() const {
  std::ifstream file(data() / "log");
  std::ostringstream text;
  text << file.rdbuf();
  std::string all = text.str();
  if (all.size() > kLogShown) all.erase(0, all.size() - kLogShown);
  while (!all.empty() && all.back() == '\n') all.pop_back();
  return all.empty() ? "it wrote no log" : "its log ends with: " + all;
}

void EndServerIn(const fs::path& folder) {
  const pid_t pid = PostmasterOf(folder / "data");
  if (pid == 0) return;
  ::kill(pid, SIGQUIT);
  if (!WaitUntilGone(pid, milliseconds(10000))) Kill(pid);
}

LocalServer::LocalServer(const Binaries& binaries, std::string_view kind,
                         const std::string& purpose, const std::function<bool()>& stop)
    : user_(ServerUser()),
      folder_(kind, purpose, user_),
      process_(binaries, folder_.path(), user_) {
  InitData(binaries, user_, folder_.path());
  // Schemas of thousands of tables are read in one transaction.
  process_.Configure({{"max_connections", "20"},
                      {"max_locks_per_transaction", "1024"},
                      {"shared_buffers", "32MB"},
                      {"synchronous_commit", "off"},
                      {"autovacuum", "off"}});
  try {
    process_.Start(stop);
  } catch (...) {
    process_.End(SIGQUIT);  // stopped, or too slow: it may run all the same
    throw;
  }
}

LocalServer::~LocalServer() {
  try {
    process_.End(SIGQUIT);
  } catch (const std::exception&) {  // out of memory: the folder's removal ends it
  }
}

void LocalServer::MakeTablespace(const std::string& name) {
  const fs::path folder =
      folder_.path() / ("space-" + std::to_string(std::hash<std::string>{}(name)));
  Command command;
  command.argv = {"mkdir", folder.string()};
  command.user = user_;
  command.folder = folder_.path();
  RunOrThrow(std::move(command));
  Connect(Maintenance())
      ->Execute("CREATE TABLESPACE " + QuoteIdentifier(name) + " LOCATION " +
                QuoteLiteral(folder.string()));
}

std::vector<fs::path> DeadLocalServers(std::string_view kind, const std::string& purpose) {
  std::vector<fs::path> dead;
  for (const FoundFolder& folder : FindOwnedFolders()) {
    if (folder.kind != kind || folder.owner.Alive()) continue;
    if (purpose.empty() || PurposeOf(folder.path) == purpose) dead.push_back(folder.path);
  }
  return dead;
}

void RemoveDeadLocalServers(std::string_view kind, const std::string& purpose) noexcept {
  try {
    for (const fs::path& folder : DeadLocalServers(kind, purpose)) {
      EndServerIn(folder);
      std::error_code ignored;
      fs::remove_all(folder, ignored);
    }
  } catch (const std::exception&) {  // the next one tries again
  }
}

}  // namespace understudy::db
