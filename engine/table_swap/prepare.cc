#include <algorithm>
#include <ranges>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/capture/sql.h"
#include "engine/core/parallel.h"
#include "engine/table_swap/definitions.h"
#include "engine/table_swap/mapping.h"
#include "engine/table_swap/post_data.h"
#include "engine/table_swap/post_items.h"
#include "engine/table_swap/preflight.h"
#include "engine/table_swap/row_copy.h"
#include "engine/table_swap/scratch.h"
#include "engine/table_swap/shared_types.h"
#include "engine/table_swap/swap.h"

// Prepare, step by step. Each step commits with the entry that says so, and is passed over when it
// is found done.
namespace understudy::table_swap {
namespace {

constexpr std::chrono::seconds kOldBackendsMayTake{5};
constexpr std::chrono::seconds kLookAtLogEvery{1};
constexpr std::string_view kNoLock = "55P03";
constexpr std::size_t kAtOnce = 20;  // tables whose writers wait while their triggers are set

// What of production goes to the backup: what has a successor, the statistics of such tables, and,
// where the new schema is made of the old one, what it has dropped.
std::vector<Movable> OldObjects(db::Session& target, const SetDecision& decision,
                                const Settings& settings) {
  std::set<std::string> moved;
  std::set<std::string> known;
  for (const Movable& object : decision.moved) moved.insert(object.Key());
  for (const Movable& object : decision.shared) known.insert(object.Key());
  const auto all = ListMovables(target, settings.schemas);
  std::vector<Movable> old;
  std::set<std::uint32_t> tables;
  const auto goes = [&](const Movable& object) {
    if (moved.contains(object.Key())) return true;
    const bool dropped = !settings.from_source && !known.contains(object.Key());
    return dropped && object.kind != "TABLE" && object.kind != "FOREIGN TABLE" &&
           object.kind != "STATISTICS";
  };
  for (const Movable& object : all) {
    if (goes(object) && (object.kind == "TABLE" || object.kind == "MATERIALIZED VIEW")) {
      tables.insert(object.oid);
    }
  }
  std::set<std::uint32_t> statistics;
  for (const db::Row& row : target.Query("SELECT oid, stxrelid FROM pg_statistic_ext").rows) {
    if (tables.contains(static_cast<std::uint32_t>(row[1].AsInteger()))) {
      statistics.insert(static_cast<std::uint32_t>(row[0].AsInteger()));
    }
  }
  for (const Movable& object : all) {
    if (object.kind == "STATISTICS" ? statistics.contains(object.oid) : goes(object)) {
      old.push_back(object);
    }
  }
  return old;
}

std::vector<std::string> ShadowSchemas(const Manifest& manifest) {
  std::vector<std::string> schemas;
  for (const SchemaNames& names : manifest.schemas) schemas.push_back(names.shadow);
  return schemas;
}

void FillOids(const std::vector<Movable>& old_objects, const std::vector<Movable>& new_objects,
              Manifest& manifest) {
  for (SetTable& table : manifest.tables) {
    for (const Movable& object : old_objects) {
      if (object.kind == "TABLE" && object.schema == table.name.schema &&
          object.name == table.name.name) {
        table.old_oid = object.oid;
      }
    }
    const db::TableName shadow = manifest.Shadow(table.name);
    for (const Movable& object : new_objects) {
      if (object.kind == "TABLE" && object.schema == shadow.schema && object.name == shadow.name) {
        table.new_oid = object.oid;
      }
    }
  }
}

[[noreturn]] void Refuse(const core::PlanRefusal& refusal) {
  throw Error(ErrorKind::kUnsupported, refusal.object + ": " + refusal.why);
}

}  // namespace

// The names that are known before anything is made.
Manifest TableSwap::NewManifest() const {
  Manifest manifest;
  for (const std::string& schema : settings_.schemas) {
    manifest.schemas.push_back(NamesBeside(schema));
  }
  manifest.scratch_database = Scratch::NameFor(spec_.id);
  return manifest;
}

// The scratch, the set, and the shadow's tables without rows: committed with the manifest.
void TableSwap::Build(db::Session& session, Scratch& scratch) {
  const ShadowRequest request = Request();
  // Before the new schema is read: what comes later is not in it, or is told all the same.
  Definitions definitions = ReadDefinitions(session, settings_.schemas);
  scratch.Make();
  SetDecision decision;
  {
    const auto fresh = db::Connect(scratch.endpoint(), {.application_name = "understudy-engine"});
    decision = DecideSet(*fresh, session, settings_);
  }
  scratch.RefuseAccess(decision);
  if (!decision.refused.empty()) Refuse(decision.refused[0]);
  for (const std::string& warning : decision.warnings) context_.Log("warn", warning);
  Manifest manifest = NewManifest();
  manifest.old_objects = OldObjects(session, decision, settings_);
  manifest.tables = decision.tables;
  AppendLabels(session, decision, request);
  scratch.MoveSet(decision);
  manifest.access = scratch.AccessStatements();
  manifest.foreign_keys = WaitingForeignKeys(scratch, request);

  const auto building = Connect(std::chrono::seconds(5));  // given up: a dump changes its settings
  db::Transaction transaction(*building);
  core::Journal(*building, spec_.id).CheckEpoch(context_.epoch());
  RefuseOthers(*building);  // a rollback, say, that came to its end meanwhile
  building->Execute(DumpShadowSchemas(context_, scratch, request, "pre-data", {}));
  building->Execute("SET search_path = ''; SET row_security = off");
  manifest.new_objects = ListMovables(*building, ShadowSchemas(manifest));
  FillOids(manifest.old_objects, manifest.new_objects, manifest);
  for (const SetTable& table : manifest.tables) {
    if (table.preserved && table.old_oid == 0 && settings_.from_source) {
      Refuse({table.name.Display(), "it is to be preserved and production has no such table"});
    }
  }
  manifest.built = true;
  core::Journal journal(*building, spec_.id);
  std::set<std::uint32_t> ours;
  for (const Movable& object : manifest.old_objects) ours.insert(object.oid);
  std::erase_if(definitions, [&](const auto& one) { return !ours.contains(one.second.owner); });
  journal.Put(kDefinitionsEntry, ToJson(definitions));
  manifest.Save(journal);
  context_.At("prepare.schema_built");
  transaction.Commit();
}

// A scratch on this machine went with the process that made it: the same is made once more.
void TableSwap::RemakeScratch(db::Session& session, const Manifest& manifest, Scratch& scratch) {
  scratch.Make();
  SetDecision decision;
  {
    const auto fresh = db::Connect(scratch.endpoint(), {.application_name = "understudy-engine"});
    decision = DecideSet(*fresh, session, settings_);
  }
  const auto relations = [](const std::vector<Movable>& objects) {
    std::set<std::string> names;
    for (const Movable& object : objects) {
      if (object.kind == "TABLE" || object.kind == "VIEW" || object.kind == "SEQUENCE") {
        names.insert(object.kind + " " + object.name);
      }
    }
    return names;
  };
  if (relations(decision.moved) != relations(manifest.new_objects)) {
    throw Error(ErrorKind::kConflict,
                "the new schema is not the one that the shadow was begun with: take it back with "
                "understudy migrate reset, then run prepare",
                "changed");
  }
  scratch.MoveSet(decision);
}

void TableSwap::InstallCapture(db::Session& session) {
  core::Journal journal(session, spec_.id);
  Known known = Read(journal);
  if (known.capture_installed) return;
  if (known.capture_off) ThrowCaptureIsOff();
  std::vector<catalog::Oid> old_oids;
  std::vector<catalog::Oid> new_oids;
  for (const SetTable& table : known.manifest->tables) {
    if (!table.preserved || table.old_oid == 0 || table.new_oid == 0) continue;
    old_oids.push_back(table.old_oid);
    new_oids.push_back(table.new_oid);
  }
  const auto old_tables = catalog::ReadTablesByOid(session, old_oids);
  const auto new_tables = catalog::ReadTablesByOid(session, new_oids);
  std::vector<capture::CapturedTable> captured;
  for (std::size_t i = 0; i < old_oids.size(); ++i) {
    const auto old_table = std::ranges::find(old_tables, old_oids[i], &catalog::Table::oid);
    const auto new_table = std::ranges::find(new_tables, new_oids[i], &catalog::Table::oid);
    if (old_table == old_tables.end() || new_table == new_tables.end()) {
      throw Error(ErrorKind::kConflict, "a table has gone while prepare was under way", "changed");
    }
    if (old_table->partition_of != 0) continue;  // with its root
    const auto rules = settings_.columns.find(old_table->name);
    TableMapping mapping = MakeMapping(
        session, *old_table, *new_table,
        rules == settings_.columns.end() ? std::map<std::string, ColumnRule>{} : rules->second);
    if (!mapping.refused.empty()) Refuse({old_table->name.Display(), mapping.refused[0]});
    MarkComparable(session, *old_table, mapping);
    captured.push_back({old_table->oid, new_table->oid, std::move(mapping.rows), 0, 0,
                        CaptureOwner(), spec_.limits.log_max_bytes});
  }
  std::vector<capture::CapturedTable> left;
  for (capture::CapturedTable& table : captured) {
    const bool there = std::ranges::find(known.captured, table.watched,
                                         &capture::CapturedTable::watched) != known.captured.end();
    if (!there) left.push_back(std::move(table));
  }
  std::size_t at_once = kAtOnce;
  do {
    const auto end = left.begin() + static_cast<std::ptrdiff_t>(std::min(at_once, left.size()));
    try {
      InstallSome(session, {left.begin(), end}, known, end == left.end());
      left.erase(left.begin(), end);
    } catch (const Error& error) {
      if (error.code() != kNoLock || end - left.begin() < 2) throw;
      // Of several tables the one is waited for by whom the other waits for.
      at_once = 1;
      context_.Log("info", std::string(error.what()) + ": now one table at a time");
    }
  } while (!left.empty());
}

void TableSwap::InstallTriggers(db::Session& session,
                                std::vector<capture::CapturedTable>& some) const {
  // lock_timeout counts per relation: the whole is bounded.
  session.Execute("SET LOCAL statement_timeout = " + std::to_string(lock_timeout_.count() * 2));
  try {
    During("install the capture triggers", [&] { capture::Install(session, some); });
  } catch (const Error& error) {
    const bool one = error.code() == kNoLock;  // else all of them together
    if (!one && error.code() != "57014") throw;
    ThrowHeld(db::IntegerArray(some, &capture::CapturedTable::watched), {},
              one ? lock_timeout_ : lock_timeout_ * 2, /*also_readers=*/false);
  }
}

// A short transaction of its own: its lock waits for the writers that are under way, so that every
// snapshot from here on sees what they have written.
void TableSwap::InstallSome(db::Session& session, std::vector<capture::CapturedTable> some,
                            Known& known, bool last) {
  LetVacuumsGiveWay(context_, session, TableOids(known.manifest->old_objects), {});
  db::Transaction transaction(session);
  core::Journal journal(session, spec_.id);
  journal.CheckEpoch(context_.epoch());
  InstallTriggers(session, some);
  known.fingerprint.merge(catalog::ReadFingerprint(session, Watched(some)));
  known.captured.insert(known.captured.end(), some.begin(), some.end());
  Json tables = Json::array();
  for (const capture::CapturedTable& table : known.captured) tables.push_back(table.ToJson());
  journal.Put(
      kCaptureEntry,
      {{"tables", tables}, {"fingerprint", catalog::ToJson(known.fingerprint)}, {"whole", last}});
  if (last) context_.At("prepare.capture_installed");
  transaction.Commit();
}

// With "orphans": "drop", rows of preserved tables whose foreign key finds no row among the new
// data are not in the shadow: replays and comparisons leave them out from now on.
void TableSwap::LeaveOutOrphans(db::Session& session) {
  core::Journal journal(session, spec_.id);
  Known known = Read(journal);
  const auto entry = journal.Find(kCaptureEntry);
  if (!entry) return;
  const std::vector<std::string> shadows = ShadowSchemas(*known.manifest);
  for (capture::CapturedTable& table : known.captured) {
    const auto mirror = catalog::ReadTablesByOid(session, {table.mirror});
    std::string only;
    for (const catalog::ForeignKey& key : catalog::ReadForeignKeys(session, {table.mirror})) {
      if (key.from_oid != table.mirror || key.parent != 0 ||
          std::ranges::find(shadows, key.to.schema) == shadows.end()) {
        continue;
      }
      capture::Reference reference{key.from_oid, {}, key.to_oid, {}, key.match_full};
      std::string values;
      std::string any_null;
      for (std::size_t i = 0; i < key.from_columns.size(); ++i) {
        const std::string& name = key.from_columns[i];
        const auto source =
            std::ranges::find(table.mapping.columns, name, &capture::ColumnSource::column);
        const catalog::Column* column = mirror.empty() ? nullptr : mirror[0].Find(name);
        if (source == table.mapping.columns.end() || column == nullptr) {
          continue;  // a default: the server's matter
        }
        reference.from_columns.push_back(name);
        reference.to_columns.push_back(key.to_columns.at(i));
        values += (values.empty() ? "CAST(" : ", CAST(") + source->expression + " AS " +
                  column->type + ") AS " + db::QuoteIdentifier(name);
        any_null += "(" + source->expression + ") IS NULL OR ";
      }
      if (values.empty()) continue;
      // By the key's own operators. In a table of their own, where names can only mean the watched
      // row's columns.
      const capture::ReferenceSql sql = capture::Describe(session, reference);
      only += (only.empty() ? "(" : " AND (") + any_null + "EXISTS (SELECT FROM (SELECT " + values +
              ") AS f, " + sql.to_text + " AS t WHERE " + sql.matches + "))";
    }
    table.mapping.only = only;
  }
  Json tables = Json::array();
  for (const capture::CapturedTable& table : known.captured) tables.push_back(table.ToJson());
  db::Transaction transaction(session);
  journal.CheckEpoch(context_.epoch());
  Json detail = journal.Find(kCaptureEntry)->detail;  // as it is now: capture may be off meanwhile
  detail["tables"] = tables;
  journal.Put(kCaptureEntry, detail);
  transaction.Commit();
}

// Done as the cutover will do it, and rolled back.
void TableSwap::ListDropped(db::Session& session) {
  core::Journal journal(session, spec_.id);
  Known known = Read(journal);
  CatchUp(session, known);
  const auto references = WaitingReferences(session, *known.manifest, known.captured, true);
  Json dropped;
  {
    const db::Transaction rolled_back(session);
    capture::DroppedRows rows(session, known.captured, DroppedBy(references));
    rows.TakeOut();
    dropped = rows.List(kDroppedKeysKept);
  }
  db::Transaction transaction(session);
  journal.CheckEpoch(context_.epoch());
  journal.Put(kDroppedEntry, dropped);
  transaction.Commit();
  TellDropped(dropped, "prepare");
}

void TableSwap::TellDropped(const Json& dropped, const char* when) const {
  constexpr std::size_t kTold = 5;
  if (!dropped.is_object() || dropped.empty()) return;
  std::string name = "dropped-rows-" + spec_.id + ".json";
  std::ranges::replace_if(
      name, [](char c) { return c == '/' || c == '\\' || c == '\0'; }, '_');
  const auto file = spec_.folder / name;
  std::string where;
  if (!context_.rehearsal()) {  // a scenario's folder is not ours to write in
    try {
      WriteFileWhole(
          file, Json{{"migration", spec_.id}, {"as_of", when}, {"tables", dropped}}.dump(2) + "\n");
      where = "; their keys: " + file.string();
    } catch (const Error& error) {
      context_.Log("warn", "could not write " + file.string() + ": " + error.message());
    }
  }
  for (const auto& [table, what] : dropped.items()) {
    std::string keys;
    for (const Json& key : what.at("keys") | std::views::take(kTold)) {
      keys += (keys.empty() ? "" : ", ") + key.dump();
    }
    context_.Log("warn", DroppedText(table, what) + ", such as " + keys + where);
  }
}

void TableSwap::CopyAll(db::Session& session) {
  core::Journal journal(session, spec_.id);
  Known known = Read(journal);
  FirstCopies(known);
  if (settings_.from_source) {
    std::vector<db::TableName> tables;
    for (const SetTable& table : known.manifest->tables) {
      if (!table.preserved && !table.partitioned) tables.push_back(table.name);
    }
    CopyRows(context_, Request(), tables);
  }
  db::Transaction transaction(session);
  journal.CheckEpoch(context_.epoch());
  known.manifest->copied = true;
  known.manifest->Save(journal);
  transaction.Commit();
}

void TableSwap::Prepare() {
  // What an earlier run of this migration has left aside.
  if (ReadOrNothing(*Connect()).rolled_back) RemoveAll(false, true);
  const auto session = Connect();
  core::Journal journal(*session, spec_.id);
  EndOldBackends(*session);
  Known known = Read(journal);
  const ShadowRequest request = Request();
  Scratch scratch(context_, request);
  if (!known.manifest) Build(*session, scratch);
  InstallCapture(*session);
  known = Read(journal);
  core::Watch log(kLookAtLogEvery, [this, captured = known] {
    try {
      HoldLogWithinLimit(*Connect(), captured);
    } catch (const Error& error) {  // behind a lock of our own workers, say: the next look
      if (!IsRetryable(error.kind())) throw;
    }
  });
  if (!known.manifest->copied) CopyAll(*session);
  log.ThrowIfFailed();
  known = Read(journal);
  if (!known.manifest->complete) {
    if (!scratch.Exists()) RemakeScratch(*session, *known.manifest, scratch);
    BuildPostData(context_, scratch, request);
    if (settings_.drop_orphans) LeaveOutOrphans(*session);
    context_.At("prepare.post_data_built");
    FinishShadow(context_, scratch, request);
    Manifest& manifest = *known.manifest;
    manifest.triggers = TriggerStates(scratch, request);
    manifest.new_objects = ListMovables(*session, ShadowSchemas(manifest));
    manifest.complete = true;
    log.ThrowIfFailed();
    db::Transaction transaction(*session);
    journal.CheckEpoch(context_.epoch());
    manifest.Save(journal);
    transaction.Commit();
  }
  {
    const Exchange exchange(*session, Forth(known));
    if (!exchange.refused().empty()) {
      Refuse({exchange.refused()[0].object, exchange.refused()[0].why});
    }
    exchange.MakeAlike(*session);
  }
  if (settings_.drop_orphans) ListDropped(*session);
  scratch.Drop();
  RemoveEarlierBackups(*session, *known.manifest);
  WriteRemovalFile(*session, *known.manifest);
}

bool TableSwap::TakeBack() {
  if (ReadOrNothing(*Connect()).manifest) return false;
  Scratch(context_, Request()).Drop();
  return true;
}

// A killed process leaves server processes behind that go on for a while (a CREATE INDEX until its
// end); the epoch keeps them from committing, and this from working.
void TableSwap::EndOldBackends(db::Session& session) const {
  const char* theirs =
      " FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
      "AND datname = current_database() AND usename = current_user "
      "AND application_name = $1 "
      "AND backend_start < (SELECT backend_start FROM pg_stat_activity WHERE pid = "
      "pg_backend_pid()) - interval '10 milliseconds'";
  const db::Params name = {db::Value::Text(SessionName())};
  const auto until = SteadyClock::now() + kOldBackendsMayTake;
  while (session.Query(std::string("SELECT pg_terminate_backend(pid)") + theirs, name).rows.size() >
             0 &&
         SteadyClock::now() < until) {
    session.Query("SELECT pg_sleep(0.02)");
  }
}

void TableSwap::WriteRemovalFile(db::Session& session, const Manifest& manifest) const {
  if (context_.rehearsal()) return;  // a scenario's folder is not ours to write in
  std::set<std::string> schemas = {capture::kSchema};
  const auto add = [&](const Manifest& one) {
    for (const SchemaNames& names : one.schemas) schemas.insert({names.shadow, names.backup});
  };
  add(manifest);
  for (const Other& other : Others(session)) {  // the backup that is still there
    if (other.manifest) add(*other.manifest);
  }
  std::string list;
  std::string drops;
  for (const std::string& schema : schemas) {
    list += (list.empty() ? "" : ", ") + db::QuoteLiteral(db::QuoteIdentifier(schema));
    drops += "DROP SCHEMA IF EXISTS " + db::QuoteIdentifier(schema) + " CASCADE;\n";
  }
  const std::string sql =
      R"(-- Removes everything of understudy from this database, by psql alone: triggers, logs, the
-- shadow tables, the journal, and the tables that a cutover has put aside (there is no way
-- back to them then). The tables in service are left as they are.
-- psql -v ON_ERROR_STOP=1 -f remove-understudy.sql     (without --single-transaction)
-- While prepare is at work, or after it was killed, there is a scratch database too:
-- DROP DATABASE IF EXISTS )" +
      db::QuoteIdentifier(manifest.scratch_database) + R"(;
-- First what stands on tables in service, a table at a time, so that writers wait shortly and
-- nobody is ended for a deadlock. Where it ends with an error, give the command again.
DO $remove$
DECLARE
  ours oid[] := ARRAY(SELECT to_regnamespace(name)::oid FROM unnest(ARRAY[)" +
      list + R"(]) AS name);
  one text;
BEGIN
  PERFORM set_config('lock_timeout', greatest(setting::integer / 2, 1)::text, false)
  FROM pg_settings WHERE name = 'deadlock_timeout';
  FOR one IN
    SELECT format('DROP TRIGGER IF EXISTS %I ON %s', t.tgname, t.tgrelid::regclass)
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE p.pronamespace = to_regnamespace()" +
      db::QuoteLiteral(std::string(capture::kSchema)) + R"() AND NOT t.tgisinternal
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_trigger'::regclass
                      AND d.objid = t.oid AND d.refclassid = 'pg_trigger'::regclass)
    UNION ALL
    SELECT format('ALTER TABLE IF EXISTS %s DROP CONSTRAINT IF EXISTS %I', k.conrelid::regclass,
                  k.conname)
    FROM pg_constraint k JOIN pg_class f ON f.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid
    WHERE k.contype = 'f' AND k.conparentid = 0
      AND f.relnamespace = ANY (ours) <> (t.relnamespace = ANY (ours))
  LOOP
    FOR attempt IN 1..60 LOOP
      BEGIN
        EXECUTE one;
        EXIT;
      EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        IF attempt = 60 THEN RAISE; END IF;
      END;
      COMMIT;
      PERFORM pg_sleep(random());
    END LOOP;
    COMMIT;
  END LOOP;
END $remove$;
BEGIN;
)" + drops +
      "COMMIT;\n";
  const auto file = spec_.folder / "remove-understudy.sql";
  try {
    if (std::filesystem::exists(file) && ReadFile(file) == sql) return;
    WriteFileWhole(file, sql);
    context_.Log("info", "wrote " + file.string());
  } catch (const Error& error) {
    context_.Log("warn", "could not write " + file.string() + ": " + error.message());
  }
}

}  // namespace understudy::table_swap
