// References of the new schema that writes break after the check of all of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "tests/engine/hot_copy/support.h"

namespace understudy::hot_copy {
namespace {
using core::Phase;
using ::testing::HasSubstr;
using Kind = core::PhaseOutcome::Kind;

constexpr const char* kOld =
    "CREATE TABLE p(id INTEGER PRIMARY KEY, code TEXT UNIQUE COLLATE NOCASE);"
    "CREATE TABLE c(id INTEGER PRIMARY KEY, p INT, code TEXT);"
    "INSERT INTO p VALUES (1, 'a'), (2, 'b'), (3, 'c');"
    "INSERT INTO c VALUES (1, 1, 'A'), (2, 2, NULL), (3, NULL, 'b'), (4, NULL, NULL)";
// The old schema knows of no reference.
constexpr const char* kNew =
    "CREATE TABLE p(id INTEGER PRIMARY KEY, code TEXT UNIQUE COLLATE NOCASE);"
    "CREATE TABLE c(id INTEGER PRIMARY KEY, p INT REFERENCES p, code TEXT REFERENCES p(code))";
constexpr const char* kNewIndexed =
    "CREATE TABLE p(id INTEGER PRIMARY KEY, code TEXT UNIQUE COLLATE NOCASE);"
    "CREATE TABLE c(id INTEGER PRIMARY KEY, p INT REFERENCES p, code TEXT REFERENCES p(code));"
    "CREATE INDEX c_p ON c(p); CREATE INDEX c_code ON c(code)";

void ExpectOk(const core::PhaseOutcome& outcome) {
  ASSERT_TRUE(outcome.ok()) << core::OutcomeName(outcome.kind) << ": " << outcome.message;
}

// Writes while the drain has not begun yet, after everything was checked.
core::PhaseOutcome DrainWith(const Folder& folder, const std::string& write) {
  ExpectOk(folder.Run(Phase::kSync));
  bool wrote = false;
  OnPoint late("replay.after_commit", [&] {
    if (wrote) return;
    wrote = true;
    folder.Write(write);
  });
  return folder.Run(Phase::kDrain, &late);
}

struct Broken {
  const char* name;
  const char* write;
  const char* message;
  const char* mended;
};
void PrintTo(const Broken& broken, std::ostream* out) { *out << broken.name; }

class Window : public ::testing::TestWithParam<Broken> {};

TEST_P(Window, IsCheckedBeforeTheFileIsReady) {
  for (const char* schema : {kNew, kNewIndexed}) {
    for (const bool wal : {false, true}) {
      Folder folder(kOld, schema, wal);
      ExpectOk(folder.Run(Phase::kPrepare));
      core::PhaseOutcome outcome = DrainWith(folder, GetParam().write);
      EXPECT_EQ(outcome.kind, Kind::kFailed);
      EXPECT_THAT(outcome.message, HasSubstr(GetParam().message));
      EXPECT_THAT(outcome.message, HasSubstr("understudy migrate drain"));
      EXPECT_EQ(Rows(*folder.New(), "SELECT status FROM _migration_status"),
                std::vector<std::string>{"tmigrating|"});
      // Still so: the check of all references finds it as well, and says the same.
      outcome = folder.Run(Phase::kCutover);
      EXPECT_EQ(outcome.kind, Kind::kFailed);
      EXPECT_THAT(outcome.message, HasSubstr("refers to no row of p"));
      folder.Write(GetParam().mended);  // the old file takes writes all the while
      ExpectOk(folder.Run(Phase::kVerify));
      EXPECT_EQ(Rows(*folder.Old(), "SELECT * FROM c"), Rows(*folder.New(), "SELECT * FROM c"));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    References, Window,
    ::testing::Values(Broken{"ChildInserted", "INSERT INTO c VALUES (5, 77, NULL)",
                             "the row id 5 (p 77) of c refers to no row of p",
                             "DELETE FROM c WHERE id = 5"},
                      Broken{"ChildUpdated", "UPDATE c SET code = 'zz' WHERE id = 4",
                             "the row id 4 (code 'zz') of c refers to no row of p",
                             "UPDATE c SET code = 'C' WHERE id = 4"},
                      Broken{"ParentDeleted", "DELETE FROM p WHERE id = 2",
                             "the row id 2 (p 2) of c refers to no row of p",
                             "DELETE FROM c WHERE id IN (2, 3)"},
                      Broken{"ParentKeyChanged", "UPDATE p SET code = 'x' WHERE id = 1",
                             "the row id 1 (code 'A') of c refers to no row of p",
                             "INSERT INTO p VALUES (9, 'A')"}),
    [](const auto& row) { return std::string(row.param.name); });

// What another row stands in for, or what the parent's rules take for the same, is no orphan.
TEST(References, AreNotBrokenByWhatTheParentsRulesAllow) {
  Folder folder(kOld, kNew);
  ExpectOk(folder.Run(Phase::kPrepare));
  ExpectOk(DrainWith(folder,
                     "UPDATE p SET code = upper(code); UPDATE p SET id = 20 WHERE id = 3;"
                     "BEGIN; INSERT INTO c VALUES (5, '3', 'B'), (6, 20, NULL);"
                     "INSERT INTO p VALUES (3, 'new'); COMMIT;"
                     "DELETE FROM p WHERE id = 2; INSERT INTO p VALUES (2, 'B')"));
  ExpectOk(folder.Run(Phase::kVerify));
}

// An orphan that comes after the check of all, and goes before the drain, refuses nothing.
TEST(References, MayBeBrokenForAWhile) {
  for (const bool triggers : {false, true}) {
    Folder folder(kOld, std::string(kNew) +
                            "; CREATE TABLE seen(x); CREATE TRIGGER t AFTER INSERT ON c BEGIN "
                            "INSERT INTO seen VALUES (NEW.id); END");
    folder.options["triggers_on_replay"] = triggers;
    ExpectOk(folder.Run(Phase::kPrepare));
    ExpectOk(folder.Run(Phase::kSync));
    folder.Write("INSERT INTO c VALUES (5, 77, NULL)");
    const core::PhaseOutcome outcome = folder.Run(Phase::kSync);
    EXPECT_EQ(outcome.kind, Kind::kFailed);
    EXPECT_THAT(outcome.message, HasSubstr("refers to no row of p"));
    folder.Write("INSERT INTO p VALUES (77, 'late')");
    ExpectOk(folder.Run(Phase::kVerify));
    EXPECT_EQ(Rows(*folder.New(), "SELECT * FROM seen").size(), triggers ? 1U : 0U);
  }
}

// Keys of several columns, WITHOUT ROWID, a reference to its own table, keys that are translated.
TEST(References, AreFollowedThroughEveryKindOfKey) {
  const std::string old =
      "CREATE TABLE pair(a INT, b TEXT, up_a INT, up_b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;"
      "CREATE TABLE dept(code TEXT PRIMARY KEY);"
      "CREATE TABLE emp(id INTEGER PRIMARY KEY, dept TEXT REFERENCES dept, a INT, b TEXT);"
      "INSERT INTO pair VALUES (1, 'x', NULL, NULL), (2, 'y', 1, 'x');"
      "INSERT INTO dept VALUES ('d'), ('e'); INSERT INTO emp VALUES (1, 'd', 2, 'y')";
  const std::string now =
      "CREATE TABLE pair(a INT, b TEXT, up_a INT, up_b TEXT, PRIMARY KEY (a, b), "
      "FOREIGN KEY (up_a, up_b) REFERENCES pair(a, b)) WITHOUT ROWID;"
      "CREATE TABLE dept(id INTEGER PRIMARY KEY, code TEXT UNIQUE);"
      "CREATE TABLE emp(id INTEGER PRIMARY KEY, dept INTEGER REFERENCES dept, a INT, b TEXT, "
      "FOREIGN KEY (a, b) REFERENCES pair(a, b))";
  const std::pair<const char*, const char*> cases[] = {
      {"DELETE FROM pair WHERE a = 1", "the row a 2, b 'y' (up_a 1, up_b 'x') of pair"},
      {"UPDATE pair SET up_b = 'z' WHERE a = 2", "the row a 2, b 'y' (up_a 1, up_b 'z') of pair"},
      {"UPDATE pair SET b = 'Y' WHERE a = 2", "the row id 1 (a 2, b 'y') of emp"},
      {"DELETE FROM dept WHERE code = 'd'", "of emp refers to no row of dept"},
      {"INSERT INTO emp VALUES (2, 'none', NULL, 'y')", "of emp refers to no row of dept"},
  };
  for (const auto& [write, message] : cases) {
    Folder folder(old, now);
    ExpectOk(folder.Run(Phase::kPrepare));
    const core::PhaseOutcome outcome = DrainWith(folder, write);
    EXPECT_EQ(outcome.kind, Kind::kFailed) << write;
    EXPECT_THAT(outcome.message, HasSubstr(message));
  }
  Folder folder(old, now);
  ExpectOk(folder.Run(Phase::kPrepare));
  ExpectOk(DrainWith(folder,
                     "UPDATE pair SET a = 5 WHERE a = 1; UPDATE pair SET up_a = 5 WHERE a = 2;"
                     "INSERT INTO emp VALUES (2, 'e', 7, NULL); DELETE FROM dept WHERE code = 'd';"
                     "UPDATE emp SET dept = 'e'"));
  ExpectOk(folder.Run(Phase::kVerify));
}

}  // namespace
}  // namespace understudy::hot_copy
