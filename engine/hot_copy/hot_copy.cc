#include "engine/hot_copy/hot_copy.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/sabotage.h"
#include "engine/capture/sqlite_capture.h"
#include "engine/catalog/sqlite_diff.h"
#include "engine/core/journal.h"
#include "engine/db/identifier.h"
#include "engine/hot_copy/mover.h"
#include "engine/hot_copy/settings.h"

namespace understudy::hot_copy {
namespace fs = std::filesystem;
namespace {
using capture::SqliteCapture;
using capture::SqliteMark;
using catalog::SqliteSchema;
using catalog::SqliteTable;
using db::DisplayIdentifier;
using db::QuoteIdentifier;
using db::Value;

// Waiting costs nobody anything: SQLite has no queue that others would stand behind us in.
constexpr std::chrono::milliseconds kDefaultLockTimeout{10000};
// SQLITE_READONLY_ROLLBACK: a writer was killed, and a reader that may not write cannot go on.
constexpr const char* kHotJournal = "776";
constexpr const char* kApplication = "understudy-engine hot-copy";
// The log is trimmed when it holds so much, or half of what it may; a few thousand entries at once
// are some milliseconds in which other writers wait.
constexpr std::int64_t kTrimBytes = std::int64_t{16} << 20;
constexpr std::int64_t kTrimEntries = 5000;

// More keys than these, written since the last unit, are replayed while writers still go on; but
// those who write faster than that do not put the drain off for ever.
constexpr std::int64_t kFewKeys = 10000;
constexpr int kLastUnits = 1000;

bool Exists(const db::Endpoint& endpoint) {
  std::error_code ignored;
  return fs::exists(endpoint.file(), ignored);
}

bool HasTable(db::Session& session, const char* name) {
  return session
             .Scalar("SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = ?1",
                     {Value::Text(name)})
             .AsInteger() > 0;
}

// migrating, ready, or "" in a file that is no hot copy's.
std::string NewStatus(db::Session& session) {
  if (!HasTable(session, "_migration_status")) return "";
  const auto status = session.MaybeScalar("SELECT status FROM main._migration_status WHERE id = 0");
  return status ? status->text : "";
}

// Once ready and in service, and led away from since: it refuses writes for good.
bool IsRetired(db::Session& session) {
  return NewStatus(session) == "ready" && SqliteCapture(session).RefusesWrites();
}

// Tables that no engine of ours made: in a file without `_migration_status`, somebody's database.
bool HasForeignTables(db::Session& session) {
  return session
             .Scalar(
                 "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name NOT "
                 "LIKE '\\_understudy\\_%' ESCAPE '\\'")
             .AsInteger() > 0;
}

void RemoveSqliteFile(const fs::path& file) {
  // The journal first: a database whose journal outlives it would play it back over its successor.
  for (const char* suffix : {"-journal", "-wal", "-shm", ""}) {
    std::error_code error;
    fs::remove(file.string() + suffix, error);
    if (error) {
      throw Error(ErrorKind::kEnvironment,
                  "cannot remove " + file.string() + suffix + ": " + error.message());
    }
  }
}

std::string Plural(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : what.back() == 'x' ? "es" : "s");
}

// Why a file that another migration records in is not touched.
std::string IsAnothers(db::Session& old) {
  SqliteCapture capture(old);
  return "is " + std::string(MarkName(capture.Mark())) +
         " for another new file: " + capture.Target() +
         "; give that up with: understudy migrate reset";
}

class HotCopy final : public core::Migration {
 public:
  explicit HotCopy(core::Context& context)
      : context_(context),
        spec_(context.spec()),
        target_(spec_.Target()),
        schema_file_(SchemaFile(spec_)),
        evaluated_(catalog::EvaluateSqliteSchema(ReadFile(schema_file_), schema_file_.string())) {}

  core::Capabilities Capabilities() const override {
    return {.atomic_cutover = true,
            .retries_cutover = true,
            .captures = true,
            .drains = true,
            .can_roll_back = true};
  }

  core::Plan MakePlan() override;
  std::string NothingToDo() override;

  void MakeTarget() override {
    db::Connect(target_, {.application_name = kApplication, .create = true});
  }

  void Prepare() override;

  core::SyncProgress SyncStep(const core::Budget& budget) override;

  void Drain(const core::CutoverOptions& options) override;
  void Cutover(const core::CutoverOptions& options) override;
  core::VerifyResult Verify() override;
  void Rollback(const core::RollbackOptions& options) override;
  std::vector<std::string> Cleanup(bool dry_run) override;
  std::vector<std::string> Reset(bool dry_run) override;

  core::Owner WhoOwns() override {
    if (!Exists(target_)) return core::Owner::kOld;
    const auto session = New();
    return NewStatus(*session) == "ready" && !IsRetired(*session) ? core::Owner::kNew
                                                                  : core::Owner::kOld;
  }

  core::StrategyStatus Status() override;

 private:
  bool HasSource() const {
    return spec_.endpoints.contains("source") && Exists(spec_.Endpoint("source"));
  }
  const db::Endpoint& Source() const { return spec_.Endpoint("source"); }
  void RequireSource() const {
    if (HasSource()) return;
    throw Error(ErrorKind::kUnsupported,
                spec_.endpoints.contains("source")
                    ? "the old file is not there: " + Source().file().string()
                    : WhyNoSource(spec_));
  }

  std::unique_ptr<db::Session> Old(bool read_only = false) const {
    db::SessionOptions options{
        .application_name = kApplication,
        .lock_timeout = spec_.limits.lock_timeout_ms
                            ? std::chrono::milliseconds(*spec_.limits.lock_timeout_ms)
                            : kDefaultLockTimeout,
        .read_only = read_only};
    try {
      return db::Connect(Source(), options);
    } catch (const Error& error) {
      if (!read_only || error.code() != kHotJournal) throw;
    }
    options.read_only = false;  // takes back what the killed writer left, as every reader does
    return db::Connect(Source(), options);
  }
  std::unique_ptr<db::Session> New() const {
    return db::Connect(target_, {.application_name = kApplication});
  }

