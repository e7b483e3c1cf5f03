#include "harness/compare/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "engine/base/error.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using testing::Database;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using testing::SqliteFile;

const TableComparison& Only(const Comparison& comparison) {
  EXPECT_EQ(comparison.tables.size(), 1U);
  return comparison.tables.at(0);
}

// Every type of the hard cases, one column each.
constexpr std::string_view kAllTypes = R"sql(
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN cents AS bigint;
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE everything (
  id bigint PRIMARY KEY,
  c_bool boolean, c_int2 smallint, c_int4 int, c_int8 bigint, c_domain cents,
  c_numeric numeric, c_money money, c_float4 real, c_float8 double precision,
  c_text text, c_varchar varchar(20), c_char char(6), c_nocase text COLLATE nocase,
  c_bytea bytea, c_uuid uuid, c_date date, c_time time, c_timetz timetz,
  c_timestamp timestamp, c_timestamptz timestamptz, c_interval interval,
  c_json json, c_jsonb jsonb, c_mood mood, c_moods mood[], c_ints int[], c_texts text[],
  c_pair pair, c_range int4range, c_tsrange tstzrange, c_inet inet, c_cidr cidr, c_mac macaddr,
  c_bit bit(4), c_varbit varbit, c_tsvector tsvector, c_xml xml, c_point point, c_oid oid,
  c_name name, c_qchar "char");
INSERT INTO everything VALUES (1,
  true, 1, 1, 1, 1, 1.0, 12.34, 0, 0, 'a', 'a', 'a', 'a', '\x00ff', 
  '00000000-0000-0000-0000-000000000001', '2026-01-01', '24:00', '10:00+02',
  '2026-03-29 02:30:00.000001', '2026-03-29 02:30:00+00', '1 day',
  '{"a": 1, "a": 2}', '{"a": 1.0}', 'ok', '{ok,NULL}', '{1,NULL,3}', '{a,NULL,"NULL"}',
  '(1,x)', '[1,5)', '[2026-01-01,infinity]', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03',
  '1010', '101', 'a:1 b:2', '<a>1</a>', '(1,2)', 7, 'n', 'q');
INSERT INTO everything (id) VALUES (2);
)sql";

struct Change {
  std::string column;
  std::string to;  // SQL
  int row = 1;
};

