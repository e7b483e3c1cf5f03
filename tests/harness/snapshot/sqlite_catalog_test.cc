#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/process.h"
#include "harness/snapshot/snapshot.h"
#include "tests/support/ddl_changes.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using testing_file = understudy::testing::SqliteFile;

std::string Text(const std::vector<CatalogChange>& changes) {
  std::string text;
  for (const CatalogChange& change : changes) text += ToLine(ToJson(change)) + "\n";
  return text;
}

void RunChange(const testing_file& database, const understudy::testing::DdlChange& change) {
  try {
    database.Run(change.sql);
    ASSERT_FALSE(change.may_fail) << change.sql;
  } catch (const Error& error) {
    ASSERT_TRUE(change.may_fail) << change.sql << "\n" << error.what();
  }
}

TEST(SqliteCatalog, EveryChangeIsFoundWithItsPathAndNothingElseIs) {
  for (const auto& change : understudy::testing::SqliteChanges()) {
    const testing_file database;
    database.Run(understudy::testing::kSqliteSchema);
    const auto session = database.Connect();
    const Snapshot before = TakeCatalog(*session);
    EXPECT_THAT(DiffCatalogs(before, TakeCatalog(*session)), ::testing::IsEmpty());
    RunChange(database, change);
    const Snapshot after = TakeCatalog(*session);
    const std::vector<CatalogChange> changes = DiffCatalogs(before, after);
    bool found = false;
    for (const CatalogChange& c : changes) {
      if (c.path == change.path) {
        found = true;
        EXPECT_EQ(c.change, change.change) << c.path;
        EXPECT_EQ(c.severity == Severity::kWorse, change.worse) << Text({c});
        continue;
      }
      bool expected = false;
      for (const std::string& pattern : change.also) {
        expected = expected || MatchesPath(c.path, pattern);
      }
      EXPECT_TRUE(expected) << change.sql << "\nalso reported " << Text({c});
    }
    EXPECT_TRUE(found) << change.sql << "\nwas not reported as " << change.path << " but as\n"
                       << Text(changes);
  }
}

}  // namespace
}  // namespace understudy::harness
