#include "tests/engine/table_swap/swap_fixture.h"

namespace understudy::table_swap {
namespace {
using ::testing::Contains;
using ::testing::HasSubstr;
using Kind = core::PhaseOutcome::Kind;

// Places are the new data's; everything else is the users', and hangs on them through each other.
constexpr const char* kSchema = R"(
CREATE TABLE place (id integer PRIMARY KEY);
CREATE TABLE note (id integer PRIMARY KEY, place integer REFERENCES place, reply_to integer REFERENCES note);
CREATE TABLE liked (who text, note bigint REFERENCES note, PRIMARY KEY (who, note));
CREATE TABLE seen (id integer PRIMARY KEY, who text, note bigint, FOREIGN KEY (who, note) REFERENCES liked);
CREATE TABLE ring (id integer PRIMARY KEY, other integer);
CREATE TABLE gem (id integer PRIMARY KEY, ring integer REFERENCES ring, place integer REFERENCES place);
ALTER TABLE ring ADD FOREIGN KEY (other) REFERENCES gem;
)";

class SwapOrphans : public ::testing::Test {
 protected:
  void Fill(const std::string& drop = "drop") {
    world_.document()["preserved"] = {"note", "liked", "seen", "ring", "gem"};
    world_.document()["orphans"] = drop;
    world_.target().Run(std::string(kSchema) + R"(
INSERT INTO place SELECT generate_series(1, 9);
INSERT INTO note SELECT i, i, NULL FROM generate_series(1, 9) i;         -- 8 and 9 are orphans
INSERT INTO note VALUES (20, 1, 9), (21, NULL, 20), (22, 2, 1), (23, 3, 23);
INSERT INTO liked SELECT 'a', i FROM generate_series(1, 9) i;
INSERT INTO liked VALUES ('b', 21), ('b', 22), ('b', 23);
INSERT INTO seen SELECT i, 'a', i FROM generate_series(1, 9) i;
INSERT INTO seen VALUES (21, 'b', 21), (22, 'b', 22), (30, 'z', NULL);
INSERT INTO ring VALUES (1), (2), (3);
INSERT INTO gem VALUES (1, 2, 9), (2, 3, 1), (3, 3, 3);  -- 1 is an orphan
UPDATE ring SET other = id;                              -- 1 goes with it; 2, 3 stay
INSERT INTO gem VALUES (4, 1, 1);                        -- and 4 with ring 1
INSERT INTO ring VALUES (5), (6);
INSERT INTO gem VALUES (5, 5, 1), (6, 6, 8);
UPDATE ring SET other = 5 WHERE id = 5;                  -- a circle of its own stays
UPDATE ring SET other = 6 WHERE id = 6;                  -- this one goes: its gem is an orphan
)");
    world_.source().Run(std::string(kSchema) + "INSERT INTO place SELECT generate_series(1, 7)");
  }
  std::string Rows() {
    return world_.Scalar(R"(
SELECT concat((SELECT string_agg(id::text, ',' ORDER BY id) FROM public.note), ' | ',
              (SELECT string_agg(who || note, ',' ORDER BY note, who) FROM public.liked), ' | ',
              (SELECT string_agg(id::text, ',' ORDER BY id) FROM public.seen), ' | ',
              (SELECT string_agg(id::text, ',' ORDER BY id) FROM public.ring), ' | ',
              (SELECT string_agg(id::text, ',' ORDER BY id) FROM public.gem)))");
  }
  static constexpr const char* kLeft =
      "1,2,3,4,5,6,7,22,23 | a1,a2,a3,a4,a5,a6,a7,b22,b23 | 1,2,3,4,5,6,7,22,30 | 2,3,5 | 2,3,5";
  Json Listed() {
    return ParseJson(ReadFile(world_.folder() / "dropped-rows-swap.json"), "dropped rows");
  }

