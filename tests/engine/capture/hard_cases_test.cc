// What lost rows in other tools, one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "engine/base/error.h"
#include "engine/catalog/fingerprint.h"
#include "tests/engine/capture/mirror.h"

namespace understudy::capture {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::Mirrored;
using understudy::testing::Database;

std::unique_ptr<db::Session> User(const Database& database) {
  return database.Connect({.settings = db::Settings::kUsers});
}

// A schema `mirror` with the same tables, without foreign keys and triggers.
void MakeMirror(const Database& database, const std::vector<std::string>& tables) {
  std::string sql = "CREATE SCHEMA IF NOT EXISTS mirror;";
  for (const std::string& table : tables) {
    sql += "CREATE TABLE mirror." + db::QuoteIdentifier(table) + " (LIKE public." +
           db::QuoteIdentifier(table) + " INCLUDING ALL);";
  }
  database.Run(sql);
}

void ExpectSame(Mirrored& mirrored) {
  for (const ReplayResult& result : mirrored.ReplayAll()) EXPECT_THAT(result.refused, IsEmpty());
  EXPECT_EQ(mirrored.PendingNow(), 0);
  for (std::size_t i = 0; i < mirrored.tables().size(); ++i) {
    EXPECT_EQ(mirrored.Difference(i), "");
    const MirrorComparison comparison = mirrored.Compare(i);
    EXPECT_TRUE(comparison.equal) << comparison.examples;
  }
}

// hard-case 1, 2
TEST(CaptureHardCases, InstallWaitsForTheTransactionThatWroteBefore) {
  NEED_POSTGRES();
  const Database database;
  database.Run("CREATE TABLE public.t (id int PRIMARY KEY, v int)");
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  const auto writer = User(database);
  writer->Begin();
  writer->Execute("INSERT INTO public.t VALUES (1, 1)");
  auto started = std::async(std::launch::async, [&] { mirrored.Start(); });
  EXPECT_EQ(started.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  writer->Execute("INSERT INTO public.t VALUES (2, 2)");
  writer->Commit();
  started.get();
  EXPECT_EQ(mirrored.Difference(0), "");
  ExpectSame(mirrored);
}

// hard-case 3: the first to write commits last, after a replay has taken what came later.
TEST(CaptureHardCases, CommitsInAnotherOrderThanWrites) {
  NEED_POSTGRES();
  const Database database;
  database.Run(
      "CREATE TABLE public.t (id int PRIMARY KEY, v int);"
      "INSERT INTO public.t SELECT i, 0 FROM generate_series(1, 10) i");
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  const auto early = User(database);
  const auto late = User(database);
  early->Begin();
  early->Execute("UPDATE public.t SET v = 1 WHERE id = 1");
  late->Execute("UPDATE public.t SET v = 2 WHERE id = 2");
  EXPECT_EQ(mirrored.ReplayAll().at(0).entries, 1);
  early->Commit();
  EXPECT_EQ(mirrored.PendingNow(), 1);
  ExpectSame(mirrored);
}

// hard-case 4, 5, 6
TEST(CaptureHardCases, KeysChangeAndChangePlaces) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
    INSERT INTO public.t VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four');)");
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  ASSERT_TRUE(mirrored.tables()[0].mapping.key.size() == 1);
  mirrored.Start();
  database.Run("BEGIN; UPDATE public.t SET id = 3 - id WHERE id < 3; COMMIT");
  database.Run("UPDATE public.t SET id = 30 WHERE id = 3; UPDATE public.t SET v = NULL");
  database.Run(
      "UPDATE public.t SET v = 'a' WHERE id = 4; UPDATE public.t SET v = 'b' WHERE id = 4");
  ExpectSame(mirrored);
}

// hard-case 16: a value that is stored apart and that an UPDATE does not touch. Its image would
// lack it; the row that is read has it.
TEST(CaptureHardCases, AValueThatIsStoredApartAndNotTouched) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, big text, v text);
    ALTER TABLE public.t ALTER big SET STORAGE EXTERNAL;
    INSERT INTO public.t SELECT i, repeat(md5(i::text), 2000), 'v' FROM generate_series(1, 3) i;)");
  ASSERT_GT(database.Connect()
                ->Scalar("SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = "
                         "'public.t'::regclass")
                .AsInteger(),
            150000);
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  database.Run("UPDATE public.t SET v = 'w' WHERE id = 1; UPDATE public.t SET id = 9 WHERE id = 2");
  ExpectSame(mirrored);
  EXPECT_EQ(database.Connect()
                ->Scalar("SELECT string_agg(id || v || (big = repeat(md5(CASE id WHEN 9 THEN '2' "
                         "ELSE id::text END), 2000)), ' ' ORDER BY id) FROM mirror.t")
                .text,
            "1wtrue 3vtrue 9vtrue");
}

