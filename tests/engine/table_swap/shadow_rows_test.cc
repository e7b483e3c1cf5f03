// Rows, indexes and keys of a shadow: what arrives, and what a crash leaves.
#include <gmock/gmock.h>

#include <atomic>

#include "engine/base/error.h"
#include "tests/engine/table_swap/shadow_fixture.h"

namespace understudy::table_swap {
namespace {
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Fails at the n-th passing of a point, as a killed process would leave things.
class FailingProbe : public core::Probe {
 public:
  FailingProbe(std::string point, int nth) : point_(std::move(point)), left_(nth) {}
  void OnEvent(const core::Event& event) override {
    if (event.kind != "point" || event.data.at("point") != point_) return;
    if (--left_ == 0) throw Error(ErrorKind::kUnavailable, "struck");
  }

 private:
  const std::string point_;
  int left_;
};

constexpr const char* kBig = R"(
  CREATE TABLE big (id integer PRIMARY KEY, t text);
  CREATE TABLE small_a (id integer PRIMARY KEY, t text);
  CREATE TABLE no_key (t text);
)";
constexpr const char* kBigRows = R"(
  INSERT INTO big SELECT n, repeat('x', 100) || n FROM generate_series(1, 40000) n;
  INSERT INTO small_a SELECT n, n FROM generate_series(1, 100) n;
  INSERT INTO no_key SELECT n % 7 FROM generate_series(1, 100) n;
  ANALYZE;
)";

class ShadowRowsTest : public ShadowTest {
 protected:
  std::string Digest(const Place& database, const std::string& schema) const {
    std::string all;
    for (const char* table : {"big", "small_a", "no_key"}) {
      all += Value(database,
                   "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), "
                   "0) FROM " +
                       schema + "." + table + " t") +
             "\n";
    }
    return all;
  }
};

// hard-case 24: a snapshot dies with its session; what was copied before is compared, not trusted.
TEST_F(ShadowRowsTest, CopiesOnlyRangesThatDifferAfterACrash) {
  Both(kBig);
  source->Run(kBigRows);
  request.range_bytes = 512 << 10;
  const SetDecision decision = BuildSchema();
  std::vector<db::TableName> tables;
  for (const SetTable& table : decision.tables) tables.push_back(table.name);

  spec.limits.jobs = 2;
  FailingProbe probe("copy.after_commit", 6);
  core::Context failing(spec, &probe, {}, true);
  EXPECT_THROW(CopyRows(failing, request, tables), Error);
  // Ranges are not frozen: a snapshot from before them must hold the exchange back.
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM understudy.entries WHERE name = 'written'"), "1");
  const std::string partly = Value(*target, "SELECT count(*) FROM understudy_shadow_public.big");
  EXPECT_NE(partly, "0");
  EXPECT_NE(partly, "40000");

  // Ranges on the left are changed: one row gone, one new, one with another text.
  source->Run(
      "DELETE FROM big WHERE id = 2; INSERT INTO big VALUES (-5, 'new'); UPDATE big SET t = "
      "'other' WHERE id = 3");
  const CopiedRows copied = CopyRows(context, request, tables);
  EXPECT_EQ(copied.rows, 40200);
  EXPECT_GT(copied.copied_again_rows, 0);
  EXPECT_LT(copied.copied_again_rows, 20000) << "ranges that are the same were copied again";
  EXPECT_EQ(Digest(*source, "public"), Digest(*target, "understudy_shadow_public"));
  // Done is done.
  EXPECT_EQ(CopyRows(context, request, tables).bytes, 0);
}

TEST_F(ShadowRowsTest, LeavesNothingOfAUnitThatDidNotCommit) {
  Both(kBig);
  source->Run(kBigRows);
  request.range_bytes = 512 << 10;
  const SetDecision decision = BuildSchema();
  std::vector<db::TableName> tables;
  for (const SetTable& table : decision.tables) tables.push_back(table.name);
  for (int nth = 1; nth <= 7; nth += 2) {
    FailingProbe probe("copy.before_commit", nth);
    core::Context failing(spec, &probe, {}, true);
    try {
      CopyRows(failing, request, tables);
      break;
    } catch (const Error&) {  // as wanted
    }
  }
  CopyRows(context, request, tables);
  EXPECT_EQ(Digest(*source, "public"), Digest(*target, "understudy_shadow_public"));
}

