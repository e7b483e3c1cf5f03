// What is compared, and in pieces of what size.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "tests/engine/hot_copy/support.h"

namespace understudy::hot_copy {
namespace {
using core::Phase;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

void ExpectOk(const core::PhaseOutcome& outcome) {
  ASSERT_TRUE(outcome.ok()) << core::OutcomeName(outcome.kind) << ": " << outcome.message;
}

std::string Numbers(int count, const std::string& select) {
  return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
         std::to_string(count) + ") " + select + " FROM n";
}

// hard-case 138: no unit reads all of a table that has no index to find the seeds' rows by
TEST(Bounded, MatchesSeedsInChunks) {
  for (const bool wal : {false, true}) {
    Folder folder(
        "CREATE TABLE roles(id INTEGER PRIMARY KEY, name TEXT);"
        "CREATE TABLE users(id INTEGER PRIMARY KEY, role INTEGER REFERENCES roles(id));" +
            Numbers(1000, "INSERT INTO roles SELECT i, 'role ' || i") + ";" +
            Numbers(1000, "INSERT INTO users SELECT i, i"),
        "CREATE TABLE roles(id INTEGER PRIMARY KEY, name TEXT UNIQUE);"
        "CREATE TABLE users(id INTEGER PRIMARY KEY, role INTEGER REFERENCES roles(id));"
        "INSERT INTO roles VALUES (1, 'role 900'), (900, 'new'), (3, 'role 3'), (5000, 'role 7')",
        wal);
    folder.options["limits"] = {{"chunk_rows", 100}};
    int units = 0;
    OnPoint probe("sync.after_commit", [&] { ++units; });
    ExpectOk(folder.Run(Phase::kPrepare, &probe));
    EXPECT_GE(units, 10);
    EXPECT_LT(units, 40);  // and each once
    folder.Write("INSERT INTO roles VALUES (2000, 'late'); INSERT INTO users VALUES (2000, 2000)");
    ExpectOk(folder.Run(Phase::kVerify));
    EXPECT_EQ(Rows(*folder.Old(),
                   "SELECT u.id, r.name FROM users u JOIN roles r ON r.id = u.role ORDER BY 1"),
              Rows(*folder.New(),
                   "SELECT u.id, r.name FROM users u JOIN roles r ON r.id = u.role ORDER BY 1"));
    EXPECT_EQ(Rows(*folder.New(), "SELECT name FROM roles WHERE id IN (1, 3, 900, 5000)"),
              (std::vector<std::string>{"trole 900|", "trole 3|", "tnew|", "trole 7|"}));
  }
}

// hard-case 138: narrow rows first, so that nothing tells of the wide ones before they come
TEST(Bounded, MovesNoMoreBytesAtOnceThanTheMigrationSays) {
  constexpr std::int64_t kMegabyte = 1 << 20;
  for (const bool wal : {false, true}) {
    Folder folder("CREATE TABLE t(id INTEGER PRIMARY KEY, body);" +
                      Numbers(4000, "INSERT INTO t SELECT i, i") + ";" +
                      Numbers(60, "INSERT INTO t SELECT 5000 + i, zeroblob(524288)") + ";" +
                      "INSERT INTO t VALUES (9000, zeroblob(4194304))",
                  "CREATE TABLE t(id INTEGER PRIMARY KEY, body); CREATE TABLE more(x)", wal);
    folder.options["limits"] = {{"chunk_bytes", kMegabyte}};
    std::int64_t before = 0;
    std::int64_t most = 0;
    int small = 0;
    OnPoint probe("copy.after_commit", [&] {
      const auto now = static_cast<std::int64_t>(std::filesystem::file_size(folder.new_file()));
      const std::int64_t grown = now - before;
      if (before > 0 && grown < 4 * kMegabyte) most = std::max(most, grown);
      if (before > 0) {
        EXPECT_LT(grown, 5 * kMegabyte);
      }  // one row cannot be divided
      if (grown > kMegabyte / 2) ++small;
      before = now;
    });
    ExpectOk(folder.Run(Phase::kPrepare, &probe));
    EXPECT_LT(most, 5 * kMegabyte / 2);
    EXPECT_GE(small, 15);
    EXPECT_EQ(folder.New()->Scalar("SELECT count(*) FROM t").AsInteger(), 4061);
  }
}

TEST(Bounded, KeepsToTheBytesPerSecond) {
  for (const bool wal : {false, true}) {
    Folder folder("CREATE TABLE t(id INTEGER PRIMARY KEY, body);" +
                      Numbers(600, "INSERT INTO t SELECT i, zeroblob(10000)"),
                  "CREATE TABLE t(id INTEGER PRIMARY KEY, body); CREATE TABLE more(x)", wal);
    folder.options["limits"] = {{"chunk_rows", 50}, {"bytes_per_s", 6'000'000}};
    const auto started = SteadyClock::now();
    ExpectOk(folder.Run(Phase::kPrepare));
    EXPECT_GE(MillisecondsSince(started), 800);
  }
}

struct Extra {
  const char* name;
  std::string key;      // of the old table
  std::string new_key;  // of the new one
  std::string fill;     // columns of the rows 1 to n
  std::string extra;    // a row of the new table that is nobody's
  int rows;
};
void PrintTo(const Extra& extra, std::ostream* out) { *out << extra.name; }

class Comparison : public ::testing::TestWithParam<Extra> {};

// hard-case 84: rows that were deleted with triggers switched off are in the new file alone
TEST_P(Comparison, FindsRowsOfTheNewFileAlone) {
  const Extra& c = GetParam();
  Folder folder("CREATE TABLE t(" + c.key + ", v TEXT);" +
                    Numbers(c.rows, "INSERT INTO t SELECT " + c.fill + ", 'v'"),
                "CREATE TABLE t(" + c.new_key + ", v TEXT); CREATE TABLE more(x)");
  folder.options["limits"] = {{"chunk_rows", 4000}};
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.New()->Execute("INSERT INTO t VALUES (" + c.extra + ", 'v')");
  const core::PhaseOutcome outcome = folder.Run(Phase::kDrain);
  EXPECT_EQ(outcome.kind, core::PhaseOutcome::Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("triggers switched off"));
  EXPECT_THAT(outcome.message, HasSubstr("understudy migrate reset"));
  ExpectOk(folder.Reset());
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write("DELETE FROM t WHERE rowid % 7 = 0; UPDATE t SET v = 'w' WHERE rowid % 5 = 0");
  ExpectOk(folder.Run(Phase::kVerify));  // and none of those that belong there
  EXPECT_EQ(folder.Old()->Scalar("SELECT count(*) FROM t").AsInteger(),
            folder.New()->Scalar("SELECT count(*) FROM t").AsInteger());
}

constexpr int kMany = 21000;  // more than are counted at once
INSTANTIATE_TEST_SUITE_P(
    Tables, Comparison,
    ::testing::Values(
        Extra{"BeforeTheFirst", "id INTEGER PRIMARY KEY", "id INTEGER PRIMARY KEY", "i", "-5", 9},
        Extra{"Between", "id INTEGER PRIMARY KEY", "id INTEGER PRIMARY KEY", "i * 2", "7", 6000},
        Extra{"AfterTheLast", "id INTEGER PRIMARY KEY", "id INTEGER PRIMARY KEY", "i", "90000", 9},
        Extra{"ByText", "k TEXT PRIMARY KEY", "k TEXT PRIMARY KEY", "'k' || i", "'kk'", 9},
        Extra{"ByTextAndMany", "k TEXT PRIMARY KEY", "k TEXT PRIMARY KEY", "'k' || i", "'kk'",
              kMany},
        Extra{"AssignedAndMany", "k TEXT NOT NULL PRIMARY KEY", "id INTEGER PRIMARY KEY, k TEXT",
              "'k' || i", "90000, 'kk'", kMany}),
    [](const auto& row) { return std::string(row.param.name); });

// hard-case 138: a table without rowids is not counted in one read either
TEST(Bounded, ComparesTablesWithoutRowidInChunks) {
  const std::string table =
      "CREATE TABLE t(a INT, b TEXT COLLATE NOCASE, v TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID;";
  Folder folder(table + Numbers(kMany, "INSERT INTO t SELECT i % 7, 'k' || i, 'v'"),
                table + "CREATE TABLE more(x)");
  folder.options["limits"] = {{"chunk_rows", 4000}};
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.New()->Execute("INSERT INTO t VALUES (3, 'Kk', 'v')");
  int units = 0;
  OnPoint probe("sync.after_commit", [&] { ++units; });
  const core::PhaseOutcome outcome = folder.Run(Phase::kDrain, &probe);
  EXPECT_EQ(outcome.kind, core::PhaseOutcome::Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("the row 'Kk', 3 of the new table t is none"));
  folder.New()->Execute("DELETE FROM t WHERE b = 'Kk'");
  folder.Write("DELETE FROM t WHERE a = 2; UPDATE t SET b = upper(b) WHERE a = 4");
  units = 0;
  ExpectOk(folder.Run(Phase::kVerify, &probe));
  EXPECT_GE(units, kMany / 4000);
  EXPECT_EQ(Rows(*folder.Old(), "SELECT * FROM t"), Rows(*folder.New(), "SELECT * FROM t"));
}

// A replay that has to look for its rows is told of before it holds writers up.
TEST(Bounded, WarnsOfAKeyWithoutAnIndex) {
  const std::string made = "CREATE TABLE t(num INTEGER PRIMARY KEY, v)";
  Folder folder("CREATE TABLE t(id INTEGER PRIMARY KEY, num INTEGER NOT NULL, v)", made);
  EXPECT_THAT(folder.Plan().warnings,
              Contains(HasSubstr("the new key of t is num, which has no index in the old table")));
  Folder indexed(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, num INTEGER NOT NULL, v);"
      "CREATE INDEX i ON t(num)",
      made);
  EXPECT_TRUE(indexed.Plan().warnings.empty());
}

TEST(Bounded, WarnsOfReferencesWithoutAnIndex) {
  const std::string tables =
      "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, p_id INTEGER "
      "REFERENCES p);";
  EXPECT_THAT(Folder(tables, tables + "CREATE TABLE more(x)").Plan().warnings,
              Contains(HasSubstr("no index for the columns of c (p_id) to p:")));
  EXPECT_TRUE(Folder(tables, tables + "CREATE INDEX i ON c(p_id)").Plan().warnings.empty());
}

// hard-case 138: few keys of wide rows are no small tail
TEST(Bounded, ReplaysATailInPiecesAndTellsForHowLongItHeldTheFile) {
  constexpr std::int64_t kMegabyte = 1 << 20;
  Folder folder("CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, body);" +
                    Numbers(300, "INSERT INTO t SELECT i, 0, zeroblob(100000)"),
                "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, body); CREATE TABLE more(x)");
  folder.options["limits"] = {{"chunk_bytes", kMegabyte}};
  ExpectOk(folder.Run(Phase::kSync));
  folder.Write("UPDATE t SET n = 1");
  const auto work = [](db::Session& session, int i) {
    session.Execute("UPDATE t SET n = n + 2 WHERE id = " + std::to_string(1 + i % 300));
  };
  Writer one(folder.old_file(), work);
  Writer other(folder.old_file(), work);
  int pieces = 0;
  OnPoint probe("replay.after_commit", [&] { ++pieces; });
  ExpectOk(folder.Run(Phase::kSync, &probe));
  one.Stop();
  other.Stop();
  EXPECT_GE(pieces, 5);
  const std::string told = folder.Status().of_strategy.detail;
  const auto at = told.find("old file held for at most ");
  ASSERT_NE(at, std::string::npos) << told;
  const int held = std::stoi(told.substr(at + 26));
  EXPECT_GT(held, 0);
  EXPECT_LT(held, 1000);  // 50 on a machine at rest
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(folder.Old()->Scalar("SELECT sum(n) FROM t").text,
            folder.New()->Scalar("SELECT sum(n) FROM t").text);
}

class WroteBeforeTheLock : public core::Probe {
 public:
  explicit WroteBeforeTheLock(const Folder& folder) : folder_(folder) {}
  void OnEvent(const core::Event& event) override {
    if (event.kind == "phase" && event.data.value("phase", "") == "drain" &&
        event.data.value("status", "") == "begin") {
      folder_.Write("UPDATE t SET v = 'late'");
      written = folder_.Old()->Scalar("SELECT max(id) FROM _migration_log").AsInteger();
    }
    if (event.kind == "point" && event.data.value("point", "") == "drain.locked") {
      replayed =
          folder_.New()->Scalar("SELECT last_replayed_log_id FROM _migration_progress").AsInteger();
    }
  }
  std::int64_t written = 0;
  std::int64_t replayed = 0;

