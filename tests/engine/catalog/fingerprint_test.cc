#include "engine/catalog/fingerprint.h"

#include <gtest/gtest.h>

#include "tests/support/server.h"

namespace understudy::catalog {
namespace {

using testing::Database;

struct Watch {
  const Database& database;
  std::unique_ptr<db::Session> session = database.Connect();
  std::vector<Oid> oids;
  Fingerprint before;

  explicit Watch(const Database& of) : database(of) {
    for (const Table& table : ReadTables(*session, {"public"})) {
      if (table.partition_of == 0) oids.push_back(table.oid);
    }
    before = ReadFingerprint(*session, oids);
  }
  // The one change that `sql` makes.
  FingerprintChange After(const std::string& sql) {
    database.Run(sql);
    const Fingerprint now = ReadFingerprint(*session, oids);
    const auto changes = CompareFingerprints(before, now);
    before = now;
    if (changes.size() != 1) {
      ADD_FAILURE() << sql << ": " << changes.size() << " changes";
      return {};
    }
    return changes[0];
  }
};

// hard-case 23, 136
TEST(CatalogFingerprint, SeesWhatNoRowTriggerSees) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.t (id int PRIMARY KEY, v int);
    INSERT INTO public.t VALUES (1, 1);
    CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER tr AFTER INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f();)");
  Watch watch(database);
  ASSERT_EQ(watch.before.size(), 1U);

  // The same type: only the storage tells that the values are others now.
  FingerprintChange change = watch.After("ALTER TABLE public.t ALTER v TYPE int USING v + 1");
  EXPECT_TRUE(change.files);
  EXPECT_FALSE(change.columns);
  EXPECT_EQ(change.Text(), "public.t: its storage (rewritten or truncated) changed");
  change = watch.After("TRUNCATE public.t");
  EXPECT_TRUE(change.files);
  change = watch.After("ALTER TABLE public.t RENAME v TO w");
  EXPECT_TRUE(change.columns);
  EXPECT_FALSE(change.files);
  change = watch.After("ALTER TABLE public.t DISABLE TRIGGER tr");
  EXPECT_TRUE(change.triggers);
  EXPECT_FALSE(change.columns || change.files || change.inheritance);
  change = watch.After("ALTER TABLE public.t DROP COLUMN w");
  EXPECT_TRUE(change.columns);
  change = watch.After("DROP TABLE public.t");
  EXPECT_TRUE(change.gone);
}

// hard-case 53, 136
TEST(CatalogFingerprint, LooksIntoPartitions) {
  NEED_POSTGRES();
  const Database database;
  database.Run(R"(
    CREATE TABLE public.p (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES FROM (0) TO (10);
    CREATE TABLE public.p2 PARTITION OF public.p FOR VALUES FROM (10) TO (20);)");
  Watch watch(database);
  ASSERT_EQ(watch.before.size(), 1U);
  EXPECT_TRUE(watch.After("TRUNCATE public.p2").files);
  EXPECT_TRUE(watch.After("ALTER TABLE public.p DETACH PARTITION public.p2").inheritance);
  EXPECT_TRUE(watch
                  .After("ALTER TABLE public.p ATTACH PARTITION public.p2 "
                         "FOR VALUES FROM (10) TO (30)")
                  .inheritance);
}

TEST(CatalogFingerprint, StaysTheSameForWritesAndSurvivesTheJournal) {
  NEED_POSTGRES();
  const Database database;
  database.Run("CREATE TABLE public.t (id int PRIMARY KEY, v text)");
  Watch watch(database);
  database.Run(R"(
    INSERT INTO public.t SELECT i, i FROM generate_series(1, 1000) i;
    ANALYZE public.t;
    CREATE INDEX ON public.t (v);)");
  const Fingerprint now = ReadFingerprint(*watch.session, watch.oids);
  EXPECT_TRUE(CompareFingerprints(watch.before, now).empty());
  EXPECT_TRUE(CompareFingerprints(now, FingerprintFromJson(ToJson(now))).empty());
  EXPECT_EQ(FingerprintFromJson(ToJson(now)), now);
}

}  // namespace
}  // namespace understudy::catalog
