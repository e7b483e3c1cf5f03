#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/memory.h"
#include "engine/base/owner.h"
#include "engine/base/process.h"
#include "engine/db/session.h"
#include "harness/world/world.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using ::testing::HasSubstr;
using understudy::testing::Required;

// A cache of its own for each test, in memory where there is room: initdb writes a thousand files.
class Cache {
 public:
  Cache() : path_(MemoryFolder().value_or(std::filesystem::temp_directory_path())) {
    std::string pattern = (path_ / "us-world-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder " + pattern);
    path_ = pattern;
  }
  ~Cache() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class LocalWorld : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_POSTGRES();
    ::setenv("XDG_CACHE_HOME", cache_.path().c_str(), 1);
    spec_.name = "main";
    spec_.engine = "postgres";
    spec_.provision = "local";
    spec_.fixture = Json::array();
    options_.run_id = "test";
    options_.scenario = "local-test";
  }
  void TearDown() override { EndServers(); }

  void Fixture(const std::string& sql) {
    const auto file = cache_.path() / "schema.sql";
    std::ofstream(file) << sql;
    spec_.fixture = Json::array({file.string()});
  }
  static std::string Ask(const Lease& lease, const std::string& sql) {
    return db::Connect(lease.endpoint())->Scalar(sql).TextOr("NULL");
  }

  Cache cache_;
  DatabaseSpec spec_;
  ProvisionOptions options_;
};

TEST_F(LocalWorld, GivesADatabaseWithItsFixtureOnASocketAlone) {
  Fixture("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10);");
  const auto lease = Provision(spec_, options_);
  EXPECT_EQ(lease->provision(), "local");
  EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM public.t"), "10");
  EXPECT_EQ(Ask(*lease, "SHOW listen_addresses"), "");
  EXPECT_EQ(Ask(*lease, "SHOW synchronous_commit"), "on");
  EXPECT_EQ(Ask(*lease, "SELECT current_setting('server_version')").substr(0, 5),
            lease->version().substr(0, 5));
  EXPECT_EQ(lease->power(), nullptr);
}

TEST_F(LocalWorld, ScenariosShareTheServerAndTheTemplateButNotTheRows) {
  Fixture("CREATE TABLE t (id int); INSERT INTO t VALUES (1);");
  const auto one = Provision(spec_, options_);
  const auto two = Provision(spec_, options_);
  EXPECT_EQ(one->endpoint().Setting("host"), two->endpoint().Setting("host"));
  EXPECT_NE(one->endpoint().Setting("dbname"), two->endpoint().Setting("dbname"));
  db::Connect(one->endpoint())->Execute("DELETE FROM public.t");
  EXPECT_EQ(Ask(*two, "SELECT count(*) FROM public.t"), "1");
  EXPECT_EQ(Ask(*one,
                "SELECT count(*) FROM pg_database WHERE datistemplate AND datname LIKE "
                "'understudy_t_%'"),
            "1");
}

TEST_F(LocalWorld, TheNextRunFindsTheTemplateAndNothingElse) {
  Fixture("CREATE TABLE t (id int); INSERT INTO t VALUES (1);");
  {
    const auto lease = Provision(spec_, options_);
    db::Connect(lease->endpoint())
        ->Execute("INSERT INTO public.t VALUES (2); CREATE ROLE left_behind");
    db::Connect(lease->endpoint())->Execute("ALTER SYSTEM SET work_mem = '77MB'");
  }
  EndServers();
  int loaded = 0;
  options_.progress = [&](std::string_view what) {
    loaded += what.find("loading") != std::string_view::npos ? 1 : 0;
  };
  const auto started = SteadyClock::now();
  const auto lease = Provision(spec_, options_);
  std::cout << "world from the cache: " << MillisecondsSince(started) << " ms\n";
  EXPECT_EQ(loaded, 0);
  EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM public.t"), "1");
  EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM pg_roles WHERE rolname = 'left_behind'"), "0");
  EXPECT_NE(Ask(*lease, "SHOW work_mem"), "77MB");
  EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM pg_database WHERE datname LIKE 'us@_%' ESCAPE '@'"),
            "1");
}

TEST_F(LocalWorld, AChangedFixtureFileIsLoadedAgain) {
  Fixture("CREATE TABLE t (id int);");
  Provision(spec_, options_);
  Fixture("CREATE TABLE t (id int, more text);");
  const auto lease = Provision(spec_, options_);
  EXPECT_EQ(Ask(*lease,
                "SELECT count(*) FROM pg_attribute WHERE attrelid = "
                "'public.t'::regclass AND attname = 'more'"),
            "1");
}

