#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/capture/compare.h"
#include "engine/capture/postgres.h"
#include "tests/support/server.h"

// A table under capture and its mirror in the schema `mirror`, as tests want them.
namespace understudy::capture::testing {

// Every column that can be written, as it is; by the table's first usable key.
RowMapping SameShape(const catalog::Table& table);

class Mirrored {
 public:
  // REQUIRES: `schema` has the tables of `names`; the schema `mirror` has those of the same names.
  Mirrored(const understudy::testing::Database& database, const std::vector<std::string>& names,
           const std::string& schema = "public");

  // Installs in a transaction of its own, then fills the mirrors in another.
  void Start();
  // One transaction over all tables, until nothing is pending or something is refused.
  std::vector<ReplayResult> ReplayAll(const ReplayOptions& options = {});
  // One batch of one table.
  ReplayResult ReplayOne(std::size_t table, const ReplayOptions& options = {});
  std::int64_t PendingNow();
  MirrorComparison Compare(std::size_t table);
  // Rows of the one that are not in the other, both ways, as text: an oracle that shares nothing
  // with CompareMirror. "" = none.
  std::string Difference(std::size_t table);

  db::Session& session() { return *session_; }
  std::vector<CapturedTable>& tables() { return tables_; }

 private:
  std::unique_ptr<db::Session> session_;
  std::vector<CapturedTable> tables_;
};

}  // namespace understudy::capture::testing
