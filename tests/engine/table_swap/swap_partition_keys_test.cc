#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "tests/engine/table_swap/swap_fixture.h"

// hard-cases 46, 53: foreign keys of partitioned tables, which take no NOT VALID.
namespace understudy::table_swap {
namespace {
using ::testing::HasSubstr;
using Kind = core::PhaseOutcome::Kind;

// A tree in the set and one outside, both of two levels, with keys to a preserved table, the latter
// with parts of other names than their whole; a key out of the set, one between the two trees, and
// one of a tree to itself.
constexpr const char* kTrees = R"(
CREATE SCHEMA other;
CREATE TABLE other.country (code text PRIMARY KEY);
INSERT INTO other.country VALUES ('np');
CREATE TABLE person (id integer PRIMARY KEY, name text);
INSERT INTO person SELECT i, 'p' || i FROM generate_series(1, 100) i;
CREATE TABLE note (id integer PRIMARY KEY, person integer, code text, before integer)
  PARTITION BY RANGE (id);
CREATE TABLE note_1 PARTITION OF note FOR VALUES FROM (0) TO (1000);
CREATE TABLE note_2 PARTITION OF note FOR VALUES FROM (1000) TO (2000) PARTITION BY RANGE (id);
CREATE TABLE note_21 PARTITION OF note_2 FOR VALUES FROM (1000) TO (1500);
CREATE TABLE note_22 PARTITION OF note_2 FOR VALUES FROM (1500) TO (2000);
INSERT INTO note SELECT i, 1 + i % 100, 'np', nullif(i % 100, 0) FROM generate_series(1, 1999) i;
ALTER TABLE note ADD CONSTRAINT of_whole FOREIGN KEY (person) REFERENCES person ON DELETE CASCADE;
ALTER TABLE note ADD CONSTRAINT note_code FOREIGN KEY (code) REFERENCES other.country;
ALTER TABLE note ADD CONSTRAINT note_before FOREIGN KEY (before) REFERENCES note;
COMMENT ON CONSTRAINT of_whole ON note IS 'the whole';
CREATE TABLE other.event (id integer, person integer, note integer) PARTITION BY LIST (id);
CREATE TABLE other.event_1 PARTITION OF other.event FOR VALUES IN (1);
CREATE TABLE other.event_2 PARTITION OF other.event DEFAULT PARTITION BY RANGE (person);
CREATE TABLE other.event_21 PARTITION OF other.event_2 FOR VALUES FROM (0) TO (50);
CREATE TABLE other.event_22 PARTITION OF other.event_2 DEFAULT;
INSERT INTO other.event SELECT i % 3, 1 + i % 100, i FROM generate_series(1, 999) i;
ALTER TABLE other.event_22 ADD CONSTRAINT mine FOREIGN KEY (person) REFERENCES person
  ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE other.event_2 ADD CONSTRAINT "of Half" FOREIGN KEY (person) REFERENCES person
  ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
COMMENT ON CONSTRAINT mine ON other.event_22 IS 'the leaf''s';
ALTER TABLE other.event ADD CONSTRAINT event_person FOREIGN KEY (person) REFERENCES person
  ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE other.event ADD CONSTRAINT event_note FOREIGN KEY (note) REFERENCES note
  ON DELETE CASCADE;
COMMENT ON CONSTRAINT event_person ON other.event IS 'outside';
)";

class PartitionKeys : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::HavePostgres()) return;
    world_.emplace(false);
    world().target().Run(kTrees);
    world().SchemaBySql("ALTER TABLE person ADD extra text;");
    before_ = Keys();
  }
  SwapWorld& world() { return *world_; }
  // Every key between tables in service with all that the catalog knows of it. The server chooses
  // the names of the parts for partitions of a referenced table.
  std::string Keys() {
    return world().Scalar(R"(
SELECT string_agg(line, E'\n' ORDER BY line) FROM (
  SELECT concat_ws(' | ', k.conrelid::regclass, k.confrelid::regclass,
                   CASE WHEN p.conrelid IS DISTINCT FROM k.conrelid THEN k.conname END,
                   pg_get_constraintdef(k.oid), k.convalidated, k.coninhcount, k.conislocal,
                   obj_description(k.oid), p.conrelid::regclass, p.confrelid::regclass,
                   (SELECT string_agg(concat(t.tgrelid::regclass, ' ', t.tgfoid::regproc,
                                             t.tgenabled), ', ' ORDER BY t.tgrelid::regclass::text,
                                      t.tgfoid::regproc::text)
                    FROM pg_trigger t WHERE t.tgconstraint = k.oid)) AS line
  FROM pg_constraint k LEFT JOIN pg_constraint p ON p.oid = k.conparentid
  WHERE k.contype = 'f' AND k.connamespace IN ('public'::regnamespace, 'other'::regnamespace)) x)");
  }
  const std::string& before() const { return before_; }
  std::string NotValid() {
    return world().Scalar(
        "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated AND "
        "connamespace IN ('public'::regnamespace, 'other'::regnamespace)");
  }
  // The process ends when it comes there.
  void DieAt(const std::string& point) {
    world().at_point = [point](std::string_view at) {
      if (at == point) throw Error(ErrorKind::kInternal, "killed");
    };
  }
  void GoOn() { world().at_point = nullptr; }

 private:
  std::optional<SwapWorld> world_;
  std::string before_;
};

