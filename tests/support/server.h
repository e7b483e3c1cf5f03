#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/db/endpoint.h"
#include "engine/db/session.h"

// A real PostgreSQL server for a test program: a throwaway cluster on a unix socket, started with
// the first call and ended with the program; or the one that UNDERSTUDY_TEST_SERVER names (an
// endpoint, as a superuser). Apart from harness/world on purpose: that room is tested with it.
namespace understudy::testing {

// Whether a server can be had. When it cannot and UNDERSTUDY_REQUIRE names postgres, the test
// fails; otherwise it is skipped: use NEED_POSTGRES() first in a test.
bool HavePostgres();
bool Required(const std::string& what);  // in UNDERSTUDY_REQUIRE

// Whether a container engine answers now.
bool HaveDocker();

// The server's maintenance database, as a superuser.
db::Endpoint Server();

// A server of a test's own, of the newest local binaries, where a setting or its state would be in
// others' way. On a unix socket and on a port of this machine; ended and removed at the end. Use
// NEED_POSTGRES_BINARIES() first.
class OwnServer {
 public:
  // `settings`: "name=value" each. `data`: an existing empty folder for its data, "" = one of its
  // own.
  explicit OwnServer(const std::vector<std::string>& settings = {},
                     const std::filesystem::path& data = {});
  // A hot standby that streams from `primary`.
  OwnServer(const OwnServer& primary, const std::string& name,
            const std::vector<std::string>& settings = {});
  ~OwnServer();
  OwnServer(const OwnServer&) = delete;
  OwnServer& operator=(const OwnServer&) = delete;

  // As a superuser, through the socket; "" = the maintenance database.
  db::Endpoint endpoint(const std::string& database = "") const;
  int port() const { return port_; }
  const std::filesystem::path& folder() const { return folder_.path(); }  // of the socket
  void Restart(const std::vector<std::string>& settings);                 // instead of the first
  void Stop();

 private:
  void Start(const std::vector<std::string>& settings);
  void Run(std::vector<std::string> argv) const;

  TemporaryFolder folder_{"us-test"};
  std::filesystem::path data_;
  int port_ = 0;
  bool up_ = false;
};

// PgBouncer in front of a server, ended at the end. `mode`: session, transaction, statement;
// `more`: lines of its file. Use NEED_PGBOUNCER() first.
class PgBouncer {
 public:
  PgBouncer(const db::Endpoint& server, const std::string& mode, const std::string& more = "");
  // What `server` is, through the pooler.
  const db::Endpoint& endpoint() const { return endpoint_; }

 private:
  TemporaryFolder folder_{"us-pool"};
  db::Endpoint endpoint_;
  std::optional<Child> child_;
};

bool HaveBinaries();  // of a PostgreSQL server
bool HavePgBouncer();

// A fresh empty database, dropped at the end.
class Database {
 public:
  Database() : Database(Server()) {}
  explicit Database(const db::Endpoint& server);  // as a superuser of `server`
  ~Database();
  const db::Endpoint& endpoint() const { return endpoint_; }
  std::unique_ptr<db::Session> Connect(db::SessionOptions options = {}) const {
    return db::Connect(endpoint_, options);
  }
  // Runs SQL as a user of the database would (Settings::kUsers).
  void Run(std::string_view sql) const;

 private:
  db::Endpoint server_;
  db::Endpoint endpoint_;
};

// An SQLite file in a temporary folder of its own.
class SqliteFile {
 public:
  SqliteFile();
  ~SqliteFile();
  db::Endpoint endpoint() const;
  std::unique_ptr<db::Session> Connect(db::SessionOptions options = {}) const;
  void Run(std::string_view sql) const;

 private:
  std::string folder_;
};

}  // namespace understudy::testing

#define NEED_POSTGRES()                                                              \
  if (!::understudy::testing::HavePostgres()) {                                      \
    if (::understudy::testing::Required("postgres"))                                 \
      FAIL() << "UNDERSTUDY_REQUIRE names postgres, and no server could be started"; \
    GTEST_SKIP() << "no PostgreSQL server binaries on this machine";                 \
  }

#define NEED_POSTGRES_BINARIES()                                                       \
  if (!::understudy::testing::HaveBinaries()) {                                        \
    if (::understudy::testing::Required("postgres"))                                   \
      FAIL() << "UNDERSTUDY_REQUIRE names postgres, and there are no server binaries"; \
    GTEST_SKIP() << "no PostgreSQL server binaries on this machine";                   \
  }

#define NEED_PGBOUNCER()                                                 \
  if (!::understudy::testing::HavePgBouncer()) {                         \
    if (::understudy::testing::Required("pgbouncer"))                    \
      FAIL() << "UNDERSTUDY_REQUIRE names pgbouncer, and there is none"; \
    GTEST_SKIP() << "no pgbouncer on this machine";                      \
  }

#define NEED_DOCKER()                                                               \
  if (!::understudy::testing::HaveDocker()) {                                       \
    if (::understudy::testing::Required("docker"))                                  \
      FAIL() << "UNDERSTUDY_REQUIRE names docker, and no container engine answers"; \
    GTEST_SKIP() << "no container engine on this machine";                          \
  }
