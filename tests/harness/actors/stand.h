#pragma once

#include <gmock/gmock.h>

#include <fstream>
#include <thread>

#include "engine/base/file.h"
#include "harness/actors/actor.h"
#include "tests/support/server.h"

namespace understudy::harness {

// A run's folder, its ledger, and one database called "main".
struct Stand {
  explicit Stand(const db::Endpoint& endpoint)
      : evidence(folder.path(), SteadyClock::now()), ledger(evidence) {
    context.databases.emplace("main", endpoint);
  }

  WorkloadSpec Spec(const std::string& kind, int clients, Json options = Json::object()) const {
    WorkloadSpec spec;
    spec.kind = kind;
    spec.on = "main";
    spec.clients = clients;
    spec.options = std::move(options);
    spec.seed = context.seed;
    return spec;
  }

  // Runs a workload for a while.
  void Run(const WorkloadSpec& spec, double seconds) {
    auto workload = MakeWorkload(spec, context);
    workload->Start();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    workload->Stop();
    context.client_offset += static_cast<std::size_t>(spec.clients);
  }

  std::int64_t Count(const std::string& sql) { return Ask(sql).AsInteger(); }
  db::Value Ask(const std::string& sql) {
    ledger.Flush();
    return db::Connect(db::Endpoint::Sqlite(folder.path() / "ledger.sqlite"))->Scalar(sql);
  }
  std::string Refusals() {
    ledger.Flush();
    std::string all;
    for (const db::Row& row :
         db::Connect(db::Endpoint::Sqlite(folder.path() / "ledger.sqlite"))
             ->Query("SELECT operation, sqlstate, message, statement, count(*) FROM operations"
                     " WHERE outcome IN ('refused', 'unknown') AND expected = 0 GROUP BY 1, 2, 3 "
                     "LIMIT 5")
             .rows) {
      for (const db::Value& value : row) all += value.TextOr("-") + " | ";
      all += "\n";
    }
    return all;
  }
  std::vector<Json> Events(const std::string& kind) const {
    std::vector<Json> events;
    std::ifstream in(folder.path() / "evidence.jsonl");
    for (std::string line; std::getline(in, line);) {
      Json event = Json::parse(line);
      if (event.value("kind", "") == kind) events.push_back(std::move(event));
    }
    return events;
  }

  // What the ledger expects against what was observed, by a judge of the test's own: one line for
  // each key that differs.
  std::vector<std::string> Differences() {
    ledger.Flush();
    auto session = db::Connect(db::Endpoint::Sqlite(folder.path() / "ledger.sqlite"));
    std::map<std::string, std::optional<std::string>> expected;  // table+key → row
    std::set<std::string> doubtful;
    session->ForEachRow(
        "SELECT table_name, key, key_after, row, state, operation FROM writes WHERE hot = 0"
        " ORDER BY id",
        {}, [&](const db::Row& w) {
          if (w[1].is_null()) return;
          const std::string key = w[0].text + w[1].text;
          const std::string after = w[2].is_null() ? key : w[0].text + w[2].text;
          if (w[4].text == "unknown" || w[4].text == "pending") {
            doubtful.insert(key);
            doubtful.insert(after);
          } else if (w[4].text == "acknowledged") {
            doubtful.erase(key);
            expected[key] = std::nullopt;
            if (w[5].text != "delete") expected[after] = w[3].text;
          } else if (w[5].text == "insert" && !expected.contains(key)) {
            expected[key] = std::nullopt;  // refused, rolled back
          }
        });
    std::vector<std::string> differences;
    std::set<std::string> seen;
    session->ForEachRow("SELECT table_name, key, row, why FROM observed", {},
                        [&](const db::Row& o) {
                          const std::string key = o[0].text + o[1].text;
                          seen.insert(key);
                          if (!o[3].is_null()) {
                            differences.push_back(key + ": " + o[3].text);
                            return;
                          }
                          const auto it = expected.find(key);
                          if (it == expected.end() || doubtful.contains(key)) return;
                          const std::string want = it->second.value_or("absent");
                          const std::string got = o[2].TextOr("absent");
                          if (want != got) {
                            differences.push_back(key + ": expected " + want + ", is " + got);
                          }
                        });
    for (const auto& [key, row] : expected) {
      if (!seen.contains(key)) differences.push_back(key + ": not observed");
    }
    // Hot rows: what the first was, and one more for each acknowledged update.
    session->ForEachRow(
        "SELECT h.table_name, h.key, h.value + (SELECT count(*) FROM writes w WHERE w.hot = 1 AND"
        " w.state = 'acknowledged' AND w.table_name = h.table_name AND w.key = h.key),"
        " json_extract(o.row, '$.' || json_quote(h.column_name)) FROM hot_rows h JOIN observed o"
        " ON o.table_name = h.table_name AND o.key = h.key",
        {}, [&](const db::Row& h) {
          if (h[2].text != h[3].TextOr("absent")) {
            differences.push_back(h[0].text + h[1].text + ": counter " + h[3].TextOr("absent") +
                                  " for " + h[2].text);
          }
        });
    return differences;
  }

  TemporaryFolder folder;
  EvidenceWriter evidence;
  Ledger ledger;
  ActorContext context{ledger, {}};
};

}  // namespace understudy::harness
