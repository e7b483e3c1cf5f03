#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/process.h"
#include "engine/hot_copy/hot_copy.h"
#include "tests/engine/hot_copy/support.h"

namespace understudy::hot_copy {
namespace {
using core::Phase;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Kind = core::PhaseOutcome::Kind;

std::string Refusals(const core::Plan& plan) {
  std::string all;
  for (const auto& refusal : plan.refused) all += refusal.object + ": " + refusal.why + "\n";
  return all;
}
std::string Lines(const core::Plan& plan) {
  std::string all;
  for (const auto& step : plan.steps) all += step.phase + " " + step.what + "\n";
  for (const auto& warning : plan.warnings) all += "warning " + warning + "\n";
  return all;
}

void ExpectOk(const core::PhaseOutcome& outcome) {
  ASSERT_TRUE(outcome.ok()) << core::OutcomeName(outcome.kind) << ": " << outcome.message;
}

constexpr const char* kThings = "CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT)";
constexpr const char* kThingsToo = "CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT, n INT)";

TEST(Plan, TellsTheDifferenceAndTouchesNothing) {
  Folder folder(
      "CREATE TABLE staff(id INTEGER PRIMARY KEY, name TEXT, fax TEXT);"
      "CREATE TABLE gone(x); CREATE TABLE lessons(id INTEGER PRIMARY KEY, t REFERENCES staff)",
      "CREATE TABLE lessons(id INTEGER PRIMARY KEY, t REFERENCES teachers);"
      "CREATE TABLE teachers(\n-- @renamed-from staff\nid INTEGER PRIMARY KEY,\n"
      "full_name TEXT, -- @renamed-from name\npay REAL NOT NULL DEFAULT 1.5, city TEXT NOT NULL);"
      "CREATE TABLE fresh(x); CREATE VIEW v AS SELECT city FROM teachers");
  const std::string before = ReadFile(folder.old_file());
  const core::Plan plan = folder.Plan();
  EXPECT_TRUE(plan.can_run()) << Refusals(plan);
  const std::string lines = Lines(plan);
  EXPECT_THAT(lines, HasSubstr("table teachers: renamed from staff (id, full_name <- name, "
                               "pay <- default 1.5, city <- type-default '')"));
  EXPECT_THAT(lines, HasSubstr("table fresh: added"));
  EXPECT_THAT(lines, HasSubstr("table gone: removed"));
  EXPECT_THAT(lines, HasSubstr("copy order: teachers, lessons"));
  EXPECT_THAT(lines, HasSubstr("column staff.fax is removed"));
  EXPECT_THAT(lines, HasSubstr("1 view"));
  EXPECT_EQ(ReadFile(folder.old_file()), before);
  EXPECT_FALSE(std::filesystem::exists(folder.new_file()));
}

TEST(Plan, RefusesByNameAndPrepareLeavesNothingBehind) {
  Folder folder(
      "CREATE VIRTUAL TABLE words USING fts5(body); CREATE TABLE rowids(rowid, _rowid_, oid);"
      "CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY)",
      "CREATE TABLE words(body); CREATE TABLE rowids(rowid, _rowid_, oid);"
      "CREATE TABLE a(id INTEGER PRIMARY KEY, b INT NOT NULL REFERENCES c(id), d -- @renamed-from "
      "e\n);"
      "CREATE TABLE c(id INTEGER PRIMARY KEY REFERENCES nowhere);"
      "CREATE VIEW broken AS SELECT nought FROM a;"
      "CREATE TRIGGER bad AFTER INSERT ON a BEGIN UPDATE missing SET x = 1; END;"
      "CREATE VIEW fine AS SELECT b, d FROM a;"
      "CREATE TRIGGER good INSTEAD OF INSERT ON fine BEGIN DELETE FROM a WHERE b = NEW.b; END;"
      "CREATE TRIGGER instead_i INSTEAD OF INSERT ON fine BEGIN DELETE FROM missing; END;"
      "CREATE TRIGGER instead_u INSTEAD OF UPDATE OF d ON fine BEGIN DELETE FROM missing; END;"
      "CREATE TRIGGER instead_d INSTEAD OF DELETE ON fine BEGIN DELETE FROM missing; END");
  const std::string refusals = Refusals(folder.Plan());
  for (const char* expected :
       {"words: is a virtual table", "rowids: has no usable key", "a.b: must refer to a row of c",
        "a.d: @renamed-from e", "c: a foreign key names nowhere", "view broken", "trigger bad",
        "trigger instead_i", "trigger instead_u", "trigger instead_d"}) {
    EXPECT_THAT(refusals, HasSubstr(expected));
  }
  EXPECT_THAT(refusals, Not(HasSubstr("view fine")));
  const std::string before = ReadFile(folder.old_file());
  EXPECT_EQ(folder.Run(Phase::kPrepare).kind, Kind::kRefused);
  EXPECT_EQ(ReadFile(folder.old_file()), before);
  EXPECT_FALSE(std::filesystem::exists(folder.new_file()));
}

// A table of such a name went neither over nor was it told as removed; a trigger was dropped.
TEST(Plan, RefusesNamesLikeTheEnginesOwn) {
  Folder folder(std::string(kThings) +
                    "; CREATE TABLE _migration_versions(v INT); CREATE TABLE _migrations(v INT);"
                    "CREATE TRIGGER _migration_on_sale AFTER INSERT ON things BEGIN INSERT INTO "
                    "_migrations VALUES (1); END",
                std::string(kThingsToo) + "; CREATE TABLE _migrations(v INT)");
  EXPECT_THAT(Refusals(folder.Plan()),
              AllOf(HasSubstr("has a table _migration_versions"),
                    HasSubstr("has a trigger _migration_on_sale"), Not(HasSubstr("_migrations"))));
  EXPECT_EQ(folder.Run(Phase::kPrepare).kind, Kind::kRefused);
  folder.Write("DROP TABLE _migration_versions; DROP TRIGGER _migration_on_sale");
  EXPECT_EQ(Refusals(folder.Plan()), "");
  ExpectOk(folder.Run(Phase::kDrain));
  EXPECT_EQ(Refusals(folder.Plan()), "");
}

TEST(Plan, SaysThatThereIsNothingToDo) {
  Folder folder(kThings, std::string(kThings) + " -- the same\n;");
  EXPECT_THAT(Lines(folder.Plan()), HasSubstr("has this schema already"));
  EXPECT_EQ(folder.Plan().next, "");
  const core::PhaseOutcome outcome = folder.Run(Phase::kPrepare);
  EXPECT_EQ(outcome.kind, Kind::kNothing);
  EXPECT_FALSE(std::filesystem::exists(folder.new_file()));
}

class InBothModes : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Modes, InBothModes, ::testing::Bool(), [](const auto& row) {
  return row.param ? std::string("wal") : std::string("rollback");
});

// The new file is not synced before its cutover. hard-case 90
TEST_P(InBothModes, ReadsTheNewFileOnceMoreBehindAFailureOfTheMachine) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a'), (2, 'b')", kThingsToo,
                GetParam());
  ExpectOk(folder.Run(Phase::kSync));
  const std::string fails = "UPDATE _understudy_move SET boot = 'the one before'";
  folder.New()->Execute(fails);
  folder.Write("INSERT INTO things VALUES (3, 'c')");
  ExpectOk(folder.Run(Phase::kSync));
  folder.New()->Execute(fails + "; UPDATE things SET name = 'lost' WHERE id = 1");
  EXPECT_EQ(folder.Run(Phase::kSync).kind, Kind::kFailed);
  folder.New()->Execute("UPDATE things SET name = 'a' WHERE id = 1");
  ExpectOk(folder.Run(Phase::kDrain));
  folder.New()->Execute(fails);
  const core::PhaseOutcome outcome = folder.Run(Phase::kCutover);
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("the machine was started anew since the drain"));
  EXPECT_EQ(folder.Reset().kind, Kind::kDone);
  folder.Write("INSERT INTO things VALUES (4, 'd')");
  ExpectOk(folder.Run(Phase::kVerify));
}

