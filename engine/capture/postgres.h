#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/catalog/postgres.h"
#include "engine/db/session.h"

// Keeps a mirror of a table up to date by dirty keys. Triggers on the watched table append the keys
// of the rows that were written to a log, and nothing else; Replay() reads the log, takes those
// rows out of the mirror and puts in what the watched table has of them now.
//
// It does not know which side serves: the shadow mirrors main before a cutover, the backup mirrors
// main after it.
//
//   {  // one short transaction
//     Install(session, tables);             // waits for the writers; lock_timeout is the caller's
//   }
//   fill the mirrors from a snapshot taken AFTER that commit: InsertSql()
//   loop {                                  // each in one transaction of REPEATABLE READ
//     Replay(session, table, {});           // until nothing is pending
//   }
//   lock the watched tables; Replay(…, all); Remove()
//
// REQUIRES everywhere: a session with our settings (empty search_path). It must not be subject to
// row security on the watched table: Replay() fails rather than see only some of the rows.
namespace understudy::capture {

using catalog::Oid;

// What one column of the mirror gets.
struct ColumnSource {
  std::string column;
  std::string expression;  // SQL over the watched row, whose columns stand there by their names
  bool compared = true;    // false: gives another value each time, so that no comparison is of use
  bool operator==(const ColumnSource&) const = default;
};

// How a row of the watched table becomes one of the mirror's.
struct RowMapping {
  // Columns that are not here get their defaults (generated ones are computed).
  std::vector<ColumnSource> columns;
  // A usable key of the watched table, and the columns of the mirror that hold the same values.
  std::vector<std::string> key;
  std::vector<std::string> mirror_key;
  std::vector<std::string> key_equals;      // operators on the watched table: catalog::Key::equals
  std::vector<std::string> mirror_equals;   // mirror's column ? watched's value
  std::vector<std::string> mirror_collate;  // where the mirror's column has another; else ""
  // Columns of the mirror that no comparison looks at: defaults.
  std::vector<std::string> not_compared;
  // Which of the watched rows the mirror has, as SQL over them; "" = all. Replay(), Recopy() and
  // CompareMirror() heed it.
  std::string only = {};

  std::string InsertColumns() const;  // "a", "b": of the mirror
  std::string SelectList() const;     // their expressions

  Json ToJson() const;
  static RowMapping FromJson(const Json& json);
};

// Both tables by OID: they may be moved and renamed meanwhile.
struct CapturedTable {
  Oid watched = 0;
  Oid mirror = 0;
  RowMapping mapping;
  // Filled in by Install; 0 = not installed.
  Oid log = 0;
  Oid function = 0;
  // In the names of log, function and triggers, so that two who watch one table leave each other's
  // alone: a short word of letters and digits, or nothing.
  std::string owner = {};
  // Of this log and all others of the same owner together, with their indexes: past it, looked at
  // every few thousand entries, the trigger writes no keys any more, for good (Full). 0 = whoever
  // replays looks after it.
  std::int64_t max_bytes = 0;
  // Only that the table was written to is of interest: no mirror, no mapping, no key is needed, and
  // nothing can be replayed. See WasWritten().
  bool only_whether = false;

