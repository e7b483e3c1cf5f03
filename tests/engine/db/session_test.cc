#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "tests/support/server.h"

namespace understudy::db {
namespace {
using ::testing::HasSubstr;
using testing_database = understudy::testing::Database;
using understudy::testing::SqliteFile;

template <typename Work>
Error ErrorOf(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::kInternal, "(no error)", "none");
}

TEST(PgSession, GivesTypedRowsAndTakesParameters) {
  NEED_POSTGRES();
  const testing_database database;
  const auto session = database.Connect();
  const Result result =
      session->Query("SELECT $1::int + 1, $2::text, NULL, $3::bytea",
                     {Value::Integer(41), Value::Text(""), Value::Blob(std::string("\0\xff", 2))});
  EXPECT_EQ(result.rows[0][0].AsInteger(), 42);
  EXPECT_FALSE(result.rows[0][1].is_null());
  EXPECT_EQ(result.rows[0][1].text, "");
  EXPECT_TRUE(result.rows[0][2].is_null());
  EXPECT_EQ(result.rows[0][3].text, "\\x00ff");
  EXPECT_EQ(session->Scalar("SHOW timezone").text, "UTC");
  EXPECT_EQ(session->QueryPrepared("SELECT $1::int", {Value::Integer(3)}).rows[0][0].text, "3");
  EXPECT_EQ(session->QueryPrepared("SELECT $1::int", {Value::Null()}).rows[0][0].is_null(), true);
}

TEST(PgSession, PrintsNamesAlikeWhateverTheDatabaseIsSetTo) {
  NEED_POSTGRES();
  const testing_database database;
  const auto session =
      Connect(database.endpoint().WithSetting("options", "-c quote_all_identifiers=on"));
  EXPECT_EQ(session->Scalar("SELECT format_type('text'::regtype, NULL)").text, "text");
}

TEST(PgSession, RefusesNulInText) {
  NEED_POSTGRES();
  const testing_database database;
  EXPECT_EQ(ErrorOf([&] {
              database.Connect()->Query("SELECT $1::text", {Value::Text(std::string("a\0b", 3))});
            }).code(),
            "22021");
}

TEST(PgSession, TellsErrorKindsApart) {
  NEED_POSTGRES();
  const testing_database database;
  const auto session = database.Connect();
  session->Execute("CREATE TABLE public.t(id int PRIMARY KEY); INSERT INTO public.t VALUES (1)");
  const Error duplicate = ErrorOf([&] { session->Execute("INSERT INTO public.t VALUES (1)"); });
  EXPECT_EQ(duplicate.kind(), ErrorKind::kConstraint);
  EXPECT_EQ(duplicate.code(), "23505");
  const Error syntax = ErrorOf([&] { session->Execute("SELEC 1"); });
  EXPECT_EQ(syntax.code(), "42601");
  EXPECT_THAT(syntax.what(), HasSubstr("LINE 1"));

  SessionOptions impatient;
  impatient.lock_timeout = std::chrono::milliseconds(50);
  const auto other = database.Connect(impatient);
  session->Begin();
  session->Execute("LOCK TABLE public.t");
  const Error locked = ErrorOf([&] { other->Query("SELECT * FROM public.t"); });
  EXPECT_EQ(locked.kind(), ErrorKind::kConflict);
  EXPECT_EQ(locked.code(), "55P03");
  session->Rollback();
  EXPECT_FALSE(session->InTransaction());
}

TEST(PgSession, SerializationFailureIsAConflictWithItsState) {
  NEED_POSTGRES();
  const testing_database database;
  const auto a = database.Connect();
  const auto b = database.Connect();
  a->Execute("CREATE TABLE public.t(id int); INSERT INTO public.t VALUES (1)");
  a->Begin(Isolation::kRepeatableRead);
  a->Query("SELECT * FROM public.t");
  b->Execute("UPDATE public.t SET id = 2");
  const Error error = ErrorOf([&] { a->Execute("UPDATE public.t SET id = 3"); });
  EXPECT_EQ(error.kind(), ErrorKind::kConflict);
  EXPECT_EQ(error.code(), "40001");
}

// libpqxx 6 gives refused rights no SQLSTATE: they were taken for a lost connection.
TEST(PgSession, RefusedRightsAreNoLostConnection) {
  NEED_POSTGRES();
  const testing_database database;
  const auto session = database.Connect();
  session->Execute(
      "CREATE TABLE public.t (a int); ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;"
      "GRANT USAGE ON SCHEMA public TO PUBLIC; GRANT SELECT ON public.t TO PUBLIC;"
      "SET row_security = off; SET ROLE pg_monitor");
  for (const char* refused :
       {"SELECT * FROM public.t", "DELETE FROM public.t", "DROP TABLE public.t"}) {
    try {
      session->Query(refused);
      ADD_FAILURE() << refused;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kConstraint) << refused;
      EXPECT_EQ(error.code(), "42501") << refused;
    }
  }
  EXPECT_EQ(session->Scalar("SELECT 1").text, "1");
}

