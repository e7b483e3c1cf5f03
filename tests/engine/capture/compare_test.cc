#include "engine/capture/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/capture/dropped.h"
#include "tests/engine/capture/mirror.h"

namespace understudy::capture {
namespace {

using testing::Mirrored;
using understudy::testing::Database;

// hard-case 65, 67, 110, 111, 112: every line is one wrong that looks right.
TEST(CaptureCompare, SeesEveryBit) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TYPE public.mood AS ENUM ('a', 'A');
    CREATE TABLE public.t (id int PRIMARY KEY, txt text, fixed char(6), n numeric, f float8, r real,
      big bigint, ts timestamp, tz timestamptz, j json, jb jsonb, arr numeric[], m public.mood,
      raw bytea, flag boolean, day date, span interval);
    INSERT INTO public.t SELECT i, 'text', 'ab', 1.0, 0.0, 0.1, 1, '2026-01-01', '2026-01-01',
      '{"a":1}', '{"a":1.0}', '{1.0}', 'a', '\x00', true, '2026-01-01', '1 day'
      FROM generate_series(1, 10) i;
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.t (LIKE public.t INCLUDING ALL);)");
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  ASSERT_TRUE(mirrored.Compare(0).equal);
  for (const std::string wrong : {"txt = 'text '",
                                  "txt = 'Text'",
                                  "txt = ''",
                                  "txt = NULL",
                                  "fixed = 'ac'",
                                  "n = 1.00",
                                  "f = '-0'",
                                  "f = 5e-324",
                                  "r = 0.1000001",
                                  "big = 4294967296",
                                  "big = -2",
                                  "ts = '2026-01-01 00:00:00.000001'",
                                  "tz = '2026-01-01 00:00:01'",
                                  "j = '{\"a\": 1}'",
                                  "jb = '{\"a\":1}'",
                                  "arr = '{1.00}'",
                                  "m = 'A'",
                                  "raw = '\\x01'",
                                  "raw = ''",
                                  "flag = false",
                                  "day = '2026-01-02'",
                                  "span = '24 hours'"}) {
    database.Run("UPDATE mirror.t SET " + wrong + " WHERE id = 4");
    const MirrorComparison comparison = mirrored.Compare(0);
    EXPECT_FALSE(comparison.equal) << wrong;
    EXPECT_EQ(comparison.examples, Json::array({Json{{"id", "4"}}})) << wrong;
    database.Run(
        "DELETE FROM mirror.t WHERE id = 4; INSERT INTO mirror.t SELECT * FROM public.t "
        "WHERE id = 4");
  }
  EXPECT_TRUE(mirrored.Compare(0).equal);
}

TEST(CaptureCompare, SeesValuesThatChangedPlacesAndRowsTooManyOrFew) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, a text, b text);
    INSERT INTO public.t SELECT i, 'a' || i, 'b' || i FROM generate_series(1, 10) i;
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.t (LIKE public.t INCLUDING ALL);)");
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  const auto wrong = [&](const std::string& sql) {
    mirrored.session().Begin(db::Isolation::kRepeatableRead);
    mirrored.session().Execute(sql);
    const MirrorComparison comparison = CompareMirror(mirrored.session(), mirrored.tables()[0]);
    mirrored.session().Rollback();
    EXPECT_FALSE(comparison.equal) << sql;
    return comparison.examples.size();
  };
  EXPECT_EQ(wrong("UPDATE mirror.t SET a = CASE id WHEN 1 THEN 'a2' ELSE 'a1' END WHERE id < 3"),
            2U);
  EXPECT_EQ(wrong("UPDATE mirror.t SET a = b, b = a WHERE id = 5"), 1U);
  EXPECT_EQ(wrong("DELETE FROM mirror.t WHERE id = 9"), 1U);
  EXPECT_EQ(wrong("INSERT INTO mirror.t VALUES (11, 'x', 'y')"), 1U);
  EXPECT_EQ(
      wrong("DELETE FROM mirror.t WHERE id = 1; INSERT INTO mirror.t VALUES (12, 'a1', 'b1')"), 2U);
  EXPECT_EQ(wrong("TRUNCATE mirror.t"), 10U);
}