TEST_P(InBothModes, GoesThroughThePhasesOneByOne) {
  Folder folder(std::string(kThings) +
                    "; INSERT INTO things VALUES (1, 'a'), (2, 'b'); "
                    "PRAGMA user_version = 9; PRAGMA application_id = 77",
                kThingsToo, GetParam());
  ExpectOk(folder.Run(Phase::kPrepare));
  EXPECT_EQ(folder.Status().state, core::State::kSyncing);
  EXPECT_EQ(Rows(*folder.Old(), "SELECT * FROM _migration_marker"),
            std::vector<std::string>{"i0|trecording|"});
  EXPECT_EQ(Rows(*folder.New(), "SELECT * FROM _migration_status"),
            std::vector<std::string>{"i0|tmigrating|"});
  EXPECT_EQ(Rows(*folder.New(), "SELECT id, name FROM things"),
            (std::vector<std::string>{"i1|ta|", "i2|tb|"}));
  folder.Write("INSERT INTO things VALUES (3, 'c'); DELETE FROM things WHERE id = 1");
  EXPECT_EQ(folder.Status().of_strategy.pending_writes, 2);
  EXPECT_EQ(folder.Cleanup().kind, Kind::kRefused);
  ExpectOk(folder.Run(Phase::kDrain));
  EXPECT_EQ(folder.Status().state, core::State::kReady);
  EXPECT_EQ(Rows(*folder.New(), "SELECT * FROM _migration_progress"),
            std::vector<std::string>{"i0|i2|i1|"});
  EXPECT_THROW(folder.Write("DELETE FROM things"), Error);
  ExpectOk(folder.Run(Phase::kCutover));
  EXPECT_EQ(folder.Status().of_strategy.in_service, core::Owner::kNew);
  EXPECT_FALSE(std::filesystem::exists(folder.new_file().string() + "-journal"));
  EXPECT_EQ(Rows(*folder.New(), "SELECT id, name FROM things"),
            (std::vector<std::string>{"i2|tb|", "i3|tc|"}));
  EXPECT_EQ(folder.Run(Phase::kCutover).kind, Kind::kNothing);  // hard-case 90
  EXPECT_EQ(folder.Reset().kind, Kind::kRefused);
  ExpectOk(folder.Run(Phase::kVerify));
  ExpectOk(folder.Cleanup());
  EXPECT_EQ(folder.Status().state, core::State::kCleaned);
  EXPECT_THAT(Rows(*folder.Old(),
                   "SELECT name FROM sqlite_schema WHERE name LIKE '\\_migration%' "
                   "ESCAPE '\\'"),
              IsEmpty());
  EXPECT_THROW(folder.Write("DELETE FROM things"), Error);  // hard-case 143
  EXPECT_EQ(Rows(*folder.New(), "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1"),
            (std::vector<std::string>{"t_migration_status|", "t_schema_identity|", "tthings|"}));
  EXPECT_EQ(folder.New()->Scalar("PRAGMA user_version").AsInteger(), 9);
  EXPECT_EQ(folder.New()->Scalar("PRAGMA application_id").AsInteger(), 77);
  EXPECT_EQ(folder.New()->Scalar("PRAGMA journal_mode").text, GetParam() ? "wal" : "delete");
  EXPECT_EQ(folder.Run(Phase::kPrepare).kind, Kind::kNothing);
  // Served, changed again: the retired file is passed over.
  folder.WriteSchema("CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT, n INT, z TEXT)");
  ExpectOk(folder.Run(Phase::kVerify));
}

// hard-case 83: a writer that had its transaction open before the mark
TEST_P(InBothModes, WaitsForAWriterThatBeganBeforeTheMark) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo,
                GetParam());
  const auto early = folder.Old();
  early->Begin(db::Isolation::kDefault, false, true);
  early->Execute("INSERT INTO things VALUES (2, 'early')");
  OnPoint probe("prepare.begin", [] {});
  folder.options["limits"] = {{"lock_timeout_ms", 50}};
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    early->Execute("UPDATE things SET name = 'late' WHERE id = 1");
    early->Commit();
  });
  ExpectOk(folder.Run(Phase::kCutover, &probe));
  later.join();
  EXPECT_EQ(Rows(*folder.New(), "SELECT id, name FROM things"),
            (std::vector<std::string>{"i1|tlate|", "i2|tearly|"}));
}

// hard-case 84
TEST_P(InBothModes, NoticesWritesWithTriggersSwitchedOff) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a'), (2, 'b')", kThingsToo,
                GetParam());
  bool wrote = false;
  OnPoint probe("copy.after_commit", [&] {
    if (wrote || Rows(*folder.New(), "SELECT * FROM things").empty()) return;
    wrote = true;  // as a connection without triggers would: behind the log's back
    folder.Write(
        "BEGIN; UPDATE things SET name = 'behind' WHERE id = 1; "
        "DELETE FROM _migration_log; COMMIT");
  });
  const core::PhaseOutcome outcome = folder.Run(Phase::kDrain, &probe);
  EXPECT_TRUE(wrote);
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("the row 1 of things is not in the new file"));
  folder.Write("INSERT INTO things VALUES (3, 'still served')");
  ExpectOk(folder.Reset());
  ExpectOk(folder.Run(Phase::kDrain));
}

// A write that slipped in after the drain.
TEST_P(InBothModes, RefusesACutoverThatWouldLoseAWrite) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo,
                GetParam());
  ExpectOk(folder.Run(Phase::kDrain));
  folder.Write("DROP TRIGGER _understudy_refuse_insert_things; INSERT INTO things VALUES (2, 'x')");
  core::PhaseOutcome outcome = folder.Run(Phase::kCutover);
  EXPECT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.message, HasSubstr("replay divergence"));
  EXPECT_EQ(folder.Status().of_strategy.in_service, core::Owner::kOld);
  ExpectOk(folder.Reset());
  folder.Write("INSERT INTO things VALUES (3, 'y')");
}