  Json ToJson() const;  // for the journal
  static CapturedTable FromJson(const Json& json);
};

// The schema of the logs and functions; it must exist. With an owner the triggers are called
// understudy_capture_OWNER and understudy_capture_truncate_OWNER.
inline constexpr const char* kSchema = "understudy";
inline constexpr const char* kRowTrigger = "understudy_capture";
inline constexpr const char* kTruncateTrigger = "understudy_capture_truncate";

// Makes logs, functions and triggers in the caller's transaction, and fills in their OIDs. Locks
// all watched tables first (SHARE ROW EXCLUSIVE, one statement, by OID), so that whoever writes has
// committed before, and everything later is logged. ENABLE ALWAYS, SECURITY DEFINER, on partitions
// too. Error(kUnsupported) names a table without the key that the mapping says. What is there of
// the same watched table and the same owner, by a run that died, is made anew.
void Install(db::Session& session, std::vector<CapturedTable>& tables);
// The same in two steps, for a transaction that holds its locks already: the logs and functions,
// whose files take their time and for which nobody waits, then the triggers.
void MakeLogs(db::Session& session, std::vector<CapturedTable>& tables);
void SetTriggers(db::Session& session, const std::vector<CapturedTable>& tables);

// Sets triggers where MissingTriggers() finds none (a partition that was attached, one that
// somebody dropped or disabled), in the caller's transaction, with Install's locks. The table has
// to be copied again: Recopy().
void Repair(db::Session& session, const std::vector<CapturedTable>& tables);

// Makes the triggers do nothing, in the caller's transaction and without a lock on production's
// tables: what is written from its commit on is not logged, and the mirrors are of no use any more.
void SwitchOff(db::Session& session, const std::vector<CapturedTable>& tables);

// Locks the watched tables for Remove(), at once and in a fixed order.
void LockForRemoval(db::Session& session, const std::vector<CapturedTable>& tables);

// Takes them away in the caller's transaction, found by OID; what is gone already is passed over.
// It locks the watched tables (ACCESS EXCLUSIVE); production's rows are not touched.
void Remove(db::Session& session, const std::vector<CapturedTable>& tables);

// Whether every trigger of ours is there, on partitions too, and enabled ALWAYS: what is missing,
// by name of table; empty = all is well.
std::vector<std::string> MissingTriggers(db::Session& session,
                                         const std::vector<CapturedTable>& tables);

// Those of `tables`, as the watched one's OID, of which keys are missing in the log: it was full,
// or a column of the key was renamed, dropped or retyped, so that the trigger could not read it
// (users' writes go on). Nobody knows which rows; such a table has to be copied again.
std::vector<Oid> Incomplete(db::Session& session, const std::vector<CapturedTable>& tables);

// Those of `tables` (only_whether), as the watched one's OID, to which somebody has written since
// Install(), as far as the caller sees. One of whose triggers is gone counts.
std::vector<Oid> WasWritten(db::Session& session, const std::vector<CapturedTable>& tables);

// Those of `tables`, as the watched one's OID, whose log is full: no more keys are written to it
// until it is made anew (Remove, Install), and as soon as a row was written it is Incomplete.
std::vector<Oid> Full(db::Session& session, const std::vector<CapturedTable>& tables);

// Bytes of the logs with their indexes: to be held against limits.log_max_bytes.
std::int64_t LogBytes(db::Session& session, const std::vector<CapturedTable>& tables);

// Entries that wait, per table, in the order of `tables`; counts no further than `at_most` each.
std::vector<std::int64_t> Pending(db::Session& session, const std::vector<CapturedTable>& tables,
                                  std::int64_t at_most = 1000000);

struct ReplayOptions {
  // Log entries to take; a conflict among the mirror's unique keys makes it more. nullopt = all
  // that are visible.
  std::optional<std::int64_t> entries = 200000;
  // Rows to find out one by one when the mirror refuses some.
  int refused_at_most = 20;
};

// A row that the mirror does not take.
struct RefusedRow {
  db::TableName table;  // the watched one
  Json key;             // {"id": "17"}
  std::string why;      // the server's words
  std::string code;     // its SQLSTATE
};

struct ReplayResult {
  std::int64_t entries = 0;  // taken from the log
  std::int64_t keys = 0;     // different ones among them
  std::int64_t deleted = 0;  // rows of the mirror
  std::int64_t inserted = 0;
  bool truncated = false;   // the watched table or a partition of it was truncated meanwhile
  bool incomplete = false;  // Incomplete(): nothing was taken
  bool more = false;        // `entries` was reached: there may be more
  // These stay pending, and so does what was not looked at once `refused_at_most` was reached.
  // Cutover must wait until somebody has mended them; a mended row is taken by the next replay.
  std::vector<RefusedRow> refused;
};

// One batch of one table in the caller's transaction: REPEATABLE READ, or any other while the
// watched tables are locked against writers. It takes visible entries, deletes those keys from the
// mirror, inserts the present rows, deletes exactly those entries. It ends with all constraints
// immediate, so that none is pending.
// REQUIRES: the mirror's first copy has committed; no other replay of the same table runs; triggers
// of users on the mirror are disabled, and no foreign key points to it.
// Errors as of db::Session; a row that is refused is none, see ReplayResult. An empty log costs one
// round trip; of many tables, ask Pending(session, tables, 1) first.
ReplayResult Replay(db::Session& session, const CapturedTable& table,
                    const ReplayOptions& options = {});

// Rows of the watched table for which `condition` is true, among those whose keys were replayed in
// the present transaction.
std::int64_t CountReplayed(db::Session& session, const CapturedTable& table,
                           const std::string& condition);

// Replay of many tables, made ready before the locks of a cutover are taken: under them few round
// trips are left, and no statement is planned any more once it has run.
class ReadyReplay {
 public:
  // Reads the names, makes the tables of the batches and prepares the statements, in `session`,
  // which outlives this and is in no transaction.
  ReadyReplay(db::Session& session, const std::vector<CapturedTable>& tables);

  bool Has(Oid watched) const { return tables_.contains(watched); }
  struct Done {
    // By how many rows the mirrors have grown, by watched table, of those that had entries. The
    // batch of each is there till the commit.
    std::map<Oid, std::int64_t> rows;
    std::int64_t entries = 0;
  };
  // All visible entries of those of `watched` that were made ready, in the caller's transaction,
  // which is as Replay() wants it. nullopt: a mirror refuses a row, or a table was truncated;
  // nothing is done then, and Replay() of each table says or does what is needed.
  std::optional<Done> Run(const std::vector<Oid>& watched);

 private:
  db::Session& session_;
  std::map<Oid, std::string> tables_;  // by watched: the end of its statements' names
};

// Fills the mirror anew, in the caller's transaction of REPEATABLE READ: takes all rows out, puts
// the watched table's present rows in, deletes the visible entries. For a table whose fingerprint
// has changed. Gives the rows.
std::int64_t Recopy(db::Session& session, const CapturedTable& table);

// INSERT INTO mirror (…) SELECT … FROM ONLY watched, for the first copy; `where` may restrict it by
// columns of the watched table.
std::string InsertSql(db::Session& session, const CapturedTable& table,
                      const std::string& where = "");

}  // namespace understudy::capture
