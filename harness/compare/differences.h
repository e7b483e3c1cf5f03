#pragma once

#include "engine/db/value.h"
#include "harness/compare/compare.h"
#include "harness/compare/pairing.h"

namespace understudy::harness {

// Takes the differing rows of one pair of tables as they are found and counts them into a
// TableComparison: asks options.explained, keeps the first options.examples. Rows are the values
// of the pair's columns, in their order.
class Differences {
 public:
  Differences(const TablePair& pair, bool sqlite_left, bool sqlite_right,
              const CompareOptions& options, TableComparison& result);

  // Both have the key; what differs is found here. `equal`: tells whether two values of a column
  // are the same. Nothing when all are.
  void Changed(const db::Row& key, const db::Value* left, const db::Value* right,
               const std::vector<bool>& differs);
  void OneSided(bool left, const db::Row& key, const db::Value* row);
  // Of a multiset: `row` stands on the left and on the right so many times.
  void Copies(const db::Value* row, bool row_is_left, std::int64_t left, std::int64_t right);
  bool found() const { return found_; }  // explained ones too

 private:
  Json Key(const db::Row& key) const;
  Json Typed(std::size_t column, bool left, const db::Value& value) const;
  Json WholeRow(bool left, const db::Value* row) const;
  bool Explained(const Json& key, const std::string& kind);
  bool WantsExample() const;

  const TablePair& pair_;
  bool sqlite_[2];
  const CompareOptions& options_;
  TableComparison& result_;
  std::int64_t seen_ = 0;
  bool found_ = false;
};

}  // namespace understudy::harness