// hard-case 7, 45
TEST(CaptureHardCases, KeysOfManyTypesAndNames) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE EXTENSION citext SCHEMA public;
    CREATE TYPE public.size AS ENUM ('s', 'm', 'l');
    CREATE DOMAIN public.code AS varchar(8) NOT NULL CHECK (value <> '');
    CREATE COLLATION public.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE public."My ""table""" (
      "Key one" uuid NOT NULL DEFAULT gen_random_uuid(), "select" public.size NOT NULL, v int,
      PRIMARY KEY ("Key one", "select"));
    CREATE TABLE public.cased (mail public.citext PRIMARY KEY, v int);
    CREATE TABLE public.loosely (name text COLLATE public.loose PRIMARY KEY, v int);
    CREATE TABLE public.many (a numeric, b public.code, c timestamptz, d bytea, e char(4), f bit(3),
      g int[], v int, PRIMARY KEY (a, b, c, d, e, f, g));
    INSERT INTO public."My ""table""" SELECT gen_random_uuid(), s, i
      FROM generate_series(1, 20) i, unnest('{s,m,l}'::public.size[]) s;
    INSERT INTO public.cased VALUES ('Ada@x', 1), ('Bob@x', 2), ('Cid@x', 3);
    INSERT INTO public.loosely VALUES ('Ada', 1), ('Bob', 2), ('Cid', 3);
    INSERT INTO public.many VALUES (1.0, 'x', '2026-01-01', '\x00ff', 'ab', '101', '{1,2}', 0),
      ('NaN', 'y', 'infinity', '', '', '000', '{}', 0);)");
  const std::vector<std::string> tables = {"My \"table\"", "cased", "loosely", "many"};
  MakeMirror(database, tables);
  Mirrored mirrored(database, tables);
  mirrored.Start();
  database.Run(R"(
    UPDATE public."My ""table""" SET v = v + 1 WHERE v < 9;
    UPDATE public."My ""table""" SET "select" = 's', "Key one" = gen_random_uuid() WHERE v = 15;
    DELETE FROM public."My ""table""" WHERE v = 12;
    UPDATE public.cased SET mail = 'ADA@X' WHERE v = 1;
    UPDATE public.cased SET v = 22 WHERE mail = 'bob@x';
    DELETE FROM public.cased WHERE mail = 'CID@x';
    INSERT INTO public.cased VALUES ('cID@x', 33);
    UPDATE public.loosely SET name = 'ADA' WHERE v = 1;
    DELETE FROM public.loosely WHERE name = 'bob';
    UPDATE public.many SET a = 1.00, v = 1 WHERE b = 'x';
    UPDATE public.many SET v = 2 WHERE a = 'NaN';)");
  ExpectSame(mirrored);
}

// hard-case 8
TEST(CaptureHardCases, Truncate) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.a (id int PRIMARY KEY, v int);
    CREATE TABLE public.b (id int PRIMARY KEY, a int REFERENCES public.a);
    INSERT INTO public.a SELECT i, i FROM generate_series(1, 10) i;
    INSERT INTO public.b SELECT i, i FROM generate_series(1, 10) i;)");
  MakeMirror(database, {"a", "b"});
  Mirrored mirrored(database, {"a", "b"});
  mirrored.Start();
  const auto writer = User(database);
  writer->Begin();
  writer->Execute("TRUNCATE public.a CASCADE");
  writer->Execute("INSERT INTO public.a VALUES (5, 55), (50, 50)");
  // Not committed: nobody sees it, and neither do we (the table is locked: no replay now).
  writer->Commit();
  EXPECT_FALSE(mirrored.Compare(0).equal);
  EXPECT_TRUE(mirrored.Compare(0).truncate_pending);
  EXPECT_TRUE(mirrored.ReplayAll().at(0).truncated);
  ExpectSame(mirrored);
  EXPECT_EQ(mirrored.Compare(0).watched_rows, 2);
  EXPECT_EQ(mirrored.Compare(1).mirror_rows, 0);
}

