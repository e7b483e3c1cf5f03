// What the machine has to say: a full disk, a file that may not be written, a lock that others
// hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include "engine/base/error.h"
#include "tests/engine/hot_copy/support.h"

namespace understudy::hot_copy {
namespace {
using core::Phase;
using ::testing::HasSubstr;
using Kind = core::PhaseOutcome::Kind;

constexpr const char* kOld = R"(
CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
INSERT INTO t SELECT i, randomblob(1000) FROM n)";
constexpr const char* kNew = "CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB, n INT)";

// A mount that goes with the value; not `made` where the machine does not let us.
class Mounted {
 public:
  Mounted(const std::filesystem::path& at, const char* type, unsigned long flags, const char* data)
      : at_(at), made_(::mount(at.c_str(), at.c_str(), type, flags, data) == 0) {}
  ~Mounted() {
    if (made_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;
  bool made() const { return made_; }
  bool Again(unsigned long flags, const char* data) const {
    return ::mount(at_.c_str(), at_.c_str(), nullptr, MS_REMOUNT | flags, data) == 0;
  }

 private:
  std::filesystem::path at_;
  bool made_;
};

void ExpectSame(const Folder& folder, const std::filesystem::path& file) {
  EXPECT_EQ(Rows(*folder.Old(), "SELECT id, b FROM t"),
            Rows(*db::Connect(db::Endpoint::Sqlite(file)), "SELECT id, b FROM t"));
}

class Environment : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Modes, Environment, ::testing::Bool(), [](const auto& row) {
  return row.param ? std::string("wal") : std::string("rollback");
});

// hard-case 90
TEST_P(Environment, GoesOnWhenAFullDiskHasRoomAgain) {
  Folder folder(kOld, kNew, GetParam());
  const auto small = folder.path() / "small";
  std::filesystem::create_directories(small);
  const Mounted disk(small, "tmpfs", 0, "size=600k");
  if (!disk.made()) GTEST_SKIP() << "no mount is allowed here";
  const std::string target = (small / "new.db").string();
  const core::PhaseOutcome outcome = folder.RunInto(target, Phase::kVerify);
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("full"));
  folder.Write("UPDATE t SET b = x'00' WHERE id = 7; DELETE FROM t WHERE id = 8");  // served on
  ASSERT_TRUE(disk.Again(0, "size=50m"));
  const core::PhaseOutcome again = folder.RunInto(target, Phase::kVerify);
  EXPECT_TRUE(again.ok()) << again.message;
  ExpectSame(folder, target);
}

// hard-case 90
TEST_P(Environment, RefusesAnOldFileThatMayNotBeWritten) {
  Folder folder(kOld, kNew, GetParam());
  const Mounted folder_itself(folder.path(), nullptr, MS_BIND, nullptr);
  if (!folder_itself.made()) GTEST_SKIP() << "no mount is allowed here";
  ASSERT_TRUE(folder_itself.Again(MS_BIND | MS_RDONLY, nullptr));
  TemporaryFolder elsewhere("hot-copy-target");
  const std::string target = (elsewhere.path() / "new.db").string();
  const core::PhaseOutcome outcome = folder.RunInto(target, Phase::kVerify);
  EXPECT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.message,
              ::testing::AnyOf(HasSubstr("cannot be written"), HasSubstr("readonly"),
                               HasSubstr("unable to open"), HasSubstr("cannot make")));
  ASSERT_TRUE(folder_itself.Again(MS_BIND, nullptr));
  const core::PhaseOutcome again = folder.RunInto(target, Phase::kVerify);
  EXPECT_TRUE(again.ok()) << again.message;
  ExpectSame(folder, target);
}

// hard-case 90: SQLITE_BUSY at each phase that needs the old file's write lock
TEST_P(Environment, SaysThatOthersHoldTheLockAndGoesOnLater) {
  Folder folder(kOld, kNew, GetParam());
  folder.options["limits"] = {{"lock_timeout_ms", 20}, {"cutover_budget_ms", 200}};
  for (const Phase phase : {Phase::kPrepare, Phase::kDrain, Phase::kCutover}) {
    const auto writer = folder.Old();
    writer->Begin(db::Isolation::kDefault, false, true);
    const core::PhaseOutcome busy = folder.Run(phase);
    EXPECT_EQ(busy.kind, Kind::kFailed) << core::PhaseName(phase);
    EXPECT_THAT(busy.message, HasSubstr("locked"));
    EXPECT_EQ(folder.Status().of_strategy.in_service, core::Owner::kOld);
    writer->Rollback();
    const core::PhaseOutcome outcome = folder.Run(phase);
    EXPECT_TRUE(outcome.ok()) << outcome.message;
  }
  EXPECT_TRUE(folder.Run(Phase::kVerify).ok());
  ExpectSame(folder, folder.new_file());
}

// hard-case 80: what a writer committed may stand in the -wal alone, for as long as it likes
TEST(Environment, TakesOverWhatStandsInTheWalAlone) {
  Folder folder(kOld, kNew, /*wal=*/true);
  const auto writer = folder.Old();
  writer->Execute("PRAGMA wal_autocheckpoint = 0");
  writer->Execute("UPDATE t SET b = x'01' WHERE id < 100");
  const std::string in_file = ReadFile(folder.old_file());
  const core::PhaseOutcome prepared = folder.Run(Phase::kPrepare);
  ASSERT_TRUE(prepared.ok()) << prepared.message;
  writer->Execute("UPDATE t SET b = x'02' WHERE id > 900; DELETE FROM t WHERE id = 950");
  EXPECT_EQ(ReadFile(folder.old_file()).substr(4096), in_file.substr(4096))
      << "it was checkpointed";
  const core::PhaseOutcome outcome = folder.Run(Phase::kVerify);
  EXPECT_TRUE(outcome.ok()) << outcome.message;
  ExpectSame(folder, folder.new_file());
  EXPECT_EQ(folder.New()->Scalar("SELECT count(*) FROM t WHERE b = x'01'").AsInteger(), 99);
}

}  // namespace
}  // namespace understudy::hot_copy