// hard-case 65, 72, 73, 74, 75, 76, 77, 78, 111: one change in one value is found, and its place
// is named, in every type.
TEST(CompareRows, FindsAndNamesEverySingleChange) {
  NEED_POSTGRES();
  const std::vector<Change> changes = {{"c_bool", "false"},
                                       {"c_bool", "NULL"},
                                       {"c_bool", "false", 2},
                                       {"c_int2", "2"},
                                       {"c_int4", "NULL"},
                                       {"c_int4", "0", 2},
                                       {"c_int8", "4294967296"},  // int8's own hash is that of 1
                                       {"c_int8", "9223372036854775807"},
                                       {"c_domain", "4294967296"},
                                       {"c_numeric", "1.00"},
                                       {"c_numeric", "'NaN'"},
                                       {"c_numeric", "'Infinity'"},
                                       {"c_numeric", "1.0000000000000000000000000001"},
                                       {"c_money", "12.35"},
                                       {"c_float4", "'-0'"},
                                       {"c_float8", "'-0'"},
                                       {"c_float8", "'NaN'"},
                                       {"c_float8", "5e-324"},
                                       {"c_text", "'A'"},
                                       {"c_text", "'a '"},
                                       {"c_text", "''"},
                                       {"c_text", "''", 2},
                                       {"c_text", "'NULL'", 2},
                                       {"c_text", "'\\N'", 2},
                                       {"c_text", "E'a\\u0301'"},
                                       {"c_varchar", "'a '"},
                                       {"c_char", "'b'"},
                                       {"c_char", "''", 2},
                                       {"c_nocase", "'A'"},
                                       {"c_bytea", "'\\xff00'"},
                                       {"c_bytea", "'\\x00ff00'"},
                                       {"c_bytea", "''", 2},
                                       {"c_uuid", "'00000000-0000-0000-0000-000000000002'"},
                                       {"c_date", "'infinity'"},
                                       {"c_date", "'2026-01-01 BC'"},
                                       {"c_time", "'00:00'"},
                                       {"c_timetz", "'08:00+00'"},
                                       {"c_timestamp", "'2026-03-29 02:30:00'"},
                                       {"c_timestamp", "'-infinity'"},
                                       {"c_timestamptz", "'infinity'"},
                                       {"c_timestamptz", "'2026-03-29 02:30:00.000001+00'"},
                                       {"c_interval", "'24:00'"},
                                       {"c_interval", "'1 mon'"},
                                       {"c_json", "'{\"a\": 1,  \"a\": 2}'"},
                                       {"c_json", "'{\"a\": 2}'"},
                                       {"c_json", "'null'", 2},
                                       {"c_jsonb", "'{\"a\": 1.00}'"},
                                       {"c_jsonb", "'null'", 2},
                                       {"c_mood", "'sad'"},
                                       {"c_moods", "'{ok,sad}'"},
                                       {"c_moods", "'{NULL,ok}'"},
                                       {"c_ints", "'{1,2,3}'"},
                                       {"c_ints", "'[0:2]={1,NULL,3}'"},
                                       {"c_ints", "'{{1,NULL,3}}'"},
                                       {"c_ints", "'{}'", 2},
                                       {"c_texts", "'{a,NULL,NULL}'"},
                                       {"c_texts", "'{a,\"\",\"NULL\"}'"},
                                       {"c_pair", "'(1,)'"},
                                       {"c_pair", "'(,)'", 2},
                                       {"c_range", "'[1,6)'"},
                                       {"c_range", "'empty'"},
                                       {"c_range", "'(,5)'"},
                                       {"c_tsrange", "'[2026-01-01,)'"},
                                       {"c_inet", "'10.0.0.1/9'"},
                                       {"c_inet", "'10.0.0.1'"},
                                       {"c_cidr", "'10.0.0.0/9'"},
                                       {"c_mac", "'08:00:2b:01:02:04'"},
                                       {"c_bit", "'1011'"},
                                       {"c_varbit", "'1010'"},
                                       {"c_tsvector", "'a:1 b:3'"},
                                       {"c_xml", "'<a>1 </a>'"},
                                       {"c_point", "'(1,-2)'"},
                                       {"c_oid", "8"},
                                       {"c_name", "'N'"},
                                       {"c_qchar", "'Q'"}};
  Database left;
  left.Run(kAllTypes);
  Database right;
  right.Run("CREATE TYPE unused AS ENUM ('shifts', 'oids');");
  right.Run(kAllTypes);
  ASSERT_EQ(CompareRows(left.endpoint(), right.endpoint(), {}).result, CompareResult::kEqual);
  for (const Change& change : changes) {
    SCOPED_TRACE(change.column + " = " + change.to);
    const std::string where = " WHERE id = " + std::to_string(change.row);
    right.Run("CREATE TABLE kept AS SELECT * FROM everything" + where + "; UPDATE everything SET " +
              change.column + " = " + change.to + where);
    CompareOptions options;
    options.exclude = {"public.kept"};
    const Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), options);
    right.Run("DELETE FROM everything" + where +
              "; INSERT INTO everything SELECT * FROM kept; DROP TABLE kept");
    EXPECT_EQ(comparison.result, CompareResult::kDifferent);
    const TableComparison& table = Only(comparison);
    EXPECT_EQ(table.table, "public.everything");
    EXPECT_EQ(table.changed, 1) << table.why;
    EXPECT_EQ(table.missing + table.extra, 0);
    EXPECT_THAT(table.columns, ElementsAre(Pair(change.column, 1)));
    ASSERT_EQ(table.differences.size(), 1U);
    EXPECT_EQ(table.differences[0].key, (Json{{"id", std::to_string(change.row)}}));
  }
  EXPECT_EQ(CompareRows(left.endpoint(), right.endpoint(), {}).result, CompareResult::kEqual);
}

// hard-case 67, 112: neither the sessions' settings nor the order of rows and columns, nor a dead
// column, nor the encoding makes equal rows differ.
TEST(CompareRows, CallsTheSameRowsEqualWhateverTheDatabasesSettings) {
  NEED_POSTGRES();
  Database left;
  left.Run(kAllTypes);
  Database right;
  right.Run(kAllTypes);
  right.Run(R"sql(
    ALTER TABLE everything ADD dead int;
    ALTER TABLE everything DROP dead;
    ALTER TABLE everything RENAME c_text TO c_old;
    ALTER TABLE everything ADD c_text text;
    UPDATE everything SET c_text = c_old;
    ALTER TABLE everything DROP c_old;
    CREATE TABLE again AS SELECT * FROM everything ORDER BY id DESC;
    TRUNCATE everything;
    INSERT INTO everything SELECT * FROM again;
    DROP TABLE again;
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Kathmandu''', current_database());
      EXECUTE format('ALTER DATABASE %I SET DateStyle = ''German''', current_database());
      EXECUTE format('ALTER DATABASE %I SET IntervalStyle = ''iso_8601''', current_database());
      EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database());
      EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -5', current_database()); END $$;
  )sql");
  const Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), {});
  EXPECT_EQ(comparison.result, CompareResult::kEqual) << comparison.ToJson().dump(2);
  EXPECT_EQ(comparison.rows_compared, 2);
}

