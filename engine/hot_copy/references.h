#pragma once

#include <string>
#include <vector>

#include "engine/hot_copy/table_work.h"

namespace understudy::hot_copy {

// The declared references of the new file that a replay may have broken: those of the rows that it
// wrote, and those to keys that it took away. Judged as PRAGMA foreign_key_check judges (NULL
// refers to nothing; the parent's affinity and collation hold), but for these rows alone. Children
// of a key that went are looked up by an index where they have one that fits, else by one reading
// of them.
class TouchedReferences {
 public:
  // `session`: the new file is its `main`. `tables`: all of the move.
  TouchedReferences(db::Session& session, const catalog::SqliteSchema& schema);

  // Before the touched rows are taken out: the keys of theirs that others may refer to.
  void Remember(const std::vector<const TableWork*>& touched);
  // After they were brought in: what refers to no row, for people; "" where nothing does.
  std::string Broken(const std::vector<const TableWork*>& touched);

 private:
  struct Reference {
    const catalog::SqliteTable* child = nullptr;
    const catalog::SqliteForeignKey* key = nullptr;
    const catalog::SqliteTable* parent = nullptr;
    std::string gone;      // temp table of parents' keys
    bool indexed = false;  // the child has an index by which they can be looked up
  };

  db::Session& session_;
  std::vector<Reference> references_;
};

// Those whose children can only be found by reading all of them: "c (p_id) to p", for people.
std::vector<std::string> ReferencesWithoutIndex(const catalog::SqliteSchema& schema);

}  // namespace understudy::hot_copy
