#include "tests/support/server.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>

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

class Cluster {
 public:
  Cluster() {
    const fs::path bin = NewestBinaries();
    if (bin.empty()) return;
    const std::string data = (folder_.path() / "data").string();
    const std::string user = ServerUser();
    if (!user.empty()) {
      RunCommand({.argv = {"chown", user, folder_.path().string()}});
    }
    const auto run = [&](std::vector<std::string> argv) {
      Command command;
      command.argv = std::move(argv);
      command.user = user;
      command.folder = folder_.path();
      const Outcome outcome = RunCommand(command);
      if (!outcome.ok()) {
        throw Error(ErrorKind::kEnvironment, command.argv[0] + ": " + outcome.err + outcome.out);
      }
    };
    run({(bin / "initdb").string(), "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8",
         "--locale", "C.UTF-8", "-D", data});
    pg_ctl_ = (bin / "pg_ctl").string();
    data_ = data;
    run({pg_ctl_, "-D", data, "-w", "-l", data + "/log", "-o",
         "-c listen_addresses='' -c fsync=off -c unix_socket_directories='" +
             folder_.path().string() +
             "' -c max_connections=200 -c timezone=Asia/Kathmandu -c max_prepared_transactions=5",
         "start"});
    up_ = true;
  }
  ~Cluster() {
    if (!up_) return;
    Command command;
    command.argv = {pg_ctl_, "-D", data_, "-m", "immediate", "-w", "stop"};
    command.user = ServerUser();
    try {
      RunCommand(command);
    } catch (const std::exception&) {
    }
  }
  bool up() const { return up_; }
  db::Endpoint endpoint() const {
    return db::Endpoint::Postgres(
        {{"host", folder_.path().string()}, {"user", "postgres"}, {"dbname", "postgres"}});
  }

 private:
  TemporaryFolder folder_{"us-test"};
  std::string pg_ctl_;
  std::string data_;
  bool up_ = false;
};

Cluster& TheCluster() {
  static Cluster cluster;
  return cluster;
}

}  // namespace

bool Required(const std::string& what) {
  const char* all = std::getenv("UNDERSTUDY_REQUIRE");
  return all != nullptr &&
         ("," + std::string(all) + ",").find("," + what + ",") != std::string::npos;
}

bool HavePostgres() { return std::getenv(kServerVariable) != nullptr || TheCluster().up(); }

bool HaveDocker() {
  static const bool answers =
      !FindProgram("docker").empty() &&
      RunCommand({.argv = {"docker", "version"}, .deadline = std::chrono::seconds(20)}).ok();
  return answers;
}

db::Endpoint Server() {
  if (const char* given = std::getenv(kServerVariable)) return db::Endpoint::Parse(given);
  return TheCluster().endpoint();
}

Database::Database() {
  static std::atomic<int> count = 0;
  const std::string name = "test_" + std::to_string(::getpid()) + "_" + std::to_string(++count);
  db::Connect(Server())->Execute("CREATE DATABASE " + name);
  endpoint_ = Server().WithDatabase(name);
}

Database::~Database() {
  try {
    db::Connect(Server())->Execute("DROP DATABASE " + endpoint_.Setting("dbname") +
                                   " WITH (FORCE)");
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
