// Triggers and logs: how they are made, checked, and taken away.
#include <algorithm>
#include <map>

#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "engine/capture/postgres.h"

namespace understudy::capture {
namespace {

using db::QuoteIdentifier;
using db::Row;
using db::TableName;
using db::Value;

std::vector<Oid> Watched(const std::vector<CapturedTable>& tables) {
  std::vector<Oid> oids;
  oids.reserve(tables.size());
  for (const CapturedTable& table : tables) oids.push_back(table.watched);
  return oids;
}

std::string Tagged(const CapturedTable& table) {
  return table.owner.empty() ? "" : "_" + table.owner;
}

TableName LogName(const CapturedTable& table) {
  return {kSchema, "capture" + Tagged(table) + "_" + std::to_string(table.watched)};
}

// The tables that hold rows of a watched table: its leaf partitions, or itself.
struct Leaf {
  Oid root = 0;
  Oid oid = 0;
  TableName name;
  char kind = 'r';
};

std::vector<Leaf> Leaves(db::Session& session, const std::vector<Oid>& watched) {
  const db::Result found = session.Query(R"(
SELECT r.oid, c.oid, n.nspname, c.relname, c.relkind
  FROM pg_class r
 CROSS JOIN LATERAL (SELECT r.oid AS member WHERE r.relkind <> 'p'
                      UNION ALL
                     SELECT t.relid::oid FROM pg_partition_tree(r.oid) t
                      WHERE r.relkind = 'p' AND t.isleaf) AS m
  JOIN pg_class c ON c.oid = m.member
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE r.oid = ANY ($1::oid[]) AND c.relkind <> 'p'
 ORDER BY c.oid)",
                                         {db::IntegerArray(watched)});
  std::vector<Leaf> leaves;
  for (const Row& row : found.rows) {
    leaves.push_back({static_cast<Oid>(row[0].AsInteger()),
                      static_cast<Oid>(row[1].AsInteger()),
                      {row[2].text, row[3].text},
                      row[4].text.empty() ? '\0' : row[4].text[0]});
    if (leaves.back().kind == 'f') {
      throw Error(ErrorKind::kUnsupported,
                  leaves.back().name.Display() +
                      " is a foreign table: what is written to it elsewhere cannot be captured");
    }
  }
  return leaves;
}

// Everything that will be locked sooner or later, at once and always in the same order.
void LockAll(db::Session& session, const std::vector<Oid>& watched, const char* mode) {
  std::vector<Oid> oids = watched;
  std::sort(oids.begin(), oids.end());
  oids.erase(std::unique(oids.begin(), oids.end()), oids.end());
  std::string list;
  for (const catalog::Table& table : catalog::ReadTablesByOid(session, oids)) {
    list += (list.empty() ? "" : ", ") + std::string(table.kind == 'p' ? "" : "ONLY ") +
            table.name.Quoted();
  }
  if (!list.empty()) session.Execute("LOCK TABLE " + list + " IN " + mode + " MODE");
}

// The numbers of a log that is full: from here on no key is written.
constexpr std::int64_t kFull = std::int64_t{1} << 62;
// A session takes so many numbers of a log at once. With the server's own 32 that are lost in a
// crash every such block begins behind a multiple of it, so that some writer has each of
// those numbers, however few rows a session writes.
constexpr std::int64_t kNumbersAtOnce = 32;

// Entries between two looks at the size of the logs: few enough to keep near to the limit, and so
// many that the look costs a writer nothing.
std::int64_t EntriesBetweenLooks(std::int64_t max_bytes) {
  constexpr std::int64_t kMost = 4096;
  constexpr std::int64_t kBytesOfEntry = 64;
  constexpr std::int64_t kLooks = 8;
  std::int64_t entries = 2 * kNumbersAtOnce;
  while (entries < kMost && entries * kBytesOfEntry * kLooks <= max_bytes) entries *= 2;
  return entries;
}

// Sets the variable n to kFull where all logs of this one's owner are beyond the limit together.
std::string LookSql(const CapturedTable& table, const std::string& sequence) {
  const std::int64_t every = EntriesBetweenLooks(table.max_bytes);
  std::string like;
  for (const char c : "capture" + Tagged(table) + "_") {
    like += (c == '_' ? "\\" : "") + std::string(1, c);
  }
  return "  IF n % " + std::to_string(every) + " = " + std::to_string(every / 2 + 1) +
         " THEN\n    IF (SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' "
         "AND relnamespace = " +
         db::QuoteLiteral(kSchema) + "::regnamespace AND relname LIKE " +
         db::QuoteLiteral(like + "%") + ") > " + std::to_string(table.max_bytes) +
         " THEN n := setval(" + sequence + ", " + std::to_string(kFull) +
         "); END IF;\n  END IF;\n  IF n >= " + std::to_string(kFull) + " THEN ";
}

// The body of the trigger function. It compares and inserts, and nothing else: whatever it did more
// could fail in a user's transaction. What reads the row's columns may not fail either, when
// somebody has renamed, dropped or retyped one; then, and where the log is full, a mark stands for
// the keys that are missing: an entry with a number below zero, that of the transaction. The block
// that catches this writes nothing, so that it costs no transaction number. Statements without a
// query are the cheap ones: the size is asked for at few rows, and all of them know by their number
// that the log is full.
std::string FunctionBody(const TableName& log, const CapturedTable& table) {
  if (table.only_whether) {  // an entry of each transaction that nobody has seen write before
    return "BEGIN\n  IF NOT EXISTS (SELECT FROM " + log.Quoted() + ") THEN INSERT INTO " +
           log.Quoted() + " DEFAULT VALUES; END IF;\n  RETURN NULL;\nEND";
  }
  const RowMapping& mapping = table.mapping;
  std::string declared;
  std::string names;
  std::string new_values;
  std::string old_values;
  std::string unchanged;
  const auto assign = [&](const char* variable, const char* row) {
    std::string all;
    for (std::size_t i = 0; i < mapping.key.size(); ++i) {
      all += variable + std::to_string(i + 1) + " := " + row + "." +
             QuoteIdentifier(mapping.key[i]) + "; ";
    }
    return all;
  };
  for (std::size_t i = 0; i < mapping.key.size(); ++i) {
    const std::string column = QuoteIdentifier(mapping.key[i]);
    const std::string place = std::to_string(i + 1);
    const std::string comma = i == 0 ? "" : ", ";
    const std::string type = " " + log.Quoted() + ".k" + place + "%TYPE; ";
    declared += "n" + place + type + "o" + place + type;
    names += comma + "k" + place;
    new_values += comma + "n" + place;
    old_values += comma + "o" + place;
    unchanged +=
        (i == 0 ? "OLD." : " AND OLD.") + column + " " + mapping.key_equals[i] + " NEW." + column;
  }
  if (Sabotaged("capture-misses-updates")) unchanged = "true";
  const std::string mark = "IF NOT EXISTS (SELECT FROM " + log.Quoted() +
                           " WHERE id < 0) THEN INSERT INTO " + log.Quoted() +
                           " (id) OVERRIDING SYSTEM VALUE VALUES (-txid_current()); END IF; "
                           "RETURN NULL;\n";
  std::string body = "DECLARE " + declared +
                     "moved boolean := false; n bigint;\n"
                     "BEGIN\n"
                     "  BEGIN\n"
                     "    IF TG_OP = 'UPDATE' THEN\n"
                     "      IF NOT (" +
                     unchanged + ") THEN " + assign("o", "OLD") + "moved := true; END IF;\n      " +
                     assign("n", "NEW") + "\n    ELSIF TG_OP = 'INSERT' THEN " +
                     assign("n", "NEW") + "\n    ELSIF TG_OP = 'DELETE' THEN " +
                     assign("n", "OLD") + "\n    END IF;\n  EXCEPTION WHEN OTHERS THEN\n    " +
                     mark + "  END;\n";
  if (Sabotaged("capture-misses-updates"))
    body += "  IF TG_OP = 'UPDATE' THEN RETURN NULL; END IF;\n";
  const std::string sequence =
      db::QuoteLiteral(TableName{log.schema, log.name + "_id_seq"}.Quoted()) + "::regclass";
  body += "  n := nextval(" + sequence + ");\n";
  if (table.max_bytes > 0) body += LookSql(table, sequence) + mark + "  END IF;\n";
  return body + "  IF moved THEN INSERT INTO " + log.Quoted() + " (" + names + ") VALUES (" +
         old_values + "); END IF;\n" +
         // A TRUNCATE has no row: an entry without a key.
         "  INSERT INTO " + log.Quoted() + " (id, " + names +
         ") OVERRIDING SYSTEM VALUE VALUES (n, " + new_values + ");\n  RETURN NULL;\nEND";
}

std::string LogSql(const TableName& log, const catalog::Table& watched,
                   const CapturedTable& table) {
  const RowMapping& mapping = table.mapping;
  // A number as primary key: DELETE from a table without one fails where a publication is FOR ALL
  // TABLES (hard-case 135). No index on the keys: nothing of it may refuse an entry. Domains are
  // logged as what they stand on, so that the mark of a TRUNCATE can be NULL.
  std::string sql = "CREATE TABLE " + log.Quoted() +
                    " (id bigint GENERATED ALWAYS AS IDENTITY (CACHE " +
                    std::to_string(kNumbersAtOnce) + ") PRIMARY KEY";
  for (std::size_t i = 0; i < mapping.key.size(); ++i) {
    const catalog::Column* column = watched.Find(mapping.key[i]);
    sql += ", k" + std::to_string(i + 1) + " " + column->base_type;
    if (!column->collation.empty()) sql += " COLLATE " + column->collation;
  }
  return sql +
         ") WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);\n";
}

std::string TriggerSql(const Leaf& leaf, const CapturedTable& captured) {
  const std::string table = leaf.name.Quoted();
  const std::string function = LogName(captured).Quoted();
  const std::string row_trigger = QuoteIdentifier(kRowTrigger + Tagged(captured));
  const std::string truncate_trigger = QuoteIdentifier(kTruncateTrigger + Tagged(captured));
  return "CREATE TRIGGER " + row_trigger + " AFTER INSERT OR UPDATE OR DELETE ON " + table +
         " FOR EACH ROW EXECUTE FUNCTION " + function + "();\n" + "CREATE TRIGGER " +
         truncate_trigger + " AFTER TRUNCATE ON " + table +
         " FOR EACH STATEMENT EXECUTE FUNCTION " + function + "();\n" + "ALTER TABLE ONLY " +
         table + " ENABLE ALWAYS TRIGGER " + row_trigger + ", ENABLE ALWAYS TRIGGER " +
         truncate_trigger + ";\n";
}

// Triggers of these functions that stand by themselves (not a partition's copies).
std::string DropTriggersSql(db::Session& session, const std::vector<Oid>& functions,
                            const std::vector<Oid>& only_on = {}) {
  const db::Result found = session.Query(
      R"(
SELECT t.tgname, n.nspname, c.relname
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE t.tgfoid = ANY ($1::oid[]) AND NOT t.tgisinternal
   AND ($2::oid[] = '{}' OR t.tgrelid = ANY ($2::oid[]))
 ORDER BY c.oid, t.tgname)",
      {db::IntegerArray(functions), db::IntegerArray(only_on)});
  std::string sql;
  for (const Row& row : found.rows) {
    sql += "DROP TRIGGER " + QuoteIdentifier(row[0].text) + " ON " +
           TableName{row[1].text, row[2].text}.Quoted() + ";\n";
  }
  return sql;
}

