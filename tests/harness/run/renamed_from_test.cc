#include "harness/run/renamed_from.h"

#include <gmock/gmock.h>

namespace understudy::harness {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(RenamedFrom, ACommentBehindAColumnSpeaksOfIt) {
  const RenamedFrom found = ReadRenamedFrom(
      "CREATE TABLE t (\n  id INTEGER PRIMARY KEY,\n  email TEXT UNIQUE, -- @renamed-from mail\n"
      "  note TEXT -- @renamed-from remark\n)");
  EXPECT_THAT(found.columns, ElementsAre(Pair("email", "mail"), Pair("note", "remark")));
  EXPECT_EQ(found.table, "");
}

TEST(RenamedFrom, ACommentBehindTheParenthesisSpeaksOfTheTable) {
  const RenamedFrom found =
      ReadRenamedFrom("CREATE TABLE t ( -- @renamed-from old_t\n  id INTEGER PRIMARY KEY\n)");
  EXPECT_EQ(found.table, "old_t");
  EXPECT_THAT(found.columns, IsEmpty());
}

TEST(RenamedFrom, ACommentAloneSpeaksOfTheColumnThatFollows) {
  const RenamedFrom found = ReadRenamedFrom(
      "CREATE TABLE t (\n  id INTEGER,\n  -- @renamed-from \"old name\"\n  \"new name\" TEXT\n)");
  EXPECT_THAT(found.columns, ElementsAre(Pair("new name", "old name")));
}

TEST(RenamedFrom, ACommentBeforeTheFirstColumnMaySpeakOfTheTable) {
  const RenamedFrom found =
      ReadRenamedFrom("CREATE TABLE t (\n  -- @renamed-from old_t\n  id INTEGER, b TEXT)");
  EXPECT_EQ(found.first, "old_t");
  EXPECT_EQ(found.first_column, "id");
}

TEST(RenamedFrom, TextsAndOtherCommentsSayNothing) {
  const RenamedFrom found = ReadRenamedFrom(
      "CREATE TABLE t (a TEXT DEFAULT '-- @renamed-from x', -- renamed-from y\n"
      "  b NUMERIC(10, 2) CHECK (b IN (1, 2)) /* @renamed-from c */)");
  EXPECT_THAT(found.columns, ElementsAre(Pair("b", "c")));
  EXPECT_EQ(found.table, "");
}

}  // namespace
}  // namespace understudy::harness