// hard-case 84. A table that is dropped takes its triggers along: made anew under the same text, it
// is written unseen.
TEST_P(InBothModes, NoticesThatARecordedTableWasMadeAnew) {
  const std::string again = std::string("DROP TABLE things; ") + kThings +
                            "; INSERT INTO things VALUES (1, 'changed'), (3, 'c')";
  for (const Phase before : {Phase::kPrepare, Phase::kSync, Phase::kDrain}) {
    Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a'), (2, 'b')",
                  kThingsToo, GetParam());
    ExpectOk(folder.Run(before));
    folder.Write(again);
    const core::PhaseOutcome outcome = folder.Run(Phase::kCutover);
    EXPECT_EQ(outcome.kind, Kind::kFailed);
    EXPECT_THAT(outcome.message,
                HasSubstr(before == Phase::kDrain ? "replay divergence" : "was interrupted"));
    EXPECT_THAT(outcome.message, HasSubstr("reset"));
    EXPECT_EQ(folder.Status().of_strategy.in_service, core::Owner::kOld);
    ExpectOk(folder.Reset());
    ExpectOk(folder.Run(Phase::kVerify));
    EXPECT_EQ(Rows(*folder.New(), "SELECT id, name FROM things"),
              (std::vector<std::string>{"i1|tchanged|", "i3|tc|"}));
  }
}

TEST_P(InBothModes, NoticesThatATriggerOfItsOwnIsGone) {
  for (const char* trigger : {"_migration_on_update_things", "_understudy_refuse_update_things"}) {
    Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo,
                  GetParam());
    const bool recording = std::string_view(trigger).rfind("_migration", 0) == 0;
    ExpectOk(folder.Run(recording ? Phase::kSync : Phase::kDrain));
    folder.Write("DROP TRIGGER " + std::string(trigger));
    const core::PhaseOutcome outcome = folder.Run(Phase::kCutover);
    EXPECT_EQ(outcome.kind, Kind::kFailed);
    EXPECT_THAT(outcome.message, HasSubstr(trigger));
  }
}

// As https://sqlite.org/lang_altertable.html has it done: the triggers are put back, and in between
// nothing was recorded.
TEST_P(InBothModes, ComparesAnewWhenATableAndItsTriggersWereMadeAnew) {
  for (const bool changed : {false, true}) {
    Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo,
                  GetParam());
    ExpectOk(folder.Run(Phase::kSync));
    std::string triggers;
    for (const db::Row& row : folder.Old()
                                  ->Query("SELECT sql FROM sqlite_schema WHERE type = 'trigger' "
                                          "AND tbl_name = 'things'")
                                  .rows) {
      triggers += row[0].text + ";";
    }
    folder.Write("BEGIN; CREATE TABLE kept AS SELECT * FROM things; DROP TABLE things; " +
                 std::string(kThings) + "; INSERT INTO things SELECT id, " +
                 (changed ? "'unseen'" : "name") + " FROM kept; DROP TABLE kept; " + triggers +
                 " COMMIT");
    const core::PhaseOutcome outcome = folder.Run(Phase::kVerify);
    EXPECT_EQ(outcome.ok(), !changed) << outcome.message;
    EXPECT_THAT(outcome.message,
                HasSubstr(changed ? "the row 1 of things is not in the new file" : ""));
  }
}

TEST_P(InBothModes, ComparesAnewWhenTheOldFileIsVacuumedAfterTheDrain) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo,
                GetParam());
  ExpectOk(folder.Run(Phase::kDrain));
  folder.Write("VACUUM");
  const core::PhaseOutcome outcome = folder.Run(Phase::kCutover);
  EXPECT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.message, HasSubstr("understudy migrate sync"));
  ExpectOk(folder.Run(Phase::kSync));
  ExpectOk(folder.Run(Phase::kVerify));
}

// hard-case 91
TEST_P(InBothModes, GivesADrainUpAndTakesWritesAgain) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo,
                GetParam());
  ExpectOk(folder.Run(Phase::kDrain));
  EXPECT_THROW(folder.Write("INSERT INTO things VALUES (2, 'x')"), Error);
  const core::PhaseOutcome dry = folder.Reset(true);
  EXPECT_THAT(dry.message, HasSubstr("would remove the new file"));
  EXPECT_TRUE(std::filesystem::exists(folder.new_file()));
  EXPECT_THROW(folder.Write("INSERT INTO things VALUES (2, 'x')"), Error);
  ExpectOk(folder.Reset());
  EXPECT_FALSE(std::filesystem::exists(folder.new_file()));
  folder.Write("INSERT INTO things VALUES (2, 'x')");
  EXPECT_THAT(folder.Reset().message, HasSubstr("nothing to reset"));
}

// hard-case 85
TEST_P(InBothModes, CarriesEveryKindOfKeyAndValue) {
  const std::string schema =
      "CREATE TABLE nullable(k TEXT PRIMARY KEY, v);"
      "CREATE TABLE any_key(k PRIMARY KEY, v) WITHOUT ROWID;"
      "CREATE TABLE bare(a, b);"
      "CREATE TABLE strict_one(id INTEGER PRIMARY KEY, r REAL, t TEXT, b BLOB, a ANY) STRICT;"
      "CREATE TABLE pair(a INT, b TEXT COLLATE NOCASE, c, PRIMARY KEY (a, b)) WITHOUT ROWID;"
      "CREATE TABLE \"odd \"\"name\"(\"a \"\"b\" INTEGER PRIMARY KEY, \"sel ect\" TEXT UNIQUE, "
      "g TEXT AS (upper(\"sel ect\")) STORED)";
  Folder folder(schema +
                    ";"
                    "INSERT INTO nullable VALUES (NULL, 1), (NULL, 2), ('', 3), ('a', 4);"
                    "INSERT INTO any_key VALUES (1, 'i'), (1.5, 'r'), ('1', 't'), (x'31', 'b'), "
                    "(0.1 + 0.2, 'x'),"
                    " (9e999, 'inf'), (-1e-300, 's');"
                    "INSERT INTO bare VALUES (1, 'x'), (1, 'x'), (NULL, x'00ff');"
                    "INSERT INTO strict_one VALUES (1, -0.0, 'a' || char(0) || 'b', x'', 5), "
                    "(9223372036854775807, 1e308, '', x'00', 'five'), (-5, 0.1, NULL, NULL, NULL);"
                    "INSERT INTO pair VALUES (1, 'x', 1), (1, 'y', 2), (2, 'X', 3);"
                    "INSERT INTO \"odd \"\"name\" VALUES (1, 'one'), (2, 'two')",
                schema + ";CREATE TABLE added(x)", GetParam());
  folder.options["limits"] = {{"chunk_rows", 2}};
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write(
      "UPDATE nullable SET v = v * 10; INSERT INTO nullable VALUES (NULL, 7);"
      "UPDATE nullable SET k = NULL WHERE k = 'a'; DELETE FROM nullable WHERE v = 10;"
      "UPDATE any_key SET v = v || '!'; UPDATE any_key SET k = 0.3 WHERE k = 1.5;"
      "DELETE FROM any_key WHERE k = '1'; INSERT INTO any_key VALUES (x'', 0);"
      "DELETE FROM bare WHERE rowid = 1; UPDATE bare SET b = 'y' WHERE rowid = 2;"
      "INSERT INTO bare VALUES (3, 3);"
      "UPDATE strict_one SET id = -6 WHERE id = -5; UPDATE strict_one SET r = -r;"
      "UPDATE pair SET b = 'X' WHERE b = 'x' AND a = 1; DELETE FROM pair WHERE c = 2;"
      "INSERT OR REPLACE INTO pair VALUES (2, 'x', 9);"
      "INSERT OR REPLACE INTO \"odd \"\"name\"(\"a \"\"b\", \"sel ect\") VALUES (3, 'one')");
  ExpectOk(folder.Run(Phase::kVerify));
  for (const char* table :
       {"nullable", "any_key", "bare", "strict_one", "pair", "\"odd \"\"name\""}) {
    const std::string sql = std::string("SELECT * FROM ") + table + " ORDER BY 1, 2";
    EXPECT_EQ(Rows(*folder.Old(), sql), Rows(*folder.New(), sql)) << table;
  }
}

