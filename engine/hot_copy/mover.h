#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/catalog/sqlite_diff.h"
#include "engine/core/migration.h"
#include "engine/db/session.h"
#include "engine/hot_copy/references.h"
#include "engine/hot_copy/table_work.h"

namespace understudy::hot_copy {

// What a mover works on; everything outlives it.
struct Move {
  const catalog::SqliteSchema* old_schema = nullptr;
  const catalog::SqliteSchema* new_schema = nullptr;
  std::vector<TableWork> tables;  // parents first
  bool triggers_on_replay = false;
  // user_version and application_id where the new schema says none: they follow the old file.
  std::vector<std::string> followed_pragmas;
  std::filesystem::path old_file;
  db::Endpoint new_file;
};

// How far it has come, from the new file alone.
struct MoveState {
  // seeds copy indexes verify check replay; recheck: a write brought over after the check left a
  // reference broken, and all of them are looked at again.
  std::string stage;
  std::int64_t rows_done = 0;
  std::int64_t rows_total = 0;
  std::int64_t last_replayed = 0;
  bool drain_completed = false;
  // For how long a unit has held a rollback-journal file at most; nullopt: it is none, or not read.
  std::optional<std::int64_t> longest_hold_ms;
};

// Moves the rows: copies in chunks, replays what was recorded, checks what it did. One session: the
// new file as `main`, the old one attached as `old`. Every unit is one transaction in the new file,
// which reads the old one in one snapshot and writes its checkpoint with its rows; it begins with
// the whole tail of the log, so that what is in the new file is the old file's present state, up to
// where the copy has come, and no constraint of the new file meets rows of two moments.
//
// A rollback-journal file is held for at most 50 ms by a unit of the copy: one long read would make
// every writer fail with "database is locked". A WAL file's readers block nobody. In both, a unit
// moves no more than about budget.bytes. A unit that turns out to be too large is given back, and
// tried again with fewer rows.
class Mover {
 public:
  // `at`: called at points of the table, inside the unit; `check`: in every transaction (epoch).
  struct Hooks {
    std::function<void(const char* point, const std::string& table, std::int64_t rows)> at;
    std::function<void(db::Session&)> check;
  };
  Mover(const Move& move, Hooks hooks);

  // Makes the new file's schema and the contract's tables, unless they are there; one transaction.
  static void Build(db::Session& session, const catalog::SqliteSchema& schema, db::Session& memory,
                    const std::string& schema_commit, const std::vector<TableWork>& tables);
  static bool IsBuilt(db::Session& session);
  static MoveState State(db::Session& session);
  // Whether the machine was started anew since the new file was looked at last.
  static bool WrittenBeforeThisBoot(db::Session& session);
  // The triggers that the old file must have: a statement each.
  static std::vector<std::string> Triggers(const Move& move, bool drained);
  // Of everything in the schema of `database` that is not the engine's own.
  static std::string OldSchemaHash(db::Session& session, const std::string& database);

  // With `triggers_on_replay`, what a replay leaves in a table can be compared with the old file
  // only as far as no trigger of the target speaks of it. One line per table that is not compared
  // whole.
  static std::vector<std::string> NotCompared(const Move& move);

  // One unit. caught_up: everything is copied, checked, and the log had no more than a little left.
  // Without `check`, what comes after the copy (comparison, integrity) is left for later.
  core::SyncProgress Step(const core::Budget& budget, bool check = true);
  // All of the log, and what its keys became, compared; the references that it touches; the
  // high-water marks. The caller holds the old file's write lock. Gives the number of keys.
  std::int64_t ReplayAll();
  bool Prepared();  // copied and checked: may be drained
  // For how long a unit has held a rollback-journal file at most: a writer may have waited so long.
  double longest_hold_ms() const { return longest_hold_ms_; }
  // The old file's schema_version once the drain has committed there; written down before it does.
  void ExpectDrained(std::int64_t version);
  void MarkDrained();

  db::Session& session() { return *session_; }

