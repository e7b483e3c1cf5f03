// A role without CREATEDB and without superuser: the new schema is made on a server of this
// machine.
#include <algorithm>

#include "engine/base/owner.h"
#include "engine/db/binaries.h"
#include "engine/db/identifier.h"
#include "tests/engine/table_swap/swap_fixture.h"

namespace understudy::table_swap {
namespace {
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = core::PhaseOutcome::Kind;

constexpr const char* kSchema = R"(
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE SEQUENCE numbers;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, '-'); RETURN NEW; END $$;
CREATE TABLE area (id integer PRIMARY KEY, name text COLLATE "C", mood mood DEFAULT 'good');
CREATE TABLE member (id serial PRIMARY KEY, area_id integer REFERENCES area, note text, number bigint DEFAULT nextval('numbers'));
CREATE INDEX member_note ON member (lower(note));
CREATE TRIGGER stamp BEFORE INSERT ON member FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE VIEW moods AS SELECT mood, count(*) AS n FROM area GROUP BY mood;
)";

// Of scratches on this machine, the living ones too.
std::vector<std::string> ScratchFolders() {
  std::vector<std::string> all;
  for (const FoundFolder& folder : FindOwnedFolders()) {
    if (folder.kind == "scratch" && folder.owner.pid == ::getpid()) all.push_back(folder.path);
  }
  return all;
}

class Roles {
 public:
  Roles() {
    if (!testing::HavePostgres()) return;
    const auto server = db::Connect(testing::Server());
    for (const char* role :
         {"understudy_test_mover", "understudy_test_reader", "understudy_test_owner"}) {
      server->Execute(std::string("DO $$ BEGIN CREATE ROLE ") + role +
                      " LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    }
    server->Execute(
        "ALTER ROLE understudy_test_mover NOCREATEDB; GRANT pg_monitor TO "
        "understudy_test_mover; GRANT understudy_test_owner TO understudy_test_mover");
  }
};

class SwapRole : public ::testing::Test {
 protected:
  // The grants that a plan names, no more.
  void Begin(SwapWorld& world) {
    Give(world.target());
    world.target().Run("SET ROLE understudy_test_mover;" + std::string(kSchema) + R"(
INSERT INTO area SELECT i, 'old ' || i FROM generate_series(1, 20) i;
INSERT INTO member (area_id) SELECT i FROM generate_series(1, 20) i;
GRANT SELECT ON member TO understudy_test_reader;
ALTER TABLE member ENABLE ROW LEVEL SECURITY;
CREATE POLICY readers ON member FOR SELECT TO understudy_test_reader USING (id > 0);)");
    world.set_target_by(world.target().endpoint().WithSetting("user", "understudy_test_mover"));
  }
  static void Give(const testing::Database& database) {
    const std::string name = db::QuoteIdentifier(database.endpoint().Setting("dbname"));
    database.Run("GRANT CREATE ON DATABASE " + name +
                 " TO understudy_test_mover; GRANT USAGE, "
                 "CREATE ON SCHEMA public TO understudy_test_mover");
  }
  void FillSource(SwapWorld& world) {
    Give(world.source());
    world.source().Run("SET ROLE understudy_test_mover;" + std::string(kSchema) +
                       "INSERT INTO area SELECT i, 'new ' || i FROM generate_series(1, 30) i;");
    world.set_source_by(world.source().endpoint().WithSetting("user", "understudy_test_mover"));
    world.document()["preserved"] = {"member"};
  }

  Roles roles_;
};

#define NEED_LOCAL_SERVER(world)                                                      \
  if (!db::FindServer((world).target().Connect()->Server().major())) {                \
    GTEST_SKIP() << "this machine has no server programs of the test server's major"; \
  }

TEST_F(SwapRole, MigratesWholeWithoutRightsOnTheServer) {
  NEED_POSTGRES();
  SwapWorld world;
  NEED_LOCAL_SERVER(world);
  Begin(world);
  FillSource(world);
  // Of a role that this one is a member of, with no rights on a schema of ours.
  world.target().Run("ALTER TABLE member OWNER TO understudy_test_owner");
  const core::Plan plan = world.Plan();
  ASSERT_TRUE(plan.can_run()) << plan.refused[0].object << plan.refused[0].why;
  EXPECT_THAT(plan.ToJson().dump(), HasSubstr("make a throwaway PostgreSQL"));
  std::size_t at_build = 0;
  world.at_point = [&](std::string_view point) {
    if (point == "prepare.schema_built") at_build = ScratchFolders().size();
  };
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(at_build, 1U);
  EXPECT_THAT(ScratchFolders(), IsEmpty());
  world.target().Run(
      "INSERT INTO member (area_id) VALUES (7); UPDATE member SET note = 'x' WHERE id = 3");
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) || min(name) FROM public.area"), "30new 1");
  EXPECT_EQ(world.Scalar("SELECT count(*) || max(note) FROM public.member"), "21x");
  EXPECT_EQ(world.Scalar("SELECT relowner::regrole FROM pg_class WHERE oid = "
                         "'public.member'::regclass"),
            "understudy_test_owner");
  EXPECT_EQ(world.Scalar("SELECT polroles::regrole[] FROM pg_policy WHERE polrelid = "
                         "'public.member'::regclass"),
            "{understudy_test_reader}");
  outcome = world.Verify();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world.Rollback(/*lose_writes=*/true);
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) || min(name) FROM public.area"), "20old 1");
  outcome = world.Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Ours(), "");
}

