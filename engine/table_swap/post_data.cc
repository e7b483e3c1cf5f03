#include "engine/table_swap/post_data.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "engine/base/error.h"
#include "engine/core/journal.h"
#include "engine/core/parallel.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "engine/table_swap/post_items.h"

namespace understudy::table_swap {
namespace {

constexpr const char* kRestEntry = "post.rest";
constexpr std::int64_t kMostSortKb = 1 << 20;
constexpr int kOrphansShown = 5;
constexpr std::size_t kStatementsTogether = 50;

// Sessions of the target for the workers of ForEachParallel.
class Builders {
 public:
  Builders(const core::Context& context, const ShadowRequest& request)
      : context_(context),
        request_(request),
        jobs_(std::max(1, context.spec().limits.jobs)),
        sessions_(static_cast<std::size_t>(jobs_)) {}

  db::Session& At(int worker) {
    auto& session = sessions_.at(static_cast<std::size_t>(worker));
    if (!session) {
      session = db::Connect(request_.target, {.application_name = request_.session_name});
      // Sorts get an eighth of what the server expects to be cached, never less than it gives them.
      session->Query(
          "SELECT set_config('maintenance_work_mem', greatest(m.setting::bigint, least($1::bigint, "
          "(c.setting::bigint * 8) / 8 / $2::bigint))::text, false) FROM pg_settings m, "
          "pg_settings c WHERE m.name = 'maintenance_work_mem' AND c.name = 'effective_cache_size'",
          {db::Value::Integer(kMostSortKb), db::Value::Integer(jobs_)});
    }
    return *session;
  }

  // One short transaction; the journal's row is locked last, so that workers do not wait for each
  // other's work.
  void Commit(int worker, const std::vector<std::string>& statements) {
    db::Session& session = At(worker);
    db::Transaction transaction(session);
    for (const std::string& sql : statements) session.Execute(sql);
    core::Journal(session, request_.migration_id).CheckEpoch(request_.epoch);
    transaction.Commit();
  }

  void ForEach(std::size_t count, const std::function<void(std::size_t, int)>& work) {
    core::ForEachParallel(jobs_, count, [&](std::size_t index, int worker) {
      context_.ThrowIfStopped();
      work(index, worker);
    });
  }

 private:
  const core::Context& context_;
  const ShadowRequest& request_;
  int jobs_;
  std::vector<std::unique_ptr<db::Session>> sessions_;
};

// What the shadow has already.
struct Present {
  std::set<std::string> indexes;      // valid ones
  std::set<std::string> invalid;      // of ordinary tables: halves of an interrupted build
  std::set<std::string> all_indexes;  // partitioned ones are invalid until all parts are there
  std::set<std::string> constraints;  // table, name
  std::set<std::string> not_valid;    // of them
  std::set<std::string> attached;     // indexes that are parts
  std::map<std::string, std::int64_t> bytes;  // by table
};

std::string ConstraintKey(const db::TableName& table, const std::string& name) {
  return table.Quoted() + "." + db::QuoteIdentifier(name);
}

Present Look(db::Session& target, const Settings& settings) {
  Present present;
  const db::Params schemas = {db::TextArray(ShadowSchemas(settings))};
  for (const db::Row& row : target
                                .Query(R"(
SELECT n.nspname, x.relname, i.indisvalid, x.relkind, EXISTS (
         SELECT FROM pg_inherits h WHERE h.inhrelid = x.oid)
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
WHERE n.nspname = ANY ($1::text[]))",
                                       schemas)
                                .rows) {
    const std::string name = db::TableName{row[0].text, row[1].text}.Quoted();
    present.all_indexes.insert(name);
    if (row[2].AsBool()) {
      present.indexes.insert(name);
    } else if (row[3].text == "i") {
      present.invalid.insert(name);
    }
    if (row[4].AsBool()) present.attached.insert(name);
  }
  for (const db::Row& row : target
                                .Query(R"(
SELECT n.nspname, c.relname, k.conname, k.convalidated
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]))",
                                       schemas)
                                .rows) {
    const std::string key = ConstraintKey({row[0].text, row[1].text}, row[2].text);
    present.constraints.insert(key);
    if (!row[3].AsBool()) present.not_valid.insert(key);
  }
  for (const db::Row& row : target
                                .Query(R"(
SELECT n.nspname, c.relname, pg_table_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'm'))",
                                       schemas)
                                .rows) {
    present.bytes[db::TableName{row[0].text, row[1].text}.Quoted()] = row[2].AsInteger();
  }
  return present;
}

