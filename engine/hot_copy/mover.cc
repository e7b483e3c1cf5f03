#include "engine/hot_copy/mover.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/owner.h"
#include "engine/base/sabotage.h"
#include "engine/capture/sqlite_capture.h"
#include "engine/db/identifier.h"

namespace understudy::hot_copy {
namespace {
using catalog::SqliteColumn;
using catalog::SqliteIndex;
using catalog::SqliteTable;
using db::DisplayIdentifier;
using db::QuoteIdentifier;
using db::QuoteLiteral;
using db::Value;

// A reader of a rollback-journal file keeps every writer from committing while it reads.
constexpr double kLongestReadMs = 50;
constexpr double kWantedReadMs = 20;
constexpr std::int64_t kMostRows = 1'000'000;
// Keys that one unit replays while the copy goes on. A replay has its costs whatever it is of:
// fewer would never keep up with the writers. They are more where a whole table is read each time.
constexpr std::int64_t kFewestTailKeys = 20;
constexpr std::int64_t kFewestTailKeysWithoutIndex = 500;
constexpr std::int64_t kMostTailKeys = 50000;
// A unit that was planned too large by so much is given back.
constexpr std::int64_t kTooManyBytes = 2;
// Left for the drain, whose window is closed to writers: some milliseconds of work.
constexpr std::int64_t kLittleKeys = 2000;
// Between the highest key there is and the one that a row gets which gave way to a seed: rows that
// the application inserts meanwhile keep their keys, too.
constexpr std::int64_t kHeadroom = 1000;
// Of each file while writers wait: asking for every page is a good part of what reading costs.
constexpr std::int64_t kMapped = std::int64_t{2} << 30;

std::string Joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += (all.empty() ? "" : ", ") + part;
  return all;
}

// Beyond the last row of the old table, a comparison goes back over the new one.
constexpr std::string_view kBack = "new:";
// A count of so many rows is a matter of milliseconds.
constexpr std::int64_t kCountedAtOnce = 20000;

// Rowids go over as they are: a range of the one table is the same range of the other.
bool IsPlain(const TableWork& work) {
  return work.by_integer() && !work.mapped && !work.seeded && work.refers.empty() &&
         work.new_key.size() == 1 && work.new_key[0] == work.new_rowid &&
         work.translators[0].empty();
}

// One statement brings a row to what it is now: its rowid is all that it can meet another row by.
bool IsUpserted(const TableWork& work) {
  return work.by_integer() && !work.mapped && work.new_key.size() == 1 &&
         work.new_key[0] == work.new_rowid && work.translators[0].empty() &&
         std::ranges::none_of(work.to->indexes, &SqliteIndex::unique);
}

bool IsDeferred(const SqliteIndex& index) { return !index.unique && !index.sql.empty(); }

// Not where an older build has begun the migration.
bool HasColumn(db::Session& session, const char* name) {
  return session
             .Scalar(
                 "SELECT count(*) FROM pragma_table_info('_understudy_move', 'main') WHERE name = "
                 "?1",
                 {Value::Text(name)})
             .AsInteger() > 0;
}

// "CREATE INDEX x ON …" goes to main, where the session has nothing else of that name.
void Run(db::Session& session, const std::string& sql) { session.Execute(sql); }

}  // namespace

Mover::Mover(const Move& move, Hooks hooks) : move_(move), hooks_(std::move(hooks)) {
  session_ = db::Connect(move_.new_file, {.application_name = "understudy-engine mover",
                                          .lock_timeout = std::chrono::seconds(5),
                                          .insistent = true});
  // A kill loses nothing; what a machine that fails leaves of the file is read once more
  // (CheckBoot). The cutover itself is synced, and the whole file with it; but for one in WAL mode
  // (a cutover failed), which a checkpoint has written to before.
  const bool new_is_wal = session_->Scalar("PRAGMA main.journal_mode").text == "wal";
  session_->Execute(std::string("PRAGMA main.synchronous = ") + (new_is_wal ? "NORMAL" : "OFF"));
  // A journal that stays keeps its blocks from one unit to the next, and its commits write over
  // them; the cutover's commit, of another session, removes it.
  if (!new_is_wal) session_->Query("PRAGMA main.journal_mode = PERSIST");
  session_->Execute("PRAGMA main.journal_size_limit = 67108864");
  session_->Execute("PRAGMA temp_store = MEMORY");
  session_->Execute("PRAGMA main.cache_size = -65536");
  session_->Query("ATTACH ?1 AS old", {Value::Text(move_.old_file.string())});
  wal_ = OldIsWal();
  page_bytes_ = session_->Scalar("PRAGMA old.page_size").AsInteger();
  for (const TableWork& work : move_.tables) {
    // Whole numbers sorted and each once: every statement that looks for them finds them so.
    std::string columns = work.by_integer() ? "k0 INTEGER PRIMARY KEY, id" : "k0, id";
    for (std::size_t i = 1; i < work.key.size(); ++i) columns += ", k" + std::to_string(i);
    session_->Execute("CREATE TEMP TABLE dirty_" + std::to_string(work.number) + "(" + columns +
                      ")");
  }
  references_ = std::make_unique<TouchedReferences>(*session_, *move_.new_schema);
  const bool indexed = std::ranges::all_of(move_.tables, &TableWork::key_is_indexed) &&
                       ReferencesWithoutIndex(*move_.new_schema).empty();
  fewest_tail_keys_ = indexed ? kFewestTailKeys : kFewestTailKeysWithoutIndex;
}

bool Mover::OldIsWal() { return session_->Scalar("PRAGMA old.journal_mode").text == "wal"; }

bool Mover::IsBuilt(db::Session& session) {
  return session
             .Scalar(
                 "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name IN "
                 "('_migration_status', '_schema_identity')")
             .AsInteger() == 2;
}

void Mover::Build(db::Session& session, const catalog::SqliteSchema& schema, db::Session& memory,
                  const std::string& schema_commit, const std::vector<TableWork>& tables) {
  for (const SqliteTable& table : schema.tables) Run(session, table.sql);
  session.Execute(
      "CREATE TABLE main._understudy_seeds(table_name TEXT, id, PRIMARY KEY(table_name, id)) "
      "WITHOUT ROWID");
  for (const SqliteTable& table : schema.tables) {
    std::vector<std::string> columns;
    if (table.RowidAlias().empty() && !table.RowidName().empty()) {
      columns.push_back(table.RowidName());
    }
    for (const SqliteColumn& column : table.columns) {
      if (column.generated == SqliteColumn::Generated::kNo) {
        columns.push_back(QuoteIdentifier(column.name));
      }
    }
    std::string places;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      places += (i == 0 ? "?" : ", ?") + std::to_string(i + 1);
    }
    const std::string name = QuoteIdentifier(table.name);
    const std::string insert =
        "INSERT INTO main." + name + "(" + Joined(columns) + ") VALUES (" + places + ")";
    memory.ForEachRow("SELECT " + Joined(columns) + " FROM main." + name, {},
                      [&](const db::Row& row) { session.Query(insert, row); });
    const std::string rowid = table.RowidAlias().empty() ? table.RowidName() : table.RowidAlias();
    if (!rowid.empty()) {
      session.Execute("INSERT INTO main._understudy_seeds SELECT " + QuoteLiteral(table.name) +
                      ", " + QuoteIdentifier(rowid) + " FROM main." + name);
    }
    for (const TableWork& work : tables) {
      if (work.to->name != table.name || !work.seeded) continue;
      session.Execute("CREATE TABLE main._understudy_seed_" + std::to_string(work.number) +
                      " AS SELECT * FROM main." + name);
    }
    for (const SqliteIndex& index : table.indexes) {
      if (!index.sql.empty() && !IsDeferred(index)) Run(session, index.sql);
    }
  }
  const std::int64_t sequences =
      memory.Scalar("SELECT count(*) FROM main.sqlite_schema WHERE name = 'sqlite_sequence'")
          .AsInteger();
  if (sequences > 0) {
    const db::Result marks = memory.Query("SELECT name, seq FROM main.sqlite_sequence");
    for (const db::Row& mark : marks.rows) {
      session.Query("DELETE FROM main.sqlite_sequence WHERE name = ?1", {mark[0]});
      session.Query("INSERT INTO main.sqlite_sequence(name, seq) VALUES (?1, ?2)", mark);
    }
  }
  for (const char* pragma : {"user_version", "application_id"}) {
    const std::string value = memory.Scalar("PRAGMA main." + std::string(pragma)).text;
    session.Execute("PRAGMA main." + std::string(pragma) + " = " + value);
  }
  for (const catalog::SqliteView& view : schema.views) Run(session, view.sql);
  session.Execute(R"(
    CREATE TABLE main._id_mapping(
      table_name TEXT NOT NULL, old_id, new_id, PRIMARY KEY (table_name, old_id)) WITHOUT ROWID;
    CREATE INDEX main._id_mapping_new ON _id_mapping(table_name, new_id);
    CREATE TABLE main._migration_status(id INTEGER PRIMARY KEY CHECK (id = 0), status TEXT NOT NULL);
    INSERT INTO main._migration_status VALUES (0, 'migrating');
    CREATE TABLE main._migration_progress(
      id INTEGER PRIMARY KEY CHECK (id = 0), last_replayed_log_id INTEGER NOT NULL,
      drain_completed INTEGER NOT NULL);
    INSERT INTO main._migration_progress VALUES (0, 0, 0);
    CREATE TABLE main._schema_identity(
      id INTEGER PRIMARY KEY CHECK (id = 0), schema_hash TEXT NOT NULL, schema_commit TEXT,
      created_utc TEXT NOT NULL);
    CREATE TABLE main._understudy_move(
      id INTEGER PRIMARY KEY CHECK (id = 0), stage TEXT NOT NULL, recording TEXT, old_hash TEXT,
      old_version INT, drained_version INT, longest_hold_ms INT, boot TEXT);
    INSERT INTO main._understudy_move(id, stage) VALUES (0, 'seeds');
    CREATE TABLE main._understudy_tables(
      table_name TEXT PRIMARY KEY, position TEXT NOT NULL, done INT NOT NULL, verified TEXT NOT NULL,
      verify_done INT NOT NULL, rows INT NOT NULL, rows_total INT NOT NULL) WITHOUT ROWID;
  )");
  session.Query("UPDATE main._understudy_move SET boot = ?1", {Value::Text(ThisBoot())});
  session.Query(
      "INSERT INTO main._schema_identity VALUES (0, ?1, ?2, ?3)",
      {Value::Text(schema.Hash()),
       schema_commit.empty() ? Value::Null() : Value::Text(schema_commit), Value::Text(UtcNow())});
  for (const TableWork& work : tables) {
    session.Query("INSERT INTO main._understudy_tables VALUES (?1, '', 0, '', 0, 0, 0)",
                  {Value::Text(work.to->name)});
  }
}