// hard-case 65, 110: rows without a key are a multiset, and two equal rows do not cancel out.
TEST(CompareRows, CountsTheCopiesOfRowsWithoutAKey) {
  NEED_POSTGRES();
  Database left;
  left.Run(
      "CREATE TABLE log (a int, b json); INSERT INTO log VALUES (1, '1'), (2, '2'), (2, '2'),"
      "(NULL, NULL), (NULL, NULL)");
  Database right;
  right.Run(
      "CREATE TABLE log (a int, b json); INSERT INTO log VALUES (1, '1'), (1, '1'), (1, '1'),"
      "(NULL, NULL), (NULL, NULL)");
  const Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), {});
  const TableComparison& table = Only(comparison);
  EXPECT_EQ(table.result, CompareResult::kDifferent);
  EXPECT_EQ(table.left_rows, table.right_rows);
  EXPECT_EQ(table.missing, 2);
  EXPECT_EQ(table.extra, 2);
  ASSERT_EQ(table.differences.size(), 2U);
  EXPECT_EQ(table.differences[0].key, nullptr);
  EXPECT_EQ(table.differences[0].copies_left, 1);
  EXPECT_EQ(table.differences[0].copies_right, 3);
  EXPECT_EQ(table.differences[1].copies_left, 2);
  EXPECT_EQ(table.differences[1].copies_right, 0);
}

// hard-case 65: sums of plain record hashes cannot tell when two rows exchange a value.
TEST(CompareRows, NoticesTwoRowsThatExchangeAValueAndTwoColumnsThatDo) {
  NEED_POSTGRES();
  const std::string ddl = "CREATE TABLE t (id int PRIMARY KEY, a int, b int);";
  Database left;
  left.Run(ddl + "INSERT INTO t VALUES (1, 10, 20), (2, 30, 40), (3, 50, 60)");
  Database rows;
  rows.Run(ddl + "INSERT INTO t VALUES (1, 30, 20), (2, 10, 40), (3, 50, 60)");
  Database columns;
  columns.Run(ddl + "INSERT INTO t VALUES (1, 10, 20), (2, 30, 40), (3, 60, 50)");
  const Comparison exchanged = CompareRows(left.endpoint(), rows.endpoint(), {});
  EXPECT_EQ(Only(exchanged).changed, 2);
  EXPECT_THAT(Only(exchanged).columns, ElementsAre(Pair("a", 2)));
  const Comparison swapped = CompareRows(left.endpoint(), columns.endpoint(), {});
  EXPECT_EQ(Only(swapped).changed, 1);
  EXPECT_THAT(Only(swapped).columns, ElementsAre(Pair("a", 1), Pair("b", 1)));
}

TEST(CompareRows, NarrowsALargeTableDownToItsDifferingRows) {
  NEED_POSTGRES();
  Database left;
  Database right;
  for (const Database* side : {&left, &right}) {
    side->Run(
        "CREATE TABLE t (a text, b int, c text, PRIMARY KEY (a, b));"
        "INSERT INTO t SELECT 'k' || i % 100, i, 'value ' || i FROM generate_series(1, 60000) i");
  }
  right.Run(
      "UPDATE t SET c = 'other' WHERE b = 31415; DELETE FROM t WHERE b = 27182;"
      "INSERT INTO t VALUES ('new', 0, NULL)");
  for (const bool second : {false, true}) {
    CompareOptions options;
    options.second_digest = second;
    options.whole_rows = true;
    const Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), options);
    const TableComparison& table = Only(comparison);
    EXPECT_EQ(table.result, CompareResult::kDifferent);
    EXPECT_EQ(table.changed, 1);
    EXPECT_EQ(table.missing, 1);
    EXPECT_EQ(table.extra, 1);
    std::set<std::string> keys;
    for (const RowDifference& one : table.differences) keys.insert(one.key.dump() + one.kind);
    EXPECT_THAT(
        keys, ElementsAre(R"({"a":"k15","b":"31415"}changed)", R"({"a":"k82","b":"27182"}missing)",
                          R"({"a":"new","b":"0"}extra)"));
    for (const RowDifference& one : table.differences) {
      if (one.kind != "changed") continue;
      EXPECT_EQ(one.right.at("c"), (Json{{"type", "text"}, {"text", "other"}}));
      EXPECT_EQ(one.left.at("b").at("text"), "31415");
    }
  }
}