// Indexes and the constraints that rest on them, of the tables or of the materialised views.
void BuildIndexes(const core::Context& context, const std::vector<PostIndex>& all,
                  const Settings& settings, Builders& builders, bool of_views) {
  const Present present = Look(builders.At(0), settings);
  std::vector<const PostIndex*> indexes;
  for (const PostIndex& index : all) {
    if ((index.relkind == 'm') == of_views) indexes.push_back(&index);
  }
  std::vector<const PostIndex*> plain;
  for (const PostIndex* index : indexes) {
    if (!index->partitioned && !present.indexes.contains(index->name.Quoted())) {
      plain.push_back(index);
    }
  }
  std::ranges::stable_sort(plain, [&](const PostIndex* a, const PostIndex* b) {
    const auto size = [&](const PostIndex* index) {
      const auto it = present.bytes.find(index->table.Quoted());
      return it == present.bytes.end() ? 0 : it->second;
    };
    return size(a) > size(b);
  });
  builders.ForEach(plain.size(), [&](std::size_t at, int worker) {
    const PostIndex& index = *plain[at];
    std::vector<std::string> statements;
    if (present.invalid.contains(index.name.Quoted())) {
      statements.push_back("DROP INDEX " + index.name.Quoted());
    }
    statements.push_back(index.create.empty() ? index.constraint : index.create);
    context.Tell("log", {{"level", "debug"}, {"text", "building " + index.name.Display()}});
    try {
      builders.Commit(worker, statements);
    } catch (const Error& error) {
      throw Error(error.kind(),
                  "building the index " + db::DisplayIdentifier(index.name.name) + " of " +
                      index.table.Display() + ": " + error.what(),
                  error.code());
    }
  });
  // Catalog changes alone from here on: parents before their parts are attached to them.
  std::vector<std::string> statements;
  for (const PostIndex* index : indexes) {
    if (!index->partitioned || present.all_indexes.contains(index->name.Quoted())) continue;
    statements.push_back(index->constraint.empty() ? index->create : index->constraint);
  }
  for (const PostIndex* index : indexes) {
    if (!index->partitioned && !index->create.empty() && !index->constraint.empty() &&
        !present.constraints.contains(ConstraintKey(index->table, index->constraint_name))) {
      statements.push_back(index->constraint);
    }
  }
  std::map<std::uint32_t, const PostIndex*> by_oid;
  for (const PostIndex* index : indexes) by_oid[index->oid] = index;
  for (const PostIndex* index : indexes) {
    if (index->parent == 0 || present.attached.contains(index->name.Quoted())) continue;
    statements.push_back("ALTER INDEX " + by_oid.at(index->parent)->name.Quoted() +
                         " ATTACH PARTITION " + index->name.Quoted());
  }
  for (const PostIndex* index : indexes) {
    statements.insert(statements.end(), index->after.begin(), index->after.end());
  }
  // Few at a time: each locks a table and an index until the commit, in the lock table that
  // production's clients share (hard-case 148).
  for (std::size_t at = 0; at < statements.size(); at += kStatementsTogether) {
    const auto end = std::min(statements.size(), at + kStatementsTogether);
    builders.Commit(0, {statements.begin() + static_cast<std::ptrdiff_t>(at),
                        statements.begin() + static_cast<std::ptrdiff_t>(end)});
  }
}

std::string Joined(const std::vector<std::string>& columns, const std::string& alias) {
  std::string list;
  for (const std::string& column : columns) {
    list += (list.empty() ? "" : ", ") + alias + "." + db::QuoteIdentifier(column);
  }
  return list;
}

// " FROM … WHERE …" of the rows whose key names no row; NULLs reference nothing.
std::string OrphansOf(const PostForeignKey& key) {
  std::string match;
  std::string present;
  for (std::size_t i = 0; i < key.columns.size(); ++i) {
    const std::string mine = "f." + db::QuoteIdentifier(key.columns[i]);
    match += (match.empty() ? "" : " AND ") + std::string("t.") +
             db::QuoteIdentifier(key.referenced_columns[i]) + " = " + mine;
    present += " AND " + mine + " IS NOT NULL";
  }
  return key.from.Quoted() + " AS f WHERE NOT EXISTS (SELECT FROM " + key.to.Quoted() +
         " AS t WHERE " + match + ")" + present;
}

