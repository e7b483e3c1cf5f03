#include "engine/table_swap/reverse.h"

#include "engine/base/error.h"
#include "engine/capture/compare.h"
#include "engine/table_swap/mapping.h"

namespace understudy::table_swap {

ReversePlan PlanReverse(db::Session& session, const std::vector<capture::CapturedTable>& captured) {
  ReversePlan plan;
  if (!capture::MayReplayAsReplica(session)) {
    plan.refused.push_back(
        "reverse: the way back must leave the old tables' foreign keys and triggers alone, and "
        "this "
        "role may not set session_replication_role (a superuser may, from 15 on also: GRANT SET ON "
        "PARAMETER session_replication_role TO the role)");
    return plan;
  }
  for (const capture::CapturedTable& table : captured) {
    const auto both = catalog::ReadTablesByOid(session, {table.watched, table.mirror});
    if (both.size() != 2) {
      throw Error(ErrorKind::kMismatch, "a preserved table or its shadow is gone");
    }
    catalog::Table new_table = both[1];
    new_table.name = both[0].name;  // as it will be called, for messages
    TableMapping forth;
    forth.rows = table.mapping;
    TableMapping back = InvertMapping(session, forth, both[0], new_table);
    for (std::string& why : back.refused) plan.refused.push_back("reverse: " + std::move(why));
    if (!back.refused.empty()) continue;
    capture::CapturedTable one;
    one.watched = table.mirror;
    one.mirror = table.watched;
    one.mapping = std::move(back.rows);
    plan.tables.push_back(std::move(one));
  }
  return plan;
}

std::int64_t ReplayReverse(db::Session& session, const std::vector<capture::CapturedTable>& reverse,
                           std::optional<std::int64_t> entries) {
  std::int64_t taken = 0;
  const std::vector<std::int64_t> pending = capture::Pending(session, reverse, 1);
  for (std::size_t i = 0; i < reverse.size(); ++i) {
    if (pending[i] == 0) continue;
    capture::ReplayOptions options;
    options.entries = entries;
    options.as_replica = true;
    const capture::ReplayResult result = capture::Replay(session, reverse[i], options);
    if (!result.refused.empty()) {
      const capture::RefusedRow& row = result.refused[0];
      throw Error(ErrorKind::kMismatch,
                  "the old " + row.table.Display() + " refuses the row " + row.key.dump() +
                      ", written since the cutover: " + row.why +
                      "; the new tables stay in service. Mend the row, or go back without what was "
                      "written: understudy migrate rollback --lose-writes",
                  "blocked");
    }
    taken += result.entries;
  }
  return taken;
}

std::vector<std::string> CompareReverse(db::Session& session,
                                        const std::vector<capture::CapturedTable>& reverse) {
  std::vector<std::string> different;
  for (const capture::CapturedTable& table : reverse) {
    const capture::MirrorComparison comparison = capture::CompareMirror(session, table);
    if (comparison.equal) continue;
    const auto name = catalog::NameOf(session, table.watched);
    different.push_back(
        (name ? name->Display() : "a table") + ": " +
        (comparison.truncate_pending
             ? std::string("it was truncated a moment ago")
             : std::to_string(comparison.watched_rows) + " rows now, " +
                   std::to_string(comparison.mirror_rows) + " in the old table" +
                   (comparison.examples.empty() ? "" : ", such as " + comparison.examples.dump())));
  }
  return different;
}

}  // namespace understudy::table_swap
