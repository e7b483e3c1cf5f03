// Keys that the two files compare differently, and references that are written unlike their keys.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/hot_copy/support.h"

namespace understudy::hot_copy {
namespace {
using core::Phase;
using ::testing::HasSubstr;

void ExpectOk(const core::PhaseOutcome& outcome) {
  ASSERT_TRUE(outcome.ok()) << core::OutcomeName(outcome.kind) << ": " << outcome.message;
}

struct Keys {
  const char* name;
  std::string old_table;  // with columns k and v, and `u` where it has one
  std::string new_table;
  std::string rows;
  std::string tail;
  std::string as = "";  // how the new file's key is compared with the old one's
};
void PrintTo(const Keys& keys, std::ostream* out) { *out << keys.name; }

class KeysOf : public ::testing::TestWithParam<std::tuple<Keys, bool>> {};

// hard-case 88: a key that came and went takes no other row with it
TEST_P(KeysOf, TakeNoOtherRowWithThem) {
  const auto& [c, triggers] = GetParam();
  Folder folder("CREATE TABLE t" + c.old_table + "; INSERT INTO t VALUES " + c.rows,
                "CREATE TABLE t" + c.new_table + "; CREATE TABLE more(x)");
  folder.options["triggers_on_replay"] = triggers;
  ExpectOk(folder.Run(triggers ? Phase::kSync : Phase::kPrepare));
  folder.Write(c.tail);
  ExpectOk(folder.Run(Phase::kVerify));
  const std::string order = " FROM t ORDER BY v";
  EXPECT_EQ(Rows(*folder.Old(), "SELECT " + (c.as.empty() ? "k" : c.as) + ", v" + order),
            Rows(*folder.New(), "SELECT k, v" + order));
}

INSTANTIATE_TEST_SUITE_P(
    Tables, KeysOf,
    ::testing::Combine(
        ::testing::Values(
            Keys{"NocaseOverBinary", "(k TEXT PRIMARY KEY, v)",
                 "(k TEXT COLLATE NOCASE PRIMARY KEY, v)", "('k1', 1), ('k2', 2)",
                 "INSERT INTO t VALUES ('K1', 9); DELETE FROM t WHERE k = 'K1'; UPDATE t SET v = 3 "
                 "WHERE k = 'k2'"},
            Keys{"RtrimOverBinary", "(k TEXT PRIMARY KEY, v)",
                 "(k TEXT COLLATE RTRIM PRIMARY KEY, v)", "('k1', 1), ('k2', 2)",
                 "INSERT INTO t VALUES ('k1  ', 9); DELETE FROM t WHERE k = 'k1  '"},
            Keys{"NocaseOverBinaryWithoutRowid", "(k TEXT PRIMARY KEY, v) WITHOUT ROWID",
                 "(k TEXT COLLATE NOCASE PRIMARY KEY, v) WITHOUT ROWID", "('k1', 1), ('k2', 2)",
                 "INSERT INTO t VALUES ('K1', 9); DELETE FROM t WHERE k = 'K1'"},
            Keys{"OfTwoColumns", "(k TEXT, n INT, v, PRIMARY KEY (k, n)) WITHOUT ROWID",
                 "(k TEXT COLLATE NOCASE, n INT, v, PRIMARY KEY (k, n)) WITHOUT ROWID",
                 "('k1', 1, 1), ('k1', 2, 2)",
                 "INSERT INTO t VALUES ('K1', 1, 9); DELETE FROM t WHERE k = 'K1'"},
            Keys{"BinaryOverNocase", "(k TEXT COLLATE NOCASE PRIMARY KEY, v)",
                 "(k TEXT PRIMARY KEY, v)", "('k1', 1), ('k2', 2)",
                 "UPDATE t SET k = 'K1' WHERE v = 1; REPLACE INTO t VALUES ('K2', 4)"},
            Keys{"BinaryAmongNocase",
                 "(k TEXT COLLATE NOCASE, v, PRIMARY KEY (k COLLATE BINARY)) WITHOUT ROWID",
                 "(k TEXT COLLATE NOCASE, v, PRIMARY KEY (k COLLATE BINARY)) WITHOUT ROWID",
                 "('k1', 1), ('K1', 2)",
                 "UPDATE t SET v = 3 WHERE v = 1; INSERT INTO t VALUES ('k2', 4), ('K2', 5);"
                 "DELETE FROM t WHERE v = 4"},
            Keys{"IntegerOverText", "(k TEXT NOT NULL PRIMARY KEY, v)",
                 "(k INTEGER PRIMARY KEY, v)", "('1', 1), ('2', 2)",
                 "INSERT INTO t VALUES ('01', 9); DELETE FROM t WHERE k = '01'; UPDATE t SET v = 3 "
                 "WHERE k = '2'; INSERT INTO t VALUES ('7', 7)",
                 "CAST(k AS INTEGER)"},
            Keys{"NumericOverText", "(k TEXT NOT NULL PRIMARY KEY, v)",
                 "(k NUMERIC PRIMARY KEY, v) WITHOUT ROWID", "('1', 1), ('2', 2), ('x', 5)",
                 "INSERT INTO t VALUES ('1.0', 9); DELETE FROM t WHERE k = '1.0'; UPDATE t SET v = "
                 "3 WHERE k = '2'; UPDATE t SET v = 6 WHERE k = 'x'",
                 "CASE k WHEN 'x' THEN k ELSE CAST(k AS INTEGER) END"},
            Keys{"IntegerOverAnything", "(k NOT NULL PRIMARY KEY, v)", "(k INTEGER PRIMARY KEY, v)",
                 "(1, 1), (2, 2)",
                 "INSERT INTO t VALUES ('1', 9); DELETE FROM t WHERE typeof(k) = 'text'; UPDATE t "
                 "SET k = 2.0 WHERE k = 2; UPDATE t SET k = 3 WHERE k = 2"},
            Keys{"TextOverAnything", "(k NOT NULL PRIMARY KEY, v)", "(k TEXT PRIMARY KEY, v)",
                 "('1', 1), ('a', 2)",
                 "INSERT INTO t VALUES (1, 9); DELETE FROM t WHERE typeof(k) = 'integer'; UPDATE t "
                 "SET k = 'b' WHERE k = 'a'"},
            Keys{"TextOverInteger", "(k INT NOT NULL PRIMARY KEY, v)", "(k TEXT PRIMARY KEY, v)",
                 "(1, 1), (1.5, 2), ('a', 3)",
                 "UPDATE t SET v = v + 10; INSERT INTO t VALUES (7, 7); DELETE FROM t WHERE k = 1; "
                 "UPDATE t SET k = 2 WHERE k = 1.5",
                 "CAST(k AS TEXT)"},
            Keys{"AnotherUniqueColumn", "(k INTEGER PRIMARY KEY, u TEXT UNIQUE, v)",
                 "(k INTEGER PRIMARY KEY, u TEXT COLLATE NOCASE UNIQUE, v)",
                 "(1, 'a', 1), (2, 'b', 2)",
                 "INSERT INTO t VALUES (3, 'A', 9); DELETE FROM t WHERE k = 3; UPDATE t SET u = "
                 "'B' WHERE k = 2"}),
        ::testing::Bool()),
    [](const auto& row) {
      return std::string(std::get<0>(row.param).name) +
             (std::get<1>(row.param) ? "WithTriggers" : "");
    });

TEST(SeedKeys, GiveWayToTheirLikeAndToNoOther) {
  Folder folder(
      "CREATE TABLE t(k TEXT NOT NULL PRIMARY KEY, v); INSERT INTO t VALUES ('admin', 1), ('x', 2)",
      "CREATE TABLE t(k TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, v);"
      "INSERT INTO t VALUES ('Admin', 'seed'), ('User', 'seed'), ('Guest', 'seed')");
  ExpectOk(folder.Run(Phase::kPrepare));
  folder.Write(
      "INSERT INTO t VALUES ('USER', 3), ('ADMIN', 9); DELETE FROM t WHERE k = 'ADMIN';"
      "UPDATE t SET v = 4 WHERE k = 'x'");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT k, v FROM t ORDER BY k"),
            (std::vector<std::string>{"tadmin|i1|", "tGuest|tseed|", "tUSER|i3|", "tx|i4|"}));
}

// hard-case 88: the key of a live row is a reference that was translated
TEST(SeedKeys, LeaveTheChildrenOfAParentThatGaveWay) {
  Folder folder(
      "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT);"
      "CREATE TABLE c(p INTEGER NOT NULL REFERENCES p, k TEXT NOT NULL, v, PRIMARY KEY (p, k));"
      "INSERT INTO p VALUES (1, 'one'); INSERT INTO c VALUES (1, 'admin', 1)",
      "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT);"
      "CREATE TABLE c(p INTEGER NOT NULL REFERENCES p, k TEXT COLLATE NOCASE NOT NULL, v, "
      "PRIMARY KEY (p, k));"
      "INSERT INTO p VALUES (1, 'seed'); INSERT INTO c VALUES (1, 'Seed', 0)");
  ExpectOk(folder.Run(Phase::kSync));
  folder.Write("INSERT INTO c VALUES (1, 'ADMIN', 9); DELETE FROM c WHERE k = 'ADMIN'");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT p.name, k, v FROM c JOIN p ON p.id = c.p ORDER BY k"),
            (std::vector<std::string>{"tone|tadmin|i1|", "tseed|tSeed|i0|"}));
}