// hard-case 85: what a new type makes of the old values
TEST(HotCopy, ConvertsAsTheNewTypeDoes) {
  Folder folder(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INT, c, d REAL);"
      "INSERT INTO t VALUES (1, '12', 5, '7', 3.0), (2, 'x', 6, 7.5, 2.5), "
      "(3, '1e2', NULL, x'37', 4)",
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c NUMERIC, d INTEGER)");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(
      Rows(*folder.New(), "SELECT * FROM t"),
      (std::vector<std::string>{"i1|i12|t5|i7|i3|", "i2|tx|t6|r7.5|r2.5|", "i3|i100|n|b7|i4|"}));
}

TEST(HotCopy, ComputesColumnsAsItIsTold) {
  Folder folder(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, first TEXT, last TEXT, cents INT);"
      "INSERT INTO t VALUES (1, 'Ada', 'L', 150), (2, 'Bob', 'M', 99)",
      "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, euros REAL, note TEXT, "
      "cents INT DEFAULT 7)");
  folder.options["columns"] = {{"t",
                                {{"name", {{"sql", "first || ' ' || last"}}},
                                 {"euros", {{"sql", "cents / 100.0"}}},
                                 {"note", {{"from", "last"}}},
                                 {"cents", {{"default", true}}}}}};
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write("UPDATE t SET first = 'Eve' WHERE id = 2; INSERT INTO t VALUES (3, 'Z', 'Z', 1)");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT * FROM t"),
            (std::vector<std::string>{"i1|tAda L|r1.5|tL|i7|", "i2|tEve M|r0.99|tM|i7|",
                                      "i3|tZ Z|r0.01|tZ|i7|"}));
}

// hard-case 86: the new table assigns keys; every reference is translated
TEST_P(InBothModes, TranslatesKeysThatTheTargetAssigns) {
  Folder folder(
      "CREATE TABLE dept(code TEXT PRIMARY KEY, boss TEXT REFERENCES emp(code));"
      "CREATE TABLE emp(code TEXT PRIMARY KEY, dept TEXT REFERENCES dept(code), chief TEXT "
      "REFERENCES emp(code));"
      "INSERT INTO dept VALUES ('d1', 'e2'), ('d2', NULL);"
      "INSERT INTO emp VALUES ('e1', 'd1', 'e3'), ('e2', 'd2', 'e2'), ('e3', 'd1', NULL)",
      "CREATE TABLE dept(id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT UNIQUE, boss INTEGER "
      "REFERENCES emp(id));"
      "CREATE TABLE emp(id INTEGER PRIMARY KEY, code TEXT UNIQUE, dept INTEGER REFERENCES "
      "dept(id), "
      "chief INTEGER REFERENCES emp(id))",
      GetParam());
  folder.options["limits"] = {{"chunk_rows", 1}};
  ExpectOk(folder.Run(Phase::kPrepare));
  const auto ids = Rows(*folder.New(), "SELECT code, id FROM emp ORDER BY 1");
  folder.Write(
      "BEGIN; INSERT INTO emp VALUES ('e4', 'd3', 'e5'), ('e5', 'd1', 'e1');"  // parents later
      "INSERT INTO dept VALUES ('d3', 'e5'); UPDATE dept SET boss = 'e4' WHERE code = 'd1';"
      "DELETE FROM emp WHERE code = 'e2'; UPDATE dept SET boss = NULL WHERE boss = 'e2'; COMMIT;"
      "UPDATE emp SET chief = 'e1' WHERE code = 'e3'");
  ExpectOk(folder.Run(Phase::kDrain));
  EXPECT_THAT(folder.New()->Scalar("SELECT count(*) FROM _id_mapping").AsInteger(), 8);
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.Old(), "SELECT e.code, e.dept, e.chief FROM emp e ORDER BY 1"),
            Rows(*folder.New(),
                 "SELECT e.code, d.code, c.code FROM emp e LEFT JOIN dept d ON d.id = "
                 "e.dept LEFT JOIN emp c ON c.id = e.chief ORDER BY 1"));
  EXPECT_EQ(Rows(*folder.Old(), "SELECT code, boss FROM dept ORDER BY 1"),
            Rows(*folder.New(),
                 "SELECT d.code, e.code FROM dept d LEFT JOIN emp e ON e.id = d.boss "
                 "ORDER BY 1"));
  // Rows keep the key that they once got.
  EXPECT_THAT(Rows(*folder.New(), "SELECT code, id FROM emp ORDER BY 1"), Contains(ids[0]));
  EXPECT_TRUE(std::filesystem::exists(folder.new_file().string() + ".id-mapping.jsonl"));
}

// hard-case 86: a seed has the place
TEST_P(InBothModes, TranslatesKeysWhosePlaceASeedTook) {
  const std::string children =
      "CREATE TABLE users(id INTEGER PRIMARY KEY, role INTEGER REFERENCES roles(id));"
      "CREATE TABLE grants(role INTEGER REFERENCES roles(id), what TEXT, PRIMARY KEY (role, what)) "
      "WITHOUT ROWID; CREATE TABLE uses(role INT, what TEXT, n INT, "
      "FOREIGN KEY (role, what) REFERENCES grants(role, what));";
  Folder folder(
      "CREATE TABLE roles(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, up "
      "INTEGER REFERENCES roles(id));" +
          children +
          "INSERT INTO roles VALUES (1, 'teacher', 2), (2, 'admin', NULL), (3, 'pupil', 1);"
          "INSERT INTO users VALUES (1, 1), (2, 2), (3, 3), (4, NULL);"
          "INSERT INTO grants VALUES (1, 'read'), (2, 'read'), (3, 'write');"
          "INSERT INTO uses VALUES (1, 'read', 5), (3, 'write', 6), (NULL, 'x', 7)",
      "CREATE TABLE roles(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, up "
      "INTEGER REFERENCES roles(id), extra INT DEFAULT 0);" +
          children + "INSERT INTO roles(id, name) VALUES (1, 'admin'), (2, 'root'), (4, 'pupil')",
      GetParam());
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write(
      "INSERT INTO roles VALUES (4, 'late', 1); INSERT INTO users VALUES (5, 4), (6, 1);"
      "INSERT INTO grants VALUES (4, 'late'); INSERT INTO uses VALUES (4, 'late', 8);"
      "UPDATE roles SET name = 'Teacher' WHERE id = 1; DELETE FROM uses WHERE n = 6;"
      "DELETE FROM grants WHERE role = 3; UPDATE users SET role = 2 WHERE id = 3;"
      "DELETE FROM roles WHERE id = 3");
  ExpectOk(folder.Run(Phase::kVerify));
  const auto both = [&](const std::string& sql) {
    EXPECT_EQ(Rows(*folder.Old(), sql), Rows(*folder.New(), sql)) << sql;
  };
  both("SELECT u.id, r.name FROM users u LEFT JOIN roles r ON r.id = u.role ORDER BY 1");
  both("SELECT r.name, what FROM grants g JOIN roles r ON r.id = g.role ORDER BY 1, 2");
  both("SELECT n, r.name, u.what FROM uses u LEFT JOIN roles r ON r.id = u.role ORDER BY 1");
  both("SELECT r.name, u.name FROM roles r JOIN roles u ON u.id = r.up ORDER BY 1");
  EXPECT_EQ(Rows(*folder.New(), "SELECT name FROM roles ORDER BY 1"),
            (std::vector<std::string>{"tTeacher|", "tadmin|", "tlate|", "troot|"}));
  EXPECT_EQ(folder.New()->Scalar("SELECT id FROM roles WHERE name = 'root'").AsInteger(), 2);
  EXPECT_EQ(folder.New()->Scalar("SELECT id FROM roles WHERE name = 'admin'").AsInteger(), 1);
}

