// Killed at every point, then resumed; and killed, then reset; while others write.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/core/points.h"
#include "tests/engine/hot_copy/support.h"

namespace understudy::hot_copy {
namespace {
using core::Phase;
using ::testing::HasSubstr;
using Kind = core::PhaseOutcome::Kind;

constexpr const char* kOld = R"(
CREATE TABLE roles(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE);
CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT, email TEXT UNIQUE, role INTEGER REFERENCES roles);
CREATE TABLE marks(person INTEGER REFERENCES people ON DELETE CASCADE, course TEXT, mark REAL,
  PRIMARY KEY (course, person)) WITHOUT ROWID;
CREATE TABLE words(word TEXT PRIMARY KEY, n INT);
INSERT INTO roles(name) VALUES ('teacher'), ('pupil'), ('guest');
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 800)
INSERT INTO people SELECT i, 'name ' || i, 'e' || i, 1 + i % 3 FROM n;
INSERT INTO marks SELECT id, 'math', id / 7.0 FROM people;
INSERT INTO words SELECT name, id FROM people)";

constexpr const char* kNew = R"(
CREATE TABLE roles(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE);
INSERT INTO roles(name) VALUES ('admin'), ('pupil');
CREATE TABLE people(id INTEGER PRIMARY KEY, full_name TEXT, -- @renamed-from name
  email TEXT UNIQUE, role INTEGER REFERENCES roles, touched INT DEFAULT 0);
CREATE INDEX people_name ON people(full_name);
CREATE TABLE marks(person INTEGER REFERENCES people ON DELETE CASCADE, course TEXT, mark REAL,
  PRIMARY KEY (course, person)) WITHOUT ROWID;
CREATE TABLE words(id INTEGER PRIMARY KEY, word TEXT UNIQUE, n INT);
CREATE TRIGGER touch AFTER UPDATE OF full_name ON people
  BEGIN UPDATE people SET touched = touched + 1 WHERE id = NEW.id; END)";

void Write(db::Session& session, int i) {
  const std::string n = std::to_string(i);
  const std::string id = std::to_string(1 + (i * 37) % 900);
  session.Execute("BEGIN IMMEDIATE");
  session.Execute("INSERT OR REPLACE INTO people VALUES (" + id + ", 'w" + n + "', 'e" +
                  std::to_string(1 + (i * 13) % 950) + "', 1 + " + n + " % 3)");
  session.Execute("DELETE FROM marks WHERE person = " + std::to_string(1 + (i * 7) % 800));
  session.Execute("INSERT OR IGNORE INTO marks VALUES (" + id + ", 'art', " + n + " * 0.1)");
  session.Execute("UPDATE people SET name = name || '!' WHERE id = " +
                  std::to_string(1 + (i * 11) % 800));
  session.Execute("INSERT OR IGNORE INTO words VALUES ('x" + n + "', " + n + ")");
  if (i % 3 == 0)
    session.Execute("UPDATE OR REPLACE words SET word = 'x1' WHERE word = 'x" + n + "'");
  session.Commit();
}

void ExpectEqual(const Folder& folder) {
  const auto old = folder.Old();
  const auto now = folder.New();
  EXPECT_EQ(Rows(*old,
                 "SELECT p.id, p.name, p.email, r.name FROM people p LEFT JOIN roles r ON "
                 "r.id = p.role ORDER BY 1"),
            Rows(*now,
                 "SELECT p.id, p.full_name, p.email, r.name FROM people p LEFT JOIN roles r "
                 "ON r.id = p.role ORDER BY 1"));
  EXPECT_EQ(Rows(*old, "SELECT * FROM marks ORDER BY 1, 2"),
            Rows(*now, "SELECT * FROM marks ORDER BY 1, 2"));
  EXPECT_EQ(Rows(*old, "SELECT word, n FROM words ORDER BY 1"),
            Rows(*now, "SELECT word, n FROM words ORDER BY 1"));
  EXPECT_EQ(Rows(*now, "PRAGMA integrity_check"), std::vector<std::string>{"tok|"});
  EXPECT_EQ(now->Scalar("SELECT status FROM _migration_status").text, "ready");
  EXPECT_EQ(now->Scalar("SELECT count(*) FROM people WHERE touched <> 0").AsInteger(), 0);
}

class KilledAt : public ::testing::TestWithParam<std::tuple<bool, std::string>> {
 protected:
  bool wal() const { return std::get<0>(GetParam()); }
  const std::string& point() const { return std::get<1>(GetParam()); }
};

// hard-case 82
TEST_P(KilledAt, GoesOnAndLosesNothing) {
  Folder folder(kOld, kNew, wal());
  folder.options["limits"] = {{"chunk_rows", 300}};
  Writer writer(folder.old_file(), Write);
  FailAt probe(point());
  const core::PhaseOutcome failed = folder.Run(Phase::kVerify, &probe);
  EXPECT_TRUE(probe.struck());
  EXPECT_FALSE(failed.ok());
  const core::PhaseOutcome outcome = folder.Run(Phase::kVerify);
  EXPECT_TRUE(outcome.ok()) << outcome.message;
  writer.Stop();
  ExpectEqual(folder);
}

