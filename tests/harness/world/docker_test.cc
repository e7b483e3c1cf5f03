#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include <fstream>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/db/session.h"
#include "harness/world/world.h"
#include "tests/support/server.h"

// Each needs an image of its own, which takes minutes to make: `make test` builds one.
#define ONLY_IN_TEST_ALL() \
  if (std::getenv("UNDERSTUDY_TEST_ALL") == nullptr) GTEST_SKIP() << "only in make test-all"

namespace understudy::harness {
namespace {

using ::testing::HasSubstr;

class DockerWorld : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_DOCKER();
    spec_.name = "main";
    spec_.engine = "postgres";
    spec_.provision = "docker";
    spec_.version = 15;
    spec_.fixture = Json::array();
    options_.run_id = "test-docker";
    options_.scenario = "docker-test";
  }
  static std::string Ask(const Lease& lease, const std::string& sql) {
    return db::Connect(lease.endpoint())->Scalar(sql).TextOr("NULL");
  }
  static std::string Containers() {
    return RunCommand(
               {.argv = {"docker", "ps", "-aq", "--filter", "label=understudy.run=test-docker"}})
        .out;
  }

  DatabaseSpec spec_;
  ProvisionOptions options_;
};

TEST_F(DockerWorld, GivesADatabaseOnLoopbackBehindAPasswordThatNobodySees) {
  TemporaryFolder folder;
  std::ofstream(folder.path() / "s.sql") << "CREATE TABLE t (id int); INSERT INTO t VALUES (1);";
  spec_.fixture = Json::array({(folder.path() / "s.sql").string()});
  spec_.settings = {{"work_mem", "9MB"}};
  const auto started = SteadyClock::now();
  auto lease = Provision(spec_, options_);
  std::cout << "container: " << MillisecondsSince(started) << " ms\n";
  EXPECT_EQ(lease->provision(), "docker");
  EXPECT_EQ(Ask(*lease, "SHOW work_mem"), "9MB");
  EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM public.t"), "1");
  EXPECT_EQ(lease->endpoint().Setting("host"), "127.0.0.1");
  const std::string password = lease->endpoint().Setting("password");
  ASSERT_GE(password.size(), 16U);
  const std::string container = Containers();
  const Outcome inspected = RunCommand({.argv = {"docker", "inspect", container.substr(0, 12)}});
  ASSERT_TRUE(inspected.ok());
  EXPECT_EQ(inspected.out.find(password), std::string::npos);
  EXPECT_THAT(inspected.out, HasSubstr("\"HostIp\": \"127.0.0.1\""));
  EXPECT_EQ(lease->HowToConnect().find(password), std::string::npos);
  try {
    db::Connect(lease->endpoint().WithSetting("password", "wrong"));
    FAIL() << "let in with a wrong password";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  }
  const auto clone = lease->Clone("probe");
  EXPECT_EQ(Ask(*clone, "SELECT count(*) FROM public.t"), "1");
  lease.reset();
  EXPECT_EQ(Ask(*clone, "SELECT count(*) FROM public.t"), "1") << "a clone outlives its origin";
}

TEST_F(DockerWorld, RemovesItsContainer) {
  { const auto lease = Provision(spec_, options_); }
  EXPECT_EQ(Containers(), "");
}

TEST_F(DockerWorld, KeepsItsAddressAndRowsWhenItsPowerIsCut) {
  const auto lease = Provision(spec_, options_);
  db::Connect(lease->endpoint())->Execute("CREATE TABLE public.t AS SELECT 1 AS id");
  ASSERT_NE(lease->power(), nullptr);
  for (const char* how : {"fast", "immediate", "kill"}) {
    const auto session = db::Connect(lease->endpoint());
    lease->power()->Restart(how);
    EXPECT_THROW(session->Query("SELECT 1"), Error) << how;
    EXPECT_EQ(Ask(*lease, "SELECT id FROM public.t"), "1") << how;
  }
}

TEST_F(DockerWorld, AnImageThatIsNotThereSaysWhatToDoAndLeavesNothing) {
  spec_.version.reset();
  spec_.image = "understudy.invalid/no-such-image:1";
  try {
    Provision(spec_, options_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kEnvironment);
    EXPECT_THAT(error.what(), HasSubstr("no-such-image"));
    EXPECT_THAT(error.what(), HasSubstr("docker/build.sh"));
  }
  EXPECT_EQ(Containers(), "");
}