MoveState Mover::State(db::Session& session) {
  MoveState state;
  const auto has = [&](const char* table) {
    return session
               .Scalar("SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = ?1",
                       {Value::Text(table)})
               .AsInteger() > 0;
  };
  if (has("_understudy_move")) {
    const db::Result move =
        session.Query(std::string("SELECT stage, ") +
                      (HasColumn(session, "longest_hold_ms") ? "longest_hold_ms" : "NULL") +
                      " FROM main._understudy_move WHERE id = 0");
    if (!move.rows.empty()) {
      state.stage = move.rows[0][0].text;
      if (!move.rows[0][1].is_null()) state.longest_hold_ms = move.rows[0][1].AsInteger();
    }
  }
  if (has("_understudy_tables")) {
    const db::Result result = session.Query(
        "SELECT coalesce(sum(rows), 0), coalesce(sum(CASE WHEN done THEN rows ELSE max(rows, "
        "rows_total) END), 0) FROM main._understudy_tables");
    state.rows_done = result.rows[0][0].AsInteger();
    state.rows_total = result.rows[0][1].AsInteger();
  }
  if (has("_migration_progress")) {
    const db::Result result = session.Query(
        "SELECT last_replayed_log_id, drain_completed FROM main._migration_progress WHERE id = 0");
    if (!result.rows.empty()) {
      state.last_replayed = result.rows[0][0].AsInteger();
      state.drain_completed = result.rows[0][1].AsBool();
    }
  }
  return state;
}

void Mover::Begin() {
  session_->Begin();
  hooks_.check(*session_);
  Load();
  // The first read waits for a writer; from then on writers wait for us.
  session_->Scalar("SELECT count(*) FROM old.sqlite_schema");
  held_since_ = SteadyClock::now();
  holding_ = true;
  CheckRecording();
  const bool first = old_version_ < 0;  // the machine does not start anew under us
  CheckOldSchema();
  if (first) CheckBoot();
}

bool Mover::WrittenBeforeThisBoot(db::Session& session) {
  if (!HasColumn(session, "boot")) return false;
  return session.Scalar("SELECT boot FROM main._understudy_move WHERE id = 0").TextOr("") !=
         ThisBoot();
}

// The new file is not synced while it is filled: what a machine that failed has left of it is
// compared with the old one anew, and its pages are checked behind that.
void Mover::CheckBoot() {
  if (!WrittenBeforeThisBoot(*session_)) return;
  if (move_.triggers_on_replay && (stage_ == "replay" || stage_ == "recheck")) {
    throw Error(ErrorKind::kMismatch,
                "the machine was started anew, and the new file may have lost what was written "
                "last; rows that its triggers have changed cannot be compared once more. "
                "Production is unchanged; give the copy up with: understudy migrate reset");
  }
  CompareAnew();
  session_->Query("UPDATE main._understudy_move SET boot = ?1", {Value::Text(ThisBoot())});
}

void Mover::CompareAnew() {
  session_->Execute("UPDATE main._understudy_tables SET verified = '', verify_done = 0");
  // Rows that the new table's triggers have changed since are no copies any more.
  const bool filled = stage_ == "replay" || stage_ == "recheck";
  if (stage_ == "check" || (filled && !move_.triggers_on_replay)) SetStage("verify");
  Load();
}

// The log must be the one that this copy rests on, from its first entry: another migration may have
// taken the old file over, or somebody put a copy of it back.
void Mover::CheckRecording() {
  std::string why;
  const bool there =
      session_
          ->Scalar(
              "SELECT count(*) FROM old.sqlite_schema WHERE type = 'table' AND name IN "
              "('_migration_marker', '_migration_log', '_migration_txn')")
          .AsInteger() == 3;
  if (!there) {
    why = "it records nothing any more";
  } else {
    const db::Result is = session_->Query(
        "SELECT t.target, t.recording IS m.recording, coalesce((SELECT seq FROM "
        "old.sqlite_sequence WHERE name = '_migration_log'), 0) < p.last_replayed_log_id "
        "FROM main._understudy_move m CROSS JOIN main._migration_progress p LEFT JOIN "
        "old._migration_txn t ON t.id = 0 WHERE m.id = 0 AND p.id = 0");
    const db::Row& row = is.rows.at(0);
    const std::string target = row[0].TextOr("");
    if (target != move_.new_file.file().string()) {
      why = "it records for " + (target.empty() ? "nobody" : target);
    } else if (!row[1].AsBool()) {
      why = "its recording was begun anew";
    } else if (row[2].AsBool()) {
      why = "its log goes less far than what was replayed; was a copy of the file put back?";
    }
  }
  if (why.empty()) return;
  throw Error(ErrorKind::kMismatch,
              "the old file does not record for this new file any more: " + why +
                  ". What was written meanwhile may be missing. Production is unchanged; give the "
                  "copy up with: understudy migrate reset");
}

void Mover::Load() {
  const MoveState state = State(*session_);
  stage_ = state.stage;
  last_replayed_ = state.last_replayed;
  progress_.clear();
  for (const TableWork& work : move_.tables) {
    const db::Result result = session_->Query(
        "SELECT position, done, verified, verify_done, rows FROM main._understudy_tables "
        "WHERE table_name = ?1",
        {Value::Text(work.to->name)});
    if (result.rows.empty()) {
      throw Error(ErrorKind::kMismatch, "the new file knows nothing of the table " +
                                            DisplayIdentifier(work.to->name) +
                                            "; give it up with: understudy migrate reset");
    }
    const db::Row& row = result.rows[0];
    progress_.push_back({work.to->name, row[0].text, row[1].AsBool(), row[2].text, row[3].AsBool(),
                         row[4].AsInteger()});
  }
}

std::string Mover::OldSchemaHash(db::Session& session, const std::string& database) {
  std::string all;
  const db::Result objects =
      session.Query("SELECT name, sql FROM " + database +
                    ".sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name");
  for (const db::Row& row : objects.rows) {
    if (!catalog::IsReservedSqliteName(row[0].text)) all += row[1].text + ";\n";
  }
  return session.Scalar("SELECT understudy_hash(0, ?1)", {Value::Text(all)}).text;
}

std::vector<std::string> Mover::Triggers(const Move& move, bool drained) {
  std::vector<std::string> all;
  for (const TableWork& work : move.tables) {
    const auto triggers = capture::SqliteRecordingTriggers({work.from, work.key});
    all.insert(all.end(), triggers.begin(), triggers.end());
  }
  if (!drained) return all;
  for (const SqliteTable& table : move.old_schema->tables) {
    if (table.is_virtual) continue;
    const auto triggers = capture::SqliteRefusalTriggers(table);
    all.insert(all.end(), triggers.begin(), triggers.end());
  }
  return all;
}

// A change of the old schema is a write that no trigger sees: a table that was made anew has lost
// its triggers and may have other rows; VACUUM gives rows new rowids. Where schema and triggers are
// what they were, the rows are compared anew.
void Mover::CheckOldSchema() {
  const std::int64_t version = session_->Scalar("PRAGMA old.schema_version").AsInteger();
  if (version == old_version_) return;
  const std::string hash = OldSchemaHash(*session_, "old");
  const db::Result stored = session_->Query(
      "SELECT old_hash, old_version, drained_version FROM main._understudy_move WHERE id = 0");
  if (stored.rows[0][0].TextOr("") != hash) {
    throw Error(ErrorKind::kMismatch,
                "the schema of the old file was changed since the migration was begun; give it up "
                "with: understudy migrate reset, and begin anew");
  }
  const bool drained =
      session_->Scalar("SELECT status FROM old._migration_marker WHERE id = 0").TextOr("") ==
      "draining";
  if (const std::string missing =
          capture::SqliteMissingTrigger(*session_, "old", Triggers(move_, drained));
      !missing.empty()) {
    throw Error(ErrorKind::kMismatch,
                "the recording of writes to the old file was interrupted: it has no more the "
                "trigger of \"" +
                    missing +
                    "\"; was its table made anew? What was written meanwhile is not known. "
                    "Production is unchanged; give the copy up with: understudy migrate reset");
  }
  // The drain's own triggers are a change too.
  const bool ours = drained && stored.rows[0][2].AsInteger() == version;
  if (!ours && stored.rows[0][1].AsInteger() != version) {
    for (const TableWork& work : move_.tables) {
      const Progress& progress = progress_[static_cast<std::size_t>(work.number)];
      const bool by_rowid = work.from->RowidAlias().empty() && !work.from->without_rowid;
      const bool keyed_by_rowid = work.from->PrimaryKey().empty();
      const bool under_way = !progress.position.empty() && !progress.done;
      if (by_rowid && (keyed_by_rowid || under_way)) {
        throw Error(ErrorKind::kMismatch,
                    "the old file seems to have been vacuumed since the migration was begun: rows "
                    "of " +
                        DisplayIdentifier(work.from->name) +
                        ", which has no INTEGER PRIMARY KEY, may have other rowids now; give it up "
                        "with: understudy migrate reset, and begin anew");
      }
    }
    CompareAnew();
  }
  session_->Query("UPDATE main._understudy_move SET old_version = ?1", {Value::Integer(version)});
  old_version_ = version;
}

