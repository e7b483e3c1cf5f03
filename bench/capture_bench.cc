// What capture costs those who write, and how fast their keys are brought to the mirror.
#include <filesystem>
#include <iostream>

#include "bench/result.h"
#include "engine/base/error.h"
#include "engine/capture/postgres.h"
#include "engine/db/binaries.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "harness/world/world.h"

namespace understudy::bench {
namespace {

constexpr int kRows = 1000000;
constexpr int kDirtyKeys = 400000;
constexpr int kKeysPerSecond = 80000;  // the target
constexpr double kSlowerAtMost = 1 / 0.85;

std::unique_ptr<harness::Lease> Empty() {
  harness::DatabaseSpec spec;
  spec.name = "main";
  spec.engine = "postgres";
  spec.provision = "local";
  harness::ProvisionOptions options;
  options.run_id = options.scenario = "bench";
  options.stop = Stopped;
  return harness::Provision(spec, options);
}

// Every table of `names` captured into one of the same shape in the schema `mirror`.
std::vector<capture::CapturedTable> Watch(db::Session& session,
                                          const std::vector<std::string>& names) {
  std::vector<capture::CapturedTable> tables;
  const auto mirrors = catalog::ReadTables(session, {"mirror"});
  for (const catalog::Table& table : catalog::ReadTables(session, {"public"})) {
    for (const catalog::Table& mirror : mirrors) {
      if (mirror.name.name != table.name.name) continue;
      capture::CapturedTable one;
      one.watched = table.oid;
      one.mirror = mirror.oid;
      one.owner = "bench";
      one.max_bytes = 1 << 30;  // as a migration does by default
      for (const catalog::Column& column : table.columns) {
        one.mapping.columns.push_back({column.name, db::QuoteIdentifier(column.name), true});
      }
      one.mapping.key = one.mapping.mirror_key = table.key.value().columns;
      one.mapping.key_equals = one.mapping.mirror_equals = table.key.value().equals;
      one.mapping.mirror_collate.resize(one.mapping.key.size());
      tables.push_back(std::move(one));
    }
  }
  if (tables.size() != names.size()) throw Error(ErrorKind::kInternal, "a mirror is missing");
  session.Execute("CREATE SCHEMA IF NOT EXISTS understudy");
  db::Transaction transaction(session);
  capture::Install(session, tables);
  transaction.Commit();
  return tables;
}

void ReplaySpeed(int pairs) {
  const auto lease = Empty();
  const auto session = db::Connect(lease->endpoint());
  session->Execute(
      "CREATE TABLE public.accounts (id bigint PRIMARY KEY, branch int, balance int,"
      " filler char(84));"
      "INSERT INTO public.accounts SELECT i, i % 100, 0, '' FROM generate_series(1, " +
      std::to_string(kRows) +
      ") i;"
      "CREATE SCHEMA mirror; CREATE TABLE mirror.accounts (LIKE public.accounts INCLUDING ALL);"
      "INSERT INTO mirror.accounts SELECT * FROM public.accounts");
  session->Execute("VACUUM ANALYZE public.accounts");
  session->Execute("VACUUM ANALYZE mirror.accounts");
  const auto tables = Watch(*session, {"accounts"});
  Measurement speed;
  speed.name = "replay";
  speed.what = "replay, seconds for 80,000 dirty keys (of 400,000 in 1 M rows)";
  speed.peer = "one UPDATE of as many rows, without capture";
  speed.target = {"seconds", 1, 0};
  const double share = static_cast<double>(kKeysPerSecond) / kDirtyKeys;
  for (int pair = 0; pair < pairs; ++pair) {
    StopIfAsked();
    const std::string some = " WHERE id % 5 IN (" + std::to_string(pair % 5) + ", " +
                             std::to_string((pair + 2) % 5) + ")";
    speed.peers.push_back(share * Seconds([&] {
                            session->Execute("UPDATE mirror.accounts SET balance = balance" + some);
                          }));
    session->Execute("UPDATE public.accounts SET balance = balance + 1" + some);
    session->Execute("CHECKPOINT");
    std::int64_t keys = 0;
    speed.ours.push_back(share * Seconds([&] {
                           for (;;) {
                             db::Transaction transaction(*session, db::Isolation::kRepeatableRead);
                             const capture::ReplayResult result =
                                 capture::Replay(*session, tables[0]);
                             transaction.Commit();
                             keys += result.keys;
                             if (!result.more) break;
                           }
                         }));
    if (keys != kDirtyKeys) throw Error(ErrorKind::kInternal, "keys: " + std::to_string(keys));
    for (const char* table : {"public.accounts", "mirror.accounts"}) {
      session->Execute(std::string("VACUUM ") + table);
    }
  }
  std::cout << ToLine(speed.ToJson()) << "\n";
}

void WritersSpeed(int pairs) {
  const auto server = db::FindServer(std::nullopt);
  if (!server || !std::filesystem::exists(server->folder / "pgbench")) {
    std::cout << ToLine(Skipped("capture", "writers with capture on", "no pgbench here")) << "\n";
    return;
  }
  const auto lease = Empty();
  const std::string pgbench = (server->folder / "pgbench").string();
  const std::string where = lease->endpoint().Conninfo();
  Run({pgbench, "-i", "-q", "-s", "10", where});
  const auto session = db::Connect(lease->endpoint());
  const std::vector<std::string> names = {"pgbench_accounts", "pgbench_branches",
                                          "pgbench_tellers"};
  session->Execute("CREATE SCHEMA mirror");
  for (const std::string& name : names) {
    session->Execute("CREATE TABLE mirror." + name + " (LIKE public." + name + " INCLUDING ALL)");
  }
  const auto seconds_per_thousand = [&] {
    StopIfAsked();
    session->Execute("CHECKPOINT");
    const std::string out =
        Run({pgbench, "-n", "-M", "prepared", "-c", "4", "-j", "2", "-T", "6", "-N", where});
    const std::size_t at = out.find("tps = ");
    if (at == std::string::npos) throw Error(ErrorKind::kInternal, "pgbench said: " + out);
    return 1000 / std::stod(out.substr(at + 6));
  };
  Measurement writers;
  writers.name = "capture";
  writers.what = "1,000 transactions of pgbench -N with capture on, replay beside it off";
  writers.peer = "the same without capture";
  writers.target = {"ratio", kSlowerAtMost, 0};
  seconds_per_thousand();
  for (int pair = 0; pair < pairs; ++pair) {
    writers.peers.push_back(seconds_per_thousand());
    const auto tables = Watch(*session, names);
    writers.ours.push_back(seconds_per_thousand());
    db::Transaction transaction(*session);
    capture::Remove(*session, tables);
    transaction.Commit();
  }
  std::cout << ToLine(writers.ToJson()) << "\n";
}

}  // namespace

void Capture(int pairs) {
  ReplaySpeed(pairs);
  WritersSpeed(pairs);
}

}  // namespace understudy::bench