TEST_F(SwapRole, ChangesASchemaByFilesAndGoesOnAfterAFailure) {
  NEED_POSTGRES();
  SwapWorld world(false);
  NEED_LOCAL_SERVER(world);
  Begin(world);
  world.SchemaBySql(
      "ALTER TABLE member ALTER area_id TYPE bigint; CREATE TABLE plot (id bigint "
      "PRIMARY KEY, mood mood)");
  const core::Plan plan = world.Plan();
  ASSERT_TRUE(plan.can_run()) << plan.refused[0].object << plan.refused[0].why;
  EXPECT_THAT(ScratchFolders(), IsEmpty());  // a plan leaves none either
  // The scratch goes with the process; the next one makes it once more, though the tables carry
  // capture triggers by now.
  world.at_point = [](std::string_view point) {
    if (point == "prepare.capture_installed")
      throw Error(ErrorKind::kEnvironment, "pulled the plug");
  };
  EXPECT_NE(world.Prepare().kind, Kind::kDone);
  EXPECT_THAT(ScratchFolders(), IsEmpty());
  world.at_point = {};
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT pg_typeof(area_id) || ' ' || count(*) FROM public.member GROUP BY "
                         "pg_typeof(area_id)"),
            "bigint 20");
  EXPECT_EQ(world.Scalar("SELECT relowner::regrole FROM pg_class WHERE oid = "
                         "'public.plot'::regclass"),
            "understudy_test_mover");
  outcome = world.Rollback(true);
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT to_regclass('public.plot') IS NULL"), "t");
}

// hard-case 46: a key of a partitioned table that leads into the set is made by the whole's owner
TEST_F(SwapRole, MakesKeysOfPartitionsThatAreAnotherRoles) {
  NEED_POSTGRES();
  SwapWorld world(false);
  NEED_LOCAL_SERVER(world);
  Begin(world);
  world.target().Run(R"(
CREATE SCHEMA other AUTHORIZATION understudy_test_mover;
GRANT ALL ON SCHEMA other TO understudy_test_reader;
SET ROLE understudy_test_mover;
CREATE TABLE other.event (id integer, area integer REFERENCES public.area) PARTITION BY LIST (id);
CREATE TABLE other.event_1 PARTITION OF other.event FOR VALUES IN (1);
CREATE TABLE other.event_2 PARTITION OF other.event FOR VALUES IN (2);
INSERT INTO other.event SELECT 1 + i % 2, i FROM generate_series(1, 20) i;
RESET ROLE;
ALTER TABLE other.event_2 OWNER TO understudy_test_reader;
GRANT SELECT ON other.event_2 TO understudy_test_mover)");
  world.SchemaBySql("ALTER TABLE member ADD extra text;");
  const core::Plan plan = world.Plan();
  ASSERT_TRUE(plan.can_run()) << plan.refused[0].object << plan.refused[0].why;
  EXPECT_THAT(plan.ToJson().dump(), HasSubstr("event_area_fkey"));  // how long it takes
  ASSERT_EQ(world.Prepare().kind, Kind::kDone);
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  const std::string whole =
      "SELECT count(*) FILTER (WHERE convalidated) FROM pg_constraint WHERE contype = 'f' AND "
      "confrelid = 'public.area'::regclass AND connamespace = 'other'::regnamespace";
  EXPECT_EQ(world.Scalar(whole), "3");
  outcome = world.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar(whole), "3");
}

TEST_F(SwapRole, RefusesAScratchThatThisMachineCannotHold) {
  NEED_POSTGRES();
  SwapWorld world;
  NEED_LOCAL_SERVER(world);
  Begin(world);
  FillSource(world);
  const auto refusal = [&] {
    std::vector<std::string> all;
    for (const core::PlanRefusal& one : world.Plan().refused) all.push_back(one.why);
    return all;
  };
  ASSERT_THAT(refusal(), IsEmpty());
  // A locale that only the source's machine has.
  world.source().Run(
      "CREATE COLLATION odd FROM \"C\"; UPDATE pg_collation SET collcollate = "
      "'xx_XX.utf8' WHERE collname = 'odd'");
  const auto by_locale = AllOf(HasSubstr("the locale xx_XX.utf8 is not on this machine"),
                               HasSubstr("ALTER ROLE understudy_test_mover CREATEDB"));
  EXPECT_THAT(refusal(), Contains(by_locale));
  EXPECT_NE(world.Prepare().kind, Kind::kDone);
  world.source().Run("UPDATE pg_collation SET collcollate = 'C' WHERE collname = 'odd'");
  EXPECT_THAT(refusal(), IsEmpty());
  for (const auto* database : {&world.source(), &world.target()}) {
    database->Run(
        "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, "
        "extversion) VALUES (99999, 'nonesuch', 10, 'public'::regnamespace, true, '1')");
  }
  EXPECT_THAT(refusal(),
              Contains(AllOf(HasSubstr("the extension nonesuch is not installed on this machine"),
                             HasSubstr("CREATEDB"))));
  // With the grant, the target's server is to say what it cannot do.
  db::Connect(testing::Server())->Execute("ALTER ROLE understudy_test_mover CREATEDB");
  EXPECT_THAT(refusal(), IsEmpty());
}

}  // namespace
}  // namespace understudy::table_swap