TEST(CaptureCompare, LeavesPendingKeysOutOnBothSides) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, a text);
    INSERT INTO public.t SELECT i, 'a' || i FROM generate_series(1, 10) i;
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.t (LIKE public.t INCLUDING ALL);)");
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  database.Run(
      "UPDATE public.t SET a = 'x' WHERE id = 1; DELETE FROM public.t WHERE id = 2;"
      "INSERT INTO public.t VALUES (11, 'y'); UPDATE public.t SET id = 33 WHERE id = 3");
  MirrorComparison comparison = mirrored.Compare(0);
  EXPECT_TRUE(comparison.equal) << comparison.examples;
  EXPECT_EQ(comparison.pending_keys, 5);
  EXPECT_EQ(comparison.watched_rows, 7);
  database.Run("UPDATE mirror.t SET a = 'wrong' WHERE id = 7");
  comparison = mirrored.Compare(0);
  EXPECT_FALSE(comparison.equal);
  EXPECT_EQ(comparison.examples, Json::array({Json{{"id", "7"}}}));
}

TEST(CaptureCompare, FindsOrphans) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.a (x int, y int, PRIMARY KEY (x, y));
    CREATE TABLE public.b (id int PRIMARY KEY, x bigint, y int);
    INSERT INTO public.a VALUES (1, 1), (2, 2);
    INSERT INTO public.b VALUES (1, 1, 1), (2, 1, 2), (3, 9, 9), (4, 9, 9), (5, NULL, 7);)");
  const auto session = database.Connect();
  const auto tables = catalog::ReadTables(*session, {"public"});
  Reference reference{tables[1].oid, {"x", "y"}, tables[0].oid, {"x", "y"}, false};
  db::Transaction transaction(*session, db::Isolation::kRepeatableRead, true);
  Orphans orphans = FindOrphans(*session, reference);
  EXPECT_EQ(orphans.rows, 3);
  EXPECT_THAT(orphans.examples, ::testing::UnorderedElementsAre(Json{{"x", "1"}, {"y", "2"}},
                                                                Json{{"x", "9"}, {"y", "9"}}));
  reference.match_full = true;
  EXPECT_EQ(FindOrphans(*session, reference).rows, 4);
}

TEST(CaptureDroppedRows, SayThatAParentHasComeBackSinceItsRowsWereTakenOut) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.a (id int PRIMARY KEY, ok boolean);
    CREATE TABLE public.b (id int PRIMARY KEY, a int);
    INSERT INTO public.a SELECT i, i > 2 FROM generate_series(1, 5) i;
    INSERT INTO public.b SELECT i, i FROM generate_series(1, 5) i;
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.a (LIKE public.a INCLUDING ALL);
    CREATE TABLE mirror.b (LIKE public.b INCLUDING ALL);)");
  Mirrored mirrored(database, {"a", "b"});
  mirrored.Start();
  auto& session = mirrored.session();
  const std::vector<CapturedTable> complete = mirrored.tables();
  std::vector<CapturedTable>& tables = mirrored.tables();
  tables[0].mapping.only = "ok";
  session.Execute("DELETE FROM mirror.a WHERE NOT ok");
  const Reference reference{tables[1].mirror, {"a"}, tables[0].mirror, {"id"}, false};
  EXPECT_EQ(DroppedRows::Reaches(tables, {reference}, {true}), std::vector{true});
  EXPECT_EQ(DroppedRows::Reaches(complete, {reference}, {true}), std::vector{false});
  EXPECT_EQ(DroppedRows::Reaches(complete, {reference}, {false}), std::vector{true});
  const auto after = [&](const std::string& write) {
    std::string list;
    {
      const db::Transaction transaction(session);  // is rolled back, like an attempt
      DroppedRows dropped(session, tables, {reference});
      dropped.TakeOut();
      database.Run(write);
      std::set<Oid> drained;
      std::vector<DroppedRows::Hit> hits;
      for (const CapturedTable& table : tables) {
        if (Replay(session, table, {.entries = std::nullopt}).entries == 0) continue;
        drained.insert(table.watched);
        hits.push_back({0, table.watched});
      }
      dropped.TakeOutDrained(drained, hits);
      list = dropped.List(2).dump();
    }
    mirrored.ReplayAll();
    return list;
  };
  EXPECT_EQ(after("INSERT INTO public.b VALUES (6, 1), (7, 3)"),
            R"({"public.a":{"rows":2,"keys":[{"id":"1"},{"id":"2"}]},)"
            R"("public.b":{"rows":3,"keys":[{"id":"1"},{"id":"2"}]}})");
  EXPECT_EQ(after("UPDATE public.b SET a = 3 WHERE id = 1"),
            R"({"public.a":{"rows":2,"keys":[{"id":"1"},{"id":"2"}]},)"
            R"("public.b":{"rows":2,"keys":[{"id":"2"},{"id":"6"}]}})");
  try {
    after("UPDATE public.a SET ok = true WHERE id = 2");
    FAIL() << "b 2 is taken out, and its parent is there";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConflict) << error.what();
    EXPECT_EQ(error.code(), "changed");
  }
  EXPECT_EQ(after("DELETE FROM public.b WHERE id = 6"),
            R"({"public.a":{"rows":1,"keys":[{"id":"1"}]}})");
}

