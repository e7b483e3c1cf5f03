#include "harness/world/fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"
#include "harness/scenario/scenario.h"
#include "harness/schema/schema.h"
#include "harness/world/generate.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using ::testing::HasSubstr;

std::string Source(const std::string& path) {
  return std::string(UNDERSTUDY_SOURCE_DIR) + "/" + path;
}

std::string MessageOf(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec) << error.what();
    return error.what();
  }
  return "(no error)";
}

// All rows of all tables, as one text.
std::string AllRows(db::Session& session) {
  std::string all;
  const Schema schema = ReadSchema(session);
  for (const SchemaTable& table : schema.tables) {
    if (table.name.name == "audit_log") continue;  // its times are the clock's
    all += table.name.Display() + "\n";
    std::string columns;
    for (const SchemaColumn& column : table.columns) {
      columns += (columns.empty() ? "" : ", ") + db::QuoteIdentifier(column.name);
    }
    const bool postgres = session.Server().engine == db::Engine::kPostgres;
    std::string order;
    for (const std::string& name : table.RowKey()) {
      order += (order.empty() ? " ORDER BY " : ", ") + db::QuoteIdentifier(name);
    }
    for (const db::Row& row :
         session.Query("SELECT " + columns + " FROM " + table.name.Quoted() + order).rows) {
      for (const db::Value& value : row)
        all += value.ToJson().dump(-1, ' ', false, Json::error_handler_t::replace) + ",";
      all += "\n";
    }
    (void)postgres;
  }
  return all;
}

// The next row through every default is accepted: no sequence was left behind.
void ExpectSequencesPastTheData(db::Session& session) {
  const auto sequences = session
                             .Query(R"sql(
SELECT s.schemaname, s.sequencename, s.last_value FROM pg_catalog.pg_sequences s)sql")
                             .rows;
  EXPECT_EQ(sequences.size(), 9U);
  for (const auto& [column, table] :
       {std::pair("id", "customers"), std::pair("id", "addresses"), std::pair("id", "products"),
        std::pair("id", "orders"), std::pair("number", "orders"),
        std::pair("reference", "payments"), std::pair("id", "events"),
        std::pair("id", "pickup_slots")}) {
    const std::string from = std::string("public.") + table;
    const std::int64_t most =
        session.Scalar(std::string("SELECT max(") + column + ") FROM " + from).AsInteger();
    const std::string sequence = std::string(column) == "number"
                                     ? "public.order_number_seq"
                                     : session
                                           .Scalar("SELECT pg_get_serial_sequence($1, $2)",
                                                   {db::Value::Text(from), db::Value::Text(column)})
                                           .text;
    EXPECT_GT(session.Scalar("SELECT nextval($1)", {db::Value::Text(sequence)}).AsInteger(), most)
        << sequence;
  }
}

Json Shop(const std::string& name, double scale) {
  return Json::array({Source("fixtures/" + name + "/schema.sql"),
                      {{"generate", Source("fixtures/" + name + "/rows.json")}, {"scale", scale}}});
}

class ShopAtScale : public ::testing::TestWithParam<double> {};

TEST_P(ShopAtScale, LoadsOnPostgres) {
  NEED_POSTGRES();
  const testing::Database database;
  LoadFixture(database.endpoint(), Shop("shop", GetParam()), {});
  const auto session = database.Connect();
  const auto count = [&](const std::string& table) {
    return session->Scalar("SELECT count(*) FROM public." + table).AsInteger();
  };
  EXPECT_EQ(count("orders"), static_cast<std::int64_t>(1000 * GetParam()));
  EXPECT_EQ(count("order_items"), static_cast<std::int64_t>(2500 * GetParam()));
  EXPECT_EQ(count("audit_log"), count("products")) << "user triggers fire";
  for (const char* partition :
       {"events_2023", "events_2024_h1", "events_2024_h2", "events_later"}) {
    EXPECT_GT(count(partition), 0) << partition;
  }
  EXPECT_GT(count("customers WHERE referred_by IS NOT NULL"), 0);
  EXPECT_GT(count("orders WHERE note IS NULL"), count("orders WHERE note IS NOT NULL"));
  EXPECT_GT(count("orders WHERE status = 'shipped'"), count("orders WHERE status = 'new'") * 2);
  // Skewed: the hottest customer has far more than an even share.
  EXPECT_GT(session
                ->Scalar("SELECT max(n) FROM (SELECT count(*) AS n FROM public.orders "
                         "GROUP BY customer_id) x")
                .AsInteger(),
            20);
  EXPECT_GT(session->Scalar("SELECT reltuples FROM pg_class WHERE relname = 'orders'").AsReal(), 0)
      << "analysed";
  ExpectSequencesPastTheData(*session);
}

