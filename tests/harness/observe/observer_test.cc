#include "harness/observe/observer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using std::chrono::milliseconds;
using testing_database = understudy::testing::Database;

std::unique_ptr<db::Session> ConnectAs(const testing_database& database, const std::string& name) {
  db::SessionOptions options;
  options.application_name = name;
  return database.Connect(options);
}

// Waits until `done`; a minute is far beyond what it takes.
bool Eventually(const std::function<bool()>& done) {
  const auto start = SteadyClock::now();
  while (!done()) {
    if (MillisecondsSince(start) > 60000) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

struct Recorder {
  TemporaryFolder folder;
  std::mutex mutex;
  std::vector<Event> events;
  EvidenceWriter evidence{folder.path(), SteadyClock::now()};

  Recorder() {
    evidence.on_event = [this](const Event& event) {
      const std::lock_guard lock(mutex);
      events.push_back(event);
    };
  }
  std::vector<Event> OfKind(const std::string& kind) {
    const std::lock_guard lock(mutex);
    std::vector<Event> all;
    for (const Event& event : events) {
      if (event.kind == kind) all.push_back(event);
    }
    return all;
  }
  bool Any(const std::string& kind, const std::function<bool(const Json&)>& is) {
    const auto all = OfKind(kind);
    return std::any_of(all.begin(), all.end(), [&](const Event& e) { return is(e.data); });
  }
};

bool HasRow(const Json& locks, const std::string& who, const std::string& object,
            const std::string& mode, bool granted) {
  for (const Json& row : locks.at("rows")) {
    if (row.at("who") == who && row.at("object") == object && row.at("mode") == mode &&
        row.at("granted") == granted) {
      return true;
    }
  }
  return false;
}

TEST(Observer, CountsWhatWasWrittenToTheLogUpToItsEnd) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run("CREATE TABLE public.filled(id integer)");
  Recorder recorder;
  Observer observer({"main", database.endpoint(), milliseconds(10), {}}, recorder.evidence);
  observer.Start();
  ASSERT_TRUE(Eventually([&] { return !recorder.OfKind("size").empty(); }));
  database.Run("INSERT INTO public.filled SELECT generate_series(1, 1000)");
  observer.Stop();  // before the next slow sample would come
  EXPECT_GT(recorder.OfKind("size").back().data.at("wal_bytes").get<std::int64_t>(), 50000);
}

TEST(Observer, SeesALockTheClientThatWaitsForItAndTheReleaseOfBoth) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run("CREATE TABLE public.\"Orders\"(id integer); CREATE TABLE public.calm(id integer)");
  Recorder recorder;
  Observer observer({"main", database.endpoint(), milliseconds(10), {}}, recorder.evidence);
  observer.Start();

  const auto engine = ConnectAs(database, "understudy-engine-1");
  const auto client = ConnectAs(database, "understudy-client-1");
  engine->Begin();
  engine->Execute("LOCK TABLE public.\"Orders\" IN ACCESS EXCLUSIVE MODE");
  EXPECT_TRUE(Eventually([&] {
    return recorder.Any("locks", [](const Json& e) {
      return e.at("seen") == "sample" &&
             HasRow(e, "engine", "public.\"Orders\"", "AccessExclusiveLock", true) &&
             e.at("blocking").empty();
    });
  }));
  std::thread waiter([&] { client->Query("SELECT * FROM public.\"Orders\""); });
  const auto blocked = [&](const Json& e) {
    if (!HasRow(e, "clients", "public.\"Orders\"", "AccessShareLock", false)) return false;
    for (const Json& row : e.at("blocking")) {
      if (row.at("pid") == client->BackendPid() && row.at("who") == "clients" &&
          row.at("by") == Json::array({engine->BackendPid()}) && row.at("blocker") == "engine" &&
          row.at("statement") == "SELECT * FROM public.\"Orders\"" &&
          row.at("blocker_statement").get<std::string>().starts_with("LOCK TABLE") &&
          row.at("waited_ms").get<double>() >= 0) {
        return true;
      }
    }
    return false;
  };
  EXPECT_TRUE(Eventually([&] { return recorder.Any("locks", blocked); }));
  observer.AtPoint("cutover.locked");
  EXPECT_TRUE(recorder.Any("locks", [&](const Json& e) {
    return e.at("seen") == "point" && e.at("point") == "cutover.locked" && blocked(e);
  }));
  engine->Commit();
  waiter.join();
  EXPECT_TRUE(Eventually([&] {
    const auto all = recorder.OfKind("locks");
    return all.back().data.at("rows").empty() && all.back().data.at("blocking").empty();
  }));
  observer.Stop();

  const auto end = recorder.OfKind("observer");
  ASSERT_EQ(end.size(), 1U);
  EXPECT_EQ(end[0].data.at("period_ms"), 10);
  EXPECT_GT(end[0].data.at("samples").get<int>(), 2);
  EXPECT_EQ(end[0].data.at("errors"), 0);
  EXPECT_FALSE(recorder.OfKind("size").empty());
  EXPECT_FALSE(recorder.OfKind("activity").empty());
}