// For the moment under the locks: only what was drained there is looked at.
TEST(CaptureCompare, FindsOrphansAmongWhatWasDrained) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.a (id int PRIMARY KEY);
    CREATE TABLE public.b (id int PRIMARY KEY, a int);
    INSERT INTO public.a SELECT generate_series(1, 10);
    INSERT INTO public.b SELECT i, i FROM generate_series(1, 10) i;
    INSERT INTO public.b VALUES (99, 99);
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.a (LIKE public.a INCLUDING ALL);
    CREATE TABLE mirror.b (LIKE public.b INCLUDING ALL);)");
  Mirrored mirrored(database, {"a", "b"});
  mirrored.Start();
  auto& session = mirrored.session();
  const auto& tables = mirrored.tables();
  const Reference reference{tables[1].mirror, {"a"}, tables[0].mirror, {"id"}, false};
  int spared = 0;  // looks that MayOrphanSql made needless
  const auto among = [&](const std::string& sql) {
    database.Run(sql);
    db::Transaction transaction(session, db::Isolation::kRepeatableRead);
    std::int64_t rows = 0;
    for (const CapturedTable& table : tables) Replay(session, table);
    for (const CapturedTable& table : tables) {
      const std::int64_t found = FindOrphansAmong(session, reference, table).rows;
      rows += found;
      if (!session.Scalar("SELECT " + MayOrphanSql(session, reference, table)).AsBool()) {
        EXPECT_EQ(found, 0) << sql;
        ++spared;
      }
    }
    transaction.Commit();
    return rows;
  };
  ReadyReplay ready(session, tables);  // makes the tables of the batches
  EXPECT_EQ(among("SELECT 1"), 0);
  EXPECT_EQ(among("UPDATE public.b SET a = 5 WHERE id = 1"), 0);
  EXPECT_EQ(among("UPDATE public.b SET a = 50 WHERE id = 1"), 1);
  EXPECT_EQ(among("DELETE FROM public.a WHERE id = 7"), 1);
  EXPECT_EQ(among("UPDATE public.b SET a = 3 WHERE id = 2"), 0);
  EXPECT_EQ(FindOrphans(session, reference).rows, 3);
  EXPECT_EQ(spared, 8);
}

// A row that was replayed before the one that it refers to: both are right once all is.
TEST(CaptureCompare, LeavesReferencesOfPendingKeysOut) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.a (x int, y int, tag text COLLATE "C" UNIQUE, PRIMARY KEY (x, y));
    CREATE TABLE public.b (id int PRIMARY KEY, y bigint, x int, tag text);
    INSERT INTO public.a VALUES (1, 1, 'one'), (2, 2, 'two');
    INSERT INTO public.b VALUES (1, 1, 1, 'one');
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.a (LIKE public.a INCLUDING ALL);
    CREATE TABLE mirror.b (LIKE public.b INCLUDING ALL);)");
  Mirrored mirrored(database, {"a", "b"});
  mirrored.Start();
  const auto& tables = mirrored.tables();
  const Oid a = tables[0].mirror;
  const Oid b = tables[1].mirror;
  const Reference by_key{b, {"y", "x"}, a, {"y", "x"}, false};  // not in the order of the key
  const Reference by_tag{b, {"tag"}, a, {"tag"}, false};
  const auto orphans = [&](const Reference& reference, bool pending_too) {
    db::Transaction transaction(mirrored.session(), db::Isolation::kRepeatableRead);
    return FindOrphans(mirrored.session(), reference,
                       pending_too ? std::vector<CapturedTable>{} : tables)
        .rows;
  };
  // The child is over, the parent waits.
  database.Run("INSERT INTO public.a VALUES (3, 4, 'three')");
  database.Run("INSERT INTO public.b VALUES (2, 4, 3, 'three')");
  mirrored.ReplayOne(1);
  EXPECT_EQ(orphans(by_key, true), 1);
  EXPECT_EQ(orphans(by_key, false), 0);
  EXPECT_EQ(orphans(by_tag, true), 1);
  EXPECT_EQ(orphans(by_tag, false), 0);
  // The parent is gone, and the child waits to go as well.
  mirrored.ReplayOne(0);
  database.Run("DELETE FROM public.a WHERE x = 3; UPDATE public.b SET x = 1, y = 1, tag = 'one'");
  mirrored.ReplayOne(0);
  EXPECT_EQ(orphans(by_key, true), 1);
  EXPECT_EQ(orphans(by_key, false), 0);
  mirrored.ReplayOne(1);
  EXPECT_EQ(orphans(by_key, true), 0);
  // What nobody waits for is found, whatever else waits.
  database.Run("INSERT INTO public.b VALUES (3, 9, 9, 'nine')");
  mirrored.ReplayOne(1);
  database.Run(
      "INSERT INTO public.a VALUES (5, 5, 'five'); UPDATE public.b SET id = id WHERE id = 1");
  EXPECT_EQ(orphans(by_key, false), 1);
  // By other columns than the captured key: the replay of `a` looks at all rows.
  EXPECT_EQ(orphans(by_tag, false), 0);
  db::Transaction transaction(mirrored.session(), db::Isolation::kRepeatableRead);
  Replay(mirrored.session(), tables[0]);
  EXPECT_EQ(FindOrphansAmong(mirrored.session(), by_tag, tables[0], tables).rows, 1);
  EXPECT_EQ(FindOrphansAmong(mirrored.session(), by_tag, tables[0], tables, false).rows, 0);
}

