#include "harness/compare/stored_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/file.h"
#include "harness/compare/digest.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// Two moments of one database.
class Moments {
 public:
  explicit Moments(bool postgres) {
    if (postgres) database_.emplace();
  }
  const Moments& Run(const std::string& sql) const {
    database_ ? database_->Run(sql) : sqlite_.Run(sql);
    return *this;
  }
  std::filesystem::path Store(const std::string& name, std::int64_t most = 1000) const {
    const db::Endpoint endpoint = database_ ? database_->endpoint() : sqlite_.endpoint();
    Snapshot digested;
    digested.engine = db::EngineName(endpoint.engine());
    DigestTables(endpoint, 1, digested);
    StoreRows(endpoint, digested, folder_.path() / name, {}, most);
    return folder_.path() / name;
  }

 private:
  TemporaryFolder folder_{"us-stored"};
  std::optional<testing::Database> database_;
  testing::SqliteFile sqlite_;
};

const TableComparison& Table(const Comparison& comparison, const std::string& name) {
  for (const TableComparison& table : comparison.tables) {
    if (table.table.ends_with("." + name)) return table;
  }
  throw std::out_of_range(name);
}

class StoredRows : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) NEED_POSTGRES();
  }
};

constexpr const char* kRows =
    "CREATE TABLE t (a integer NOT NULL, b varchar(9) NOT NULL, c numeric, d text, PRIMARY KEY "
    "(a, b));"
    "INSERT INTO t VALUES (1, 'x', 1.5, 'one'), (1, 'y', NULL, 'two'), (2, '', 2, NULL);"
    "CREATE TABLE u (n integer, s text); INSERT INTO u VALUES (1, 'x'), (1, 'x'), (2, NULL);";

TEST_P(StoredRows, OfTwoLikeMomentsAreEqual) {
  const Moments m(GetParam());
  m.Run(kRows);
  const auto left = m.Store("left");
  m.Run("UPDATE t SET d = d; ALTER TABLE t ADD COLUMN e integer; UPDATE t SET e = a");
  CompareOptions options;
  options.common_columns = true;
  const Comparison comparison = CompareStoredRows(left, m.Store("right"), options);
  EXPECT_EQ(comparison.result, CompareResult::kEqual) << comparison.ToJson().dump(1);
  EXPECT_EQ(comparison.rows_compared, 6);
  EXPECT_THAT(comparison.not_checked.dump(), HasSubstr("t.e"));
}

TEST_P(StoredRows, NameEveryRowAndColumnThatDiffers) {
  const Moments m(GetParam());
  m.Run(kRows);
  const auto left = m.Store("left");
  m.Run(
      "UPDATE t SET c = 0, d = '' WHERE b = 'y'; UPDATE t SET d = '' WHERE a = 2;"
      "DELETE FROM t WHERE b = 'x'; INSERT INTO t VALUES (7, 'z', 1, '');"
      "UPDATE u SET s = '' WHERE n = 2");
  const Comparison comparison = CompareStoredRows(left, m.Store("right"), {});
  EXPECT_EQ(comparison.result, CompareResult::kDifferent);
  const TableComparison& t = Table(comparison, "t");
  EXPECT_EQ(t.missing, 1);
  EXPECT_EQ(t.extra, 1);
  EXPECT_EQ(t.changed, 2);
  EXPECT_THAT(t.columns, UnorderedElementsAre(Pair("c", 1), Pair("d", 2)));
  std::map<std::string, Json> keys;
  for (const RowDifference& one : t.differences) keys[one.kind + one.key["b"].dump()] = one.key;
  EXPECT_EQ(keys["missing\"x\""], Json({{"a", "1"}, {"b", "x"}}));
  EXPECT_EQ(keys["extra\"z\""], Json({{"a", "7"}, {"b", "z"}}));
  EXPECT_TRUE(keys.contains("changed\"y\""));
  const TableComparison& u = Table(comparison, "u");  // by copies
  EXPECT_EQ(u.missing, 1);
  EXPECT_EQ(u.extra, 1);
}

// hard-case 65: one copy of two is no copy too few of nothing.
TEST_P(StoredRows, CountTheCopiesOfRowsWithoutAKey) {
  const Moments m(GetParam());
  m.Run(kRows);
  const auto left = m.Store("left");
  m.Run("INSERT INTO u VALUES (1, 'x'), (1, 'x')");
  const Comparison comparison = CompareStoredRows(left, m.Store("right"), {});
  EXPECT_EQ(Table(comparison, "u").extra, 2);
  EXPECT_EQ(Table(comparison, "t").result, CompareResult::kEqual);
  // Which of them clients wrote, nobody can tell.
  const Comparison written =
      CompareStoredRows(left, m.Store("again"), {}, [](const std::string&) { return true; });
  EXPECT_EQ(Table(written, "u").result, CompareResult::kUnknown);
}