// hard-case 53, 136
TEST(CaptureHardCases, PartitionsAreWatchedOneByOne) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.p (id int, v int, k int PRIMARY KEY) PARTITION BY RANGE (k);
    CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES FROM (0) TO (100);
    CREATE TABLE public.p2 (k int NOT NULL, v int, id int);
    ALTER TABLE public.p ATTACH PARTITION public.p2 FOR VALUES FROM (100) TO (200);
    CREATE TABLE public.p3 PARTITION OF public.p FOR VALUES FROM (200) TO (1000)
      PARTITION BY RANGE (k);
    CREATE TABLE public.p31 PARTITION OF public.p3 FOR VALUES FROM (200) TO (300);
    INSERT INTO public.p SELECT i, i, i FROM generate_series(0, 250) i;
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.p (id int, v int, k int PRIMARY KEY) PARTITION BY RANGE (k);
    CREATE TABLE mirror.q PARTITION OF mirror.p FOR VALUES FROM (0) TO (1000);)");
  Mirrored mirrored(database, {"p"});
  mirrored.Start();
  database.Run(
      "UPDATE public.p SET k = k + 251 WHERE k < 10; DELETE FROM public.p31 WHERE k > 250;"
      "INSERT INTO public.p2 VALUES (150, 1, 1) ON CONFLICT (k) DO UPDATE SET v = 0;"
      "UPDATE public.p2 SET v = -1 WHERE k = 111");
  EXPECT_GT(mirrored.PendingNow(), 20);
  ExpectSame(mirrored);
  database.Run("TRUNCATE public.p2; INSERT INTO public.p VALUES (7, 7, 177)");
  ExpectSame(mirrored);
  EXPECT_LT(mirrored.Compare(0).watched_rows, 200);

  // A partition comes with rows that no trigger has seen.
  const Oid root = mirrored.tables()[0].watched;
  const auto before = catalog::ReadFingerprint(mirrored.session(), {root});
  database.Run(
      "CREATE TABLE public.p4 (id int, v int, k int NOT NULL);"
      "INSERT INTO public.p4 VALUES (1, 1, 400);"
      "ALTER TABLE public.p3 ATTACH PARTITION public.p4 FOR VALUES FROM (400) TO (500)");
  const auto now = catalog::ReadFingerprint(mirrored.session(), {root});
  ASSERT_EQ(catalog::CompareFingerprints(before, now).size(), 1U);
  EXPECT_THAT(MissingTriggers(mirrored.session(), mirrored.tables()), ElementsAre("public.p4"));
  {
    db::Transaction transaction(mirrored.session());
    Repair(mirrored.session(), mirrored.tables());
    transaction.Commit();
  }
  EXPECT_THAT(MissingTriggers(mirrored.session(), mirrored.tables()), IsEmpty());
  {
    db::Transaction transaction(mirrored.session(), db::Isolation::kRepeatableRead);
    Recopy(mirrored.session(), mirrored.tables()[0]);
    transaction.Commit();
  }
  database.Run("UPDATE public.p SET v = 44 WHERE k = 400");
  EXPECT_EQ(mirrored.PendingNow(), 1);
  ExpectSame(mirrored);
}

