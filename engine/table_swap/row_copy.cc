#include "engine/table_swap/row_copy.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "engine/core/journal.h"
#include "engine/core/pacer.h"
#include "engine/core/parallel.h"
#include "engine/db/copy.h"
#include "engine/table_swap/copy_source.h"
#include "engine/table_swap/manifest.h"

namespace understudy::table_swap {
namespace {

constexpr const char* kPlanEntry = "rows.plan";
constexpr const char* kDoneEntry = "rows.done";
constexpr std::chrono::milliseconds kTellEvery{500};

std::string UnitEntry(std::size_t index) { return "rows." + std::to_string(index); }

Json PlanJson(const std::vector<CopyUnit>& units) {
  Json list = Json::array();
  for (const CopyUnit& unit : units) {
    Json tables = Json::array();
    for (const db::TableName& table : unit.tables) tables.push_back({table.schema, table.name});
    Json item = {{"tables", tables}};
    if (!unit.range_column.empty()) {
      item["column"] = unit.range_column;
      item["type"] = unit.range_type;
      item["from"] = unit.from ? Json(*unit.from) : Json(nullptr);
      item["to"] = unit.to ? Json(*unit.to) : Json(nullptr);
    }
    list.push_back(item);
  }
  return {{"units", list}};
}

std::vector<CopyUnit> PlanFrom(const Json& json) {
  std::vector<CopyUnit> units;
  for (const Json& item : json.at("units")) {
    CopyUnit& unit = units.emplace_back();
    for (const Json& table : item.at("tables")) {
      unit.tables.push_back({table.at(0).get<std::string>(), table.at(1).get<std::string>()});
    }
    if (!item.contains("column")) continue;
    unit.range_column = item.at("column").get<std::string>();
    unit.range_type = item.at("type").get<std::string>();
    if (!item.at("from").is_null()) unit.from = item.at("from").get<std::string>();
    if (!item.at("to").is_null()) unit.to = item.at("to").get<std::string>();
  }
  return units;
}

// The two connections of one worker.
struct Worker {
  Worker(const ShadowRequest& request, const std::string& snapshot)
      : source(*request.source, Options(request.session_name, true)),
        target(request.target, Options(request.session_name, false)) {
    source.Begin(db::Isolation::kRepeatableRead, true);
    source.SetSnapshot(snapshot);
    // What is lost with the server is lost with its journal entry, and copied again.
    target.Execute("SET synchronous_commit = off");
  }
  static db::SessionOptions Options(const std::string& name, bool read_only) {
    db::SessionOptions options;
    options.application_name = name;
    options.read_only = read_only;
    return options;
  }
  db::CopySession source;
  db::CopySession target;
};

class Copier {
 public:
  Copier(const core::Context& context, const ShadowRequest& request,
         const std::vector<db::TableName>& tables)
      : context_(context),
        request_(request),
        pacer_(context, request.target),
        workers_(static_cast<std::size_t>(std::max(1, context.spec().limits.jobs))) {
    // One snapshot of the source for every table and every worker; it lives as long as this
    // session's transaction.
    source_ =
        db::Connect(*request.source, Worker::Options(request.session_name, /*read_only=*/true));
    source_->Begin(db::Isolation::kRepeatableRead, true);
    snapshot_ = source_->Scalar("SELECT pg_export_snapshot()").text;
    target_ = db::Connect(request.target, Worker::Options(request.session_name, false));
    tables_ = ReadSourceTables(*source_, *target_, request, tables);
  }

  CopiedRows Run() {
    core::Journal journal(*target_, request_.migration_id);
    if (const auto done = journal.Find(kDoneEntry)) {
      result_.rows = done->detail.value("rows", std::int64_t{0});
      return result_;
    }
    std::set<std::size_t> done;
    if (const auto plan = journal.Find(kPlanEntry)) {
      units_ = PlanFrom(plan->detail);
      for (const core::JournalEntry& entry : journal.Entries()) {
        if (entry.name.starts_with("rows.") && entry.detail.contains("unit")) {
          done.insert(entry.detail.at("unit").get<std::size_t>());
        }
      }
    } else {
      units_ = PlanUnits(*source_, tables_, context_.spec().limits.jobs, request_.range_bytes);
      db::Transaction transaction(*target_);
      journal.CheckEpoch(request_.epoch);
      journal.Put(kPlanEntry, PlanJson(units_));
      transaction.Commit();
    }
    for (const auto& [name, table] : tables_) {
      rows_total_ += table.rows_estimate;
      bytes_total_ += table.bytes;
    }
    for (const std::string& warning : CopyWarnings(*source_, Names())) {
      context_.Log("warning", warning);
    }
    const std::set<std::size_t> same = StillTheSame(done);
    std::vector<std::size_t> work;
    for (std::size_t i = 0; i < units_.size(); ++i) {
      if (!same.contains(i)) work.push_back(i);
    }
    core::ForEachParallel(context_.spec().limits.jobs, work.size(),
                          [&](std::size_t index, int worker) {
                            const std::size_t unit = work[index];
                            CopyOne(unit, done.contains(unit), worker);
                          });
    Finish(journal);
    return result_;
  }

