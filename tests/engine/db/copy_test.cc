#include "engine/db/copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "engine/base/error.h"
#include "tests/support/server.h"

namespace understudy::db {
namespace {
using ::testing::HasSubstr;
using TestDatabase = understudy::testing::Database;

template <typename Work>
Error ErrorOf(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::kInternal, "(no error)", "none");
}

std::int64_t Count(const TestDatabase& database) {
  return database.Connect()->Scalar("SELECT count(*) FROM public.t").AsInteger();
}

TEST(CopyIn, CommitsAChunkTogetherWithItsCheckpoint) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run("CREATE TABLE t(id int, note text); CREATE TABLE checkpoint(upto int)");
  CopySession session(database.endpoint());
  session.Begin();
  {
    CopyIn in(session, "COPY public.t FROM STDIN");
    for (int i = 0; i < 50000; ++i) in.Write(std::to_string(i) + "\tnote\n");
    EXPECT_EQ(in.Finish(), 50000);
  }
  session.Execute("INSERT INTO public.checkpoint VALUES ($1)", {Value::Integer(50000)});
  EXPECT_EQ(Count(database), 0);
  session.Commit();
  EXPECT_EQ(Count(database), 50000);
  EXPECT_EQ(session.Execute("SELECT upto FROM public.checkpoint").rows[0][0].text, "50000");
}

TEST(CopyIn, LeavesNoRowWhenAborted) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run("CREATE TABLE t(id int)");
  CopySession session(database.endpoint());
  {
    CopyIn in(session, "COPY public.t FROM STDIN");
    for (int i = 0; i < 100000; ++i) in.Write("1\n");
  }
  EXPECT_EQ(Count(database), 0);
  EXPECT_EQ(session.Execute("SELECT 1").rows[0][0].text, "1");  // and the session goes on
}

TEST(CopyIn, NamesTheRowThatTheServerRefuses) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run("CREATE TABLE t(id int)");
  CopySession session(database.endpoint());
  const Error small = ErrorOf([&] {
    CopyIn in(session, "COPY public.t FROM STDIN");
    in.Write("1\n2\nx\n");
    in.Finish();
  });
  EXPECT_EQ(small.code(), "22P02");
  EXPECT_THAT(small.what(), HasSubstr("line 3"));
  const Error large = ErrorOf([&] {
    CopyIn in(session, "COPY public.t FROM STDIN");
    in.Write("y\n");
    for (int i = 0; i < 1000000; ++i) in.Write("1\n");
    in.Finish();
  });
  EXPECT_EQ(large.code(), "22P02");
  EXPECT_THAT(large.what(), HasSubstr("line 1"));
  EXPECT_EQ(ErrorOf([&] { CopyIn in(session, "COPY public.nothing FROM STDIN"); }).code(), "42P01");
  EXPECT_EQ(ErrorOf([&] { CopyIn in(session, "SELECT 1"); }).kind(), ErrorKind::kInternal);
  EXPECT_EQ(session.Execute("SELECT 1").rows[0][0].text, "1");
}

TEST(CopyIn, StopsAtItsDeadlineWhileTheServerWaitsForALock) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run("CREATE TABLE t(id int)");
  const auto blocker = database.Connect();
  blocker->Begin();
  blocker->Execute("LOCK TABLE public.t");
  CopySession session(database.endpoint());
  session.SetDeadline(SteadyClock::now() + std::chrono::milliseconds(100));
  const Error error = ErrorOf([&] { CopyIn in(session, "COPY public.t FROM STDIN"); });
  EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  EXPECT_EQ(ErrorOf([&] { session.Execute("SELECT 1"); }).kind(), ErrorKind::kUnavailable);
}

TEST(CopyIn, ALostConnectionIsUnavailableAndInCommitAmbiguous) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run("CREATE TABLE t(id int)");
  const auto killer = database.Connect();
  const auto kill = [&](const CopySession& session) {
    killer->Query("SELECT pg_terminate_backend($1, 5000)", {Value::Integer(session.BackendPid())});
  };
  CopySession copying(database.endpoint());
  const Error lost = ErrorOf([&] {
    CopyIn in(copying, "COPY public.t FROM STDIN");
    kill(copying);
    for (;;) in.Write("1\n1\n1\n1\n1\n1\n1\n1\n");
  });
  EXPECT_EQ(lost.kind(), ErrorKind::kUnavailable) << lost.what();
  CopySession committing(database.endpoint());
  committing.Begin();
  committing.Execute("INSERT INTO public.t VALUES (1)");
  kill(committing);
  const Error doubt = ErrorOf([&] { committing.Commit(); });
  EXPECT_EQ(doubt.kind(), ErrorKind::kAmbiguous) << doubt.what();
}