TEST(CompareRows, TellsEveryDifferingRowToTheOneWhoMayExplainIt) {
  NEED_POSTGRES();
  Database left;
  Database right;
  for (const Database* side : {&left, &right}) {
    side->Run(
        "CREATE TABLE t (id int PRIMARY KEY, v int); "
        "INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i");
  }
  right.Run("UPDATE t SET v = 1 WHERE id <= 50");
  CompareOptions options;
  options.examples = 3;
  int asked = 0;
  options.explained = [&](const std::string& table, const Json& key, const std::string& kind) {
    EXPECT_EQ(table, "public.t");
    EXPECT_EQ(kind, "changed");
    ++asked;
    return key.at("id") != "50";
  };
  Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), options);
  EXPECT_EQ(asked, 50);
  EXPECT_EQ(Only(comparison).changed, 1);
  EXPECT_EQ(Only(comparison).differences.at(0).key, (Json{{"id", "50"}}));
  options.explained = [](const auto&...) { return true; };
  comparison = CompareRows(left.endpoint(), right.endpoint(), options);
  EXPECT_EQ(comparison.result, CompareResult::kEqual);
}

TEST(CompareRows, FollowsRenamesAndLeavesOutWhatItIsToldTo) {
  NEED_POSTGRES();
  Database left;
  left.Run(
      "CREATE TABLE a (id int PRIMARY KEY, total int, x int, note text);"
      "INSERT INTO a VALUES (1, 5, 0, 'l'); CREATE TABLE gone (); CREATE TABLE noise (i int);");
  Database right;
  right.Run(
      "CREATE TABLE b (total_cents int, note text, nr int PRIMARY KEY, y int);"
      "INSERT INTO b VALUES (5, 'r', 1, 0); CREATE TABLE noise (i int); "
      "INSERT INTO noise VALUES (1)");
  CompareOptions options;
  options.tables = {"public.a"};
  options.map = {{"public.a", "public.b"},
                 {"public.a.total", "public.b.total_cents"},
                 {"public.a.id", "public.b.nr"}};
  options.ignore = {"public.a.note"};
  Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), options);
  EXPECT_EQ(Only(comparison).result, CompareResult::kDifferent);
  EXPECT_THAT(Only(comparison).why, HasSubstr("column x is only on the left"));
  EXPECT_THAT(Only(comparison).why, HasSubstr("column y is only on the right"));
  EXPECT_EQ(Only(comparison).changed, 0);
  options.common_columns = true;
  comparison = CompareRows(left.endpoint(), right.endpoint(), options);
  EXPECT_EQ(comparison.result, CompareResult::kEqual) << comparison.ToJson().dump(2);
  EXPECT_THAT(Only(comparison).compared, ElementsAre("id", "total"));
  EXPECT_THAT(comparison.not_checked.dump(), HasSubstr("public.a.note"));

  options.tables = {};
  options.ignore.push_back("public.noise");
  comparison = CompareRows(left.endpoint(), right.endpoint(), options);
  ASSERT_EQ(comparison.tables.size(), 2U);
  EXPECT_EQ(comparison.tables[1].table, "public.gone");
  EXPECT_EQ(comparison.tables[1].result, CompareResult::kOnlyLeft);
  EXPECT_EQ(comparison.result, CompareResult::kDifferent);
}

TEST(CompareRows, CallsATypeOfAnotherKindDifferentEvenWhenTheTextAgrees) {
  NEED_POSTGRES();
  Database left;
  left.Run(
      "CREATE TABLE t (id int PRIMARY KEY, a int, b int, c varchar(9), d int);"
      "INSERT INTO t VALUES (1, 1, 1, 'x', NULL)");
  Database right;
  right.Run(
      "CREATE TABLE t (id bigint PRIMARY KEY, a text, b numeric, c text, d text);"
      "INSERT INTO t VALUES (1, '1', 1, 'x', NULL)");
  const Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), {});
  EXPECT_THAT(Only(comparison).columns, ElementsAre(Pair("a", 1)));
}

