#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/schema/column_rules.h"
#include "harness/schema/schema.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using ::testing::IsEmpty;

// Inserts `rows` made rows into every table; each must be accepted.
void Fill(db::Session& session, const Schema& schema, int rows) {
  for (const SchemaTable* table : schema.InForeignKeyOrder()) {
    const ValueMaker maker(*table);
    EXPECT_THAT(maker.NotUnderstood(), IsEmpty()) << table->name.Display();
    Random random(7);
    db::Transaction transaction(session);
    for (int i = 0; i < rows; ++i) {
      std::string columns;
      std::string places;
      db::Params values;
      for (const SchemaColumn& column : table->columns) {
        if (column.generated) continue;
        ASSERT_TRUE(ValueMaker::CanMake(column)) << column.type;
        columns += (columns.empty() ? "" : ", ") + db::QuoteIdentifier(column.name);
        values.push_back(maker.Make(column, random, i + 1));
        places += (places.empty() ? "" : ", ") +
                  std::string(schema.engine == db::Engine::kPostgres ? "$" : "?") +
                  std::to_string(values.size());
      }
      const std::string sql =
          "INSERT INTO " + table->name.Quoted() + " (" + columns + ")" +
          (schema.engine == db::Engine::kPostgres ? " OVERRIDING SYSTEM VALUE" : "") + " VALUES (" +
          places + ")";
      ASSERT_NO_THROW(session.Query(sql, values)) << [&] {
        try {
          session.Query(sql, values);
        } catch (const std::exception& error) {
          return sql + "\n" + error.what();
        }
        return std::string("(accepted at a second try)");
      }();
    }
    transaction.Commit();
  }
}

TEST(ValueMaker, RowsOfEveryTypeAreAccepted) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run(R"sql(
CREATE TYPE mood AS ENUM ('sad', 'it''s, ok', 'very "happy"');
CREATE DOMAIN short AS varchar(5);
CREATE TABLE everything (
  a int2, b int4, c int8, d numeric, e numeric(3,3), f numeric(30,12), g real, h float8, i bool,
  j text, k varchar(3), l char(2), m bytea, n uuid, o date, p time, q timetz, r timestamp(0),
  s timestamptz, t interval, u json, v jsonb, w inet, x cidr, y macaddr, z macaddr8, aa bit(5),
  ab varbit(9), ac int4range, ad int8range, ae numrange, af daterange, ag tsrange, ah tstzrange,
  ai tsvector, aj tsquery, ak point, al box, am circle, an path, ao polygon, ap lseg, aq line,
  ar xml, at money, au oid, av name, aw "char", ax mood, ay mood[], az text[], ba int[],
  bb timestamptz[], bc bytea[], bd short[], be jsonb[], bf numeric(6,2)[], bg boolean[],
  bh uuid[], bi date[], bj varchar(2)[], bk tsrange[], bl short);
)sql");
  const auto session = database.Connect();
  Fill(*session, ReadSchema(*session), 120);
}

TEST(ValueMaker, UniqueColumnsOfEveryTypeNeverRepeat) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run(R"sql(
CREATE TABLE uniques (
  a int2 UNIQUE, b numeric(6,2) UNIQUE, c varchar(3) UNIQUE, d char(4) UNIQUE, e bytea UNIQUE,
  f uuid UNIQUE, g date UNIQUE, h timestamptz UNIQUE, i inet UNIQUE, j macaddr UNIQUE,
  k bit(12) UNIQUE, l jsonb UNIQUE, m text[] UNIQUE, n tsvector UNIQUE, o float8 UNIQUE,
  p tsrange, q int4range UNIQUE, r text, s time UNIQUE, t interval UNIQUE,
  u text UNIQUE CHECK (u ~ '^[A-Z]{2}[0-9]{3}$'), v int UNIQUE CHECK (v > 100 AND v <> 105),
  EXCLUDE USING gist (p WITH &&), PRIMARY KEY (a, b));
CREATE UNIQUE INDEX ON uniques (lower(r));
)sql");
  const auto session = database.Connect();
  Fill(*session, ReadSchema(*session), 600);
}

