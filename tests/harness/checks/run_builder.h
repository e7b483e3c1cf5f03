#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/checks/standard.h"
#include "harness/compare/comparison.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {

// The evidence of a run, written by hand: real files, no database but the evidence's own.
class RunBuilder {
 public:
  explicit RunBuilder(Json scenario = Json::object())
      : writer_(folder_.path() / "run", SteadyClock::now()), scenario_(std::move(scenario)) {
    if (!scenario_.contains("databases")) {
      scenario_["databases"] = {{"main", {{"engine", "postgres"}}}};
    }
    if (!scenario_.contains("migration")) scenario_["migration"] = {{"strategy", "sql"}};
    ledger_ = CreateLedger(folder());
  }

  std::filesystem::path folder() const { return folder_.path() / "run"; }

  RunBuilder& Event(double t_ms, std::string_view kind, Json data) {
    writer_.AddAt(t_ms, kind, std::move(data));
    return *this;
  }
  RunBuilder& Phase(const std::string& phase, double begin_ms, double end_ms) {
    Event(begin_ms, "phase", {{"migration", "m"}, {"phase", phase}, {"status", "begin"}});
    return Event(end_ms, "phase",
                 {{"migration", "m"}, {"phase", phase}, {"status", "end"}, {"outcome", "done"}});
  }
  RunBuilder& Step(const std::string& verb, double begin_ms, double end_ms, Json end = {}) {
    const Json id = {{"index", ++steps_}, {"line", 0}, {"name", verb + "-1"}, {"verb", verb}};
    Json begin = id;
    begin["status"] = "begin";
    Event(begin_ms, "step", begin);
    Json ended = id;
    ended["status"] = "end";
    ended["outcome"] = "done";
    ended["expected"] = "done";
    if (end.is_object()) ended.update(end);
    return Event(end_ms, "step", ended);
  }
  RunBuilder& TakeSnapshot(const std::string& name, const std::vector<CatalogObject>& objects,
                           double t_ms = 1, const std::string& database = "main") {
    Snapshot snapshot;
    snapshot.engine = "postgres";
    snapshot.objects = objects;
    StoreSnapshot(folder(), name, database, snapshot.ToJson());
    return Event(t_ms, "snapshot", {{"name", name}, {"database", database}, {"rows", 3}});
  }
  RunBuilder& Compared(const std::string& use, const std::vector<TableComparison>& tables,
                       CompareResult result = CompareResult::kEqual) {
    Comparison comparison;
    comparison.result = result;
    comparison.tables = tables;
    for (const TableComparison& table : tables) comparison.rows_compared += table.left_rows;
    return Event(50, "comparison",
                 {{"use", use},
                  {"left", "before:main"},
                  {"right", "after:main"},
                  {"result", comparison.ToJson()}});
  }
  RunBuilder& Probe(const std::string& check, const std::string& object, const std::string& result,
                    const std::string& detail = "") {
    return Event(60, "probe",
                 {{"check", check}, {"object", object}, {"result", result}, {"detail", detail}});
  }

  struct Written {
    std::string operation = "insert";
    std::string key = R"({"id":"1"})";
    std::string row = R"({"id":"1","total":"5"})";  // "" = NULL
    std::string state = "acknowledged";
    std::int64_t txn = 0;
    std::string key_after = {};
    bool hot = false;
    std::string counter = {};
    std::string client = "w1";
    double at_ms = 100;
  };
  RunBuilder& Write(const Written& write) {
    const auto text = [](const std::string& value) {
      return value.empty() ? db::Value::Null() : db::Value::Text(value);
    };
    ledger_->Query(
        "INSERT INTO writes(client, txn, database, operation, table_name, key, row, state,"
        " started_ms, ended_ms, key_after, hot, counter)"
        " VALUES (?1, ?2, 'main', ?3, 'public.orders', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        {text(write.client), db::Value::Integer(write.txn), text(write.operation), text(write.key),
         text(write.row), text(write.state), db::Value::Real(write.at_ms),
         db::Value::Real(write.at_ms + 1), text(write.key_after),
         db::Value::Integer(write.hot ? 1 : 0), text(write.counter)});
    return *this;
  }
  // row "" = absent; `why`: it was not read.
  RunBuilder& Observed(const std::string& key, const std::string& row,
                       const std::string& why = "") {
    ledger_->Query("INSERT INTO observed VALUES ('main', 'public.orders', ?1, ?2, ?3)",
                   {db::Value::Text(key), row.empty() ? db::Value::Null() : db::Value::Text(row),
                    why.empty() ? db::Value::Null() : db::Value::Text(why)});
    return *this;
  }
  RunBuilder& HotRow(const std::string& key, const std::string& value) {
    ledger_->Query("INSERT INTO hot_rows VALUES ('main', 'public.orders', ?1, 'hits', ?2, 'note')",
                   {db::Value::Text(key), db::Value::Text(value)});
    return *this;
  }
  RunBuilder& Operation(double started_ms, double duration_ms, const std::string& outcome = "ok",
                        const std::string& sqlstate = "", bool expected = false,
                        const std::string& message = "it failed") {
    ledger_->Query(
        "INSERT INTO operations VALUES ('w1', 'writers', 'update', 'main', 'UPDATE', ?1, ?2, ?3,"
        " ?4, ?6, ?5)",
        {db::Value::Real(started_ms), db::Value::Real(duration_ms), db::Value::Text(outcome),
         db::Value::Text(sqlstate), db::Value::Integer(expected ? 1 : 0),
         db::Value::Text(message)});
    return *this;
  }
  RunBuilder& End(const std::string& status = "complete", const std::string& reason = "") {
    return Event(10000, "end", {{"status", status}, {"reason", reason}, {"duration_ms", 10000}});
  }
  Json& scenario() { return scenario_; }

  Evidence Read() {
    WriteFileWhole(folder() / "scenario.json", ToText(scenario_));
    return Evidence::Read(folder());
  }

  // What check `id` says. Only the table's own checks are asked.
  reports::Verdict Judge(const std::string& id) {
    const Evidence evidence = Read();
    return Find(id).Judge(evidence);
  }
  std::optional<std::string> DoesNotApply(const std::string& id) {
    return Find(id).DoesNotApply(Read());
  }

 private:
  static const Check& Find(const std::string& id) {
    for (const CheckPtr& check : StandardChecks()) {
      if (check->id() == id) return *check;
    }
    throw Error(ErrorKind::kInternal, "no check " + id);
  }

  TemporaryFolder folder_;
  EvidenceWriter writer_;
  Json scenario_;
  std::unique_ptr<db::Session> ledger_;
  int steps_ = 0;
};

inline Json WithWriters(Json checks = Json::object()) {
  return {{"workload", {{{"kind", "writers"}, {"on", "main"}}}}, {"checks", checks}};
}

inline CatalogObject Object(const std::string& path,
                            std::map<std::string, std::string> properties = {}) {
  return {path, path.substr(0, path.find(':')), std::move(properties)};
}

}  // namespace understudy::harness