struct Clash {
  const char* name;
  std::string old_key;
  std::string new_key;
  std::string keys[2];
  std::string told;
};
void PrintTo(const Clash& clash, std::ostream* out) { *out << clash.name; }

class ClashOf : public ::testing::TestWithParam<Clash> {};

// hard-case 88: two rows that the new table takes for one are told of, and none is lost
TEST_P(ClashOf, OfTwoRowsIsToldOfAndCanBePutRight) {
  const Clash& c = GetParam();
  const auto row = [&](int at) {
    return "INSERT INTO t VALUES (" + c.keys[at] + ", " + std::to_string(at) + ")";
  };
  for (const bool later : {false, true}) {
    Folder folder("CREATE TABLE t(k " + c.old_key + ", v); " + row(0) + (later ? "" : ";" + row(1)),
                  "CREATE TABLE t(k " + c.new_key + ", v); CREATE TABLE more(x)");
    if (later) {
      ExpectOk(folder.Run(Phase::kSync));
      folder.Write(row(1));
    }
    const core::PhaseOutcome outcome = folder.Run(Phase::kVerify);
    EXPECT_EQ(outcome.kind, core::PhaseOutcome::Kind::kFailed);
    EXPECT_THAT(outcome.message, HasSubstr(c.told));
    EXPECT_THAT(outcome.message, HasSubstr("Production is unchanged"));
    folder.Write("DELETE FROM t WHERE v = 1");
    ExpectOk(folder.Run(Phase::kVerify));
    EXPECT_EQ(Rows(*folder.New(), "SELECT v FROM t"), std::vector<std::string>{"i0|"});
  }
}

