#include <algorithm>

#include "engine/base/error.h"
#include "engine/table_swap/scratch.h"
#include "engine/table_swap/swap.h"

// What takes away: found by the manifest's OIDs, never by the look of a name.
namespace understudy::table_swap {
namespace {

// Drops the objects, kind by kind, as long as something can be dropped without anything else. Gives
// what is left.
std::vector<Movable> DropByKinds(db::Session& session, const std::vector<Movable>& objects) {
  std::vector<std::string> kinds = {"VIEW", "MATERIALIZED VIEW", "TABLE"};
  for (const Movable& object : objects) {
    if (std::ranges::find(kinds, object.kind) == kinds.end()) kinds.push_back(object.kind);
  }
  std::vector<Movable> left = objects;
  for (bool progress = true; progress;) {
    progress = false;
    for (const std::string& kind : kinds) {
      // Operator classes and families are dropped one by one, others as a list.
      std::string list;
      for (const Movable& object : left) {
        if (object.kind != kind) continue;
        const bool more = !list.empty() && !kind.starts_with("OPERATOR ");
        list +=
            (more ? ", " : (list.empty() ? "" : " RESTRICT; ") + ("DROP " + kind) + " IF EXISTS ") +
            object.Identity();
      }
      if (list.empty()) continue;
      session.Execute("SAVEPOINT understudy_drop");
      try {
        session.Execute(list + " RESTRICT");
      } catch (const Error& error) {
        if (error.code() != "2BP01") throw;
        session.Execute("ROLLBACK TO SAVEPOINT understudy_drop; RELEASE SAVEPOINT understudy_drop");
        continue;
      }
      session.Execute("RELEASE SAVEPOINT understudy_drop");
      std::erase_if(left, [&](const Movable& object) { return object.kind == kind; });
      progress = true;
    }
  }
  return left;
}

// Drops schemas of ours with all that the manifest says is in them; together, since their tables
// may refer to each other. Error(kUnsupported) names what is there beside that, and what outside
// depends on it: nothing of others' ever goes with it.
void DropOurSchemas(db::Session& session, const std::vector<std::string>& schemas,
                    const std::vector<Movable>& ours) {
  if (schemas.empty()) return;
  const auto present = ListMovables(session, schemas);
  const auto is_ours = [&](std::uint32_t oid, const std::string& kind) {
    return std::ranges::any_of(
        ours, [&](const Movable& mine) { return mine.oid == oid && mine.kind == kind; });
  };
  for (const Movable& object : present) {
    if (is_ours(object.oid, object.kind)) continue;
    // The extended statistics of our tables come with the indexes, behind the last listing that a
    // prepare which failed has written down; they go with their table.
    if (object.kind == "STATISTICS") {
      const db::Value table = session.Scalar("SELECT stxrelid FROM pg_statistic_ext WHERE oid = $1",
                                             {db::Value::Integer(object.oid)});
      const auto oid = static_cast<std::uint32_t>(table.is_null() ? 0 : table.AsInteger());
      if (is_ours(oid, "TABLE") || is_ours(oid, "MATERIALIZED VIEW")) continue;
    }
    throw Error(ErrorKind::kUnsupported,
                object.Display() +
                    " stands among understudy's tables and is not understudy's: move "
                    "it elsewhere or drop it, then run this again",
                "foreign-object");
  }
  std::string names;
  std::string quoted;
  for (const std::string& schema : schemas) {
    names += (names.empty() ? "" : ", ") + schema;
    quoted += (quoted.empty() ? "" : ", ") + db::QuoteIdentifier(schema);
  }
  const auto refuse_dependents = [&](const std::vector<Movable>& objects) {
    const auto depending = StillDepending(session, objects);
    if (depending.empty()) return;
    std::string all;
    for (const std::string& object : depending) all += (all.empty() ? "" : ", ") + object;
    throw Error(ErrorKind::kUnsupported,
                "these depend on tables that are to be dropped (" + names + "): " + all +
                    "; drop or change them, then run this again",
                "dependents");
  };
  refuse_dependents(present);
  // What depends on it from now on makes the server refuse. Only what depends on each other in a
  // circle of kinds (a function of a table's row type in that table's default) goes by CASCADE.
  const auto left = DropByKinds(session, present);
  refuse_dependents(left);
  session.Execute("DROP SCHEMA IF EXISTS " + quoted + (left.empty() ? " RESTRICT" : " CASCADE"));
}

bool SchemaExists(db::Session& session, const std::string& schema) {
  return session
      .Scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)",
              {db::Value::Text(schema)})
      .AsBool();
}

