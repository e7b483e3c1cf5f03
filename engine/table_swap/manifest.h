#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/journal.h"
#include "engine/db/identifier.h"
#include "engine/table_swap/key_parts.h"
#include "engine/table_swap/mover.h"

namespace understudy::table_swap {

// Our two schemas beside one of the user's. Names longer than 63 bytes are cut (at a character)
// and end in a digest of the whole.
struct SchemaNames {
  std::string user;
  std::string shadow;
  std::string backup;
};
SchemaNames NamesBeside(const std::string& user_schema);

// One table of the set.
struct SetTable {
  db::TableName name;  // the user's: public."User"
  bool preserved = false;
  bool partitioned = false;   // the parent: holds no rows itself
  std::uint32_t old_oid = 0;  // in production; 0 = new with this migration
  std::uint32_t new_oid = 0;  // in the shadow schema; 0 = not built yet
};

// A foreign key of the new schema that may not be there while rows are replayed: one that
// references a preserved table, or a table outside the set (a row of the shadow must not hold back
// a DELETE of production). Added by the cutover NOT VALID, validated behind it.
struct DeferredForeignKey {
  db::TableName table;
  std::string name;
  std::vector<std::string> columns;
  db::TableName references;
  std::vector<std::string> referenced_columns;
  bool references_set = false;  // else: a table outside the set
  bool validated = true;        // as the new schema has it
  bool partitioned = false;     // the referencing table is
  std::string definition;  // pg_get_constraintdef by the names after the swap: FOREIGN KEY (…) …
  std::string comment;
  std::vector<KeyPart> parts = {};  // by the names after the swap
};

// The state that a user trigger or rule of the new schema is to have; on the shadow it is disabled
// from its creation to the cutover.
struct TriggerState {
  db::TableName table;
  std::string name;
  bool rule = false;
  char enabled = 'O';  // tgenabled/ev_enabled: O origin, D disabled, R replica, A always
};

Json TriggersJson(const std::vector<TriggerState>& triggers);
std::vector<TriggerState> TriggersFrom(const Json& json);

// What a migration made and what it will exchange, kept in the journal: every object by its OID.
// Acting on anything that is not in here is a bug.
struct Manifest {
  std::vector<SchemaNames> schemas;
  std::vector<SetTable> tables;
  std::vector<Movable> old_objects;  // production's side of the set: main → backup
  std::vector<Movable> new_objects;  // in the shadow schemas: shadow → main
  std::vector<DeferredForeignKey> foreign_keys;
  std::vector<TriggerState> triggers;
  std::vector<std::string> access;  // owners and grants of the shadow, beside production's
  std::string scratch_database;     // "" = none is there
  bool built = false;               // the shadow has its tables (pre-data)
  bool copied = false;              // and their rows
  bool complete = false;            // and indexes, constraints, triggers

  const SchemaNames& Names(const std::string& user_schema) const;
  const SetTable* Find(const db::TableName& name) const;
  db::TableName Shadow(const db::TableName& name) const;  // where it stands before the cutover
  db::TableName Backup(const db::TableName& name) const;  // where the old one stands after it

  // In the transaction that is open on the journal's session.
  void Save(core::Journal& journal) const;
  static std::optional<Manifest> Load(core::Journal& journal);
};

// {"xid"}: the last transaction that has written rows which are not visible to everybody into the
// shadow. Whoever holds a snapshot from before its commit would miss them after the exchange.
inline constexpr const char* kLastWriteEntry = "written";
// In the transaction that writes, behind Journal::CheckEpoch, whose lock puts those in a row.
void RememberWrite(db::Session& session, core::Journal& journal);

}  // namespace understudy::table_swap