// hard-case 85, 86: bytes, text and numbers of one look are different keys; a seed has one's place
TEST_P(InBothModes, TranslatesBlobKeysEachToItsOwn) {
  Folder folder(
      "CREATE TABLE docs(id PRIMARY KEY NOT NULL, title TEXT, up REFERENCES docs(id));"
      "CREATE TABLE pages(doc BLOB NOT NULL REFERENCES docs(id), n INT, PRIMARY KEY (doc, n)) "
      "WITHOUT ROWID;"
      "INSERT INTO docs VALUES (x'00ff', 'a', NULL), (x'', 'b', x'00ff'), ('', 'c', x''), "
      "(x'31', 'd', ''), ('1', 'e', x'31'), (1, 'f', '1'), (x'cafe', 'mine', 1);"
      "INSERT INTO pages SELECT id, 1 FROM docs",
      "CREATE TABLE docs(no INTEGER PRIMARY KEY, id NOT NULL UNIQUE, title TEXT, up INTEGER "
      "REFERENCES docs(no));"
      "CREATE TABLE pages(doc INTEGER NOT NULL REFERENCES docs(no), n INT, PRIMARY KEY (doc, n)) "
      "WITHOUT ROWID;"
      "INSERT INTO docs VALUES (1, x'cafe', 'seed', NULL), (4, x'00', 'only ours', NULL)",
      GetParam());
  folder.options["limits"] = {{"chunk_rows", 2}};
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write(
      "INSERT INTO docs VALUES (x'beef', 'late', x'cafe'); INSERT INTO pages VALUES (x'beef', 1);"
      "UPDATE docs SET up = x'beef' WHERE id = x'00ff'; UPDATE docs SET up = x'00ff' WHERE id = "
      "'1';"
      "DELETE FROM pages WHERE doc = x''; UPDATE docs SET title = 'ours' WHERE id = x'cafe'");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.Old(), "SELECT id, title, up FROM docs ORDER BY title"),
            Rows(*folder.New(),
                 "SELECT d.id, d.title, u.id FROM docs d LEFT JOIN docs u ON u.no = d.up WHERE "
                 "d.no <> 4 ORDER BY d.title"));
  EXPECT_EQ(Rows(*folder.Old(), "SELECT doc, n FROM pages ORDER BY typeof(doc), doc"),
            Rows(*folder.New(),
                 "SELECT d.id, p.n FROM pages p JOIN docs d ON d.no = p.doc ORDER BY "
                 "typeof(d.id), d.id"));
  EXPECT_EQ(Rows(*folder.New(), "SELECT title FROM docs WHERE no IN (1, 4)"),
            (std::vector<std::string>{"tours|", "tonly ours|"}));
  const std::string kept = ReadFile(folder.new_file().string() + ".id-mapping.jsonl");
  EXPECT_THAT(kept, HasSubstr(R"("old_id":"\\xcafe","old_storage":"blob","new_id":"1")"));
  EXPECT_THAT(kept, HasSubstr(R"("old_id":"1","old_storage":"integer")"));
  EXPECT_THAT(kept, HasSubstr(R"("old_id":"1","old_storage":"text")"));
}

// hard-case 87
TEST_P(InBothModes, KeepsTheHighWaterMarkOfAutoincrement) {
  const std::string schema =
      "CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, x);"
      "CREATE TABLE emptied(id INTEGER PRIMARY KEY AUTOINCREMENT, x)";
  Folder folder(schema +
                    "; INSERT INTO a(x) VALUES (1), (2), (3); DELETE FROM a WHERE id = 3;"
                    "INSERT INTO emptied(x) VALUES (1), (2); DELETE FROM emptied",
                schema + "; CREATE TABLE more(x)", GetParam());
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write("INSERT INTO a(x) VALUES (4); DELETE FROM a WHERE id = 4");
  ExpectOk(folder.Run(Phase::kCutover));
  folder.New()->Execute("INSERT INTO a(x) VALUES (9); INSERT INTO emptied(x) VALUES (9)");
  EXPECT_EQ(folder.New()->Scalar("SELECT max(id) FROM a").AsInteger(), 5);
  EXPECT_EQ(folder.New()->Scalar("SELECT max(id) FROM emptied").AsInteger(), 3);
}

// What followed once was kept, whatever became of it in the old file.
TEST_P(InBothModes, FollowsTheOldFilesPragmasToTheEnd) {
  for (const bool said : {false, true}) {
    Folder folder(std::string(kThings) + "; PRAGMA user_version = 5; PRAGMA application_id = 77",
                  std::string(kThingsToo) + (said ? "; PRAGMA user_version = 40" : ""), GetParam());
    ExpectOk(folder.Run(Phase::kSync));
    folder.Write("PRAGMA user_version = 6; PRAGMA application_id = 0");
    ExpectOk(folder.Run(Phase::kVerify));
    EXPECT_EQ(folder.New()->Scalar("PRAGMA user_version").AsInteger(), said ? 40 : 6);
    EXPECT_EQ(folder.New()->Scalar("PRAGMA application_id").AsInteger(), 0);
  }
}

