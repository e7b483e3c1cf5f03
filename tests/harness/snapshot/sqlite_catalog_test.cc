#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/file.h"
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

const CatalogObject* Find(const Snapshot& snapshot, const std::string& path) {
  for (const CatalogObject& object : snapshot.objects) {
    if (object.path == path) return &object;
  }
  return nullptr;
}

TEST(SqliteCatalog, ARebuildThatKeepsEverythingChangesNothing) {
  const testing_file database;
  database.Run(understudy::testing::kSqliteSchema);
  const auto session = database.Connect();
  const Snapshot before = TakeCatalog(*session);
  // Another layout, other quotes, and the quotes that RENAME leaves everywhere.
  database.Run(R"(
    PRAGMA legacy_alter_table = ON;
    CREATE TABLE customers_new(id integer primary key autoincrement, "email" TEXT not null UNIQUE,
      status Text DEFAULT 'new' CHECK(status IN('new','Old')), note TEXT COLLATE nocase,
      score REAL DEFAULT 0.5, twice REAL AS (score*2) STORED);
    INSERT INTO customers_new(id, email) SELECT id, email FROM customers;
    DROP TABLE customers;
    ALTER TABLE customers_new RENAME TO customers;
    CREATE INDEX customers_note ON "customers"(lower(note));)");
  EXPECT_EQ(Text(DiffCatalogs(before, TakeCatalog(*session))), "");
}

TEST(SqliteCatalog, ARebuildThatForgetsTheHighWaterMarkIsNoticed) {
  const testing_file database;
  database.Run(
      "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO t(a) VALUES (1), (2);"
      "DELETE FROM t WHERE id = 2");
  const auto session = database.Connect();
  const Snapshot before = TakeCatalog(*session);
  database.Run(
      "CREATE TABLE n(id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO n SELECT * FROM t;"
      "DROP TABLE t; ALTER TABLE n RENAME TO t");
  const auto changes = DiffCatalogs(before, TakeCatalog(*session));
  ASSERT_EQ(changes.size(), 1U) << Text(changes);
  EXPECT_EQ(changes[0].path, "sequence:main.t#last_value");
  EXPECT_EQ(changes[0].left, "2");
  EXPECT_EQ(changes[0].right, "1");
  EXPECT_EQ(changes[0].severity, Severity::kWorse);
}

TEST(SqliteCatalog, AViewThatNamesALostTableIsBroken) {
  const testing_file database;
  database.Run("CREATE TABLE t(a); CREATE VIEW v AS SELECT a FROM t");
  const auto session = database.Connect();
  const Snapshot before = TakeCatalog(*session);
  database.Run("PRAGMA legacy_alter_table = ON; DROP TABLE t");
  const Snapshot after = TakeCatalog(*session);
  ASSERT_NE(Find(after, "view:main.v"), nullptr);
  EXPECT_EQ(Find(after, "view:main.v")->properties.count("broken"), 1U);
  bool worse = false;
  for (const CatalogChange& change : DiffCatalogs(before, after)) {
    worse = worse || (change.path == "view:main.v#broken" && change.severity == Severity::kWorse);
  }
  EXPECT_TRUE(worse);
}

TEST(SqliteCatalog, TakesEveryTableOfTheShopApart) {
  const std::filesystem::path schema =
      std::filesystem::path(UNDERSTUDY_SOURCE_DIR) / "fixtures/shop-sqlite/schema.sql";
  if (!std::filesystem::exists(schema)) GTEST_SKIP() << "no " << schema;
  const testing_file database;
  database.Run(ReadFile(schema));
  int tables = 0;
  for (const CatalogObject& object : TakeCatalog(*database.Connect()).objects) {
    if (object.kind != "table") continue;
    ++tables;
    EXPECT_EQ(object.properties.count("definition"), 0U) << object.path << " was kept as a whole";
  }
  EXPECT_GE(tables, 5);
}

TEST(SqliteCatalog, WritersMayGoOnWhileItIsRead) {
  const testing_file database;
  database.Run("PRAGMA journal_mode = wal; CREATE TABLE t(a)");
  const auto writer = database.Connect();
  writer->Begin(db::Isolation::kDefault, false, true);
  writer->Execute("INSERT INTO t VALUES (1)");
  EXPECT_NE(Find(TakeCatalog(*database.Connect()), "table:main.t"), nullptr);
  writer->Commit();
}

}  // namespace
}  // namespace understudy::harness