// What could not be read is unknown with its reason, and the tables beside it are still compared.
TEST(CompareRows, SaysWhatItCouldNotCompareAndWhy) {
  NEED_POSTGRES();
  Database left;
  Database right;
  for (const Database* side : {&left, &right}) {
    side->Run(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);"
        "CREATE FUNCTION broken(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x/0';"
        "INSERT INTO a VALUES (1)");
  }
  right.Run("CREATE ROLE reader_of_b LOGIN; GRANT SELECT ON b TO reader_of_b;");
  const auto limited = right.endpoint().WithSetting("user", "reader_of_b");
  CompareOptions options;
  options.jobs = 1;
  const Comparison comparison = CompareRows(left.endpoint(), limited, options);
  right.Run("DROP OWNED BY reader_of_b; DROP ROLE reader_of_b");
  EXPECT_EQ(comparison.result, CompareResult::kUnknown);
  ASSERT_EQ(comparison.tables.size(), 2U);
  EXPECT_EQ(comparison.tables[0].result, CompareResult::kUnknown);
  EXPECT_THAT(comparison.tables[0].why, HasSubstr("permission denied"));
  EXPECT_EQ(comparison.tables[1].result, CompareResult::kEqual);
}

TEST(CompareRows, IsUnknownWhenThereIsNothingToCompare) {
  NEED_POSTGRES();
  Database left;
  Database right;
  EXPECT_EQ(CompareRows(left.endpoint(), right.endpoint(), {}).result, CompareResult::kUnknown);
}

TEST(CompareRows, StopsWhenAsked) {
  NEED_POSTGRES();
  Database left;
  Database right;
  for (const Database* side : {&left, &right}) {
    side->Run("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 200000)");
  }
  CompareOptions options;
  options.stop = [] { return true; };
  auto lock = left.Connect();
  lock->Begin();
  lock->Execute("LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE");
  try {
    CompareRows(left.endpoint(), right.endpoint(), options);
    FAIL() << "it was to be stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
}

// hard-case 66: both sides are one moment, whatever is written meanwhile.
TEST(CompareRows, SeesOneMomentWithAllItsSessions) {
  NEED_POSTGRES();
  Database left;
  left.Run("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);");
  std::atomic<bool> done = false;
  std::jthread writer([&] {
    auto session = left.Connect();
    for (int i = 0; !done; ++i) {
      session->Execute("BEGIN; INSERT INTO public.a VALUES (" + std::to_string(i) +
                       "); INSERT INTO public.b VALUES (" + std::to_string(i) + "); COMMIT");
    }
  });
  for (int round = 0; round < 5; ++round) {
    const Comparison comparison = CompareRows(left.endpoint(), left.endpoint(), {});
    ASSERT_EQ(comparison.tables.size(), 2U);
    EXPECT_EQ(comparison.tables[0].left_rows, comparison.tables[1].left_rows);
    EXPECT_EQ(comparison.tables[0].right_rows, comparison.tables[1].right_rows);
  }
  done = true;
}

TEST(CompareRows, ComparesADatabaseInAnotherEncodingByItsCharacters) {
  NEED_POSTGRES();
  Database left;
  left.Run(
      "CREATE TABLE t (name text PRIMARY KEY, v text); INSERT INTO t VALUES ('é', 'ü'), ('z', "
      "'a')");
  auto server = db::Connect(testing::Server());
  server->Execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'");
  const auto latin = left.endpoint().WithDatabase("latin");
  {
    auto session = db::Connect(latin);
    session->Execute("CREATE TABLE public.t (name text PRIMARY KEY, v text)");
    session->Execute("INSERT INTO public.t VALUES ('é', 'ü'), ('z', 'a')");
  }
  EXPECT_EQ(CompareRows(left.endpoint(), latin, {}).result, CompareResult::kEqual);
  db::Connect(latin)->Execute("UPDATE public.t SET v = 'Ü' WHERE name = 'é'");
  const Comparison comparison = CompareRows(left.endpoint(), latin, {});
  server->Execute("DROP DATABASE latin");
  EXPECT_EQ(Only(comparison).changed, 1) << Only(comparison).why;
}

// hard-case 65, 75, 85, 111, for SQLite's storage classes.
TEST(CompareRows, TellsSqliteValuesApartByStorageClassAndBytes) {
  const std::string ddl = "CREATE TABLE t (id INTEGER PRIMARY KEY, v);";
  const std::vector<std::string> values = {"NULL",
                                           "''",
                                           "x''",
                                           "1",
                                           "1.0",
                                           "'1'",
                                           "x'31'",
                                           "0.0",
                                           "'a'",
                                           "'a '",
                                           "'A'",
                                           "CAST(x'610062' AS TEXT)",
                                           "CAST(x'6100' AS TEXT)",
                                           "9223372036854775807",
                                           "9.2233720368547758e18",
                                           "1e999",
                                           "'NULL'",
                                           "5e-324"};
  SqliteFile left;
  SqliteFile right;
  std::string left_sql = ddl + "BEGIN;";
  std::string right_sql = left_sql;
  std::set<std::string> expected;
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t j = 0; j < values.size(); ++j) {
      const std::string id = std::to_string(i * 100 + j);
      left_sql += "INSERT INTO t VALUES (" + id + ", " + values[i] + ");";
      right_sql += "INSERT INTO t VALUES (" + id + ", " + values[j] + ");";
      if (i != j) expected.insert(id);
    }
  }
  left.Run(left_sql + "COMMIT");
  right.Run(right_sql + "COMMIT");
  CompareOptions options;
  std::set<std::string> found;
  options.explained = [&](const std::string&, const Json& key, const std::string& kind) {
    EXPECT_EQ(kind, "changed");
    found.insert(key.at("id").get<std::string>());
    return false;
  };
  const Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), options);
  EXPECT_EQ(found, expected);
  EXPECT_THAT(Only(comparison).columns, ElementsAre(Pair("v", expected.size())));
}

