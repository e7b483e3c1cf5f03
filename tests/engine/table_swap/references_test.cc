#include "engine/table_swap/references.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/table_swap/mapping.h"
#include "tests/support/server.h"

namespace understudy::table_swap {
namespace {

using understudy::testing::Database;

// Production's parent and child, the new ones in `fresh`, and one foreign key that waits: from the
// child to the parent, by p and id.
struct Family {
  Database database;
  std::unique_ptr<db::Session> session;
  Manifest manifest;
  std::vector<capture::CapturedTable> captured;

  explicit Family(const std::string& change, const std::map<std::string, ColumnRule>& rules = {}) {
    database.Run(
        "CREATE TABLE public.parent (id int PRIMARY KEY, code text UNIQUE NOT NULL);"
        "CREATE TABLE public.child (id int PRIMARY KEY, p int REFERENCES public.parent, q int);"
        "CREATE SCHEMA fresh; CREATE TABLE fresh.parent (LIKE public.parent INCLUDING ALL);"
        "CREATE TABLE fresh.child (LIKE public.child INCLUDING ALL);" +
        change);
    session = database.Connect();
    const auto old_tables = catalog::ReadTables(*session, {"public"});
    const auto new_tables = catalog::ReadTables(*session, {"fresh"});
    for (std::size_t i = 0; i < 2; ++i) {  // child, parent
      manifest.tables.push_back(
          {old_tables[i].name, true, false, old_tables[i].oid, new_tables[i].oid});
      const TableMapping mapping =
          MakeMapping(*session, old_tables[i], new_tables[i],
                      i == 0 ? rules : std::map<std::string, ColumnRule>{});
      EXPECT_TRUE(mapping.refused.empty()) << mapping.refused[0];
      captured.push_back({old_tables[i].oid, new_tables[i].oid, mapping.rows});
    }
    DeferredForeignKey key;
    key.table = {"public", "child"};
    key.name = "child_p_fkey";
    key.columns = {"p"};
    key.references = {"public", "parent"};
    key.referenced_columns = {"id"};
    key.references_set = true;
    manifest.foreign_keys.push_back(key);
  }
  bool Enforced() { return WaitingReferences(*session, manifest, captured).at(0).enforced; }
};

TEST(WaitingReferences, AreEnforcedWhereProductionHasTheSameKeyAndHoldsToIt) {
  NEED_POSTGRES();
  EXPECT_TRUE(Family("").Enforced());
  // Widened on both sides: what was equal is equal.
  EXPECT_TRUE(
      Family("ALTER TABLE fresh.parent ALTER id TYPE bigint; ALTER TABLE fresh.child ALTER p "
             "TYPE bigint")
          .Enforced());
  EXPECT_TRUE(Family("ALTER TABLE fresh.child RENAME q TO x; ALTER TABLE fresh.child RENAME p TO q;"
                     "ALTER TABLE fresh.child RENAME x TO p",
                     {{"p", {ColumnRule::Kind::kFrom, "p"}}, {"q", {ColumnRule::Kind::kFrom, "q"}}})
                  .Enforced());
}

TEST(WaitingReferences, AreNotEnforcedWhereProductionOrTheWayOverLetsOrphansThrough) {
  NEED_POSTGRES();
  EXPECT_FALSE(Family("ALTER TABLE public.child DROP CONSTRAINT child_p_fkey").Enforced());
  EXPECT_FALSE(Family("ALTER TABLE public.child DISABLE TRIGGER ALL").Enforced());
  EXPECT_FALSE(Family("ALTER TABLE public.child DROP CONSTRAINT child_p_fkey, ADD FOREIGN KEY (p) "
                      "REFERENCES public.parent NOT VALID")
                   .Enforced());
  EXPECT_FALSE(Family("ALTER TABLE public.child DROP CONSTRAINT child_p_fkey, ADD FOREIGN KEY (q) "
                      "REFERENCES public.parent")
                   .Enforced());
  // The column gets something else on its way over.
  EXPECT_FALSE(Family("", {{"p", {ColumnRule::Kind::kSql, "p + 1"}}}).Enforced());
  EXPECT_FALSE(Family("", {{"p", {ColumnRule::Kind::kFrom, "q"}}}).Enforced());
  // Rows of the parent are left out.
  Family family("");
  family.captured[1].mapping.only = "id > 7";
  EXPECT_FALSE(family.Enforced());
  // The referenced table is not production's any more.
  family.captured.pop_back();
  const auto waiting = WaitingReferences(*family.session, family.manifest, family.captured);
  EXPECT_FALSE(waiting.at(0).enforced);
  EXPECT_TRUE(waiting.at(0).to_uncaptured);
}

}  // namespace
}  // namespace understudy::table_swap
