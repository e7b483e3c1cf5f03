// Owners, grants, labels: of what the user's files make and change, and of what they may not.
#include "engine/db/identifier.h"
#include "tests/engine/table_swap/swap_fixture.h"

namespace understudy::table_swap {
namespace {
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = core::PhaseOutcome::Kind;

// Production's tables belong to understudy_access_owner; the migration is the superuser's.
class SwapAccess : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_POSTGRES();
    const auto server = db::Connect(testing::Server());
    for (const char* role : {"understudy_access_owner", "understudy_access_app"}) {
      server->Execute(std::string("DO $$ BEGIN CREATE ROLE ") + role +
                      "; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    }
  }
  static void Fill(SwapWorld& world) {
    world.target().Run(R"(
GRANT CREATE, USAGE ON SCHEMA public TO understudy_access_owner;
SET ROLE understudy_access_owner;
CREATE TABLE a (id integer PRIMARY KEY, note text);
CREATE TABLE b (id integer PRIMARY KEY);
INSERT INTO a SELECT i FROM generate_series(1, 9) i;
CREATE VIEW v AS SELECT id FROM a;
CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * $1';
CREATE FUNCTION add(integer, a) RETURNS integer LANGUAGE sql AS 'SELECT $1 + $2.id';
CREATE AGGREGATE total(a) (SFUNC = add, STYPE = integer, INITCOND = '0');
REVOKE EXECUTE ON FUNCTION total(a) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION total(a) TO understudy_access_app;
GRANT SELECT ON a, v TO understudy_access_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO understudy_access_app;)");
  }
  // Privileges of the application's role and owners, as one line.
  static std::string Held(SwapWorld& world) {
    return world.Scalar(R"(
SELECT concat_ws(' ', 'a', has_table_privilege(r, 'public.a', 'SELECT'),
  has_column_privilege(r, 'public.a', 'note', 'UPDATE'), has_column_privilege(r, 'public.a', 'id', 'UPDATE'),
  'v', has_table_privilege(r, 'public.v', 'SELECT'),
  'b', (SELECT relowner::regrole FROM pg_class WHERE oid = 'public.b'::regclass),
  'total', has_function_privilege(r, 'public.total(public.a)', 'EXECUTE'),
  (SELECT proowner::regrole || ' ' || (proacl::text LIKE '{=%') FROM pg_proc WHERE oid = 'public.total(public.a)'::regprocedure))
FROM (SELECT 'understudy_access_app'::name AS r) x)");
  }
};

// hard-case 48
TEST_F(SwapAccess, CarriesWhatTheFilesGrantAndTheRestOfProductions) {
  SwapWorld world(false);
  Fill(world);
  const std::string before = Held(world);
  EXPECT_EQ(before, "a t f f v t b understudy_access_owner total t understudy_access_owner false");
  world.SchemaBySql(R"(
ALTER TABLE a ADD more integer;
GRANT UPDATE (note) ON a TO understudy_access_app;
REVOKE SELECT ON a FROM understudy_access_app;
ALTER TABLE b OWNER TO understudy_access_app;
DROP VIEW v; CREATE VIEW v AS SELECT id, more FROM a;
CREATE TABLE fresh (id serial PRIMARY KEY);
GRANT INSERT ON fresh TO understudy_access_app WITH GRANT OPTION;
GRANT USAGE ON SEQUENCE fresh_id_seq TO understudy_access_app;
CREATE FUNCTION secret() RETURNS integer LANGUAGE sql AS 'SELECT 1';
REVOKE EXECUTE ON FUNCTION secret() FROM PUBLIC;)");
  const core::Plan plan = world.Plan();
  ASSERT_TRUE(plan.can_run()) << plan.refused[0].object << ": " << plan.refused[0].why;
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Held(world),
            "a f t f v t b understudy_access_app total t understudy_access_owner false");
  EXPECT_EQ(world.Scalar("SELECT concat_ws(' ', relowner::regrole, "
                         "has_table_privilege('understudy_access_app', oid, 'SELECT'), "
                         "has_table_privilege('understudy_access_app', oid, 'SELECT WITH GRANT "
                         "OPTION'), has_table_privilege('understudy_access_app', oid, 'INSERT WITH "
                         "GRANT OPTION'), has_table_privilege('understudy_access_app', oid, "
                         "'UPDATE')) FROM pg_class WHERE oid = 'public.fresh'::regclass"),
            "understudy_access_owner t f t f");
  EXPECT_EQ(world.Scalar("SELECT has_sequence_privilege('understudy_access_app', "
                         "'public.fresh_id_seq', 'USAGE')"),
            "t");
  EXPECT_EQ(world.Scalar("SELECT has_function_privilege('understudy_access_app', "
                         "'public.secret()', 'EXECUTE')"),
            "f");
  outcome = world.Verify();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Held(world), before);
}