  void CheckEpoch(db::Session& session) const {
    core::Journal(session, spec_.id).CheckEpoch(context_.epoch());
  }

  // Reads the old schema and decides how every table goes over. Objections are in diff_.
  void Work() {
    const auto old = Old(true);
    old_schema_ = catalog::ReadSqliteSchema(*old);
    diff_ = catalog::DiffSqliteSchemas(old_schema_, evaluated_.schema, ColumnChoices(spec_));
    std::map<std::string, std::int64_t> seeds;
    for (const SqliteTable& table : evaluated_.schema.tables) {
      if (table.is_virtual) continue;
      seeds[table.name] =
          evaluated_.memory->Scalar("SELECT count(*) FROM main." + QuoteIdentifier(table.name))
              .AsInteger();
    }
    move_.tables = PlanTables(old_schema_, evaluated_.schema, diff_, seeds);
    move_.old_schema = &old_schema_;
    move_.new_schema = &evaluated_.schema;
    move_.triggers_on_replay = TriggersOnReplay(spec_);
    move_.followed_pragmas.clear();
    for (const char* pragma : {"user_version", "application_id"}) {
      if (evaluated_.memory->Scalar("PRAGMA main." + std::string(pragma)).AsInteger() == 0) {
        move_.followed_pragmas.emplace_back(pragma);
      }
    }
    move_.old_file = Source().file();
    move_.new_file = target_;
  }

  Mover& TheMover() {
    if (!mover_) {
      Work();
      mover_ = std::make_unique<Mover>(
          move_,
          Mover::Hooks{[this](const char* point, const std::string& table, std::int64_t rows) {
                         context_.At(point, {{"table", table}, {"rows", rows}});
                       },
                       [this](db::Session& session) { CheckEpoch(session); }});
    }
    return *mover_;
  }

  std::vector<capture::SqliteWatched> Watched() const {
    std::vector<capture::SqliteWatched> watched;
    for (const TableWork& work : move_.tables) watched.push_back({work.from, work.key});
    return watched;
  }

  void RequireRecording(SqliteCapture& capture) const;
  void HoldLogWithinLimit();
  void CheckNewObjects(core::Plan& plan);
  void KeepMapping(db::Session& session) const;
  std::string SinceCutover();

