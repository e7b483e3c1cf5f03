#pragma once

#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "engine/base/json.h"

// One random table swap: schemas, rows, who writes what, where it is interrupted, what comes after.
// A case is a plain value, so that it shrinks, and every statement of it is resolved from it alone,
// so that it can be written down as a scenario.
namespace understudy::property {

constexpr int kOwners = 3;  // writers; each has rows that nobody else writes to
constexpr int kShared = 3;  // rows of owner -1: everybody counts them up
constexpr int kFixed = 4;   // rows of owner -2: nobody writes to them
constexpr int kTags = 6;    // rows that an owner may have in a table

struct Reference {
  int to = 0;  // a table, modulo their number
  int on_delete = 0;
  int on_update = 0;
  bool deferred = false;
};

struct TableCase {
  int name = 0;  // a style
  bool other_schema = false;
  bool preserved = true;
  int key = 0;          // integer, identity, text, uuid, composite, serial
  bool unique = false;  // a value that is handed from row to row
  bool generated = false;
  int trigger = 0;        // none, BEFORE, AFTER on the own row, across rows, across tables
  int trigger_state = 0;  // enabled, ALWAYS, disabled
  bool view = false;
  int rows = 0;                       // beside those that everybody has
  std::vector<int> extras;            // types
  std::vector<Reference> references;  // at most two
  int decoration = 0;                 // comment, grant, row security, …
  int change = 0;                     // what the new schema has otherwise
  int partition = 0;  // none, by range, by list, by hash, in two levels; its key is (owner, tag)
  bool truncated = false;  // preserved, and one writer's alone, who empties it now and then
};

// One statement or more of a writer.
struct Op {
  int kind = 0;
  int table = 0;
  int a = 0;
  int b = 0;
  int end = 0;  // 0 the transaction goes on, 1 commit, 2 rollback
};

struct SwapCase {
  bool by_sql = false;  // "schema": {"sql": …}: every table is preserved
  std::vector<TableCase> tables;
  std::vector<std::vector<Op>> histories;  // one a writer; run again and again
  bool quiet_cutover = false;  // the writers stop before it: what is there then is the truth
  bool reverse = false;
  int interrupt = 0;  // 0 = not; else a point
  int nth = 1;
  bool cut = false;  // the server ends the engine's sessions there; else the engine fails
  bool then_reset = false;
  int after = 0;  // cleanup, rollback
};

// ---- what a case means

std::string SchemaOf(const TableCase& table);
std::string NameOf(const SwapCase& swap, std::size_t table);
std::string QuotedName(const SwapCase& swap, std::size_t table);
std::vector<std::string> Schemas();  // of every case
bool Preserved(const SwapCase& swap, std::size_t table);
bool HasCountedHits(const SwapCase& swap, std::size_t table);
// Writer 0 empties it: nobody else has rows in it, and no other table refers to it.
bool Truncated(const SwapCase& swap, std::size_t table);

// Everything but rows; `changed`: the new schema.
std::string SchemaSql(const SwapCase& swap, bool changed);
std::string ChangeSql(const SwapCase& swap);
std::string ProductionRowsSql(const SwapCase& swap);
std::string SourceRowsSql(const SwapCase& swap);
// The migration of the case; `sql_file` with by_sql.
Json MigrationOf(const SwapCase& swap, const std::string& sql_file);

// Columns that mean the same before and after, as one text expression.
std::string StateOf(const SwapCase& swap, std::size_t table);
// All columns of the old shape, as one text expression over the table as it was, or over what it
// has `become`. With "reverse" the way back must not change it.
std::string OldShapeOf(const SwapCase& swap, std::size_t table, bool become);
// The statements of an op of a writer; `again` differs from round to round.
std::vector<std::string> SqlOf(const SwapCase& swap, const Op& op, int owner);
// The table and the tag of the shared row that `op` counts up, or -1.
int CountedTag(const SwapCase& swap, const Op& op);

// [0] = none; else every point of the engine's list that a table swap passes.
const std::vector<std::string>& InterruptPoints();

// The case as a scenario that `understudy run` takes, with its SQL files, in `folder`. What a
// scenario cannot say (transactions, exact interleaving) is told in its description.
void WriteScenario(const SwapCase& swap, const std::filesystem::path& folder,
                   const std::string& why);

std::ostream& operator<<(std::ostream& out, const TableCase& table);
std::ostream& operator<<(std::ostream& out, const Op& op);
std::ostream& operator<<(std::ostream& out, const SwapCase& swap);

}  // namespace understudy::property
