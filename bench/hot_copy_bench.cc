// The hot copy of an SQLite file: how long prepare takes beside a plain copy of the same rows, how
// fast what was recorded is replayed, for how long writes are refused, what recording costs
// writers.
#include <time.h>

#include <filesystem>
#include <iostream>

#include "bench/result.h"
#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/capture/sqlite_capture.h"
#include "engine/core/lifecycle.h"
#include "engine/db/session.h"
#include "engine/hot_copy/hot_copy.h"

namespace understudy::bench {
namespace {
namespace fs = std::filesystem;

// 2 M rows in two tables with a key and a foreign key, about 300 MB at scale 1.
constexpr const char* kSchema = R"(
CREATE TABLE accounts(id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, balance REAL);
CREATE TABLE events(id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts(id),
  kind TEXT, body TEXT, at TEXT);
)";

fs::path MakeOld(const fs::path& folder, double scale) {
  fs::create_directories(folder);
  const fs::path file = folder / (folder.filename().string() + "-0123456789abcdef.sqlite");
  const auto session = db::Connect(db::Endpoint::Sqlite(file), {.create = true});
  const auto rows = [&](double count) {
    return std::to_string(static_cast<std::int64_t>(count * scale));
  };
  session->Execute(
      "PRAGMA synchronous = OFF; BEGIN;" + std::string(kSchema) +
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " + rows(500000) +
      ") INSERT INTO accounts SELECT i, 'account number ' || i, 'user' || i || "
      "'@example.com', i * 1.25 FROM n;"
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
      rows(1500000) + ") INSERT INTO events SELECT i, 1 + i % " + rows(500000) +
      ", 'kind' || (i % 7), hex(randomblob(64)), '2026-11-21T01:02:03Z' FROM n; COMMIT");
  WriteFileWhole(folder / "schema.sql", std::string(kSchema) + "CREATE TABLE extra(x);");
  return file;
}

class Migration {
 public:
  explicit Migration(const fs::path& folder) {
    registry_.Add(hot_copy::Strategy());
    spec_ = core::Spec::Parse({{"strategy", "hot-copy"}, {"dir", folder.string()}}, "bench", folder,
                              "bench", registry_);
  }
  void Run(core::Phase through) {
    const auto outcome = core::Lifecycle(spec_, registry_, {.stop = Stopped}).RunThrough(through);
    if (!outcome.ok()) throw Error(ErrorKind::kInternal, outcome.message);
  }
  void Reset() {
    const auto outcome = core::Lifecycle(spec_, registry_, {}).Reset(false);
    if (!outcome.ok()) throw Error(ErrorKind::kInternal, outcome.message);
  }

 private:
  core::Registry registry_;
  core::Spec spec_;
};

void PlainCopy(const fs::path& old, const fs::path& to) {
  const auto session = db::Connect(db::Endpoint::Sqlite(to), {.create = true});
  session->Execute(kSchema);
  session->Query("ATTACH ?1 AS old", {db::Value::Text(old.string())});
  session->Execute(
      "BEGIN; INSERT INTO accounts SELECT * FROM old.accounts; "
      "INSERT INTO events SELECT * FROM old.events; COMMIT");
}

// Transactions a second of one writer: an update, an insert and a delete each.
double Throughput(const fs::path& file, const char* synchronous, double seconds) {
  const auto session = db::Connect(db::Endpoint::Sqlite(file));
  session->Execute("PRAGMA synchronous = " + std::string(synchronous));
  std::int64_t next = session->Scalar("SELECT max(id) FROM events").AsInteger();
  const auto started = SteadyClock::now();
  std::int64_t done = 0;
  while (MillisecondsSince(started) < seconds * 1000) {
    StopIfAsked();
    session->Begin(db::Isolation::kDefault, false, true);
    ++next;
    session->Query("UPDATE accounts SET balance = balance + 1 WHERE id = ?1",
                   {db::Value::Integer(1 + next % 1000)});
    session->Query("INSERT INTO events VALUES (?1, 1, 'k', 'body', 'now')",
                   {db::Value::Integer(next)});
    session->Query("DELETE FROM events WHERE id = ?1", {db::Value::Integer(next - 500)});
    session->Commit();
    ++done;
  }
  return static_cast<double>(done) / (MillisecondsSince(started) / 1000);
}

// Of this process; what others do on the machine does not count.
double ProcessorSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

}  // namespace

