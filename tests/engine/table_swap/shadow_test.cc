#include <gmock/gmock.h>

#include <algorithm>
#include <sstream>

#include "engine/base/process.h"
#include "engine/db/client_tools.h"
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

// What pg_dump says of public, sorted (it orders by OID where names tie), less what differs by
// nature.
std::string DumpOf(const db::Endpoint& endpoint) {
  const int major = db::Connect(endpoint)->Server().major();
  db::ClientTools::Job job;
  job.argv = {"pg_dump",   "--no-owner",           "--no-privileges",
              "--inserts", "--exclude-schema=aux", "--exclude-schema=understudy"};
  const Outcome outcome = db::ClientTools::Find(major, "").Run(job, endpoint, {});
  EXPECT_TRUE(outcome.ok()) << outcome.err;
  std::vector<std::string> lines;
  std::istringstream in(outcome.out);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line.starts_with("--") || line.starts_with("\\") ||
        line.find("SCHEMA public") != std::string::npos) {
      continue;
    }
    lines.push_back(line);
  }
  std::ranges::sort(lines);
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

// hard-case 24, 39, 41, 42, 43, 45, 47, 49, 50, 51, 53, 54, 56, 57: everything arrives in a shadow
// as it is in the source, so that the shadow, given the source's name, is the source.
TEST_F(ShadowTest, IsTheSourceUnderAnotherName) {
  const int major = db::Connect(request.target)->Server().major();
  Both(kExtensions);
  source->Run(kExotic);
  if (major >= 14) source->Run(kExotic14);
  if (major >= 15) source->Run(kExotic15);
  source->Run(kExoticRows);
  const std::string before = DumpOf(source->endpoint());

  const SetDecision decision = Build();
  for (const auto& refusal : decision.refused)
    ADD_FAILURE() << refusal.object << ": " << refusal.why;
  const Scratch scratch(context, request);
  EXPECT_THAT(WaitingForeignKeys(scratch, request), IsEmpty());
  const auto session = target->Connect();
  EXPECT_EQ(session
                ->Scalar("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> "
                         "'D'")
                .text,
            "0");
  for (const TriggerState& state : TriggerStates(scratch, request)) {
    const db::TableName shadow{"understudy_shadow_public", state.table.name};
    const std::map<char, std::string> verbs = {
        {'O', "ENABLE "}, {'D', "DISABLE "}, {'A', "ENABLE ALWAYS "}, {'R', "ENABLE REPLICA "}};
    session->Execute("ALTER TABLE ONLY " + shadow.Quoted() + " " + verbs.at(state.enabled) +
                     (state.rule ? "RULE " : "TRIGGER ") + db::QuoteIdentifier(state.name));
  }
  target->Run("DROP SCHEMA public; ALTER SCHEMA understudy_shadow_public RENAME TO public");
  const std::string after = DumpOf(target->endpoint());
  EXPECT_EQ(before, after);
  EXPECT_EQ(before, DumpOf(source->endpoint())) << "the source has changed";
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM pg_stats_ext"), major >= 14 ? "2" : "1");
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM pg_matviews WHERE ispopulated"), "3");
  // Statistics are there before anybody plans with them (hard-case 37).
  EXPECT_NE(Value(*target, "SELECT count(*) FROM pg_stats WHERE tablename = 'User'"), "0");
}

}  // namespace
}  // namespace understudy::table_swap
