#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/capture/sqlite_capture.h"
#include "tests/engine/hot_copy/support.h"

namespace understudy::hot_copy {
namespace {
using core::Phase;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = core::PhaseOutcome::Kind;

constexpr const char* kOld = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)";
constexpr const char* kNew = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, n INT)";
constexpr const char* kThousand =
    "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000) "
    "INSERT INTO t(v) SELECT 'row' FROM c";

void ExpectOk(const core::PhaseOutcome& outcome) {
  ASSERT_TRUE(outcome.ok()) << core::OutcomeName(outcome.kind) << ": " << outcome.message;
}

class LogInBothModes : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Modes, LogInBothModes, ::testing::Bool(), [](const auto& row) {
  return row.param ? std::string("wal") : std::string("rollback");
});

TEST_P(LogInBothModes, TrimsTheLogOfWhatTheNewFileHas) {
  Folder folder(kOld, kNew, GetParam());
  folder.options["limits"] = {{"log_max_bytes", 100000}};
  ExpectOk(folder.Run(Phase::kPrepare));
  std::int64_t most = 0;
  for (int i = 0; i < 5; ++i) {  // several times what the log may hold
    folder.Write(kThousand);
    ExpectOk(folder.Run(Phase::kSync));
    const auto old = folder.Old();
    most = std::max(most, old->Scalar("SELECT count(*) FROM _migration_log").AsInteger());
    EXPECT_EQ(capture::SqliteCapture(*old).LastLogId(), 1000 * (i + 1));
  }
  EXPECT_LT(most, 1500);
  EXPECT_GE(most, 1);  // numbers go on from it
  EXPECT_EQ(folder.Status().of_strategy.pending_writes, 0);
  folder.Write("DELETE FROM t WHERE id % 2 = 0");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.Old(), "SELECT id, v FROM t"), Rows(*folder.New(), "SELECT id, v FROM t"));
}

// A writer that is faster than the replay: it is never refused, and nothing of it is lost.
TEST_P(LogInBothModes, TakesTheRecordingOffWhenTheLogOutgrowsItsLimit) {
  Folder folder(kOld, kNew, GetParam());
  const std::string before = folder.Old()
                                 ->Scalar(
                                     "SELECT group_concat(name || coalesce(sql, '')) FROM "
                                     "sqlite_schema WHERE name <> 'sqlite_sequence'")
                                 .text;
  folder.options["limits"] = {{"log_max_bytes", 20000}};
  ExpectOk(folder.Run(Phase::kPrepare));
  int written = 0;
  OnPoint probe("replay.after_commit", [&] {
    folder.Write(kThousand);
    written += 1000;
  });
  const core::PhaseOutcome outcome = folder.Run(Phase::kDrain, &probe);
  EXPECT_GT(written, 0);
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("more than limits.log_max_bytes (20000)"));
  EXPECT_THAT(outcome.message, HasSubstr("Recording was taken off; the old file is whole"));
  EXPECT_THAT(outcome.message, HasSubstr("understudy migrate reset"));
  const core::Status status = folder.Status();
  EXPECT_EQ(status.state, core::State::kFailed);
  EXPECT_THAT(status.of_strategy.blocking, ElementsAre(HasSubstr("records nothing any more")));
  folder.Write("INSERT INTO t(v) VALUES ('goes on')");
  EXPECT_EQ(folder.Old()->Scalar("SELECT count(*) FROM t").AsInteger(), written + 1);
  EXPECT_LE(folder.Old()->Scalar("SELECT count(*) FROM _migration_log").AsInteger(), 1);
  for (const Phase phase : {Phase::kSync, Phase::kDrain, Phase::kCutover}) {
    const core::PhaseOutcome again = folder.Run(phase);
    EXPECT_FALSE(again.ok());
    EXPECT_THAT(again.message, HasSubstr("records nothing any more"));
  }
  EXPECT_EQ(Rows(*folder.New(), "SELECT status FROM _migration_status"),
            std::vector<std::string>{"tmigrating|"});
  ExpectOk(folder.Reset());
  EXPECT_FALSE(std::filesystem::exists(folder.new_file()));
  EXPECT_EQ(folder.Old()
                ->Scalar("SELECT group_concat(name || coalesce(sql, '')) FROM sqlite_schema "
                         "WHERE name <> 'sqlite_sequence'")
                .text,
            before);
  folder.options["limits"] = {{"log_max_bytes", 1 << 20}};
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(folder.New()->Scalar("SELECT count(*) FROM t").AsInteger(), written + 1);
}

// The new file's commits are not synced one by one: when a machine fails, the last may be gone, and
// the log has been trimmed of what they brought.
TEST_P(LogInBothModes, MissesEntriesThatWereNeverReplayed) {
  Folder folder(kOld, kNew, GetParam());
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write("INSERT INTO t(v) VALUES ('a'), ('b'), ('c')");
  folder.Write("DELETE FROM _migration_log WHERE id < 3");
  const core::PhaseOutcome outcome = folder.Run(Phase::kDrain);
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("begins with entry 3, and only 0 are replayed"));
  ExpectOk(folder.Reset());
  ExpectOk(folder.Run(Phase::kVerify));
}

// What `reset` leaves of the log, as the documentation says it.
TEST(Log, LeavesNothingButAnEmptySequenceTable) {
  Folder folder(kOld, kNew);
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write("INSERT INTO t(v) VALUES ('a')");
  EXPECT_THAT(folder.Reset().message, HasSubstr("sqlite_sequence"));
  EXPECT_EQ(Rows(*folder.Old(), "SELECT name FROM sqlite_schema"),
            (std::vector<std::string>{"tt|", "tsqlite_sequence|"}));
  EXPECT_THAT(Rows(*folder.Old(), "SELECT * FROM sqlite_sequence"), IsEmpty());

  Folder counted(
      "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); "
      "INSERT INTO t VALUES (7, 'x')",
      kNew);
  const auto before = Rows(*counted.Old(), "SELECT name, sql FROM sqlite_schema");
  ExpectOk(counted.Run(Phase::kPrepare));
  EXPECT_THAT(counted.Reset().message, ::testing::Not(HasSubstr("sqlite_sequence")));
  EXPECT_EQ(Rows(*counted.Old(), "SELECT name, sql FROM sqlite_schema"), before);
  EXPECT_EQ(Rows(*counted.Old(), "SELECT name, seq FROM sqlite_sequence"),
            std::vector<std::string>{"tt|i7|"});
}

}  // namespace
}  // namespace understudy::hot_copy