TEST_F(DockerWorld, AServerSettingThatNeedsARestartIsThere) {
  spec_.settings = {{"wal_level", "logical"}, {"shared_preload_libraries", "auto_explain"}};
  const auto lease = Provision(spec_, options_);
  EXPECT_EQ(Ask(*lease, "SHOW wal_level"), "logical");
  EXPECT_EQ(Ask(*lease, "SHOW shared_preload_libraries"), "auto_explain");
}

TEST_F(DockerWorld, CopiesALocalDatabaseToANewerMajorWithThatMajorsTools) {
  ONLY_IN_TEST_ALL();
  NEED_POSTGRES();
  const testing::Database source;
  if (db::Connect(source.endpoint())->Server().major() > 17) GTEST_SKIP() << "17 is the newest";
  source.Run(
      "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50); "
      "CREATE INDEX t_id ON t (id); ALTER TABLE t ALTER id SET (n_distinct = -1)");
  spec_.version = 17;
  spec_.from = source.endpoint().Conninfo();
  const auto lease = Provision(spec_, options_);
  EXPECT_EQ(std::stoi(lease->version()), 17);
  EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM public.t"), "50");
  // What the source's server keeps beside this option for itself stays behind.
  EXPECT_EQ(Ask(*lease,
                "SELECT attoptions::text FROM pg_attribute WHERE attrelid = "
                "'public.t'::regclass AND attname = 'id'"),
            "{n_distinct=-1}");
  EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM pg_index WHERE indrelid = 'public.t'::regclass"),
            "2");
}

TEST_F(DockerWorld, AnOlderMajorThanTheSourceIsRefused) {
  ONLY_IN_TEST_ALL();
  NEED_POSTGRES();
  const testing::Database source;
  if (db::Connect(source.endpoint())->Server().major() <= 13) GTEST_SKIP() << "13 is no older";
  spec_.version = 13;
  spec_.from = source.endpoint().Conninfo();
  try {
    Provision(spec_, options_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("\"version\""));
  }
  EXPECT_EQ(Containers(), "");
}

// hard-case 121: the owner is dead, so the container is nobody's.
TEST_F(DockerWorld, CleanRemovesTheContainerOfADeadProcessAndNoOther) {
  const auto ours = Provision(spec_, options_);
  const std::string image = RunCommand({.argv = {"docker", "inspect", "--format",
                                                 "{{.Config.Image}}", Containers().substr(0, 12)}})
                                .out;
  const Outcome made =
      RunCommand({.argv = {"docker", "create", "--name", "understudy-dead-test", "--label",
                           "understudy.owner=999999999 1 gone", "--label",
                           "understudy.run=test-docker", image.substr(0, image.find('\n'))}});
  ASSERT_TRUE(made.ok()) << made.err;
  EXPECT_THAT(CleanLeftovers(), ::testing::Contains(HasSubstr("understudy-dead-test")));
  EXPECT_FALSE(RunCommand({.argv = {"docker", "inspect", "understudy-dead-test"}}).ok());
  EXPECT_EQ(Ask(*ours, "SELECT 1"), "1");
}

TEST_F(DockerWorld, PostgisIsThereWhereItIsAskedFor) {
  ONLY_IN_TEST_ALL();
  spec_.extensions = {"postgis"};
  const auto lease = Provision(spec_, options_);
  EXPECT_EQ(Ask(*lease, "SELECT count(*) FROM pg_extension WHERE extname = 'postgis'"), "1");
}

class EveryMajor : public DockerWorld, public ::testing::WithParamInterface<int> {};

TEST_P(EveryMajor, AnswersFromOurImage) {
  if (GetParam() != 15) ONLY_IN_TEST_ALL();
  spec_.version = GetParam();
  const auto started = SteadyClock::now();
  const auto lease = Provision(spec_, options_);
  std::cout << "container " << GetParam() << ": " << MillisecondsSince(started) << " ms\n";
  EXPECT_EQ(std::stoi(lease->version()), GetParam());
  const auto clone = lease->Clone("probe");
  EXPECT_EQ(Ask(*clone, "SELECT 1"), "1");
}
INSTANTIATE_TEST_SUITE_P(Ours, EveryMajor, ::testing::Values(13, 15, 17));

}  // namespace
}  // namespace understudy::harness