 private:
  struct Progress {
    std::string table;
    std::string position;  // as row_data; "" = not begun
    bool done = false;
    std::string verified;  // position
    bool verify_done = false;
    std::int64_t rows = 0;
  };
  struct Tail {
    std::int64_t from = 0;  // exclusive
    std::int64_t to = 0;    // inclusive
    bool whole = true;      // nothing lies beyond
    std::int64_t keys = 0;
  };

  void Begin();
  void Commit(const char* before, const char* after, const std::string& table, std::int64_t rows);
  void GiveBack();
  void LetGo();  // the old file is held no more
  void Load();
  void CheckRecording();
  void CheckOldSchema();
  void CheckBoot();
  void CompareAnew();  // all rows with the old file's
  std::string Stage() const;
  void SetStage(const std::string& stage);
  Tail ReplayTail(std::int64_t limit, bool compare);
  void Fill(const TableWork& work, const Tail& tail);
  void RespellKeys(const TableWork& work);
  void EnsureKeys(const TableWork& work, const std::string& rows);
  void EnsureReferred(const TableWork& work, const std::string& rows);
  std::int64_t MatchSeeds(const TableWork& work, const std::string& rows);
  std::int64_t Put(const TableWork& work, const std::string& insert);
  void RequireKeys(const TableWork& work, const std::string& rows);
  void InsertDirty(const TableWork& work);
  void ReplayWithTriggers(const TableWork& work, const std::string& inside);
  void UpdateDirty(const TableWork& work, const std::string& update);
  enum class Comparable { kRows, kKeys, kNothing };
  static Comparable ComparableOf(const Move& move, const TableWork& work, std::string* why);
  void CompareDirty(const TableWork& work, bool keys_alone);
  void RequireTranslated(const TableWork& parent, bool fires);
  std::string Inside(const TableWork& work) const;  // condition: copied already; "" = all, "0" none
  std::string After(const TableWork& work, const std::string& position) const;
  std::string UpTo(const TableWork& work, const std::string& position) const;
  std::string PositionAfter(const TableWork& work, const std::string& position, std::int64_t rows);
  std::int64_t SeedStep(std::int64_t rows);
  std::int64_t CopyStep(Progress& progress, const TableWork& work, std::int64_t rows);
  void IndexStep();
  std::int64_t VerifyStep(Progress& progress, const TableWork& work, std::int64_t rows);
  void CountRange(const TableWork& work, const std::string& from, const std::string& to);
  std::string OldRowOfNew(const TableWork& work) const;
  std::int64_t VerifyBackStep(Progress& progress, const TableWork& work, std::int64_t rows);
  void CountRows(const TableWork& work);
  void CheckStep();
  void TriggerStep();
  void Follow();  // high-water marks, user_version, application_id
  core::SyncProgress StepWithin(const core::Budget& budget, bool check);
  void RecordHold();
  void Limit(const core::Budget& budget, bool by_time);
  void Unlimit();
  std::int64_t BytesRead();  // by this unit, of both files
  void Adapt(std::int64_t& amount, std::int64_t used, std::int64_t least, std::int64_t most,
             const core::Budget& budget);
  bool OldIsWal();

  const Move& move_;
  Hooks hooks_;
  std::unique_ptr<db::Session> session_;
  std::unique_ptr<TouchedReferences> references_;
  bool wal_ = false;
  std::int64_t page_bytes_ = 4096;  // of the old file
  std::int64_t chunk_rows_ = 500;   // so many as fit the time and the bytes
  std::int64_t tail_keys_ = 4000;
  std::int64_t fewest_tail_keys_ = 0;
  SteadyClock::time_point held_since_;  // the old file, by this unit
  bool holding_ = false;
  std::int64_t pages_before_ = 0;  // read when it began
  bool too_large_ = false;         // the unit was ended by its limits
  double longest_hold_ms_ = 0;
  std::int64_t recorded_hold_ms_ = -1;
  std::vector<Progress> progress_;  // beside move_.tables
  std::string stage_;
  std::int64_t last_replayed_ = 0;
  std::int64_t old_version_ = -1;
};

}  // namespace understudy::hot_copy