TEST_F(LocalWorld, CloneHoldsTheSameRowsSettingsAndGrants) {
  Fixture("CREATE TABLE t (id int); INSERT INTO t VALUES (1);");
  spec_.settings = {{"work_mem", "7MB"}, {"search_path", "public, pg_temp"}};
  const auto lease = Provision(spec_, options_);
  db::Connect(lease->endpoint())
      ->Execute("REVOKE CONNECT ON DATABASE " + lease->endpoint().Setting("dbname") +
                " FROM PUBLIC");
  const auto started = SteadyClock::now();
  const auto clone = lease->Clone("probe");
  std::cout << "clone: " << MillisecondsSince(started) << " ms\n";
  EXPECT_EQ(Ask(*clone, "SELECT count(*) FROM public.t"), "1");
  db::SessionOptions as_user;
  as_user.settings = db::Settings::kUsers;
  const auto session = db::Connect(clone->endpoint(), as_user);
  EXPECT_EQ(session->Scalar("SHOW work_mem").text, "7MB");
  EXPECT_EQ(session->Scalar("SHOW search_path").text, "public, pg_temp");
  EXPECT_EQ(
      session->Scalar("SELECT has_database_privilege('public', current_database(), 'CONNECT')")
          .text,
      "f");
}

TEST_F(LocalWorld, CloneIsRefusedWhileSomebodyIsConnected) {
  const auto lease = Provision(spec_, options_);
  const auto guest = db::Connect(lease->endpoint());
  try {
    lease->Clone("probe");
    FAIL() << "cloned under a guest";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConflict);
    EXPECT_THAT(error.what(), HasSubstr("stop the clients"));
  }
}

TEST_F(LocalWorld, ServerSettingsAndPowerGiveAServerOfItsOwn) {
  const auto shared = Provision(spec_, options_);
  spec_.settings = {{"wal_level", "logical"}, {"work_mem", "9MB"}};
  const auto own = Provision(spec_, options_);
  EXPECT_NE(shared->endpoint().Setting("host"), own->endpoint().Setting("host"));
  EXPECT_EQ(Ask(*own, "SHOW wal_level"), "logical");
  EXPECT_EQ(Ask(*shared, "SHOW wal_level"), "replica");
  ASSERT_NE(own->power(), nullptr);
  db::Connect(own->endpoint())->Execute("CREATE TABLE public.t AS SELECT 1 AS id");
  for (const char* how : {"fast", "immediate", "kill"}) {
    const auto session = db::Connect(own->endpoint());
    own->power()->Restart(how);
    EXPECT_THROW(session->Query("SELECT 1"), Error) << how;
    EXPECT_EQ(Ask(*own, "SELECT id FROM public.t"), "1") << how;
  }
  EXPECT_EQ(Ask(*shared, "SELECT 1"), "1");
}

TEST_F(LocalWorld, ManyScenariosAtOnceGetWorldsOfTheirOwn) {  // hard-case 122
  Fixture("CREATE TABLE t (id int); INSERT INTO t VALUES (1);");
  std::vector<std::unique_ptr<Lease>> leases(6);
  {
    std::vector<std::jthread> threads;
    for (auto& lease : leases) {
      threads.emplace_back([&] { lease = Provision(spec_, options_); });
    }
  }
  std::set<std::string> names;
  for (const auto& lease : leases) {
    ASSERT_NE(lease, nullptr);
    names.insert(lease->endpoint().Setting("dbname"));
    EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM public.t"), "1");
  }
  EXPECT_EQ(names.size(), leases.size());
}

TEST_F(LocalWorld, RolesOfTwoFixturesDoNotClash) {
  Fixture("CREATE ROLE app; CREATE TABLE a (id int); ALTER TABLE a OWNER TO app;");
  const auto one = Provision(spec_, options_);
  Fixture("CREATE ROLE app; CREATE TABLE b (id int); ALTER TABLE b OWNER TO app;");
  const auto two = Provision(spec_, options_);
  EXPECT_EQ(Ask(*one, "SELECT count(*) FROM pg_class WHERE relname = 'a'"), "1");
  EXPECT_EQ(Ask(*two, "SELECT count(*) FROM pg_class WHERE relname = 'b'"), "1");
}

TEST_F(LocalWorld, ScenariosSideBySideMayMakeTheSameRole) {
  const auto one = Provision(spec_, options_);
  ProvisionOptions others = options_;
  others.scenario = "another";
  const auto two = Provision(spec_, others);
  for (const auto* lease : {&one, &two}) {
    db::Connect((*lease)->endpoint())
        ->Execute("CREATE ROLE app; CREATE TABLE public.t (); ALTER TABLE public.t OWNER TO app");
  }
  const auto second_database = Provision(spec_, options_);  // of the same scenario: one server
  EXPECT_EQ(second_database->endpoint().Setting("host"), one->endpoint().Setting("host"));
  EXPECT_EQ(Ask(*second_database, "SELECT count(*) FROM pg_roles WHERE rolname = 'app'"), "1");
}

