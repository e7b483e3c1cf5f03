// What `plan` says of the server around a migration: each in a situation of its own, made for real.
#include <thread>

#include "engine/base/clock.h"
#include "tests/engine/table_swap/swap_fixture.h"

namespace understudy::table_swap {
namespace {
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::OwnServer;
using testing::PgBouncer;
using Kind = core::PhaseOutcome::Kind;

std::string Refusals(const core::Plan& plan) {
  std::string all;
  for (const core::PlanRefusal& refusal : plan.refused) {
    all += refusal.object + ": " + refusal.why + "\n";
  }
  return all;
}
std::string Warnings(const core::Plan& plan) {
  std::string all;
  for (const std::string& warning : plan.warnings) all += warning + "\n";
  return all;
}
[[maybe_unused]] std::string Steps(const core::Plan& plan) {
  std::string all;
  for (const core::PlanStep& step : plan.steps) all += step.phase + ": " + step.what + "\n";
  return all;
}

// Two tables: `users` is preserved, `area` replaced.
void Fill(SwapWorld& world) {
  const std::string schema =
      "CREATE TABLE area (id integer PRIMARY KEY, name text);"
      "CREATE TABLE users (id serial PRIMARY KEY, name text, area integer REFERENCES area);";
  world.document()["preserved"] = {"users"};
  world.target().Run(
      schema +
      "INSERT INTO area SELECT i, 'old' FROM generate_series(1, 50) i;"
      "INSERT INTO users (name, area) SELECT 'u' || i, i FROM generate_series(1, 50) i");
  world.source().Run(schema + "INSERT INTO area SELECT i, 'new' FROM generate_series(1, 60) i");
}

// A pooler that shares its sessions would give our settings to other clients, and our locks away.
TEST(Plan, RefusesAPoolerInTransactionModeInEveryVerb) {
  NEED_POSTGRES();
  NEED_PGBOUNCER();
  SwapWorld world;
  Fill(world);
  const PgBouncer pooler(testing::Server(), "transaction");
  const db::Endpoint direct = world.target().endpoint();
  const db::Endpoint pooled = pooler.endpoint().WithDatabase(direct.Setting("dbname"));
  // A client of production in the pool: what we do must not reach its session.
  db::SessionOptions as_client;
  as_client.settings = db::Settings::kUsers;
  const auto client = db::Connect(pooled, as_client);
  const auto path = [&] { return client->Scalar("SHOW search_path").text; };
  ASSERT_THAT(path(), HasSubstr("public"));

  world.set_target_by(pooled);
  const core::Plan plan = world.Plan();
  ASSERT_EQ(plan.refused.size(), 1U) << Refusals(plan);
  EXPECT_EQ(plan.refused[0].object, "the connection to the target");
  EXPECT_THAT(plan.refused[0].why, AllOf(HasSubstr("transaction mode (PgBouncer)"),
                                         HasSubstr("connect to the server itself")));
  for (const core::PhaseOutcome& outcome : {world.Prepare(), world.Reset(), world.Cleanup()}) {
    EXPECT_EQ(outcome.kind, Kind::kRefused);
    EXPECT_THAT(outcome.message, HasSubstr("transaction mode (PgBouncer)"));
  }
  EXPECT_EQ(world.Ours(), "");

  // Begun by the right way in, and gone on with by the wrong one.
  world.set_target_by(direct);
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  world.set_target_by(pooled);
  for (const core::PhaseOutcome& outcome : {world.Sync(), world.Cutover()}) {
    EXPECT_EQ(outcome.kind, Kind::kRefused);
    EXPECT_THAT(outcome.message, HasSubstr("transaction mode (PgBouncer)"));
  }
  EXPECT_EQ(world.Scalar("SELECT name FROM public.area WHERE id = 1"), "old");
  world.set_target_by(direct);
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.set_target_by(pooled);
  EXPECT_EQ(world.Rollback().kind, Kind::kRefused);
  EXPECT_EQ(world.Scalar("SELECT name FROM public.area WHERE id = 1"), "new");
  EXPECT_THAT(path(), HasSubstr("public"));
}

TEST(Plan, RefusesASourceBehindAPoolerInTransactionMode) {
  NEED_POSTGRES();
  NEED_PGBOUNCER();
  SwapWorld world;
  Fill(world);
  const PgBouncer pooler(testing::Server(), "statement");
  world.set_source_by(pooler.endpoint().WithDatabase(world.source().endpoint().Setting("dbname")));
  const core::Plan plan = world.Plan();
  ASSERT_EQ(plan.refused.size(), 1U) << Refusals(plan);
  EXPECT_EQ(plan.refused[0].object, "the connection to the source");
  EXPECT_EQ(world.Prepare().kind, Kind::kRefused);
}

TEST(Plan, AcceptsAPoolerInSessionMode) {
  NEED_POSTGRES();
  NEED_PGBOUNCER();
  SwapWorld world;
  Fill(world);
  const auto through = [&](const PgBouncer& pooler) {
    const auto in_pool = [&](const testing::Database& database) {
      return pooler.endpoint().WithDatabase(database.endpoint().Setting("dbname"));
    };
    world.set_target_by(in_pool(world.target()));
    world.set_source_by(in_pool(world.source()));
  };
  const PgBouncer strict(testing::Server(), "session");
  through(strict);
  EXPECT_THAT(Refusals(world.Plan()),
              AllOf(HasSubstr("the connection to the target: "),
                    HasSubstr("the connection to the source: "),
                    HasSubstr("ignore_startup_parameters = options in pgbouncer.ini")));
  EXPECT_EQ(world.Prepare().kind, Kind::kRefused);

  const PgBouncer pooler(testing::Server(), "session", "ignore_startup_parameters = options");
  through(pooler);
  const core::Plan plan = world.Plan();
  EXPECT_EQ(Refusals(plan), "");
  EXPECT_THAT(Warnings(plan), AllOf(HasSubstr("the connection to the target goes through a pooler"),
                                    HasSubstr("the connection to the source goes through")));
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT name FROM public.area WHERE id = 1"), "new");
  outcome = world.Verify();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT name FROM public.area WHERE id = 1"), "old");
}

}  // namespace
}  // namespace understudy::table_swap
