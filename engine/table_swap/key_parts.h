#pragma once

#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"

// Foreign keys as SQL for the two sides of an exchange's commit: made under the locks without a
// look at the rows, valid behind it. A partitioned table takes no NOT VALID. There the leaves get
// the key by themselves, are validated, and the key of their parents, made last, takes theirs over
// as they are, without reading a row.
namespace understudy::table_swap {

// The key that a partition has on behalf of a key of its parent's.
struct KeyPart {
  db::TableName table;
  std::string name;
  std::string comment;
  bool leaf = true;  // else partitioned itself
};

// An expression of SQL that reads the parts of the key `key` (an alias of pg_constraint), those
// below before those above; `from` and `to` are aliases of pg_class. NULL where there are none, or
// where the key is made at once: the referenced table has partitions too, and too many, or a part
// is another role's, which adds a key to its table by that of the whole alone.
std::string KeyPartsSql(const std::string& key, const std::string& from, const std::string& to);
std::vector<KeyPart> KeyPartsFrom(const Json& json);
std::vector<KeyPart> KeyPartsFrom(const db::Value& value);  // of KeyPartsSql
Json KeyPartsJson(const std::vector<KeyPart>& parts);

// What makes a key whole behind the commit. Doing it again does no harm.
struct KeyFinish {
  std::vector<std::string> validate;  // each by itself
  // A query for the next statement of each partition that has come since, whose rows the joining
  // would look up: adds the key as under an exchange's locks, then validates it. "" = none can.
  std::string late;
  // Then, in one transaction, the parents' keys from below: for a moment nobody else comes near.
  std::vector<db::TableName> lock;
  std::vector<std::string> join;
  std::string joined;  // asks whether that was done before
  bool empty() const { return validate.empty() && join.empty(); }
  bool operator==(const KeyFinish&) const = default;
  Json ToJson() const;
  static KeyFinish FromJson(const Json& json);
};

struct KeyText {
  db::TableName table;
  std::string name;
  std::string definition;  // pg_get_constraintdef
  std::string comment;
  bool validated = true;
  bool partitioned = false;  // the referencing table is
  std::vector<KeyPart> parts;
  db::TableName references;
};

// "ALTER TABLE … ADD CONSTRAINT …;" as it is to be under the locks.
std::string AttachKeySql(const KeyText& key);
KeyFinish FinishOf(const KeyText& key);

// A key of a partitioned table that AttachKeySql can only make whole, looking every row up.
struct WholeKey {
  db::TableName table;
  std::string name;
  db::TableName references;
};
// Those that come from or lead to `tables`.
std::vector<WholeKey> KeysMadeWhole(db::Session& session, const db::Value& tables);

}  // namespace understudy::table_swap