 private:
  std::vector<db::TableName> Names() const {
    std::vector<db::TableName> names;
    for (const auto& [name, table] : tables_) names.push_back(name);
    return names;
  }

  Worker& At(int index) {
    std::unique_ptr<Worker>& worker = workers_.at(static_cast<std::size_t>(index));
    if (!worker) worker = std::make_unique<Worker>(request_, snapshot_);
    return *worker;
  }

  // Units that an earlier process has committed and that hold what the source has now.
  std::set<std::size_t> StillTheSame(const std::set<std::size_t>& done) {
    if (Sabotaged("swap-trusts-earlier-copies")) return done;
    std::set<std::size_t> same;
    // Per table one pass on each side, whatever the number of its ranges.
    std::map<db::TableName, std::vector<std::size_t>> by_table;
    for (const std::size_t index : done) {
      for (const db::TableName& table : units_.at(index).tables) by_table[table].push_back(index);
    }
    std::vector<std::pair<db::TableName, std::vector<std::size_t>>> list(by_table.begin(),
                                                                         by_table.end());
    std::mutex mutex;
    std::set<std::size_t> different;
    core::ForEachParallel(context_.spec().limits.jobs, list.size(), [&](std::size_t at, int id) {
      Worker& worker = At(id);
      const auto& [table, indexes] = list[at];
      const SourceTable& facts = tables_.at(table);
      const std::string query = DigestSql(facts, units_, /*shadow=*/false);
      const std::string shadow_query = DigestSql(facts, units_, /*shadow=*/true);
      const auto read = [](db::CopySession& session, const std::string& sql) {
        std::map<std::string, db::Row> digests;
        for (const db::Row& row : session.Execute(sql).rows) digests[row[0].TextOr("")] = row;
        return digests;
      };
      const auto old_side = read(worker.source, query);
      const auto new_side = read(worker.target, shadow_query);
      for (const std::size_t index : indexes) {
        const std::string bucket = BucketOf(units_, index);
        const auto left = old_side.find(bucket);
        const auto right = new_side.find(bucket);
        const bool none = left == old_side.end() && right == new_side.end();
        const bool equal = none || (left != old_side.end() && right != new_side.end() &&
                                    left->second == right->second);
        const std::lock_guard lock(mutex);
        if (!equal) different.insert(index);
        if (right != new_side.end() && equal) rows_ += right->second[1].AsInteger();
      }
    });
    for (const std::size_t index : done) {
      if (!different.contains(index)) same.insert(index);
    }
    return same;
  }

  void CopyOne(std::size_t index, bool again, int worker_id) {
    Worker& worker = At(worker_id);
    const CopyUnit& unit = units_.at(index);
    Json attributes = {{"table", unit.tables.front().Display()}, {"unit", index}};
    std::int64_t rows = 0;
    worker.target.Begin();
    try {
      for (const db::TableName& table : unit.tables) {
        rows += CopyTable(worker, tables_.at(table), unit, again);
      }
      core::Journal journal(worker.target.AsSession(), request_.migration_id);
      context_.At("copy.before_commit", attributes);
      // Last, since it locks the journal's row until the commit.
      journal.CheckEpoch(request_.epoch);
      journal.Put(UnitEntry(index), {{"unit", index}, {"rows", rows}});
      // Whole tables are frozen: everybody sees them.
      if (!unit.range_column.empty()) RememberWrite(worker.target.AsSession(), journal);
      worker.target.Commit();
    } catch (...) {
      worker.target.Rollback();
      throw;
    }
    {
      const std::lock_guard lock(mutex_);
      result_.bytes += unit_bytes_[worker_id];
      if (again) result_.copied_again_rows += rows;
      unit_bytes_[worker_id] = 0;
    }
    attributes["rows"] = rows;
    context_.At("copy.after_commit", attributes);
    Tell(true);
  }

  std::int64_t CopyTable(Worker& worker, const SourceTable& table, const CopyUnit& unit,
                         bool again) {
    const db::TableName shadow = ShadowOf(table.name);
    bool freeze = false;
    if (unit.range_column.empty()) {
      // Rows of a table that was emptied in this transaction may be frozen at once: no vacuum has
      // to write them again.
      worker.target.Execute("TRUNCATE ONLY " + shadow.Quoted());
      freeze = true;
    } else if (again) {
      worker.target.Execute("DELETE FROM ONLY " + shadow.Quoted() + RangeCondition(unit));
    }
    std::int64_t rows = 0;
    try {
      db::CopyOut out(worker.source, CopyOutSql(table, unit));
      db::CopyIn in(worker.target, CopyInSql(table, shadow, freeze));
      std::string bytes;
      std::int64_t before = 0;
      while (out.Read(bytes)) {
        in.Write(bytes);
        const std::int64_t moved = out.rows_so_far() - before;
        before = out.rows_so_far();
        Count(worker, moved, static_cast<std::int64_t>(bytes.size()));
      }
      rows = in.Finish();
      if (rows != out.rows()) {
        throw Error(ErrorKind::kInternal, "the shadow of " + table.name.Display() + " took " +
                                              std::to_string(rows) + " rows of " +
                                              std::to_string(out.rows()));
      }
    } catch (const Error& error) {
      throw Error(error.kind(),
                  "copying " + table.name.Display() + " from the source: " + error.what(),
                  error.code());
    }
    return rows;
  }

