#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "engine/base/file.h"
#include "engine/base/owner.h"
#include "engine/base/process.h"
#include "engine/db/session.h"
#include "harness/world/world.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Owner, IsAliveOnlyWithItsOwnStartTime) {
  Owner owner = Owner::ThisProcess();
  EXPECT_TRUE(owner.Alive());
  const auto parsed = Owner::Parse(owner.Text());
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->Alive());
  ++owner.started_ticks;
  EXPECT_FALSE(owner.Alive()) << "the pid of another process";
  owner = Owner::ThisProcess();
  owner.boot = "another";
  EXPECT_FALSE(owner.Alive()) << "before the machine started again";
  EXPECT_FALSE(Owner::Parse("none"));
}

// hard-case 121: a run killed with kill -9 leaves a cluster that `clean` finds; one that lives is
// left alone.
TEST(Clean, EndsTheClusterOfAKilledRunAndNoOther) {
  NEED_POSTGRES();
  const TemporaryFolder folder("us-clean");
  ::setenv("XDG_CACHE_HOME", folder.path().c_str(), 1);
  DatabaseSpec spec;
  spec.name = "main";
  spec.engine = "postgres";
  spec.provision = "local";
  spec.fixture = Json::array();
  const auto ours = Provision(spec, {.run_id = "test", .scenario = "clean-ours"});

  int channel[2];
  ASSERT_EQ(::pipe(channel), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // Another run: it must not know the server that we share.
    const auto lease =
        Provision(spec, {.run_id = "killed", .scenario = "clean-theirs", .needs_power = true});
    const std::string host = lease->endpoint().Setting("host");
    if (::write(channel[1], host.data(), host.size()) < 0) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  ::close(channel[1]);
  std::string host(200, '\0');
  host.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(channel[0], host.data(), 200))));
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto left =
      db::Endpoint::Postgres({{"host", host}, {"user", "postgres"}, {"dbname", "postgres"}});
  EXPECT_NO_THROW(db::Connect(left)->Query("SELECT 1")) << "the test needs a leftover";

  const auto removed = CleanLeftovers();
  EXPECT_THAT(removed, Contains(HasSubstr(host)));
  EXPECT_THROW(db::Connect(left), std::exception);
  EXPECT_FALSE(std::filesystem::exists(host));
  EXPECT_EQ(db::Connect(ours->endpoint())->Scalar("SELECT 1").text, "1");
  EXPECT_THAT(removed, Not(Contains(HasSubstr(ours->endpoint().Setting("host")))));
}

TEST(Doctor, TellsOfEveryItemWhereItIsOrHowToGetIt) {
  const Json items = Inspect();
  std::set<std::string> kinds;
  for (const Json& item : items) {
    kinds.insert(item.at("kind").get<std::string>());
    EXPECT_TRUE(item.at("available").get<bool>() ? item.at("fix").is_null()
                                                 : item.at("fix").is_string())
        << item;
  }
  for (const char* kind : {"server", "container-engine", "image", "tool", "browser"}) {
    EXPECT_TRUE(kinds.contains(kind)) << kind;
  }
}

}  // namespace
}  // namespace understudy::harness
