// What `plan` says of the server around a migration: each in a situation of its own, made for real.
#include <sys/mount.h>

#include <optional>
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

std::string Steps(const core::Plan& plan) {
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

// hard-cases 46, 78: keys are compared as the foreign key itself does, by operators of an extension
// in a schema that we do not search.
TEST(Plan, LooksForParentsAsTheForeignKeyDoes) {
  NEED_POSTGRES();
  SwapWorld world;
  const std::string schema =
      "CREATE EXTENSION citext; CREATE TABLE area (code citext, kind integer, PRIMARY KEY (code, "
      "kind)); CREATE TABLE users (id integer PRIMARY KEY, area citext, kind smallint, FOREIGN KEY "
      "(area, kind) REFERENCES area);";
  world.document()["preserved"] = {"users"};
  world.target().Run(schema +
                     "INSERT INTO area VALUES ('North', 1), ('South', 2); INSERT INTO users VALUES "
                     "(1, 'NORTH', 1), (2, 'south', 2)");
  world.source().Run(schema + "INSERT INTO area VALUES ('north', 1), ('South', 2)");
  EXPECT_EQ(Refusals(world.Plan()), "");
  const core::PhaseOutcome outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.source().Run("DELETE FROM area WHERE kind = 2");
  world.set_id("second");
  EXPECT_THAT(Refusals(world.Plan()), HasSubstr("1 values that rows of public.users refer to"));
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

// Waits for what `sql` says of `session`; false when it never does.
bool Becomes(db::Session& session, const std::string& sql) {
  const auto until = SteadyClock::now() + std::chrono::seconds(60);
  while (!session.Scalar(sql).AsBool()) {
    if (SteadyClock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

// A server with the tablespace `small` on a file system of its own, where this process may mount
// one.
class SmallTablespace {
 public:
  explicit SmallTablespace(int megabytes) {
    up_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0,
                  ("size=" + std::to_string(megabytes) + "m").c_str()) == 0;
    if (!up_) return;
    RunCommand({.argv = {"chown", "postgres", folder_.path().string()}});
    server_.emplace();
    db::Connect(server())->Execute("CREATE TABLESPACE small LOCATION '" + path().string() + "'");
  }
  ~SmallTablespace() {
    server_.reset();
    if (up_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  bool up() const { return up_; }
  db::Endpoint server() const { return server_->endpoint(); }
  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_{"us-disk"};
  bool up_ = false;
  std::optional<OwnServer> server_;
};

// hard-case 71: the disk, as full as it will be.
TEST(Plan, ComparesTheRoomThatTheShadowNeedsWithWhatIsFree) {
  NEED_POSTGRES_BINARIES();
  const SmallTablespace disk(24);
  if (!disk.up()) GTEST_SKIP() << "may not mount a file system here";
  SwapWorld world(disk.server());
  Fill(world);
  EXPECT_THAT(Steps(world.Plan()), HasSubstr("disk: needed: about "));
  world.target().Run(
      "ALTER TABLE users SET TABLESPACE small;"
      "INSERT INTO users (name) SELECT repeat('x', 1000) FROM generate_series(1, 14000)");
  core::Plan plan = world.Plan();
  ASSERT_EQ(plan.refused.size(), 1U) << Refusals(plan);
  EXPECT_EQ(plan.refused[0].object, "the server's disk");
  EXPECT_THAT(plan.refused[0].why, ::testing::ContainsRegex("the shadow needs about 1[5-7] MB"));
  EXPECT_THAT(plan.refused[0].why,
              ::testing::ContainsRegex("[789] MB are free in " + disk.path().string()));
  EXPECT_EQ(world.Prepare().kind, Kind::kRefused);
  world.target().Run("DELETE FROM users WHERE id > 2000");
  world.target().Run("VACUUM FULL users");
  plan = world.Plan();
  EXPECT_EQ(Refusals(plan), "");
  // The source's rows go where its table lies, too.
  world.source().Run(
      "ALTER TABLE area SET TABLESPACE small;"
      "INSERT INTO area SELECT i, repeat('x', 1000) FROM generate_series(100, 9100) i");
  EXPECT_THAT(Refusals(world.Plan()), HasSubstr("the server's disk"));
}

// hard-case 71: what plan could not foresee. Somebody else fills the disk while prepare is at work:
// it fails and says what happened, production goes on, and nothing of ours is left by a reset.
TEST(Plan, PrepareFailsCleanlyOnADiskThatFillsUpMeanwhile) {
  NEED_POSTGRES_BINARIES();
  const SmallTablespace disk(32);
  if (!disk.up()) GTEST_SKIP() << "may not mount a file system here";
  SwapWorld world(disk.server());
  Fill(world);
  for (const testing::Database* side : {&world.target(), &world.source()}) {
    side->Run("ALTER TABLE users SET TABLESPACE small");
  }
  world.target().Run(
      "INSERT INTO users (name) SELECT repeat('x', 1000) FROM generate_series(1, 8000)");
  world.at_point = [&](std::string_view point) {
    if (point != "prepare.schema_built") return;
    RunCommand(
        {.argv = {"dd", "if=/dev/zero", "of=" + (disk.path() / "other").string(), "bs=64k"}});
  };
  core::PhaseOutcome outcome = world.Prepare();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("No space left on device"));
  EXPECT_THAT(outcome.next, HasSubstr("migrate"));
  world.target().Run("UPDATE users SET name = 'y' WHERE id = 1");
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM public.users"), "8050");
  // It goes on where it stood once there is room, or is given up.
  std::filesystem::remove(disk.path() / "other");
  world.at_point = nullptr;
  outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM understudy_shadow_public.users"), "8050");
  outcome = world.Reset();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Ours(), "");
}

// hard-case 148: a full lock table makes clients fail.
TEST(Plan, NamesTheSizeOfTheLockTableThatIsEnough) {
  NEED_POSTGRES_BINARIES();
  const std::vector<std::string> small = {"max_connections=60", "max_worker_processes=1",
                                          "max_wal_senders=1", "autovacuum=off"};
  const auto with = [&](const std::string& locks) {
    std::vector<std::string> settings = small;
    settings.push_back("max_locks_per_transaction=" + locks);
    return settings;
  };
  OwnServer server(with("64"));
  SwapWorld world(server.endpoint(), false);
  std::string sql = "CREATE TABLE t0 (id serial PRIMARY KEY, name text UNIQUE);";
  for (int i = 1; i < 60; ++i) {
    sql += "CREATE TABLE t" + std::to_string(i) +
           " (id serial PRIMARY KEY, name text UNIQUE, other integer REFERENCES t0);";
  }
  world.target().Run(sql);
  world.SchemaBySql("ALTER TABLE t1 ADD COLUMN note text");
  core::Plan plan = world.Plan();
  EXPECT_THAT(Refusals(plan), Not(HasSubstr("lock table")));
  server.Restart(with("10"));
  plan = world.Plan();
  const std::string refused = Refusals(plan);
  ASSERT_THAT(refused, HasSubstr("the lock table: the exchange takes about 480 locks"));
  EXPECT_THAT(refused, HasSubstr("(max_locks_per_transaction = 10)"));
  const std::string before = "set max_locks_per_transaction = ";
  const auto at = refused.find(before);
  ASSERT_NE(at, std::string::npos) << refused;
  EXPECT_EQ(world.Prepare().kind, Kind::kRefused);
  server.Restart(with(std::to_string(std::atoi(refused.c_str() + at + before.size()))));
  EXPECT_EQ(Refusals(world.Plan()), "");
  for (const core::PhaseOutcome& outcome :
       {world.Cutover(), world.Verify(), world.Rollback(), world.Cleanup()}) {
    EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  }
  EXPECT_EQ(world.Ours(), "");
}

// hard-case 52, and a source that is a standby: nothing is done to it, so it may be one.
TEST(Plan, NamesStandbysAndTheirQueriesAndReadsFromOne) {
  NEED_POSTGRES_BINARIES();
  OwnServer primary({"wal_level=logical"});
  SwapWorld world(primary.endpoint());
  Fill(world);
  const OwnServer standby(primary, "reports",
                          {"hot_standby_feedback=on", "max_standby_streaming_delay=1s",
                           "wal_receiver_status_interval=1"});
  const auto on_standby =
      db::Connect(standby.endpoint(world.target().endpoint().Setting("dbname")));
  const auto session = world.target().Connect();
  ASSERT_TRUE(Becomes(*session,
                      "SELECT count(*) = 1 FROM pg_stat_replication "
                      "WHERE replay_lsn = pg_current_wal_lsn()"));
  EXPECT_THAT(Warnings(world.Plan()),
              AllOf(HasSubstr("the standby reports"), HasSubstr("max_standby_streaming_delay")));
  on_standby->Begin(db::Isolation::kRepeatableRead);
  on_standby->Query("SELECT count(*) FROM public.users");
  for (int i = 0; i < 3; ++i) session->Query("SELECT txid_current()");
  ASSERT_TRUE(Becomes(*session, "SELECT bool_or(age(backend_xmin) >= 3) FROM pg_stat_replication"));
  EXPECT_THAT(Warnings(world.Plan()),
              ::testing::ContainsRegex("standby reports \\(with hot_standby_feedback, its oldest "
                                       "query is ([3-9]|[1-9][0-9]+) transactions old"));
  // What it warns of is what happens.
  core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_THROW(
      {
        for (int i = 0; i < 200; ++i)
          on_standby->Query("SELECT count(*), pg_sleep(0.1) FROM public.users");
      },
      Error);

  // A standby as the target is refused, as the source it is read.
  world.set_id("second");
  world.set_target_by(standby.endpoint(world.target().endpoint().Setting("dbname")));
  EXPECT_THAT(Refusals(world.Plan()), HasSubstr("the target: this server is a standby"));
  world.set_target_by(world.target().endpoint());
  world.set_source_by(standby.endpoint(world.source().endpoint().Setting("dbname")));
  world.source().Run("UPDATE area SET name = 'newer'");
  ASSERT_TRUE(Becomes(*session,
                      "SELECT bool_and(replay_lsn = pg_current_wal_lsn()) FROM "
                      "pg_stat_replication"));
  EXPECT_EQ(Refusals(world.Plan()), "");
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT name FROM public.area WHERE id = 1"), "newer");
}

// hard-case 52: who reads this database's changes.
TEST(Plan, RefusesLogicalReplicationUnlessItIsToBeDoneAnew) {
  NEED_POSTGRES_BINARIES();
  const OwnServer server({"wal_level=logical"});
  SwapWorld world(server.endpoint());
  Fill(world);
  testing::Database subscriber(server.endpoint());
  subscriber.Run("CREATE TABLE users (id integer PRIMARY KEY, name text, area integer)");
  world.target().Run("CREATE PUBLICATION changes FOR TABLE users");
  world.target().Run("SELECT pg_create_logical_replication_slot('reader', 'pgoutput')");
  const std::string connection =
      "'host=" + server.folder().string() + " port=" + std::to_string(server.port()) +
      " user=postgres dbname=" + world.target().endpoint().Setting("dbname") + "'";
  subscriber.Run("CREATE SUBSCRIPTION reader CONNECTION " + connection +
                 " PUBLICATION changes WITH (create_slot = false, slot_name = 'reader')");
  const std::string refused = Refusals(world.Plan());
  EXPECT_THAT(refused, HasSubstr("publication changes: it publishes public.users"));
  EXPECT_THAT(refused, HasSubstr("replication slot reader: whoever reads it"));
  EXPECT_THAT(refused, HasSubstr("say \"publications\": \"resync\""));
  EXPECT_EQ(world.Prepare().kind, Kind::kRefused);
  world.document()["publications"] = "resync";
  const core::Plan plan = world.Plan();
  EXPECT_EQ(Refusals(plan), "");
  EXPECT_THAT(Warnings(plan), HasSubstr("replication slot reader"));
  const core::PhaseOutcome outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) FROM pg_publication_tables WHERE pubname = 'changes' "
                         "AND schemaname || '.' || tablename = 'public.users'"),
            "1");
  // The side that is written to by a subscription.
  SwapWorld fed(server.endpoint());
  Fill(fed);
  fed.target().Run("CREATE SUBSCRIPTION feed CONNECTION " + connection +
                   " PUBLICATION changes WITH (connect = false, slot_name = NONE)");
  fed.target().Run(
      "INSERT INTO pg_subscription_rel SELECT s.oid, 'users'::regclass, 'r' FROM "
      "pg_subscription s WHERE subname = 'feed'");
  EXPECT_THAT(Refusals(fed.Plan()), HasSubstr("table public.users: a subscription"));
  fed.target().Run("DROP SUBSCRIPTION feed");
  subscriber.Run(
      "ALTER SUBSCRIPTION reader DISABLE; ALTER SUBSCRIPTION reader SET (slot_name = NONE);"
      "DROP SUBSCRIPTION reader");
  world.target().Run("SELECT pg_drop_replication_slot('reader') FROM (SELECT pg_sleep(0.5)) x");
}

// hard-case 21: a vacuum that does not give way.
TEST(Plan, NamesVacuumsThatDoNotGiveWay) {
  NEED_POSTGRES_BINARIES();
  OwnServer server({"autovacuum=off", "autovacuum_freeze_max_age=100000"});
  SwapWorld world(server.endpoint());
  Fill(world);
  world.target().Run(
      "CREATE TABLE big (id integer PRIMARY KEY, fill text);"
      "INSERT INTO big SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i;"
      "CREATE TABLE waste (a integer)");
  world.source().Run("CREATE TABLE big (id integer PRIMARY KEY, fill text)");
  EXPECT_THAT(Warnings(world.Plan()), Not(HasSubstr("wraparound")));
  // A transaction's number for each block of the loop.
  world.target().Run(
      "DO $$ BEGIN FOR i IN 1..101000 LOOP BEGIN INSERT INTO waste VALUES (i); "
      "EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$");
  EXPECT_THAT(Warnings(world.Plan()),
              ::testing::ContainsRegex("wraparound is due on .*big.*VACUUM \\(FREEZE\\)"));
  server.Restart({"autovacuum=on", "autovacuum_freeze_max_age=100000", "autovacuum_naptime=1",
                  "autovacuum_vacuum_cost_delay=100", "autovacuum_vacuum_cost_limit=1"});
  const auto session = world.target().Connect();
  ASSERT_TRUE(Becomes(*session,
                      "SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE relid = "
                      "'public.big'::regclass AND heap_blks_scanned > 0)"));
  const std::string pid =
      session
          ->Scalar("SELECT pid FROM pg_stat_progress_vacuum WHERE relid = 'public.big'::regclass")
          .text;
  EXPECT_THAT(Warnings(world.Plan()),
              ::testing::ContainsRegex("pid " + pid +
                                       " vacuums public.big to prevent wraparound "
                                       "\\([1-9][0-9]* of [0-9]+ blocks\\); it does not give way"));
}

// An ordinary vacuum gives way to who waits for longer than our attempts do; it may take hours.
TEST(Plan, DoesNotFailForAVacuumThatGivesWay) {
  NEED_POSTGRES_BINARIES();
  OwnServer server({"autovacuum=off"});
  SwapWorld world(server.endpoint());
  Fill(world);
  const std::string big = "CREATE TABLE big (id integer PRIMARY KEY, fill text);";
  // A partition outside, whose key is made anew, is locked with the others.
  world.target().Run(big +
                     "INSERT INTO big SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i;"
                     "CREATE TABLE event (id integer, who integer REFERENCES users, fill text) "
                     "PARTITION BY RANGE (id); "
                     "CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (100000);"
                     "INSERT INTO event SELECT id, NULL, fill FROM big");
  world.source().Run(big);
  world.document()["preserved"] = {"users", "big"};
  world.document()["exclude"] = {"event", "event_1"};
  world.document()["limits"] = {{"cutover_budget_ms", 8000}};
  server.Restart({"autovacuum=on", "autovacuum_naptime=4", "autovacuum_vacuum_cost_delay=100",
                  "autovacuum_vacuum_cost_limit=1"});
  world.target().Run(
      "UPDATE big SET fill = 'y' WHERE id % 2 = 0; UPDATE event SET fill = 'y' WHERE id % 2 = 0");
  const auto session = world.target().Connect();
  const std::string vacuumed =
      "SELECT count(*) = 2 FROM pg_stat_progress_vacuum WHERE relid IN ('public.big'::regclass, "
      "'public.event_1'::regclass)";
  ASSERT_TRUE(Becomes(*session, vacuumed));
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  ASSERT_TRUE(Becomes(*session, vacuumed));
  outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_THAT(world.logs, ::testing::Contains(HasSubstr("public.big is being vacuumed")));
  EXPECT_THAT(world.logs, ::testing::Contains(HasSubstr("public.event_1 is being vacuumed")));
}

// What the statements that it lists give is enough for all of it.
TEST(Plan, ListsTheGrantsOfALeastRoleThatAreEnough) {
  NEED_POSTGRES_BINARIES();
  const OwnServer server;
  db::Connect(server.endpoint())
      ->Execute("CREATE ROLE mover LOGIN; CREATE ROLE owns NOLOGIN; CREATE ROLE \"Other\" NOLOGIN");
  SwapWorld world(server.endpoint());
  Fill(world);
  world.target().Run("ALTER TABLE users OWNER TO owns; ALTER TABLE area OWNER TO \"Other\"");
  const auto as_mover = [&](const testing::Database& database) {
    return database.endpoint().WithSetting("user", "mover");
  };
  world.set_target_by(as_mover(world.target()));
  world.set_source_by(as_mover(world.source()));
  // Again and again what it says, as a person would.
  std::string granted;
  for (int round = 0; round < 4; ++round) {
    const core::Plan plan = world.Plan();
    EXPECT_EQ(plan.can_run(), round > 0 && plan.refused.empty());
    if (plan.can_run()) break;
    EXPECT_EQ(plan.next, "");
    for (const core::PlanRefusal& refusal : plan.refused) {
      ASSERT_EQ(refusal.object, "role mover") << refusal.why;
      const std::string sql = refusal.why.substr(refusal.why.rfind(": ") + 2);
      granted += sql + "\n";
      (refusal.why.find("in the source") == std::string::npos ? world.target() : world.source())
          .Run(sql);
    }
  }
  // All at once: the same statements are among the steps.
  core::Plan plan = world.Plan();
  EXPECT_EQ(Refusals(plan), "") << granted;
  const std::string before = "the least that its role needs: ";
  int listed = 0;
  for (const core::PlanStep& step : plan.steps) {
    if (!step.what.starts_with(before)) continue;
    ++listed;
    world.target().Run(step.what.substr(before.size()));
  }
  EXPECT_EQ(listed, 5);
  EXPECT_THAT(granted,
              AllOf(HasSubstr("GRANT CREATE ON DATABASE"), HasSubstr("GRANT owns TO mover"),
                    HasSubstr("GRANT \"Other\" TO mover")));
  EXPECT_THAT(Warnings(world.Plan()), Not(HasSubstr("pg_monitor")));
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run("INSERT INTO users (name) VALUES ('during')");
  for (const core::PhaseOutcome& done :
       {world.Cutover(), world.Verify(), world.Rollback(), world.Cleanup()}) {
    EXPECT_EQ(done.kind, Kind::kDone) << done.message;
  }
  EXPECT_EQ(
      world.Scalar("SELECT relowner::regrole FROM pg_class WHERE oid = 'public.users'::regclass"),
      "owns");
  EXPECT_EQ(world.Ours(), "");
}

// A role that may only read: it learns everything, and what it lacks.
TEST(Plan, TellsARoleThatMayOnlyRead) {
  NEED_POSTGRES_BINARIES();
  const OwnServer server;
  db::Connect(server.endpoint())
      ->Execute(
          "CREATE ROLE reader LOGIN; CREATE ROLE nobody LOGIN; GRANT pg_read_all_data TO reader; "
          "ALTER ROLE reader SET default_transaction_read_only = on");
  SwapWorld world(server.endpoint());
  Fill(world);
  for (const std::string role : {"reader", "nobody"}) {
    SCOPED_TRACE(role);
    world.set_target_by(world.target().endpoint().WithSetting("user", role));
    world.set_source_by(world.source().endpoint().WithSetting("user", role));
    const core::Plan plan = world.Plan();
    EXPECT_THAT(Refusals(plan), AllOf(HasSubstr("GRANT CREATE ON DATABASE "),
                                      HasSubstr("it does not own public.area, "),
                                      HasSubstr(": ALTER TABLE public.area OWNER TO " + role)));
    // Who may act as the superuser that owns them is one.
    EXPECT_THAT(Refusals(plan) + Steps(plan),
                Not(HasSubstr("GRANT " + world.Scalar("SELECT quote_ident(current_user)") + " ")));
    EXPECT_EQ(Refusals(plan).find("it may not read public.area") != std::string::npos,
              role == "nobody");
    if (role == "reader") {
      EXPECT_THAT(Steps(plan), HasSubstr("rows of public.users: production's"));
    }
    EXPECT_EQ(world.Prepare().kind, Kind::kRefused);
    EXPECT_EQ(world.Ours(), "");
  }
}

// hard-cases 20, 34: who holds it back, and how to end that.
TEST(Plan, NamesPreparedTransactionsAndEventTriggers) {
  NEED_POSTGRES();
  SwapWorld world;
  Fill(world);
  world.target().Run(
      "BEGIN; INSERT INTO users (name) VALUES ('p'); PREPARE TRANSACTION 'left behind'");
  world.target().Run(
      "CREATE FUNCTION seen() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
      "CREATE EVENT TRIGGER watcher ON ddl_command_end EXECUTE FUNCTION seen()");
  const std::string warnings = Warnings(world.Plan());
  EXPECT_THAT(warnings,
              HasSubstr("the prepared transaction 'left behind' of postgres is open for 00:00:0"));
  EXPECT_THAT(warnings, HasSubstr("ROLLBACK PREPARED 'left behind'"));
  world.target().Run("ROLLBACK PREPARED 'left behind'");
  const core::Plan plan = world.Plan();
  EXPECT_THAT(Warnings(plan) + Refusals(plan), HasSubstr("watcher"));
  EXPECT_THAT(Warnings(plan), Not(HasSubstr("left behind")));
}

// hard-case 71: what prepare may open at once is what plan has promised, to the last connection.
TEST(Plan, RefusesWhereTheServerHasTooFewConnections) {
  NEED_POSTGRES_BINARIES();
  const std::string none_kept = "superuser_reserved_connections=0";
  const std::string no_senders = "max_wal_senders=0";
  const std::string minimal = "wal_level=minimal";
  OwnServer server;
  SwapWorld world(server.endpoint());
  Fill(world);
  world.document()["limits"] = {{"jobs", 3}};
  server.Restart({none_kept, no_senders, minimal, "max_connections=13"});
  core::Plan plan = world.Plan();
  EXPECT_THAT(Refusals(plan),
              AllOf(HasSubstr("the connections of the target's server: "),
                    HasSubstr("opens up to 14 connections there (limits.jobs = 3), and 13 are free "
                              "(max_connections = 13, 0 of them kept back, 0 in use)"),
                    HasSubstr("lower limits.jobs")));
  EXPECT_EQ(world.Prepare().kind, Kind::kRefused);
  EXPECT_EQ(world.Ours(), "");

  server.Restart({none_kept, no_senders, minimal, "max_connections=14"});
  plan = world.Plan();
  EXPECT_EQ(Refusals(plan), "");
  EXPECT_THAT(Warnings(plan), HasSubstr("clients that come meanwhile may find none"));
  const core::PhaseOutcome outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;

  server.Restart({none_kept, no_senders, minimal, "max_connections=14"});
  EXPECT_EQ(world.Rollback().kind, Kind::kDone);
}

// hard-case 71
TEST(Plan, RefusesWhereRoleOrDatabaseMayNotConnectOftenEnough) {
  NEED_POSTGRES_BINARIES();
  const OwnServer server;
  SwapWorld world(server.endpoint());
  Fill(world);
  const std::string name = world.target().endpoint().Setting("dbname");
  world.target().Run(
      "CREATE ROLE mover LOGIN CONNECTION LIMIT 9; GRANT pg_read_all_data TO mover;" +
      ("ALTER DATABASE \"" + name + "\" CONNECTION LIMIT 8"));
  const auto held = world.target().Connect();
  world.set_target_by(world.target().endpoint().WithSetting("user", "mover"));
  EXPECT_THAT(
      Refusals(world.Plan()),
      AllOf(Not(HasSubstr("the connections of the")), Not(HasSubstr("role mover: a prepare")),
            HasSubstr("database " + name +
                      ": a prepare opens up to 8 connections there (limits.jobs = 2), and its "
                      "CONNECTION LIMIT of 8 leaves 7"),
            HasSubstr("CONNECTION LIMIT 9")));
  world.target().Run("ALTER ROLE mover CONNECTION LIMIT 5; ALTER DATABASE \"" + name +
                     "\" CONNECTION LIMIT 9");
  EXPECT_THAT(
      Refusals(world.Plan()),
      AllOf(HasSubstr("role mover: a prepare opens up to 8 connections there"),
            HasSubstr("ALTER ROLE mover CONNECTION LIMIT 8"), Not(HasSubstr("database " + name))));
}

// hard-case 57: of large objects only the numbers travel; those of production stay, and whose.
TEST(Plan, TellsOfLargeObjects) {
  NEED_POSTGRES();
  SwapWorld world;
  const std::string schema =
      "CREATE TABLE photo (id integer PRIMARY KEY, body oid);"
      "CREATE TABLE scan (id integer PRIMARY KEY, body oid);";
  world.document()["preserved"] = {"photo"};
  for (const testing::Database* side : {&world.target(), &world.source()}) side->Run(schema);
  EXPECT_THAT(Warnings(world.Plan()), Not(HasSubstr("large objects")));
  world.source().Run("INSERT INTO scan VALUES (1, lo_from_bytea(0, 'scanned'))");
  EXPECT_THAT(Warnings(world.Plan()),
              AllOf(HasSubstr("the source holds 1 large objects, and public.scan.body may name "
                              "some of them: they are not copied"),
                    Not(HasSubstr("photo"))));
  world.target().Run("INSERT INTO photo VALUES (1, lo_from_bytea(0, 'taken'))");
  EXPECT_THAT(Warnings(world.Plan()),
              HasSubstr("public.photo.body, public.scan.body may hold large objects"));
  const std::string about =
      "SELECT convert_from(lo_get(p.body), 'UTF8') || lomowner::regrole FROM public.photo p JOIN "
      "pg_largeobject_metadata m ON m.oid = p.body";
  const std::string before = world.Scalar(about);
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar(about), before);
  EXPECT_EQ(world.Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world.Scalar(about), before);
}

