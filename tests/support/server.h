#pragma once

#include <memory>
#include <string>

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

// A fresh empty database, dropped at the end.
class Database {
 public:
  Database();
  ~Database();
  const db::Endpoint& endpoint() const { return endpoint_; }
  std::unique_ptr<db::Session> Connect(db::SessionOptions options = {}) const {
    return db::Connect(endpoint_, options);
  }
  // Runs SQL as a user of the database would (Settings::kUsers).
  void Run(std::string_view sql) const;

 private:
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

#define NEED_DOCKER()                                                               \
  if (!::understudy::testing::HaveDocker()) {                                       \
    if (::understudy::testing::Required("docker"))                                  \
      FAIL() << "UNDERSTUDY_REQUIRE names docker, and no container engine answers"; \
    GTEST_SKIP() << "no container engine on this machine";                          \
  }