INSTANTIATE_TEST_SUITE_P(
    Tables, ClashOf,
    ::testing::Values(Clash{"ByCase",
                            "TEXT PRIMARY KEY",
                            "TEXT COLLATE NOCASE PRIMARY KEY",
                            {"'k1'", "'K1'"},
                            "rows of the old table t do not fit the new table t: "},
                      Clash{"ByNumber",
                            "TEXT NOT NULL PRIMARY KEY",
                            "INTEGER PRIMARY KEY",
                            {"'1'", "'01'"},
                            "the key '01' of t would be another value"},
                      Clash{"ByText",
                            "NOT NULL PRIMARY KEY",
                            "TEXT PRIMARY KEY",
                            {"'1'", "1"},
                            "the key 1 of t would be another value"},
                      Clash{"ByDigits",
                            "REAL NOT NULL PRIMARY KEY",
                            "TEXT PRIMARY KEY",
                            {"0.5", "0.30000000000000004"},
                            "the key 3.0"}),
    [](const auto& row) { return std::string(row.param.name); });

struct Child {
  const char* name;
  std::string old_parent;
  std::string new_parent;
  std::string parents;  // key, name
  std::string old_child;
  std::string new_child;
  std::string children;  // id, reference
  std::string more_parents;
  std::string more_children;
};
void PrintTo(const Child& child, std::ostream* out) { *out << child.name; }

class ChildOf : public ::testing::TestWithParam<Child> {};