TEST(PgSession, ALostConnectionIsAnErrorAndNeverASilentReconnect) {
  NEED_POSTGRES();
  const testing_database database;
  const auto session = database.Connect();
  const auto killer = database.Connect();
  session->Execute("SET application_name = 'before'");
  killer->Query("SELECT pg_terminate_backend($1)", {Value::Integer(session->BackendPid())});
  EXPECT_EQ(ErrorOf([&] { session->Query("SELECT 1"); }).kind(), ErrorKind::kUnavailable);
  EXPECT_EQ(ErrorOf([&] { session->Query("SELECT 1"); }).kind(), ErrorKind::kUnavailable);
}

TEST(PgSession, ALostConnectionInCommitIsAmbiguous) {
  NEED_POSTGRES();
  const testing_database database;
  const auto session = database.Connect();
  const auto killer = database.Connect();
  session->Begin();
  killer->Query("SELECT pg_terminate_backend($1)", {Value::Integer(session->BackendPid())});
  EXPECT_EQ(ErrorOf([&] { session->Commit(); }).kind(), ErrorKind::kAmbiguous);
}

TEST(PgSession, TracksTransactionsOfTheUsersOwnSql) {
  NEED_POSTGRES();
  const testing_database database;
  const auto session = database.Connect();
  session->Execute("-- a comment\n/* and */ BEGIN");
  EXPECT_TRUE(session->InTransaction());
  session->Execute("SAVEPOINT a");
  session->Execute("ROLLBACK TO SAVEPOINT a");
  EXPECT_TRUE(session->InTransaction());
  session->Execute("END");
  EXPECT_FALSE(session->InTransaction());
}

TEST(PgSession, StreamsRows) {
  NEED_POSTGRES();
  const testing_database database;
  std::int64_t sum = 0;
  database.Connect()->ForEachRow("SELECT i FROM generate_series(1, $1::int) AS i",
                                 {Value::Integer(4999)},
                                 [&](const Row& row) { sum += row[0].AsInteger(); });
  EXPECT_EQ(sum, 4999 * 5000 / 2);
}