TEST(Observer, AWaitForARowIsToldWithItsBlocker) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run("CREATE TABLE public.t(id integer); INSERT INTO public.t VALUES (1)");
  Recorder recorder;
  Observer observer({"main", database.endpoint(), milliseconds(10), {}}, recorder.evidence);
  observer.Start();
  const auto other = ConnectAs(database, "psql");
  const auto client = ConnectAs(database, "understudy-client-7");
  other->Begin();
  other->Execute("UPDATE public.t SET id = 2");
  std::thread waiter([&] { client->Execute("DELETE FROM public.t"); });
  EXPECT_TRUE(Eventually([&] {
    return recorder.Any("locks", [&](const Json& e) {
      return !e.at("blocking").empty() && e.at("blocking")[0].at("pid") == client->BackendPid() &&
             e.at("blocking")[0].at("blocker") == "other" &&
             HasRow(e, "other", "public.t", "RowExclusiveLock", true);
    });
  }));
  other->Rollback();
  waiter.join();
}

TEST(Observer, AnEqualPictureIsWrittenOnce) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run("CREATE TABLE public.t(id integer)");
  Recorder recorder;
  const auto engine = ConnectAs(database, "understudy-engine");
  engine->Begin();
  engine->Execute("LOCK TABLE public.t IN SHARE MODE");
  Observer observer({"main", database.endpoint(), milliseconds(5), {}}, recorder.evidence);
  observer.Start();
  const auto samples_taken = [&] { return recorder.OfKind("size").size() >= 2; };  // over a second
  EXPECT_TRUE(Eventually(samples_taken));
  observer.Stop();
  EXPECT_GT(recorder.OfKind("observer")[0].data.at("samples").get<int>(), 10);
  EXPECT_EQ(recorder.OfKind("locks").size(), 1U);
}

TEST(Observer, ConnectsAgainAfterItsSessionWasEnded) {
  NEED_POSTGRES();
  const testing_database database;
  database.Run("CREATE TABLE public.t(id integer)");
  Recorder recorder;
  Observer observer({"main", database.endpoint(), milliseconds(10), {}}, recorder.evidence);
  observer.Start();
  EXPECT_TRUE(Eventually([&] { return !recorder.OfKind("size").empty(); }));
  const auto killer = database.Connect();
  killer->Query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
      "WHERE application_name = 'understudy-observer' AND datname = current_database()");
  const auto engine = ConnectAs(database, "understudy-engine");
  engine->Begin();
  engine->Execute("LOCK TABLE public.t");
  EXPECT_TRUE(Eventually([&] {
    return recorder.Any("locks", [](const Json& e) {
      return HasRow(e, "engine", "public.t", "AccessExclusiveLock", true);
    });
  }));
  observer.Stop();
  EXPECT_GE(recorder.OfKind("observer")[0].data.at("errors").get<int>(), 1);
}

TEST(Observer, ForSqliteItTellsTheSizeAndThatLocksAreNotChecked) {
  const understudy::testing::SqliteFile file;
  file.Run("CREATE TABLE t(id); INSERT INTO t VALUES (1)");
  Recorder recorder;
  Observer observer({"local", file.endpoint(), milliseconds(10), {}}, recorder.evidence);
  observer.Start();
  EXPECT_TRUE(Eventually([&] {
    return recorder.Any("size", [](const Json& e) { return e.at("bytes").get<int>() > 0; });
  }));
  observer.AtPoint("statement.before");
  observer.Stop();
  EXPECT_TRUE(recorder.OfKind("locks").empty());
  EXPECT_EQ(recorder.OfKind("not_checked").size(), 1U);
}

}  // namespace
}  // namespace understudy::harness