TEST_P(ShopAtScale, LoadsOnSqlite) {
  const testing::SqliteFile file;
  LoadFixture(file.endpoint(), Shop("shop-sqlite", GetParam()), {});
  const auto session = file.Connect();
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM orders").AsInteger(),
            static_cast<std::int64_t>(1000 * GetParam()));
  EXPECT_TRUE(session->Query("PRAGMA foreign_key_check").rows.empty());
  EXPECT_EQ(session->Scalar("PRAGMA integrity_check").text, "ok");
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM audit_log").AsInteger(),
            session->Scalar("SELECT count(*) FROM products").AsInteger());
}

INSTANTIATE_TEST_SUITE_P(Fixture, ShopAtScale, ::testing::Values(0.1, 1.0, 5.0));

TEST(Generate, SameSeedSameRowsWhateverTheOrderOfTheDescription) {
  NEED_POSTGRES();
  const Json json = ParseJsonFile(Source("fixtures/shop/rows.json"));
  Json turned = {{"tables", Json::object()}};
  std::vector<std::pair<std::string, Json>> tables;
  for (const auto& [name, table] : json["tables"].items()) tables.emplace_back(name, table);
  for (auto it = tables.rbegin(); it != tables.rend(); ++it)
    turned["tables"][it->first] = it->second;
  const auto rows_of = [&](const Json& description, std::uint64_t seed) {
    const testing::Database database;
    LoadSqlFile(database.endpoint(), Source("fixtures/shop/schema.sql"));
    GenerateOptions options;
    options.seed = seed;
    options.scale = 0.3;
    GenerateRows(database.endpoint(), description, "rows.json", options);
    return AllRows(*database.Connect());
  };
  const std::string first = rows_of(json, 7);
  EXPECT_GT(first.size(), 100000U);
  EXPECT_EQ(first, rows_of(turned, 7));
  EXPECT_NE(first, rows_of(json, 8));
}

TEST(Generate, AnyKeyAndAnyReferenceHolds) {
  NEED_POSTGRES();
  const testing::Database database;
  // hard-case 7 (composite, uuid, text keys), self-reference, a cycle, junction tables, keys that
  // the database makes, one to one, columns that two keys share.
  database.Run(R"sql(
CREATE TABLE tenant (id uuid PRIMARY KEY);
CREATE TABLE "User" (tenant uuid NOT NULL REFERENCES tenant, name varchar(6), "Boss" varchar(6),
  PRIMARY KEY (tenant, name));
CREATE TABLE profile (tenant uuid, name varchar(6), bio text, PRIMARY KEY (tenant, name),
  FOREIGN KEY (tenant, name) REFERENCES "User" (tenant, name));
CREATE TABLE post (id int PRIMARY KEY, tenant uuid NOT NULL, author varchar(6) NOT NULL,
  pinned int, UNIQUE (tenant, id),
  FOREIGN KEY (tenant) REFERENCES tenant, FOREIGN KEY (tenant, author) REFERENCES "User");
CREATE TABLE topic (id int PRIMARY KEY, best int REFERENCES post);
ALTER TABLE post ADD topic int NOT NULL REFERENCES topic;
CREATE TABLE tag (code text PRIMARY KEY);
CREATE TABLE post_tag (post int REFERENCES post, tag text REFERENCES tag, PRIMARY KEY (post, tag));
CREATE TABLE tree (id int PRIMARY KEY, up int NOT NULL REFERENCES tree);
CREATE TABLE made (base int PRIMARY KEY, twice int GENERATED ALWAYS AS (base * 2) STORED UNIQUE);
CREATE TABLE uses_made (id int PRIMARY KEY, m int NOT NULL REFERENCES made (twice));
CREATE TABLE main_of (post int NOT NULL REFERENCES post, main bool NOT NULL);
CREATE UNIQUE INDEX ON main_of (post) WHERE main;
CREATE TABLE bits (a bool, b bool, c smallint CHECK (c BETWEEN 1 AND 5), PRIMARY KEY (a, b, c));
CREATE TABLE few (n int CHECK (n > 0 AND n <= 50) UNIQUE);
)sql");
  const Json json = ParseJson(R"({"tables": {
    "tenant": {"rows": 5}, "\"User\"": {"rows": 60}, "profile": {"rows": 60},
    "post": {"rows": 300}, "topic": {"rows": 40}, "tag": {"rows": 7}, "post_tag": {"rows": 2100},
    "tree": {"rows": 100}, "made": {"rows": 20}, "uses_made": {"rows": 50},
    "main_of": {"rows": 300}, "bits": {"rows": 20}, "few": {"rows": 50}}})",
                              "rows.json");
  GenerateRows(database.endpoint(), json, "rows.json", {});
  const auto session = database.Connect();
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM public.post_tag").AsInteger(), 2100);
  EXPECT_GT(session->Scalar("SELECT count(*) FROM public.topic WHERE best IS NOT NULL").AsInteger(),
            20)
      << "the cycle's keys are set at last";
  EXPECT_GT(session->Scalar("SELECT count(*) FROM public.tree WHERE up <> id").AsInteger(), 90);
}