 private:
  const Folder& folder_;
};

// What was written between the last unit and the drain does not all go into its window.
TEST(Bounded, ReplaysMostOfABacklogBeforeTheDrainTakesItsLock) {
  for (const bool wal : {false, true}) {
    Folder folder("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);" +
                      Numbers(40000, "INSERT INTO t SELECT i, 'v'"),
                  "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE more(x)", wal);
    ExpectOk(folder.Run(Phase::kSync));
    WroteBeforeTheLock probe(folder);
    ExpectOk(folder.Run(Phase::kVerify, &probe));
    EXPECT_EQ(probe.written, 40000);
    EXPECT_GE(probe.replayed, 30000);
    EXPECT_EQ(folder.New()->Scalar("SELECT count(*) FROM t WHERE v = 'late'").AsInteger(), 40000);
  }
}

// What triggers_on_replay leaves uncompared is said before, and the rest is compared.
TEST(Triggers, TellWhatTheyKeepFromBeingCompared) {
  const std::string tables =
      "CREATE TABLE plain(id INTEGER PRIMARY KEY, v); CREATE TABLE counted(id INTEGER PRIMARY KEY, "
      "v, n INT DEFAULT 0); CREATE TABLE filled(id INTEGER PRIMARY KEY, v); CREATE TABLE "
      "kept(id INTEGER PRIMARY KEY, v);";
  Folder folder(
      tables +
          "INSERT INTO plain VALUES (1, 1); INSERT INTO counted VALUES (1, 1, 0);"
          "INSERT INTO filled VALUES (1, 1); INSERT INTO kept VALUES (1, 1)",
      tables +
          "CREATE TRIGGER counts AFTER UPDATE OF v ON counted BEGIN UPDATE \"counted\" SET "
          "n = n + 1 WHERE id = NEW.id; END;"
          "CREATE TRIGGER fills AFTER INSERT ON plain BEGIN INSERT INTO filled(v) VALUES "
          "(NEW.v); END;"
          "CREATE TRIGGER keeps BEFORE UPDATE ON kept BEGIN SELECT RAISE(IGNORE); END;"
          "CREATE TABLE more(x)");
  EXPECT_TRUE(folder.Plan().warnings.empty());
  folder.options["triggers_on_replay"] = true;
  const auto warnings = folder.Plan().warnings;
  EXPECT_THAT(warnings,
              Contains("rows of counted that are replayed with the triggers on are compared "
                       "by their keys alone: the trigger counts may change them"));
  EXPECT_THAT(warnings, Contains("rows of filled that are replayed with the triggers on are not "
                                 "compared with the old file: the trigger fills may change them"));
  EXPECT_THAT(warnings, Contains(HasSubstr("rows of kept that")));
  EXPECT_THAT(warnings, Not(Contains(HasSubstr("rows of plain"))));
  ExpectOk(folder.Run(Phase::kPrepare));
  ExpectOk(folder.Run(Phase::kSync));
  folder.Write(
      "UPDATE plain SET v = 2; INSERT INTO plain VALUES (2, 5); UPDATE counted SET v = 2;"
      "UPDATE filled SET v = 3; UPDATE kept SET v = 4; DELETE FROM counted WHERE id = 9");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT * FROM counted"), std::vector<std::string>{"i1|i2|i1|"});
  EXPECT_EQ(Rows(*folder.New(), "SELECT v FROM filled ORDER BY id"),
            (std::vector<std::string>{"i3|", "i5|"}));
  EXPECT_EQ(Rows(*folder.New(), "SELECT v FROM kept"), std::vector<std::string>{"i1|"});
}

constexpr const char* kManyRows =
    "WITH RECURSIVE s(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM s WHERE i < 12000) "
    "INSERT INTO z SELECT i, i FROM s;";

// Rows of two moments meet where a long transaction is replayed in parts: one is passed over.
TEST(Bounded, ReplaysRowsThatTheNewTableIgnoresInPart) {
  const std::string tables =
      "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT UNIQUE ON CONFLICT IGNORE);"
      "CREATE TABLE z(id INTEGER PRIMARY KEY, v);";
  Folder folder(tables + "INSERT INTO t VALUES (1, 'x'), (2, 'y')",
                tables + "CREATE TABLE more(x)");
  ExpectOk(folder.Run(Phase::kSync));
  folder.Write(std::string("BEGIN; UPDATE t SET u = 'tmp' WHERE id = 1;") + kManyRows +
               "UPDATE t SET u = 'z' WHERE id = 2; UPDATE t SET u = 'y' WHERE id = 1;"
               "UPDATE t SET u = 'x' WHERE id = 2; COMMIT");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT id, u FROM t ORDER BY id"),
            (std::vector<std::string>{"i1|ty|", "i2|tx|"}));
}

