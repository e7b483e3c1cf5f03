#include <gtest/gtest.h>

#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

TEST(MatchesPath, APatternWithoutAPropertyMatchesAllOfThem) {
  EXPECT_TRUE(MatchesPath("column:public.orders.total", "column:public.orders.total"));
  EXPECT_TRUE(MatchesPath("column:public.orders.total#type", "column:public.orders.total"));
  EXPECT_TRUE(MatchesPath("column:public.orders.total#type", "column:public.orders.total#type"));
  EXPECT_FALSE(
      MatchesPath("column:public.orders.total#default", "column:public.orders.total#type"));
  EXPECT_TRUE(MatchesPath("column:public.orders.total#default", "column:public.orders.*#def*"));
}

TEST(MatchesPath, APropertyAllowedIsNotTheObjectRemoved) {
  EXPECT_FALSE(MatchesPath("column:public.orders.total", "column:public.orders.total#type"));
  EXPECT_FALSE(MatchesPath("column:public.orders.total", "column:public.orders.total#*"));
}

TEST(MatchesPath, ATableIsNotItsColumnsUnlessThereIsAStar) {
  EXPECT_FALSE(MatchesPath("column:public.orders.total", "table:public.orders"));
  EXPECT_FALSE(MatchesPath("column:public.orders.total", "column:public.orders"));
  EXPECT_TRUE(MatchesPath("column:public.orders.total", "column:public.orders.*"));
  EXPECT_FALSE(MatchesPath("column:public.orders_old.total", "column:public.orders.*"));
  EXPECT_TRUE(MatchesPath("column:public.orders.total", "*:public.orders*"));
  EXPECT_TRUE(MatchesPath("index:public.i#valid", "*"));
}

TEST(MatchesPath, QuotedNamesHoldAnyCharacter) {
  EXPECT_TRUE(
      MatchesPath("column:public.\"a.b\".\"c#d\"#type", "column:public.\"a.b\".\"c#d\"#type"));
  EXPECT_FALSE(MatchesPath("column:public.\"a.b\".\"c#d\"", "column:public.\"a.b\".\"c#e\""));
  EXPECT_TRUE(MatchesPath("table:public.orders", "table:\"public\".\"orders\""));
  EXPECT_TRUE(MatchesPath("table:public.\"User\"", "table:public.\"User\""));
  EXPECT_FALSE(MatchesPath("table:public.\"User\"", "table:public.User"));
}

TEST(MatchesPath, ARoutineMayBeNamedWithoutItsSignature) {
  EXPECT_TRUE(MatchesPath("function:public.f(integer, text)", "function:public.f"));
  EXPECT_TRUE(
      MatchesPath("function:public.f(integer, text)#definition", "function:public.f#definition"));
  EXPECT_TRUE(MatchesPath("function:public.f(integer, text)", "function:public.f(integer, text)"));
  EXPECT_FALSE(MatchesPath("function:public.f(integer, text)", "function:public.f(integer)"));
  EXPECT_FALSE(MatchesPath("function:public.ff(integer)", "function:public.f"));
  EXPECT_TRUE(MatchesPath("enum:public.mood#labels", "type:public.mood"));
}

TEST(IsOurs, TellsTheEnginesOwnFromWhatLooksLikeIt) {
  EXPECT_TRUE(IsOurs("schema:understudy"));
  EXPECT_TRUE(IsOurs("table:understudy.journal"));
  EXPECT_TRUE(IsOurs("column:understudy_shadow.orders.id#type"));
  EXPECT_TRUE(IsOurs("trigger:public.orders.understudy_capture"));
  EXPECT_TRUE(IsOurs("table:main._understudy_journal"));
  EXPECT_TRUE(IsOurs("table:main._migration_status"));
  EXPECT_TRUE(IsOurs("column:main._id_mapping.old_id"));
  EXPECT_TRUE(IsOurs("table:main._schema_identity"));
  EXPECT_TRUE(IsOurs("trigger:main.orders._migration_on_insert_orders"));
  EXPECT_FALSE(IsOurs("table:main._migrations"));
  EXPECT_FALSE(IsOurs("column:main._migration_versions.v"));
  EXPECT_FALSE(IsOurs("table:public.orders"));
  EXPECT_FALSE(IsOurs("table:public.understudy"));
  EXPECT_FALSE(IsOurs("column:public.orders.understudy"));
  EXPECT_FALSE(IsOurs("table:main.migrations"));
  EXPECT_FALSE(IsOurs("column:main.orders._migration_x"));
  EXPECT_FALSE(IsOurs("constraint:main.orders.check (total >= 0)"));
}

}  // namespace
}  // namespace understudy::harness
