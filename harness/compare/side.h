#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/db/session.h"
#include "harness/compare/tables.h"

namespace understudy::harness {

// One side of a comparison: one or more sessions that see the database at the same moment
// (PostgreSQL: an exported snapshot; SQLite: one read transaction in one session).
class Side {
 public:
  // Connects `sessions` times (SQLite, and servers that export no snapshot: once) and begins.
  Side(const db::Endpoint& endpoint, int sessions);
  ~Side();
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  db::Engine engine() const { return engine_; }
  int version() const { return version_; }
  int sessions() const { return static_cast<int>(sessions_.size()); }
  db::Session& session(int index) { return *sessions_[static_cast<std::size_t>(index)]; }
  const std::string& encoding() const { return encoding_; }  // UTF8 for SQLite
  // Whether text is kept in the bytes that clients see (UTF8, or SQL_ASCII: not converted at all).
  bool plain_bytes() const { return encoding_ == "UTF8" || encoding_ == "SQL_ASCII"; }
  const CompareTables& tables() const { return tables_; }
  // REQUIRES: once, before tables(). Apart from the constructor so that Cancel() can end it.
  void ReadTables() { tables_ = harness::ReadTables(*sessions_.front()); }
  // From any thread: what runs on this side ends with kCancelled.
  void Cancel() noexcept;

 private:
  db::Engine engine_;
  int version_ = 0;
  std::string encoding_ = "UTF8";
  std::vector<std::unique_ptr<db::Session>> sessions_;
  CompareTables tables_;
};

// Runs `left` here and `right` in a thread of its own, waits for both; the first error is thrown.
void InParallel(const std::function<void()>& left, const std::function<void()>& right);

}  // namespace understudy::harness