std::string DropSql(db::Session& session, const std::vector<Oid>& functions,
                    const std::vector<Oid>& logs) {
  std::string sql = DropTriggersSql(session, functions);
  const db::Result names = session.Query(
      R"(
SELECT format('DROP FUNCTION %I.%I();', n.nspname, p.proname)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid = ANY ($1::oid[])
 UNION ALL
SELECT format('DROP TABLE %I.%I;', n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY ($2::oid[]) AND c.relkind = 'r')",
      {db::IntegerArray(functions), db::IntegerArray(logs)});
  for (const Row& row : names.rows) sql += row[0].text + "\n";
  return sql;
}

// What a run that died has left of the same tables: by the owner's names only.
void DropLeftovers(db::Session& session, const std::vector<CapturedTable>& tables) {
  std::vector<std::string> names;
  names.reserve(tables.size());
  for (const CapturedTable& table : tables) names.push_back(LogName(table).Quoted());
  std::vector<Oid> functions;
  std::vector<Oid> logs;
  const db::Result found = session.Query(R"(
SELECT to_regprocedure(w.name || '()')::oid, to_regclass(w.name)::oid
  FROM unnest($1::text[]) AS w (name))",
                                         {db::TextArray(names)});
  for (const Row& row : found.rows) {
    if (!row[0].is_null()) functions.push_back(static_cast<Oid>(row[0].AsInteger()));
    if (!row[1].is_null()) logs.push_back(static_cast<Oid>(row[1].AsInteger()));
  }
  if (functions.empty() && logs.empty()) return;
  const std::string sql = DropSql(session, functions, logs);
  if (!sql.empty()) session.Execute(sql);
}