  core::Context& context_;
  const core::Spec& spec_;
  const db::Endpoint target_;
  const fs::path schema_file_;
  catalog::EvaluatedSqliteSchema evaluated_;
  SqliteSchema old_schema_;
  catalog::SqliteDiff diff_;
  Move move_;
  std::unique_ptr<Mover> mover_;
  double told_hold_ms_ = 0;
  std::unique_ptr<db::Session> log_session_;  // to the old file; trims the log
};

std::string HotCopy::NothingToDo() {
  if (Exists(target_)) {
    const auto session = New();
    if (NewStatus(*session) == "ready" && !IsRetired(*session) &&
        !core::Journal(*session, spec_.id).Load()) {
      return "migrate skipped: " + target_.file().string() +
             " is ready and has this schema already";
    }
  }
  if (!HasSource()) return "";
  const auto old = Old(true);
  SqliteSchema present = catalog::ReadSqliteSchema(*old);
  present.seeds = evaluated_.schema.seeds;
  if (SqliteCapture(*old).Mark() == SqliteMark::kNone && !SqliteCapture(*old).RefusesWrites() &&
      present.Hash() == evaluated_.schema.Hash()) {
    return "migrate skipped: " + Source().file().string() + " has this schema already";
  }
  return "";
}

void HotCopy::CheckNewObjects(core::Plan& plan) {
  std::size_t indexes = 0;
  for (const SqliteTable& table : evaluated_.schema.tables) {
    for (const catalog::SqliteIndex& index : table.indexes) indexes += index.sql.empty() ? 0U : 1U;
  }
  const auto compiles = [&](const std::string& object, const std::string& sql,
                            const std::string& but = "") {
    try {  // compiling a statement compiles the views and triggers that it reaches
      evaluated_.memory->Query("EXPLAIN " + sql);
    } catch (const Error& error) {
      if (!but.empty() && error.message().find(but) != std::string::npos) return;
      plan.refused.push_back(
          {object, "is not consistent with the rest of the schema: " + error.message()});
    }
  };
  for (const catalog::SqliteView& view : evaluated_.schema.views) {
    compiles("view " + DisplayIdentifier(view.name),
             "SELECT * FROM main." + QuoteIdentifier(view.name));
  }
  for (const catalog::SqliteTrigger& trigger : evaluated_.schema.triggers) {
    const SqliteTable* table = evaluated_.schema.Table(trigger.table);
    const std::string name = "main." + QuoteIdentifier(trigger.table);
    const auto set = [](const std::vector<catalog::SqliteColumn>& columns) {
      std::string list;
      for (const catalog::SqliteColumn& c : columns) {
        if (c.generated != catalog::SqliteColumn::Generated::kNo) continue;
        list += (list.empty() ? "" : ", ") + QuoteIdentifier(c.name) + " = NULL";
      }
      return list;
    };
    const std::string object = "trigger " + DisplayIdentifier(trigger.name);
    if (table != nullptr) {
      compiles(object, "DELETE FROM " + name);
      compiles(object, "UPDATE " + name + " SET " + set(table->columns));
      compiles(object, "INSERT INTO " + name + " DEFAULT VALUES");
      continue;
    }
    for (const catalog::SqliteView& view : evaluated_.schema.views) {
      if (view.name != trigger.table) continue;
      std::string nulls;
      for (std::size_t i = 0; i < view.columns.size(); ++i) nulls += i == 0 ? "NULL" : ", NULL";
      // INSTEAD OF one event: a view takes no other.
      for (const std::string& sql :
           {"DELETE FROM " + name, "UPDATE " + name + " SET " + set(view.columns),
            "INSERT INTO " + name + " VALUES (" + nulls + ")"}) {
        compiles(object, sql, "cannot modify");
      }
    }
  }
  plan.steps.push_back({"plan", "target objects checked: " + Plural(indexes, "index") + ", " +
                                    Plural(evaluated_.schema.views.size(), "view") + ", " +
                                    Plural(evaluated_.schema.triggers.size(), "trigger")});
}

core::Plan HotCopy::MakePlan() {
  core::Plan plan;
  const std::string hash = evaluated_.schema.Hash();
  const std::string commit = SchemaCommit(schema_file_);
  plan.steps.push_back({"plan", "schema " + schema_file_.string() + ", hash " + hash +
                                    (commit.empty() ? "" : ", commit " + commit)});
  plan.steps.push_back(
      {"plan", "old file: " + (spec_.endpoints.contains("source") ? Source().file().string()
                                                                  : std::string("none"))});
  plan.steps.push_back({"plan", "new file: " + target_.file().string()});
  if (const std::string nothing = NothingToDo(); !nothing.empty()) {
    plan.warnings.push_back(nothing);
    return plan;
  }
  if (!HasSource()) {
    plan.refused.push_back({"old file", spec_.endpoints.contains("source")
                                            ? "is not there: " + Source().file().string()
                                            : WhyNoSource(spec_)});
    return plan;
  }
  Work();
  for (const std::string& table : diff_.added) {
    plan.steps.push_back({"plan", "table " + DisplayIdentifier(table) + ": added"});
  }
  for (const std::string& table : diff_.removed) {
    plan.steps.push_back({"plan", "table " + DisplayIdentifier(table) + ": removed"});
  }
  std::string order;
  for (const TableWork& work : move_.tables) {
    std::string sources;
    for (const catalog::SqliteColumnSource& source : work.pair->sources) {
      sources += (sources.empty() ? "" : ", ") + DisplayIdentifier(source.column);
      const std::string kind(catalog::SourceKindName(source.kind));
      if (source.kind == catalog::SqliteColumnSource::Kind::kColumn) {
        if (source.from != source.column) sources += " <- " + DisplayIdentifier(source.from);
      } else {
        sources += " <- " + kind + (source.from.empty() ? "" : " " + source.from);
      }
    }
    const std::string identity = work.assigned ? "; keys are assigned by the new table"
                                 : work.mapped ? "; keys are kept unless a seed row has the place"
                                               : "";
    plan.steps.push_back(
        {"plan",
         "table " + DisplayIdentifier(work.to->name) + ": " +
             (work.pair->renamed() ? "renamed from " + DisplayIdentifier(work.pair->old_name)
                                   : std::string("matched")) +
             " (" + sources + ")" + identity});
    order += (order.empty() ? "" : ", ") + DisplayIdentifier(work.to->name);
  }
  plan.steps.push_back({"plan", "copy order: " + (order.empty() ? "nothing" : order)});
  for (const std::string& line : diff_.supported) {
    plan.steps.push_back({"plan", "supported: " + line});
  }
  for (const catalog::SqliteObjection& objection : diff_.unsupported) {
    plan.refused.push_back({objection.object, objection.why});
  }
  plan.warnings.insert(plan.warnings.end(), diff_.warnings.begin(), diff_.warnings.end());
  for (const std::string& line : Mover::NotCompared(move_)) plan.warnings.push_back(line);
  for (const TableWork& work : move_.tables) {
    if (work.key.empty() || work.key_is_indexed()) continue;
    plan.warnings.push_back(
        "the new key of " + DisplayIdentifier(work.to->name) + " is " +
        DisplayIdentifier(work.key[0]) +
        ", which has no index in the old table: every replay reads all of that table, and writers "
        "of a rollback-journal file wait so long; where it is large, make an index there first");
  }
  if (const auto references = ReferencesWithoutIndex(evaluated_.schema); !references.empty()) {
    std::string list;
    for (const std::string& one : references) list += (list.empty() ? "" : ", ") + one;
    plan.warnings.push_back(
        "the new schema has no index for the columns of " + list +
        ": where a parent's row is deleted, a replay reads all of the children, and writers wait "
        "so long; where there are many, give them an index");
  }
  CheckNewObjects(plan);

  const auto old = Old(true);
  const std::string encoding = old->Scalar("PRAGMA main.encoding").text;
  if (encoding != "UTF-8") {
    plan.refused.push_back(
        {"old file", "its text is in " + encoding + "; only UTF-8 files can be migrated"});
  }
  const std::string mode = old->Scalar("PRAGMA main.journal_mode").text;
  SqliteCapture capture(*old);
  for (const std::string& object : capture.LikeOurs()) {
    plan.refused.push_back({"old file", "has a " + object +
                                            ", a name of the kind that the engine's own have; give "
                                            "it another one"});
  }
  const SqliteMark mark = capture.Mark();
  if (mark != SqliteMark::kNone && capture.Target() != target_.file().string()) {
    plan.refused.push_back({"old file", IsAnothers(*old)});
  } else if (mark != SqliteMark::kNone && !Exists(target_)) {
    plan.refused.push_back({"old file", "is " + std::string(MarkName(mark)) +
                                            ", and the new file is gone; clear it with: understudy "
                                            "migrate reset"});
  } else if (mark == SqliteMark::kNone && capture.RefusesWrites()) {
    plan.refused.push_back(
        {"old file", "was retired by an earlier cutover: its writes are refused"});
  }
  if (Exists(target_)) {
    const auto session = New();
    if (HasForeignTables(*session) && NewStatus(*session).empty()) {
      plan.refused.push_back(
          {"new file", target_.file().string() + " is there and is no migration's; move it away"});
    } else if (IsRetired(*session)) {
      plan.refused.push_back({"new file", target_.file().string() +
                                              " was in service with this schema before, and was "
                                              "retired by a later cutover; move it away"});
    }
  }
  if (::access(Source().file().c_str(), W_OK) != 0) {
    plan.refused.push_back(
        {"old file", "cannot be written: " + Source().file().string() + "; recording needs to"});
  }
  std::size_t triggers = 0;
  for (const capture::SqliteWatched& watched : Watched()) {
    if (!watched.key.empty()) triggers += capture::SqliteRecordingTriggers(watched).size();
  }
  plan.steps.push_back({"plan", "replay prerequisites: " + Plural(move_.tables.size(), "table") +
                                    " with a usable key, journal mode " + mode +
                                    (mode == "wal" ? "" : " (chunks of at most 50 ms)")});
  plan.steps.push_back({"prepare",
                        "make the new file and its tables; record writes to the old one "
                        "by " +
                            Plural(triggers, "trigger"),
                        Json::array({{{"mode", "RESERVED"}, {"object", "old file"}}})});
  std::error_code ignored;
  const auto bytes = fs::file_size(Source().file(), ignored);
  plan.steps.push_back({.phase = "sync",
                        .what = "copy " + Plural(move_.tables.size(), "table") +
                                " in chunks, replay what is written meanwhile, compare",
                        .bytes = static_cast<std::int64_t>(bytes)});
  plan.steps.push_back({"drain", "replay the rest under the write lock; refuse writes from then on",
                        Json::array({{{"mode", "RESERVED"}, {"object", "old file"}}})});
  plan.steps.push_back({"cutover", "mark the new file ready: serve it instead of the old one"});
  plan.steps.push_back({"cleanup",
                        "take the log and its triggers out of the old file; writes to it "
                        "stay refused"});
  return plan;
}

void HotCopy::Prepare() {
  RequireSource();
  Work();
  if (!diff_.unsupported.empty()) {
    throw Error(ErrorKind::kUnsupported, diff_.unsupported[0].object + " " +
                                             diff_.unsupported[0].why +
                                             "; see: understudy migrate plan");
  }
  const auto session = New();
  if (!Mover::IsBuilt(*session)) {
    db::Transaction transaction(*session, db::Isolation::kDefault, false, /*immediate=*/true);
    CheckEpoch(*session);
    Mover::Build(*session, evaluated_.schema, *evaluated_.memory, SchemaCommit(schema_file_),
                 move_.tables);
    context_.At("prepare.schema_built");
    transaction.Commit();
  }
  const auto old = Old();
  db::Transaction held(*old, db::Isolation::kDefault, false, /*immediate=*/true);
  if (catalog::ReadSqliteSchema(*old).Hash() != old_schema_.Hash()) {
    throw Error(ErrorKind::kConflict, "the schema of the old file was changed just now");
  }
  SqliteCapture capture(*old);
  const SqliteMark mark = capture.Mark();
  if (mark != SqliteMark::kNone && capture.Target() != target_.file().string()) {
    throw Error(ErrorKind::kUnsupported, "the old file " + IsAnothers(*old));
  }
  const std::string stored =
      session->Scalar("SELECT recording FROM main._understudy_move WHERE id = 0").TextOr("");
  if (mark != SqliteMark::kNone && !stored.empty() && capture.Recording() == stored) return;
  // Rows may be copied already: what was written while nothing was recorded would be missed.
  const MoveState state = Mover::State(*session);
  const bool begun = state.stage != "seeds" || state.last_replayed > 0;
  if (begun) RequireRecording(capture);
  if (begun || mark == SqliteMark::kDraining) {
    throw Error(ErrorKind::kMismatch,
                "the old file is " + std::string(MarkName(mark)) +
                    ", and not for what was copied here; give the migration up with: understudy "
                    "migrate reset");
  }
  const std::string recording = old->Scalar("SELECT lower(hex(randomblob(16)))").text;
  capture.Install(Watched(), target_.file().string(), recording);
  context_.At("prepare.capture_installed");
  // What the copy rests on is known to the new file before it is so: whoever dies in between leaves
  // a recording that is not there, and installs another.
  db::Transaction transaction(*session, db::Isolation::kDefault, false, /*immediate=*/true);
  CheckEpoch(*session);
  session->Query("UPDATE main._understudy_move SET recording = ?1, old_hash = ?2, old_version = ?3",
                 {Value::Text(recording), Value::Text(Mover::OldSchemaHash(*old, "main")),
                  old->Scalar("PRAGMA main.schema_version")});
  transaction.Commit();
  held.Commit();
}

void HotCopy::RequireRecording(SqliteCapture& capture) const {
  if (capture.Mark() != SqliteMark::kNone) return;
  throw Error(ErrorKind::kMismatch,
              "the old file records nothing any more (the log had grown past limits.log_max_bytes, "
              "or somebody took it off). Give up what was begun with: understudy migrate reset");
}

core::SyncProgress HotCopy::SyncStep(const core::Budget& budget) {
  RequireSource();
  if (!log_session_) log_session_ = Old();
  SqliteCapture capture(*log_session_);
  RequireRecording(capture);
  const core::SyncProgress progress = TheMover().Step(budget, /*check=*/!context_.preparing());
  if (const double held = TheMover().longest_hold_ms();
      progress.caught_up && held > told_hold_ms_) {
    told_hold_ms_ = held;
    context_.Log("info", "the old file was held for at most " +
                             std::to_string(static_cast<std::int64_t>(held)) +
                             " ms at once: so long may a writer have waited");
  }
  HoldLogWithinLimit();
  return progress;
}

// Takes what the new file has already out of the log; where it is too large all the same, writing
// is faster than replaying, and nothing is recorded any more.
void HotCopy::HoldLogWithinLimit() {
  SqliteCapture capture(*log_session_);
  const std::int64_t limit = spec_.limits.log_max_bytes;
  std::int64_t bytes = capture.LogBytes();
  if (bytes <= std::min(kTrimBytes, limit / 2)) return;
  const auto trim = [&](std::int64_t through) {
    std::int64_t entries = kTrimEntries;
    try {
      while (entries == kTrimEntries) {
        db::Transaction transaction(*log_session_, db::Isolation::kDefault, false,
                                    /*immediate=*/true);
        entries = capture.TrimLog(through, kTrimEntries);
        transaction.Commit();
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kConflict) throw;
      context_.Log("info", "the log was not trimmed: " + std::string(error.what()));
    }
  };
  trim(Mover::State(TheMover().session()).last_replayed);
  bytes = capture.LogBytes();
  if (bytes <= limit) return;
  {
    db::Transaction transaction(*log_session_, db::Isolation::kDefault, false, /*immediate=*/true);
    capture.StopRecording();
    transaction.Commit();
  }
  trim(std::numeric_limits<std::int64_t>::max());  // the table itself goes with the reset
  throw Error(ErrorKind::kMismatch,
              "the log of recorded keys has grown to " + std::to_string(bytes) +
                  " bytes, more than limits.log_max_bytes (" + std::to_string(limit) +
                  "): writing was faster than replaying. Recording was taken off; the old file is "
                  "whole, and writes to it go on. Give up what was begun with: understudy migrate "
                  "reset",
              "log-limit");
}

void HotCopy::Drain(const core::CutoverOptions& /*options*/) {
  RequireSource();
  Mover& mover = TheMover();
  if (!mover.Prepared()) {
    throw Error(ErrorKind::kMismatch,
                "the copy is not done and checked yet; go on with: understudy migrate sync");
  }
  const auto old = Old();
  const auto pending = [&] {
    return SqliteCapture(*old).LastLogId() - Mover::State(mover.session()).last_replayed;
  };
  // A unit that ends in the middle of a transaction may leave what is to be looked at again.
  const auto behind = [&] { return pending() > kFewKeys || !mover.Prepared(); };
  for (int unit = 0; unit < kLastUnits && behind(); ++unit) {
    context_.ThrowIfStopped();
    SyncStep({spec_.limits.chunk_rows, spec_.limits.chunk_bytes});
  }
  const auto started = SteadyClock::now();
  std::int64_t keys = 0;
  {
    db::Transaction transaction(*old, db::Isolation::kDefault, false, /*immediate=*/true);
    context_.At("drain.locked");
    SqliteCapture capture(*old);
    RequireRecording(capture);
    keys = mover.ReplayAll();
    if (capture.Mark() == SqliteMark::kRecording) {
      capture.StartDraining(old_schema_.tables);
      mover.ExpectDrained(old->Scalar("PRAGMA main.schema_version").AsInteger());
      context_.At("drain.before_commit", {{"keys", keys}});
      transaction.Commit();
    }
  }
  mover.MarkDrained();
  context_.At("drain.after_commit", {{"keys", keys}});
  context_.Log("info", "drained: " + std::to_string(keys) + " keys replayed in " +
                           std::to_string(static_cast<std::int64_t>(MillisecondsSince(started))) +
                           " ms; the old file refuses writes until the cutover, or until "
                           "understudy migrate reset");
  for (const std::string& line : Mover::NotCompared(move_)) context_.Log("info", line);
  KeepMapping(mover.session());
}

// The mapping of keys goes with the cutover; what it was stays beside the new file.
void HotCopy::KeepMapping(db::Session& session) const {
  if (session.Scalar("SELECT count(*) FROM main._id_mapping").AsInteger() == 0) return;
  const fs::path file = target_.file().string() + ".id-mapping.jsonl";
  std::ofstream out(file, std::ios::trunc);
  session.ForEachRow(
      "SELECT table_name, old_id, new_id, typeof(old_id) FROM main._id_mapping ORDER BY "
      "table_name, "
      "old_id",
      {}, [&](const db::Row& row) {
        out << ToLine({{"table_name", row[0].text},
                       {"old_id", row[1].ToJson()},
                       {"old_storage", row[3].text},
                       {"new_id", row[2].ToJson()}})
            << "\n";
      });
  out.close();
  const int written = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const bool kept = out && written >= 0 && ::fsync(written) == 0;
  if (written >= 0) ::close(written);
  if (!kept) throw Error(ErrorKind::kEnvironment, "cannot write " + file.string(), "ENOSPC");
  context_.Log("info", "the mapping of keys is kept in " + file.string());
}

void HotCopy::Cutover(const core::CutoverOptions& /*options*/) {
  RequireSource();
  mover_.reset();
  const auto session = New();
  if (NewStatus(*session) == "ready") return;
  Work();
  const auto old = Old();
  // The one commit that counts, and everything written before it, reach the disk: in WAL mode the
  // latter by the commit that sets that mode.
  session->Execute("PRAGMA main.synchronous = FULL");
  if (old->Scalar("PRAGMA main.journal_mode").text == "wal") {
    session->Query("PRAGMA main.journal_mode = WAL");
  }
  db::Transaction held(*old, db::Isolation::kDefault, false, /*immediate=*/true);
  context_.At("cutover.locked");
  SqliteCapture capture(*old);
  if (capture.Mark() != SqliteMark::kDraining && !Sabotaged("hot-copy-trusts-the-mark")) {
    throw Error(ErrorKind::kMismatch, "the old file is " + std::string(MarkName(capture.Mark())) +
                                          ", not draining; run: understudy migrate drain");
  }
  db::Transaction transaction(*session, db::Isolation::kDefault, false, /*immediate=*/true);
  CheckEpoch(*session);
  const auto recording =
      session->Scalar("SELECT recording FROM main._understudy_move WHERE id = 0");
  if (capture.Target() != target_.file().string() || capture.Recording() != recording.TextOr("")) {
    throw Error(ErrorKind::kMismatch,
                "replay divergence: the old file does not record for this new file any more; give "
                "the migration up with: understudy migrate reset");
  }
  if (Mover::WrittenBeforeThisBoot(*session)) {
    throw Error(ErrorKind::kMismatch,
                "the machine was started anew since the drain, and the new file may have lost what "
                "was written last. The old file is whole, and takes writes again after: understudy "
                "migrate reset");
  }
  const MoveState state = Mover::State(*session);
  if (!state.drain_completed) {
    throw Error(ErrorKind::kMismatch, "the drain is not complete; run: understudy migrate drain");
  }
  if (const std::int64_t last = capture.LastLogId();
      last > state.last_replayed && !Sabotaged("hot-copy-trusts-the-log")) {
    throw Error(ErrorKind::kMismatch, "replay divergence: the log of the old file goes to entry " +
                                          std::to_string(last) + ", and only " +
                                          std::to_string(state.last_replayed) +
                                          " were replayed; run: understudy migrate drain");
  }
  const db::Result known = session->Query(
      "SELECT old_hash, old_version, drained_version FROM main._understudy_move WHERE id = 0");
  if (known.rows[0][0].TextOr("") != Mover::OldSchemaHash(*old, "main")) {
    throw Error(ErrorKind::kMismatch,
                "replay divergence: the schema of the old file was changed after the drain; give "
                "the migration up with: understudy migrate reset");
  }
  if (const std::string missing =
          capture::SqliteMissingTrigger(*old, "main", Mover::Triggers(move_, /*drained=*/true));
      !missing.empty()) {
    throw Error(ErrorKind::kMismatch,
                "replay divergence: after the drain the old file lost the trigger of \"" + missing +
                    "\", so that it may have been written; give the migration up with: understudy "
                    "migrate reset");
  }
  const std::int64_t version = old->Scalar("PRAGMA main.schema_version").AsInteger();
  if (state.stage != "replay" ||
      (version != known.rows[0][1].AsInteger() && version != known.rows[0][2].AsInteger())) {
    throw Error(ErrorKind::kMismatch,
                "replay divergence: the old file's schema was written anew after the drain, as by "
                "VACUUM; compare the rows again with: understudy migrate sync");
  }
  for (const catalog::SqliteTrigger& trigger : evaluated_.schema.triggers) {
    const bool there =
        session
            ->Scalar("SELECT count(*) FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1",
                     {Value::Text(trigger.name)})
            .AsInteger() > 0;
    if (!there) session->Execute(trigger.sql);
  }
  session->Execute("DROP TABLE IF EXISTS main._id_mapping");
  session->Execute("DROP TABLE IF EXISTS main._migration_progress");
  const db::Result ours = session->Query(
      "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND (name IN "
      "('_understudy_move', '_understudy_tables', '_understudy_seeds') OR name LIKE "
      "'\\_understudy\\_seed\\_%' ESCAPE '\\')");
  for (const db::Row& row : ours.rows) {
    session->Execute("DROP TABLE main." + QuoteIdentifier(row[0].text));
  }
  SqliteSchema made = catalog::ReadSqliteSchema(*session);
  made.seeds = evaluated_.schema.seeds;
  if (made.Hash() != evaluated_.schema.Hash()) {
    throw Error(ErrorKind::kMismatch, "the new file has not the schema of " +
                                          schema_file_.string() +
                                          "; give the migration up with: understudy migrate reset");
  }
  session->Execute("UPDATE main._migration_status SET status = 'ready' WHERE id = 0");
  context_.At("cutover.before_commit");
  transaction.Commit();
  context_.At("cutover.after_commit");
}

core::VerifyResult HotCopy::Verify() {
  core::VerifyResult result;
  const auto session = New();
  const auto finding = [&](std::string text) {
    result.ok = false;
    result.findings.push_back(std::move(text));
  };
  if (NewStatus(*session) != "ready") finding("the new file is not ready");
  const db::Result integrity = session->Query("PRAGMA main.integrity_check(10)");
  if (integrity.rows.empty() || integrity.rows[0][0].text != "ok") {
    finding("integrity_check: " +
            (integrity.rows.empty() ? "no answer" : integrity.rows[0][0].text));
  }
  for (const db::Row& row :
       session
           ->Query("SELECT \"table\", rowid, parent FROM pragma_foreign_key_check(NULL, 'main') "
                   "LIMIT 10")
           .rows) {
    finding("a row of " + DisplayIdentifier(row[0].text) + " (rowid " + row[1].TextOr("?") +
            ") refers to no row of " + DisplayIdentifier(row[2].text));
  }
  SqliteSchema made = catalog::ReadSqliteSchema(*session);
  made.seeds = evaluated_.schema.seeds;
  if (made.Hash() != evaluated_.schema.Hash())
    finding("the schema is not the one that was asked for");
  if (HasSource()) {
    const auto old = Old(true);
    if (!SqliteCapture(*old).RefusesWrites()) finding("the old file takes writes");
  } else {
    result.not_checked.push_back("the old file: it is not there any more");
  }
  result.not_checked.push_back(
      "rows against the old file: the new one is in service, and may have been written since");
  return result;
}

// How the tables of the two files differ in numbers: what going back would lose.
std::string HotCopy::SinceCutover() {
  Work();
  const auto session = New();
  session->Query("ATTACH ?1 AS old", {Value::Text(Source().file().string())});
  std::string lines;
  for (const TableWork& work : move_.tables) {
    std::string line;
    if (work.mapped) {
      line = session->Scalar("SELECT count(*) FROM " + work.New()).text + " rows now, " +
             session->Scalar("SELECT count(*) FROM " + work.Old()).text + " in the old file";
    } else {
      const auto count = [&](const std::string& sql) { return session->Scalar(sql).AsInteger(); };
      bool plain = true;
      for (const Referred& parent : work.translators) plain = plain && parent.empty();
      for (const TableWork::Compared& one : work.compared) {
        plain = plain && one.expression.find("_id_mapping") == std::string::npos;
      }
      if (!plain) continue;
      const std::int64_t added =
          count("SELECT count(*) FROM " + work.New() + " n WHERE NOT EXISTS (SELECT 1 FROM " +
                work.Old() + " o WHERE " + work.IsImage() + ")");
      const std::int64_t gone =
          count("SELECT count(*) FROM " + work.Old() + " o WHERE NOT EXISTS (SELECT 1 FROM " +
                work.New() + " n WHERE " + work.IsImage() + ")");
      const std::int64_t changed =
          count("SELECT count(*) FROM " + work.Old() + " o CROSS JOIN " + work.New() + " n ON " +
                work.IsImage() + " WHERE NOT (" + work.Matches() + ")");
      if (added + gone + changed == 0) continue;
      line = std::to_string(added) + " inserted, " + std::to_string(changed) + " changed, " +
             std::to_string(gone) + " deleted";
    }
    lines += "\n  " + DisplayIdentifier(work.to->name) + ": " + line;
  }
  return lines.empty() ? "\n  nothing that a comparison by rows can see" : lines;
}

void HotCopy::Rollback(const core::RollbackOptions& /*options*/) {
  if (WhoOwns() != core::Owner::kNew) {
    throw Error(ErrorKind::kUnsupported,
                "there is nothing to roll back: the old file is in service; give up what was begun "
                "with: understudy migrate reset");
  }
  std::string message =
      "the new file has been in service, and understudy does not carry its writes back. ";
  if (!HasSource()) {
    throw Error(ErrorKind::kUnsupported, message + "The old file is not where it was",
                "no-way-back");
  }
  message += "The old file is whole: " + Source().file().string() +
             ". To serve it again: stop the application, drop its triggers whose names begin with "
             "_understudy_refuse_ (they refuse writes) and with _migration_on_, point the "
             "application at it. What was written to the new file since, and would be lost:" +
             SinceCutover();
  throw Error(ErrorKind::kUnsupported, message, "no-way-back");
}

std::vector<std::string> HotCopy::Cleanup(bool dry_run) {
  if (!HasSource() && SourceIsAmbiguous(spec_)) {
    throw Error(ErrorKind::kUnsupported, WhyNoSource(spec_) + "; nothing was changed");
  }
  if (!HasSource()) return {"the old file is not there: nothing to take out of it"};
  const auto old = Old();
  db::Transaction transaction(*old, db::Isolation::kDefault, false, /*immediate=*/true);
  SqliteCapture capture(*old);
  const SqliteMark before = capture.Mark();
  if (before == SqliteMark::kRecording) {
    throw Error(ErrorKind::kUnsupported,
                "the old file is recording: a migration is under way; finish it with: understudy "
                "migrate cutover, or give it up with: understudy migrate reset");
  }
  std::vector<std::string> lines;
  for (const std::string& line : capture.Remove(/*refusals_stay=*/true, dry_run)) {
    lines.push_back((dry_run ? "would take out of the old file: " : "taken out of the old file: ") +
                    line);
  }
  if (lines.empty()) lines.push_back("the old file holds nothing of the migration");
  lines.push_back("mark before: " + std::string(MarkName(before)) +
                  "; writes to the old file stay refused");
  if (!dry_run) transaction.Commit();
  return lines;
}

std::vector<std::string> HotCopy::Reset(bool dry_run) {
  mover_.reset();
  log_session_.reset();
  if (!HasSource() && SourceIsAmbiguous(spec_)) {
    throw Error(ErrorKind::kUnsupported, WhyNoSource(spec_) + "; nothing was changed");
  }
  std::vector<fs::path> files{target_.file()};
  std::vector<std::string> lines;
  const std::string verb = dry_run ? "would remove" : "removed";
  std::unique_ptr<db::Session> old;
  std::unique_ptr<db::Transaction> held;  // no cutover commits meanwhile: it needs this lock
  std::unique_ptr<core::MigrationLock> lock;
  bool is_anothers = false;
  if (HasSource()) {
    old = Old();
    held = std::make_unique<db::Transaction>(*old, db::Isolation::kDefault, false,
                                             /*immediate=*/true);
    const std::string recorded = SqliteCapture(*old).Target();
    if (!recorded.empty() && recorded != target_.file().string()) {
      // What was copied into our new file is given up, and not what another migration records. But
      // a schema that was edited meanwhile names another new file: then that is given up.
      is_anothers = Exists(target_) && Mover::IsBuilt(*New());
      if (!is_anothers) {
        files.emplace_back(recorded);
        if (Exists(db::Endpoint::Sqlite(recorded))) {
          lock = std::make_unique<core::MigrationLock>(db::Endpoint::Sqlite(recorded), spec_.id);
        }
      }
    }
  }
  for (const fs::path& file : files) {
    const db::Endpoint endpoint = db::Endpoint::Sqlite(file);
    if (!Exists(endpoint)) continue;
    const auto session = db::Connect(endpoint, {.application_name = kApplication});
    if (NewStatus(*session) == "ready") {
      throw Error(ErrorKind::kUnsupported,
                  file.string() +
                      " is ready and may be in service: it is not removed; nothing was "
                      "changed");
    }
    if (NewStatus(*session).empty() && HasForeignTables(*session)) {
      throw Error(ErrorKind::kUnsupported, file.string() +
                                               " is there and is no migration's: it is not "
                                               "removed; nothing was changed");
    }
  }
  if (is_anothers) {
    lines.push_back("the old file is left alone: it " + IsAnothers(*old));
  } else if (old) {
    for (const std::string& line : SqliteCapture(*old).Remove(/*refusals_stay=*/false, dry_run)) {
      lines.push_back(verb + " from the old file: " + line);
    }
    // SQLite keeps it once a table had AUTOINCREMENT, as the log has, and lets nobody drop it.
    if (!lines.empty() && HasTable(*old, "sqlite_sequence") &&
        std::ranges::none_of(catalog::ReadSqliteSchema(*old).tables, &SqliteTable::autoincrement)) {
      lines.push_back("stays in the old file: an empty table sqlite_sequence, SQLite's own");
    }
    if (!dry_run) held->Commit();
  } else {
    lines.push_back("the old file is not there: " + (spec_.endpoints.contains("source")
                                                         ? Source().file().string()
                                                         : WhyNoSource(spec_)));
  }
  for (const fs::path& file : files) {
    const db::Endpoint endpoint = db::Endpoint::Sqlite(file);
    if (!Exists(endpoint)) continue;
    const std::string status =
        NewStatus(*db::Connect(endpoint, {.application_name = kApplication}));
    if (status == "ready") continue;  // it cannot be, and would be in service
    if (file != target_.file() && status.empty()) continue;  // not ours, whatever its name
    lines.push_back(verb + " the new file " + file.string() + " (" +
                    (status.empty() ? "not filled" : status) + ")");
    if (!dry_run) RemoveSqliteFile(file);
  }
  std::error_code ignored;
  const fs::path mapping = target_.file().string() + ".id-mapping.jsonl";
  if (fs::exists(mapping, ignored)) {
    lines.push_back(verb + " " + mapping.string());
    if (!dry_run) fs::remove(mapping, ignored);
  }
  if (lines.empty())
    lines.push_back("nothing to reset: neither file holds anything of a migration");
  return lines;
}

core::StrategyStatus HotCopy::Status() {
  core::StrategyStatus status;
  std::string old_text;
  std::int64_t last = 0;
  SqliteMark mark = SqliteMark::kNone;
  if (HasSource()) {
    const auto old = Old(true);
    SqliteCapture capture(*old);
    mark = capture.Mark();
    last = capture.LastLogId();
    old_text = "old " + Source().file().filename().string() + ": marker " +
               std::string(MarkName(mark)) +
               (mark == SqliteMark::kNone
                    ? ""
                    : ", " + old->Scalar("SELECT count(*) FROM main._migration_log").text +
                          " log entries") +
               (mark != SqliteMark::kNone && capture.Target() != target_.file().string()
                    ? ", for another new file: " + capture.Target()
                    : "") +
               (capture.RefusesWrites() ? ", writes refused" : "");
  } else {
    old_text = "old: n/a (" +
               (spec_.endpoints.contains("source") ? "not there: " + Source().file().string()
                                                   : WhyNoSource(spec_)) +
               ")";
    status.blocking.push_back("the old file is not there");
  }
  std::string new_text = "new " + target_.file().filename().string() + ": ";
  if (!Exists(target_)) {
    new_text += "not there yet";
  } else {
    const auto session = New();
    const std::string state = NewStatus(*session);
    const MoveState move = Mover::State(*session);
    status.rows_done = move.rows_done;
    if (!move.stage.empty()) status.rows_total = move.rows_total;
    new_text += state.empty() ? "no migration's" : state;
    if (IsRetired(*session)) {
      status.blocking.push_back("the new file was retired by an earlier cutover");
      new_text += ", retired by a later cutover: it refuses writes";
    } else if (state == "ready") {
      status.in_service = core::Owner::kNew;
      status.blocking.clear();
      status.finished = true;
      new_text +=
          ", _id_mapping and _migration_progress " +
          std::string(HasTable(*session, "_id_mapping") || HasTable(*session, "_migration_progress")
                          ? "present"
                          : "removed");
    } else if (!move.stage.empty()) {
      status.pending_writes = std::max<std::int64_t>(0, last - move.last_replayed);
      if (HasSource() && mark == SqliteMark::kNone &&
          session->Scalar("SELECT count(old_hash) FROM main._understudy_move").AsInteger() > 0) {
        status.blocking.push_back(
            "the old file records nothing any more; give up what was begun with: understudy "
            "migrate "
            "reset");
      }
      const bool copying = move.stage == "seeds" || move.stage == "copy" || move.stage == "indexes";
      if (copying) status.next = "migrate prepare";  // and not the drain of a file that is copied
      new_text += ", stage " + move.stage + ", replayed to " + std::to_string(move.last_replayed) +
                  ", drain " + (move.drain_completed ? "completed" : "not completed") + ", " +
                  session->Scalar("SELECT count(*) FROM main._id_mapping").text + " mapped keys";
      if (move.longest_hold_ms) {
        new_text +=
            ", old file held for at most " + std::to_string(*move.longest_hold_ms) + " ms at once";
      }
    }
    if (HasTable(*session, "_schema_identity")) {
      const db::Result identity = session->Query(
          "SELECT schema_hash, schema_commit FROM main._schema_identity WHERE id = 0");
      if (!identity.rows.empty()) {
        new_text += ", schema " + identity.rows[0][0].text +
                    (identity.rows[0][1].is_null() ? "" : " of commit " + identity.rows[0][1].text);
      }
    }
  }
  status.detail = old_text + "; " + new_text;
  return status;
}

}  // namespace