TEST_F(LocalWorld, ARoleThatAFixtureNeedsIsNotMetByAnotherScenario) {
  const auto roles = [&](const Lease& lease) {
    return Ask(lease, "SELECT count(*) FROM pg_roles WHERE rolname = 'app'");
  };
  for (const bool from_the_cache : {false, true}) {
    Fixture("CREATE ROLE app; CREATE TABLE a (id int); ALTER TABLE a OWNER TO app;");
    const auto host = [&] {
      const auto with_role = Provision(spec_, options_);
      EXPECT_EQ(roles(*with_role), "1");
      return with_role->endpoint().Setting("host");
    }();
    if (from_the_cache) EndServers();
    ProvisionOptions others = options_;
    others.scenario = "another";
    Fixture("CREATE TABLE b (id int);");
    const auto without = Provision(spec_, others);
    EXPECT_NE(without->endpoint().Setting("host"), host);
    EXPECT_EQ(roles(*without), "0");
    db::Connect(without->endpoint())->Execute("CREATE ROLE app");
  }
}

TEST_F(LocalWorld, AServerIsUsedAgainWhenItsScenarioIsOverUnlessItWasSet) {
  std::string host;
  {
    const auto lease = Provision(spec_, options_);
    host = lease->endpoint().Setting("host");
    db::Connect(lease->endpoint())->Execute("CREATE ROLE app");
  }
  ProvisionOptions others = options_;
  others.scenario = "another";
  {
    const auto lease = Provision(spec_, others);
    EXPECT_EQ(lease->endpoint().Setting("host"), host);
    EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM pg_roles WHERE rolname = 'app'"), "0");
    db::Connect(lease->endpoint())->Execute("ALTER SYSTEM SET work_mem = '77MB'");
  }
  EXPECT_NE(Provision(spec_, options_)->endpoint().Setting("host"), host);
}

TEST_F(LocalWorld, SmallDatabasesLieInMemoryUnlessTheirDurabilityIsRehearsed) {  // hard-case 147
  if (!MemoryFolder()) GTEST_SKIP() << "no room in memory, or TMPDIR is set";
  const std::string memory = MemoryFolderPath();
  const auto lies_in = [&](const Lease& lease) {
    const std::string host = lease.endpoint().Setting("host");
    return host.rfind(memory + "/", 0) == 0 ? "memory" : "disk";
  };
  EXPECT_STREQ(lies_in(*Provision(spec_, options_)), "memory");
  spec_.settings = {{"fsync", true}};
  const auto durable = Provision(spec_, options_);
  EXPECT_STREQ(lies_in(*durable), "disk");
  EXPECT_EQ(Ask(*durable, "SHOW fsync"), "on");
}

TEST_F(LocalWorld, ABrokenFixtureNamesItsFileAndLeavesNothing) {
  Fixture("CREATE TABLE t (id int);\nSELEC 1;");
  EXPECT_THAT([&] { Provision(spec_, options_); },
              ::testing::ThrowsMessage<Error>(HasSubstr("schema.sql")));
  spec_.fixture = Json::array();
  const auto lease = Provision(spec_, options_);
  EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM pg_database WHERE datname LIKE 'us@_%' ESCAPE '@'"),
            "1");
}

TEST_F(LocalWorld, AFullDiskIsToldAndNothingIsLeft) {  // hard-case 128
  if (::geteuid() != 0) GTEST_SKIP() << "a small file system needs root";
  const TemporaryFolder small("us-small");
  const auto mounted = RunCommand({.argv = {"mount", "-t", "tmpfs", "-o", "size=12m,mode=1777",
                                            "none", small.path().string()}});
  if (!mounted.ok()) GTEST_SKIP() << "cannot mount: " << mounted.err;
  const char* before = std::getenv("TMPDIR");
  const std::string kept = before != nullptr ? before : "/tmp";
  ::setenv("TMPDIR", small.path().c_str(), 1);
  std::string message;
  ErrorKind kind = ErrorKind::kInternal;
  try {
    Provision(spec_, options_);
  } catch (const Error& error) {
    kind = error.kind();
    message = error.what();
  }
  ::setenv("TMPDIR", kept.c_str(), 1);
  const bool empty = std::filesystem::is_empty(small.path());
  RunCommand({.argv = {"umount", small.path().string()}});
  EXPECT_EQ(kind, ErrorKind::kEnvironment) << message;
  EXPECT_THAT(message, HasSubstr("No space left"));
  EXPECT_TRUE(empty);
}

TEST_F(LocalWorld, AnUnknownSettingIsTheScenariosMistake) {
  spec_.settings = {{"work_men", "9MB"}};
  try {
    Provision(spec_, options_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec);
    EXPECT_THAT(error.what(), HasSubstr("work_men"));
  }
}

TEST_F(LocalWorld, AVersionThatIsNotInstalledSaysHowToGetIt) {
  spec_.version = 98;
  try {
    Provision(spec_, options_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kEnvironment);
    EXPECT_THAT(error.what(), HasSubstr("postgresql-98"));
  }
}

}  // namespace
}  // namespace understudy::harness
