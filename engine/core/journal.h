#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/db/session.h"

namespace understudy::core {

// What a phase led to.
enum class State {
  kNone,
  kPreparing,
  kSyncing,
  kReady,
  kCutOver,
  kVerified,
  kCleaned,
  kRolledBack,
  kReset,
  kFailed,
  kAmbiguous
};
std::string_view StateName(State state);  // none preparing syncing ready cutover verified …
State StateFromName(std::string_view name);

struct JournalRecord {
  std::string strategy;
  std::string digest;  // of the migration file
  State state = State::kNone;
  std::int64_t epoch = 0;
  Json detail = Json::object();  // what the lifecycle keeps: {"failed_phase", "message", …}
};

// One thing that a strategy did and must remember: "applied 0007_total.up.sql".
struct JournalEntry {
  std::int64_t number = 0;
  std::string name;
  Json detail = Json::object();
};

// The state of one migration, in the database that it describes: schema `understudy` in
// PostgreSQL, tables `_understudy_…` in SQLite. Writes join the transaction that is open on the
// session, so that they commit with the work that they describe.
class Journal {
 public:
  Journal(db::Session& session, std::string migration_id);

  bool Exists();  // whether the tables are there
  void Create();  // makes them if absent; in a transaction of its own when none is open
  // Until the end of the transaction that is open: others that begin a migration in this database
  // wait here.
  void LetOneBegin();
  std::optional<JournalRecord> Load();  // nullopt: no journal, or none of this id
  void Save(const JournalRecord& record);
  void SetState(State state, const Json& detail = Json::object());

  // Raises the epoch and gives the new one: whoever held the old one is refused from now on.
  std::int64_t TakeOver();
  // Locks the record until the transaction's end; Error(kConflict, "epoch") when it is not `epoch`:
  // another process has taken the migration over. Every writing transaction calls it first.
  void CheckEpoch(std::int64_t epoch);

  void Add(const std::string& name, const Json& detail = Json::object());
  // Replaces the detail of the entry `name`, or adds it.
  void Put(const std::string& name, const Json& detail);
  void Remove(const std::string& name);
  std::vector<JournalEntry> Entries();
  std::optional<JournalEntry> Find(const std::string& name);

  // Takes this migration out, and the tables and the schema with the last one.
  void Drop();

 private:
  std::string Table(const char* name) const;
  db::Session& session_;
  std::string id_;
};

// Keeps two processes off one migration, for as long as this value lives: a session advisory lock
// (PostgreSQL), a lock file beside the database (SQLite). Error(kConflict) says who holds it.
class MigrationLock {
 public:
  MigrationLock(const db::Endpoint& target, const std::string& migration_id);
  ~MigrationLock();
  MigrationLock(const MigrationLock&) = delete;
  MigrationLock& operator=(const MigrationLock&) = delete;

 private:
  std::unique_ptr<db::Session> session_;
  int fd_ = -1;
  std::string file_;
};

}  // namespace understudy::core
