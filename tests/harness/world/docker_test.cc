#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/db/session.h"
#include "harness/world/world.h"
#include "tests/support/server.h"

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

class EveryMajor : public DockerWorld, public ::testing::WithParamInterface<int> {};

TEST_P(EveryMajor, AnswersFromOurImage) {
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
