// The other actors: readers, the user's own SQL and pgbench scripts, a transaction held open; and
// what outlives a kill.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "tests/harness/actors/stand.h"

namespace understudy::harness {
namespace {

using testing::Database;
using ::testing::HasSubstr;
using testing::SqliteFile;

constexpr const char* kTable =
    "CREATE TABLE t(id serial PRIMARY KEY, v text, n integer NOT NULL DEFAULT 0);"
    "INSERT INTO t(v) SELECT 'x' || i FROM generate_series(1, 50) i;";

TEST(Ledger, WhatWasPendingAtAKillIsStillThere) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    EvidenceWriter evidence(folder.path(), SteadyClock::now());
    Ledger ledger(evidence);
    Ledger::Write write;
    write.client = "writers-0";
    write.database = "main";
    write.operation = "insert";
    write.table = "public.t";
    write.key = {{"id", "1"}};
    ledger.Settle(ledger.Pending(write), "acknowledged", {{"id", "1"}});
    for (int i = 2; i <= 500; ++i) {
      write.key = {{"id", std::to_string(i)}};
      ledger.Pending(write);
    }
    (void)!::write(ready[1], "x", 1);
    for (;;) ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  auto session = db::Connect(db::Endpoint::Sqlite(folder.path() / "ledger.sqlite"));
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM writes WHERE state = 'pending'").AsInteger(),
            499);
  EXPECT_EQ(session->Scalar("SELECT state FROM writes WHERE id = 1").text, "acknowledged")
      << "a settled line is on disk with the next pending one";
}

TEST(Ledger, TakesManyWritesASecondFromSeveralClients) {
  const TemporaryFolder folder;
  EvidenceWriter evidence(folder.path(), SteadyClock::now());
  Ledger ledger(evidence);
  constexpr int kEach = 2000;
  const auto started = SteadyClock::now();
  std::vector<std::thread> clients;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&, c] {
      Ledger::Write write;
      write.client = "writers-" + std::to_string(c);
      write.database = "main";
      write.operation = "insert";
      write.table = "public.t";
      for (int i = 0; i < kEach; ++i) {
        write.key = {{"id", std::to_string(i)}};
        write.row = {{"id", std::to_string(i)}, {"v", "some text of a usual length"}};
        ledger.Settle(ledger.Pending(write), "acknowledged", write.row);
        ledger.Did({.client = write.client, .kind = "writers", .outcome = "ok"});
      }
    });
  }
  for (auto& client : clients) client.join();
  ledger.Flush();
  const double ms = MillisecondsSince(started);
  RecordProperty("writes_per_second", std::to_string(4 * kEach * 1000 / ms));
  std::cout << 4 * kEach * 1000 / ms << " ledger lines a second\n";
  auto session = db::Connect(db::Endpoint::Sqlite(folder.path() / "ledger.sqlite"));
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM writes WHERE state = 'acknowledged'").AsInteger(),
            4 * kEach);
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM operations").AsInteger(), 4 * kEach);
}

TEST(Readers, ReadByKeyAndAreNotInTheLedger) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kTable);
  Stand stand(database.endpoint());
  stand.Run(stand.Spec("readers", 2, {{"prepared", true}}), 0.3);
  EXPECT_GT(stand.Count("SELECT count(*) FROM operations WHERE kind = 'readers' AND"
                        " operation = 'lookup' AND outcome = 'ok'"),
            0);
  EXPECT_EQ(stand.Refusals(), "");
  EXPECT_EQ(stand.Count("SELECT count(*) FROM writes"), 0);
}

TEST(Readers, ReadSqlite) {
  const SqliteFile file;
  file.Run(
      "CREATE TABLE t(a TEXT PRIMARY KEY, b) WITHOUT ROWID;"
      "INSERT INTO t VALUES ('x', 1), ('y', x'00ff')");
  Stand stand(file.endpoint());
  stand.Run(stand.Spec("readers", 1), 0.2);
  EXPECT_GT(stand.Count("SELECT count(*) FROM operations WHERE outcome = 'ok'"), 0);
  EXPECT_EQ(stand.Refusals(), "");
}

