#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/db/session.h"
#include "harness/world/world.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using ::testing::HasSubstr;

class SqliteWorld : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
    spec_.name = "main";
    spec_.engine = "sqlite";
    spec_.provision = "auto";
    spec_.fixture = Json::array();
    options_.run_id = "test";
    options_.scenario = "sqlite-test";
  }
  void Fixture(const std::string& sql) {
    std::ofstream(folder_.path() / "schema.sql") << sql;
    spec_.fixture = Json::array({(folder_.path() / "schema.sql").string()});
  }
  static std::string Ask(const Lease& lease, const std::string& sql) {
    return db::Connect(lease.endpoint())->Scalar(sql).TextOr("NULL");
  }
  TemporaryFolder folder_{"us-sqlite"};
  DatabaseSpec spec_;
  ProvisionOptions options_;
};

TEST_F(SqliteWorld, GivesAFreshFileEachTimeAndTakesItAway) {
  Fixture("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
  std::filesystem::path file;
  {
    const auto one = Provision(spec_, options_);
    file = one->endpoint().file();
    db::Connect(one->endpoint())->Execute("DELETE FROM t");
    const auto two = Provision(spec_, options_);
    EXPECT_EQ(Ask(*two, "SELECT count(*) FROM t"), "1");
    EXPECT_EQ(two->provision(), "sqlite");
  }
  EXPECT_FALSE(std::filesystem::exists(file.parent_path()));
}

TEST_F(SqliteWorld, WhatAMigrationMakesIsAPlaceWhereNothingIs) {
  spec_.made_by_migration = true;
  std::filesystem::path file;
  {
    const auto lease = Provision(spec_, options_);
    file = lease->endpoint().file();
    EXPECT_FALSE(lease->IsThere());
    EXPECT_FALSE(std::filesystem::exists(file));
    const auto nothing = lease->Clone("nothing");
    EXPECT_TRUE(nothing->IsThere());
    EXPECT_EQ(Ask(*nothing, "SELECT count(*) FROM sqlite_schema"), "0");
    EXPECT_FALSE(lease->IsThere());  // a clone makes nothing here
    db::Connect(lease->endpoint(), {.create = true})->Execute("CREATE TABLE t (id INTEGER)");
    EXPECT_TRUE(lease->IsThere());
    EXPECT_EQ(Ask(*lease->Clone("made"), "SELECT count(*) FROM sqlite_schema"), "1");
  }
  EXPECT_FALSE(std::filesystem::exists(file.parent_path()));
}

TEST_F(SqliteWorld, AKnownFixtureComesFromTheCache) {
  Fixture("CREATE TABLE t (id INTEGER);");
  Provision(spec_, options_);
  int loaded = 0;
  options_.progress = [&](std::string_view) { ++loaded; };
  Provision(spec_, options_);
  EXPECT_EQ(loaded, 0);
  Fixture("CREATE TABLE t (id INTEGER, more TEXT);");
  const auto changed = Provision(spec_, options_);
  EXPECT_EQ(Ask(*changed, "SELECT count(*) FROM pragma_table_info('t')"), "2");
}

TEST_F(SqliteWorld, CloneHoldsWhatOnlyTheWalHoldsAndTheRowids) {
  spec_.settings = {{"journal_mode", "wal"}};
  const auto lease = Provision(spec_, options_);
  const auto writer = db::Connect(lease->endpoint());  // open: nothing is checkpointed
  writer->Execute("CREATE TABLE t (x TEXT); INSERT INTO t(rowid, x) VALUES (7, 'a'), (99, 'b')");
  EXPECT_EQ(writer->Scalar("PRAGMA journal_mode").text, "wal");
  const auto clone = lease->Clone("held");
  EXPECT_EQ(Ask(*clone, "SELECT group_concat(rowid) FROM t"), "7,99");
  db::Connect(clone->endpoint())->Execute("DELETE FROM t");
  EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM t"), "2");
}

TEST_F(SqliteWorld, CopiesAnotherFileWithoutChangingIt) {
  const testing::SqliteFile source;
  {
    const auto session = source.Connect({.create = true});
    session->Execute("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (5)");
  }
  const std::string before = ReadFile(source.endpoint().file());
  spec_.from = source.endpoint().file().string();
  const auto lease = Provision(spec_, options_);
  EXPECT_EQ(Ask(*lease, "SELECT id FROM t"), "5");
  EXPECT_EQ(ReadFile(source.endpoint().file()), before);
}

TEST_F(SqliteWorld, SettingsThatAFileDoesNotKeepAreRefused) {
  spec_.settings = {{"foreign_keys", "on"}};
  EXPECT_THAT([&] { Provision(spec_, options_); },
              ::testing::ThrowsMessage<Error>(HasSubstr("foreign_keys")));
  spec_.settings = {{"journal_mode", "sometimes"}};
  EXPECT_THAT([&] { Provision(spec_, options_); },
              ::testing::ThrowsMessage<Error>(HasSubstr("wal, delete")));
}

TEST_F(SqliteWorld, AnExternalFileNeedsTheFlag) {  // hard-case 127
  const testing::SqliteFile source;
  source.Connect({.create = true})->Execute("CREATE TABLE t (id INTEGER)");
  spec_.provision = "external";
  spec_.endpoint = "sqlite:" + source.endpoint().file().string();
  EXPECT_THAT([&] { Provision(spec_, options_); },
              ::testing::ThrowsMessage<Error>(HasSubstr("--yes-this-database-may-be-changed")));
  spec_.may_be_changed = true;
  { EXPECT_EQ(Provision(spec_, options_)->endpoint().file(), source.endpoint().file()); }
  EXPECT_TRUE(std::filesystem::exists(source.endpoint().file()));
}

}  // namespace
}  // namespace understudy::harness