// hard-case 89: a foreign key compares by the parent's affinity and collation
TEST_P(ChildOf, FindsItsParentAsAForeignKeyDoes) {
  const Child& c = GetParam();
  for (const bool late : {false, true}) {
    Folder folder("CREATE TABLE p(" + c.old_parent + "); CREATE TABLE c(" + c.old_child +
                      "); INSERT INTO p VALUES " + c.parents + "; INSERT INTO c VALUES " +
                      c.children,
                  "CREATE TABLE p(" + c.new_parent + "); CREATE TABLE c(" + c.new_child +
                      "); CREATE TABLE more(x); INSERT INTO p(id, name) VALUES (1, 'seed')");
    ExpectOk(folder.Run(late ? Phase::kSync : Phase::kPrepare));
    folder.Write("INSERT INTO p VALUES " + c.more_parents + "; INSERT INTO c VALUES " +
                 c.more_children + "; UPDATE c SET note = 'changed' WHERE id IN (1, 2, '1', '2')");
    ExpectOk(folder.Run(Phase::kVerify));
    const std::string key = c.old_parent.substr(0, c.old_parent.find(' '));
    const auto sql = [](const std::string& id) {
      return "SELECT p.name, c.note, c.what FROM c LEFT JOIN p ON p." + id +
             " = +c.p ORDER BY c.what";
    };
    const auto expected = Rows(*folder.Old(), sql(key));
    EXPECT_GE(expected.size(), 4U);
    EXPECT_EQ(expected, Rows(*folder.New(), sql("id")));
  }
}

constexpr const char* kSeeded = "id INTEGER PRIMARY KEY, name TEXT";
constexpr const char* kRest = ", note TEXT, what INT";
std::string ChildWith(const std::string& reference) {
  return "id INTEGER PRIMARY KEY, p " + reference + kRest;
}
INSTANTIATE_TEST_SUITE_P(
    References, ChildOf,
    ::testing::Values(Child{"TextToANumberThatGaveWay", kSeeded, kSeeded, "(1, 'one'), (2, 'two')",
                            ChildWith("TEXT REFERENCES p"), ChildWith("INTEGER REFERENCES p"),
                            "(1, '1', '', 1), (2, '2', '', 2), (3, '01', '', 3)", "(7, 'seven')",
                            "(4, '1', '', 4), (5, '7', '', 5), (6, NULL, '', 6)"},
                      Child{"TextThatStaysText", kSeeded, kSeeded, "(1, 'one'), (2, 'two')",
                            ChildWith("TEXT REFERENCES p"), ChildWith("TEXT REFERENCES p"),
                            "(1, '1', '', 1), (2, '2', '', 2)", "(7, 'seven')",
                            "(4, '1', '', 4), (5, '7', '', 5)"},
                      Child{"AnythingToANumber", kSeeded, kSeeded, "(1, 'one'), (2, 'two')",
                            ChildWith("REFERENCES p"), ChildWith("INTEGER REFERENCES p"),
                            "(1, 1, '', 1), (2, '2', '', 2), (3, 1.0, '', 3)", "(7, 'seven')",
                            "(4, '1', '', 4), (5, '7', '', 5)"},
                      Child{"NumberToAnAssignedText", "code TEXT NOT NULL PRIMARY KEY, name TEXT",
                            kSeeded, "('10', 'one'), ('20', 'two')",
                            ChildWith("INTEGER REFERENCES p"), ChildWith("INTEGER REFERENCES p"),
                            "(1, 10, '', 1), (2, 20, '', 2)", "('70', 'seven')",
                            "(4, 10, '', 4), (5, 70, '', 5)"},
                      Child{"AnotherCaseOfAnAssignedText",
                            "code TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, name TEXT", kSeeded,
                            "('ten', 'one'), ('Two', 'two')", ChildWith("TEXT REFERENCES p"),
                            ChildWith("INTEGER REFERENCES p"),
                            "(1, 'TEN', '', 1), (2, 'two', '', 2)", "('Seven', 'seven')",
                            "(4, 'Ten', '', 4), (5, 'seven', '', 5)"}),
    [](const auto& row) { return std::string(row.param.name); });

