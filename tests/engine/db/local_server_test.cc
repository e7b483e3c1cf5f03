#include "engine/db/local_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "engine/db/session.h"
#include "tests/support/server.h"

namespace understudy::db {
namespace {
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

fs::path FolderOf(const LocalServer& server) { return server.Maintenance().Setting("host"); }

pid_t PostmasterIn(const fs::path& folder) {
  std::ifstream file(folder / "data" / "postmaster.pid");
  pid_t pid = 0;
  return file >> pid ? pid : 0;
}

TEST(LocalServer, ServesAndGoesWithItsValue) {
  NEED_POSTGRES();
  fs::path folder;
  pid_t pid = 0;
  {
    LocalServer server(*FindServer(std::nullopt), "scratch", "of a test", {});
    folder = FolderOf(server);
    pid = PostmasterIn(folder);
    server.MakeTablespace("odd \"space");
    const auto session = Connect(server.Maintenance());
    EXPECT_EQ(session->Scalar("SHOW listen_addresses").text, "");
    session->Execute("CREATE TABLE public.t () TABLESPACE \"odd \"\"space\"");
    EXPECT_TRUE(ProcessLives(pid));
    // Whose owner lives is not touched.
    RemoveDeadLocalServers("scratch", "of a test");
    EXPECT_EQ(session->Scalar("SELECT 1").text, "1");
  }
  EXPECT_FALSE(ProcessLives(pid));
  EXPECT_FALSE(fs::exists(folder));
}

TEST(LocalServer, IsFoundAndRemovedWhenItsProcessWasKilled) {
  NEED_POSTGRES();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const LocalServer server(*FindServer(std::nullopt), "scratch", "killed", {});
    const std::string folder = FolderOf(server).string();
    if (::write(ends[1], folder.data(), folder.size()) < 0) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  ::close(ends[1]);
  std::string text(1000, ' ');
  const auto got = ::read(ends[0], text.data(), text.size());
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_GT(got, 0);
  const fs::path folder = text.substr(0, static_cast<std::size_t>(got));
  const pid_t pid = PostmasterIn(folder);
  ASSERT_TRUE(ProcessLives(pid));
  EXPECT_THAT(DeadLocalServers("scratch", "another's"), IsEmpty());
  EXPECT_THAT(DeadLocalServers("scratch", "killed"), ElementsAre(folder));
  RemoveDeadLocalServers("scratch", "killed");
  EXPECT_FALSE(ProcessLives(pid));
  EXPECT_FALSE(fs::exists(folder));
}

}  // namespace
}  // namespace understudy::db