TEST_F(PartitionKeys, AreMadeOfThePartitionsUnderTheLocksAndWholeBehindTheCommit) {
  NEED_POSTGRES();
  const auto refusal = [&](const std::string& sql) -> std::string {
    try {
      world().target().Connect()->Execute(sql);
    } catch (const Error& error) {
      return error.code();
    }
    return "";
  };
  bool seen = false;
  world().at_point = [&](std::string_view point) {
    if (point != "cutover.after_commit") return;
    seen = true;
    // Nothing was looked up under the locks, and all of it acts.
    EXPECT_EQ(world().Scalar("SELECT string_agg(conname || '/' || conrelid::regclass || '/' || "
                             "convalidated, ' ' ORDER BY conrelid::regclass::text) FROM "
                             "pg_constraint WHERE confrelid = 'public.person'::regclass"),
              "event_person/other.event_1/false of Half/other.event_21/false "
              "mine/other.event_22/false of_whole/public.note_1/false "
              "of_whole/public.note_21/false of_whole/public.note_22/false");
    EXPECT_EQ(refusal("INSERT INTO public.note VALUES (0, 9999)"), "23503");
    EXPECT_EQ(refusal("INSERT INTO other.event VALUES (1, 9999)"), "23503");
    world().target().Run("DELETE FROM public.person WHERE id = 100");
    EXPECT_EQ(world().Scalar("SELECT count(*) FROM public.note WHERE person = 100"), "0");
    EXPECT_EQ(world().Scalar("SELECT count(*) FROM other.event WHERE person = 100"), "0");
  };
  core::PhaseOutcome outcome = world().Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_TRUE(seen);
  EXPECT_EQ(Keys(), before());
  EXPECT_EQ(refusal("INSERT INTO public.note VALUES (0, 9999)"), "23503");
  outcome = world().Verify();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world().Rollback(/*lose_writes=*/true);
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Keys(), before());
  EXPECT_EQ(world().Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world().Ours(), "");
}

TEST_F(PartitionKeys, AreAsBeforeWhenTheWayBackIsTakenBeforeTheyAreWhole) {
  NEED_POSTGRES();
  // A plain key outside is to be valid again as well.
  world().target().Run(
      "CREATE TABLE other.plain (person integer REFERENCES public.person);"
      "INSERT INTO other.plain VALUES (7)");
  const std::string all = Keys();
  DieAt("cutover.after_commit");
  EXPECT_EQ(world().Cutover().kind, Kind::kFailed);
  GoOn();
  EXPECT_NE(NotValid(), "0");
  // One of them was validated by a process that did not live to say so.
  world().target().Run("ALTER TABLE other.event_1 VALIDATE CONSTRAINT event_person");
  const core::PhaseOutcome outcome = world().Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Keys(), all);
  EXPECT_EQ(world().Cleanup().kind, Kind::kDone);
  EXPECT_EQ(world().Ours(), "");
}

TEST_F(PartitionKeys, AreMadeWholeBesideClientsThatReadAndThenWrite) {
  NEED_POSTGRES();
  // To the server in a deadlock with whoever locks less at first and more then, almost always.
  std::atomic<bool> over = false;
  std::vector<std::jthread> clients;
  world().at_point = [&](std::string_view point) {
    if (point != "cutover.after_commit") return;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&] {
        const auto session = world().target().Connect();
        while (!over) {
          const db::Transaction transaction(*session);
          session->Query("SELECT count(*) FROM public.note");
          session->Query("SELECT pg_sleep(0.03)");
          session->Execute("UPDATE public.note SET code = code WHERE id = -1");
        }
      });
    }
  };
  const core::PhaseOutcome outcome = world().Cutover();
  over = true;
  clients.clear();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Keys(), before());
}