void CheckKey(const catalog::Table& table, const RowMapping& mapping) {
  const bool usable =
      std::any_of(table.keys.begin(), table.keys.end(),
                  [&](const catalog::Key& key) { return key.columns == mapping.key; });
  if (usable && mapping.key.size() == mapping.key_equals.size() &&
      mapping.key.size() == mapping.mirror_key.size() &&
      mapping.key.size() == mapping.mirror_equals.size()) {
    return;
  }
  std::string columns;
  for (const std::string& column : mapping.key) {
    columns += (columns.empty() ? "" : ", ") + db::DisplayIdentifier(column);
  }
  throw Error(ErrorKind::kUnsupported,
              table.name.Display() + " has no usable key" +
                  (columns.empty() ? "" : " (" + columns + ")") +
                  ": its writes cannot be captured; give it a unique key of NOT NULL columns");
}

struct Missing {
  const CapturedTable* table;
  Leaf leaf;
};

std::vector<Missing> FindMissing(db::Session& session, const std::vector<CapturedTable>& tables) {
  std::map<Oid, const CapturedTable*> by_watched;
  std::vector<Oid> functions;
  for (const CapturedTable& table : tables) {
    by_watched[table.watched] = &table;
    functions.push_back(table.function);
  }
  // tgtype: row 1, insert 4, delete 8, update 16, truncate 32; before and instead are not set. No
  // WHEN, no column list: whoever replaced ours by a narrower one is seen.
  const db::Result found = session.Query(R"(
SELECT tgrelid, tgfoid, count(*) FILTER (WHERE tgtype = 29), count(*) FILTER (WHERE tgtype = 32)
  FROM pg_trigger
 WHERE tgfoid = ANY ($1::oid[]) AND tgenabled = 'A' AND tgqual IS NULL AND tgattr::text = ''
 GROUP BY tgrelid, tgfoid)",
                                         {db::IntegerArray(functions)});
  std::map<std::pair<Oid, Oid>, bool> whole;
  for (const Row& row : found.rows) {
    whole[{static_cast<Oid>(row[0].AsInteger()), static_cast<Oid>(row[1].AsInteger())}] =
        row[2].AsInteger() > 0 && row[3].AsInteger() > 0;
  }
  std::vector<Missing> missing;
  for (Leaf& leaf : Leaves(session, Watched(tables))) {
    const CapturedTable* table = by_watched.at(leaf.root);
    const auto it = whole.find({leaf.oid, table->function});
    if (it == whole.end() || !it->second) missing.push_back({table, std::move(leaf)});
  }
  return missing;
}

