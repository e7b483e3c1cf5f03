#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/compare/compare.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using testing::Database;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using testing::SqliteFile;

constexpr std::string_view kPostgres = R"sql(
CREATE TABLE t (id bigint PRIMARY KEY, flag boolean, price numeric(10, 2), ratio double precision,
                name text, code char(4), raw bytea, tag uuid, day date, at timestamp,
                zoned timestamptz, doc jsonb, source json);
INSERT INTO t VALUES
  (1, true, 1.50, 0.1, 'é', 'ab', '\x00ff', '00000000-0000-0000-0000-00000000000a', '2026-01-02',
   '2026-01-02 03:04:05.5', '2026-01-02 03:04:05+00', '{"b": 1, "aa": 2.0}', '{"b":  1}'),
  (2, NULL, 9007199254740993.00 / 100000000000, '-0', '', NULL, '', NULL, NULL, NULL, NULL, NULL, NULL);
)sql";

constexpr std::string_view kSqlite = R"sql(
CREATE TABLE t (id INTEGER PRIMARY KEY, flag INTEGER, price, ratio REAL, name TEXT, code TEXT,
                raw BLOB, tag TEXT, day TEXT, at TEXT, zoned TEXT, doc TEXT, source TEXT);
INSERT INTO t VALUES
  (2, NULL, '90071.99', '-0.0', '', NULL, x'', NULL, NULL, NULL, NULL, NULL, NULL),
  (1, 1, 1.5, 0.1, 'é', 'ab  ', x'00FF', '00000000-0000-0000-0000-00000000000a', '2026-01-02',
   '2026-01-02T03:04:05.500', '2026-01-02T03:04:05Z', '{"aa":2.0,"b":1}', '{"b":  1}');
)sql";

TEST(CompareAcrossEngines, CallsTheSameValuesEqual) {
  NEED_POSTGRES();
  Database left;
  left.Run(kPostgres);
  left.Run("UPDATE t SET ratio = 0 WHERE id = 2");  // SQLite keeps no -0.0 in a REAL column's text
  SqliteFile right;
  right.Run(kSqlite);
  right.Run("UPDATE t SET ratio = 0.0 WHERE id = 2");
  for (const bool turned : {false, true}) {
    const Comparison comparison = turned ? CompareRows(right.endpoint(), left.endpoint(), {})
                                         : CompareRows(left.endpoint(), right.endpoint(), {});
    EXPECT_EQ(comparison.result, CompareResult::kEqual) << comparison.ToJson().dump(2);
    EXPECT_EQ(comparison.rows_compared, 2);
    EXPECT_THAT(comparison.not_checked.dump(), HasSubstr("the scale of numeric"));
  }
}

// hard-case 65, 75, 76, 77, 85, 96, 111
TEST(CompareAcrossEngines, FindsAndNamesEverySingleChange) {
  NEED_POSTGRES();
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"flag", "0"},
      {"flag", "'true'"},
      {"flag", "NULL"},
      {"price", "1.51"},
      {"price", "'x'"},
      {"ratio", "0.1000000000000001"},
      {"name", "'É'"},
      {"name", "'é '"},
      {"name", "NULL"},
      {"name", "CAST(x'C3A900' AS TEXT)"},
      {"code", "'ab'"},
      {"raw", "x'00FE'"},
      {"raw", "'\\x00ff'"},
      {"tag", "'00000000-0000-0000-0000-00000000000b'"},
      {"day", "'2026-01-03'"},
      {"at", "'2026-01-02 03:04:05.51'"},
      {"zoned", "'2026-01-02T03:04:06Z'"},
      {"doc", "'{\"aa\":2,\"b\":1}'"},
      {"doc", "'{'"},
      {"source", "'{\"b\": 1}'"}};
  Database left;
  left.Run(kPostgres);
  left.Run("DELETE FROM t WHERE id = 2");
  for (const auto& [column, value] : changes) {
    SCOPED_TRACE(column + " = " + value);
    SqliteFile right;
    right.Run(kSqlite);
    right.Run("DELETE FROM t WHERE id = 2; UPDATE t SET " + column + " = " + value);
    const Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), {});
    EXPECT_EQ(comparison.result, CompareResult::kDifferent);
    EXPECT_THAT(comparison.tables.at(0).columns, ElementsAre(Pair(column, 1)));
    EXPECT_EQ(comparison.tables.at(0).differences.at(0).key, (Json{{"id", "1"}}));
  }
}

// What has no common form is unknown, never equal, and never called different.
TEST(CompareAcrossEngines, SaysWhatItCannotCompare) {
  NEED_POSTGRES();
  Database left;
  left.Run(
      "CREATE TABLE a (id int PRIMARY KEY, at timestamp);"
      "INSERT INTO a VALUES (1, '2026-01-01');"
      "CREATE TABLE b (id int PRIMARY KEY, r int4range); INSERT INTO b VALUES (1, '[1,2)');"
      "CREATE TABLE c (at timestamp); INSERT INTO c VALUES ('2026-01-01')");
  SqliteFile right;
  right.Run(
      "CREATE TABLE a (id INTEGER PRIMARY KEY, at); INSERT INTO a VALUES (1, 1767225600);"
      "CREATE TABLE b (id INTEGER PRIMARY KEY, r); INSERT INTO b VALUES (1, '[1,2)');"
      "CREATE TABLE c (at); INSERT INTO c VALUES (1767225600)");
  const Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), {});
  EXPECT_EQ(comparison.result, CompareResult::kUnknown);
  for (const TableComparison& table : comparison.tables) {
    EXPECT_EQ(table.result, CompareResult::kUnknown) << table.table;
    EXPECT_NE(table.why, "");
  }
  right.Run("INSERT INTO b VALUES (2, NULL)");
  EXPECT_EQ(CompareRows(left.endpoint(), right.endpoint(), {}).tables.at(1).extra, 1);
}

TEST(CompareAcrossEngines, CountsTheCopiesOfRowsWithoutAKey) {
  NEED_POSTGRES();
  Database left;
  left.Run("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (1, 'x'), (2, NULL)");
  SqliteFile right;
  right.Run("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2, NULL), (2, NULL)");
  const TableComparison table = CompareRows(left.endpoint(), right.endpoint(), {}).tables.at(0);
  EXPECT_EQ(table.result, CompareResult::kDifferent);
  EXPECT_EQ(table.missing, 1);
  EXPECT_EQ(table.extra, 1);
}

}  // namespace
}  // namespace understudy::harness