TEST(Readers, KeepToTheirRate) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kTable);
  Stand stand(database.endpoint());
  auto spec = stand.Spec("readers", 2);
  spec.rate_per_s = 50;
  stand.Run(spec, 1.0);
  const auto operations = stand.Count("SELECT count(*) FROM operations");
  EXPECT_GT(operations, 5);
  EXPECT_LE(operations, 80);
}

TEST(SqlWorkload, CyclesThroughTheUsersStatements) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kTable);
  Stand stand(database.endpoint());
  stand.Run(stand.Spec("sql", 2,
                       {{"statements",
                         {"UPDATE t SET n = n + 1 WHERE id = 1", "SELECT 1 FROM nothing_there"}},
                        {"writes", {"public.t"}}}),
            0.3);
  const auto done = stand.Count("SELECT count(*) FROM operations WHERE outcome = 'ok'");
  EXPECT_GT(done, 0);
  EXPECT_EQ(database.Connect()->Scalar("SELECT n FROM public.t WHERE id = 1").AsInteger(), done);
  EXPECT_EQ(stand.Ask("SELECT DISTINCT sqlstate FROM operations WHERE outcome = 'refused'").text,
            "42P01");
  EXPECT_EQ(stand.Count("SELECT count(*) FROM writes"), 0);
  EXPECT_EQ(stand.Events("workload").back()["writes"], Json::array({"public.t"}));
}

TEST(Pgbench, RunsTheUsersScriptAndItsLogBecomesOperations) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kTable);
  Stand stand(database.endpoint());
  const auto script = stand.folder.path() / "bench.sql";
  WriteFileWhole(script,
                 "\\set id random(1, 50)\nUPDATE t SET n = n + 1 WHERE id = :id;\n"
                 "SELECT v FROM t WHERE id = :id;\n");
  stand.Run(stand.Spec("pgbench", 2, {{"script", script.string()}, {"writes", {"public.t"}}}), 1.5);
  const auto event = stand.Events("workload").back();
  EXPECT_EQ(event["status"], "stopped") << event.dump();
  const auto logged = stand.Count(
      "SELECT count(*) FROM operations WHERE kind = 'pgbench' AND outcome = 'ok' AND"
      " duration_ms > 0 AND started_ms > 0");
  EXPECT_GT(logged, 10);
  EXPECT_GE(database.Connect()->Scalar("SELECT sum(n) FROM public.t").AsInteger(), logged);
}

// hard-case 119
TEST(Pgbench, OneThatEndsByItselfHasDied) {
  NEED_POSTGRES();
  const Database database;
  Stand stand(database.endpoint());
  const auto script = stand.folder.path() / "bench.sql";
  WriteFileWhole(script, "SELECT 1 FROM nothing_there;\n");
  stand.Run(stand.Spec("pgbench", 1, {{"script", script.string()}}), 1.5);
  const auto event = stand.Events("workload").back();
  EXPECT_EQ(event["status"], "died");
  EXPECT_THAT(event["error"].get<std::string>(), HasSubstr("nothing_there"));
  EXPECT_GT(stand.Count("SELECT count(*) FROM operations WHERE outcome = 'refused'"), 0);
}

// hard-case 119
TEST(Workload, ClientsThatCannotConnectAgainHaveDied) {
  NEED_POSTGRES();
  Stand stand{testing::Server()};
  {
    const Database database;
    database.Run(kTable);
    stand.context.databases.clear();
    stand.context.databases.emplace("main", database.endpoint());
    auto workload = MakeWorkload(stand.Spec("readers", 1), stand.context);
    workload->Start();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    db::Connect(testing::Server())
        ->Execute("DROP DATABASE " + database.endpoint().Setting("dbname") + " WITH (FORCE)");
    std::this_thread::sleep_for(std::chrono::milliseconds(5600));
    workload->Stop();
  }
  const auto event = stand.Events("workload").back();
  EXPECT_EQ(event["status"], "died");
  EXPECT_THAT(event["error"].get<std::string>(), HasSubstr("could not connect again"));
}