TEST_F(PartitionKeys, AreMadeWholeByWhoeverComesNext) {
  NEED_POSTGRES();
  DieAt("cutover.after_commit");
  EXPECT_EQ(world().Cutover().kind, Kind::kFailed);
  GoOn();
  world().target().Run(
      "ALTER TABLE note_1 VALIDATE CONSTRAINT of_whole;"
      "ALTER TABLE note_21 VALIDATE CONSTRAINT of_whole;"
      "ALTER TABLE note_22 VALIDATE CONSTRAINT of_whole;"
      "ALTER TABLE note_2 ADD CONSTRAINT of_whole FOREIGN KEY (person) REFERENCES person(id) ON "
      "DELETE CASCADE; ALTER TABLE note ADD CONSTRAINT of_whole FOREIGN KEY (person) REFERENCES "
      "person(id) ON DELETE CASCADE; COMMENT ON CONSTRAINT of_whole ON note IS 'the whole'");
  core::PhaseOutcome outcome = world().Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Keys(), before());
  // And on the way back.
  DieAt("rollback.after_commit");
  EXPECT_EQ(world().Rollback().kind, Kind::kFailed);
  EXPECT_NE(NotValid(), "0");
  GoOn();
  outcome = world().Rollback();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Keys(), before());
}

TEST_F(PartitionKeys, AreMadeWholeBeforeTheJournalGoes) {
  NEED_POSTGRES();
  ASSERT_EQ(world().Cutover().kind, Kind::kDone);
  DieAt("rollback.after_commit");
  EXPECT_EQ(world().Rollback().kind, Kind::kFailed);
  GoOn();
  EXPECT_NE(Keys(), before());
  EXPECT_EQ(world().Cleanup().kind, Kind::kDone);
  EXPECT_EQ(Keys(), before());
  EXPECT_EQ(world().Ours(), "");
}

// A partition that has gone since takes its own part of the key along, and no other.
TEST_F(PartitionKeys, AreMadeWholeWithoutAPartitionThatHasGone) {
  NEED_POSTGRES();
  DieAt("cutover.after_commit");
  EXPECT_EQ(world().Cutover().kind, Kind::kFailed);
  GoOn();
  world().target().Run("DROP TABLE other.event_2");
  const core::PhaseOutcome outcome = world().Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world().Scalar("SELECT count(*) FROM pg_constraint WHERE convalidated AND conrelid = "
                           "'other.event'::regclass AND conname = 'event_person'"),
            "1");
}

// Its rows would be looked up while everybody waits for the joining, and again when that is not
// done in time.
TEST_F(PartitionKeys, AreMadeWholeOfAPartitionThatHasComeSince) {
  NEED_POSTGRES();
  DieAt("cutover.after_commit");
  EXPECT_EQ(world().Cutover().kind, Kind::kFailed);
  GoOn();
  world().target().Run(
      "CREATE TABLE other.\"late One\" (LIKE other.event);"
      "INSERT INTO other.\"late One\" SELECT 40, 1 + i % 90, 1 + i % 1900 FROM generate_series(1, "
      "1500000) i;"
      "ALTER TABLE other.event ATTACH PARTITION other.\"late One\" FOR VALUES IN (40)");
  world().document()["limits"] = {{"lock_timeout_ms", 30}, {"cutover_budget_ms", 8000}};
  core::PhaseOutcome outcome = world().Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world().Scalar("SELECT convalidated || ' ' || (conparentid <> 0) FROM pg_constraint "
                           "WHERE conrelid = 'other.\"late One\"'::regclass AND contype = 'f' "
                           "AND conname = 'event_person'"),
            "true true");
}