// hard-case 24
TEST_F(ShadowRowsTest, SeesOneMomentOfTheSource) {
  Both("CREATE TABLE a (n integer PRIMARY KEY); CREATE TABLE b (n integer PRIMARY KEY)");
  source->Run("INSERT INTO a SELECT generate_series(1, 200000)");
  request.range_bytes = 1 << 20;
  const SetDecision decision = BuildSchema();
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    const auto session = source->Connect();
    for (int n = 200001; !stop; ++n) {
      session->Execute("BEGIN; INSERT INTO public.a VALUES (" + std::to_string(n) +
                       "); INSERT INTO public.b VALUES (" + std::to_string(n) + "); COMMIT");
    }
  });
  Copy(decision);
  stop = true;
  writer.join();
  EXPECT_EQ(Value(*target,
                  "SELECT (SELECT count(*) FROM understudy_shadow_public.a) - (SELECT count(*) "
                  "FROM understudy_shadow_public.b)"),
            "200000");
}

// hard-case 72, 75, 76, 77, 78: values as the source has them, bit by bit.
TEST_F(ShadowRowsTest, CarriesEveryValueExactly) {
  Both(R"(
    CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a float8, m mood);
    CREATE TABLE v (id integer PRIMARY KEY, f float8, r real, n numeric, b bytea, c char(5), t text, j json, jb jsonb,
      a integer[], ms mood[], p pair, ps pair[], ra numrange, ts timestamp, tz timestamptz, iv interval, bits varbit, ip inet,
      tv tsvector, m money, x xml, u uuid, tid tid, names name[]);
  )");
  source->Run(R"SQL(
    INSERT INTO v VALUES
      (1, 'NaN', '-0', 'NaN', '\x00ff5c0a', 'a', 'NULL', '{"b":1, "a":1,"a": 2}', '{"b":1,"a":null}', '[5:6]={1,NULL}',
       '{ok,NULL}', ROW('-Infinity', 'sad'), ARRAY[ROW(1e-310, NULL)::pair, NULL], '(,5]', 'infinity', '-infinity', '-1 mon +3 days 00:00:00.000001',
       B'10101', '10.0.0.1/8', 'a:1A b', '-12.34', '<a>é</a>', '00000000-0000-0000-0000-000000000001', '(1,2)', '{a}'),
      (2, 4.9e-324, 'Infinity', 1e-20, '', '', E'\\N', '"\u00e9"', '1e400', '{{1,2},{3,4}}', '{}', NULL, '{}', 'empty', '4713-01-01 BC',
       '294276-12-31 23:59:59.999999', '24:00:00', B'', '::1', '', '0', NULL, NULL, NULL, NULL),
      (3, '-0', 1.17549e-38, 12345678901234567890123456789.000100, NULL, NULL, E'e\u0301 tab\t nl\n cr\r', 'null', 'null', '{}', NULL, NULL, NULL,
       '[1,1]', '0001-01-01', '1970-01-01 00:00:00+14', '0', NULL, NULL, NULL, '92233720368547758.07', NULL, NULL, NULL, NULL);
  )SQL");
  Build();
  // ctid apart: the text of every row, under one setting.
  const char* rows =
      "SELECT string_agg(x, E'\\n') FROM (SELECT encode(convert_to(v::text, 'UTF8'), 'hex') AS x "
      "FROM ";
  EXPECT_EQ(Value(*source, std::string(rows) + "public.v ORDER BY id) s"),
            Value(*target, std::string(rows) + "understudy_shadow_public.v ORDER BY id) s"));
  EXPECT_EQ(Value(*target, "SELECT float8send(f) FROM understudy_shadow_public.v WHERE id = 3"),
            "\\x8000000000000000");
}

// hard-case 79: wide rows travel in pieces.
TEST_F(ShadowRowsTest, CarriesWideRows) {
  Both("CREATE TABLE wide (id integer, t text, b bytea)");
  source->Run(
      "INSERT INTO wide SELECT 1, repeat(md5('a'), 1000000), decode(repeat('00ff', 10000000), "
      "'hex')");
  Build();
  EXPECT_EQ(Value(*target, "SELECT md5(t) || md5(b) FROM understudy_shadow_public.wide"),
            Value(*source, "SELECT md5(t) || md5(b) FROM public.wide"));
}

TEST_F(ShadowRowsTest, KeepsTheLimitOfRows) {
  Both(kBig);
  source->Run(kBigRows);
  spec.limits.rows_per_s = 20000;
  const SetDecision decision = BuildSchema();
  const auto began = SteadyClock::now();
  Copy(decision);
  EXPECT_GT(MillisecondsSince(began), 1500);  // 40,200 rows
}