// What was learned in the transaction may be undone with it.
void Mover::GiveBack() {
  session_->Rollback();
  LetGo();
  old_version_ = -1;
}

void Mover::LetGo() {
  if (holding_ && !wal_) {
    longest_hold_ms_ = std::max(longest_hold_ms_, MillisecondsSince(held_since_));
  }
  holding_ = false;
}

void Mover::SetStage(const std::string& stage) {
  session_->Query("UPDATE main._understudy_move SET stage = ?1", {Value::Text(stage)});
  stage_ = stage;
}

void Mover::Commit(const char* before, const char* after, const std::string& table,
                   std::int64_t rows) {
  hooks_.at(before, table, rows);
  session_->Commit();
  LetGo();
  hooks_.at(after, table, rows);
}

std::string Mover::UpTo(const TableWork& work, const std::string& position) const {
  std::string left;
  std::string right;
  for (std::size_t i = 0; i < work.cursor.size(); ++i) {
    const std::string comma = i == 0 ? "" : ", ";
    left += comma + "o." + QuoteIdentifier(work.cursor[i]);
    right += comma + "understudy_key(" + QuoteLiteral(position) + ", " + std::to_string(i) + ")";
  }
  return work.cursor.size() == 1 ? left + " <= " + right : "(" + left + ") <= (" + right + ")";
}

std::string Mover::After(const TableWork& work, const std::string& position) const {
  if (position.empty()) return "1";
  std::string condition = UpTo(work, position);
  condition.replace(condition.find(" <= "), 4, " > ");
  return condition;
}

std::string Mover::Inside(const TableWork& work) const {
  const Progress& progress = progress_[static_cast<std::size_t>(work.number)];
  if (progress.done) return "1";
  if (progress.position.empty()) return "0";
  return UpTo(work, progress.position);
}

// The position of the row that ends a chunk of so many rows; "" when no row is left.
std::string Mover::PositionAfter(const TableWork& work, const std::string& position,
                                 std::int64_t rows) {
  std::string order;
  std::string back;
  for (const std::string& column : work.cursor) {
    order += (order.empty() ? "o." : ", o.") + QuoteIdentifier(column);
    back += (back.empty() ? "o." : ", o.") + QuoteIdentifier(column) + " DESC";
  }
  const std::string key = capture::SqliteKeySql(*work.from, work.cursor, "o");
  const std::string where = " FROM " + work.Old() + " o WHERE " + After(work, position);
  auto end = session_->MaybeScalar("SELECT " + key + where + " ORDER BY " + order +
                                   " LIMIT 1 OFFSET " + std::to_string(rows - 1));
  if (!end) end = session_->MaybeScalar("SELECT " + key + where + " ORDER BY " + back + " LIMIT 1");
  return end ? end->text : "";
}

// The dirty keys of one table in one stretch of the log.
void Mover::Fill(const TableWork& work, const Tail& tail) {
  session_->Execute("DELETE FROM " + work.Dirty());
  std::string columns;
  for (std::size_t i = 0; i < work.key.size(); ++i) {
    columns += (i == 0 ? "understudy_key(row_data, " : ", understudy_key(row_data, ") +
               std::to_string(i) + ") AS k" + std::to_string(i);
    if (i == 0 && work.key.size() > 1) columns += ", row_data";
  }
  const std::string read =
      " FROM old._migration_log WHERE id > ?1 AND id <= ?2 AND table_name = ?3";
  session_->Query(
      "INSERT OR IGNORE INTO " + work.Dirty() +
          (work.by_integer()      ? "(k0) SELECT " + columns + read
           : work.key.size() == 1 ? " SELECT k0, k0 FROM (SELECT DISTINCT " + columns + read + ")"
                                  : " SELECT DISTINCT " + columns + read),
      {Value::Integer(tail.from), Value::Integer(tail.to), Value::Text(work.from->name)});
  if (work.by_integer() && work.assigned)
    session_->Execute("UPDATE " + work.Dirty() + " SET id = k0");
}

// A key that is only written in another way (NOCASE) is still the one that other rows refer to.
void Mover::RespellKeys(const TableWork& work) {
  if (!work.assigned || work.key.size() > 1) return;
  const bool loose = std::ranges::any_of(work.from->indexes, [&](const SqliteIndex& index) {
    return index.unique && index.parts.size() == 1 && index.parts[0].column == work.key[0] &&
           index.parts[0].collation != "BINARY";
  });
  if (!loose) return;
  session_->Execute(
      "UPDATE OR IGNORE main._id_mapping SET old_id = q.now FROM (SELECT m.old_id AS was, o." +
      QuoteIdentifier(work.key[0]) + " AS now FROM " + work.Dirty() +
      " d CROSS JOIN main._id_mapping m ON m.table_name = " + work.Literal() +
      " AND m.old_id = d.id CROSS JOIN " + work.Old() + " o ON o." + QuoteIdentifier(work.key[0]) +
      " = +m.old_id) q WHERE table_name = " + work.Literal() +
      " AND old_id = q.was AND old_id <> q.now COLLATE BINARY");
}

// Gives new keys to the old keys of `rows` ("SELECT … AS k …") that have none yet.
void Mover::EnsureKeys(const TableWork& work, const std::string& rows) {
  const std::string table = work.Literal();
  session_->Execute(
      "INSERT INTO main._id_mapping(table_name, old_id, new_id) SELECT " + table +
      ", q.k, row_number() OVER () + max(coalesce((SELECT max(new_id) FROM main._id_mapping WHERE "
      "table_name = " +
      table +
      "), 0), coalesce((SELECT max(id) FROM main._understudy_seeds WHERE "
      "table_name = " +
      table + "), 0)) FROM (SELECT DISTINCT k FROM (" + rows +
      ") WHERE k IS NOT NULL) q WHERE NOT EXISTS (SELECT 1 FROM main._id_mapping m WHERE "
      "m.table_name = " +
      table + " AND m.old_id = +q.k)");
}

void Mover::EnsureReferred(const TableWork& work, const std::string& rows) {
  for (const auto& [parent, key] : work.refers) {
    for (const TableWork& other : move_.tables) {
      if (other.to->name != parent) continue;
      EnsureKeys(other, "SELECT " + key + " AS k FROM " + work.Old() + " o WHERE " + rows);
    }
  }
}