// Whose log has such an entry; one that is gone is for the others to find.
std::vector<Oid> WithEntries(db::Session& session, const std::vector<CapturedTable>& all,
                             const std::string& condition) {
  constexpr std::size_t kTablesPerQuery = 200;
  std::vector<CapturedTable> tables;
  for (const Row& row : session
                            .Query("SELECT oid FROM pg_class WHERE oid = ANY ($1::oid[])",
                                   {db::IntegerArray(all, &CapturedTable::log)})
                            .rows) {
    const auto log = static_cast<Oid>(row[0].AsInteger());
    tables.push_back(*std::ranges::find(all, log, &CapturedTable::log));
  }
  std::vector<Oid> with;
  for (std::size_t begin = 0; begin < tables.size(); begin += kTablesPerQuery) {
    std::string sql;
    const std::size_t end = std::min(tables.size(), begin + kTablesPerQuery);
    for (std::size_t i = begin; i < end; ++i) {
      sql += (i == begin ? "SELECT " : ", ") + std::string("EXISTS (SELECT FROM ONLY ") +
             LogName(tables[i]).Quoted() + " WHERE " + condition + ")";
    }
    const db::Result found = session.Query(sql);
    for (std::size_t i = begin; i < end; ++i) {
      if (found.rows.at(0).at(i - begin).AsBool()) with.push_back(tables[i].watched);
    }
  }
  return with;
}

}  // namespace