TEST_F(SwapAccess, RefusesWhatItWouldLose) {
  SwapWorld world(false);
  Fill(world);
  const auto refusals = [&] {
    std::vector<std::string> all;
    for (const core::PlanRefusal& one : world.Plan().refused) {
      all.push_back(one.object + ": " + one.why);
    }
    return all;
  };
  world.SchemaBySql("ALTER TABLE a ADD more integer");
  ASSERT_THAT(refusals(), IsEmpty());
  world.SchemaBySql(R"(
GRANT EXECUTE ON FUNCTION twice(integer) TO understudy_access_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO understudy_access_app;
GRANT CREATE ON SCHEMA public TO understudy_access_app;)");
  EXPECT_THAT(refusals(),
              AllOf(SizeIs(3), Contains(HasSubstr("ROUTINE public.twice(integer): the files")),
                    Contains(HasSubstr("the default privileges of postgres in the schema public")),
                    Contains(HasSubstr("the schema public"))));
  EXPECT_NE(world.Prepare().kind, Kind::kDone);
  // hard-case 48
  world.SchemaBySql("ALTER TABLE a ADD more integer");
  world.target().Run(
      "INSERT INTO pg_seclabel VALUES ('public.a'::regclass, 'pg_class'::regclass, "
      "0, 'dummy', 'secret')");
  EXPECT_THAT(refusals(), Contains(HasSubstr("its security label (dummy)")));
}

TEST_F(SwapAccess, KeepsFilesFromTheWholeServer) {
  for (const char* sql :
       {"/* a role */ -- of ours\n CREATE ROLE understudy_access_other", "DROP OWNED BY postgres",
        "ALTER DATABASE postgres SET work_mem = '5MB'", "grant understudy_access_owner TO postgres",
        "ALTER SYSTEM SET work_mem = '5MB'",
        "DO $$ BEGIN IF true THEN create role understudy_access_other; END IF; END $$",
        "DO LANGUAGE plpgsql 'BEGIN EXECUTE format(''DROP  DATABASE %I'', ''nothing''); END'",
        "DO $body$ BEGIN GRANT understudy_access_owner TO postgres; END $body$",
        // What looks like a comment inside a string is none.
        "DO $$BEGIN PERFORM 1 WHERE 'a' LIKE '/*%'; EXECUTE 'CREATE ROLE understudy_access_other'; "
        "END$$",
        "DO $$BEGIN PERFORM '--'; CREATE ROLE understudy_access_other; END$$",
        "DO 'BEGIN PERFORM ''--''; CREATE '\n'ROLE understudy_access_other; END'",
        "DO $$BEGIN PERFORM E'\\'/*'; CREATE ROLE understudy_access_other; END$$",
        "DO E'BEGIN\\nCREATE ROLE understudy_access_other;\\nEND'",
        "DO $$BEGIN EXECUTE E'\\nCREATE\\x20\\122OLE understudy_access_other'; END$$",
        "DO $$BEGIN EXECUTE 'CREATE /* a */' || ' ROLE understudy_access_other'; END$$",
        "DO $$BEGIN EXECUTE $a$DO $b$BEGIN EXECUTE 'CREATE ROLE understudy_access_other'; "
        "END$b$$a$; END$$",
        "DO $$BEGIN DO $b$BEGIN CREATE ROLE understudy_access_other; END$b$; END$$",
        "DO $$BEGIN EXECUTE '/* ' || '*/ CREATE ROLE understudy_access_other'; END$$"}) {
    SCOPED_TRACE(sql);
    SwapWorld world(false);
    Fill(world);
    world.SchemaBySql(sql);
    const core::PhaseOutcome outcome = world.Prepare();
    EXPECT_NE(outcome.kind, Kind::kDone);
    EXPECT_THAT(outcome.message, HasSubstr("it acts on the whole server"));
    EXPECT_EQ(world.Scalar("SELECT count(*) FROM pg_roles WHERE rolname LIKE '%access_other'"),
              "0");
  }
}

TEST_F(SwapAccess, NamesTheWordsThatActOnTheServer) {
  SwapWorld world(false);
  Fill(world);
  world.SchemaBySql("DO $$ BEGIN EXECUTE 'alter  system RESET work_mem'; END $$");
  EXPECT_THAT(world.Prepare().message, HasSubstr("ALTER SYSTEM"));
}

TEST_F(SwapAccess, TakesBlocksThatStayInTheDatabase) {
  SwapWorld world(false);
  Fill(world);
  world.SchemaBySql(
      "DO $$ BEGIN -- create role nobody\n /* drop database all */ CREATE TABLE made_in_block (id "
      "integer PRIMARY KEY, role text, \"user\" text); GRANT SELECT ON made_in_block TO "
      "understudy_access_owner; END $$");
  const core::Plan plan = world.Plan();
  EXPECT_EQ(Refusals(plan), "");
}

TEST_F(SwapAccess, TakesBlocksWhoseStringsOnlySpeakOfTheServer) {
  for (const char* sql :
       {"DO $$BEGIN INSERT INTO perm VALUES ('grant'), ('revoke'); END$$",
        "DO $$BEGIN RAISE NOTICE 'please create user accounts'; END$$",
        "DO LANGUAGE 'plpgsql' 'DECLARE n text; BEGIN IF n = ''drop role'' THEN NULL; END IF; END'",
        "DO $$BEGIN INSERT INTO perm VALUES ('grant') ON CONFLICT DO NOTHING; END$$",
        "DO $$BEGIN EXECUTE 'SELECT 1 /* create role a */' /* drop role b */; END$$"}) {
    SCOPED_TRACE(sql);
    SwapWorld world(false);
    Fill(world);
    world.SchemaBySql("CREATE TABLE perm (name text PRIMARY KEY);\n" + std::string(sql));
    EXPECT_EQ(Refusals(world.Plan()), "");
  }
}

}  // namespace
}  // namespace understudy::table_swap