std::filesystem::path Init(const core::Spec& spec) {
  const db::Endpoint& target = spec.Target();
  if (spec.endpoints.contains("source") && Exists(spec.Endpoint("source"))) {
    throw Error(ErrorKind::kUnsupported,
                "there is a database already: " + spec.Endpoint("source").file().string() +
                    "; migrate it with: understudy migrate plan");
  }
  if (Exists(target)) {
    throw Error(ErrorKind::kUnsupported, "it is there already: " + target.file().string());
  }
  const fs::path schema_file = SchemaFile(spec);
  const catalog::EvaluatedSqliteSchema evaluated =
      catalog::EvaluateSqliteSchema(ReadFile(schema_file), schema_file.string());
  // Under another name until it is whole.
  const fs::path unfinished = target.file().string() + ".understudy-new";
  RemoveSqliteFile(unfinished);
  {
    const auto session = db::Connect(db::Endpoint::Sqlite(unfinished),
                                     {.application_name = kApplication, .create = true});
    db::Transaction transaction(*session, db::Isolation::kDefault, false, /*immediate=*/true);
    Mover::Build(*session, evaluated.schema, *evaluated.memory, SchemaCommit(schema_file), {});
    for (const SqliteTable& table : evaluated.schema.tables) {
      for (const catalog::SqliteIndex& index : table.indexes) {
        if (!index.unique && !index.sql.empty()) session->Execute(index.sql);
      }
    }
    for (const catalog::SqliteTrigger& trigger : evaluated.schema.triggers) {
      session->Execute(trigger.sql);
    }
    for (const char* table : {"_id_mapping", "_migration_progress", "_understudy_move",
                              "_understudy_tables", "_understudy_seeds"}) {
      session->Execute("DROP TABLE main." + std::string(table));
    }
    session->Execute("UPDATE main._migration_status SET status = 'ready'");
    transaction.Commit();
  }
  fs::rename(unfinished, target.file());
  return target.file();
}

core::StrategyInfo Strategy() {
  return {.name = "hot-copy",
          .endpoint_keys = {"source", "target"},
          .required = {},
          .optional = {"dir", "source", "schema", "target", "triggers_on_replay", "columns"},
          .make = [](core::Context& context) { return std::make_unique<HotCopy>(context); },
          .resolve = Resolve,
          .makes_target = true};
}

}  // namespace understudy::hot_copy