std::vector<Movable> Everything(const Manifest& manifest) {
  std::vector<Movable> all = manifest.old_objects;
  all.insert(all.end(), manifest.new_objects.begin(), manifest.new_objects.end());
  return all;
}

// "3 tables, 1200 bytes"
std::string SizeOf(db::Session& session, const std::string& schema) {
  const db::Row row =
      session
          .Query(
              "SELECT count(*), coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint "
              "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
              "WHERE n.nspname = $1 AND c.relkind IN ('r', 'm')",
              {db::Value::Text(schema)})
          .rows.at(0);
  return row[0].text + " tables, " + row[1].text + " bytes";
}

}  // namespace

// Whatever of ours is there, but for the journal. Every step commits by itself: a crash leaves
// less.
std::vector<std::string> TableSwap::RemoveAll(bool dry_run, bool also_backup) {
  std::vector<std::string> lines;
  const auto session = Connect(std::chrono::seconds(5));
  if (!dry_run) EndOldBackends(*session);
  Known known = ReadOrNothing(*session);
  if (!dry_run && known.rolled_back) {  // with the journal goes what is known of its keys
    FinishRollback(*session, known);
    known = ReadOrNothing(*session);
  }
  core::Journal journal(*session, spec_.id);
  const auto step = [&](const std::string& line, const std::function<void()>& work) {
    lines.push_back((dry_run ? "would drop " : "dropped ") + line);
    if (dry_run) return;
    db::Transaction transaction(*session);
    journal.CheckEpoch(context_.epoch());
    work();
    transaction.Commit();
  };
  const auto no_capture = [&](const std::string& line,
                              const std::vector<capture::CapturedTable>& tables,
                              const char* entry) {
    if (!dry_run) TakeCaptureOff(tables, spec_.id, entry);
    step(line, [&] { journal.Remove(entry); });
  };
  if (!known.captured.empty()) {
    no_capture(
        "the capture triggers and logs of " + std::to_string(known.captured.size()) + " tables",
        known.captured, kCaptureEntry);
  }
  if (!known.reverse_left.empty()) {
    no_capture("the triggers and logs that kept " + std::to_string(known.reverse_left.size()) +
                   " old tables in step",
               known.reverse_left, kReverseEntry);
  }
  if (!known.watch.empty()) {
    no_capture("the triggers of a rollback that was given up", known.watch, kWatchEntry);
  }
  if (known.manifest) {
    const auto ours = Everything(*known.manifest);
    std::vector<std::string> present_schemas;
    std::string line;
    for (const SchemaNames& names : known.manifest->schemas) {
      std::vector<std::string> schemas = {names.shadow};
      // A rollback has taken out of it what was in it.
      if (also_backup || known.rolled_back) schemas.push_back(names.backup);
      for (const std::string& schema : schemas) {
        if (!SchemaExists(*session, schema)) continue;
        // Of an earlier migration, whose backup this one has not removed yet.
        const auto present = ListMovables(*session, {schema});
        const bool not_ours = schema == names.backup && !present.empty() &&
                              std::ranges::none_of(present, [&](const Movable& object) {
                                return std::ranges::any_of(ours, [&](const Movable& mine) {
                                  return mine.oid == object.oid;
                                });
                              });
        if (not_ours) continue;
        present_schemas.push_back(schema);
        line += (line.empty() ? "schema " : ", schema ") + schema + " (" +
                SizeOf(*session, schema) + ")";
      }
    }
    if (!present_schemas.empty()) {
      step(line, [&] { DropOurSchemas(*session, present_schemas, ours); });
    }
  }
  for (const ShadowRequest& request : {Request(), RequestOfPlan()}) {
    Scratch scratch(context_, request);
    for (const std::string& left : scratch.Leftovers()) {
      lines.push_back((dry_run ? "would drop " : "dropped ") + left);
    }
    if (!dry_run) scratch.Drop();
  }
  if (!dry_run && journal.Load()) {
    db::Transaction transaction(*session);
    journal.CheckEpoch(context_.epoch());
    for (const core::JournalEntry& entry : journal.Entries()) journal.Remove(entry.name);
    transaction.Commit();
  }
  return lines;
}