// hard-case 89
TEST_P(InBothModes, KeepsTheTargetsTriggersOffUntilTheCutover) {
  for (const bool on_replay : {false, true}) {
    Folder folder(
        std::string(kThings) + "; INSERT INTO things VALUES (1, 'a'), (2, 'b')",
        std::string(kThingsToo) +
            "; CREATE TABLE seen(what TEXT, id INT);"
            "CREATE TRIGGER i AFTER INSERT ON things BEGIN INSERT INTO seen VALUES ('i', NEW.id); "
            "END; CREATE TRIGGER u AFTER UPDATE ON things BEGIN INSERT INTO seen VALUES ('u', "
            "NEW.id); END; CREATE TRIGGER d AFTER DELETE ON things BEGIN INSERT INTO seen "
            "VALUES ('d', OLD.id); END",
        GetParam());
    folder.options["triggers_on_replay"] = on_replay;
    ExpectOk(folder.Run(Phase::kPrepare));
    folder.Write(
        "INSERT INTO things VALUES (3, 'c'); UPDATE things SET name = 'x' WHERE id = 1; "
        "UPDATE things SET name = 'b' WHERE id = 2; DELETE FROM things WHERE id = 2");
    ExpectOk(folder.Run(Phase::kVerify));
    EXPECT_EQ(Rows(*folder.New(), "SELECT what, id FROM seen ORDER BY id"),
              on_replay ? (std::vector<std::string>{"tu|i1|", "td|i2|", "ti|i3|"})
                        : std::vector<std::string>{});
    folder.New()->Execute("DELETE FROM seen; INSERT INTO things(id) VALUES (9)");
    EXPECT_EQ(Rows(*folder.New(), "SELECT * FROM seen"), std::vector<std::string>{"ti|i9|"});
  }
}

// hard-case 88, with triggers at replay: rows that exchange a unique value cannot be updated one
// after the other.
TEST_P(InBothModes, ReplaysExchangedUniqueValuesWithTriggersOn) {
  const std::string table =
      "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT UNIQUE, v INT);"
      "CREATE TABLE p(a TEXT, b INT, u INT UNIQUE, PRIMARY KEY (a, b)) "
      "WITHOUT ROWID";
  Folder folder(table +
                    "; INSERT INTO t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0), (4, 'd', 0);"
                    "INSERT INTO p VALUES ('x', 1, 1), ('x', 2, 2)",
                table +
                    "; CREATE TABLE seen(what TEXT);"
                    "CREATE TRIGGER i AFTER INSERT ON t BEGIN INSERT INTO seen VALUES "
                    "('i' || NEW.id); END;"
                    "CREATE TRIGGER u AFTER UPDATE ON t BEGIN INSERT INTO seen VALUES "
                    "('u' || NEW.id); END;"
                    "CREATE TRIGGER d AFTER DELETE ON t BEGIN INSERT INTO seen VALUES "
                    "('d' || OLD.id); END",
                GetParam());
  folder.options["triggers_on_replay"] = true;
  ExpectOk(folder.Run(Phase::kSync));
  folder.Write(
      "BEGIN; UPDATE t SET u = 'free' WHERE id = 1; UPDATE t SET u = 'a' WHERE id = 2;"
      "UPDATE t SET u = 'b' WHERE id = 1; UPDATE t SET v = 9 WHERE id = 3; COMMIT;"
      "BEGIN; UPDATE p SET u = 9 WHERE b = 1; UPDATE p SET u = 1 WHERE b = 2;"
      "UPDATE p SET u = 2 WHERE b = 1; COMMIT");
  ExpectOk(folder.Run(Phase::kVerify));
  for (const char* sql : {"SELECT * FROM t ORDER BY 1", "SELECT * FROM p ORDER BY 1, 2"}) {
    EXPECT_EQ(Rows(*folder.Old(), sql), Rows(*folder.New(), sql));
  }
  EXPECT_EQ(Rows(*folder.New(), "SELECT what FROM seen ORDER BY rowid"),
            (std::vector<std::string>{"td1|", "tu2|", "tu3|", "ti1|"}));
}

TEST_P(InBothModes, ChecksReferencesBeforeItIsReady) {
  const std::string schema =
      "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES "
      "p)";
  Folder folder(schema + "; INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1), (2, 77)",
                schema + "; CREATE TABLE more(x)", GetParam());
  const core::PhaseOutcome outcome = folder.Run(Phase::kDrain);
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("c rowid 2 refers to no row of p"));
  folder.Write("DELETE FROM c WHERE id = 2");  // still served, and put right
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT * FROM c"), std::vector<std::string>{"i1|i1|"});
}

TEST(HotCopy, SaysWhichConstraintTheDataBreaks) {
  Folder folder(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, e TEXT); "
      "INSERT INTO t VALUES (1, 'x'), (2, 'x')",
      "CREATE TABLE t(id INTEGER PRIMARY KEY, e TEXT UNIQUE)");
  const core::PhaseOutcome outcome = folder.Run(Phase::kPrepare);
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("t.e"));
  folder.Write("UPDATE t SET e = 'y' WHERE id = 2");
  ExpectOk(folder.Run(Phase::kVerify));
}

// hard-case 90: an application that was killed in the middle of a commit leaves its journal
TEST(HotCopy, PlansAndTellsOfAFileThatAKilledWriterLeft) {
  const std::string table = "CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB);";
  Folder living(table + "INSERT INTO t VALUES (1, zeroblob(100000)), (2, x'00')", table);
  Folder left(table, table + "CREATE TABLE more(x)");
  {
    const auto writer = living.Old();
    writer->Execute("PRAGMA cache_size = 1; BEGIN; UPDATE t SET b = randomblob(100000)");
    for (const char* suffix : {"", "-journal"}) {
      std::filesystem::copy_file(living.old_file().string() + suffix,
                                 left.old_file().string() + suffix,
                                 std::filesystem::copy_options::overwrite_existing);
    }
  }
  EXPECT_THAT(left.Status().of_strategy.detail, HasSubstr("marker none"));
  EXPECT_TRUE(left.Plan().can_run());
  ExpectOk(left.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*left.New(), "SELECT id, length(b) FROM t"),
            (std::vector<std::string>{"i1|i100000|", "i2|i1|"}));
}

// hard-case 138: no reader of ours may hold a rollback-journal file for long
TEST(HotCopy, LetsWritersOfARollbackJournalThrough) {
  Folder folder(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB);"
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) "
      "INSERT INTO t SELECT i, randomblob(500) FROM n",
      "CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB, n INT)");
  const auto writer = db::Connect(db::Endpoint::Sqlite(folder.old_file()),
                                  {.lock_timeout = std::chrono::milliseconds(400)});
  std::atomic<bool> stop = false;
  int done = 0;
  int busy = 0;
  std::thread application([&] {
    while (!stop) {
      try {
        writer->Execute("UPDATE t SET b = x'00' WHERE id = 1 + abs(random()) % 40000");
        ++done;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kConflict) break;  // draining
        ++busy;
      }
    }
  });
  const core::PhaseOutcome outcome = folder.Run(Phase::kDrain);
  stop = true;
  application.join();
  ExpectOk(outcome);
  EXPECT_GT(done, 20);
  EXPECT_EQ(busy, 0);
}

// hard-case 90
TEST(HotCopy, KeepsASecondEngineOut) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo);
  core::PhaseOutcome second;
  OnPoint probe("copy.before_commit", [&] { second = folder.Run(Phase::kDrain); });
  ExpectOk(folder.Run(Phase::kPrepare, &probe));
  EXPECT_EQ(second.kind, Kind::kRefused);
  EXPECT_THAT(second.message, HasSubstr("another process works on"));
}