TEST(Workload, AWriterThatWaitsForALockIsCancelledWhenItIsStopped) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kTable);
  Stand stand(database.endpoint());
  auto workload = MakeWorkload(stand.Spec("writers", 1), stand.context);
  workload->Start();
  const auto holder = database.Connect();
  holder->Execute("BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  workload->Stop();
  holder->Rollback();
  EXPECT_EQ(stand.Events("workload").back()["status"], "stopped");
  EXPECT_EQ(stand.Count("SELECT count(*) FROM operations WHERE sqlstate = '57014' AND"
                        " expected = 1 AND duration_ms > 5000"),
            1)
      << "our own doing, and as long as it was";
  EXPECT_EQ(stand.Count("SELECT count(*) FROM writes WHERE state = 'pending'"), 0);
}

FaultSpec HoldSpec(std::optional<std::int64_t> for_ms, const std::string& sql) {
  FaultSpec spec;
  spec.kind = "hold-transaction";
  spec.on = "main";
  spec.at = "cutover.begin";
  spec.for_ms = for_ms;
  spec.options = {{"sql", sql}, {"idle", true}};
  return spec;
}

// hard-case 118
TEST(HoldTransaction, BlocksAnAlterUntilItEnds) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kTable);
  Stand stand(database.endpoint());
  auto fault = MakeFault(HoldSpec(std::nullopt, "SELECT 1 FROM public.t LIMIT 1"), stand.context);
  fault->Start();
  fault->Strike();
  db::SessionOptions options;
  options.lock_timeout = std::chrono::milliseconds(100);
  EXPECT_THROW(database.Connect(options)->Execute("ALTER TABLE public.t ADD COLUMN a int"), Error);
  fault->Stop();
  database.Connect(options)->Execute("ALTER TABLE public.t ADD COLUMN a int");
  const auto events = stand.Events("fault");
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0]["status"], "struck");
  EXPECT_EQ(events[0]["struck"], true);
  EXPECT_GT(events[0]["pid"].get<int>(), 0);
  EXPECT_EQ(events[1]["status"], "ended");
}

TEST(HoldTransaction, EndsByItselfAfterItsTime) {
  NEED_POSTGRES();
  const Database database;
  database.Run(kTable);
  Stand stand(database.endpoint());
  auto fault = MakeFault(HoldSpec(150, "SELECT 1 FROM public.t LIMIT 1"), stand.context);
  fault->Strike();
  database.Run("ALTER TABLE t ADD COLUMN a int");  // waits no longer than the fault lasts
  fault->Stop();
  EXPECT_EQ(stand.Events("fault").back()["status"], "ended");
}

// hard-case 114
TEST(HoldTransaction, OneThatCannotStrikeSaysSo) {
  NEED_POSTGRES();
  const Database database;
  Stand stand(database.endpoint());
  auto fault = MakeFault(HoldSpec(100, "SELECT 1 FROM nothing_there"), stand.context);
  fault->Strike();
  fault->Stop();
  const auto events = stand.Events("fault");
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0]["status"], "failed");
  EXPECT_EQ(events[0]["struck"], false);
}

TEST(Observe, FollowsRenamesByTheMapAndSaysWhatItCannotRead) {
  NEED_POSTGRES();
  const Database database;
  database.Run(
      "CREATE TABLE t(id serial PRIMARY KEY, v text, n integer);"
      "CREATE TABLE gone(id serial PRIMARY KEY, v text)");
  Stand stand(database.endpoint());
  stand.Run(stand.Spec("writers", 1), 0.3);
  database.Run("ALTER TABLE t RENAME COLUMN id TO key; ALTER TABLE t RENAME TO u; DROP TABLE gone");
  Observe(stand.context, {{"public.t.id", "public.u.key"}});
  EXPECT_GT(stand.Count("SELECT count(*) FROM observed WHERE table_name = 'public.t' AND"
                        " json_extract(row, '$.key') = json_extract(key, '$.id')"),
            0);
  EXPECT_EQ(stand.Count("SELECT count(*) FROM observed WHERE table_name = 'public.t' AND"
                        " why IS NOT NULL"),
            0);
  EXPECT_THAT(stand.Ask("SELECT DISTINCT why FROM observed WHERE table_name = 'public.gone'").text,
              HasSubstr("no table public.gone"));
  Observe(stand.context, {});
  EXPECT_THAT(stand.Ask("SELECT DISTINCT why FROM observed WHERE table_name = 'public.t'").text,
              HasSubstr("no table public.t"));
}

}  // namespace
}  // namespace understudy::harness
