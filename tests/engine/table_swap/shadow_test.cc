#include <gmock/gmock.h>

#include "tests/engine/table_swap/exotic.h"
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

// hard-case 24, 39, 41, 42, 43, 45, 47, 49, 50, 51, 53, 54, 56, 57: everything arrives in a shadow
// as it is in the source, so that the shadow, given the source's name, is the source.
TEST_F(ShadowTest, IsTheSourceUnderAnotherName) {
  const int major = TargetMajor();
  Both(kExtensions);
  source->Run(kExotic);
  if (major >= 14) source->Run(kExotic14);
  if (major >= 15) source->Run(kExotic15);
  source->Run(kExoticRows);
  const std::string before = DumpOf(source->endpoint(), TargetMajor());

  const SetDecision decision = Build();
  for (const auto& refusal : decision.refused)
    ADD_FAILURE() << refusal.object << ": " << refusal.why;
  PutShadowInPlace();
  const std::string after = DumpOf(target->endpoint(), TargetMajor());
  EXPECT_EQ(before, after);
  EXPECT_EQ(before, DumpOf(source->endpoint(), TargetMajor())) << "the source has changed";
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM pg_stats_ext"), major >= 14 ? "2" : "1");
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM pg_matviews WHERE ispopulated"), "3");
  // Statistics are there before anybody plans with them (hard-case 37).
  EXPECT_NE(Value(*target, "SELECT count(*) FROM pg_stats WHERE tablename = 'User'"), "0");
}

// hard-case 55: members of extensions stay where they are, and the shadow binds to them.
TEST_F(ShadowTest, CarriesGeometryAndItsIndexes) {
  if (!target->Connect()
           ->Scalar("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgis')")
           .AsBool()) {
    GTEST_SKIP() << "no PostGIS on this server";
  }
  Both(R"(
    CREATE EXTENSION postgis;
    CREATE TABLE area (id integer PRIMARY KEY, shape geometry(MultiPolygon, 4326) NOT NULL,
                       "Centre" geometry(Point, 4326), earth geography(Point));
    CREATE INDEX area_shape ON area USING gist (shape);
    CREATE INDEX area_near ON area USING gist ("Centre") WHERE "Centre" IS NOT NULL;
  )");
  source->Run(
      R"(INSERT INTO area SELECT n, ST_Multi(ST_Buffer(ST_SetSRID(ST_MakePoint(n, 1.5), 4326), 0.5)),
    ST_SetSRID(ST_MakePoint(n, -0.0), 4326), ST_MakePoint(n, 2)::geography FROM generate_series(1, 50) n)");
  const SetDecision decision = Build();
  EXPECT_THAT(decision.refused, IsEmpty());
  EXPECT_THAT(Names(decision.moved), ::testing::ElementsAre("table public.area"));
  const char* digest = "SELECT md5(string_agg(a::text, ',' ORDER BY id)) FROM ";
  EXPECT_EQ(Value(*target, std::string(digest) + "understudy_shadow_public.area a"),
            Value(*source, std::string(digest) + "public.area a"));
  EXPECT_EQ(
      Value(
          *target,
          "SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) FROM "
          "pg_attribute WHERE attrelid = 'understudy_shadow_public.area'::regclass AND attnum > 1"),
      "public.geometry(MultiPolygon,4326) public.geometry(Point,4326) "
      "public.geography(Point,4326)");
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM pg_class WHERE relname = 'spatial_ref_sys'"), "1");
}

}  // namespace
}  // namespace understudy::table_swap