// A row that refers to its own table, either way.
TEST(CaptureCompare, FindsOrphansOfATableThatRefersToItself) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, up int);
    INSERT INTO public.t VALUES (1, NULL), (2, 1), (3, 2), (99, 98);
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.t (LIKE public.t INCLUDING ALL);)");
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  const auto& table = mirrored.tables()[0];
  const Reference up{table.mirror, {"up"}, table.mirror, {"id"}, false};
  const auto among = [&](const std::string& sql) {
    database.Run(sql);
    db::Transaction transaction(mirrored.session(), db::Isolation::kRepeatableRead);
    Replay(mirrored.session(), table);
    const Json examples = FindOrphansAmong(mirrored.session(), up, table).examples;
    transaction.Commit();
    return examples.dump();
  };
  EXPECT_EQ(among("UPDATE public.t SET up = 3 WHERE id = 1"), "[]");
  EXPECT_EQ(among("UPDATE public.t SET up = 7 WHERE id = 1"), R"([{"up":"7"}])");
  EXPECT_EQ(among("DELETE FROM public.t WHERE id = 2"), R"([{"up":"2"}])");
}

// A key whose equality is its own: 'ada' refers to 'Ada', and is an orphan once 'ADA' is gone.
TEST(CaptureCompare, FindsOrphansByTheKeysOwnEquality) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE EXTENSION citext SCHEMA public;
    CREATE TABLE public.a (mail public.citext PRIMARY KEY);
    CREATE TABLE public.b (id int PRIMARY KEY, a public.citext);
    INSERT INTO public.a VALUES ('Ada'), ('Bob');
    INSERT INTO public.b VALUES (1, 'ada'), (2, 'BOB');
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.a (LIKE public.a INCLUDING ALL);
    CREATE TABLE mirror.b (LIKE public.b INCLUDING ALL);)");
  Mirrored mirrored(database, {"a", "b"});
  mirrored.Start();
  const auto& tables = mirrored.tables();
  const Reference reference{tables[1].mirror, {"a"}, tables[0].mirror, {"mail"}, false};
  database.Run(
      "UPDATE public.a SET mail = 'ADA' WHERE mail = 'ada'; "
      "DELETE FROM public.a WHERE mail = 'bob'");
  db::Transaction transaction(mirrored.session(), db::Isolation::kRepeatableRead);
  EXPECT_EQ(FindOrphans(mirrored.session(), reference).rows, 0);
  Replay(mirrored.session(), tables[0]);
  EXPECT_EQ(FindOrphans(mirrored.session(), reference).rows, 1);
  const Orphans orphans = FindOrphansAmong(mirrored.session(), reference, tables[0]);
  EXPECT_EQ(orphans.rows, 1);
  EXPECT_EQ(orphans.examples, Json::array({Json{{"a", "BOB"}}}));
}

}  // namespace
}  // namespace understudy::capture