// Old rows beside the rows that the schema gives the new table. They are one row when they agree on
// another unique key, or, in a table without one, on every column and the key; else the seed keeps
// its key, and the old row gets another one. `rows`: a condition over `o`.
std::int64_t Mover::MatchSeeds(const TableWork& work, const std::string& rows) {
  if (!work.mapped || !work.seeded) return 0;
  std::int64_t found = 0;
  const std::string table = work.Literal();
  const std::string seeds = "main._understudy_seed_" + std::to_string(work.number);
  const std::string alias =
      QuoteIdentifier(work.to->RowidAlias().empty() ? work.new_rowid : work.to->RowidAlias());
  const std::string id = work.OldId("o");
  const auto expression = [&](const std::string& column) -> std::string {
    for (const TableWork::Compared& one : work.compared) {
      if (one.column == QuoteIdentifier(column)) return one.expression;
    }
    return "";
  };
  std::vector<std::string> conditions;
  for (const SqliteIndex& index : work.to->indexes) {
    if (!index.unique || index.partial || index.origin == SqliteIndex::Origin::kPrimaryKey)
      continue;
    std::string condition;
    for (const catalog::SqliteIndexPart& part : index.parts) {
      const std::string from = part.column.empty() ? "" : expression(part.column);
      if (from.empty()) {
        condition.clear();
        break;
      }
      condition += (condition.empty() ? "s." : " AND s.") + QuoteIdentifier(part.column) + " = " +
                   from + " COLLATE " + QuoteIdentifier(part.collation);
    }
    if (!condition.empty()) conditions.push_back(condition);
  }
  if (conditions.empty()) {
    std::string condition;
    for (const TableWork::Compared& one : work.compared) {
      if (one.column == alias) continue;
      condition += " AND s." + one.column + " IS " + one.expression;
    }
    conditions.push_back("s." + alias + " = " + (work.assigned ? "s." + alias : id) + condition);
  }
  // A row that went over under its own key keeps it, for others refer to it; where it has a unique
  // value of a seed's now, putting it in fails, and tells so.
  const std::string present =
      work.assigned
          ? ""
          : " AND NOT EXISTS (SELECT 1 FROM " + work.New() + " n WHERE n." + alias + " = +" + id +
                " AND NOT EXISTS (SELECT 1 FROM main._understudy_seeds t WHERE "
                "t.table_name = " +
                table + " AND t.id = +n." + alias +
                ") AND NOT EXISTS (SELECT 1 FROM main._id_mapping t WHERE "
                "t.table_name = " +
                table + " AND t.new_id = +n." + alias + "))";
  for (const std::string& condition : conditions) {
    found +=
        session_
            ->Query("INSERT OR IGNORE INTO main._id_mapping(table_name, old_id, new_id) SELECT " +
                    table + ", " + id + ", s." + alias + " FROM " + work.Old() + " o CROSS JOIN " +
                    seeds + " s ON " + condition + " WHERE (" + rows +
                    ") AND NOT EXISTS (SELECT 1 FROM "
                    "main._id_mapping m WHERE m.table_name = " +
                    table + " AND (m.old_id = +" + id +
                    ")) AND NOT EXISTS (SELECT 1 FROM main._id_mapping m WHERE m.table_name = " +
                    table + " AND m.new_id = +s." + alias + ")" + present)
            .affected;
  }
  if (work.assigned) return found;
  // The place is taken: by a seed, or by a row that gave way to one.
  found +=
      session_
          ->Query(
              "INSERT OR IGNORE INTO main._id_mapping(table_name, old_id, new_id) SELECT " + table +
              ", q.k, row_number() OVER () + max(coalesce((SELECT max(new_id) FROM "
              "main._id_mapping WHERE "
              "table_name = " +
              table + " AND new_id <> old_id), 0), " + std::to_string(kHeadroom) +
              " + max(coalesce((SELECT max(" + alias + ") FROM " + work.New() +
              "), 0), coalesce((SELECT max(" + QuoteIdentifier(work.key[0]) + ") FROM " +
              work.Old() + "), 0)) ) FROM (SELECT " + id + " AS k FROM " + work.Old() +
              " o WHERE (" + rows +
              ") AND NOT EXISTS (SELECT 1 FROM main._id_mapping m WHERE m.table_name = " + table +
              " AND m.old_id = +" + id + ") AND " + id +
              " IN (SELECT id FROM main._understudy_seeds WHERE table_name = " + table +
              " UNION SELECT new_id FROM main._id_mapping WHERE table_name = " + table + ")) q")
          .affected;
  return found;
}

// Puts rows in; what the new table refuses is told of with its table.
std::int64_t Mover::Put(const TableWork& work, const std::string& insert) {
  try {
    return session_->Query(insert).affected;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kConstraint) throw;
    throw Error(ErrorKind::kConstraint,
                "rows of the old table " + DisplayIdentifier(work.from->name) +
                    " do not fit the new table " + DisplayIdentifier(work.to->name) + ": " +
                    error.message() +
                    ". Production is unchanged: put them right in the old file, and go on",
                error.code());
  }
}

// `rows`: a condition over `o`.
void Mover::RequireKeys(const TableWork& work, const std::string& rows) {
  if (!work.key_converts) return;
  const auto lost =
      session_->MaybeScalar("SELECT " + work.ShownKey() + " FROM " + work.Old() + " o WHERE " +
                            rows + " AND " + work.KeyIsLost() + " LIMIT 1");
  if (!lost) return;
  throw Error(ErrorKind::kMismatch,
              "the key " + lost->text + " of " + DisplayIdentifier(work.from->name) +
                  " would be another value in the new table " + DisplayIdentifier(work.to->name) +
                  ", whose key column has another type: two rows could become one. Production is "
                  "unchanged: give the row a key that is the same in both, and go on");
}

void Mover::InsertDirty(const TableWork& work) {
  const std::string inside = Inside(work);
  if (inside == "0") return;
  std::vector<std::string> expressions = work.expressions;
  if (Sabotaged("hot-copy-keeps-old-reference")) {
    for (std::size_t i = 0; i < expressions.size(); ++i) {
      const bool own_key =
          !work.new_key.empty() && work.columns[i] == QuoteIdentifier(work.new_key[0]);
      const auto mapped = expressions[i].rfind("coalesce((SELECT m.new_id", 0) == 0;
      const std::size_t at = expressions[i].rfind(", o.");
      if (mapped && !own_key) {
        expressions[i] = expressions[i].substr(at + 2, expressions[i].size() - at - 3);
      }
    }
  }
  const std::string insert = "INSERT INTO " + work.New() + "(" + Joined(work.columns) +
                             ") SELECT " + Joined(expressions) + " FROM " + work.Old() +
                             " o WHERE " + work.OldIsDirty() + " AND " + inside;
  RequireKeys(work, work.OldIsDirty() + " AND " + inside);
  if (!IsUpserted(work)) {
    Put(work, insert);
    return;
  }
  const std::string rowid = QuoteIdentifier(work.new_rowid);
  std::string set;
  for (const std::string& column : work.columns) {
    if (column != rowid) set += (set.empty() ? "" : ", ") + column + " = excluded." + column;
  }
  const std::int64_t present = Put(work, insert + " ON CONFLICT(" + rowid + ") DO UPDATE SET " +
                                             (set.empty() ? rowid + " = " + rowid : set));
  if (present == session_->Scalar("SELECT count(*) FROM " + work.Dirty()).AsInteger()) return;
  session_->Execute("DELETE FROM " + work.New() + " WHERE " + rowid + " IN (SELECT k0 FROM " +
                    work.Dirty() + " d WHERE NOT EXISTS (SELECT 1 FROM " + work.Old() +
                    " o WHERE o." + QuoteIdentifier(work.key[0]) + " = d.k0))");
}

// With the new table's triggers on, a row that is still there is updated, not made anew.
void Mover::ReplayWithTriggers(const TableWork& work, const std::string& inside) {
  const std::string rows = work.OldIsDirty() + " AND " + inside;
  RequireKeys(work, rows);
  std::string image = work.IsImage();
  const auto over_table = [&](std::string condition) {  // n. → the table's own name
    const std::string name = QuoteIdentifier(work.to->name) + ".";
    for (std::size_t at = 0; (at = condition.find("n.\"", at)) != std::string::npos;) {
      if (at > 0 && (std::isalnum(static_cast<unsigned char>(condition[at - 1])) != 0)) {
        ++at;
        continue;
      }
      condition.replace(at, 2, name);
      at += name.size();
    }
    return condition;
  };
  // Rows whose key has a NULL have no name to be known by: they are all made anew.
  std::string nameless = "0";
  for (const std::string& column : work.new_key) {
    nameless += " OR " + QuoteIdentifier(column) + " IS NULL";
  }
  session_->Execute("DELETE FROM " + work.New() + " WHERE " + work.NewIsDirty() + " AND (" +
                    nameless + ")");
  session_->Execute("DELETE FROM " + work.New() + " WHERE " + work.NewIsDirty() +
                    " AND NOT EXISTS (SELECT 1 FROM " + work.Old() + " o WHERE " + rows + " AND " +
                    over_table(image) + ")");
  std::string set;
  for (const TableWork::Compared& one : work.compared) {
    set += (set.empty() ? "" : ", ") + one.column + " = " + one.expression;
  }
  if (Sabotaged("hot-copy-skips-updates")) {
    const std::string& column = work.compared[0].column;
    set = column + " = " + QuoteIdentifier(work.to->name) + "." + column;
  }
  UpdateDirty(work, "UPDATE " + work.New() + " SET " + set + " FROM " + work.Old() + " o WHERE " +
                        rows + " AND " + over_table(image) + " AND NOT (" +
                        over_table(work.Matches()) + ")");
  Put(work, "INSERT INTO " + work.New() + "(" + Joined(work.columns) + ") SELECT " +
                Joined(work.expressions) + " FROM " + work.Old() + " o WHERE " + rows +
                " AND NOT EXISTS (SELECT 1 FROM " + work.New() + " n WHERE " + image + ")");
}

// A unique value may have gone from one row to another: no order of updates leads there. Then they
// are updated one by one, and who meets another row is deleted, to be inserted as it is now.
void Mover::UpdateDirty(const TableWork& work, const std::string& update) {
  try {
    session_->Execute(update);
    return;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kConstraint) throw;
  }
  session_->Execute("CREATE TEMP TABLE dirty_all AS SELECT * FROM " + work.Dirty());
  const auto fill = [&](const std::string& where) {
    session_->Execute("DELETE FROM " + work.Dirty());
    session_->Execute("INSERT INTO " + work.Dirty() + " SELECT * FROM temp.dirty_all" + where);
  };
  const std::int64_t rows = session_->Scalar("SELECT count(*) FROM temp.dirty_all").AsInteger();
  for (std::int64_t row = 1; row <= rows; ++row) {
    fill(" WHERE rowid = " + std::to_string(row));
    try {
      session_->Execute(update);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kConstraint) throw;
      session_->Execute("DELETE FROM " + work.New() + " WHERE " + work.NewIsDirty());
    }
  }
  fill("");
  session_->Execute("DROP TABLE temp.dirty_all");
}

// Whether a trigger's body holds `name` as a word. `body` is in normal form.
bool SpeaksOf(const std::string& body, const std::string& name, const std::string& before = "") {
  const auto lower = [](std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  };
  const std::string text = lower(body);
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$';
  };
  const std::string wanted = lower(name);
  for (std::size_t at = text.find(wanted); at != std::string::npos;
       at = text.find(wanted, at + 1)) {
    if (at > 0 && is_word(text[at - 1])) continue;
    if (at + wanted.size() < text.size() && is_word(text[at + wanted.size()])) continue;
    std::size_t start = at;  // without the quotes
    while (start > 0 &&
           std::string_view("\"`[' ").find(text[start - 1]) != std::string_view::npos) {
      --start;
    }
    const bool precedes =
        start >= before.size() && text.compare(start - before.size(), before.size(), before) == 0;
    if (before.empty() || precedes) return true;
  }
  return false;
}