TEST(CopyOut, StreamsTextAndBinaryIntoCopyIn) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run(
      "CREATE TABLE s AS SELECT i AS id, repeat('x', i % 100) AS note, decode('00ff', 'hex') AS b "
      "FROM generate_series(1, 20000) i; CREATE TABLE t(LIKE s)");
  for (const char* format : {"", " WITH (FORMAT binary)"}) {
    CopySession from(database.endpoint());
    CopySession to(database.endpoint());
    CopyOut out(from, std::string("COPY public.s TO STDOUT") + format);
    CopyIn in(to, std::string("COPY public.t FROM STDIN") + format);
    std::string bytes;
    int pieces = 0;
    while (out.Read(bytes)) {
      in.Write(bytes);
      ++pieces;
    }
    EXPECT_GT(pieces, 2);
    EXPECT_EQ(in.Finish(), 20000);
    EXPECT_EQ(out.rows(), 20000);
  }
  const auto session = database.Connect();
  EXPECT_EQ(session
                ->Scalar("SELECT count(*) FROM (SELECT * FROM public.s UNION ALL SELECT * FROM "
                         "public.s EXCEPT ALL SELECT * FROM public.t) d")
                .AsInteger(),
            0);
}

TEST(CopyOut, ReadsUnderTheSnapshotOfAnotherSession) {
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run("CREATE TABLE t AS SELECT 1 AS id");
  const auto holder = database.Connect();
  holder->Begin(Isolation::kRepeatableRead, true);
  const std::string id = holder->Scalar("SELECT pg_export_snapshot()").text;
  database.Run("INSERT INTO t VALUES (2)");
  CopySession session(database.endpoint());
  session.Begin(Isolation::kRepeatableRead, true);
  session.SetSnapshot(id);
  CopyOut out(session, "COPY public.t TO STDOUT");
  std::string bytes;
  EXPECT_TRUE(out.Read(bytes));
  EXPECT_EQ(bytes, "1\n");
}

TEST(CopyOut, IsCancelledFromAnotherThread) {
  NEED_POSTGRES();
  const TestDatabase database;
  CopySession session(database.endpoint());
  std::jthread canceller([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      session.Cancel();
    }
  });
  const Error error = ErrorOf([&] {
    CopyOut out(session, "COPY (SELECT pg_sleep(60)) TO STDOUT");
    std::string bytes;
    while (out.Read(bytes)) {
    }
  });
  EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  EXPECT_EQ(error.code(), "57014");
}

TEST(CopyOut, LeftBeforeItsEndGivesTheSessionBack) {
  NEED_POSTGRES();
  const TestDatabase database;
  CopySession session(database.endpoint());
  {
    CopyOut out(session, "COPY (SELECT generate_series(1, 100000000)) TO STDOUT");
    std::string bytes;
    ASSERT_TRUE(out.Read(bytes));
  }
  EXPECT_EQ(session.Execute("SELECT 1").rows[0][0].text, "1");
}

TEST(CopyText, RoundTripsEveryCharacterAndNull) {  // hard-case 75, 76
  NEED_POSTGRES();
  const TestDatabase database;
  database.Run("CREATE TABLE t(a text, b bytea)");
  std::string every;
  for (int c = 1; c < 128; ++c) every += static_cast<char>(c);
  std::string bytes;
  for (int c = 0; c < 256; ++c) bytes += static_cast<char>(c);
  const std::vector<Row> rows = {{Value::Text(every), Value::Blob(bytes)},
                                 {Value::Text(""), Value::Null()},
                                 {Value::Text("\\N"), Value::Blob("")},
                                 {Value::Null(), Value::Null()},
                                 {Value::Text("\\."), Value::Null()}};
  CopySession session(database.endpoint());
  CopyIn in(session, "COPY public.t FROM STDIN");
  std::string text;
  for (const Row& row : rows) AppendCopyRow(text, row);
  in.Write(text);
  ASSERT_EQ(in.Finish(), 5);
  const Result result = session.Execute("SELECT a, encode(b, 'hex') FROM public.t");
  EXPECT_EQ(result.rows[0][0].text, every);
  EXPECT_EQ(result.rows[0][1].text.size(), 512U);
  EXPECT_EQ(result.rows[1][0], Value::Text(""));
  EXPECT_TRUE(result.rows[1][1].is_null());
  EXPECT_EQ(result.rows[2][0], Value::Text("\\N"));
  EXPECT_EQ(result.rows[2][1], Value::Text(""));
  EXPECT_TRUE(result.rows[3][0].is_null());
  EXPECT_EQ(result.rows[4][0], Value::Text("\\."));
  std::string to;
  EXPECT_EQ(ErrorOf([&] { AppendCopyText(to, Value::Text(std::string("a\0b", 3))); }).code(),
            "22021");
}

TEST(PgSession, TakesTheRowsOfCopyInItsOwnTransaction) {
  NEED_POSTGRES();
  const TestDatabase database;
  const auto session = database.Connect();
  session->Begin();
  session->Execute("CREATE TABLE public.t(id int)");
  EXPECT_EQ(session->CopyFrom("COPY public.t FROM stdin", "1\n2\n"), 2);
  EXPECT_EQ(session->CopyFrom("COPY public.t FROM stdin", ""), 0);
  session->Commit();
  EXPECT_EQ(Count(database), 2);
  const Error error = ErrorOf([&] { session->CopyFrom("COPY public.t FROM stdin", "1\nx\n"); });
  EXPECT_EQ(error.code(), "22P02");
  EXPECT_THAT(error.what(), HasSubstr("line 2"));
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM public.t").AsInteger(), 2);
}

}  // namespace
}  // namespace understudy::db