TEST(Generate, AddsToRowsThatAreThere) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run(
      "CREATE TABLE p (id serial PRIMARY KEY, code text UNIQUE);"
      "INSERT INTO p (code) SELECT 'c' || n FROM generate_series(1, 30) n;"
      "CREATE TABLE c (id int PRIMARY KEY, p int NOT NULL REFERENCES p);");
  GenerateRows(database.endpoint(), ParseJson(R"({"tables": {"c": {"rows": 100}}})", "r"), "r", {});
  GenerateRows(database.endpoint(), ParseJson(R"({"tables": {"p": {"rows": 10}}})", "r"), "r", {});
  GenerateRows(database.endpoint(), ParseJson(R"({"tables": {"c": {"rows": 50}}})", "r"), "r", {});
  const auto session = database.Connect();
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM public.c").AsInteger(), 150);
  EXPECT_EQ(session->Scalar("SELECT count(DISTINCT p) > 20 FROM public.c").text, "t");
}

TEST(Generate, SaysWhatIsWrongWithADescription) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run(
      "CREATE TABLE a (id int PRIMARY KEY, n int NOT NULL, x int CHECK (x % 2 = 0));"
      "CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a);");
  const auto message = [&](const char* json) {
    return MessageOf(
        [&] { GenerateRows(database.endpoint(), ParseJson(json, "rows.json"), "rows.json", {}); });
  };
  EXPECT_THAT(message(R"({"tabels": {}})"),
              HasSubstr("rows.json: /tabels: unknown key; allowed: tables, default_rows"));
  EXPECT_THAT(message(R"({"tables": {"z": {"rows": 1}}})"),
              HasSubstr("/tables/z: no such table; the database has: public.a, public.b"));
  EXPECT_THAT(message(R"({"tables": {"a": {"rows": 1, "columns": {"q": {}}}}})"),
              HasSubstr("/tables/a/columns/q: no such column; the table has: id, n, x"));
  EXPECT_THAT(message(R"({"tables": {"a": {"rows": -1}}})"), HasSubstr("/tables/a/rows: must be"));
  EXPECT_THAT(message(R"({"tables": {"a": {"rows": 1, "columns": {"n": {"unifrom": [1, 2]}}}}})"),
              HasSubstr("/tables/a/columns/n/unifrom: unknown key"));
  EXPECT_THAT(message(R"({"tables": {"a": {"rows": 1, "columns": {"n": {"null_share": 0.5}}}}})"),
              HasSubstr("/tables/a/columns/n/null_share: the column is NOT NULL"));
  EXPECT_THAT(message(R"({"tables": {"a": {"rows": 1, "columns": {"n": {"uniform": [5, 2]}}}}})"),
              HasSubstr("/uniform: the low end is above the high end"));
  EXPECT_THAT(message(R"({"tables": {"b": {"rows": 1}}})"),
              HasSubstr("/tables/b: needs rows of public.a, which has none"));
  EXPECT_THAT(message(R"({"tables": {"a": {"rows": 50}}})"),
              HasSubstr("not understood, so describe its columns: CHECK"));
  EXPECT_THAT(message(R"({"tables": {"a": {"rows": 9, "columns": {"id": {"uniform": [1, 3]}}}}})"),
              HasSubstr("9 rows cannot all differ in (id), which has 3 combinations"));
}

TEST(Generate, ThePublishedSchemaTakesWhatShipsAndRefusesTypos) {
  for (const char* shop : {"shop", "shop-sqlite"}) {
    const std::string file = Source(std::string("fixtures/") + shop + "/rows.json");
    ValidateWithSchema(ParseJsonFile(file), "rows.schema.json", file);
  }
  const Json typo =
      ParseJson(R"({"tables": {"a": {"rows": 1, "columns": {"n": {"zipff": 1}}}}})", "");
  EXPECT_THAT(MessageOf([&] { ValidateWithSchema(typo, "rows.schema.json", "r.json"); }),
              HasSubstr("r.json: /tables/a/columns/n"));
}