void HotCopy(int pairs, double scale) {
  const TemporaryFolder scratch("bench-hot-copy");
  const fs::path folder = scratch.path() / "app";
  const fs::path old = MakeOld(folder, scale);
  const fs::path plain = scratch.path() / "plain.db";

  Measurement prepare{.name = "hot-copy-prepare",
                      .what = "prepare of a hot copy, recording on",
                      .peer = "INSERT … SELECT through ATTACH",
                      .target = {"ratio", 1.5, 1.2}};
  Measurement dump{.name = "hot-copy-dump",
                   .what = "prepare of a hot copy, recording on",
                   .peer = ".dump | sqlite3",
                   .target = {"ratio", 0.3, 0.2}};
  // Once: it takes long, and is far away. Before any prepare, which leaves an empty sqlite_sequence
  // behind that .dump cannot write.
  dump.peers = {Seconds([&] {
    bench::Run(
        {"sh", "-c", "sqlite3 '" + old.string() + "' .dump | sqlite3 '" + plain.string() + "'"});
  })};
  fs::remove(plain);
  for (int pair = 0; pair < pairs; ++pair) {
    StopIfAsked();
    Migration migration(folder);
    const double ours = Seconds([&] { migration.Run(core::Phase::kPrepare); });
    migration.Reset();
    prepare.ours.push_back(ours);
    prepare.peers.push_back(Seconds([&] { PlainCopy(old, plain); }));
    fs::remove(plain);
  }
  dump.ours = {prepare.ours.front()};
  std::cout << ToLine(prepare.ToJson()) << "\n" << ToLine(dump.ToJson()) << "\n";

  // 100,000 keys that are pending when the drain begins: replayed partly before the old file's
  // first lock, which closes it to writers until the cutover's commit.
  Measurement window{.name = "hot-copy-window",
                     .what = "writes refused, 100,000 keys pending (seconds)",
                     .target = {"seconds", 2, 1}};
  Measurement replay{.name = "hot-copy-replay",
                     .what = "replay of 100,000 keys (seconds: at least 100,000 keys a second)",
                     .target = {"seconds", 1, 0.5}};
  Measurement processor{.name = "hot-copy-replay-cpu",
                        .what = "the same, processor time of user and kernel (seconds)",
                        .target = {"seconds", 1, 0.5}};
  class Clock : public core::Probe {
   public:
    void OnEvent(const core::Event& event) override {
      if (event.kind != "point") return;
      const std::string point = event.data.value("point", "");
      if (point == "drain.locked") locked = SteadyClock::now();
      if (point == "replay.after_commit") {
        replayed = MillisecondsSince(written) / 1000;
        cpu_replayed = ProcessorSeconds() - cpu_written;
      }
      if (point == "cutover.after_commit") closed = MillisecondsSince(locked) / 1000;
    }
    SteadyClock::time_point written;  // the keys that are pending
    SteadyClock::time_point locked;
    double replayed = 0;
    double cpu_written = 0;
    double cpu_replayed = 0;
    double closed = 0;
  } clock;
  {
    core::Registry registry;
    registry.Add(hot_copy::Strategy());
    const core::Spec spec = core::Spec::Parse({{"strategy", "hot-copy"}, {"dir", folder.string()}},
                                              "bench", folder, "bench", registry);
    const auto run = [&](core::Phase through) {
      const auto outcome =
          core::Lifecycle(spec, registry, {.probe = &clock, .stop = Stopped}).RunThrough(through);
      if (!outcome.ok()) throw Error(ErrorKind::kInternal, outcome.message);
    };
    run(core::Phase::kSync);
    // Written at the last moment: between the last sync step and the lock.
    class Late : public core::Probe {
     public:
      explicit Late(core::Probe& inner, std::function<void()> act)
          : inner_(inner), act_(std::move(act)) {}
      void OnEvent(const core::Event& event) override {
        if (event.kind == "phase" && event.data.value("phase", "") == "drain" &&
            event.data.value("status", "") == "begin") {
          act_();
        }
        inner_.OnEvent(event);
      }

     private:
      core::Probe& inner_;
      std::function<void()> act_;
    } late(clock, [&] {
      db::Connect(db::Endpoint::Sqlite(old))
          ->Execute(
              "UPDATE events SET kind = 'late' WHERE id % " +
              std::to_string(std::max<std::int64_t>(1, static_cast<std::int64_t>(15 * scale))) +
              " = 0");
      clock.written = SteadyClock::now();
      clock.cpu_written = ProcessorSeconds();
    });
    const auto outcome = core::Lifecycle(spec, registry, {.probe = &late, .stop = Stopped})
                             .RunThrough(core::Phase::kCutover);
    if (!outcome.ok()) throw Error(ErrorKind::kInternal, outcome.message);
  }
  window.ours = {clock.closed};
  replay.ours = {clock.replayed};
  processor.ours = {clock.cpu_replayed};
  std::cout << ToLine(replay.ToJson()) << "\n"
            << ToLine(processor.ToJson()) << "\n"
            << ToLine(window.ToJson()) << "\n";

  // What recording costs: seconds per transaction, with it and without.
  const fs::path other = scratch.path() / "writers";
  const fs::path file = MakeOld(other, 0.01);
  for (const auto& [synchronous, limit] :
       {std::pair{"FULL", 1 / 0.6}, std::pair{"NORMAL", 1 / 0.3}}) {
    Measurement writers{
        .name = "hot-copy-writers-" + std::string(synchronous),
        .what = "a writer's transaction, recording on, synchronous = " + std::string(synchronous),
        .peer = "the same without recording",
        .target = {"ratio", limit, 0}};
    for (int pair = 0; pair < std::max(1, pairs); ++pair) {
      const double off = Throughput(file, synchronous, 1.5);
      Migration migration(other);
      migration.Run(core::Phase::kPrepare);
      const double on = Throughput(file, synchronous, 1.5);
      migration.Reset();
      writers.ours.push_back(1 / on);
      writers.peers.push_back(1 / off);
    }
    std::cout << ToLine(writers.ToJson()) << "\n";
  }
}

}  // namespace understudy::bench
