#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/catalog/sqlite_schema.h"
#include "engine/db/session.h"

namespace understudy::capture {

// A table whose writes are recorded, by the columns (or the rowid's name) that tell its rows.
struct SqliteWatched {
  const catalog::SqliteTable* table = nullptr;
  std::vector<std::string> key;
};

// What an SQLite file says of itself, in _migration_marker.
enum class SqliteMark { kNone, kRecording, kDraining };
std::string_view MarkName(SqliteMark mark);  // none recording draining

// The text that a refused write fails with.
inline constexpr std::string_view kDrainingText = "understudy: draining, retry";

// `row_data` of a row: every key value as its storage class and hex, such as
// "integer:3132,text:6162". SQL over the columns of `row` ("NEW", "OLD", or a table's quoted name).
std::string SqliteKeySql(const catalog::SqliteTable& table, const std::vector<std::string>& key,
                         std::string_view row);

// Recording in one SQLite file: the marks, the log, and the triggers that fill it whichever program
// writes. Everything that changes the file joins the caller's transaction (BEGIN IMMEDIATE), so
// that a writer is either wholly before the mark or sees it.
//
//   _migration_marker(id = 0, status)                                      recording | draining
//   _migration_log(id, txn_id, ordering, operation, table_name, row_data)  no constraint can fail
//   _migration_txn(id = 0, txn_id, first_log_id, last_txn_id,              the library's groups,
//                  target, recording)                                      and whom this is for
//
// A library that wants its writes grouped sets, at the beginning of its transaction,
// txn_id = last_txn_id = last_txn_id + 1 and first_log_id = max(_migration_log.id) or 0, and sets
// txn_id = NULL before it commits. Nobody else needs to know of it: txn_id is NULL then.
class SqliteCapture {
 public:
  explicit SqliteCapture(db::Session& old) : old_(old) {}

  SqliteMark Mark();
  std::string Target();  // the new file that the recording is for; "" when there is none
  // Which recording this is: every Install has a name of its own. "" when there is none.
  std::string Recording();
  std::int64_t LastLogId();
  // What the log takes up, told from a sample: reading all of it would hold writers up.
  std::int64_t LogBytes();
  bool RefusesWrites();  // the refusal triggers are there
  // Somebody else's objects whose names begin as the engine's own do: a kind and a name each. They
  // would be taken for its own.
  std::vector<std::string> LikeOurs();

  // REQUIRES (for all below): an immediate transaction is open.
  void Install(const std::vector<SqliteWatched>& watched, const std::string& target,
               const std::string& recording);
  // Deletes up to `most` entries that are not after `through`. The newest entry stays: numbers go
  // on from it, and what lies beyond it cannot be missed. Gives the number of entries.
  std::int64_t TrimLog(std::int64_t through, std::int64_t most);
  // Takes away the triggers that record and the marks, and nothing that takes longer the more was
  // recorded: the log stays, for Remove.
  void StopRecording();
  // Writes to any of `tables` are refused from the commit on.
  void StartDraining(const std::vector<catalog::SqliteTable>& tables);
  // Takes away the marks, the log and their triggers; the refusals too, unless they are to stay.
  // Gives a line per thing.
  std::vector<std::string> Remove(bool refusals_stay, bool dry_run);

 private:
  bool HasTable(const char* name);
  std::vector<std::string> TriggersLike(const char* prefix);
  db::Session& old_;
};

// The triggers that record writes to one table, as CREATE statements, word for word as SQLite keeps
// them; and those that refuse them.
std::vector<std::string> SqliteRecordingTriggers(const SqliteWatched& watched);
std::vector<std::string> SqliteRefusalTriggers(const catalog::SqliteTable& table);

// The first of `triggers` (CREATE statements) that `database` does not have just so; "" when it has
// them all. A table that is dropped takes its triggers along, and what is written to one of the
// same name and text is recorded by nobody.
std::string SqliteMissingTrigger(db::Session& session, const std::string& database,
                                 const std::vector<std::string>& triggers);

}  // namespace understudy::capture
