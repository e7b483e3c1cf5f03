#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "harness/actors/actor.h"
#include "harness/schema/schema.h"

// What the clients of one workload know of their database: a plan for every table, and who owns
// which rows. Read before they start, then read-only; with `catalog: follow` a new one is made.
namespace understudy::harness {

constexpr std::size_t kNoParent = static_cast<std::size_t>(-1);

struct ForeignKeyPlan {
  std::string name;
  std::vector<std::size_t> columns;  // of the child, by position
  std::size_t parent = kNoParent;    // index in Stage::plans; kNoParent: cannot be read
  std::vector<std::size_t> from;     // positions in the parent's TablePlan::kept
  bool nullable = true;
};

// What a hot row can count in, and sign with.
bool IsInteger(const SchemaColumn& column);
bool IsText(const SchemaColumn& column);

// What one table allows its writers.
struct TablePlan {
  explicit TablePlan(SchemaTable its) : table(std::move(its)), maker(table) {}
  TablePlan(const TablePlan&) = delete;
  TablePlan& operator=(const TablePlan&) = delete;

  SchemaTable table;  // a copy: it outlives the schema that it came from
  ValueMaker maker;
  std::string display, quoted;
  std::vector<std::size_t> key;       // columns by position
  std::vector<std::size_t> kept;      // what is remembered of a row: the key, what others refer to
  std::vector<std::size_t> returned;  // columns of the RETURNING list
  std::vector<ForeignKeyPlan> foreign_keys;
  bool has_children = false;
  bool server_makes_key = false;  // a column of the key comes from a sequence

  // Columns that an INSERT names: [0] all that we can make, [1] what has no default.
  std::vector<std::size_t> insert[2];
  bool can_insert = false, can_insert_short = false;
  std::vector<std::size_t> updatable;
  bool can_delete = false;
  bool can_upsert = false;
  std::vector<std::size_t> movable;  // key columns that a key update changes
  std::string move_by_sequence;      // SQL that draws a new key for movable[0], "" = by ValueMaker
  // A key that is made of parents alone is unique because one of them is the client's own insert
  // and is used once: index in foreign_keys.
  int exclusive_parent = -1;
  bool reread = false;  // AFTER triggers change the row: RETURNING does not show it
  int counter = -1;     // of a hot row: the column that counts, the one that says who
  int note = -1;
  std::vector<std::string> why_not;         // what it does not allow, and why
  std::set<std::string> known_constraints;  // unique, check, exclusion: at the start

  bool CanWrite() const { return can_insert || !updatable.empty() || can_delete; }
  std::string Returning() const;
  Json RowJson(const db::Row& returned_row) const;
  Json KeyJson(const db::Row& kept_row) const;
  db::Row Keep(const db::Row& returned_row) const;  // of `kept`; the key first
};

struct HotRow {
  std::size_t plan;
  db::Row kept;
};

struct Stage {
  db::Engine engine = db::Engine::kPostgres;
  std::string database;
  std::vector<std::unique_ptr<TablePlan>> plans;  // in foreign-key order
  std::vector<std::size_t> chosen;                // those that the workload is about
  // Per plan: rows of before, fit for parents. Where others refer to a table, no client deletes
  // them or changes their keys.
  std::vector<std::vector<db::Row>> parents;
  // Per plan, per client: rows that only this one changes.
  std::vector<std::vector<std::vector<db::Row>>> owned;
  std::vector<HotRow> hot;
  std::map<std::string, std::string> skipped;  // table → why
  std::set<std::string> written_by_triggers;   // tables whose rows change outside the ledger

  std::string Mark(std::size_t number) const {  // the placeholder of parameter `number`, from 1
    return (engine == db::Engine::kPostgres ? "$" : "?") + std::to_string(number);
  }
  int Find(const db::TableName& name) const;
};

struct StageOptions {
  std::vector<std::string> tables;  // names or globs; empty = all
  std::size_t clients = 1;
  double hot_share = 0;
  bool writes = true;  // readers claim nothing
};

// The plans from the catalog alone. `session` may be of any settings.
std::unique_ptr<Stage> PlanStage(db::Session& session, const std::string& database,
                                 const StageOptions& options);
// Reads rows, claims them in the ledger, gives them to their owners.
void ShareOut(Stage& stage, db::Session& session, Ledger& ledger, const StageOptions& options);
// Another table that a write to one reaches through a trigger.
struct SideEffect {
  std::size_t table;  // the one written to, in Stage::plans
  char operation;     // i u d
  db::TableName target;
  char does;  // i u d
};
// What triggers do beside the row itself, from their text, those of triggers that they fire too.
// Takes columns that a trigger names away from what hot rows count and sign with.
std::vector<SideEffect> ReadTriggers(Stage& stage, db::Session& session);
// Takes from the plans what a ledger could not follow: writes that change other rows.
void AvoidSideEffects(Stage& stage, const std::vector<SideEffect>& effects);

// A session for one client: the users' settings, but text forms that compare.
std::unique_ptr<db::Session> ConnectClient(const db::Endpoint& endpoint, const std::string& name,
                                           bool canonical);
std::string ClientName(const std::string& kind, std::size_t number);  // "understudy-client-…"

}  // namespace understudy::harness