// hard-case 9
TEST(CaptureHardCases, EveryWayToWrite) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.a (id int PRIMARY KEY, v int);
    CREATE TABLE public.b (id int PRIMARY KEY,
      a int REFERENCES public.a ON DELETE CASCADE ON UPDATE CASCADE, v int);
    INSERT INTO public.a SELECT i, i FROM generate_series(1, 20) i;
    INSERT INTO public.b SELECT i, i, i FROM generate_series(1, 20) i;)");
  MakeMirror(database, {"a", "b"});
  Mirrored mirrored(database, {"a", "b"});
  mirrored.Start();
  const auto user = User(database);
  user->CopyFrom("COPY public.a FROM STDIN", "100\t1\n101\t2\n");
  user->Execute(
      "INSERT INTO public.a VALUES (1, 100), (102, 3) "
      "ON CONFLICT (id) DO UPDATE SET v = excluded.v");
  user->Execute("INSERT INTO public.a VALUES (2, 1), (103, 3) ON CONFLICT DO NOTHING");
  user->Execute("DELETE FROM public.a WHERE id IN (3, 4)");
  user->Execute("UPDATE public.a SET id = 500 WHERE id = 5");
  user->Execute(
      "WITH x AS (UPDATE public.a SET v = -1 WHERE id = 6 RETURNING v) "
      "INSERT INTO public.b SELECT 600, 6, v FROM x");
  if (user->Server().major() >= 15) {
    user->Execute(
        "MERGE INTO public.b USING (VALUES (7, 1), (8, 2), (900, 3)) AS n (id, what) "
        "ON b.id = n.id WHEN MATCHED AND what = 1 THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET v = 88 "
        "WHEN NOT MATCHED THEN INSERT VALUES (n.id, NULL, 9)");
  }
  EXPECT_NE(mirrored.Difference(1), "");
  ExpectSame(mirrored);
}

// hard-case 10, 12, 13, 14
TEST(CaptureHardCases, WhoeverWritesUnderWhateverSettings) {
  NEED_POSTGRES();
  const Database database;
  const std::string role = "us_writer_" + std::to_string(::getpid());
  database.Run("DROP ROLE IF EXISTS " + role + "; CREATE ROLE " + role);
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, at timestamptz, raw bytea, f float8, owner text);
    INSERT INTO public.t SELECT i, now(), '\x00', 0.1, current_user FROM generate_series(1, 9) i;
    ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON public.t USING (owner = current_user) WITH CHECK (owner = current_user);
    CREATE SCHEMA hostile;
    CREATE FUNCTION hostile.wrong(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR hostile.= (LEFTARG = int, RIGHTARG = int, FUNCTION = hostile.wrong);
    GRANT USAGE ON SCHEMA public, hostile TO )" +
               role + "; GRANT ALL ON public.t TO " + role);
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  const auto user = User(database);
  user->Execute("SET ROLE " + role);
  user->Execute(
      "SET search_path = hostile, pg_catalog; SET DateStyle = 'German';"
      "SET TimeZone = 'Pacific/Chatham'; SET bytea_output = 'escape';"
      "SET extra_float_digits = -10; SET row_security = on;"
      "SET standard_conforming_strings = off; SET transform_null_equals = on");
  user->Execute("CREATE TEMPORARY TABLE capture_1 (k1 int)");
  user->Execute(
      "INSERT INTO public.t VALUES (100, now(), pg_catalog.decode('0001ff', 'hex'), 1e-300, "
      "current_user)");
  user->Execute("UPDATE public.t SET id = 101 WHERE owner = current_user");
  EXPECT_EQ(mirrored.PendingNow(), 3);
  EXPECT_THROW(user->Query("SELECT * FROM understudy.capture_" +
                           std::to_string(mirrored.tables()[0].watched)),
               Error);
  const auto replica = User(database);
  replica->Execute("SET session_replication_role = replica");
  replica->Execute("DELETE FROM public.t WHERE id = 1; INSERT INTO public.t (id) VALUES (-1)");
  replica->Execute("TRUNCATE public.t; INSERT INTO public.t (id) VALUES (1), (2)");
  ExpectSame(mirrored);
  EXPECT_EQ(mirrored.Compare(0).watched_rows, 2);
  database.Run("DROP OWNED BY " + role + "; DROP ROLE " + role);
}

// hard-case 13: rather an error than some of the rows.
TEST(CaptureHardCases, ReplayDoesNotReadThroughRowSecurity) {
  NEED_POSTGRES();
  const Database database;
  const std::string role = "us_engine_" + std::to_string(::getpid());
  database.Run("DROP ROLE IF EXISTS " + role + "; CREATE ROLE " + role);
  database.Run("CREATE TABLE public.t (id int PRIMARY KEY, v int)");
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  database.Run(
      "INSERT INTO public.t VALUES (1, 1);"
      "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;"
      "GRANT USAGE ON SCHEMA public, mirror, understudy TO " +
      role + "; GRANT ALL ON ALL TABLES IN SCHEMA public, mirror, understudy TO " + role);
  mirrored.session().Execute("SET ROLE " + role);
  try {
    mirrored.ReplayOne(0);
    FAIL() << "the row was taken for deleted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "42501");
  }
  mirrored.session().Execute("RESET ROLE");
  ExpectSame(mirrored);
  database.Run("DROP OWNED BY " + role + "; DROP ROLE " + role);
}