// Types of extensions and of users have their operators in other schemas: this query finds what the
// foreign key itself would compare with.
class WithOperators {
 public:
  explicit WithOperators(db::Session& session) : session_(session) {
    session_.Query(
        "SELECT set_config('search_path', string_agg(quote_ident(nspname), ', '), false) FROM "
        "pg_namespace WHERE nspname NOT LIKE 'pg\\_temp%' AND nspname NOT LIKE 'pg\\_toast%' AND "
        "nspname NOT LIKE 'understudy%'");
  }
  ~WithOperators() {
    try {
      session_.Execute("SET search_path = ''");
    } catch (const std::exception&) {  // the session is dead, and its settings with it
    }
  }

 private:
  db::Session& session_;
};

[[noreturn]] void ThrowOrphans(db::Session& session, const PostForeignKey& key,
                               const Settings& settings) {
  const WithOperators operators(session);
  const std::string count = session.Scalar("SELECT count(*) FROM " + OrphansOf(key)).text;
  std::string examples;
  for (const db::Row& row : session
                                .Query("SELECT ROW(" + Joined(key.columns, "f") + ")::text FROM " +
                                       OrphansOf(key) + " LIMIT " + std::to_string(kOrphansShown))
                                .rows) {
    examples += (examples.empty() ? "" : ", ") + row[0].text;
  }
  const db::TableName from{UserSchemaOf(settings, key.from.schema), key.from.name};
  const db::TableName to{UserSchemaOf(settings, key.to.schema), key.to.name};
  throw Error(ErrorKind::kConstraint,
              count + " rows of " + from.Display() + " reference rows that the new " +
                  to.Display() + " has not (foreign key " + db::DisplayIdentifier(key.name) + ": " +
                  examples +
                  "). Production is untouched. Give the source these rows, take them out of "
                  "production, or set \"orphans\": \"drop\"; then run migrate reset and prepare",
              "orphans");
}

void BuildForeignKeys(const core::Context& context, const std::vector<PostForeignKey>& all,
                      const ShadowRequest& request, Builders& builders) {
  const Settings& settings = request.settings;
  const Present present = Look(builders.At(0), settings);
  std::vector<const PostForeignKey*> keys;
  for (const PostForeignKey& key : all) {
    if (!key.inherited && !Waits(key, settings)) keys.push_back(&key);
  }
  const auto of_orphans = [](const Error& error) { return error.code() == "23503"; };
  std::vector<const PostForeignKey*> to_validate;
  for (const PostForeignKey* key : keys) {
    const std::string id = ConstraintKey(key->from, key->name);
    const bool there = present.constraints.contains(id);
    const bool unchecked = !there || present.not_valid.contains(id);
    if (key->validated && !key->partitioned && unchecked) to_validate.push_back(key);
    if (settings.drop_orphans && key->validated && unchecked &&
        settings.IsPreserved(
            {UserSchemaOf(settings, key->from_root.schema), key->from_root.name})) {
      db::Session& session = builders.At(0);
      const WithOperators operators(session);
      db::Transaction transaction(session);
      const auto dropped = session.Query("DELETE FROM " + OrphansOf(*key)).affected;
      core::Journal(session, request.migration_id).CheckEpoch(request.epoch);
      transaction.Commit();
      if (dropped > 0) {
        context.Log("warning", std::to_string(dropped) + " orphans of the foreign key " +
                                   db::DisplayIdentifier(key->name) + " on " + key->from.Display() +
                                   " were dropped from the shadow");
      }
    }
    if (there) continue;
    // Without NOT VALID for partitioned tables, which take none; else checked in parallel below.
    const bool later = key->validated && !key->partitioned;
    try {
      builders.Commit(0, {"ALTER TABLE " + key->from.Quoted() + " ADD CONSTRAINT " +
                          db::QuoteIdentifier(key->name) + " " + key->definition +
                          (later ? " NOT VALID" : "")});
    } catch (const Error& error) {
      if (of_orphans(error)) ThrowOrphans(builders.At(0), *key, settings);
      throw;
    }
  }
  builders.ForEach(to_validate.size(), [&](std::size_t at, int worker) {
    const PostForeignKey& key = *to_validate[at];
    try {
      builders.Commit(worker, {"ALTER TABLE " + key.from.Quoted() + " VALIDATE CONSTRAINT " +
                               db::QuoteIdentifier(key.name)});
    } catch (const Error& error) {
      if (of_orphans(error)) ThrowOrphans(builders.At(worker), key, settings);
      throw;
    }
  });
}