TEST(Fixture, NamesFileAndLineOfAWrongStatement) {
  NEED_POSTGRES();
  const testing::Database database;
  const TemporaryFolder folder;
  const auto file = folder.path() / "bad.sql";
  WriteFileWhole(
      file, "CREATE TABLE t (id int);\n\n-- a comment\nINSERT INTO t\n  VALUES (1),\n  (nope);\n");
  EXPECT_THAT(MessageOf([&] { LoadSqlFile(database.endpoint(), file); }),
              HasSubstr(file.string() + ":6: "));
  WriteFileWhole(file, "BEGIN; CREATE TABLE u (id int);");
  EXPECT_THAT(MessageOf([&] { LoadSqlFile(database.endpoint(), file); }),
              HasSubstr("ends inside a transaction"));
  EXPECT_THAT(MessageOf([&] {
                LoadFixture(database.endpoint(), Json::array({{{"generat", "x"}}}), {});
              }),
              HasSubstr("/0: must have the key generate or migrations"));
}

TEST(Fixture, LoadsWhatPgDumpWroteThroughPsql) {
  NEED_POSTGRES();
  const testing::Database source;
  LoadFixture(source.endpoint(), Shop("shop", 0.1), {});
  const TemporaryFolder folder;
  const auto file = folder.path() / "dump.sql";
  Command dump;
  dump.argv = {"pg_dump", "-f", file.string()};
  dump.environment = source.endpoint().Environment();
  ASSERT_TRUE(RunCommand(dump).ok());
  const testing::Database target;
  LoadFixture(target.endpoint(), Json::array({file.string()}), {});
  EXPECT_EQ(AllRows(*source.Connect()), AllRows(*target.Connect()));
  // An error names the dump's line.
  EXPECT_THAT(MessageOf([&] { LoadSqlFile(target.endpoint(), file); }),
              ::testing::ContainsRegex("dump\\.sql:[0-9]+: ERROR: +.*already exists"));
}

TEST(Fixture, LoadsCopyBlocksAndRunsMigrationsInOrder) {
  NEED_POSTGRES();
  const testing::Database database;
  const TemporaryFolder folder;
  const auto file = folder.path() / "rows.sql";
  WriteFileWhole(file,
                 "CREATE TABLE t (id int, v text);\nCOPY t FROM stdin;\n1\ta;b\n2\t\\N\n\\.\n");
  std::string seen;
  FixtureContext context;
  context.run_migrations = [&](const Json& item, const db::Endpoint& endpoint) {
    seen = item["through"].get<std::string>() + " " +
           db::Connect(endpoint)->Scalar("SELECT count(*) FROM public.t").text;
  };
  const Json fixture = Json::array(
      {file.string(), {{"migrations", "dir"}, {"layout", "goose"}, {"through", "0006"}}});
  LoadFixture(database.endpoint(), fixture, context);
  EXPECT_EQ(seen, "0006 2");
}

TEST(Fixture, DigestChangesWithContentSeedAndScale) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "a.sql";
  WriteFileWhole(file, "SELECT 1;");
  const Json fixture = Json::array({file.string(), {{"generate", file.string()}}});
  FixtureContext context;
  const std::string first = FixtureDigest(fixture, context);
  EXPECT_EQ(first, FixtureDigest(fixture, context));
  context.seed = 2;
  EXPECT_NE(first, FixtureDigest(fixture, context));
  context.seed = 1;
  context.scale = 2;
  EXPECT_NE(first, FixtureDigest(fixture, context));
  context.scale = 1;
  WriteFileWhole(file, "SELECT 2;");
  EXPECT_NE(first, FixtureDigest(fixture, context));
}

std::int64_t PeakKilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::atoll(line.c_str() + 6);
  }
  return 0;
}

TEST(Generate, MemoryIsFlat) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run(
      "CREATE TABLE p (id bigint PRIMARY KEY); CREATE TABLE t (id bigint, note text, "
      "p bigint NOT NULL REFERENCES p)");
  const Json small = ParseJson(R"({"tables": {"p": {"rows": 1000}, "t": {"rows": 1000}}})", "r");
  GenerateRows(database.endpoint(), small, "r", {});
  const std::int64_t before = PeakKilobytes();
  GenerateOptions options;
  options.scale = 150;  // 150 000 rows, about 6 MB of text
  GenerateRows(database.endpoint(), small, "r", options);
  EXPECT_LT(PeakKilobytes() - before, 3000);
}

}  // namespace
}  // namespace understudy::harness