// hard-case 17
TEST(CaptureHardCases, WhatIsRolledBackIsNotCaptured) {
  NEED_POSTGRES();
  const Database database;
  database.Run(
      "CREATE TABLE public.t (id int PRIMARY KEY, v int);"
      "INSERT INTO public.t SELECT i, 0 FROM generate_series(1, 10) i");
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  database.Run("BEGIN; UPDATE public.t SET v = 1; ROLLBACK");
  EXPECT_EQ(mirrored.PendingNow(), 0);
  database.Run(
      "BEGIN; UPDATE public.t SET v = 1 WHERE id = 1; SAVEPOINT s;"
      "UPDATE public.t SET v = 2; ROLLBACK TO s; UPDATE public.t SET v = 3 WHERE id = 3;"
      "COMMIT");
  EXPECT_EQ(mirrored.PendingNow(), 2);
  ExpectSame(mirrored);
}

// hard-case 40, 41
TEST(CaptureHardCases, IdentityAndGeneratedColumns) {
  NEED_POSTGRES();
  const Database database;
  database.Run(
      "CREATE TABLE public.t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int,"
      " twice int GENERATED ALWAYS AS (v * 2) STORED);"
      "INSERT INTO public.t (v) SELECT i FROM generate_series(1, 10) i");
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  database.Run(
      "INSERT INTO public.t (v) VALUES (11), (12); UPDATE public.t SET v = 0 WHERE id = 3;"
      "DELETE FROM public.t WHERE id = 12; INSERT INTO public.t (v) VALUES (13)");
  ExpectSame(mirrored);
  EXPECT_EQ(mirrored.session().Scalar("SELECT count(*) FROM mirror.t WHERE twice <> v * 2").text,
            "0");
}

// hard-case 129
TEST(CaptureHardCases, UserTriggersThatWriteTheSameTable) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, v int, touched int NOT NULL DEFAULT 0);
    INSERT INTO public.t SELECT i, i FROM generate_series(1, 20) i;
    CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF pg_trigger_depth() < 2 THEN
        UPDATE public.t SET touched = touched + 1 WHERE id IN (NEW.id, NEW.id % 20 + 1);
        DELETE FROM public.t WHERE id = NEW.v;
      END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER a_touch AFTER UPDATE OR INSERT ON public.t FOR EACH ROW
      EXECUTE FUNCTION public.touch();
    CREATE TRIGGER zz_touch AFTER UPDATE ON public.t FOR EACH ROW
      WHEN (pg_trigger_depth() < 1) EXECUTE FUNCTION public.touch();)");
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  database.Run("UPDATE public.t SET v = 7 WHERE id = 3");
  database.Run("UPDATE public.t SET v = v + 1; INSERT INTO public.t VALUES (77, 5)");
  ExpectSame(mirrored);
}

// hard-case 130
TEST(CaptureHardCases, AUniqueValueIsHandedOnAcrossBatches) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, mail text UNIQUE,
      room int, during int4range, EXCLUDE USING gist (during WITH &&));
    INSERT INTO public.t SELECT i, 'm' || i, i, int4range(i, i + 1) FROM generate_series(1, 200) i;)");
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  // Row 1's value goes to a new row; row i's to row i - 1; ranges change places as well.
  database.Run(
      "UPDATE public.t SET mail = NULL WHERE id = 1;"
      "INSERT INTO public.t VALUES (1000, 'm1', 1, NULL)");
  for (int i = 100; i < 110; ++i) {
    database.Run("UPDATE public.t SET mail = mail || '-', during = NULL WHERE id = " +
                 std::to_string(i) + "; UPDATE public.t SET mail = 'm" + std::to_string(i) +
                 "', during = int4range(" + std::to_string(i) + "," + std::to_string(i + 1) +
                 ") WHERE id = " + std::to_string(i - 100 + 2));
  }
  for (int step = 0; step < 40 && mirrored.PendingNow() > 0; ++step) {
    const ReplayResult result = mirrored.ReplayOne(0, {.entries = 1});
    ASSERT_THAT(result.refused, IsEmpty()) << result.refused[0].why;
    ASSERT_TRUE(mirrored.Compare(0).equal);
  }
  ExpectSame(mirrored);
}