std::vector<std::string> TableSwap::Reset(bool dry_run) {
  {
    const auto session = Connect();
    if (!ReadOrNothing(*session).cutover.is_null()) {
      throw Error(ErrorKind::kUnsupported,
                  "the new tables are in service: go back with understudy migrate rollback");
    }
  }
  return RemoveAll(dry_run, false);
}

std::vector<std::string> TableSwap::Cleanup(bool dry_run) {
  // With the journal goes what is known of the foreign keys that are not whole yet.
  if (!dry_run) Finish();
  return RemoveAll(dry_run, true);
}

// The backups of migrations before this one. What cannot be removed stays, under another name than
// ours.
void TableSwap::RemoveEarlierBackups(db::Session& session, Manifest& manifest) {
  core::Journal mine(session, spec_.id);
  const db::Result others = session.Query(
      "SELECT m.id FROM understudy.migrations m WHERE m.strategy = 'table-swap' AND m.id <> $1 "
      "AND EXISTS (SELECT FROM understudy.entries e WHERE e.migration = m.id AND e.name = $2) "
      "ORDER BY 1",
      {db::Value::Text(spec_.id), db::Value::Text(kCutoverEntry)});
  for (const db::Row& row : others.rows) {
    try {
      core::Journal journal(session, row[0].text);
      const auto theirs = Manifest::Load(journal);
      if (!theirs) continue;
      if (const auto reverse = journal.Find(kReverseEntry)) {
        TakeCaptureOff(CapturedFrom(reverse->detail.at("tables")), row[0].text, kReverseEntry);
        journal.Remove(kReverseEntry);
      }
      db::Transaction transaction(session);
      mine.CheckEpoch(context_.epoch());
      std::string removed;
      std::vector<std::string> schemas;
      for (const SchemaNames& names : theirs->schemas) {
        if (!SchemaExists(session, names.backup)) continue;
        removed += (removed.empty() ? "" : ", ") + names.backup + " (" +
                   SizeOf(session, names.backup) + ")";
        schemas.push_back(names.backup);
        if (SchemaExists(session, names.shadow) &&
            names.shadow != manifest.Names(names.user).shadow) {
          schemas.push_back(names.shadow);
        }
      }
      DropOurSchemas(session, schemas, Everything(*theirs));
      journal.Drop();
      transaction.Commit();
      context_.Log("info", "removed the backup of the migration '" + row[0].text + "': " + removed +
                               "; it cannot be rolled back any more");
    } catch (const Error& error) {
      context_.Log("warn", "the backup of the migration '" + row[0].text +
                               "' could not be removed and stays: " + error.what());
    }
  }
  bool renamed = false;
  for (SchemaNames& names : manifest.schemas) {
    for (int n = 2; SchemaExists(session, names.backup); ++n) {
      names.backup = NamesBeside(names.user + "_" + std::to_string(n)).backup;
      renamed = true;
    }
  }
  if (!renamed) return;
  db::Transaction transaction(session);
  mine.CheckEpoch(context_.epoch());
  manifest.Save(mine);
  transaction.Commit();
}

}  // namespace understudy::table_swap