  SwapWorld world_;
};

// What refers to a dropped row goes with it, through any number of tables and in
// circles; each is named, before the cutover and behind it.
TEST_F(SwapOrphans, DropWithThemWhatRefersToThemAndListTheKeys) {
  NEED_POSTGRES();
  Fill();
  world_.set_rehearsal(false);
  EXPECT_THAT(world_.Plan().warnings,
              Contains(HasSubstr("public.seen: rows that refer to dropped rows of public.liked")));
  core::PhaseOutcome outcome = world_.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  const auto rows = [](Json keys) {
    const std::size_t count = keys.size();
    return Json{{"rows", count}, {"keys", std::move(keys)}};
  };
  const auto ids = [&](const std::vector<std::string>& all) {
    Json keys = Json::array();
    for (const std::string& id : all) keys.push_back({{"id", id}});
    return rows(keys);
  };
  const auto likes = [&](const std::vector<std::pair<std::string, std::string>>& all) {
    Json keys = Json::array();
    for (const auto& [who, note] : all) keys.push_back({{"who", who}, {"note", note}});
    return rows(keys);
  };
  Json expected = {{"public.gem", ids({"1", "4", "6"})},
                   {"public.liked", likes({{"a", "8"}, {"a", "9"}, {"b", "21"}})},
                   {"public.note", ids({"8", "9", "20", "21"})},
                   {"public.ring", ids({"1", "6"})},
                   {"public.seen", ids({"8", "9", "21"})}};
  EXPECT_EQ(Listed().at("tables"), expected);
  EXPECT_EQ(Listed().at("as_of"), "prepare");
  EXPECT_THAT(world_.logs, Contains(HasSubstr("public.seen: 3 rows are left out")));
  EXPECT_THAT(world_.Plan().warnings, Contains(HasSubstr("public.liked: 3 rows are left out")));
  EXPECT_THAT(world_.Status().of_strategy.detail, HasSubstr("public.ring: 2 rows are left out"));

  // Late ones: written, mended and made orphans between prepare and cutover.
  world_.target().Run(R"(
INSERT INTO note VALUES (40, 8, NULL), (41, 1, 40); INSERT INTO liked VALUES ('c', 41);
UPDATE note SET place = 1 WHERE id = 9;
UPDATE note SET place = 9 WHERE id = 7;)");
  outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  outcome = world_.Verify();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Rows(),
            "1,2,3,4,5,6,9,20,21,22,23 | a1,a2,a3,a4,a5,a6,a9,b21,b22,b23 | "
            "1,2,3,4,5,6,9,21,22,30 | 2,3,5 | 2,3,5");
  expected["public.note"] = ids({"7", "8", "40", "41"});
  expected["public.liked"] = likes({{"a", "7"}, {"a", "8"}, {"c", "41"}});
  expected["public.seen"] = ids({"7", "8"});
  EXPECT_EQ(Listed().at("tables"), expected);
  EXPECT_EQ(Listed().at("as_of"), "cutover");
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT "
                          "convalidated AND connamespace = 'public'::regnamespace"),
            "0");
  // A way back that loses nothing knows how many rows there were.
  outcome = world_.Rollback();
  EXPECT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM public.note"), "15");
}

// Nobody looks at the tables any more when these come: they are drained under the locks.
TEST_F(SwapOrphans, DropWhatBecomesOneUnderTheLocks) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  int n = 100;
  int locked_at = 0;
  world_.at_point = [&](std::string_view point) {
    if (point == "cutover.locked") locked_at = n;
    if (point != "replay.after_commit") return;
    const std::string id = std::to_string(++n);
    world_.target().Run(
        "INSERT INTO note VALUES (" + id + ", 9, NULL); INSERT INTO liked VALUES " + "('x', " + id +
        "), ('y" + id + "', 21); INSERT INTO seen VALUES (" + id + ", 'x', " + id +
        "); INSERT INTO note VALUES (" + std::to_string(n + 1000) +
        ", 1, 23); UPDATE note SET place = 8 WHERE id = " + std::to_string(n - 100));
  };
  world_.target().Run("UPDATE note SET place = place WHERE id = 1");
  const core::PhaseOutcome outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  ASSERT_GE(n, 102);
  EXPECT_EQ(locked_at, n) << "nothing was drained under the locks";
  const std::string last = std::to_string(n - 100);
  EXPECT_EQ(world_.Scalar(
                "SELECT count(*) FROM public.note WHERE id BETWEEN 100 AND 1000 OR id <= " + last),
            "0");
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM public.note WHERE id > 1000"),
            std::to_string(n - 100));
  EXPECT_EQ(
      world_.Scalar(
          "SELECT count(*) FROM public.liked WHERE who <> 'a' AND who <> 'b' OR note <= " + last),
      "0");
  EXPECT_EQ(world_.Scalar("SELECT count(*) FROM public.seen WHERE id >= 100 OR id <= " + last),
            "0");
  EXPECT_EQ(world_.Verify().kind, Kind::kDone);
  EXPECT_EQ(world_.Rollback().kind, Kind::kDone);
}