// hard-case 90: two migrations of one old file. The second took the recording of the first over,
// and the first went on without what was written meanwhile.
TEST_P(InBothModes, DoesNotTakeTheRecordingOfAnotherMigrationOver) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo,
                GetParam());
  FailAt probe("prepare.schema_built");
  EXPECT_FALSE(folder.RunInto("one.db", Phase::kPrepare, &probe).ok());
  ASSERT_TRUE(probe.struck());
  ExpectOk(folder.RunInto("two.db", Phase::kPrepare));
  const core::PhaseOutcome first = folder.RunInto("one.db", Phase::kPrepare);
  EXPECT_EQ(first.kind, Kind::kRefused);
  EXPECT_THAT(first.message, HasSubstr("is recording for another new file"));
  folder.Write("INSERT INTO things VALUES (2, 'b')");
  ExpectOk(folder.RunInto("two.db", Phase::kVerify));
  EXPECT_FALSE(folder.RunInto("one.db", Phase::kVerify).ok());
}

TEST_P(InBothModes, NoticesThatItsRecordingWasBegunAnew) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo,
                GetParam());
  for (const bool drained : {false, true}) {
    ExpectOk(folder.RunInto("one.db", drained ? Phase::kDrain : Phase::kSync));
    const auto aside = folder.path() / "aside.db";
    std::filesystem::rename(folder.path() / "one.db", aside);
    ExpectOk(folder.ResetInto("one.db"));
    folder.Write("INSERT INTO things(name) VALUES ('lost')");
    ExpectOk(folder.RunInto("one.db", Phase::kDrain));
    std::filesystem::rename(aside, folder.path() / "one.db");
    const core::PhaseOutcome outcome = folder.RunInto("one.db", Phase::kCutover);
    EXPECT_EQ(outcome.kind, Kind::kFailed);
    EXPECT_THAT(outcome.message, HasSubstr("does not record for this new file any more"));
    ExpectOk(folder.ResetInto("one.db"));
  }
}

TEST(HotCopy, NoticesThatACopyOfTheOldFileWasPutBack) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo);
  ExpectOk(folder.Run(Phase::kPrepare));
  const auto copy = folder.path() / "copy.bak";
  std::filesystem::copy_file(folder.old_file(), copy);
  folder.Write("INSERT INTO things VALUES (2, 'b'), (3, 'c')");
  ExpectOk(folder.Run(Phase::kSync));
  std::filesystem::rename(copy, folder.old_file());
  folder.Write("INSERT INTO things VALUES (2, 'lost')");
  const core::PhaseOutcome outcome = folder.Run(Phase::kDrain);
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("was a copy of the file put back?"));
}

// Killed between the recording and the note of what the old schema was: a change in between was
// taken for the schema that the triggers were made for.
TEST(HotCopy, RecordsAnewWhenItDiedBeforeItKnewOfTheRecording) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo);
  FailAt probe("prepare.capture_installed");
  EXPECT_FALSE(folder.Run(Phase::kPrepare, &probe).ok());
  ASSERT_TRUE(probe.struck());
  folder.Write("DROP TABLE things; CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT, z)");
  folder.Write("INSERT INTO things VALUES (1, 'z', 1)");
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write("INSERT INTO things VALUES (2, 'b', 2)");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT id, name FROM things"),
            (std::vector<std::string>{"i1|tz|", "i2|tb|"}));
}

TEST(HotCopy, RefusesToGoOnWhenTheOldSchemaChanges) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo);
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write("VACUUM");
  ExpectOk(folder.Run(Phase::kSync));
  folder.Write("ALTER TABLE things ADD COLUMN z");
  const core::PhaseOutcome outcome = folder.Run(Phase::kDrain);
  EXPECT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.message, HasSubstr("schema of the old file was changed"));
  ExpectOk(folder.Reset());
}

TEST(HotCopy, RefusesToRollBackAndSaysWhatWouldBeLost) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a'), (2, 'b'), (3, 'c')",
                kThingsToo);
  EXPECT_EQ(folder.Rollback().kind, Kind::kNothing);
  ExpectOk(folder.Run(Phase::kVerify));
  folder.New()->Execute(
      "INSERT INTO things(id) VALUES (4), (5); UPDATE things SET name = 'z' WHERE "
      "id = 1; DELETE FROM things WHERE id = 2");
  const core::PhaseOutcome outcome = folder.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("things: 2 inserted, 1 changed, 1 deleted"));
  EXPECT_THAT(outcome.message, HasSubstr("To serve it again"));
  ExpectOk(folder.Cleanup());
  EXPECT_EQ(folder.Rollback().kind, Kind::kRefused);
}

TEST(HotCopy, KnowsTheSchemasCommit) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo);
  const std::string git =
      "git init -q . && git add schema.sql && git -c user.name=a -c user.email=a@b commit -qm x";
  ASSERT_TRUE(RunCommand({.argv = {"sh", "-c", git}, .folder = folder.path()}).ok());
  const Outcome head = RunCommand({.argv = {"git", "rev-parse", "HEAD"}, .folder = folder.path()});
  ExpectOk(folder.Run(Phase::kCutover));
  const db::Result identity = folder.New()->Query(
      "SELECT id, schema_hash, schema_commit, created_utc FROM _schema_identity");
  EXPECT_THAT(folder.new_file().string(), HasSubstr(identity.rows[0][1].text));
  EXPECT_EQ(identity.rows[0][1].text.size(), 16U);
  EXPECT_EQ(identity.rows[0][2].text, head.out.substr(0, 40));
}

TEST(Folders, SayWhatIsWrongWithTheirFiles) {
  Folder folder(kThings, kThingsToo);
  std::filesystem::rename(folder.old_file(), folder.path() / "data.sqlite");
  EXPECT_THAT(Refusals(folder.Plan()), HasSubstr("names are not of that form: data.sqlite"));
  EXPECT_THAT(folder.Status().of_strategy.detail, HasSubstr("old: n/a"));
  std::filesystem::remove(folder.path() / "data.sqlite");
  EXPECT_THAT(Refusals(folder.Plan()), HasSubstr("no old SQLite file"));
  for (const char* name : {"app-a1.sqlite", "app-b2.sqlite"}) {
    db::Connect(db::Endpoint::Sqlite(folder.path() / name), {.create = true})->Execute(kThings);
  }
  EXPECT_THAT(Refusals(folder.Plan()), HasSubstr("more than one file could be the old one: "
                                                 "app-a1.sqlite, app-b2.sqlite"));
  std::filesystem::remove(folder.path() / "schema.sql");
  EXPECT_THROW(folder.Spec(), Error);
}

TEST(Folders, AreToldOfWhenTheyAreReachedByAnotherPath) {
  Folder folder("CREATE TABLE t(id INTEGER PRIMARY KEY)",
                "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT)");
  ExpectOk(folder.Run(Phase::kPrepare));
  const auto link = folder.path().parent_path() / "elsewhere" / folder.path().filename();
  std::filesystem::create_directory(link.parent_path());
  std::filesystem::create_directory_symlink(folder.path(), link);
  folder.options["dir"] = link.string();
  const core::PhaseOutcome outcome = folder.Run(Phase::kDrain);
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("reached by another path"));
  folder.options["dir"] = folder.path().string();
  ExpectOk(folder.Run(Phase::kVerify));
}

