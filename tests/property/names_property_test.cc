// Any name and any value goes to a real server and comes back as it was.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "tests/support/server.h"

namespace understudy::db {
namespace {
using understudy::testing::Database;
using understudy::testing::SqliteFile;

// Names as people and tools make them: quotes, dots, blanks, capitals, reserved words, umlauts, up
// to PostgreSQL's 63 bytes.
rc::Gen<std::string> Names() {
  const auto piece = rc::gen::element<std::string>(
      "a", "Z", "\"", ".", " ", "'", "$", "ü", "select", "\n", "\\", "%", "_", "名", ";--", "0");
  return rc::gen::map(rc::gen::nonEmpty(rc::gen::container<std::vector<std::string>>(piece)),
                      [](const std::vector<std::string>& pieces) {
                        std::string name;
                        for (const std::string& part : pieces) {
                          if (name.size() + part.size() <= 63) name += part;
                        }
                        return name;
                      });
}

// Text without U+0000, which PostgreSQL cannot hold.
rc::Gen<std::string> Texts() {
  return rc::gen::map(
      rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
          "a", " ", "'", "\"", "\\", "\\N", "\t", "\n", "\r", "ü", "名", "NULL", "$1", "{}", "")),
      [](const std::vector<std::string>& pieces) {
        std::string text;
        for (const std::string& part : pieces) text += part;
        return text;
      });
}

void NameGoesThrough(Session& session, const std::string& schema, const std::string& table,
                     const std::string& column) {
  const TableName name{schema, table};
  session.Execute("CREATE TABLE " + name.Quoted() + "(" + QuoteIdentifier(column) + " integer)");
  session.Execute("INSERT INTO " + name.Quoted() + " VALUES (7)");
  const Result result =
      session.Query("SELECT " + QuoteIdentifier(column) + " FROM " + name.Quoted());
  RC_ASSERT(result.rows[0][0].text == "7");
  RC_ASSERT(result.columns[0].name == column);
  session.Execute("DROP TABLE " + name.Quoted());
}

RC_GTEST_PROP(Names, AreDisplayedSoThatTheyAreReadBack, ()) {
  const TableName name{*Names(), *Names()};
  RC_ASSERT(TableName::Parse(name.Display(), "x") == name);
  RC_ASSERT(ParseDottedName(QuoteIdentifier(name.name)) == std::vector<std::string>{name.name});
}

TEST(Names, GoThroughPostgres) {
  NEED_POSTGRES();
  const Database database;
  const auto session = database.Connect();
  ASSERT_TRUE(rc::check("names on PostgreSQL",
                        [&] { NameGoesThrough(*session, "public", *Names(), *Names()); }));
}

TEST(Names, GoThroughSqlite) {
  const SqliteFile file;
  const auto session = file.Connect();
  ASSERT_TRUE(rc::check("names on SQLite", [&] {
    const std::string table = *Names();
    RC_PRE(table.rfind("sqlite_", 0) != 0);
    NameGoesThrough(*session, "main", table, *Names());
  }));
}

TEST(Values, GoThroughPostgresAsParametersAndLiterals) {
  NEED_POSTGRES();
  const Database database;
  const auto session = database.Connect();
  ASSERT_TRUE(rc::check("text, bytes, numbers on PostgreSQL", [&] {
    const std::string text = *Texts();
    const auto bytes = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
    const auto number = *rc::gen::arbitrary<std::int64_t>();
    const Row row = session
                        ->Query("SELECT $1::text, $2::bytea, $3::bigint, " + QuoteLiteral(text),
                                {Value::Text(text), Value::Blob(bytes), Value::Integer(number)})
                        .rows[0];
    RC_ASSERT(row[0].text == text);
    RC_ASSERT(row[1].text == Value::Blob(bytes).ToJson().get<std::string>());
    RC_ASSERT(row[2].AsInteger() == number);
    RC_ASSERT(row[3].text == text);
  }));
}

TEST(Values, GoThroughSqliteWithTheirStorageClass) {
  const SqliteFile file;
  const auto session = file.Connect();
  ASSERT_TRUE(rc::check("values on SQLite", [&] {
    const Value text = Value::Text(*rc::gen::container<std::string>(rc::gen::arbitrary<char>()));
    const Value bytes = Value::Blob(*rc::gen::container<std::string>(rc::gen::arbitrary<char>()));
    const Value number = Value::Integer(*rc::gen::arbitrary<std::int64_t>());
    const Value real = Value::Real(*rc::gen::arbitrary<double>());
    const Row row = session->Query("SELECT $1, $2, $3, $4", {text, bytes, number, real}).rows[0];
    RC_ASSERT(row == (Row{text, bytes, number, real}));
  }));
}

}  // namespace
}  // namespace understudy::db
