#include <algorithm>

#include "engine/base/error.h"
#include "engine/table_swap/swap.h"

// Other table swaps of the same database, by their journals: what is asked here by plan, prepare
// and rollback is asked once.
namespace understudy::table_swap {

bool TableSwap::Other::Shares(const std::vector<std::string>& schemas) const {
  return manifest && std::ranges::any_of(manifest->schemas, [&](const SchemaNames& names) {
           return std::ranges::find(schemas, names.user) != schemas.end();
         });
}

std::vector<TableSwap::Other> TableSwap::Others(db::Session& session) const {
  std::vector<Other> others;
  if (!core::Journal(session, spec_.id).Exists()) return others;
  for (const db::Row& row : session
                                .Query("SELECT id, state FROM understudy.migrations WHERE strategy "
                                       "= 'table-swap' AND id <> $1 ORDER BY id",
                                       {db::Value::Text(spec_.id)})
                                .rows) {
    core::Journal journal(session, row[0].text);
    Other other{row[0].text, row[1].text, Manifest::Load(journal)};
    other.cut_over = journal.Find(kCutoverEntry).has_value();
    other.finished = journal.Find(kFinishedEntry).has_value();
    other.rolled_back = journal.Find(kRolledBackEntry).has_value();
    others.push_back(std::move(other));
  }
  return others;
}

// One swap of a database at a time, whatever its schemas are: keys, functions and types lead from
// one schema into another, and prepare's end removes every earlier backup. What has failed before
// anything was built stands in nobody's way.
std::vector<core::PlanRefusal> TableSwap::OthersInTheWay(db::Session& session) const {
  std::vector<core::PlanRefusal> refused;
  for (const Other& other : Others(session)) {
    const auto refuse = [&](const std::string& why) {
      refused.push_back({"migration '" + other.id + "'", why + ", and its file"});
    };
    if (other.cut_over) {
      if (other.finished) continue;  // its backup goes when prepare has succeeded
      refuse("its cutover in this database is not finished (" + other.state +
             "): finish it with understudy migrate run");
    } else if (other.rolled_back) {
      if (!other.Shares(settings_.schemas)) continue;
      refuse("it was rolled back, and its new tables still stand aside (" + other.state +
             "): remove them with understudy migrate cleanup");
    } else if (other.manifest || other.state == "preparing") {
      refuse("another table swap is under way in this database (" + other.state +
             "): finish it, or give it up with understudy migrate reset");
    }
  }
  return refused;
}

void TableSwap::RefuseOthers(db::Session& session) const {
  if (const auto others = OthersInTheWay(session); !others.empty()) {
    throw Error(ErrorKind::kUnsupported, others[0].object + ": " + others[0].why);
  }
}

void TableSwap::MayBegin(db::Session& session) {
  RefuseOthers(session);
  // Not even the journal is there before the file that takes it away.
  core::Journal journal(session, spec_.id);
  WriteRemovalFile(session, Manifest::Load(journal).value_or(NewManifest()));
}

// The new tables go back where another migration has begun to build its own.
void TableSwap::RefuseOthersShadow(db::Session& session, const Known& known) const {
  std::vector<std::string> schemas;
  std::vector<std::string> shadows;
  for (const SchemaNames& names : known.manifest->schemas) {
    schemas.push_back(names.user);
    shadows.push_back(names.shadow);
  }
  // A later one has put our new tables aside: where an earlier backup could not be removed.
  const bool replaced = std::ranges::any_of(known.manifest->tables, [&](const SetTable& table) {
    const auto stands = catalog::NameOf(session, table.new_oid);
    return stands && stands->schema != table.name.schema;
  });
  for (const Other& other : Others(session)) {
    if (!other.Shares(schemas)) continue;
    if (other.cut_over && replaced) {
      throw Error(ErrorKind::kUnsupported,
                  "the migration '" + other.id +
                      "' has replaced the tables since. First: understudy migrate rollback, with "
                      "its file");
    }
    if (other.cut_over) continue;
    throw Error(ErrorKind::kUnsupported, "the migration '" + other.id +
                                             "' was begun on the same tables. First: understudy "
                                             "migrate " +
                                             (other.rolled_back ? "cleanup" : "reset") +
                                             ", with its file");
  }
  for (const Movable& object : ListMovables(session, shadows)) {
    if (std::ranges::any_of(known.manifest->new_objects, [&](const Movable& mine) {
          return mine.oid == object.oid && mine.kind == object.kind;
        })) {
      continue;
    }
    throw Error(ErrorKind::kUnsupported,
                object.Display() +
                    " stands where the new tables are to go; move it elsewhere or drop it, then "
                    "run this again");
  }
}

}  // namespace understudy::table_swap