TEST_P(StoredRows, LeaveOutTheRowsThatAreExplained) {
  const Moments m(GetParam());
  m.Run(kRows);
  const auto left = m.Store("left");
  m.Run("UPDATE t SET d = 'new'");
  CompareOptions options;
  options.explained = [](const std::string&, const Json& key, const std::string& kind) {
    return kind == "changed" && key == Json({{"a", "1"}, {"b", "x"}});
  };
  EXPECT_EQ(Table(CompareStoredRows(left, m.Store("right"), options), "t").changed, 2);
}

TEST_P(StoredRows, OfALongTableAreDigestsAlone) {
  const Moments m(GetParam());
  m.Run(kRows);
  const auto left = m.Store("left", 2);
  const auto same = CompareStoredRows(left, m.Store("same", 2), {});
  EXPECT_EQ(same.result, CompareResult::kEqual);
  m.Run("UPDATE t SET d = 'new' WHERE a = 2");
  const auto right = m.Store("right", 2);
  const Comparison different = CompareStoredRows(left, right, {});
  EXPECT_EQ(Table(different, "t").result, CompareResult::kDifferent);
  EXPECT_THAT(Table(different, "t").why, HasSubstr("d"));
  const Comparison written = CompareStoredRows(
      left, right, {}, [](const std::string& name) { return name.ends_with("t"); });
  EXPECT_EQ(written.tables.size(), 1U);  // u
  EXPECT_THAT(written.not_checked.dump(), HasSubstr("more than 2 rows"));
}

TEST_P(StoredRows, FollowAMapAndLeaveOutWhatMayDiffer) {
  const Moments m(GetParam());
  m.Run(kRows);
  const auto left = m.Store("left");
  m.Run("ALTER TABLE t RENAME COLUMN d TO e; UPDATE t SET c = 9");
  CompareOptions options;
  const std::string schema = GetParam() ? "public" : "main";
  options.map = {{schema + ".t.d", schema + ".t.e"}};
  options.ignore = {schema + ".t.c"};
  const Comparison comparison = CompareStoredRows(left, m.Store("right"), options);
  EXPECT_EQ(comparison.result, CompareResult::kEqual) << comparison.ToJson().dump(1);
}

INSTANTIATE_TEST_SUITE_P(Engines, StoredRows, ::testing::Bool(),
                         [](const auto& one) { return one.param ? "Postgres" : "Sqlite"; });

// hard-case 110: what a rewriting migration does to values.
TEST(StoredRowsPostgres, SeeWhatATypeChangeDoesToValues) {
  NEED_POSTGRES();
  const Moments m(true);
  m.Run(
      "CREATE TABLE t (id int PRIMARY KEY, wide int, scale numeric, padded char(4), n int, "
      "f float8, b bytea);"
      "INSERT INTO t VALUES (1, 5, 1.00, 'a', NULL, '-0', '\\x00'), (2, 6, 2.5, 'b', NULL, 1, '')");
  const auto left = m.Store("left");
  m.Run(
      "ALTER TABLE t ALTER id TYPE bigint, ALTER wide TYPE bigint, ALTER scale TYPE numeric(9,1),"
      " ALTER padded TYPE text, ALTER n TYPE text, ALTER b TYPE text USING encode(b, 'hex')");
  m.Run("UPDATE t SET f = 0.0 WHERE id = 1");
  const Comparison comparison = CompareStoredRows(left, m.Store("right"), {});
  // Widened integers and NULLs are the same; a scale, blanks, a sign and another kind are not.
  EXPECT_THAT(Table(comparison, "t").columns,
              UnorderedElementsAre(Pair("scale", 1), Pair("padded", 2), Pair("f", 1), Pair("b", 2)))
      << comparison.ToJson().dump(1);
}

// The storage class is part of SQLite's values.
TEST(StoredRowsSqlite, TellANumberFromItsText) {
  const Moments m(false);
  m.Run("CREATE TABLE t (k PRIMARY KEY NOT NULL, v); INSERT INTO t VALUES (1, 1), ('1', 2)");
  const auto left = m.Store("left");
  EXPECT_EQ(CompareStoredRows(left, m.Store("same"), {}).result, CompareResult::kEqual);
  m.Run("UPDATE t SET v = '1' WHERE v = 1");
  EXPECT_EQ(Table(CompareStoredRows(left, m.Store("right"), {}), "t").changed, 1);
}

}  // namespace
}  // namespace understudy::harness