TEST(Folders, DoNotTakeARetiredFileForTheOneInService) {
  const std::string first = std::string(kThings) + "; -- first\n";
  Folder folder(kThings, first);
  std::filesystem::remove(folder.old_file());
  Init(folder.Spec());
  const std::string retired = folder.new_file().string();
  folder.New()->Execute("INSERT INTO things VALUES (1, 'a')");
  folder.WriteSchema(kThingsToo);
  ExpectOk(folder.Run(Phase::kVerify));
  ExpectOk(folder.Cleanup());
  folder.WriteSchema(first);  // put back: the file of that name is dead
  ASSERT_EQ(folder.new_file().string(), retired);
  EXPECT_THAT(Refusals(folder.Plan()), HasSubstr("retired by a later cutover; move it away"));
  EXPECT_EQ(folder.Run(Phase::kVerify).kind, Kind::kRefused);
  EXPECT_EQ(folder.Status().of_strategy.in_service, core::Owner::kOld);
  EXPECT_THAT(folder.Status().of_strategy.detail, HasSubstr("retired by a later cutover"));
  std::filesystem::rename(retired, folder.path() / "aside.bak");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT id, name FROM things"), std::vector<std::string>{"i1|ta|"});
}

// A stray copy of the old file made `reset` remove the new one, and leave the old one draining.
TEST(Folders, AreNotResetWhenTheOldFileIsNotKnown) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo);
  ExpectOk(folder.Run(Phase::kDrain));
  const auto stray = folder.path() / "app-backup.sqlite";
  std::filesystem::copy_file(folder.old_file(), stray);
  const core::PhaseOutcome outcome = folder.Reset();
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("more than one file could be the old one"));
  EXPECT_TRUE(std::filesystem::exists(folder.new_file()));
  std::filesystem::remove(stray);
  ExpectOk(folder.Reset());
  folder.Write("INSERT INTO things VALUES (2, 'b')");
}

// The unfinished new file was taken for another old one, and `reset` did nothing and said "done".
TEST(Folders, GiveUpWhatWasBegunForASchemaThatWasEditedMeanwhile) {
  for (const Phase before : {Phase::kPrepare, Phase::kDrain}) {
    Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo);
    ExpectOk(folder.Run(before));
    const auto unfinished = folder.new_file();
    folder.WriteSchema("CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT, edited INT)");
    EXPECT_THAT(Refusals(folder.Plan()), HasSubstr("for another new file: " + unfinished.string()));
    EXPECT_THAT(folder.Status().of_strategy.detail, HasSubstr("for another new file"));
    const core::PhaseOutcome outcome = folder.Reset();
    ExpectOk(outcome);
    EXPECT_THAT(outcome.message, HasSubstr("removed the new file " + unfinished.string()));
    EXPECT_FALSE(std::filesystem::exists(unfinished));
    folder.Write("INSERT INTO things VALUES (2, 'b')");
    ExpectOk(folder.Run(Phase::kVerify));
  }
}

TEST(Folders, PassOverARetiredFileThatWasNotCleanedUp) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo);
  ExpectOk(folder.Run(Phase::kVerify));
  folder.WriteSchema("CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT, n INT, z TEXT)");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT id, name FROM things"), std::vector<std::string>{"i1|ta|"});
}

// What is recorded for another new file is given up with it; a live engine works on that.
TEST(Folders, DoNotGiveUpWhatAnotherProcessWorksOn) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo);
  core::PhaseOutcome reset;
  OnPoint probe("copy.before_commit", [&] {
    const std::string before = ReadFile(folder.path() / "schema.sql");
    folder.WriteSchema("CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT, edited INT)");
    reset = folder.Reset();
    folder.WriteSchema(before);
  });
  ExpectOk(folder.Run(Phase::kPrepare, &probe));
  EXPECT_EQ(reset.kind, Kind::kRefused);
  EXPECT_THAT(reset.message, HasSubstr("another process works on"));
  ExpectOk(folder.Run(Phase::kVerify));
}

// Which new file is whose: what another migration records is not given up with a stale copy.
TEST(Folders, LeaveTheRecordingOfAnotherMigrationAlone) {
  Folder folder(std::string(kThings) + "; INSERT INTO things VALUES (1, 'a')", kThingsToo);
  ExpectOk(folder.RunInto("one.db", Phase::kSync));
  const auto aside = folder.path() / "aside.db";
  std::filesystem::rename(folder.path() / "one.db", aside);
  ExpectOk(folder.ResetInto("one.db"));
  ExpectOk(folder.RunInto("two.db", Phase::kSync));
  std::filesystem::rename(aside, folder.path() / "one.db");
  const core::PhaseOutcome reset = folder.ResetInto("one.db");
  ExpectOk(reset);
  EXPECT_THAT(reset.message, HasSubstr("the old file is left alone"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "one.db"));
  folder.Write("INSERT INTO things VALUES (2, 'b')");
  ExpectOk(folder.RunInto("two.db", Phase::kVerify));
}

TEST(Folders, AreInitialisedFromTheSchemaAlone) {
  Folder folder(kThings,
                std::string(kThingsToo) +
                    "; INSERT INTO things VALUES (1, 'seed', 0); "
                    "CREATE INDEX i ON things(name);"
                    "CREATE TRIGGER t AFTER INSERT ON things BEGIN DELETE FROM things; END");
  EXPECT_THROW(Init(folder.Spec()), Error);  // there is an old file
  std::filesystem::remove(folder.old_file());
  const auto file = Init(folder.Spec());
  EXPECT_EQ(Rows(*folder.New(), "SELECT * FROM things"), std::vector<std::string>{"i1|tseed|i0|"});
  EXPECT_EQ(Rows(*folder.New(), "SELECT name FROM sqlite_schema ORDER BY 1"),
            (std::vector<std::string>{"t_migration_status|", "t_schema_identity|", "ti|", "tt|",
                                      "tthings|"}));
  EXPECT_THROW(Init(folder.Spec()), Error);
  EXPECT_EQ(folder.Run(Phase::kPrepare).kind, Kind::kNothing);
  EXPECT_EQ(folder.Status().of_strategy.in_service, core::Owner::kNew);
}

TEST(Folders, AreServedFromTheNewFileWhenTheOldOneIsArchived) {
  Folder folder(kThings, kThingsToo);
  ExpectOk(folder.Run(Phase::kVerify));
  std::filesystem::rename(folder.old_file(), folder.path() / "archived.bak");
  EXPECT_EQ(folder.Status().of_strategy.in_service, core::Owner::kNew);
  EXPECT_THAT(folder.Status().of_strategy.detail, HasSubstr("old: n/a"));
  ExpectOk(folder.Cleanup());
  EXPECT_EQ(folder.Reset().kind, Kind::kRefused);
  EXPECT_TRUE(std::filesystem::exists(folder.new_file()));
}

}  // namespace
}  // namespace understudy::hot_copy
