#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "engine/table_swap/key_parts.h"
#include "engine/table_swap/manifest.h"
#include "engine/table_swap/shadow.h"

// What the scratch holds behind the rows: indexes, constraints, comments, as SQL that makes them in
// the shadow schemas of the target. For post_data only.
namespace understudy::table_swap {

struct PostIndex {
  std::uint32_t oid = 0;     // in the scratch
  std::uint32_t parent = 0;  // the partitioned index that it is a part of
  db::TableName table;       // in the shadow schema
  db::TableName name;
  char relkind = 'r';              // of the table
  bool partitioned = false;        // holds nothing itself: its parts are attached to it
  std::string create;              // CREATE INDEX; "" where only the constraint can make it
  std::string constraint_name;     // "" = none
  std::string constraint;          // ALTER TABLE … ADD CONSTRAINT …; "" = none
  std::vector<std::string> after;  // CLUSTER ON, REPLICA IDENTITY, SET STATISTICS
};

struct PostForeignKey {
  db::TableName from;  // in the shadow schema
  db::TableName to;
  bool to_shadow = false;   // else: a table outside the set
  db::TableName from_root;  // of a partition: the table that it is a part of; else the same
  db::TableName to_root;
  std::string name;
  std::vector<std::string> columns;
  std::vector<std::string> referenced_columns;
  std::string definition;        // as it is to be made now
  std::string final_definition;  // after the exchange
  std::string comment;
  bool validated = true;
  bool partitioned = false;  // the referencing table is
  bool inherited = false;    // of its partitioned parent: made with it
  std::vector<KeyPart> parts;
};

std::vector<std::string> ShadowSchemas(const Settings& settings);
std::string UserSchemaOf(const Settings& settings, const std::string& shadow);

std::vector<PostIndex> ReadIndexes(db::Session& scratch, const Settings& settings);
std::vector<PostForeignKey> ReadShadowKeys(db::Session& scratch, const Settings& settings);
// COMMENT ON for indexes, constraints (waiting foreign keys apart), triggers, rules, policies,
// statistics.
std::vector<std::string> ReadComments(db::Session& scratch, const Settings& settings);
// Whether the key waits for the cutover: what it references is preserved or not in the set.
bool Waits(const PostForeignKey& key, const Settings& settings);

}  // namespace understudy::table_swap