// hard-case 89: a key that is a reference at the same time goes with its parent
TEST(ChildKeys, FollowTheirParents) {
  for (const bool late : {false, true}) {
    Folder folder(
        "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT);"
        "CREATE TABLE c(id INTEGER PRIMARY KEY REFERENCES p, note TEXT);"
        "INSERT INTO p VALUES (1, 'one'), (2, 'two'), (3, 'three');"
        "INSERT INTO c VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT);"
        "CREATE TABLE c(id INTEGER PRIMARY KEY REFERENCES p, note TEXT); CREATE TABLE more(x);"
        "INSERT INTO p VALUES (1, 'seed')");
    ExpectOk(folder.Run(late ? Phase::kSync : Phase::kPrepare));
    folder.Write(
        "UPDATE c SET note = 'changed' WHERE id IN (1, 2); DELETE FROM c WHERE id = 3;"
        "INSERT INTO p VALUES (7, 'seven'); INSERT INTO c VALUES (7, 'd')");
    ExpectOk(folder.Run(Phase::kVerify));
    const char* sql = "SELECT p.name, c.note FROM c LEFT JOIN p USING (id) ORDER BY c.note, p.name";
    EXPECT_EQ(Rows(*folder.Old(), sql), Rows(*folder.New(), sql));
  }
}

constexpr const char* kManyRows =
    "WITH RECURSIVE s(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM s WHERE i < 12000) "
    "INSERT INTO z SELECT i, i FROM s;";
constexpr const char* kLog = "CREATE TABLE z(id INTEGER PRIMARY KEY, v);";

// hard-case 89: the log is read up to between a child and its parent, which gives way to a seed
TEST(ChildKeys, FollowParentsOfALaterPartOfTheLog) {
  const std::string tables = std::string(kLog) +
                             "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT);"
                             "CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p);";
  for (const Phase begun : {Phase::kPrepare, Phase::kSync}) {
    Folder folder(tables + "INSERT INTO p VALUES (50, 'a'); INSERT INTO c VALUES (1, 50)",
                  tables + "CREATE TABLE more(x); INSERT INTO p VALUES (1, 'seed')");
    ExpectOk(folder.Run(begun));
    folder.Write(std::string("BEGIN; INSERT INTO c VALUES (2, 1);") + kManyRows +
                 "INSERT INTO p VALUES (1, 'mine'); COMMIT");
    ExpectOk(folder.Run(Phase::kVerify));
    EXPECT_EQ(Rows(*folder.New(), "SELECT c.id, p.name FROM c JOIN p ON p.id = c.p ORDER BY 1"),
              (std::vector<std::string>{"i1|ta|", "i2|tmine|"}));
  }
}

// hard-case 89: the same, where the parent is the seed
TEST(ChildKeys, FollowParentsThatAreFoundToBeSeeds) {
  Folder folder(std::string(kLog) +
                    "CREATE TABLE p(code TEXT NOT NULL PRIMARY KEY, name TEXT UNIQUE);"
                    "CREATE TABLE c(id INTEGER PRIMARY KEY, p TEXT REFERENCES p);"
                    "INSERT INTO p VALUES ('q', 'a'); INSERT INTO c VALUES (1, 'q')",
                std::string(kLog) +
                    "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT UNIQUE);"
                    "CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p);"
                    "INSERT INTO p VALUES (1, 'admin')");
  ExpectOk(folder.Run(Phase::kSync));
  folder.Write(std::string("BEGIN; INSERT INTO c VALUES (2, 'r');") + kManyRows +
               "INSERT INTO p VALUES ('r', 'admin'); COMMIT");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT c.id, p.name FROM c JOIN p ON p.id = c.p ORDER BY 1"),
            (std::vector<std::string>{"i1|ta|", "i2|tadmin|"}));
}

// hard-case 89: with foreign keys off, a child may be there long before its parent
TEST(ChildKeys, ThatWentOverBeforeTheirParentAreToldOf) {
  const std::string tables =
      "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT);"
      "CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p, note TEXT);";
  Folder folder(tables + "INSERT INTO p VALUES (50, 'a'); INSERT INTO c VALUES (1, 50, '')",
                tables + "CREATE TABLE more(x); INSERT INTO p VALUES (1, 'seed')");
  ExpectOk(folder.Run(Phase::kSync));
  folder.Write("INSERT INTO c VALUES (2, 1, '')");
  ExpectOk(folder.Run(Phase::kSync));
  folder.Write("INSERT INTO p VALUES (1, 'mine')");
  const core::PhaseOutcome outcome = folder.Run(Phase::kVerify);
  EXPECT_EQ(outcome.kind, core::PhaseOutcome::Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("the row 2 of c refers to a row of p that was written"));
  folder.Write("UPDATE c SET note = note WHERE id = 2");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT c.id, p.name FROM c JOIN p ON p.id = c.p ORDER BY 1"),
            (std::vector<std::string>{"i1|ta|", "i2|tmine|"}));
}