// Judged by the words of the triggers: too much is taken for spoken of rather than too little.
Mover::Comparable Mover::ComparableOf(const Move& move, const TableWork& work, std::string* why) {
  Comparable comparable = Comparable::kRows;
  if (!move.triggers_on_replay) return comparable;
  for (const catalog::SqliteTrigger& trigger : move.new_schema->triggers) {
    const std::string sql = catalog::NormalSqliteSql(trigger.sql);
    const std::size_t begin = sql.find(" begin ");
    const std::string body = begin == std::string::npos ? sql : sql.substr(begin);
    const bool skips = SpeaksOf(trigger.table, work.to->name) && SpeaksOf(body, "raise") &&
                       SpeaksOf(body, "ignore");
    if (!skips && !SpeaksOf(body, work.to->name)) continue;
    if (skips || SpeaksOf(body, "replace") || SpeaksOf(body, work.to->name, "into") ||
        SpeaksOf(body, work.to->name, "delete from")) {
      comparable = Comparable::kNothing;
    } else if (comparable == Comparable::kRows) {
      comparable = Comparable::kKeys;
    } else {
      continue;
    }
    if (why != nullptr) *why = trigger.name;
  }
  return comparable;
}

std::vector<std::string> Mover::NotCompared(const Move& move) {
  std::vector<std::string> lines;
  for (const TableWork& work : move.tables) {
    std::string why;
    const Comparable comparable = ComparableOf(move, work, &why);
    if (comparable == Comparable::kRows) continue;
    lines.push_back("rows of " + DisplayIdentifier(work.to->name) +
                    " that are replayed with the triggers on are " +
                    (comparable == Comparable::kKeys ? "compared by their keys alone"
                                                     : "not compared with the old file") +
                    ": the trigger " + DisplayIdentifier(why) + " may change them");
  }
  return lines;
}

// What the dirty keys became is what the old file has now.
void Mover::CompareDirty(const TableWork& work, bool keys_alone) {
  if (Sabotaged("hot-copy-keeps-old-reference")) return;
  const std::string where = work.OldIsDirty() + " AND " + Inside(work);
  const db::Result read = session_->Query(
      "SELECT count(*), min(CASE WHEN NOT EXISTS (SELECT 1 FROM " + work.New() + " n WHERE " +
      work.IsImage() + (keys_alone ? "" : " AND " + work.Matches()) + ") THEN " + work.ShownKey() +
      " END) FROM " + work.Old() + " o WHERE " + where);
  if (const Value& wrong = read.rows[0][1]; !wrong.is_null()) {
    throw Error(ErrorKind::kMismatch, "the row " + wrong.text + " of " +
                                          DisplayIdentifier(work.from->name) +
                                          " is not in the new file as it must be");
  }
  // Each key has one place there: where all have a row in the old file, there are no others.
  if (IsUpserted(work) && session_->Scalar("SELECT count(*) FROM " + work.Dirty()).AsInteger() ==
                              read.rows[0][0].AsInteger()) {
    return;
  }
  const std::string from = " FROM " + work.Old() + " o WHERE " + where;
  // An assigned key has no inverse: what the old rows have is gathered, not asked for row by row.
  const std::string gone =
      work.assigned
          ? "n." + QuoteIdentifier(work.new_rowid) + " NOT IN (SELECT coalesce(" +
                Referred{.table = work.to->name, .assigned = true}.Translate(work.OldId("o")) +
                ", '')" + from + ")"
          : "NOT EXISTS (SELECT 1" + from + " AND " + work.IsImage() + ")";
  std::string columns = "*";  // which does not have a rowid without a name of its own
  if (!work.new_rowid.empty() && work.to->RowidAlias().empty()) {
    const std::string rowid = QuoteIdentifier(work.new_rowid);
    columns = rowid + " AS " + rowid + ", *";
  }
  const auto left =
      session_->MaybeScalar("SELECT 1 FROM (SELECT " + columns + " FROM " + work.New() + " WHERE " +
                            work.NewIsDirty() + ") n WHERE " + gone + " LIMIT 1");
  if (left) {
    throw Error(ErrorKind::kMismatch, "a row of " + DisplayIdentifier(work.to->name) +
                                          " is in the new file that the old one has no more");
  }
}

// Rows that went over before the row they refer to, which another key is given only now.
void Mover::RequireTranslated(const TableWork& parent, bool fires) {
  for (const TableWork& work : move_.tables) {
    if (fires && ComparableOf(move_, work, nullptr) != Comparable::kRows) continue;
    for (const auto& [name, key] : work.seeded_parents) {
      if (name != parent.to->name || parent.assigned) continue;
      const auto wrong = session_->MaybeScalar(
          "SELECT " + work.ShownKey() + " FROM " + work.Old() + " o WHERE " + Inside(work) +
          " AND " + key + " IN (SELECT m.old_id FROM main._id_mapping m WHERE m.table_name = " +
          parent.Literal() + " AND m.new_id <> m.old_id) AND NOT EXISTS (SELECT 1 FROM " +
          work.New() + " n WHERE " + work.IsImage() + " AND " + work.Matches() + ") LIMIT 1");
      if (!wrong) continue;
      throw Error(ErrorKind::kMismatch,
                  "the row " + wrong->text + " of " + DisplayIdentifier(work.from->name) +
                      " refers to a row of " + DisplayIdentifier(parent.from->name) +
                      " that was written after it, and gets another key in the new file, for the "
                      "schema has a row of that key. Production is unchanged: write the row that "
                      "refers once more in the old file (an UPDATE that changes nothing), and go "
                      "on");
    }
  }
}

// Replays up to `limit` log entries; the whole tail when `limit` is 0. In the open transaction.
Mover::Tail Mover::ReplayTail(std::int64_t limit, bool compare) {
  Tail tail;
  tail.from = last_replayed_;
  const std::int64_t last =
      session_->Scalar("SELECT coalesce(max(id), 0) FROM old._migration_log").AsInteger();
  tail.to = limit > 0 ? std::min(last, tail.from + limit) : last;
  tail.whole = tail.to == last;
  if (tail.to <= tail.from) return tail;
  // Only what was replayed is ever taken out of the log.
  const std::int64_t first = session_->Scalar("SELECT min(id) FROM old._migration_log").AsInteger();
  if (first > tail.from + 1) {
    throw Error(ErrorKind::kMismatch,
                "the log of the old file begins with entry " + std::to_string(first) +
                    ", and only " + std::to_string(tail.from) +
                    " are replayed: entries between were deleted, or the new file lost its last "
                    "commits when the machine failed. Production is unchanged; give up what was "
                    "begun with: understudy migrate reset");
  }
  if (compare && Sabotaged("hot-copy-skips-tail")) {
    tail.to = tail.from;
    return tail;
  }
  std::vector<const TableWork*> touched;
  const db::Result names = session_->Query(
      "SELECT DISTINCT table_name FROM old._migration_log WHERE id > ?1 AND id <= ?2",
      {Value::Integer(tail.from), Value::Integer(tail.to)});
  for (const TableWork& work : move_.tables) {
    const bool named = std::ranges::any_of(
        names.rows, [&](const db::Row& row) { return row[0].text == work.from->name; });
    if (named && !(compare && Sabotaged("hot-copy-advances-unreplayed"))) {
      touched.push_back(&work);
    }
  }
  for (const TableWork* work : touched) Fill(*work, tail);
  // Keys first, whichever table they are of: a row may refer to one that was written after it.
  std::vector<const TableWork*> gained;
  const auto match = [&](const TableWork& work, const std::string& rows) {
    if (MatchSeeds(work, rows) > 0) gained.push_back(&work);
  };
  for (const TableWork* work : touched) RespellKeys(*work);
  for (const TableWork* work : touched) {
    match(*work, work->OldIsDirty());
    // The log may be read up to between a row and the one that it refers to.
    for (const auto& [parent, key] : work->seeded_parents) {
      for (const TableWork& other : move_.tables) {
        if (other.to->name != parent) continue;
        match(other, "o." + QuoteIdentifier(other.key[0]) + " IN (SELECT " + key + " FROM " +
                         work->Old() + " o WHERE " + work->OldIsDirty() + ")");
      }
    }
  }
  for (const TableWork* work : touched) {
    if (work->assigned) {
      EnsureKeys(*work, "SELECT " + work->OldId("o") + " AS k FROM " + work->Old() + " o WHERE " +
                            work->OldIsDirty());
    }
    EnsureReferred(*work, work->OldIsDirty());
  }
  const bool checked = stage_ == "replay";  // everything before this tail
  const bool filled = stage_ != "seeds" && stage_ != "copy" && stage_ != "indexes";
  const bool fires = move_.triggers_on_replay && (checked || stage_ == "recheck");
  if (checked) references_->Remember(touched);
  if (fires) {
    for (const TableWork* work : touched) ReplayWithTriggers(*work, Inside(*work));
  } else {
    for (const TableWork* work : touched) {
      if (IsUpserted(*work)) continue;
      session_->Execute("DELETE FROM " + work->New() + " WHERE " + work->NewIsDirty());
    }
    for (const TableWork* work : touched) InsertDirty(*work);
  }
  for (const TableWork* work : touched) {
    const Comparable comparable = fires ? ComparableOf(move_, *work, nullptr) : Comparable::kRows;
    // The comparison of the whole table may have passed these rows, and does not come back.
    if (!(compare || filled) || comparable == Comparable::kNothing) continue;
    CompareDirty(*work, /*keys_alone=*/comparable == Comparable::kKeys);
  }
  for (const TableWork* parent : gained) RequireTranslated(*parent, fires);
  if (const std::string broken =
          checked && !Sabotaged("hot-copy-ignores-references") ? references_->Broken(touched) : "";
      !broken.empty()) {
    if (compare) {
      throw Error(ErrorKind::kConstraint,
                  "a write since the last check breaks a reference of the new schema: " + broken +
                      ". The new file is not ready; the old one is whole and in service, and takes "
                      "writes. Put it right there, then go on with: understudy migrate drain");
    }
    SetStage("recheck");  // it may be put right by a later write
  }
  for (const TableWork* work : touched) {
    tail.keys += session_->Scalar("SELECT count(*) FROM " + work->Dirty()).AsInteger();
  }
  session_->Query("UPDATE main._migration_progress SET last_replayed_log_id = ?1 WHERE id = 0",
                  {Value::Integer(tail.to)});
  last_replayed_ = tail.to;
  return tail;
}