void Install(db::Session& session, std::vector<CapturedTable>& tables) {
  if (tables.empty()) return;
  LockAll(session, Watched(tables), "SHARE ROW EXCLUSIVE");
  MakeLogs(session, tables);
  SetTriggers(session, tables);
}

void MakeLogs(db::Session& session, std::vector<CapturedTable>& tables) {
  if (tables.empty()) return;
  const std::vector<Oid> watched = Watched(tables);
  DropLeftovers(session, tables);
  std::map<Oid, catalog::Table> facts;
  for (catalog::Table& table : catalog::ReadTablesByOid(session, watched)) {
    const Oid oid = table.oid;
    facts.emplace(oid, std::move(table));
  }
  std::string sql;
  for (const CapturedTable& table : tables) {
    const auto it = facts.find(table.watched);
    if (it == facts.end()) {
      throw Error(ErrorKind::kMismatch, "the table with OID " + std::to_string(table.watched) +
                                            " that is to be captured is gone");
    }
    if (!table.only_whether) CheckKey(it->second, table.mapping);
    const TableName log = LogName(table);
    sql += LogSql(log, it->second, table);
    sql += "CREATE FUNCTION " + log.Quoted() +
           "() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "
           "pg_temp AS " +
           db::QuoteLiteral(FunctionBody(log, table)) + ";\n";
  }
  During("make the logs of captured writes", [&] { session.Execute(sql); });
  for (CapturedTable& table : tables) {
    const db::Result made =
        session.Query("SELECT to_regclass($1)::oid, to_regprocedure($1 || '()')::oid",
                      {Value::Text(LogName(table).Quoted())});
    table.log = static_cast<Oid>(made.rows.at(0).at(0).AsInteger());
    table.function = static_cast<Oid>(made.rows.at(0).at(1).AsInteger());
  }
}

void SetTriggers(db::Session& session, const std::vector<CapturedTable>& tables) {
  if (tables.empty()) return;
  std::string sql;
  for (const Leaf& leaf : Leaves(session, Watched(tables))) {
    sql += TriggerSql(leaf, *std::ranges::find(tables, leaf.root, &CapturedTable::watched));
  }
  During("install the triggers that capture writes", [&] { session.Execute(sql); });
}

void Repair(db::Session& session, const std::vector<CapturedTable>& tables) {
  if (tables.empty()) return;
  LockAll(session, Watched(tables), "SHARE ROW EXCLUSIVE");
  std::string sql;
  for (const Missing& missing : FindMissing(session, tables)) {
    sql += DropTriggersSql(session, {missing.table->function}, {missing.leaf.oid});
    sql += TriggerSql(missing.leaf, *missing.table);
  }
  if (!sql.empty()) session.Execute(sql);
}

void SwitchOff(db::Session& session, const std::vector<CapturedTable>& tables) {
  const db::Result present = session.Query(
      "SELECT format('CREATE OR REPLACE FUNCTION %I.%I() RETURNS trigger LANGUAGE plpgsql AS "
      "''BEGIN RETURN NULL; END'';', n.nspname, p.proname) FROM pg_proc p "
      "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = ANY ($1::oid[])",
      {db::IntegerArray(tables, &CapturedTable::function)});
  std::string sql;
  for (const Row& row : present.rows) sql += row[0].text;
  if (!sql.empty()) session.Execute(sql);
}