// A parent that is mended at the last moment brings with it what hangs on it.
TEST_F(SwapOrphans, ComeBackWithTheirParents) {
  NEED_POSTGRES();
  Fill();
  world_.target().Run(
      "INSERT INTO note SELECT i, 9, NULL FROM generate_series(201, 212) i; "
      "INSERT INTO liked SELECT 'm', i FROM generate_series(201, 212) i; "
      "INSERT INTO seen SELECT i, 'm', i FROM generate_series(201, 212) i");
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  int n = 200;
  int locked_at = 0;
  world_.at_point = [&](std::string_view point) {
    if (point == "cutover.locked") locked_at = n;
    if (point != "replay.after_commit" || n == 212) return;
    world_.target().Run("UPDATE note SET place = 1 WHERE id = " + std::to_string(++n));
  };
  world_.target().Run("UPDATE note SET place = place WHERE id = 1");
  const core::PhaseOutcome outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  ASSERT_LT(n, 212);
  ASSERT_EQ(locked_at, n) << "none was mended behind the last look before the locks";
  EXPECT_EQ(
      world_.Scalar("SELECT count(*) FROM public.seen s JOIN public.liked l ON (s.who, s.note) "
                    "= (l.who, l.note) JOIN public.note n ON n.id = l.note WHERE l.who = 'm'"),
      std::to_string(n - 200));
  EXPECT_EQ(world_.Verify().kind, Kind::kDone);
}

TEST_F(SwapOrphans, AreKeptAsTheyAreWhenTheCutoverIsGivenUp) {
  NEED_POSTGRES();
  Fill();
  ASSERT_EQ(world_.Prepare().kind, Kind::kDone);
  bool fail = true;
  world_.at_point = [&](std::string_view point) {
    if (point == "cutover.before_commit" && fail) throw Error(ErrorKind::kInternal, "on purpose");
  };
  EXPECT_NE(world_.Cutover().kind, Kind::kDone);
  fail = false;
  const core::PhaseOutcome outcome = world_.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Rows(), kLeft);
}

// hard-cases 46, 78: whether a parent is there is for the foreign key's own operator to say, which
// may be an extension's, in a schema that we do not search.
TEST(SwapOrphansOfTypes, AreNoneWhereTheForeignKeyFindsAParent) {
  NEED_POSTGRES();
  SwapWorld world;
  const std::string schema =
      "CREATE EXTENSION citext; CREATE TABLE place (code citext, kind integer, PRIMARY KEY (code, "
      "kind)); CREATE TABLE t (kind smallint, id integer PRIMARY KEY, code citext, FOREIGN KEY "
      "(code, kind) REFERENCES place);";
  world.document()["preserved"] = {"t"};
  world.document()["orphans"] = "drop";
  world.target().Run(
      schema +
      "INSERT INTO place VALUES ('North', 1), ('South', 2), ('West', 3);"
      "INSERT INTO t VALUES (1, 1, 'NORTH'), (2, 2, 'south'), (3, 3, 'West'), (NULL, "
      "4, 'no'), (1, 5, 'north'), (3, 6, 'west')");
  world.source().Run(schema + "INSERT INTO place VALUES ('north', 1), ('South', 2)");
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run(
      "UPDATE t SET code = 'nORTH' WHERE id = 5; INSERT INTO t VALUES (2, 7, 'SOUTH'), "
      "(3, 8, 'wEST')");
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT string_agg(id || coalesce(code::text, ''), ' ' ORDER BY id) FROM "
                         "public.t"),
            "1NORTH 2south 4no 5nORTH 7SOUTH");
}

// hard-cases 46, 53: a key to a partitioned table has parts for each of its partitions.
TEST(SwapOrphansOfTypes, AreNoneWhereTheirParentIsInAPartition) {
  NEED_POSTGRES();
  SwapWorld world;
  const std::string schema =
      "CREATE TABLE place (id integer PRIMARY KEY) PARTITION BY RANGE (id);"
      "CREATE TABLE low PARTITION OF place FOR VALUES FROM (MINVALUE) TO (10);"
      "CREATE TABLE high PARTITION OF place FOR VALUES FROM (10) TO (MAXVALUE);"
      "CREATE TABLE t (id integer PRIMARY KEY, place integer REFERENCES place);";
  world.document()["preserved"] = {"t"};
  world.document()["orphans"] = "drop";
  world.target().Run(schema +
                     "INSERT INTO place SELECT generate_series(1, 20); INSERT INTO t SELECT i, i "
                     "FROM generate_series(1, 20) i");
  world.source().Run(schema + "INSERT INTO place SELECT generate_series(3, 18)");
  core::PhaseOutcome outcome = world.Prepare();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  world.target().Run("UPDATE t SET place = 18 - place WHERE id < 10; DELETE FROM t WHERE id = 5");
  outcome = world.Cutover();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(world.Scalar("SELECT count(*) || ' ' || sum(id) FROM public.t"), "17 166");
}

}  // namespace
}  // namespace understudy::table_swap
