#include "tests/support/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"

namespace understudy::testing {
namespace fs = std::filesystem;
namespace {

// An endpoint to test on instead: the maintenance database of another version, as a superuser.
constexpr const char* kServerVariable = "UNDERSTUDY_TEST_SERVER";

fs::path NewestBinaries() {
  fs::path newest;
  int best = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
    const int major = std::atoi(entry.path().filename().c_str());
    if (major > best && fs::exists(entry.path() / "bin" / "initdb")) {
      best = major;
      newest = entry.path() / "bin";
    }
  }
  return newest;
}

// initdb and the server refuse to run as root.
std::string ServerUser() { return ::geteuid() == 0 ? "postgres" : ""; }

// A port that nobody listens on just now.
int FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(fd);
  if (!bound) throw Error(ErrorKind::kEnvironment, "no free port");
  return ntohs(address.sin_port);
}

void GiveTo(const std::string& user, const fs::path& path) {
  if (!user.empty()) RunCommand({.argv = {"chown", user, path.string()}});
}

// One for the whole program.
OwnServer* TheServer() {
  static const std::unique_ptr<OwnServer> server =
      HaveBinaries() ? std::make_unique<OwnServer>(std::vector<std::string>{
                           "timezone=Asia/Kathmandu", "max_prepared_transactions=5"})
                     : nullptr;
  return server.get();
}

}  // namespace

bool Required(const std::string& what) {
  const char* all = std::getenv("UNDERSTUDY_REQUIRE");
  return all != nullptr &&
         ("," + std::string(all) + ",").find("," + what + ",") != std::string::npos;
}

bool HaveBinaries() { return !NewestBinaries().empty(); }
bool HavePgBouncer() { return !FindProgram("pgbouncer").empty(); }

bool HavePostgres() { return std::getenv(kServerVariable) != nullptr || HaveBinaries(); }

bool HaveDocker() {
  static const bool answers =
      !FindProgram("docker").empty() &&
      RunCommand({.argv = {"docker", "version"}, .deadline = std::chrono::seconds(20)}).ok();
  return answers;
}

db::Endpoint Server() {
  if (const char* given = std::getenv(kServerVariable)) return db::Endpoint::Parse(given);
  return TheServer()->endpoint();
}

OwnServer::OwnServer(const std::vector<std::string>& settings, const fs::path& data)
    : data_(data.empty() ? folder_.path() / "data" : data), port_(FreePort()) {
  GiveTo(ServerUser(), folder_.path());
  if (!data.empty()) GiveTo(ServerUser(), data);
  Run({(NewestBinaries() / "initdb").string(), "--no-sync", "-A", "trust", "-U", "postgres", "-E",
       "UTF8", "--locale", "C.UTF-8", "-D", data_.string()});
  Start(settings);
}

OwnServer::OwnServer(const OwnServer& primary, const std::string& name,
                     const std::vector<std::string>& settings)
    : data_(folder_.path() / "data"), port_(FreePort()) {
  GiveTo(ServerUser(), folder_.path());
  Run({(NewestBinaries() / "pg_basebackup").string(), "-h", primary.folder().string(), "-p",
       std::to_string(primary.port()), "-U", "postgres", "-D", data_.string(), "-R", "-X", "stream",
       "-c", "fast", "--no-sync"});
  std::vector<std::string> all = settings;
  all.push_back("primary_conninfo=host=" + primary.folder().string() + " port=" +
                std::to_string(primary.port()) + " user=postgres application_name=" + name);
  Start(all);
}

OwnServer::~OwnServer() {
  try {
    Stop();
  } catch (const std::exception&) {  // the folder goes anyway
  }
}

db::Endpoint OwnServer::endpoint(const std::string& database) const {
  return db::Endpoint::Postgres({{"host", folder_.path().string()},
                                 {"port", std::to_string(port_)},
                                 {"user", "postgres"},
                                 {"dbname", database.empty() ? "postgres" : database}});
}