  void Count(Worker& worker, std::int64_t rows, std::int64_t bytes) {
    rows_ += rows;
    {
      const std::lock_guard lock(mutex_);
      for (std::size_t i = 0; i < workers_.size(); ++i) {
        if (workers_[i].get() == &worker) unit_bytes_[static_cast<int>(i)] += bytes;
      }
      bytes_ += bytes;
    }
    pacer_.Moved(rows, bytes);
    Tell(false);
  }

  void Tell(bool now) {
    Json data;
    {
      const std::lock_guard lock(mutex_);
      if (!now && SteadyClock::now() - told_ < kTellEvery) return;
      told_ = SteadyClock::now();
      data = {{"rows_done", rows_.load()},
              {"rows_total", std::max<std::int64_t>(rows_total_, rows_.load())},
              {"bytes_done", bytes_},
              {"bytes_total", std::max<std::int64_t>(bytes_total_, bytes_)},
              {"pending_writes", 0}};
    }
    context_.Tell("progress", data);
  }

  // Sequences of the copied tables go on where the source's are; then one entry for all units.
  void Finish(core::Journal& journal) {
    db::Transaction transaction(*target_);
    journal.CheckEpoch(request_.epoch);
    std::vector<db::TableName> sequences = UnownedSequences(*target_, request_);
    for (const auto& [name, table] : tables_) {
      for (const std::string& sequence : table.sequences) {
        sequences.push_back({name.schema, sequence});
      }
    }
    for (const db::TableName& sequence : sequences) {
      const db::Row row =
          source_->Query("SELECT last_value, is_called FROM " + sequence.Quoted()).rows.at(0);
      target_->Query("SELECT pg_catalog.setval($1::pg_catalog.regclass, $2, $3)",
                     {db::Value::Text(ShadowOf(sequence).Quoted()), row[0], row[1]});
    }
    std::int64_t rows = 0;
    for (const core::JournalEntry& entry : journal.Entries()) {
      if (!entry.name.starts_with("rows.")) continue;
      if (entry.detail.contains("unit")) rows += entry.detail.at("rows").get<std::int64_t>();
      journal.Remove(entry.name);
    }
    journal.Put(kDoneEntry, {{"rows", rows}});
    transaction.Commit();
    result_.rows = rows;
  }

  const core::Context& context_;
  const ShadowRequest& request_;
  core::Pacer pacer_;
  std::unique_ptr<db::Session> source_;
  std::unique_ptr<db::Session> target_;
  std::string snapshot_;
  std::map<db::TableName, SourceTable> tables_;
  std::vector<CopyUnit> units_;
  std::vector<std::unique_ptr<Worker>> workers_;

  std::mutex mutex_;
  CopiedRows result_;
  std::map<int, std::int64_t> unit_bytes_;
  std::int64_t bytes_ = 0;
  std::atomic<std::int64_t> rows_ = 0;
  std::int64_t rows_total_ = 0;
  std::int64_t bytes_total_ = 0;
  SteadyClock::time_point told_;
};

}  // namespace

CopiedRows CopyRows(const core::Context& context, const ShadowRequest& request,
                    const std::vector<db::TableName>& tables) {
  if (!request.source) {
    if (tables.empty()) return {};
    throw Error(ErrorKind::kInternal, "rows are copied from a source, and there is none");
  }
  return Copier(context, request, tables).Run();
}

std::vector<std::string> CopyWarnings(db::Session& source,
                                      const std::vector<db::TableName>& tables) {
  std::vector<std::string> warnings;
  const std::string objects = source.Scalar("SELECT count(*) FROM pg_largeobject_metadata").text;
  if (objects == "0") return warnings;
  const std::set<db::TableName> wanted(tables.begin(), tables.end());
  for (const db::Row& row : source
                                .Query(R"(
SELECT n.nspname, c.relname, a.attname
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND (t.oid = 'oid'::regtype OR t.typbasetype = 'oid'::regtype))")
                                .rows) {
    const db::TableName table{row[0].text, row[1].text};
    if (!wanted.contains(table)) continue;
    warnings.push_back("the source holds " + objects + " large objects, and " + table.Display() +
                       "." + db::DisplayIdentifier(row[2].text) +
                       " may name some of them: they are not copied");
  }
  return warnings;
}

}  // namespace understudy::table_swap