TEST(PgSession, CannotConnectSaysWhereWithoutThePassword) {
  const Error error =
      ErrorOf([] { Connect(Endpoint::Parse("postgres://bob:verysecret@127.0.0.1:1/x")); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  EXPECT_THAT(error.what(), HasSubstr("bob:***@127.0.0.1:1/x"));
  EXPECT_THAT(error.what(), ::testing::Not(HasSubstr("verysecret")));
}

TEST(SqliteSession, KeepsStorageClasses) {
  const SqliteFile file;
  const auto session = file.Connect();
  const Row row = session
                      ->Query("SELECT ?1, ?2, ?3, ?4, ?5, 9223372036854775807",
                              {Value::Null(), Value::Integer(-1), Value::Real(0.1),
                               Value::Text(std::string("a\0b", 3)), Value::Blob("")})
                      .rows[0];
  EXPECT_EQ(row[0], Value::Null());
  EXPECT_EQ(row[1], Value::Integer(-1));
  EXPECT_EQ(row[2], Value::Real(0.1));
  EXPECT_EQ(row[3], Value::Text(std::string("a\0b", 3)));
  EXPECT_EQ(row[4], Value::Blob(""));
  EXPECT_EQ(row[5].AsInteger(), INT64_MAX);
}

TEST(SqliteSession, CountsWhatAStatementTouched) {
  const SqliteFile file;
  const auto session = file.Connect();
  session->Execute("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
  EXPECT_EQ(session->Query("UPDATE t SET id = id + 10 WHERE id > ?1", {Value::Integer(1)}).affected,
            1);
  EXPECT_EQ(session->Query("DELETE FROM t WHERE id = 99").affected, 0);
  session->Begin();
  EXPECT_TRUE(session->InTransaction());
  session->Execute("DELETE FROM t");
  session->Rollback();
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM t").AsInteger(), 2);
}

TEST(SqliteSession, TakesDollarParametersInAnyOrder) {
  const SqliteFile file;
  const Row row =
      file.Connect()->Query("SELECT $2, $1", {Value::Text("one"), Value::Text("two")}).rows[0];
  EXPECT_EQ(row[0].text, "two");
  EXPECT_EQ(row[1].text, "one");
}

TEST(SqliteSession, BusyIsAConflict) {
  const SqliteFile file;
  SessionOptions impatient;
  impatient.lock_timeout = std::chrono::milliseconds(20);
  const auto a = file.Connect();
  const auto b = file.Connect(impatient);
  a->Begin(Isolation::kDefault, false, true);
  EXPECT_EQ(ErrorOf([&] { b->Execute("CREATE TABLE t(id)"); }).kind(), ErrorKind::kConflict);
}

TEST(SqliteSession, AnAbsentFileIsUnavailable) {
  EXPECT_EQ(ErrorOf([] { Connect(Endpoint::Sqlite("/nonexistent/x.db")); }).kind(),
            ErrorKind::kUnavailable);
}

TEST(Endpoint, ReadsEveryForm) {
  EXPECT_EQ(Endpoint::Parse("postgres://u:p%40ss@h:5433/d").Setting("password"), "p@ss");
  EXPECT_EQ(Endpoint::Parse("host=/tmp dbname='my db'").Setting("dbname"), "my db");
  EXPECT_EQ(Endpoint::Parse("sqlite:x/y", "/base").file(), "/base/x/y");
  EXPECT_EQ(Endpoint::Parse("a.sqlite3").engine(), Engine::kSqlite);
  EXPECT_EQ(ErrorOf([] { Endpoint::Parse("nonsense"); }).kind(), ErrorKind::kInvalidSpec);
  const Endpoint socket =
      Endpoint::Postgres({{"host", "/tmp/s"}, {"user", "a b"}, {"dbname", "d/x"}});
  const Endpoint again = Endpoint::Parse(socket.Uri());
  EXPECT_EQ(again.settings(), socket.settings());
  EXPECT_EQ(Endpoint::Parse(socket.Conninfo()).settings(), socket.settings());
}

TEST(Identifier, QuotesAndDisplays) {
  EXPECT_EQ(QuoteIdentifier("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(DisplayIdentifier("orders"), "orders");
  EXPECT_EQ(DisplayIdentifier("User"), "\"User\"");
  EXPECT_EQ(DisplayIdentifier("user"), "\"user\"");
  EXPECT_EQ((TableName::Parse("public.\"User\"", "public")), (TableName{"public", "User"}));
  EXPECT_EQ((TableName::Parse("Orders", "public")), (TableName{"public", "orders"}));
  EXPECT_THROW(TableName::Parse("a.b.c", "public"), Error);
  EXPECT_THROW(TableName::Parse("a.\"b", "public"), Error);
  EXPECT_TRUE(MatchesGlob("public.orders", "public.*"));
  EXPECT_TRUE(MatchesGlob("index:public.orders_idx", "index:*_idx"));
  EXPECT_FALSE(MatchesGlob("public.orders", "*.order"));
}

}  // namespace
}  // namespace understudy::db
