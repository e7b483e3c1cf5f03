#include "engine/table_swap/reverse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/table_swap/mapping.h"
#include "tests/support/server.h"

namespace understudy::table_swap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using understudy::testing::Database;

// Two tables in service, their successors in another schema, and capture from the one to the other.
struct Swapped {
  Database database;
  std::unique_ptr<db::Session> session;
  std::vector<capture::CapturedTable> captured;
  std::vector<capture::CapturedTable> reverse;

  explicit Swapped(const std::string& schema) {
    database.Run("CREATE SCHEMA understudy; CREATE SCHEMA shadow; CREATE SCHEMA backup;" + schema);
    session = database.Connect();
    const auto mains = catalog::ReadTables(*session, {"public"});
    for (catalog::Table table : catalog::ReadTables(*session, {"shadow"})) {
      const auto old_table = *std::find_if(mains.begin(), mains.end(), [&](const auto& one) {
        return one.name.name == table.name.name;
      });
      std::map<std::string, ColumnRule> rules;
      if (table.Find("full") != nullptr) rules["full"] = {ColumnRule::Kind::kFrom, "name"};
      const TableMapping mapping = MakeMapping(*session, old_table, table, rules);
      EXPECT_THAT(mapping.refused, IsEmpty());
      captured.push_back({old_table.oid, table.oid, mapping.rows, 0, 0});
    }
    db::Transaction transaction(*session);
    capture::Install(*session, captured);
    transaction.Commit();
    for (const auto& table : captured) session->Execute(capture::InsertSql(*session, table));
  }
  void Cutover() {
    const ReversePlan plan = PlanReverse(*session, captured);
    ASSERT_THAT(plan.refused, IsEmpty());
    db::Transaction transaction(*session);
    capture::Remove(*session, captured);
    for (const char* table : {"a", "b"}) {
      const std::string name = table;
      session->Execute("ALTER TABLE public." + name + " SET SCHEMA backup; ALTER TABLE shadow." +
                       name + " SET SCHEMA public");
    }
    reverse = plan.tables;
    capture::Install(*session, reverse);
    transaction.Commit();
  }
};

constexpr const char* kTables = R"(
  CREATE TABLE public.a (id int PRIMARY KEY, name varchar(10));
  CREATE TABLE public.b (id int PRIMARY KEY, a int REFERENCES public.a ON DELETE CASCADE);
  INSERT INTO public.a SELECT i, 'n' || i FROM generate_series(1, 10) i;
  INSERT INTO public.b SELECT i, i FROM generate_series(1, 10) i;
  CREATE TABLE shadow.a (id bigint PRIMARY KEY, "full" text, added text DEFAULT 'x');
  CREATE TABLE shadow.b (id int PRIMARY KEY, a bigint REFERENCES shadow.a ON DELETE CASCADE);)";

// hard-case 58
TEST(SwapReverse, BringsWhatWasWrittenSinceTheCutoverBack) {
  NEED_POSTGRES();
  Swapped swapped(kTables);
  swapped.Cutover();
  swapped.database.Run(
      "UPDATE public.a SET \"full\" = 'later' WHERE id = 3; DELETE FROM public.a WHERE id = 4;"
      "INSERT INTO public.a VALUES (11, 'new'); INSERT INTO public.b VALUES (11, 11)");
  {
    db::Transaction transaction(*swapped.session, db::Isolation::kRepeatableRead);
    EXPECT_THAT(CompareReverse(*swapped.session, swapped.reverse), IsEmpty());  // all is pending
    EXPECT_EQ(ReplayReverse(*swapped.session, swapped.reverse, 1000), 5);
    EXPECT_THAT(CompareReverse(*swapped.session, swapped.reverse), IsEmpty());
    transaction.Commit();
  }
  const auto rows = swapped.session->Query(
      "SELECT (SELECT string_agg(id || name, ',' ORDER BY id) FROM backup.a WHERE id IN (3, 4, "
      "11)),"
      " (SELECT count(*) FROM backup.b), (SELECT count(*) FROM backup.b WHERE a = 3)");
  EXPECT_EQ(rows.rows[0][0].text, "3later,11new");
  EXPECT_EQ(rows.rows[0][1].text, "10");
  EXPECT_EQ(rows.rows[0][2].text, "1") << "a cascade of the backup's own took an innocent row";
  swapped.database.Run("UPDATE backup.b SET a = 1 WHERE id = 7");
  db::Transaction transaction(*swapped.session, db::Isolation::kRepeatableRead);
  EXPECT_THAT(CompareReverse(*swapped.session, swapped.reverse),
              ElementsAre(HasSubstr("public.b: 10 rows now")));
}

// hard-case 59
TEST(SwapReverse, ARowThatTheOldTableCannotHoldStopsTheRollback) {
  NEED_POSTGRES();
  Swapped swapped(kTables);
  swapped.Cutover();
  swapped.database.Run("UPDATE public.a SET \"full\" = 'longer than ten' WHERE id = 3");
  db::Transaction transaction(*swapped.session, db::Isolation::kRepeatableRead);
  try {
    ReplayReverse(*swapped.session, swapped.reverse, std::nullopt);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "blocked");
    EXPECT_THAT(error.what(), HasSubstr(R"(public.a refuses the row {"id":"3"})"));
  }
}

TEST(SwapReverse, SaysBeforehandWhatHasNoWayBack) {
  NEED_POSTGRES();
  Swapped swapped(R"(
    CREATE TABLE public.a (id int PRIMARY KEY, name text, gone text);
    CREATE TABLE public.b (id int PRIMARY KEY, a int);
    CREATE TABLE shadow.a (id int PRIMARY KEY, "full" text);
    CREATE TABLE shadow.b (id int PRIMARY KEY, a int);)");
  EXPECT_THAT(PlanReverse(*swapped.session, swapped.captured).refused,
              ElementsAre(HasSubstr("public.a.gone")));
  swapped.session->Execute("SET ROLE pg_monitor");
  EXPECT_THAT(PlanReverse(*swapped.session, swapped.captured).refused,
              ElementsAre(HasSubstr("session_replication_role")));
}

}  // namespace
}  // namespace understudy::table_swap