void LockForRemoval(db::Session& session, const std::vector<CapturedTable>& tables) {
  LockAll(session, Watched(tables), "ACCESS EXCLUSIVE");
}

void Remove(db::Session& session, const std::vector<CapturedTable>& tables) {
  std::vector<Oid> functions;
  std::vector<Oid> logs;
  for (const CapturedTable& table : tables) {
    if (table.function != 0) functions.push_back(table.function);
    if (table.log != 0) logs.push_back(table.log);
  }
  const std::string sql = DropSql(session, functions, logs);
  if (!sql.empty()) session.Execute(sql);
}

std::vector<std::string> MissingTriggers(db::Session& session,
                                         const std::vector<CapturedTable>& tables) {
  std::vector<std::string> names;
  for (const Missing& missing : FindMissing(session, tables)) {
    names.push_back(missing.leaf.name.Display());
  }
  return names;
}

std::vector<Oid> Incomplete(db::Session& session, const std::vector<CapturedTable>& tables) {
  return WithEntries(session, tables, "id < 0");
}

std::vector<Oid> WasWritten(db::Session& session, const std::vector<CapturedTable>& tables) {
  std::vector<Oid> written = WithEntries(session, tables, "true");
  for (const Missing& missing : FindMissing(session, tables)) {
    written.push_back(missing.table->watched);
  }
  return written;
}

std::vector<Oid> Full(db::Session& session, const std::vector<CapturedTable>& tables) {
  std::vector<Oid> full;
  for (const Row& row :
       session
           // As it is written, so that nothing but a sequence is ever asked for its value.
           .Query("WITH s AS MATERIALIZED (SELECT t.w, d.objid FROM unnest($1::oid[], $2::oid[]) "
                  "AS t (w, l) JOIN pg_depend d ON d.refobjid = t.l AND d.refclassid = "
                  "'pg_class'::regclass AND d.classid = 'pg_class'::regclass AND d.deptype = 'i' "
                  "JOIN pg_sequence q ON q.seqrelid = d.objid) "
                  "SELECT w FROM s WHERE pg_sequence_last_value(objid) >= $3",
                  {db::IntegerArray(tables, &CapturedTable::watched),
                   db::IntegerArray(tables, &CapturedTable::log), Value::Integer(kFull)})
           .rows) {
    full.push_back(static_cast<Oid>(row[0].AsInteger()));
  }
  return full;
}

std::int64_t LogBytes(db::Session& session, const std::vector<CapturedTable>& tables) {
  std::vector<Oid> logs;
  for (const CapturedTable& table : tables) {
    if (table.log != 0) logs.push_back(table.log);
  }
  return session
      .Scalar(
          "SELECT coalesce(sum(pg_total_relation_size(o)), 0)::bigint "
          "FROM unnest($1::oid[]) AS l (o)",
          {db::IntegerArray(logs)})
      .AsInteger();
}

std::vector<std::int64_t> Pending(db::Session& session, const std::vector<CapturedTable>& tables,
                                  std::int64_t at_most) {
  constexpr std::size_t kTablesPerQuery = 200;
  std::vector<std::int64_t> counts;
  for (std::size_t begin = 0; begin < tables.size(); begin += kTablesPerQuery) {
    std::string sql;
    const std::size_t end = std::min(tables.size(), begin + kTablesPerQuery);
    for (std::size_t i = begin; i < end; ++i) {
      sql += (i == begin ? "SELECT " : ", ") +
             std::string("(SELECT count(*) FROM (SELECT 1 FROM ONLY ") +
             LogName(tables[i]).Quoted() + " LIMIT $1) AS x)";
    }
    const db::Result found = session.Query(sql, {Value::Integer(at_most)});
    for (const Value& value : found.rows.at(0)) counts.push_back(value.AsInteger());
  }
  return counts;
}

}  // namespace understudy::capture
