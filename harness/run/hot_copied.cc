#include "harness/run/hot_copied.h"

#include <algorithm>
#include <fstream>

#include "engine/base/digest.h"
#include "engine/db/identifier.h"
#include "engine/db/script.h"
#include "harness/run/comparisons.h"
#include "harness/run/renamed_from.h"
#include "harness/run/written.h"

namespace understudy::harness {
namespace {
using db::QuoteIdentifier;
using db::QuoteLiteral;
using db::Value;

bool Same(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::string Display(const std::string& table) { return db::TableName{"main", table}.Display(); }

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// What a NOT NULL column without a default is filled with: the zero of its declared type.
std::string ZeroOf(const std::string& declared) {
  const std::string type = Lower(declared);
  const auto has = [&](const char* part) { return type.find(part) != std::string::npos; };
  if (has("int")) return "0";
  if (has("char") || has("clob") || has("text")) return "''";
  if (type.empty() || has("blob")) return "x''";
  return "0";
}

bool IsConstant(const std::string& expression) {
  return expression.find('(') == std::string::npos &&
         Lower(expression).find("current_") == std::string::npos;
}

struct ReadColumn {
  std::string name;
  std::string type;
  bool not_null = false;
  std::optional<std::string> default_sql;
  int key = 0;
  bool generated = false;
};

std::vector<ReadColumn> ColumnsOf(db::Session& session, const std::string& database,
                                  const std::string& table) {
  std::vector<ReadColumn> columns;
  for (const db::Row& row :
       session
           .Query("SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM "
                  "pragma_table_xinfo(?1, ?2) WHERE hidden <> 1 ORDER BY cid",
                  {Value::Text(table), Value::Text(database)})
           .rows) {
    columns.push_back({row[0].text, row[1].TextOr(""), row[2].AsBool(),
                       row[3].is_null() ? std::nullopt : std::optional(row[3].text),
                       static_cast<int>(row[4].AsInteger()), row[5].AsInteger() > 1});
  }
  return columns;
}

const ReadColumn* Find(const std::vector<ReadColumn>& columns, const std::string& name) {
  const auto it =
      std::ranges::find_if(columns, [&](const ReadColumn& c) { return Same(c.name, name); });
  return it == columns.end() ? nullptr : &*it;
}

bool IsReserved(const std::string& name) {
  return name.starts_with("sqlite_") || IsOurs("table:" + Display(name));
}

std::map<std::string, std::string> TablesOf(db::Session& session, const std::string& database) {
  std::map<std::string, std::string> tables;  // name → its CREATE statement
  for (const db::Row& row :
       session
           .Query("SELECT s.name, s.sql FROM " + database +
                      ".sqlite_schema s JOIN pragma_table_list l ON l.name = s.name AND "
                      "l.schema = ?1 AND l.type = 'table' WHERE s.type = 'table'",
                  {Value::Text(database)})
           .rows) {
    if (!IsReserved(row[0].text)) tables.emplace(row[0].text, row[1].TextOr(""));
  }
  return tables;
}

// The new key of `table` that the kept mapping gives for the old one in `value`. Bytes, text and
// numbers of one look are different keys; but a reference may hold a number as text, or text as a
// number, where the two columns are declared so.
std::string MappedTo(const std::string& table, const std::string& value) {
  const std::string found =
      "(SELECT m.new FROM temp.mapping m WHERE m.tab = " + QuoteLiteral(table) + " AND m.old = ";
  const std::string type = "typeof(" + value + ")";
  const std::string text = "CAST(" + value + " AS TEXT)";
  return "coalesce(" + found + "CASE " + type + " WHEN 'blob' THEN hex(" + value + ") ELSE " +
         text + " END AND m.storage = " + type + "), " + found + text +
         " AND m.storage <> 'blob' AND " + type + " <> 'blob'))";
}

// The mapped key of an old row whose new table assigns keys of its own.
std::string AssignedKey(const std::string& table, const std::vector<ReadColumn>& old_columns) {
  std::map<int, std::string> key;
  for (const ReadColumn& column : old_columns) {
    if (column.key > 0) key[column.key] = "o." + QuoteIdentifier(column.name);
  }
  std::string id = "o.rowid";
  if (key.size() == 1) id = key.begin()->second;
  if (key.size() > 1) {  // as in the log: each value as its storage class and hex
    id.clear();
    for (const auto& [place, value] : key) {
      id += (id.empty() ? "" : " || ',' || ") +
            ("typeof(" + value + ") || ':' || hex(CASE typeof(" + value +
             ") WHEN 'real' THEN printf('%!.17g', " + value + ") ELSE " + value + " END)");
    }
  }
  return MappedTo(table, "(" + id + ")");
}

}  // namespace

// Where one column of a new table comes from.
struct HotCopied::Column {
  ReadColumn column;
  std::string from;        // the old column that it holds; "" = none
  std::string expression;  // over the old row `o`; "" = left to the new table
  std::string keys_of;     // the new table whose mapped keys it holds; "" = none
};

// A table that is in both files.
struct HotCopied::Table {
  std::string from;
  std::string to;
  std::vector<ReadColumn> old_columns;
  std::vector<Column> columns;
  std::string id;         // the new INTEGER PRIMARY KEY; "" = none
  bool assigned = false;  // nothing of the old file goes into it: the new table assigns it
  bool mapped = false;
};

// One hot copy, read. `session`: a fresh file with the new schema in it, as plain SQLite makes it;
// the old file is attached as `old`, the mapping of keys lies in temp.mapping.
struct HotCopied::Work {
  db::Endpoint file = db::Endpoint::Sqlite(":memory:");
  std::unique_ptr<db::Session> session;
  Snapshot catalog;
  std::vector<Table> tables;
  std::vector<std::string> unknown;  // TABLE.COLUMN whose value nobody can tell
  const Table* OfNew(const std::string& name) const {
    const auto it = std::ranges::find_if(tables, [&](const Table& t) { return Same(t.to, name); });
    return it == tables.end() ? nullptr : &*it;
  }
};

HotCopied::HotCopied(Rehearsal& rehearsal, const HotCopies& copies)
    : rehearsal_(rehearsal), copies_(copies), folder_("understudy-judge") {}

HotCopied::~HotCopied() = default;

std::filesystem::path HotCopied::Fresh(const std::string& name) {
  const std::filesystem::path file = folder_.path() / (name + ".db");
  std::filesystem::remove(file);
  return file;
}

void HotCopied::ReadMapping(const HotCopy& copy, Work& work) {
  work.session->Execute(
      "CREATE TEMP TABLE mapping(tab TEXT COLLATE NOCASE, old TEXT, storage TEXT, value, "
      "new INTEGER);"
      "CREATE INDEX temp.mapping_by_old ON mapping(tab, old);"
      "CREATE INDEX temp.mapping_by_new ON mapping(tab, new)");
  // The strategy keeps it beside the new file before the cutover drops it.
  std::ifstream in(rehearsal_.Database(copy.target).endpoint().file().string() +
                   ".id-mapping.jsonl");
  db::Transaction transaction(*work.session);
  std::string line;
  while (std::getline(in, line)) {
    if (line.empty()) continue;
    const Json row = ParseJson(line, "id-mapping.jsonl");
    const auto text = [&](const char* key) {
      return row.at(key).is_string() ? row.at(key).get<std::string>() : row.at(key).dump();
    };
    const std::string storage = TextAt(row, "old_storage");
    std::string old = text("old_id");
    Value value = Value::Text(old);
    if (storage == "integer") value = Value::Integer(std::stoll(old));
    if (storage == "real") value = Value::Real(std::stod(old));
    if (storage == "blob") {  // \x and hex
      value = Value::Blob(FromHex(old.substr(2)));
      for (char& c : old) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      old.erase(0, 2);
    }
    work.session->QueryPrepared("INSERT INTO temp.mapping VALUES (?1, ?2, ?3, ?4, ?5)",
                                {Value::Text(text("table_name")), Value::Text(old),
                                 Value::Text(storage), value, Value::Text(text("new_id"))});
  }
  transaction.Commit();
}

void HotCopied::Read(const HotCopy& copy, const db::Endpoint& old, Work& work) {
  work.file = db::Endpoint::Sqlite(Fresh("expected-" + copy.target));
  work.session = db::Connect(work.file, {.application_name = "understudy-compare", .create = true});
  db::Session& session = *work.session;
  for (const auto& statement :
       db::SplitScript(ReadFile(copy.schema), db::Engine::kSqlite, copy.schema)) {
    session.Execute(statement.sql);
  }
  work.catalog = TakeCatalog(session);
  session.Query("ATTACH ?1 AS old", {Value::Text(old.file().string())});
  ReadMapping(copy, work);
  const auto old_tables = TablesOf(session, "old");
  const auto old_name = [&](const std::string& name) -> std::string {
    for (const auto& [table, sql] : old_tables) {
      if (Same(table, name)) return table;
    }
    return "";
  };
  for (const auto& [name, sql] : TablesOf(session, "main")) {
    RenamedFrom renamed = ReadRenamedFrom(sql);
    Table table;
    table.to = name;
    table.from = old_name(name);
    if (table.from.empty() && !renamed.table.empty()) table.from = old_name(renamed.table);
    if (!renamed.first.empty()) {
      const std::string named = old_name(renamed.first);
      const bool of_table = table.from.empty() && !named.empty() &&
                            Find(ColumnsOf(session, "old", named), renamed.first) == nullptr;
      if (of_table) {
        table.from = named;
      } else {
        renamed.columns[renamed.first_column] = renamed.first;
      }
    }
    if (table.from.empty()) continue;  // new: nothing goes into it
    table.old_columns = ColumnsOf(session, "old", table.from);
    Json rules = Json::object();
    for (const auto& [rule_table, rule] : copy.columns.items()) {
      if (Same(rule_table, name)) rules = rule;
    }
    const std::vector<ReadColumn> columns = ColumnsOf(session, "main", name);
    const auto keys = std::ranges::count_if(columns, [](const auto& c) { return c.key > 0; });
    for (const ReadColumn& read : columns) {
      Column column{read, "", "", ""};
      Json rule = Json::object();
      for (const auto& [rule_column, given] : rules.items()) {
        if (Same(rule_column, read.name)) rule = given;
      }
      std::string from = TextAt(rule, "from");
      if (const auto it = renamed.columns.find(read.name);
          from.empty() && it != renamed.columns.end()) {
        from = it->second;
      }
      const ReadColumn* same = Find(table.old_columns, read.name);
      const ReadColumn* was = from.empty() ? nullptr : Find(table.old_columns, from);
      const bool is_id = read.key == 1 && keys == 1 && Same(read.type, "integer");
      if (read.generated) {
        // computed by both
      } else if (const std::string expression = TextAt(rule, "sql"); !expression.empty()) {
        std::string row;
        for (const ReadColumn& one : table.old_columns) {
          row += (row.empty() ? "o." : ", o.") + QuoteIdentifier(one.name);
        }
        column.expression = "(SELECT " + expression + " FROM (SELECT " + row + "))";
      } else if (was != nullptr || (same != nullptr && !rule.contains("default"))) {
        column.from = was != nullptr ? was->name : same->name;
        column.expression = "o." + QuoteIdentifier(column.from);
      } else if (is_id) {
        table.assigned = true;
      } else if (!read.default_sql && read.not_null) {
        column.expression = ZeroOf(read.type);
      } else if (read.default_sql && !IsConstant(*read.default_sql)) {
        work.unknown.push_back(Display(name) + "." + db::DisplayIdentifier(read.name));
      }
      if (is_id) table.id = read.name;
      table.columns.push_back(std::move(column));
    }
    table.mapped = session
                       .Scalar("SELECT EXISTS (SELECT 1 FROM temp.mapping WHERE tab = ?1)",
                               {Value::Text(name)})
                       .AsBool();
    work.tables.push_back(std::move(table));
  }
  // Which columns hold keys that are mapped: the key itself, and whatever refers to one.
  const std::function<std::string(const Table&, const std::string&, std::set<std::string>)>
      keys_of = [&](const Table& table, const std::string& column, std::set<std::string> seen) {
        if (!seen.insert(Lower(table.to + "." + column)).second) return std::string();
        if (table.mapped && Same(column, table.id)) return table.to;
        for (const db::Row& row :
             session
                 .Query("SELECT \"table\", \"to\", \"from\", seq FROM pragma_foreign_key_list(?1, "
                        "'main')",
                        {Value::Text(table.to)})
                 .rows) {
          const Table* parent = work.OfNew(row[0].text);
          if (parent == nullptr || !Same(row[2].text, column)) continue;
          std::string to = row[1].TextOr("");
          if (to.empty()) {  // its primary key
            for (const Column& one : parent->columns) {
              if (one.column.key == row[3].AsInteger() + 1) to = one.column.name;
            }
          }
          if (std::string found = keys_of(*parent, to, seen); !found.empty()) return found;
        }
        return std::string();
      };
  for (Table& table : work.tables) {
    for (Column& column : table.columns) {
      if (column.from.empty()) continue;
      column.keys_of = keys_of(table, column.column.name, {});
      if (column.keys_of.empty()) continue;
      const bool made = work.OfNew(column.keys_of)->assigned;
      const std::string found = MappedTo(column.keys_of, column.expression);
      column.expression = made ? found : "coalesce(" + found + ", " + column.expression + ")";
    }
  }
}

// A mapping is right when no two rows got one key, and when only those rows lost theirs whose place
// a seed, or a row that gave way to one, has taken.
void HotCopied::CheckMapping(const HotCopy& copy, Work& work) {
  db::Session& session = *work.session;
  for (const Table& table : work.tables) {
    if (!table.mapped || table.id.empty()) continue;
    std::int64_t wrong = 0;
    const auto finding = [&](const std::string& sql, const std::string& what) {
      for (const db::Row& row : session.Query(sql, {Value::Text(table.to)}).rows) {
        ++wrong;
        rehearsal_.Tell("rows", copy.target, "key " + row[0].text + " of " + Display(table.to),
                        "failed", what);
      }
    };
    finding("SELECT new FROM temp.mapping WHERE tab = ?1 GROUP BY new HAVING count(*) > 1 LIMIT 20",
            "it stands for more than one row of the old file");
    if (!table.assigned) {
      finding(
          "SELECT m.old FROM temp.mapping m WHERE tab = ?1 AND m.old <> CAST(m.new AS TEXT)"
          " AND NOT EXISTS (SELECT 1 FROM main." +
              QuoteIdentifier(table.to) + " s WHERE CAST(s." + QuoteIdentifier(table.id) +
              " AS TEXT) IN (m.old, CAST(m.new AS TEXT)))"
              " AND NOT EXISTS (SELECT 1 FROM temp.mapping x WHERE x.tab = ?1 AND"
              " CAST(x.new AS TEXT) = m.old) LIMIT 20",
          "the row was given another key, and neither a seed nor another row has its place");
    }
    if (wrong == 0) {
      rehearsal_.Tell("rows", copy.target, "keys of " + Display(table.to), "ok",
                      session.Scalar("SELECT count(*) FROM temp.mapping WHERE tab = ?1",
                                     {Value::Text(table.to)})
                              .text +
                          " keys are mapped, each to one row");
    }
  }
}

db::Endpoint HotCopied::Backwards(const HotCopy& copy) {
  // The new file as it was soon after the cutover: its own clients may write later.
  db::Endpoint now = rehearsal_.Database(copy.target).endpoint();
  db::Endpoint old = rehearsal_.Database(copy.source).endpoint();
  double first = HotCopy::kNever;
  const Evidence evidence = Evidence::Read(rehearsal_.evidence.folder());
  for (const Event* event : EventsWith(evidence, "snapshot", "database", copy.source)) {
    // Its shape, whatever became of the file since: it may have been archived.
    if (Lease* held = rehearsal_.Held(TextAt(event->data, "name"), copy.source)) {
      old = held->endpoint();
    }
  }
  for (const Event* event : EventsWith(evidence, "snapshot", "database", copy.target)) {
    Lease* held = rehearsal_.Held(TextAt(event->data, "name"), copy.target);
    if (held == nullptr || event->t_ms < copy.ready_ms || event->t_ms > first) continue;
    first = event->t_ms;
    now = held->endpoint();
  }
  Work work;
  Read(copy, old, work);
  const std::filesystem::path file = Fresh("backwards-" + copy.source);
  const db::Endpoint back = db::Endpoint::Sqlite(file);
  db::Connect(back, {.create = true})->Execute("PRAGMA user_version = 0");
  db::Session& session = *work.session;
  session.Query("ATTACH ?1 AS new", {Value::Text(now.file().string())});
  session.Query("ATTACH ?1 AS back", {Value::Text(file.string())});
  db::Transaction transaction(session);
  for (const Table& table : work.tables) {
    std::string made, list, keys;
    for (const ReadColumn& column : table.old_columns) {
      for (const Column& one : table.columns) {
        if (!Same(one.from, column.name)) continue;
        std::string value = "n." + QuoteIdentifier(one.column.name);
        if (!one.keys_of.empty()) {
          value = "coalesce((SELECT m.value FROM temp.mapping m WHERE m.tab = " +
                  QuoteLiteral(one.keys_of) + " AND m.new = " + value + "), " + value + ")";
        }
        made += (made.empty() ? "" : ", ") + QuoteIdentifier(column.name) + " " +
                (Same(column.type, "any") ? "" : column.type);
        list += (list.empty() ? "" : ", ") + value;
        if (column.key > 0) {
          keys += (keys.empty() ? "" : ", ") + QuoteIdentifier(column.name);
        }
        break;
      }
    }
    if (made.empty()) continue;
    const std::string name = QuoteIdentifier(table.from);
    session.Execute("CREATE TABLE back." + name + "(" + made + ")");
    session.Execute("INSERT INTO back." + name + " SELECT " + list + " FROM new." +
                    QuoteIdentifier(table.to) + " n");
    if (!keys.empty()) {
      session.Execute("CREATE INDEX back." + QuoteIdentifier("key of " + table.from) + " ON " +
                      name + "(" + keys + ")");
    }
  }
  transaction.Commit();
  return back;
}

ActorContext HotCopied::WhereToLook() {
  ActorContext context = rehearsal_.Actors();
  for (const HotCopy& copy : copies_.all()) {
    if (!copy.in_service()) continue;
    context.databases.erase(copy.source);
    try {
      context.databases.emplace(copy.source, Backwards(copy));
    } catch (const Error& error) {
      rehearsal_.evidence.NotChecked(
          "what clients wrote to " + copy.source,
          "the new file could not be read back into the old shape: " + error.message());
    }
  }
  return context;
}

void HotCopied::CompareTarget(const HotCopy& copy, const std::string& last) {
  Lease* old = rehearsal_.Held(last, copy.source);
  Lease* now = rehearsal_.Held(last, copy.target);
  if (old == nullptr || now == nullptr) {
    rehearsal_.evidence.NotChecked("rows of " + last + ":" + copy.target,
                                   "no copies of both files were held");
    return;
  }
  Work work;
  Read(copy, old->endpoint(), work);
  Json tables = Json::object();
  for (const Table& table : work.tables) tables[Display(table.to)] = Display(table.from);
  rehearsal_.evidence.Add("hot-copy", {{"database", copy.target}, {"tables", tables}});
  StoreSnapshot(rehearsal_.evidence.folder(), HotCopies::kExpected, copy.target,
                work.catalog.ToJson());
  CheckMapping(copy, work);
  db::Session& session = *work.session;
  for (const db::Row& row :
       session.Query("SELECT name FROM main.sqlite_schema WHERE type = 'trigger'").rows) {
    session.Execute("DROP TRIGGER main." + QuoteIdentifier(row[0].text));
  }
  {
    db::Transaction transaction(session);
    for (const Table& table : work.tables) {
      std::string names, values;
      for (const Column& column : table.columns) {
        std::string value = column.expression;
        if (value.empty() && table.assigned && Same(column.column.name, table.id)) {
          value = AssignedKey(table.to, table.old_columns);
        }
        if (value.empty()) continue;
        names += (names.empty() ? "" : ", ") + QuoteIdentifier(column.column.name);
        values += (values.empty() ? "" : ", ") + value;
      }
      session.Execute("INSERT OR REPLACE INTO main." + QuoteIdentifier(table.to) + "(" + names +
                      ") SELECT " + values + " FROM old." + QuoteIdentifier(table.from) + " o");
    }
    transaction.Commit();
  }
  work.session.reset();
  CompareOptions options = RowsOptionsOf(rehearsal_);
  options.map.clear();  // it says what the comments of the schema say
  for (const std::string& column : work.unknown) {
    options.ignore.push_back(column);
    rehearsal_.evidence.NotChecked("column:" + column, "its default is another one each time");
  }
  std::unique_ptr<Written> written;
  {
    const auto copied = db::Connect(now->endpoint(), {.application_name = "understudy-compare"});
    rehearsal_.ledger.Flush();
    const std::lock_guard lock(rehearsal_.ledger.mutex());
    written = std::make_unique<Written>(rehearsal_.ledger.session(), copy.target, *copied);
  }
  options.explained = [&](const std::string& table, const Json& key, const std::string&) {
    return written->Knows(table, key) || written->indirect().contains(table);
  };
  const Comparison comparison = CompareRows(work.file, now->endpoint(), options);
  rehearsal_.evidence.Add("comparison", {{"use", "rows"},
                                         {"database", copy.target},
                                         {"left", last + ":" + copy.source},
                                         {"right", last + ":" + copy.target},
                                         {"clients_left_out", true},
                                         {"result", comparison.ToJson()}});
}

void HotCopied::CompareTargets(const std::string& last) {
  for (const HotCopy& copy : copies_.all()) {
    rehearsal_.ThrowIfStopped();
    if (!copy.in_service()) {
      rehearsal_.evidence.NotChecked("rows of " + copy.target,
                                     "the hot copy is not in service in the end");
      continue;
    }
    try {
      CompareTarget(copy, last);
    } catch (const Error& error) {
      if (error.code() == "stop") throw;
      rehearsal_.Tell("rows", copy.target, "rows of " + copy.target, "unknown",
                      std::string("the rows as they should be could not be made: ") + error.what());
    }
  }
}

void HotCopied::ProbeLeftovers(const Evidence& evidence) {
  for (const HotCopy& copy : copies_.all()) {
    if (copy.in_service()) continue;
    std::string last;
    for (const PhaseRun& run : PhasesOf(evidence)) {
      if (run.migration == copy.name && run.ended) last = run.outcome == "done" ? run.phase : "";
    }
    if (last != "reset") continue;
    const std::string file = rehearsal_.Database(copy.target).endpoint().file().string();
    bool clean = true;
    for (const char* suffix :
         {"", "-journal", "-wal", "-shm", ".id-mapping.jsonl", ".understudy-new"}) {
      if (!std::filesystem::exists(file + suffix)) continue;
      clean = false;
      rehearsal_.Tell("leftovers", copy.target, "the new file" + std::string(suffix), "failed",
                      "it is still there after the reset");
    }
    if (clean) {
      rehearsal_.Tell("leftovers", copy.target, "the new file", "ok", "it is gone");
    }
  }
}

std::map<std::string, std::string> HotCopied::NotServed() const {
  std::map<std::string, std::string> names;
  for (const HotCopy& copy : copies_.all()) {
    if (copy.in_service()) {
      names[copy.source] = "the hot copy is in service: its source refuses writes";
    } else {
      names[copy.target] = "the hot copy is not in service in the end";
    }
  }
  return names;
}

}  // namespace understudy::harness