// From here on a statement is ended when this unit holds the old file for too long (`by_time`), or
// reads too much of it.
void Mover::Limit(const core::Budget& budget, bool by_time) {
  session_->StopWhen([this, most = kTooManyBytes * budget.bytes, by_time] {
    too_large_ = too_large_ || BytesRead() > most ||
                 (by_time && MillisecondsSince(held_since_) > kLongestReadMs);
    return too_large_;
  });
}

std::int64_t Mover::BytesRead() { return (session_->PagesRead() - pages_before_) * page_bytes_; }

void Mover::Unlimit() { session_->StopWhen({}); }

// How much the next unit takes, from what this one took for `used` of it.
void Mover::Adapt(std::int64_t& amount, std::int64_t used, std::int64_t least, std::int64_t most,
                  const core::Budget& budget) {
  double factor = static_cast<double>(budget.bytes) /
                  static_cast<double>(std::max<std::int64_t>(BytesRead(), 1));
  if (!wal_)
    factor = std::min(factor, kWantedReadMs / std::max(MillisecondsSince(held_since_), 0.5));
  const auto wanted =
      static_cast<std::int64_t>(static_cast<double>(used) * std::clamp(factor, 0.25, 4.0));
  amount = std::clamp(factor < 1 ? wanted : std::max(amount, wanted), least, most);
}

// Known to the next unit, and to `status`.
void Mover::RecordHold() {
  const auto hold = static_cast<std::int64_t>(longest_hold_ms_);
  if (hold <= recorded_hold_ms_) return;
  db::Transaction transaction(*session_);
  hooks_.check(*session_);
  if (!HasColumn(*session_, "longest_hold_ms")) {
    session_->Execute("ALTER TABLE main._understudy_move ADD COLUMN longest_hold_ms INT");
  }
  session_->Query(
      "UPDATE main._understudy_move SET longest_hold_ms = max(coalesce(longest_hold_ms, 0), ?1)",
      {Value::Integer(hold)});
  transaction.Commit();
  recorded_hold_ms_ = hold;
}

core::SyncProgress Mover::Step(const core::Budget& budget, bool check) {
  try {
    core::SyncProgress progress = StepWithin(budget, check);
    Unlimit();
    RecordHold();
    const MoveState state = State(*session_);
    progress.rows_done = state.rows_done;
    progress.rows_total = state.rows_total;
    progress.bytes_done = session_->Scalar("PRAGMA main.page_count").AsInteger() *
                          session_->Scalar("PRAGMA main.page_size").AsInteger();
    return progress;
  } catch (...) {
    Unlimit();
    GiveBack();
    throw;
  }
}

core::SyncProgress Mover::StepWithin(const core::Budget& budget, bool check) {
  bool caught_up = false;
  bool whole_tail = std::ranges::any_of(move_.tables, &TableWork::refers_loosely);
  bool checks = false;
  std::int64_t pending = 0;
  for (;;) {
    const std::int64_t rows = std::min(budget.rows, chunk_rows_);
    bool replaying = true;
    Begin();
    pages_before_ = session_->PagesRead();
    too_large_ = false;
    try {
      if (!whole_tail && tail_keys_ > fewest_tail_keys_) Limit(budget, !wal_);
      const Tail tail = ReplayTail(whole_tail ? 0 : tail_keys_, false);
      Unlimit();
      if (tail.keys >= tail_keys_ / 2) {
        Adapt(tail_keys_, tail.keys, fewest_tail_keys_, kMostTailKeys, budget);
      }
      replaying = false;
      const auto adapt = [&](std::int64_t done) {
        if (rows > 1 && BytesRead() > kTooManyBytes * budget.bytes) {
          too_large_ = true;  // since it was last looked at
          throw Error(ErrorKind::kCancelled, "the unit is too large");
        }
        if (done > 0) Adapt(chunk_rows_, done, 1, kMostRows, budget);
      };
      if (!tail.whole) {  // nothing else in this unit
        pending = session_->Scalar("SELECT max(id) FROM old._migration_log").AsInteger() - tail.to;
        Commit("replay.before_commit", "replay.after_commit", "", tail.keys);
        break;
      }
      if (rows > 1) Limit(budget, !wal_);
      if (stage_ == "seeds") {
        const std::int64_t done = SeedStep(rows);
        Unlimit();
        adapt(done);
        Commit("sync.before_commit", "sync.after_commit", "", 0);
      } else if (stage_ == "copy") {
        std::int64_t done = 0;
        std::string name;
        for (const TableWork& work : move_.tables) {
          Progress& progress = progress_[static_cast<std::size_t>(work.number)];
          if (progress.done) continue;
          name = work.to->name;
          done = CopyStep(progress, work, rows);
          break;
        }
        Unlimit();
        if (name.empty()) SetStage("indexes");
        adapt(done);
        Commit("copy.before_commit", "copy.after_commit", name, done);
      } else if (stage_ == "indexes") {
        Unlimit();
        session_->Commit();  // an index takes long, and needs nothing of the old file
        LetGo();
        session_->Begin();
        hooks_.check(*session_);
        IndexStep();
        Commit("sync.before_commit", "sync.after_commit", "", 0);
      } else if (!check && stage_ != "replay" && !move_.triggers_on_replay) {
        Commit("replay.before_commit", "replay.after_commit", "", tail.keys);
        caught_up = tail.keys <= kLittleKeys;
      } else if (stage_ == "verify") {
        std::int64_t done = 0;
        std::string name;
        for (const TableWork& work : move_.tables) {
          Progress& progress = progress_[static_cast<std::size_t>(work.number)];
          if (progress.verify_done) continue;
          name = work.to->name;
          done = VerifyStep(progress, work, rows);
          break;
        }
        Unlimit();
        if (name.empty()) SetStage("check");
        adapt(done);
        Commit("sync.before_commit", "sync.after_commit", name, done);
      } else if (stage_ == "check" || stage_ == "recheck") {
        Unlimit();
        // The new file is the old one's state of one moment now: checked without holding that.
        Commit("sync.before_commit", "sync.after_commit", "", 0);
        checks = true;
      } else {
        Commit("replay.before_commit", "replay.after_commit", "", tail.keys);
        caught_up = tail.keys <= kLittleKeys;
        pending = 0;
      }
      break;
    } catch (const Error& error) {
      Unlimit();
      GiveBack();
      if (too_large_ && error.kind() == ErrorKind::kCancelled) {
        std::int64_t& amount = replaying ? tail_keys_ : chunk_rows_;
        amount = std::max<std::int64_t>((replaying ? tail_keys_ : rows) / 4,
                                        replaying ? fewest_tail_keys_ : 1);
        continue;
      }
      // Rows of two moments may meet where the log was read in part: they fail, or, where the new
      // table passes over what conflicts, are missed.
      const bool met = error.kind() == ErrorKind::kConstraint ||
                       (error.kind() == ErrorKind::kMismatch && replaying);
      if (!met || whole_tail) throw;
      whole_tail = true;
    }
  }
  if (checks) CheckStep();
  return {.caught_up = caught_up, .pending_writes = pending};
}

// A chunk of one table's rows, matched with the seeds. While this stage lasts, the place of the
// comparison says how far that has come.
std::int64_t Mover::SeedStep(std::int64_t rows) {
  constexpr std::int64_t kSmallestRowBytes = 4;
  const std::int64_t fits = session_->Scalar("PRAGMA old.page_count").AsInteger() *
                            session_->Scalar("PRAGMA old.page_size").AsInteger() /
                            kSmallestRowBytes;
  for (const TableWork& work : move_.tables) {
    Progress& progress = progress_[static_cast<std::size_t>(work.number)];
    if (progress.verify_done) continue;
    const std::string end =
        work.mapped && work.seeded ? PositionAfter(work, progress.verified, rows) : "";
    if (!end.empty()) {
      MatchSeeds(work, After(work, progress.verified) + " AND " + UpTo(work, end));
      session_->Query("UPDATE main._understudy_tables SET verified = ?2 WHERE table_name = ?1",
                      {Value::Text(work.to->name), Value::Text(end)});
      return rows;
    }
    // An estimate that costs nothing; what is copied in the end is the number of rows.
    const auto most =
        work.from->without_rowid
            ? std::nullopt
            : session_->MaybeScalar("SELECT coalesce(max(" + QuoteIdentifier(work.cursor[0]) +
                                    "), 0) FROM " + work.Old());
    session_->Query(
        "UPDATE main._understudy_tables SET rows_total = ?2, verify_done = 1 WHERE table_name = ?1",
        {Value::Text(work.to->name),
         Value::Integer(most ? std::clamp<std::int64_t>(most->AsInteger(), 0, fits) : 0)});
  }
  session_->Execute("UPDATE main._understudy_tables SET verified = '', verify_done = 0");
  SetStage("copy");
  return 0;
}