// Materialised views, each after those that it reads from.
std::vector<db::TableName> MaterializedViews(db::Session& target, const Settings& settings) {
  std::vector<db::TableName> views;
  const db::Result result = target.Query(R"(
WITH RECURSIVE mine AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('m', 'v')
), reads AS (
  SELECT DISTINCT r.ev_class AS view, d.refobjid AS from_view
  FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    AND r.ev_class IN (SELECT oid FROM mine) AND d.refobjid IN (SELECT oid FROM mine)
), depth AS (
  SELECT oid, 0 AS level FROM mine
  UNION
  SELECT r.view, p.level + 1 FROM depth p JOIN reads r ON r.from_view = p.oid WHERE p.level < 100
)
SELECT m.nspname, m.relname FROM mine m JOIN depth p ON p.oid = m.oid
WHERE m.relkind = 'm' GROUP BY 1, 2 ORDER BY max(p.level), 1, 2)",
                                         {db::TextArray(ShadowSchemas(settings))});
  for (const db::Row& row : result.rows) views.push_back({row[0].text, row[1].text});
  return views;
}

// Of those, the ones that are empty on purpose where the new schema comes from.
std::set<std::string> LeftEmpty(const ShadowRequest& request) {
  const auto origin = db::Connect(request.source ? *request.source : request.target);
  std::set<std::string> names;
  for (const db::Row& row :
       origin
           ->Query("SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = "
                   "c.relnamespace WHERE c.relkind = 'm' AND NOT c.relispopulated AND n.nspname = "
                   "ANY ($1::text[])",
                   {db::TextArray(request.settings.schemas)})
           .rows) {
    names.insert(db::TableName{NamesBeside(row[0].text).shadow, row[1].text}.Quoted());
  }
  return names;
}

// Policies of the new schema on tables that production has as well: theirs are production's.
std::vector<std::string> PoliciesToDrop(db::Session& target, const Settings& settings) {
  std::vector<std::string> statements;
  if (!settings.from_source) return statements;
  const db::Result policies = target.Query(R"(
SELECT n.nspname, c.relname, p.polname
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]))",
                                           {db::TextArray(ShadowSchemas(settings))});
  for (const db::Row& row : policies.rows) {
    const db::TableName shadow{row[0].text, row[1].text};
    const db::TableName mine{UserSchemaOf(settings, shadow.schema), shadow.name};
    if (target.Scalar("SELECT to_regclass($1) IS NULL", {db::Value::Text(mine.Quoted())})
            .AsBool()) {
      continue;
    }
    statements.push_back("DROP POLICY " + db::QuoteIdentifier(row[2].text) + " ON " +
                         shadow.Quoted());
  }
  return statements;
}

// Row security that is forced holds back the owner too, who replays captured rows.
void RefuseForcedSecurity(db::Session& target, const Settings& settings) {
  const auto table = target.MaybeScalar(
      "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE "
      "n.nspname = ANY ($1::text[]) AND c.relforcerowsecurity AND NOT EXISTS (SELECT FROM pg_roles "
      "WHERE rolname = current_user AND (rolsuper OR rolbypassrls)) LIMIT 1",
      {db::TextArray(ShadowSchemas(settings))});
  if (!table) return;
  throw Error(ErrorKind::kUnsupported,
              "row security of " + db::DisplayIdentifier(table->text) +
                  " is forced: the role that migrates needs BYPASSRLS to write its rows",
              "row-security");
}

constexpr const char* kTriggers = R"(
SELECT n.nspname, c.relname, false, g.tgname, g.tgenabled
FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal AND c.relkind IN ('r', 'p') AND n.nspname = ANY ($1::text[])
UNION ALL
SELECT n.nspname, c.relname, true, r.rulename, r.ev_enabled
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY ($1::text[])
ORDER BY 1, 2, 3, 4)";

// Everything of the dump's last section but what was built in another way.
void BuildRest(const core::Context& context, const Scratch& scratch, const ShadowRequest& request) {
  const auto target = db::Connect(request.target, {.application_name = request.session_name});
  core::Journal journal(*target, request.migration_id);
  if (journal.Find(kRestEntry)) return;
  const std::string text = DumpShadowSchemas(context, scratch, request, "post-data",
                                             {"INDEX", "CONSTRAINT", "FK CONSTRAINT", "COMMENT",
                                              "EVENT TRIGGER", "PUBLICATION", "SUBSCRIPTION"});
  const auto fresh = db::Connect(scratch.endpoint());
  const std::vector<std::string> comments = ReadComments(*fresh, request.settings);
  db::Transaction transaction(*target);
  target->Execute(text);
  for (const db::Row& row :
       target->Query(kTriggers, {db::TextArray(ShadowSchemas(request.settings))}).rows) {
    const db::TableName table{row[0].text, row[1].text};
    target->Execute("ALTER TABLE ONLY " + table.Quoted() + " DISABLE " +
                    (row[2].AsBool() ? "RULE " : "TRIGGER ") + db::QuoteIdentifier(row[3].text));
  }
  RefuseForcedSecurity(*target, request.settings);
  for (const std::string& sql : PoliciesToDrop(*target, request.settings)) target->Execute(sql);
  for (const std::string& sql : comments) target->Execute(sql);
  journal.CheckEpoch(request.epoch);
  journal.Put(kRestEntry, Json::object());
  transaction.Commit();
}

}  // namespace