TEST_F(PartitionKeys, AreToldWhereRowsReferToNothing) {
  NEED_POSTGRES();
  ASSERT_EQ(world().Prepare().kind, Kind::kDone);
  // Production's own key was not looked at for these rows either.
  world().target().Run(
      "SET session_replication_role = replica; INSERT INTO other.event VALUES (1, 777, 1)");
  core::PhaseOutcome outcome = world().Cutover();
  EXPECT_EQ(outcome.kind, Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("the new tables are in service, but a foreign key is not "
                                         "valid"));
  EXPECT_THAT(outcome.message, HasSubstr("\"event_1\" violates foreign key"));
  EXPECT_EQ(outcome.next, "migrate verify");
  EXPECT_EQ(world().Scalar("SELECT count(*) FROM pg_constraint WHERE conrelid = "
                           "'other.event'::regclass AND conname = 'event_person'"),
            "0");
  // A cleanup would forget them.
  outcome = world().Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kFailed) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("a foreign key is not valid"));
  world().target().Run("DELETE FROM other.event WHERE person = 777");
  outcome = world().Cleanup();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Keys(), before());
  EXPECT_EQ(world().Ours(), "");
}

// A client that holds the tables up for long is not joined by all others.
TEST_F(PartitionKeys, WaitShortlyForTheMomentOfJoining) {
  NEED_POSTGRES();
  world().document()["limits"] = {{"lock_timeout_ms", 100}};
  const auto holder = world().target().Connect();
  world().at_point = [&](std::string_view point) {
    if (point == "cutover.after_commit") {
      holder->Execute("BEGIN; INSERT INTO other.event VALUES (1, 5, 5)");
    }
  };
  bool gave_way = false;
  world().at_log = [&](const std::string& text) {
    if (gave_way || text.find("attempt 1 failed") == std::string::npos) return;
    gave_way = true;
    world().target().Run("INSERT INTO other.event VALUES (1, 6, 6)");
    holder->Execute("COMMIT");
  };
  const core::PhaseOutcome outcome = world().Cutover();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_TRUE(gave_way);
  EXPECT_EQ(Keys(), before());
}

TEST_F(PartitionKeys, ComeBackWithWhatIsCarriedBack) {
  NEED_POSTGRES();
  world().document()["reverse"] = true;
  core::PhaseOutcome outcome = world().Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world().target().Run("INSERT INTO note VALUES (0, 5, 'np', 1)");
  outcome = world().Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Keys(), before());
  EXPECT_EQ(world().Scalar("SELECT person FROM public.note WHERE id = 0"), "5");
}

// Every partition of the one side would have a key for every partition of the other.
TEST(PartitionKeysOfMany, AreMadeAtOnceAndThePlanTellsHowLongThatTakes) {
  NEED_POSTGRES();
  SwapWorld world(false);
  std::string sql =
      "CREATE SCHEMA other; CREATE TABLE r (id integer PRIMARY KEY) PARTITION BY HASH (id);"
      "CREATE TABLE other.p (id integer, r integer) PARTITION BY HASH (id);";
  for (int i = 0; i < 20; ++i) {
    const std::string rest = " FOR VALUES WITH (MODULUS 20, REMAINDER " + std::to_string(i) + ");";
    sql += "CREATE TABLE r" + std::to_string(i) + " PARTITION OF r" + rest +
           "CREATE TABLE other.p" + std::to_string(i) + " PARTITION OF other.p" + rest;
  }
  world.target().Run(sql +
                     "INSERT INTO r SELECT generate_series(1, 100);"
                     "INSERT INTO other.p SELECT i, 1 + i % 100 FROM generate_series(1, 30000) i;"
                     "ALTER TABLE other.p ADD CONSTRAINT p_r FOREIGN KEY (r) REFERENCES r; "
                     "ANALYZE other.p");
  world.SchemaBySql("CREATE TABLE more (id integer PRIMARY KEY);");
  const core::Plan plan = world.Plan();
  EXPECT_EQ(Refusals(plan), "");
  EXPECT_THAT(Warnings(plan),
              HasSubstr("other.p: its foreign key p_r to public.r is between two partitioned "
                        "tables and can only be made at once: 30000 rows are looked up under the "
                        "locks of the cutover, in about 40 ms"));
  world.document()["limits"] = {{"lock_timeout_ms", 15}};
  EXPECT_THAT(Refusals(world.Plan()),
              HasSubstr("in about 40 ms, of which there are 30: drop the key before and add it "
                        "again after, or set limits.lock_timeout_ms to 21"));
  world.document()["limits"] = {{"lock_timeout_ms", 2000}};
  const core::PhaseOutcome outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT convalidated || ' ' || confrelid::regclass FROM pg_constraint "
                         "WHERE conrelid = 'other.p'::regclass AND conname = 'p_r'"),
            "true public.r");
}

}  // namespace
}  // namespace understudy::table_swap