TEST(ValueMaker, ChecksThatAreUnderstoodHold) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run(R"sql(
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN mail AS text CHECK (VALUE ~ '^[^@ ]+@[a-z]+\.(com|org)$');
CREATE TABLE checked (
  a int CHECK (a >= 10), b int CHECK (b > 10 AND b < 13), c numeric(12,2) CHECK (c BETWEEN 1.5 AND 2),
  d text CHECK (d IN ('new', 'it''s', 'done')), e varchar(9) CHECK (e = ANY (ARRAY['x', 'y'])),
  f text CHECK (length(f) <= 3), g text CHECK (char_length(btrim(g)) > 0 AND length(g) < 6),
  h text CHECK (h ~ '^[A-Z]{3}-\d+$'), i text CHECK (i LIKE 'ab_%z'), j positive, k mail NOT NULL,
  l date CHECK (l >= '2031-01-01'), m timestamptz, n timestamptz, CHECK (n > m),
  o int, p int, q int, CHECK (o <= p AND p < q AND o >= 0 AND q < 1000),
  r int CHECK (r IS NULL OR r = 7), s int CHECK ((s < 5 AND s > 2) OR (s > 90 AND s < 95)),
  t bool CHECK (t), u bool CHECK (NOT u), v text CHECK (v <> ''), w text CHECK (w = lower(w)),
  x text CHECK (x = upper(x)), y int CHECK (y <> 0 AND y > -2 AND y < 2),
  z jsonb CHECK (jsonb_typeof(z) = 'array'), aa text[] CHECK (cardinality(aa) BETWEEN 1 AND 2),
  ab timestamptz CHECK (ab <= now()), ac real CHECK (ac > 0 AND ac <= 1),
  ad text CHECK (ad NOT IN ('a')), ae int CHECK (5 < ae), af text CHECK (position('@' in af) > 1),
  ag smallint CHECK (ag < 0), ah time CHECK (ah > '08:00' AND ah < '09:00'),
  ai interval CHECK (ai > '1 day'), aj bytea CHECK (octet_length(aj) = 4),
  ak int CHECK (ak = 1 OR ak = 3), al text CHECK (NOT (al = 'q')), am numeric CHECK (am > 0.5));
CREATE TABLE parted (at timestamptz, kind text, CHECK (kind IN ('a', 'b', 'c')))
  PARTITION BY RANGE (at);
CREATE TABLE p1 PARTITION OF parted FOR VALUES FROM ('2031-01-01') TO ('2031-02-01')
  PARTITION BY LIST (kind);
CREATE TABLE p1a PARTITION OF p1 FOR VALUES IN ('a');
CREATE TABLE p1b PARTITION OF p1 FOR VALUES IN ('b', 'c');
CREATE TABLE ranged (at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE r1 PARTITION OF ranged FOR VALUES FROM ('2031-01-01') TO ('2031-02-01');
CREATE TABLE r2 PARTITION OF ranged FOR VALUES FROM ('2031-02-01') TO ('2031-03-01');
)sql");
  const auto session = database.Connect();
  Fill(*session, ReadSchema(*session), 200);
  EXPECT_GT(session->Scalar("SELECT count(*) FROM public.r1").AsInteger(), 20);
  EXPECT_GT(session->Scalar("SELECT count(*) FROM public.r2").AsInteger(), 20)
      << "rows go to every partition";
  EXPECT_EQ(session->Scalar("SELECT count(DISTINCT s) FROM public.checked").AsInteger(), 6)
      << "both ranges are used";
}

TEST(ValueMaker, SaysWhichChecksItDoesNotUnderstand) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run("CREATE TABLE t (a int CHECK (a % 2 = 0), b int CHECK (b > 3 AND sqrt(b) > 2))");
  const Schema schema = ReadSchema(*database.Connect());
  EXPECT_EQ(ReadRules(schema.tables[0]).not_understood.size(), 2U);
}

TEST(ValueMaker, SqliteTakesWhatIsMade) {
  const testing::SqliteFile file;
  file.Run(R"sql(
CREATE TABLE loose (id INTEGER PRIMARY KEY, a INT CHECK (a BETWEEN 3 AND 5),
  b REAL NOT NULL CHECK (b > 0), c TEXT CHECK (c IN ('x', 'y') AND typeof(c) = 'text'), d BLOB,
  e VARCHAR(4) UNIQUE CHECK (length(e) <= 4), f DATETIME, g BOOLEAN CHECK (g IN (0, 1)),
  h JSON CHECK (json_valid(h)), i CHECK (i IS NOT NULL), j DECIMAL(6,2),
  k TEXT CHECK (k GLOB '[A-Z][0-9]*'), l INT NOT NULL CHECK (l != 0));
CREATE TABLE hard (id INTEGER PRIMARY KEY, r REAL NOT NULL, t TEXT UNIQUE, b BLOB NOT NULL UNIQUE,
  n INT, x ANY) STRICT;
)sql");
  const auto session = file.Connect();
  Fill(*session, ReadSchema(*session), 150);
  EXPECT_EQ(session->Scalar("SELECT group_concat(DISTINCT typeof(b)) FROM loose").text, "real");
  EXPECT_EQ(session->Scalar("SELECT group_concat(DISTINCT typeof(b)) FROM hard").text, "blob");
}

TEST(ValueMaker, IsDeterministicAndKeepsNotNull) {
  SchemaTable table;
  table.name = {"public", "t"};
  SchemaColumn column;
  column.name = "c";
  column.type = column.base_type = "text";
  column.nullable = false;
  table.columns.push_back(column);
  column.name = "n";
  column.nullable = true;
  table.columns.push_back(column);
  const ValueMaker maker(table);
  Random one(3);
  Random two(3);
  int nulls = 0;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(maker.Make(table.columns[0], one, i), maker.Make(table.columns[0], two, i));
    const db::Value value = maker.Make(table.columns[1], one, i);
    EXPECT_EQ(value, maker.Make(table.columns[1], two, i));
    nulls += value.is_null() ? 1 : 0;
    EXPECT_FALSE(maker.Make(table.columns[0], one, i).is_null());
    EXPECT_FALSE(maker.Make(table.columns[1], two, i, /*allow_null=*/false).is_null());
    one = two = Random(static_cast<std::uint64_t>(i));
  }
  EXPECT_GT(nulls, 5);
  EXPECT_LT(nulls, 100);
}

}  // namespace
}  // namespace understudy::harness