// hard-case 65, 72: and so does the digest alone, pair by pair, by which equal tables are equal.
TEST(CompareRows, HashesSqliteValuesByStorageClassAndBytes) {
  SqliteFile file;
  const auto session = file.Connect();
  std::set<std::string> hashes;
  const std::vector<std::string> values = {"NULL", "''",   "x''", "1",    "1.0",   "'1'",   "x'31'",
                                           "0.0",  "-0.0", "'a'", "'a '", "1e999", "'NULL'"};
  for (const std::string& value : values) {
    for (const std::string function : {"understudy_hash(0, ", "understudy_hash2(0, "}) {
      hashes.insert(session->Scalar("SELECT " + function + value + ", 'next')").text);
    }
  }
  EXPECT_EQ(hashes.size(), 2 * values.size());
  EXPECT_NE(session->Scalar("SELECT understudy_hash(0, 'ab', 'c')").text,
            session->Scalar("SELECT understudy_hash(0, 'a', 'bc')").text);
}

TEST(CompareRows, NarrowsSqliteTablesWithAnyKeyOrNone) {
  for (const std::string key : {"PRIMARY KEY (a, b)) WITHOUT ROWID", "UNIQUE (b))", "CHECK (1))"}) {
    SCOPED_TRACE(key);
    SqliteFile left;
    SqliteFile right;
    for (const SqliteFile* side : {&left, &right}) {
      side->Run("CREATE TABLE t (a TEXT NOT NULL COLLATE NOCASE, b NOT NULL, c, " + key + ";" +
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) "
                "INSERT INTO t SELECT 'k' || i % 7, i, i * 0.5 FROM n");
    }
    right.Run("UPDATE t SET c = CAST(c AS TEXT) WHERE b = 31; DELETE FROM t WHERE b = 27");
    const Comparison comparison = CompareRows(left.endpoint(), right.endpoint(), {});
    const TableComparison& table = Only(comparison);
    EXPECT_EQ(table.result, CompareResult::kDifferent);
    if (key == "CHECK (1))") {
      EXPECT_EQ(table.missing, 2);
      EXPECT_EQ(table.extra, 1);
    } else {
      EXPECT_EQ(table.missing, 1);
      EXPECT_EQ(table.changed, 1);
    }
  }
}

TEST(Comparison, IsTheSameAfterAWayThroughJson) {
  SqliteFile left;
  left.Run("CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 2)");
  SqliteFile right;
  right.Run("CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, x'00')");
  const Json json = CompareRows(left.endpoint(), right.endpoint(), {}).ToJson();
  EXPECT_EQ(json.at("tables")[0].at("differences")[0].at("right").at("v").at("text"), "\\x00");
  EXPECT_EQ(Comparison::FromJson(json).ToJson(), json);
}

}  // namespace
}  // namespace understudy::harness
