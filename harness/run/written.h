#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>

#include "harness/evidence/evidence.h"

namespace understudy::harness {

// Which rows of one database are not the migration's alone: those that the ledger knows, and the
// tables that other tables' triggers or referential actions write when a client does.
class Written {
 public:
  // Reads the ledger (flushed) and the catalog of `database` in its state at `copy`.
  Written(db::Session& ledger, const std::string& database, db::Session& copy);

  // Whether a ledgered client wrote, or may have written, the row with this key.
  bool Knows(std::string_view table, const Json& key) const;
  // Whether one wrote to the table at all, or something that follows from one did.
  bool Touched(const std::string& table) const {
    return tables_.contains(table) || indirect_.contains(table);
  }
  // Table → why its rows cannot be told from the clients' doing.
  const std::map<std::string, std::string>& indirect() const { return indirect_; }

 private:
  std::unordered_set<std::uint64_t> keys_;
  std::set<std::string> tables_;
  std::map<std::string, std::string> indirect_;
};

}  // namespace understudy::harness