// An orphan is named, and nothing is half done.
TEST_F(ShadowRowsTest, NamesOrphansOfPreservedRows) {
  const char* schema = R"(
    CREATE TABLE area (id integer PRIMARY KEY);
    CREATE TABLE mine (id integer PRIMARY KEY, area integer REFERENCES area, boss integer REFERENCES mine);
  )";
  Both(schema);
  source->Run("INSERT INTO area VALUES (1)");
  target->Run(
      "INSERT INTO area VALUES (1), (2); INSERT INTO mine VALUES (10, 1, NULL), (11, 2, 10), (12, "
      "NULL, 11)");
  request.settings.preserved = {{"public", "mine"}};
  const SetDecision decision = BuildSchema();
  Copy(decision);
  target->Run("INSERT INTO understudy_shadow_public.mine SELECT * FROM public.mine");
  const Scratch scratch(context, request);
  try {
    BuildPostData(context, scratch, request);
    FAIL() << "the orphan was let in";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "orphans");
    EXPECT_THAT(error.what(), HasSubstr("1 rows of public.mine"));
    EXPECT_THAT(error.what(), HasSubstr("(2)"));
  }
  request.settings.drop_orphans = true;
  BuildPostData(context, scratch, request);
  EXPECT_EQ(
      Value(*target,
            "SELECT string_agg(id::text, ',' ORDER BY id) FROM understudy_shadow_public.mine"),
      "10,12");
  EXPECT_EQ(Value(*target,
                  "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated AND "
                  "connamespace = "
                  "'understudy_shadow_public'::regnamespace"),
            "1");
  const auto waiting = WaitingForeignKeys(scratch, request);
  ASSERT_EQ(waiting.size(), 1U);
  EXPECT_EQ(waiting[0].name, "mine_boss_fkey");
}

// hard-case 25: what is there is left alone, what is half there is made again.
TEST_F(ShadowRowsTest, GoesOnWithIndexesThatAreMissing) {
  Both(
      "CREATE TABLE t (id integer PRIMARY KEY, a integer UNIQUE, b integer); CREATE INDEX t_b ON t "
      "(b); CREATE INDEX t_ab ON t (a, b)");
  const SetDecision decision = BuildSchema();
  Copy(decision);
  target->Run(
      "CREATE UNIQUE INDEX t_pkey ON understudy_shadow_public.t (id); CREATE INDEX t_b ON "
      "understudy_shadow_public.t (b); "
      "UPDATE pg_index SET indisvalid = false WHERE indexrelid = "
      "'understudy_shadow_public.t_b'::regclass");
  const Scratch scratch(context, request);
  BuildPostData(context, scratch, request);
  BuildPostData(context, scratch, request);
  FinishShadow(context, scratch, request);
  FinishShadow(context, scratch, request);
  EXPECT_EQ(
      Value(
          *target,
          "SELECT string_agg(c.relname || i.indisvalid || i.indisprimary, ' ' ORDER BY c.relname) "
          "FROM pg_index i JOIN "
          "pg_class c ON c.oid = indexrelid WHERE indrelid = "
          "'understudy_shadow_public.t'::regclass"),
      "t_a_keytruefalse t_abtruefalse t_btruefalse t_pkeytruetrue");
  EXPECT_EQ(
      Value(*target,
            "SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint WHERE conrelid = "
            "'understudy_shadow_public.t'::regclass AND contype IN ('p', 'u')"),
      "t_a_key t_pkey");
}

TEST_F(ShadowRowsTest, StopsWhereAnotherProcessHasTakenOver) {
  Both(kBig);
  source->Run(kBigRows);
  const SetDecision decision = BuildSchema();
  request.epoch = 0;
  EXPECT_THROW(Copy(decision), Error);
  EXPECT_EQ(Value(*target, "SELECT count(*) FROM understudy_shadow_public.big"), "0");
}

TEST_F(ShadowRowsTest, RefusesASourceThatHasChangedSinceItsSchemaWasRead) {
  Both(kBig);
  const SetDecision decision = BuildSchema();
  source->Run("ALTER TABLE big ADD COLUMN more integer");
  try {
    Copy(decision);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "source-changed");
    EXPECT_THAT(error.what(), HasSubstr("public.big"));
  }
}

}  // namespace
}  // namespace understudy::table_swap