// A row that is in the new file under its own key cannot become a seed any more
TEST(SeedKeys, AreNotGivenToARowThatHasItsOwn) {
  const std::string tables =
      "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE);"
      "CREATE TABLE c(id INTEGER PRIMARY KEY, t INTEGER REFERENCES t);";
  Folder folder(tables + "INSERT INTO t VALUES (7, 'x'), (8, 'y'); INSERT INTO c VALUES (1, 7)",
                tables + "CREATE TABLE more(x); INSERT INTO t VALUES (1, 'admin')");
  ExpectOk(folder.Run(Phase::kSync));
  folder.Write("UPDATE t SET name = 'admin' WHERE id = 7");
  const core::PhaseOutcome outcome = folder.Run(Phase::kVerify);
  EXPECT_EQ(outcome.kind, core::PhaseOutcome::Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("rows of the old table t do not fit the new table t"));
  folder.Write("UPDATE t SET name = 'z' WHERE id = 7");
  ExpectOk(folder.Run(Phase::kVerify));
  EXPECT_EQ(Rows(*folder.New(), "SELECT t.id, t.name FROM t ORDER BY 1"),
            (std::vector<std::string>{"i1|tadmin|", "i7|tz|", "i8|ty|"}));
}

// hard-case 89: a parent's key is written in another way, and its children are not
TEST(ChildKeys, FollowAParentWhoseKeyIsSpelledAnew) {
  for (const char* reference : {"", " REFERENCES p"}) {
    for (const Phase begun : {Phase::kPrepare, Phase::kSync}) {
      Folder folder(
          "CREATE TABLE p(code TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, name TEXT);"
          "CREATE TABLE c(id INTEGER PRIMARY KEY, p TEXT REFERENCES p);"
          "INSERT INTO p VALUES ('ten', 'one'), ('two', 'b');"
          "INSERT INTO c VALUES (1, 'TEN'), (2, 'two')",
          std::string("CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT);"
                      "CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER") +
              reference + ")");
      ExpectOk(folder.Run(begun));
      folder.Write(
          "UPDATE p SET code = 'Ten' WHERE code = 'ten'; UPDATE p SET name = 'c' "
          "WHERE code = 'two'");
      ExpectOk(folder.Run(Phase::kVerify));
      EXPECT_EQ(Rows(*folder.New(), "SELECT c.id, p.name FROM c JOIN p ON p.id = c.p ORDER BY 1"),
                (std::vector<std::string>{"i1|tone|", "i2|tc|"}));
      EXPECT_EQ(Rows(*folder.New(), "SELECT count(*) FROM p"), std::vector<std::string>{"i2|"});
    }
  }
}

// A child that is replayed long before the spelling was would give its parent a second key.
TEST(ChildKeys, FollowAParentThatIsSpelledAnewMuchLater) {
  for (const Phase begun : {Phase::kPrepare, Phase::kSync}) {
    Folder folder(
        "CREATE TABLE p(code TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, name TEXT);"
        "CREATE TABLE c(id INTEGER PRIMARY KEY, p TEXT REFERENCES p);"
        "INSERT INTO p VALUES ('ten', 'one'), ('two', 'b'); INSERT INTO c VALUES (1, 'TEN')",
        "CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT);"
        "CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER)");
    ExpectOk(folder.Run(begun));
    folder.Write(
        "BEGIN; INSERT INTO c VALUES (2, 'tEN');"
        "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) "
        "INSERT INTO c SELECT i, 'two' FROM n;"
        "UPDATE p SET code = 'Ten' WHERE code = 'ten'; COMMIT");
    ExpectOk(folder.Run(Phase::kVerify));
    EXPECT_EQ(Rows(*folder.New(), "SELECT count(*) FROM p"), std::vector<std::string>{"i2|"});
    EXPECT_EQ(Rows(*folder.New(), "SELECT c.id FROM c JOIN p ON p.id = c.p WHERE p.name = 'one'"),
              (std::vector<std::string>{"i1|", "i2|"}));
  }
}

}  // namespace
}  // namespace understudy::hot_copy