std::int64_t Mover::CopyStep(Progress& progress, const TableWork& work, std::int64_t rows) {
  std::int64_t done = 0;
  // Where rowids go over as they are, the last row that went in tells how far the copy has come;
  // else that is looked up first.
  const bool plain = IsPlain(work);
  const std::string end = plain ? "" : PositionAfter(work, progress.position, rows);
  if (plain) {
    done = Put(work, "INSERT INTO " + work.New() + "(" + Joined(work.columns) + ") SELECT " +
                         Joined(work.expressions) + " FROM " + work.Old() + " o WHERE " +
                         After(work, progress.position) + " ORDER BY o." +
                         QuoteIdentifier(work.cursor[0]) + " LIMIT " + std::to_string(rows));
    progress.done = done < rows;
    if (done > 0) {
      progress.position = session_->Scalar("SELECT 'integer:' || hex(last_insert_rowid())").text;
      progress.rows += done;
    }
  } else if (end.empty()) {
    progress.done = true;
  } else {
    const std::string range = After(work, progress.position) + " AND " + UpTo(work, end);
    if (work.assigned) {
      EnsureKeys(work,
                 "SELECT " + work.OldId("o") + " AS k FROM " + work.Old() + " o WHERE " + range);
    }
    EnsureReferred(work, range);
    RequireKeys(work, range);
    if (work.seeded) {  // rows of ours that stand where an old row belongs
      session_->Execute("DELETE FROM " + work.Dirty());
      std::string columns;
      for (const std::string& column : work.key) {
        columns += (columns.empty() ? "o." : ", o.") + QuoteIdentifier(column);
        if (column == work.key[0]) columns += ", " + work.OldId("o");
      }
      session_->Execute("INSERT INTO " + work.Dirty() + " SELECT " + columns + " FROM " +
                        work.Old() + " o WHERE " + range);
      session_->Execute("DELETE FROM " + work.New() + " WHERE " + work.NewIsDirty());
    }
    done = Put(work, "INSERT INTO " + work.New() + "(" + Joined(work.columns) + ") SELECT " +
                         Joined(work.expressions) + " FROM " + work.Old() + " o WHERE " + range);
    progress.position = end;
    progress.rows += done;
  }
  session_->Query(
      "UPDATE main._understudy_tables SET position = ?2, done = ?3, rows = ?4 WHERE table_name = "
      "?1",
      {Value::Text(work.to->name), Value::Text(progress.position),
       Value::Integer(progress.done ? 1 : 0), Value::Integer(progress.rows)});
  return done;
}

void Mover::IndexStep() {
  for (const SqliteTable& table : move_.new_schema->tables) {
    for (const SqliteIndex& index : table.indexes) {
      if (!IsDeferred(index)) continue;
      const bool there =
          session_
              ->Scalar("SELECT count(*) FROM main.sqlite_schema WHERE type = 'index' AND name = ?1",
                       {Value::Text(index.name)})
              .AsInteger() > 0;
      if (there) continue;
      Run(*session_, index.sql);
      return;
    }
  }
  SetStage("verify");
}

void Mover::CountRange(const TableWork& work, const std::string& from, const std::string& to) {
  const auto count = [&](const std::string& table, const std::string& column) {
    std::string sql = "SELECT count(*) FROM " + table + " o WHERE 1";
    const std::string name = " AND o." + QuoteIdentifier(column);
    if (!from.empty()) sql += name + " > understudy_key(" + QuoteLiteral(from) + ", 0)";
    if (!to.empty()) sql += name + " <= understudy_key(" + QuoteLiteral(to) + ", 0)";
    return session_->Scalar(sql).AsInteger();
  };
  const std::int64_t old_rows = to.empty() ? 0 : count(work.Old(), work.cursor[0]);
  const std::int64_t new_rows = count(work.New(), work.new_rowid);
  if (old_rows == new_rows) return;
  throw Error(ErrorKind::kMismatch,
              "a part of the new table " + DisplayIdentifier(work.to->name) + " has " +
                  std::to_string(new_rows) + " rows, and " + std::to_string(old_rows) +
                  " belong there; were rows deleted by a connection with triggers switched off? "
                  "Production is unchanged; give the copy up with: understudy migrate reset");
}

// The condition that some row of the old table, found by its key, became `n`; "" where its key
// cannot be told from the new one's.
std::string Mover::OldRowOfNew(const TableWork& work) const {
  const auto back = [](const std::string& table, const std::string& value) {
    return "(SELECT m.old_id FROM main._id_mapping m WHERE m.table_name = " + QuoteLiteral(table) +
           " AND m.new_id = +" + value + ")";
  };
  if (!work.key_is_indexed()) return "";
  std::string same;
  for (std::size_t i = 0; i < work.key.size(); ++i) {
    std::string value;
    if (work.assigned) {
      value = back(work.to->name, "n." + QuoteIdentifier(work.new_rowid));
      if (work.key.size() > 1) value = "understudy_key(" + value + ", " + std::to_string(i) + ")";
    } else {
      const SqliteColumn* was = work.from->Column(work.key[i]);
      const SqliteColumn* is = work.to->Column(work.new_key[i]);
      if (was != nullptr && is != nullptr && was->affinity != is->affinity) return "";
      value = "n." + QuoteIdentifier(work.new_key[i]);
      if (const Referred& parent = work.translators[i]; !parent.empty()) {
        value = "coalesce(" + back(parent.table, value) + ", " + value + ")";
      }
    }
    same += (i == 0 ? "o." : " AND o.") + QuoteIdentifier(work.key[i]) + " IS +" + value;
    if (work.from->Column(work.key[i]) == nullptr) continue;
    same += " AND o." + QuoteIdentifier(work.key[i]) + " COLLATE BINARY IS " + value;
  }
  return "EXISTS (SELECT 1 FROM " + work.Old() + " o WHERE " + same + ")";
}

// A chunk of the new table: every row is an old one's, or the schema's.
std::int64_t Mover::VerifyBackStep(Progress& progress, const TableWork& work, std::int64_t rows) {
  const std::vector<std::string> cursor =
      work.new_rowid.empty() ? work.to->PrimaryKey() : std::vector<std::string>{work.new_rowid};
  std::vector<std::string> columns;
  std::vector<std::string> back;
  for (const std::string& column : cursor) {
    columns.push_back("n." + QuoteIdentifier(column));
    back.push_back(columns.back() + " DESC");
  }
  const auto compared = [&](const char* with, const std::string& position) {
    std::vector<std::string> values;
    for (std::size_t i = 0; i < cursor.size(); ++i) {
      values.push_back("understudy_key(" + QuoteLiteral(position) + ", " + std::to_string(i) + ")");
    }
    return cursor.size() == 1 ? columns[0] + with + values[0]
                              : "(" + Joined(columns) + ")" + with + "(" + Joined(values) + ")";
  };
  const std::string last = progress.verified.substr(kBack.size());
  const std::string key = capture::SqliteKeySql(*work.to, cursor, "n");
  const std::string from =
      " FROM " + work.New() + " n WHERE " + (last.empty() ? "1" : compared(" > ", last));
  auto end = session_->MaybeScalar("SELECT " + key + from + " ORDER BY " + Joined(columns) +
                                   " LIMIT 1 OFFSET " + std::to_string(rows - 1));
  if (!end) {
    end = session_->MaybeScalar("SELECT " + key + from + " ORDER BY " + Joined(back) + " LIMIT 1");
  }
  if (!end) {
    progress.verify_done = true;
    return 0;
  }
  std::string seed = "0";
  if (work.mapped) {
    seed = columns[0] +
           " IN (SELECT s.id FROM main._understudy_seeds s WHERE s.table_name = " + work.Literal() +
           ")";
  } else if (work.seeded) {
    std::string same;
    for (const std::string& column : work.new_key) {
      same += (same.empty() ? "s." : " AND s.") + QuoteIdentifier(column) + " IS n." +
              QuoteIdentifier(column);
    }
    seed = "EXISTS (SELECT 1 FROM main._understudy_seed_" + std::to_string(work.number) +
           " s WHERE " + same + ")";
  }
  std::string shown;
  for (const std::string& column : columns) {
    shown += (shown.empty() ? "quote(" : " || ', ' || quote(") + column + ")";
  }
  const auto wrong =
      session_->MaybeScalar("SELECT " + shown + from + " AND " + compared(" <= ", end->text) +
                            " AND NOT " + OldRowOfNew(work) + " AND NOT (" + seed + ") LIMIT 1");
  if (wrong) {
    throw Error(
        ErrorKind::kMismatch,
        "the row " + wrong->text + " of the new table " + DisplayIdentifier(work.to->name) +
            " is none of the old file's; was it deleted there by a connection with triggers "
            "switched off? Production is unchanged; give the copy up with: understudy "
            "migrate reset");
  }
  progress.verified = std::string(kBack) + end->text;
  return rows;
}