// A person reads of another key before it is in service: what clients look rows up by.
TEST(Plan, TellsOfAnotherKey) {
  NEED_POSTGRES();
  SwapWorld world(false);
  world.target().Run(
      "CREATE TABLE wide (id integer PRIMARY KEY, v text);"
      "CREATE TABLE other (id integer PRIMARY KEY, email text NOT NULL UNIQUE);"
      "CREATE TABLE same (id integer PRIMARY KEY, email text NOT NULL UNIQUE)");
  world.SchemaBySql(
      "ALTER TABLE wide ALTER id TYPE bigint;"
      "ALTER TABLE other DROP CONSTRAINT other_pkey, ADD UNIQUE (id), ADD PRIMARY KEY (email);"
      "ALTER TABLE same ADD COLUMN note text");
  const core::Plan plan = world.Plan();
  EXPECT_EQ(Refusals(plan), "");
  EXPECT_THAT(
      Warnings(plan),
      AllOf(HasSubstr("public.wide: the key (id integer) that its writes are captured by becomes "
                      "(id bigint)"),
            HasSubstr("public.other: its primary key is (id integer) and becomes (email text)"),
            Not(HasSubstr("public.wide: its primary key")), Not(HasSubstr("public.same: the key")),
            Not(HasSubstr("public.same: its primary key"))));
}

