#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/capture/compare.h"
#include "engine/capture/postgres.h"

// What replay and comparison share: the statements' parts of one captured table, and of one foreign
// key. For this room only.
namespace understudy::capture {

struct KeyColumn {
  std::string log;      // its name in the log and in the batch: k1, k2, …
  std::string type;     // of the log's column, with its collation
  std::string watched;  // quoted
  std::string mirror;   // quoted
};

struct TableSql {
  db::TableName watched;
  db::TableName mirror;
  db::TableName log;
  std::string from_watched;  // ONLY "public"."t" AS "t": as a mapping's expressions read it
  std::string the_mirror;    // ONLY "shadow"."t"
  std::string batch;         // pg_temp."understudy_keys_17"
  std::vector<KeyColumn> key;
  const RowMapping* mapping = nullptr;

  // The names as they are now, in one query. Error(kMismatch) when one of the three is gone.
  static TableSql Read(db::Session& session, const CapturedTable& table);

  std::string KeyList(const std::string& alias = "") const;  // "b.k1, b.k2"
  std::string MakeBatch() const;                             // CREATE TEMPORARY TABLE …
  // Conditions that join by key; `keys` is the alias of the log or of a batch.
  std::string WatchedIsKey(const std::string& keys) const;
  std::string MirrorIsKey(const std::string& mirror, const std::string& keys) const;
  std::string MirrorIsWatched(const std::string& mirror) const;
  std::string WatchedAlias() const;  // quoted
};

// {"id": "17"} from the values of row[from…].
Json KeyJson(const RowMapping& mapping, const db::Row& row, std::size_t from);

// A foreign key, its two tables under the aliases f and t.
struct ReferenceSql {
  db::TableName from;
  db::TableName to;
  std::string from_text;
  std::string to_text;
  std::string refers;   // which rows of f have to find one at all
  std::string matches;  // f's values are t's
  std::string listed;   // the values, as text
};

ReferenceSql Describe(db::Session& session, const Reference& reference);

// That row f refers to the key that `keys` (the alias of a log or a batch of `to`) has; "" when the
// reference goes by other columns than the captured key.
std::string RefersToKey(const Reference& reference, const CapturedTable& to, const TableSql& sql,
                        const std::string& keys);

// What of f has to be left out because keys are pending: " AND NOT EXISTS (…)"; nullopt = nothing
// can be said until they have been replayed.
std::optional<std::string> LeftOut(db::Session& session, const Reference& reference,
                                   const std::vector<CapturedTable>& captured);

}  // namespace understudy::capture