// hard-case 135
TEST(CaptureHardCases, PublicationOfAllTablesDoesNotStopTheReplay) {
  NEED_POSTGRES();
  const Database database;
  database.Run(
      "CREATE TABLE public.t (id int PRIMARY KEY, v int);"
      "CREATE PUBLICATION everything FOR ALL TABLES");
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  database.Run("INSERT INTO public.t SELECT i, i FROM generate_series(1, 10) i");
  ExpectSame(mirrored);
}

// hard-case 136: the values change without a row trigger, the type does not.
TEST(CaptureHardCases, ARewrittenTableIsCopiedAgain) {
  NEED_POSTGRES();
  const Database database;
  database.Run(
      "CREATE TABLE public.t (id int PRIMARY KEY, v int);"
      "INSERT INTO public.t SELECT i, i FROM generate_series(1, 10) i");
  MakeMirror(database, {"t"});
  database.Run("CREATE TABLE mirror.child (t int REFERENCES mirror.t)");
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  const Oid watched = mirrored.tables()[0].watched;
  const auto before = catalog::ReadFingerprint(mirrored.session(), {watched});
  database.Run("ALTER TABLE public.t ALTER v TYPE int USING v + 1");
  EXPECT_EQ(mirrored.PendingNow(), 0);
  EXPECT_FALSE(mirrored.Compare(0).equal);
  const auto changes =
      catalog::CompareFingerprints(before, catalog::ReadFingerprint(mirrored.session(), {watched}));
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_TRUE(changes[0].files);
  {
    db::Transaction transaction(mirrored.session(), db::Isolation::kRepeatableRead);
    EXPECT_EQ(Recopy(mirrored.session(), mirrored.tables()[0]), 10);
    transaction.Commit();
  }
  ExpectSame(mirrored);
}

// hard-case 136: what the trigger reads is not there any more. Users go on writing, also in
// sessions that have written before, and nobody takes the log for whole.
TEST(CaptureHardCases, WritesGoOnWhenAColumnOfTheKeyIsChanged) {
  NEED_POSTGRES();
  const std::vector<std::string> changes = {
      "ALTER TABLE public.t RENAME COLUMN id TO other",
      "ALTER TABLE public.t DROP COLUMN id",
      "ALTER TABLE public.t ALTER id TYPE bigint; INSERT INTO public.t VALUES (5000000000, 'x')",
      "ALTER TABLE public.t ALTER id TYPE text",
  };
  for (const std::string& change : changes) {
    SCOPED_TRACE(change);
    const Database database;
    database.Run(R"(
      CREATE TABLE public.t (id int PRIMARY KEY, a text);
      INSERT INTO public.t SELECT i, 'a' || i FROM generate_series(1, 10) i;
      CREATE SCHEMA mirror;
      CREATE TABLE mirror.t (LIKE public.t INCLUDING ALL);)");
    Mirrored mirrored(database, {"t"});
    mirrored.Start();
    const auto user = database.Connect();
    user->Execute("UPDATE public.t SET a = 'before'");
    EXPECT_TRUE(Incomplete(mirrored.session(), mirrored.tables()).empty());
    database.Run(change);
    user->Execute("UPDATE public.t SET a = 'behind'");
    user->Execute("DELETE FROM public.t WHERE ctid = (SELECT min(ctid) FROM public.t)");
    EXPECT_EQ(user->Scalar("SELECT count(*) FROM public.t WHERE a <> 'behind'").text, "0");
    EXPECT_EQ(Incomplete(mirrored.session(), mirrored.tables()),
              std::vector<Oid>{mirrored.tables()[0].watched});
    db::Transaction transaction(mirrored.session(), db::Isolation::kRepeatableRead);
    const ReplayResult result = Replay(mirrored.session(), mirrored.tables()[0]);
    EXPECT_TRUE(result.incomplete);
    EXPECT_EQ(result.entries, 0);
  }
}