// hard-case 84: a row that the replay did not take out is seen, whatever its table is known by
TEST(Replay, FindsRowsThatItLeftBehind) {
  for (const char* table :
       {"t(k TEXT NOT NULL PRIMARY KEY, v)", "t(k TEXT NOT NULL PRIMARY KEY, v) WITHOUT ROWID",
        "t(k TEXT, v)", "t(k INTEGER PRIMARY KEY, v)"}) {
    SCOPED_TRACE(table);
    Folder folder(std::string("CREATE TABLE ") + table +
                      "; INSERT INTO t VALUES ('1', 1), ('2', 2), ('3', 3)",
                  std::string("CREATE TABLE ") + table + "; CREATE TABLE more(x)");
    ExpectOk(folder.Run(Phase::kSync));
    folder.New()->Execute(
        "CREATE TRIGGER keep BEFORE DELETE ON t WHEN OLD.k = '2' BEGIN SELECT RAISE(IGNORE); END");
    folder.Write("DELETE FROM t WHERE k IN ('1', '2'); UPDATE t SET v = 4 WHERE k = '3'");
    const core::PhaseOutcome outcome = folder.Run(Phase::kDrain);
    EXPECT_EQ(outcome.kind, core::PhaseOutcome::Kind::kFailed);
    EXPECT_THAT(outcome.message, HasSubstr("a row of t is in the new file that the old one has"));
    folder.New()->Execute("DROP TRIGGER keep");
    ExpectOk(folder.Run(Phase::kVerify));
    EXPECT_EQ(Rows(*folder.New(), "SELECT v FROM t"), std::vector<std::string>{"i4|"});
  }
}

// What a part of the log breaks, and the next part puts right, is no broken reference
TEST(Bounded, DrainsWhatBreaksAReferenceForOneUnit) {
  const std::string tables =
      "CREATE TABLE p(id INTEGER PRIMARY KEY);"
      "CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p);"
      "CREATE TABLE z(id INTEGER PRIMARY KEY, v);";
  Folder folder(tables + "INSERT INTO p VALUES (50); INSERT INTO c VALUES (1, 50)",
                tables + "CREATE TABLE more(x)");
  ExpectOk(folder.Run(Phase::kSync));
  int times = 0;
  WhenDrainBegins probe([&] {
    ++times;
    folder.Write(std::string("BEGIN; UPDATE c SET p = 50 WHERE id = 1;") + kManyRows +
                 "INSERT INTO p VALUES (60); UPDATE c SET p = 60 WHERE id = 1; COMMIT");
  });
  ExpectOk(folder.Run(Phase::kDrain, &probe));
  EXPECT_EQ(times, 1);
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT id, p FROM c"), std::vector<std::string>{"i1|i60|"});
}

}  // namespace
}  // namespace understudy::hot_copy
