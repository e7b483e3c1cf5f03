#include "engine/table_swap/mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/server.h"

namespace understudy::table_swap {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using understudy::testing::Database;
using Rules = std::map<std::string, ColumnRule>;

// The same table in its old shape (public) and in its new one (fresh).
struct Shapes {
  Database database;
  std::unique_ptr<db::Session> session;
  catalog::Table old_table;
  catalog::Table new_table;

  Shapes(const std::string& old_columns, const std::string& new_columns,
         const std::string& before = "") {
    database.Run(before + "; CREATE SCHEMA fresh; CREATE TABLE public.t (" + old_columns +
                 "); CREATE TABLE fresh.t (" + new_columns + ");");
    session = database.Connect();
    old_table = catalog::ReadTables(*session, {"public"}).at(0);
    new_table = catalog::ReadTables(*session, {"fresh"}).at(0);
  }
  TableMapping Map(const Rules& rules = {}) {
    return MakeMapping(*session, old_table, new_table, rules);
  }
  TableMapping Invert(const TableMapping& mapping) {
    return InvertMapping(*session, mapping, old_table, new_table);
  }
  // What the new table gets, as text.
  std::vector<std::string> Rows(const TableMapping& mapping) {
    capture::CapturedTable table;
    table.watched = old_table.oid;
    table.mirror = new_table.oid;
    table.mapping = mapping.rows;
    session->Execute(capture::InsertSql(*session, table));
    std::vector<std::string> rows;
    const auto found = session->Query("SELECT t::text COLLATE \"C\" FROM fresh.t ORDER BY 1");
    for (const db::Row& row : found.rows) rows.push_back(row[0].text);
    return rows;
  }
};

const char* const kSame = "id int PRIMARY KEY, name text";

TEST(SwapMapping, TakesColumnsOfTheSameNameAsTheyAre) {
  NEED_POSTGRES();
  Shapes shapes(kSame, kSame);
  const TableMapping mapping = shapes.Map();
  EXPECT_THAT(mapping.refused, IsEmpty());
  EXPECT_THAT(mapping.notes, IsEmpty());
  EXPECT_TRUE(mapping.same_shape);
  EXPECT_THAT(mapping.rows.key, ElementsAre("id"));
  EXPECT_EQ(mapping.rows.InsertColumns(), "\"id\", \"name\"");
}

// hard-case 40, 41
TEST(SwapMapping, RenamesCastsDefaultsAndComputes) {
  NEED_POSTGRES();
  Shapes shapes(
      "id int PRIMARY KEY, \"Full name\" text, gone int, price numeric(8,2), "
      "twice numeric GENERATED ALWAYS AS (price * 2) STORED",
      "user_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, first text NOT NULL, last text, "
      "price numeric(12,4), twice numeric GENERATED ALWAYS AS (price * 2) STORED, "
      "plan text NOT NULL DEFAULT 'free'");
  shapes.database.Run("INSERT INTO public.t VALUES (7, 'Ada Lovelace', 1, 2.5)");
  TableMapping mapping =
      shapes.Map({{"user_id", {ColumnRule::Kind::kFrom, "id"}},
                  {"first", {ColumnRule::Kind::kSql, "split_part(\"Full name\", ' ', 1) -- one"}},
                  {"last", {ColumnRule::Kind::kSql, "split_part(t.\"Full name\", ' ', 2)"}},
                  {"plan", {ColumnRule::Kind::kDefault, ""}}});
  EXPECT_THAT(mapping.refused, IsEmpty());
  EXPECT_FALSE(mapping.same_shape);
  EXPECT_THAT(mapping.dropped, ElementsAre("gone"));
  EXPECT_THAT(mapping.defaults, ElementsAre("plan"));
  EXPECT_THAT(mapping.rows.mirror_key, ElementsAre("user_id"));
  EXPECT_THAT(mapping.rows.mirror_equals, ElementsAre("OPERATOR(pg_catalog.=)"));
  MarkComparable(*shapes.session, shapes.old_table, mapping);
  for (const auto& source : mapping.rows.columns) EXPECT_TRUE(source.compared) << source.column;
  EXPECT_THAT(shapes.Rows(mapping), ElementsAre("(7,Ada,Lovelace,2.5000,5.0000,free)"));
}

TEST(SwapMapping, DoesNotCompareWhatIsAnotherValueEachTime) {
  NEED_POSTGRES();
  Shapes shapes(kSame, "id int PRIMARY KEY, name text, token uuid, label text");
  TableMapping mapping = shapes.Map({{"token", {ColumnRule::Kind::kSql, "gen_random_uuid()"}},
                                     {"label", {ColumnRule::Kind::kSql, "upper(name)"}}});
  ASSERT_THAT(mapping.refused, IsEmpty());
  MarkComparable(*shapes.session, shapes.old_table, mapping);
  EXPECT_FALSE(mapping.rows.columns.at(2).compared);
  EXPECT_TRUE(mapping.rows.columns.at(3).compared);
  EXPECT_EQ(capture::RowMapping::FromJson(mapping.rows.ToJson()).ToJson(), mapping.rows.ToJson());
}

TEST(SwapMapping, RefusesByNameWhatItCannotCarry) {
  NEED_POSTGRES();
  Shapes shapes("id int PRIMARY KEY, at timestamp, word text, n int",
                "id int PRIMARY KEY, at timestamptz, word int, n int, must text NOT NULL");
  const TableMapping mapping =
      shapes.Map({{"n", {ColumnRule::Kind::kSql, "(SELECT max(n) FROM public.t)"}},
                  {"nowhere", {ColumnRule::Kind::kDefault, ""}}});
  EXPECT_THAT(mapping.refused, Contains(AllOf(HasSubstr("fresh.t.at"), HasSubstr("settings"))));
  EXPECT_THAT(mapping.refused, Contains(AllOf(HasSubstr("fresh.t.word"), HasSubstr("{\"sql\""))));
  EXPECT_THAT(mapping.refused, Contains(HasSubstr("subquery")));
  EXPECT_THAT(mapping.refused, Contains(HasSubstr("no column nowhere")));
  EXPECT_THAT(mapping.refused, Contains(AllOf(HasSubstr("fresh.t.must"), HasSubstr("NOT NULL"))));
  EXPECT_EQ(mapping.refused.size(), 5U);
  const TableMapping wrong = shapes.Map({{"at", {ColumnRule::Kind::kSql, "at AT TIME ZONE 'UTC'"}},
                                         {"word", {ColumnRule::Kind::kSql, "nothing + 1"}},
                                         {"n", {ColumnRule::Kind::kSql, "count(*)"}},
                                         {"must", {ColumnRule::Kind::kFrom, "absent"}}});
  EXPECT_THAT(wrong.refused, Contains(HasSubstr("nothing")));
  EXPECT_THAT(wrong.refused, Contains(HasSubstr("aggregate")));
  EXPECT_THAT(wrong.refused, Contains(HasSubstr("absent")));
  EXPECT_EQ(wrong.refused.size(), 3U);
}

// hard-case 7
TEST(SwapMapping, NeedsAKeyThatArrivesUnchanged) {
  NEED_POSTGRES();
  {
    Shapes shapes("a int, b text", "a int, b text");
    EXPECT_THAT(shapes.Map().refused, Contains(HasSubstr("no unique key")));
  }
  {
    // Not the primary key, but another one arrives.
    Shapes shapes("id int PRIMARY KEY, mail varchar(50) UNIQUE NOT NULL",
                  "id uuid PRIMARY KEY DEFAULT gen_random_uuid(), mail text UNIQUE NOT NULL");
    const TableMapping mapping = shapes.Map({{"id", {ColumnRule::Kind::kDefault, ""}}});
    ASSERT_THAT(mapping.refused, IsEmpty());
    EXPECT_THAT(mapping.rows.key, ElementsAre("mail"));
  }
  {
    Shapes shapes("id int PRIMARY KEY, v int", "id uuid PRIMARY KEY, v int");
    EXPECT_THAT(shapes.Map({{"id", {ColumnRule::Kind::kSql, "md5(t.id::text)::uuid"}}}).refused,
                ElementsAre(HasSubstr("no key of public.t arrives")));
  }
}

TEST(SwapMapping, SwappedColumnsAreNotTakenForUnchangedOnes) {
  NEED_POSTGRES();
  Shapes shapes("id int PRIMARY KEY, a int, b int", "id int PRIMARY KEY, a int, b int");
  shapes.database.Run("INSERT INTO public.t VALUES (1, 2, 3)");
  const TableMapping mapping =
      shapes.Map({{"a", {ColumnRule::Kind::kFrom, "b"}}, {"b", {ColumnRule::Kind::kSql, "a"}}});
  EXPECT_FALSE(mapping.same_shape);
  EXPECT_THAT(shapes.Rows(mapping), ElementsAre("(1,3,2)"));
}

// hard-case 58, 59
TEST(SwapMapping, GoesBackWhereNothingIsLost) {
  NEED_POSTGRES();
  Shapes shapes(
      "id int PRIMARY KEY, name varchar(20), twice int GENERATED ALWAYS AS (id * 2) STORED",
      "user_id bigint PRIMARY KEY, name text, added timestamptz DEFAULT now()");
  const TableMapping mapping = shapes.Map({{"user_id", {ColumnRule::Kind::kFrom, "id"}}});
  ASSERT_THAT(mapping.refused, IsEmpty());
  const TableMapping back = shapes.Invert(mapping);
  EXPECT_THAT(back.refused, IsEmpty());
  EXPECT_EQ(back.rows.InsertColumns(), "\"id\", \"name\"");
  EXPECT_EQ(back.rows.SelectList(), "\"user_id\", \"name\"");
  EXPECT_THAT(back.rows.key, ElementsAre("user_id"));
  EXPECT_THAT(back.rows.mirror_key, ElementsAre("id"));
}

TEST(SwapMapping, SaysWhyThereIsNoWayBack) {
  NEED_POSTGRES();
  Shapes shapes("id int PRIMARY KEY, name text, cents int, gone int",
                "id int PRIMARY KEY, first text, cents numeric");
  const TableMapping mapping =
      shapes.Map({{"first", {ColumnRule::Kind::kSql, "split_part(name, ' ', 1)"}}});
  ASSERT_THAT(mapping.refused, IsEmpty());
  EXPECT_THAT(mapping.dropped, ElementsAre("gone"));
  const TableMapping back = shapes.Invert(mapping);
  EXPECT_THAT(back.refused,
              ElementsAre(HasSubstr("public.t.name"), HasSubstr("cents"), HasSubstr("gone")));
}

}  // namespace
}  // namespace understudy::table_swap
