#pragma once

#include <string>
#include <vector>

#include "harness/compare/pairing.h"
#include "harness/compare/side.h"

namespace understudy::harness {

// What must be the same on both sides for their hashes to agree.
struct HashForm {
  db::Engine engine = db::Engine::kPostgres;
  bool native = false;  // hash_record_extended over the columns (both sides 14+, one encoding);
                        // else over the text of the row, which every version has
  bool second = false;  // beside it an independent hash
};

// The SQL of one side of one pair of tables. All its row hashes are 64 bits; they are added up,
// never XORed (two equal rows cancel out under XOR).
class TableSql {
 public:
  // `left`: which side of the pair.
  TableSql(const TablePair& pair, bool left, HashForm form, const Side& side);

  // One row: count(*), sum, and with `second` the other sum.
  std::string Digest() const;
  std::string Bytes() const;  // one value: what the table takes on disk, without indexes
  // Rows of (bucket, count, sum[, other sum]) for the 1024 buckets of the key's hash (of the row's
  // own for a multiset); `shift` 10 for the second level, within the first level's `buckets`.
  std::string Buckets(int shift, const std::vector<std::int64_t>& buckets) const;
  // The rows of the buckets of that level ({}: all), sorted by SortColumns(): first the columns to
  // sort by, then the key, then the columns compared.
  std::string Rows(int shift, const std::vector<std::int64_t>& buckets) const;

  struct SortColumn {
    bool integer = false;  // else by bytes
  };
  const std::vector<SortColumn>& sort_columns() const { return sort_; }
  std::size_t key_at() const { return key_at_; }  // in a row of Rows()
  std::size_t columns_at() const { return columns_at_; }

  // For digests that are stored: the hash of a row, and of (key, column).
  std::string RowHash(std::int64_t seed) const;
  std::string ColumnHash(std::size_t column, std::int64_t seed) const;
  std::string ValueHash(std::size_t column, std::int64_t seed) const;  // NULL of NULL
  std::string From() const;

 private:
  const CompareColumn& Column(const ColumnPair& pair) const {
    return left_ ? *pair.left : *pair.right;
  }
  std::string Name(const ColumnPair& pair) const;
  std::string Native(const ColumnPair& pair, bool is_key) const;
  std::string InRow(const ColumnPair& pair) const;
  std::string RowText() const;  // the text of a whole row, the same on all versions
  std::string HashText(const std::string& text, std::int64_t seed) const;
  std::string SecondHash() const;
  std::string BucketHash() const;
  std::string Where(int shift, const std::vector<std::int64_t>& buckets) const;
  std::string SqliteCall(const std::string& function, const std::string& seed,
                         const std::vector<ColumnPair>& columns) const;
  void PlanRows();

  const TablePair& pair_;
  bool left_;
  HashForm form_;
  bool plain_bytes_;
  int version_;
  std::vector<SortColumn> sort_;
  std::vector<std::string> selected_;
  std::string order_;
  std::size_t key_at_ = 0;
  std::size_t columns_at_ = 0;
};

}  // namespace understudy::harness