void BuildPostData(const core::Context& context, const Scratch& scratch,
                   const ShadowRequest& request) {
  const auto fresh = db::Connect(scratch.endpoint());
  const auto indexes = ReadIndexes(*fresh, request.settings);
  const auto keys = ReadShadowKeys(*fresh, request.settings);
  Builders builders(context, request);
  BuildIndexes(context, indexes, request.settings, builders, /*of_views=*/false);
  BuildForeignKeys(context, keys, request, builders);
}

void FinishShadow(const core::Context& context, const Scratch& scratch,
                  const ShadowRequest& request) {
  BuildRest(context, scratch, request);
  const auto fresh = db::Connect(scratch.endpoint());
  Builders builders(context, request);
  {
    // As the database's own clients: a view's functions may count on a search_path.
    db::SessionOptions options;
    options.settings = db::Settings::kUsers;
    options.application_name = request.session_name;
    const auto session = db::Connect(request.target, options);
    const std::set<std::string> empty = LeftEmpty(request);
    for (const db::TableName& view : MaterializedViews(builders.At(0), request.settings)) {
      context.ThrowIfStopped();
      if (empty.contains(view.Quoted())) continue;
      db::Transaction transaction(*session);
      session->Execute("REFRESH MATERIALIZED VIEW " + view.Quoted());
      core::Journal(*session, request.migration_id).CheckEpoch(request.epoch);
      transaction.Commit();
    }
  }
  BuildIndexes(context, ReadIndexes(*fresh, request.settings), request.settings, builders,
               /*of_views=*/true);
  // Biggest first; a partitioned table has statistics of its own, and no pages.
  const db::Result tables = builders.At(0).Query(R"(
SELECT n.nspname, c.relname, c.relkind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'm', 'p')
ORDER BY pg_table_size(c.oid) DESC)",
                                                 {db::TextArray(ShadowSchemas(request.settings))});
  builders.ForEach(tables.rows.size(), [&](std::size_t at, int worker) {
    const db::Row& row = tables.rows[at];
    builders.At(worker).Execute((row[2].text == "p" ? "ANALYZE " : "VACUUM (ANALYZE) ") +
                                db::TableName{row[0].text, row[1].text}.Quoted());
  });
}

std::vector<DeferredForeignKey> WaitingForeignKeys(const Scratch& scratch,
                                                   const ShadowRequest& request) {
  const auto fresh = db::Connect(scratch.endpoint());
  std::vector<DeferredForeignKey> waiting;
  for (const PostForeignKey& key : ReadShadowKeys(*fresh, request.settings)) {
    if (key.inherited || !Waits(key, request.settings)) continue;
    DeferredForeignKey& one = waiting.emplace_back();
    one.table = {UserSchemaOf(request.settings, key.from.schema), key.from.name};
    one.name = key.name;
    one.columns = key.columns;
    one.references = key.to;
    if (key.to_shadow) one.references.schema = UserSchemaOf(request.settings, key.to.schema);
    one.referenced_columns = key.referenced_columns;
    one.references_set = key.to_shadow;
    one.validated = key.validated;
    one.partitioned = key.partitioned;
    one.definition = key.final_definition;
    one.comment = key.comment;
    one.parts = key.parts;
    for (KeyPart& part : one.parts) {
      part.table.schema = UserSchemaOf(request.settings, part.table.schema);
    }
  }
  return waiting;
}

std::vector<TriggerState> TriggerStates(const Scratch& scratch, const ShadowRequest& request) {
  const auto fresh = db::Connect(scratch.endpoint());
  std::vector<TriggerState> states;
  for (const db::Row& row :
       fresh->Query(kTriggers, {db::TextArray(ShadowSchemas(request.settings))}).rows) {
    states.push_back({{UserSchemaOf(request.settings, row[0].text), row[1].text},
                      row[3].text,
                      row[2].AsBool(),
                      row[4].text.at(0)});
  }
  return states;
}

}  // namespace understudy::table_swap