TEST_P(KilledAt, IsResetAndWritesAreTakenAgain) {
  Folder folder(kOld, kNew, wal());
  FailAt probe(point());
  EXPECT_FALSE(folder.Run(Phase::kVerify, &probe).ok());
  const bool ready = folder.Status().of_strategy.in_service == core::Owner::kNew;
  const auto before = Rows(*folder.Old(), "SELECT * FROM people");
  const core::PhaseOutcome dry = folder.Reset(true);
  EXPECT_EQ(Rows(*folder.Old(), "SELECT * FROM people"), before);
  const core::PhaseOutcome outcome = folder.Reset();
  if (ready) {
    EXPECT_EQ(outcome.kind, Kind::kRefused);
    EXPECT_EQ(dry.kind, Kind::kRefused);
    EXPECT_TRUE(std::filesystem::exists(folder.new_file()));
    return;
  }
  ASSERT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_TRUE(dry.ok()) << dry.message;
  EXPECT_FALSE(std::filesystem::exists(folder.new_file()));
  EXPECT_EQ(
      folder.Old()
          ->Scalar("SELECT count(*) FROM sqlite_schema WHERE name LIKE '\\_%' ESCAPE '\\' AND "
                   "name NOT LIKE 'sqlite%'")
          .AsInteger(),
      0);
  folder.Write("INSERT INTO people VALUES (5000, 'after', 'reset', 1)");
  const core::PhaseOutcome again = folder.Run(Phase::kVerify);
  EXPECT_TRUE(again.ok()) << again.message;
  ExpectEqual(folder);
}

// The engine as a process of its own, which is killed where it stands at that point.
void RunUntilKilled(const Folder& folder, const std::string& point) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    OnPoint probe(point, [] { ::kill(::getpid(), SIGKILL); });
    folder.Run(Phase::kVerify, &probe);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFSIGNALED(status)) << point << " was not passed";
}

TEST_P(KilledAt, GoesOnAfterAKill) {
  Folder folder(kOld, kNew, wal());
  folder.options["limits"] = {{"chunk_rows", 300}};
  RunUntilKilled(folder, point());
  try {  // refused while it drains
    const auto old = folder.Old();
    old->Execute("PRAGMA foreign_keys = ON");
    Write(*old, 5);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("understudy: draining, retry"));
  }
  const core::PhaseOutcome outcome = folder.Run(Phase::kVerify);
  EXPECT_TRUE(outcome.ok()) << outcome.message;
  ExpectEqual(folder);
}

TEST_P(KilledAt, IsResetAfterAKill) {
  Folder folder(kOld, kNew, wal());
  RunUntilKilled(folder, point());
  const bool ready = folder.Status().of_strategy.in_service == core::Owner::kNew;
  const core::PhaseOutcome outcome = folder.Reset();
  EXPECT_EQ(outcome.kind, ready ? Kind::kRefused : Kind::kDone) << outcome.message;
  if (ready) return;
  EXPECT_FALSE(std::filesystem::exists(folder.new_file()));
  folder.Write("INSERT INTO people VALUES (5000, 'after', 'reset', 1)");
  const core::PhaseOutcome again = folder.Run(Phase::kVerify);
  EXPECT_TRUE(again.ok()) << again.message;
  ExpectEqual(folder);
}

// hard-case 142: a unit commits in one file alone, so that nothing hangs on a commit over both.
TEST_P(KilledAt, CommitsInOneFileAtATime) {
  const bool before = point().ends_with(".before_commit");
  if (!before && !point().ends_with(".after_commit")) return;
  Folder folder(kOld, kNew, wal());
  const auto old = folder.Old();
  const auto version = [&] { return old->Scalar("PRAGMA main.data_version").AsInteger(); };
  const bool drain = point().rfind("drain.", 0) == 0;
  const std::string stem = point().substr(0, point().rfind('.'));
  std::int64_t seen = 0;
  int committed = 0;
  OnPoint from(stem + ".before_commit", [&] { seen = version(); });
  OnPoint to(stem + ".after_commit", [&] {
    ++committed;
    EXPECT_EQ(version() != seen, drain) << "the old file";
  });
  class Both final : public core::Probe {
   public:
    Both(core::Probe& a, core::Probe& b) : a_(a), b_(b) {}
    void OnEvent(const core::Event& event) override {
      a_.OnEvent(event);
      b_.OnEvent(event);
    }

   private:
    core::Probe& a_;
    core::Probe& b_;
  } both(from, to);
  EXPECT_TRUE(folder.Run(Phase::kVerify, &both).ok());
  EXPECT_GT(committed, 0);
}

std::vector<std::string> PointsOfHotCopy() {
  std::vector<std::string> names;
  for (const core::Point& point : core::Points()) {
    const std::string name(point.name);
    if (point.phase == Phase::kRollback || point.phase == Phase::kCleanup) continue;
    if (name.rfind("statement.", 0) == 0) continue;
    if (point.passed_by != "every strategy" && point.passed_by != "copying strategies" &&
        point.passed_by != "hot-copy") {
      continue;
    }
    names.push_back(name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, KilledAt,
                         ::testing::Combine(::testing::Bool(),
                                            ::testing::ValuesIn(PointsOfHotCopy())),
                         [](const auto& row) {
                           std::string name = std::get<0>(row.param) ? "wal_" : "rollback_";
                           for (const char c : std::get<1>(row.param)) {
                             name += c == '.' ? '_' : c;
                           }
                           return name;
                         });

// A newer build goes on with what an older one has begun.
TEST(Resume, GoesOnWithoutTheLongestHold) {
  Folder folder("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)",
                "CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE more(x)");
  ASSERT_TRUE(folder.Run(core::Phase::kPrepare).ok());
  folder.New()->Execute("ALTER TABLE _understudy_move DROP COLUMN longest_hold_ms");
  EXPECT_NO_THROW(folder.Status());
  const core::PhaseOutcome outcome = folder.Run(core::Phase::kVerify);
  EXPECT_TRUE(outcome.ok()) << outcome.message;
}

}  // namespace
}  // namespace understudy::hot_copy
