#include <gmock/gmock.h>

#include "tests/engine/table_swap/shadow_fixture.h"

namespace understudy::table_swap {
namespace {
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST_F(ShadowTest, HoldsTheSourcesRowsBesideProductions) {
  Both(R"(
    CREATE TYPE role AS ENUM ('user', 'admin');
    CREATE TABLE "User" (id serial PRIMARY KEY, name text NOT NULL, role role NOT NULL DEFAULT 'user');
    CREATE TABLE area (id integer PRIMARY KEY, "Label" text, roles role[]);
  )");
  source->Run(
      "INSERT INTO area SELECT n, 'area ' || n, '{admin,user}' FROM generate_series(1, 1000) n");
  target->Run("INSERT INTO area VALUES (1, 'old', '{}')");
  request.settings.preserved = {{"public", "User"}};

  const SetDecision decision = BuildSchema();
  EXPECT_THAT(decision.refused, IsEmpty());
  EXPECT_THAT(Names(decision.shared), Contains("type public.role"));
  const CopiedRows copied = Copy(decision);
  EXPECT_EQ(copied.rows, 1000);
  EXPECT_EQ(
      Value(*target, "SELECT count(*) || ' ' || max(\"Label\") FROM understudy_shadow_public.area"),
      "1000 area 999");
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM public.area"), "1");
  // The shadow binds to production's own type (hard-case 131).
  EXPECT_EQ(Value(*target,
                  "SELECT count(DISTINCT atttypid) FROM pg_attribute a JOIN pg_class c ON c.oid "
                  "= attrelid WHERE attname = 'role' AND relname = 'User'"),
            "1");
}

}  // namespace
}  // namespace understudy::table_swap
