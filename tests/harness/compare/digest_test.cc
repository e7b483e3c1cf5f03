#include "harness/compare/digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using ::testing::Contains;
using testing::Database;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using testing::SqliteFile;

Snapshot Digests(const db::Endpoint& endpoint) {
  Snapshot snapshot;
  snapshot.engine = db::EngineName(endpoint.engine());
  DigestTables(endpoint, 2, snapshot);
  return snapshot;
}

// hard-case 65, 110, 112
TEST(DigestTables, TellsRowsApartAndNothingElse) {
  NEED_POSTGRES();
  Database left;
  left.Run(
      "CREATE TABLE t (id int PRIMARY KEY, a numeric, b text); CREATE TABLE u (x int);"
      "INSERT INTO t VALUES (1, 1.0, 'x'), (2, 2, NULL); INSERT INTO u VALUES (1), (1)");
  Database right;
  right.Run(
      "CREATE TABLE t (b text, a numeric, id int PRIMARY KEY); CREATE TABLE u (x int);"
      "INSERT INTO t VALUES (NULL, 2, 2), ('x', 1.0, 1); INSERT INTO u VALUES (1), (1);"
      "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Tokyo''', "
      "current_database()); END $$");
  const Snapshot before = Digests(left.endpoint());
  EXPECT_EQ(CompareDigests(before, Digests(right.endpoint()), {}).result, CompareResult::kEqual);
  for (const std::string change :
       {"UPDATE t SET a = 1.00 WHERE id = 1", "UPDATE t SET b = '' WHERE id = 2",
        "UPDATE t SET b = 'x ' WHERE id = 1", "UPDATE t SET a = CASE id WHEN 1 THEN 2 ELSE 1.0 END",
        "UPDATE u SET x = 2", "DELETE FROM u", "ALTER TABLE u ALTER x TYPE text",
        "ALTER TABLE u ADD y int"}) {
    SCOPED_TRACE(change);
    Database changed;
    changed.Run(
        "CREATE TABLE t (id int PRIMARY KEY, a numeric, b text); CREATE TABLE u (x int);"
        "INSERT INTO t VALUES (1, 1.0, 'x'), (2, 2, NULL); INSERT INTO u VALUES (1), (1);" +
        change);
    const Comparison comparison = CompareDigests(before, Digests(changed.endpoint()), {});
    EXPECT_EQ(comparison.result, CompareResult::kDifferent);
    const bool in_t = change.find(" t ") != std::string::npos;
    EXPECT_EQ(comparison.tables.at(0).result,
              in_t ? CompareResult::kDifferent : CompareResult::kEqual);
    EXPECT_EQ(comparison.tables.at(1).result,
              in_t ? CompareResult::kEqual : CompareResult::kDifferent);
    EXPECT_EQ(comparison.tables[in_t ? 0 : 1].changed, -1);  // how many rows, nobody knows
    EXPECT_EQ(comparison.tables[in_t ? 1 : 0].changed, 0);
    if (change.find("SET b") != std::string::npos) {
      EXPECT_THAT(comparison.tables[0].columns, Contains(Key("b")));
      EXPECT_THAT(comparison.tables[0].columns, Not(Contains(Key("a"))));
    }
  }
}

TEST(DigestTables, ComparesTheColumnsOfBothSidesWhenAsked) {
  SqliteFile left;
  left.Run("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES (1, 2, 3)");
  SqliteFile right;
  right.Run("CREATE TABLE t (id INTEGER PRIMARY KEY, c, b); INSERT INTO t VALUES (1, 2, 4)");
  const Snapshot one = Digests(left.endpoint());
  const Snapshot other = Digests(right.endpoint());
  EXPECT_THAT(CompareDigests(one, other, {}).tables.at(0).why,
              HasSubstr("column a is only on the left"));
  CompareOptions options;
  options.map = {{"main.t.a", "main.t.c"}};
  EXPECT_THAT(CompareDigests(one, other, options).tables.at(0).why,
              HasSubstr("the digests of b differ"));
  options.ignore = {"main.t.b"};
  EXPECT_EQ(CompareDigests(one, other, options).result, CompareResult::kEqual);
}

TEST(DigestTables, NeverCallsDigestsOfTwoEnginesEqual) {
  NEED_POSTGRES();
  Database left;
  left.Run("CREATE TABLE main (a int)");
  Snapshot one = Digests(left.endpoint());
  Snapshot other = one;
  other.engine = "sqlite";
  EXPECT_EQ(CompareDigests(one, other, {}).result, CompareResult::kUnknown);
}

}  // namespace
}  // namespace understudy::harness
