#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "engine/db/session.h"
#include "engine/sql_files/layout.h"

// The version tables of the tools: schema_migrations, goose_db_version, flyway_schema_history,
// sqitch.changes.
namespace understudy::sql_files {

class History {
 public:
  // `session` has the settings that the tool's own would have: its search_path tells where the
  // table is. Nothing is read yet.
  History(db::Session& session, Layout layout);

  // Reads the table. Error(kMismatch) when a table of that name is another tool's.
  void Read();
  bool IsApplied(const Version& version) const;
  // golang-migrate: the version at which the tool (or we) stopped in the middle.
  const std::optional<std::string>& dirty() const { return dirty_; }
  // "public.schema_migrations"; "" where the layout has no table.
  std::string Display() const;
  bool writable() const;  // golang-migrate, goose, dbmate

  // Makes the table as the tool does, if absent.
  void Ensure(db::Session& session);
  // golang-migrate marks the version dirty before its script, and clean after it, each in a
  // transaction of its own. `version`: where the database stands afterwards; "" = before the first.
  void MarkDirty(db::Session& session, const std::string& version);
  void MarkClean(db::Session& session, const std::string& version);
  // goose, dbmate: the row of a version, in the transaction of its script where it has one.
  void Record(db::Session& session, const Version& version, bool up);

 private:
  std::string Table() const;
  void SetGolang(db::Session& session, const std::string& version, bool dirty);

  db::Session& session_;
  Layout layout_;
  bool exists_ = false;
  std::string schema_;
  std::set<std::string> applied_;
  std::optional<std::string> up_to_;  // golang-migrate; flyway's baseline
  std::optional<std::string> dirty_;
  std::map<std::string, std::int32_t> checksums_;  // flyway: of repeatables, by description
};

}  // namespace understudy::sql_files