void OwnServer::Run(std::vector<std::string> argv) const {
  Command command;
  command.argv = std::move(argv);
  command.user = ServerUser();
  command.folder = folder_.path();
  const Outcome outcome = RunCommand(command);
  if (!outcome.ok()) {
    throw Error(ErrorKind::kEnvironment, command.argv[0] + ": " + outcome.err + outcome.out);
  }
}

void OwnServer::Start(const std::vector<std::string>& settings) {
  std::string options = "-p " + std::to_string(port_);
  for (const std::string& setting : settings) options += " -c '" + setting + "'";
  // What is given first loses against what is given last.
  Run({(NewestBinaries() / "pg_ctl").string(), "-D", data_.string(), "-w", "-l",
       (folder_.path() / "log").string(), "-o",
       "-c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200 "
       "-c unix_socket_directories='" +
           folder_.path().string() + "' " + options,
       "start"});
  up_ = true;
}

void OwnServer::Restart(const std::vector<std::string>& settings) {
  Stop();
  Start(settings);
}

void OwnServer::Stop() {
  if (!std::exchange(up_, false)) return;
  Run({(NewestBinaries() / "pg_ctl").string(), "-D", data_.string(), "-m", "immediate", "-w",
       "stop"});
}

PgBouncer::PgBouncer(const db::Endpoint& server, const std::string& mode, const std::string& more) {
  const int port = FreePort();
  const fs::path file = folder_.path() / "pgbouncer.ini";
  GiveTo(ServerUser(), folder_.path());
  // `auth_type = any` takes the user from the database's line.
  WriteFileWhole(
      file, "[databases]\n* = host=" + server.Setting("host") + " port=" + server.Setting("port") +
                " user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = " +
                std::to_string(port) + "\nunix_socket_dir =\nauth_type = any\npool_mode = " + mode +
                "\n" + more + "\n");
  fs::permissions(file, fs::perms::all);
  Command command;
  command.argv = {"pgbouncer", file.string()};
  command.user = ServerUser();
  child_ = Child::Start(command, {}, folder_.path() / "log");
  endpoint_ = server.WithSetting("host", "127.0.0.1").WithSetting("port", std::to_string(port));
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    try {
      db::SessionOptions options;
      options.settings = db::Settings::kUsers;
      db::Connect(endpoint_, options);
      return;
    } catch (const Error&) {
      if (std::chrono::steady_clock::now() > until) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

Database::Database(const db::Endpoint& server) : server_(server) {
  static std::atomic<int> count = 0;
  const std::string name = "test_" + std::to_string(::getpid()) + "_" + std::to_string(++count);
  db::Connect(server_)->Execute("CREATE DATABASE " + name);
  endpoint_ = server_.WithDatabase(name);
}

Database::~Database() {
  try {
    db::Connect(server_)->Execute("DROP DATABASE " + endpoint_.Setting("dbname") + " WITH (FORCE)");
  } catch (const std::exception&) {  // PostgreSQL 12 knows no FORCE; the cluster goes anyway
  }
}

void Database::Run(std::string_view sql) const {
  db::SessionOptions options;
  options.settings = db::Settings::kUsers;
  db::Connect(endpoint_, options)->Execute(sql);
}

SqliteFile::SqliteFile() {
  std::string pattern = (fs::temp_directory_path() / "us-sqlite-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw Error(ErrorKind::kEnvironment, "mkdtemp");
  folder_ = pattern;
}

SqliteFile::~SqliteFile() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

db::Endpoint SqliteFile::endpoint() const {
  return db::Endpoint::Sqlite(fs::path(folder_) / "test.db");
}

std::unique_ptr<db::Session> SqliteFile::Connect(db::SessionOptions options) const {
  options.create = true;
  return db::Connect(endpoint(), options);
}

void SqliteFile::Run(std::string_view sql) const {
  // Nothing here must outlive the machine, and a file of a test is synced dozens of times else.
  Connect()->Execute("PRAGMA synchronous = off; " + std::string(sql));
}

}  // namespace understudy::testing