std::int64_t Mover::VerifyStep(Progress& progress, const TableWork& work, std::int64_t rows) {
  const bool back = progress.verified.rfind(kBack, 0) == 0;
  const std::string end = back ? "" : PositionAfter(work, progress.verified, rows);
  std::int64_t done = rows;
  if (back) {
    done = VerifyBackStep(progress, work, rows);
  } else if (end.empty() && IsPlain(work)) {
    CountRange(work, progress.verified, "");
    progress.verify_done = true;
    done = 0;
  } else if (end.empty() && !wal_ && progress.rows > kCountedAtOnce && !OldRowOfNew(work).empty()) {
    progress.verified = kBack;  // one count would hold the old file for long
  } else if (end.empty()) {
    CountRows(work);
    progress.verify_done = true;
    done = 0;
  } else {
    const std::string range = After(work, progress.verified) + " AND " + UpTo(work, end);
    const auto wrong =
        session_->MaybeScalar("SELECT " + work.ShownKey() + " FROM " + work.Old() + " o WHERE " +
                              range + " AND NOT EXISTS (SELECT 1 FROM " + work.New() + " n WHERE " +
                              work.IsImage() + " AND " + work.Matches() + ") LIMIT 1");
    if (wrong) {
      throw Error(ErrorKind::kMismatch,
                  "the row " + wrong->text + " of " + DisplayIdentifier(work.from->name) +
                      " is not in the new file as it must be; was it written by a connection with "
                      "triggers switched off? Production is unchanged; give the copy up with: "
                      "understudy migrate reset");
    }
    if (IsPlain(work)) CountRange(work, progress.verified, end);
    progress.verified = end;
  }
  session_->Query(
      "UPDATE main._understudy_tables SET verified = ?2, verify_done = ?3 WHERE table_name = ?1",
      {Value::Text(work.to->name), Value::Text(progress.verified),
       Value::Integer(progress.verify_done ? 1 : 0)});
  return done;
}

// Rows that are in the new file alone: every old row is there, so that the numbers tell.
void Mover::CountRows(const TableWork& work) {
  const std::int64_t old_rows = session_->Scalar("SELECT count(*) FROM " + work.Old()).AsInteger();
  const std::int64_t new_rows = session_->Scalar("SELECT count(*) FROM " + work.New()).AsInteger();
  std::int64_t seeds = 0;
  if (work.seeded) {
    const std::string table = "main._understudy_seed_" + std::to_string(work.number);
    if (work.mapped) {
      seeds = session_
                  ->Scalar("SELECT count(*) FROM main._understudy_seeds s WHERE s.table_name = " +
                           work.Literal() +
                           " AND NOT EXISTS (SELECT 1 FROM main._id_mapping m WHERE m.table_name = "
                           "s.table_name AND m.new_id = s.id)")
                  .AsInteger();
    } else {  // seeds whose key no old row has (any more, or yet)
      std::string same;
      for (std::size_t i = 0; i < work.new_key.size(); ++i) {
        same += (i == 0 ? "" : " AND ") +
                work.translators[i].Translate("o." + QuoteIdentifier(work.key[i])) + " IS s." +
                QuoteIdentifier(work.new_key[i]);
      }
      const std::string row = "SELECT count(*) FROM " + table +
                              " s WHERE NOT EXISTS (SELECT 1 FROM " + work.Old() + " o WHERE " +
                              same + ")";
      const std::int64_t unmatched = session_->Scalar(row).AsInteger();
      // A seed whose old row was deleted meanwhile went with it.
      if (new_rows >= old_rows && new_rows <= old_rows + unmatched) return;
      seeds = unmatched;
    }
  }
  if (old_rows + seeds != new_rows) {
    throw Error(ErrorKind::kMismatch,
                "the new table " + DisplayIdentifier(work.to->name) + " has " +
                    std::to_string(new_rows) + " rows, and " + std::to_string(old_rows + seeds) +
                    " belong there (" + std::to_string(old_rows) + " of the old file" +
                    (seeds > 0 ? ", " + std::to_string(seeds) + " of the schema" : "") +
                    "); were rows deleted by a connection with triggers switched off? Production "
                    "is unchanged; give the copy up with: understudy migrate reset");
  }
}

void Mover::CheckStep() {
  const db::Result integrity = session_->Query("PRAGMA main.integrity_check(10)");
  if (integrity.rows.empty() || integrity.rows[0][0].text != "ok") {
    throw Error(ErrorKind::kMismatch,
                "the new file is damaged: " +
                    (integrity.rows.empty() ? "no answer" : integrity.rows[0][0].text));
  }
  const db::Result orphans = session_->Query(
      "SELECT \"table\", rowid, parent, fkid FROM "
      "pragma_foreign_key_check(NULL, 'main') LIMIT 5");
  if (!orphans.rows.empty()) {
    std::string list;
    for (const db::Row& row : orphans.rows) {
      list += (list.empty() ? "" : "; ") + DisplayIdentifier(row[0].text) +
              (row[1].is_null() ? "" : " rowid " + row[1].text) + " refers to no row of " +
              DisplayIdentifier(row[2].text);
    }
    throw Error(ErrorKind::kConstraint,
                "rows refer to rows that are not there: " + list +
                    ". Put them right in the old file, then go on with: understudy migrate drain");
  }
  db::Transaction transaction(*session_);
  hooks_.check(*session_);
  TriggerStep();
  Follow();
  SetStage("replay");
  transaction.Commit();
}

void Mover::TriggerStep() {
  if (!move_.triggers_on_replay) return;  // the cutover makes them
  for (const catalog::SqliteTrigger& trigger : move_.new_schema->triggers) {
    const bool there =
        session_
            ->Scalar("SELECT count(*) FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1",
                     {Value::Text(trigger.name)})
            .AsInteger() > 0;
    if (!there) Run(*session_, trigger.sql);
  }
}

// What belongs to the file and not to a row.
void Mover::Follow() {
  for (const TableWork& work : move_.tables) {
    if (!work.to->autoincrement || Sabotaged("hot-copy-forgets-high-water")) continue;
    std::int64_t mark = 0;
    if (work.from->autoincrement && !work.assigned) {
      mark = session_
                 ->Scalar("SELECT coalesce(max(seq), 0) FROM old.sqlite_sequence WHERE name = ?1",
                          {Value::Text(work.from->name)})
                 .AsInteger();
    }
    const std::int64_t highest =
        session_
            ->Scalar("SELECT coalesce(max(" + QuoteIdentifier(work.new_rowid) + "), 0) FROM " +
                     work.New())
            .AsInteger();
    const std::int64_t present =
        session_
            ->Scalar("SELECT coalesce(max(seq), 0) FROM main.sqlite_sequence WHERE name = ?1",
                     {Value::Text(work.to->name)})
            .AsInteger();
    const std::int64_t wanted = std::max({mark, highest, present});
    if (wanted == 0) continue;
    session_->Query("DELETE FROM main.sqlite_sequence WHERE name = ?1",
                    {Value::Text(work.to->name)});
    session_->Query("INSERT INTO main.sqlite_sequence(name, seq) VALUES (?1, ?2)",
                    {Value::Text(work.to->name), Value::Integer(wanted)});
  }
  for (const std::string& name : move_.followed_pragmas) {
    const std::string value = session_->Scalar("PRAGMA old." + name).text;
    session_->Execute("PRAGMA main." + name + " = " + value);
  }
}

bool Mover::Prepared() {
  const std::string stage = State(*session_).stage;
  return stage == "replay";
}

std::int64_t Mover::ReplayAll() {
  // Writers wait: what is taken out, put in and compared stays in memory, as far as it is touched.
  session_->Execute("PRAGMA main.cache_size = -262144");
  // Nobody cuts the files short while we hold their locks.
  const auto map = [&](std::int64_t bytes) {
    session_->Query("PRAGMA main.mmap_size = " + std::to_string(bytes));
    session_->Query("PRAGMA old.mmap_size = " + std::to_string(bytes));
  };
  map(kMapped);
  std::int64_t keys = 0;
  try {
    Begin();
    if (stage_ == "recheck") {
      throw Error(ErrorKind::kConstraint,
                  "what was brought over in part left a reference of the new schema broken, and "
                  "writers were too fast for it to be looked at again. Production is unchanged: go "
                  "on with: understudy migrate sync, then drain");
    }
    if (stage_ != "replay") {
      throw Error(
          ErrorKind::kMismatch,
          "the old file's schema was written anew, or the machine started anew, since the "
          "rows were compared; they must be compared again: understudy migrate sync, then drain");
    }
    holding_ = false;  // the drain's: nobody may write anyway
    keys = ReplayTail(0, true).keys;
    Follow();
    Commit("replay.before_commit", "replay.after_commit", "", keys);
  } catch (...) {
    GiveBack();
    map(0);
    throw;
  }
  map(0);
  return keys;
}

void Mover::ExpectDrained(std::int64_t version) {
  db::Transaction transaction(*session_);
  hooks_.check(*session_);
  session_->Query("UPDATE main._understudy_move SET drained_version = ?1",
                  {Value::Integer(version)});
  transaction.Commit();
}

void Mover::MarkDrained() {
  db::Transaction transaction(*session_);
  hooks_.check(*session_);
  session_->Execute("UPDATE main._migration_progress SET drain_completed = 1 WHERE id = 0");
  transaction.Commit();
}

}  // namespace understudy::hot_copy