// pg_dump locks every table of the database: what a superuser's plan says is enough for the role,
// schemas that have no part in it included.
TEST(Plan, ListsWhatARoleMustReadOfOtherSchemas) {
  NEED_POSTGRES_BINARIES();
  const OwnServer server;
  SwapWorld world(server.endpoint(), false);
  world.target().Run(
      "CREATE ROLE owns; CREATE ROLE mover LOGIN;"
      "CREATE TABLE users (id serial PRIMARY KEY); ALTER TABLE users OWNER TO owns;"
      "CREATE SCHEMA \"Other\"; CREATE TABLE \"Other\".log (id serial PRIMARY KEY);"
      "CREATE SCHEMA numbers; CREATE SEQUENCE numbers.n");
  world.SchemaBySql("ALTER TABLE users ADD COLUMN note text");
  const std::string before = "instead of a superuser this is enough: ";
  std::vector<std::string> grants;
  for (const core::PlanStep& step : world.Plan().steps) {
    if (!step.what.starts_with(before)) continue;
    std::string sql = step.what.substr(before.size());
    for (auto at = sql.find("ANOTHER_ROLE"); at != std::string::npos;
         at = sql.find("ANOTHER_ROLE")) {
      sql.replace(at, 12, "mover");
    }
    grants.push_back(sql);
  }
  EXPECT_THAT(grants, ::testing::Contains(HasSubstr("GRANT USAGE ON SCHEMA \"Other\" TO mover; "
                                                    "GRANT SELECT ON ALL TABLES IN SCHEMA")));
  world.set_target_by(world.target().endpoint().WithSetting("user", "mover"));
  EXPECT_THAT(Refusals(world.Plan()),
              HasSubstr("role mover: it may not read \"Other\".log in the "
                        "target: GRANT USAGE ON SCHEMA \"Other\" TO mover"));
  for (const std::string& sql : grants) {
    // Without data no sequence is read.
    if (!sql.starts_with("GRANT USAGE ON SCHEMA numbers")) world.target().Run(sql);
  }
  EXPECT_EQ(Refusals(world.Plan()), "");
  const core::PhaseOutcome outcome = world.Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
}

}  // namespace
}  // namespace understudy::table_swap