// Nobody replays: the log ends where it was told to, writes go on, and it is said.
TEST(CaptureHardCases, ALogThatNobodyReplaysIsBounded) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, a text);
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.t (LIKE public.t INCLUDING ALL);)");
  Mirrored mirrored(database, {"t"});
  constexpr std::int64_t kLimit = 400'000;
  mirrored.tables()[0].max_bytes = kLimit;
  mirrored.Start();
  database.Run("INSERT INTO public.t SELECT i, 'a' FROM generate_series(1, 2000) i");
  const auto full = [&] { return Full(mirrored.session(), mirrored.tables()).size(); };
  EXPECT_TRUE(Incomplete(mirrored.session(), mirrored.tables()).empty());
  EXPECT_EQ(full(), 0U);
  EXPECT_EQ(mirrored.PendingNow(), 2000);
  for (int i = 0; i < 5; ++i) database.Run("UPDATE public.t SET a = a || 'b'");
  EXPECT_EQ(Incomplete(mirrored.session(), mirrored.tables()).size(), 1U);
  EXPECT_EQ(full(), 1U);
  EXPECT_LT(LogBytes(mirrored.session(), mirrored.tables()), kLimit * 3 / 2);
  const std::int64_t entries = mirrored.PendingNow();
  database.Run("UPDATE public.t SET a = a || 'c'");
  EXPECT_EQ(mirrored.PendingNow(), entries);  // full, and the mark is there already
  EXPECT_EQ(database.Connect()->Scalar("SELECT count(*) FROM public.t WHERE a = 'abbbbbc'").text,
            "2000");
}

// Whoever writes one row in a session looks as well, and a log that was taken in time is never
// full.
TEST(CaptureHardCases, ALogIsBoundedHoweverShortTheSessionsAre) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, a int);
    INSERT INTO public.t VALUES (1, 0);
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.t (LIKE public.t INCLUDING ALL);)");
  Mirrored mirrored(database, {"t"});
  mirrored.tables()[0].max_bytes = 60'000;
  mirrored.Start();
  for (int i = 0; i < 8; ++i) {
    database.Run("UPDATE public.t SET a = a + 1");
    mirrored.ReplayAll();
  }
  EXPECT_TRUE(Full(mirrored.session(), mirrored.tables()).empty());
  database.Run("INSERT INTO understudy.capture_" + std::to_string(mirrored.tables()[0].watched) +
               " (id, k1) OVERRIDING SYSTEM VALUE SELECT 1000000 + i, 1 FROM generate_series(1, "
               "1000) i");
  EXPECT_TRUE(Full(mirrored.session(), mirrored.tables()).empty());
  for (int i = 0; i < 8 && Full(mirrored.session(), mirrored.tables()).empty(); ++i) {
    database.Run("UPDATE public.t SET a = a + 1 WHERE id = 1");
  }
  EXPECT_EQ(Full(mirrored.session(), mirrored.tables()).size(), 1U);
}

// What one table's log takes is missing to the others: the limit is that of the migration.
TEST(CaptureHardCases, LogsOfOneOwnerShareTheirLimit) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, a int);
    CREATE TABLE public.u (id int PRIMARY KEY, a int);
    CREATE SCHEMA mirror;
    CREATE TABLE mirror.t (LIKE public.t INCLUDING ALL);
    CREATE TABLE mirror.u (LIKE public.u INCLUDING ALL);)");
  Mirrored mirrored(database, {"t", "u"});
  for (CapturedTable& table : mirrored.tables()) {
    table.owner = "one";
    table.max_bytes = 400'000;
  }
  mirrored.Start();
  const auto fill = [&](const std::string& table) {
    database.Run("INSERT INTO public." + table + " SELECT i, 0 FROM generate_series(1, 4500) i");
  };
  fill("t");
  EXPECT_TRUE(Full(mirrored.session(), mirrored.tables()).empty());
  fill("u");
  EXPECT_EQ(Full(mirrored.session(), mirrored.tables()),
            std::vector<Oid>{mirrored.tables()[1].watched});
}

// hard-case 109: there is not enough; it has to be ours, whole, and enabled.
TEST(CaptureHardCases, SeesATriggerThatIsGoneOrSwitchedOff) {
  NEED_POSTGRES();
  const Database database;
  database.Run("CREATE TABLE public.t (id int PRIMARY KEY, v int)");
  MakeMirror(database, {"t"});
  Mirrored mirrored(database, {"t"});
  mirrored.Start();
  const auto missing = [&] { return MissingTriggers(mirrored.session(), mirrored.tables()); };
  EXPECT_THAT(missing(), IsEmpty());
  for (const std::string& wrong :
       {std::string("ALTER TABLE public.t DISABLE TRIGGER understudy_capture"),
        std::string("ALTER TABLE public.t ENABLE TRIGGER understudy_capture"),
        std::string("DROP TRIGGER understudy_capture_truncate ON public.t"),
        "DROP TRIGGER understudy_capture ON public.t; CREATE TRIGGER understudy_capture AFTER "
        "UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION understudy.capture_" +
            std::to_string(mirrored.tables()[0].watched) +
            "(); ALTER TABLE public.t ENABLE ALWAYS TRIGGER understudy_capture"}) {
    database.Run(wrong);
    EXPECT_THAT(missing(), ElementsAre("public.t")) << wrong;
    db::Transaction transaction(mirrored.session());
    Repair(mirrored.session(), mirrored.tables());
    transaction.Commit();
    EXPECT_THAT(missing(), IsEmpty()) << wrong;
  }
}

// hard-case 3, 9, 15, 130: everybody at full speed, the same few rows, and replays among them. At
// every moment the mirror is right for all keys that do not wait.
TEST(CaptureHardCases, ConcurrentWritersOfTheSameRows) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, mail text UNIQUE, v int NOT NULL DEFAULT 0);
    CREATE TABLE public.c (id int PRIMARY KEY, t int REFERENCES public.t ON DELETE CASCADE, v int);
    INSERT INTO public.t SELECT i, 'm' || i FROM generate_series(1, 300) i;
    INSERT INTO public.c SELECT i, i % 30 + 1, 0 FROM generate_series(1, 300) i;)");
  MakeMirror(database, {"t", "c"});
  Mirrored mirrored(database, {"t", "c"});
  std::atomic<bool> stop = false;
  std::atomic<int> committed = 0;
  const auto writer = [&](unsigned seed) {
    const auto session = User(database);
    const auto next = [&](unsigned below) {
      seed = seed * 1664525 + 1013904223;
      return std::to_string((seed >> 8) % below);
    };
    while (!stop) {
      try {
        session->Begin();
        const std::string hot = next(30);
        session->Execute("UPDATE public.t SET v = v + 1 WHERE id = " + hot);
        session->Execute("UPDATE public.t SET mail = NULL WHERE mail = 'm" + hot + "'");
        session->Execute("UPDATE public.t SET mail = 'm" + hot + "' WHERE id = " + next(300));
        if (next(4) == "0") {
          session->Execute("DELETE FROM public.t WHERE id = " + next(30));
          session->Execute("INSERT INTO public.t VALUES (" + next(30) +
                           ", NULL) ON CONFLICT DO NOTHING");
        }
        session->Execute(
            "UPDATE public.c SET id = id + 300 * (1 - 2 * (id / 301)), v = v + 1 "
            "WHERE id % 300 = " +
            next(300));
        session->Execute("INSERT INTO public.c SELECT 1000 + " + next(300) +
                         ", max(id), 1 FROM "
                         "public.t ON CONFLICT (id) DO UPDATE SET v = c.v + 1");
        if (next(5) == "0") {
          session->Rollback();
        } else {
          session->Commit();
          ++committed;
        }
      } catch (const Error&) {
        session->Rollback();
      }
    }
  };
  std::vector<std::jthread> writers;
  for (unsigned i = 1; i <= 4; ++i) writers.emplace_back(writer, i * 7919);
  std::int64_t entries = 0;
  int rounds = 0;
  mirrored.Start();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(4);
  while (std::chrono::steady_clock::now() < end || (rounds < 5 && !::testing::Test::HasFailure())) {
    for (std::size_t i = 0; i < 2; ++i) {
      const ReplayResult result = mirrored.ReplayOne(i, {.entries = rounds % 2 == 0 ? 20 : 1000});
      EXPECT_THAT(result.refused, IsEmpty());
      entries += result.entries;
      const MirrorComparison comparison = mirrored.Compare(i);
      EXPECT_TRUE(comparison.equal) << comparison.examples;
    }
    ++rounds;
  }
  stop = true;
  writers.clear();
  EXPECT_GT(committed, 20);
  EXPECT_GT(entries, 20);
  ExpectSame(mirrored);
}

}  // namespace
}  // namespace understudy::capture
