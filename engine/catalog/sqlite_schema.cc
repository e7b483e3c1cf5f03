#include "engine/catalog/sqlite_schema.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/catalog/sqlite_text.h"
#include "engine/db/identifier.h"
#include "engine/db/script.h"

namespace understudy::catalog {
namespace {

bool SameName(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

std::string Upper(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return upper;
}

std::vector<std::string> QueriesOf(const std::vector<SqliteAnnotation>& annotations) {
  std::vector<std::string> queries;
  for (const SqliteAnnotation& annotation : annotations) {
    if (annotation.word == "query") queries.push_back(annotation.argument);
  }
  return queries;
}

std::vector<SqliteColumn> ReadColumns(db::Session& session, const std::string& table) {
  std::vector<SqliteColumn> columns;
  const db::Result result = session.Query(
      R"(SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?1, 'main')
         ORDER BY cid)",
      {db::Value::Text(table)});
  for (const db::Row& row : result.rows) {
    if (row[5].AsInteger() == 1) continue;  // a virtual table's own
    SqliteColumn column;
    column.name = row[0].text;
    column.type = row[1].text;
    column.affinity = AffinityOf(column.type);
    column.not_null = row[2].AsInteger() != 0;
    if (!row[3].is_null()) column.default_sql = row[3].text;
    column.key_place = static_cast<int>(row[4].AsInteger());
    column.generated = row[5].AsInteger() == 2   ? SqliteColumn::Generated::kVirtual
                       : row[5].AsInteger() == 3 ? SqliteColumn::Generated::kStored
                                                 : SqliteColumn::Generated::kNo;
    columns.push_back(std::move(column));
  }
  return columns;
}

std::vector<SqliteIndex> ReadIndexes(db::Session& session, const std::string& table) {
  std::vector<SqliteIndex> indexes;
  const db::Result list = session.Query(
      R"(SELECT l.name, l."unique", l.origin, l.partial, s.sql
         FROM pragma_index_list(?1, 'main') l
         LEFT JOIN main.sqlite_schema s ON s.type = 'index' AND s.name = l.name
         ORDER BY s.rowid)",
      {db::Value::Text(table)});
  for (const db::Row& row : list.rows) {
    SqliteIndex index;
    index.name = row[0].text;
    index.unique = row[1].AsInteger() != 0;
    index.origin = row[2].text == "pk"  ? SqliteIndex::Origin::kPrimaryKey
                   : row[2].text == "u" ? SqliteIndex::Origin::kUnique
                                        : SqliteIndex::Origin::kCreated;
    index.partial = row[3].AsInteger() != 0;
    index.sql = row[4].TextOr("");
    const std::vector<std::string> written = SqliteIndexExpressions(index.sql);
    const db::Result parts = session.Query(
        R"(SELECT seqno, cid, name, "desc", coll FROM pragma_index_xinfo(?1, 'main')
           WHERE key = 1 ORDER BY seqno)",
        {db::Value::Text(index.name)});
    for (const db::Row& part : parts.rows) {
      SqliteIndexPart& added = index.parts.emplace_back();
      added.column = part[2].TextOr("");
      added.descending = part[3].AsInteger() != 0;
      added.collation = part[4].TextOr("BINARY");
      const auto place = static_cast<std::size_t>(part[0].AsInteger());
      if (part[1].AsInteger() == -2 && place < written.size()) added.expression = written[place];
    }
    indexes.push_back(std::move(index));
  }
  return indexes;
}

std::vector<SqliteForeignKey> ReadForeignKeys(db::Session& session, const std::string& table) {
  std::vector<SqliteForeignKey> keys;
  std::int64_t last = -1;
  const db::Result result = session.Query(
      R"(SELECT id, "table", "from", "to", on_update, on_delete
         FROM pragma_foreign_key_list(?1, 'main') ORDER BY id, seq)",
      {db::Value::Text(table)});
  for (const db::Row& row : result.rows) {
    if (row[0].AsInteger() != last) {
      last = row[0].AsInteger();
      keys.push_back({{}, row[1].text, {}, row[4].text, row[5].text});
    }
    keys.back().columns.push_back(row[2].text);
    if (!row[3].is_null()) keys.back().parent_columns.push_back(row[3].text);
  }
  std::ranges::reverse(keys);  // SQLite lists the last one written first
  return keys;
}

}  // namespace

SqliteAffinity AffinityOf(std::string_view declared_type) {
  const std::string type = Upper(declared_type);
  const auto has = [&](const char* part) { return type.find(part) != std::string::npos; };
  if (has("INT")) return SqliteAffinity::kInteger;
  if (has("CHAR") || has("CLOB") || has("TEXT")) return SqliteAffinity::kText;
  if (has("BLOB") || type.empty() || type == "ANY") return SqliteAffinity::kBlob;
  if (has("REAL") || has("FLOA") || has("DOUB")) return SqliteAffinity::kReal;
  return SqliteAffinity::kNumeric;
}

const SqliteColumn* SqliteTable::Column(std::string_view column) const {
  for (const SqliteColumn& c : columns) {
    if (SameName(c.name, column)) return &c;
  }
  return nullptr;
}

std::vector<std::string> SqliteTable::PrimaryKey() const {
  std::vector<std::string> key;
  for (int place = 1;; ++place) {
    const auto it = std::ranges::find(columns, place, &SqliteColumn::key_place);
    if (it == columns.end()) return key;
    key.push_back(it->name);
  }
}

std::string SqliteTable::RowidAlias() const {
  if (without_rowid || is_virtual) return "";
  const std::vector<std::string> key = PrimaryKey();
  const bool has_index = std::ranges::any_of(indexes, [](const SqliteIndex& index) {
    return index.origin == SqliteIndex::Origin::kPrimaryKey;
  });
  return key.size() == 1 && !has_index ? key[0] : "";
}

std::string SqliteTable::RowidName() const {
  if (without_rowid || is_virtual) return "";
  for (const char* candidate : {"rowid", "_rowid_", "oid"}) {
    if (Column(candidate) == nullptr) return candidate;
  }
  return "";
}

std::vector<std::string> SqliteTable::Queries() const { return QueriesOf(annotations); }
std::vector<std::string> SqliteView::Queries() const { return QueriesOf(annotations); }

const SqliteTable* SqliteSchema::Table(std::string_view name) const {
  for (const SqliteTable& table : tables) {
    if (SameName(table.name, name)) return &table;
  }
  return nullptr;
}

std::string SqliteSchema::Hash() const {
  std::vector<std::string> objects;
  for (const std::string& sql : Ddl()) objects.push_back(NormalSqliteSql(sql));
  std::ranges::sort(objects);
  std::string all;
  for (const std::string& object : objects) all += object + ";\n";
  for (const SqliteSeed& seed : seeds) all += NormalSqliteSql(seed.sql) + ";\n";
  return Sha256Hex(all).substr(0, 16);
}

std::vector<std::string> SqliteSchema::Ddl() const {
  std::vector<std::string> statements;
  for (const SqliteTable& table : tables) statements.push_back(table.sql);
  for (const SqliteTable& table : tables) {
    for (const SqliteIndex& index : table.indexes) {
      if (!index.sql.empty()) statements.push_back(index.sql);
    }
  }
  for (const SqliteView& view : views) statements.push_back(view.sql);
  for (const SqliteTrigger& trigger : triggers) statements.push_back(trigger.sql);
  return statements;
}

bool IsReservedSqliteName(std::string_view name) {
  static constexpr std::array<std::string_view, 5> kPrefixes = {
      "_migration_", "_schema_identity", "_id_mapping", "_understudy_", "sqlite_"};
  return std::ranges::any_of(kPrefixes, [&](std::string_view prefix) {
    return SameName(name.substr(0, prefix.size()), prefix);
  });
}

SqliteSchema ReadSqliteSchema(db::Session& session) {
  SqliteSchema schema;
  const db::Result objects = session.Query(
      "SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL ORDER BY "
      "rowid");
  const db::Result facts = session.Query(
      R"(SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main')");
  const auto fact = [&](const std::string& name) -> const db::Row* {
    for (const db::Row& row : facts.rows) {
      if (SameName(row[0].text, name)) return &row;
    }
    return nullptr;
  };
  for (const db::Row& row : objects.rows) {
    const std::string& name = row[1].text;
    const std::string& sql = row[3].text;
    if (IsReservedSqliteName(name)) continue;
    if (row[0].text == "table") {
      const db::Row* known = fact(name);
      if (known != nullptr && (*known)[1].text == "shadow") continue;  // a virtual table's own
      SqliteTable& table = schema.tables.emplace_back();
      table.name = name;
      table.sql = sql;
      table.is_virtual = known != nullptr && (*known)[1].text == "virtual";
      table.without_rowid = known != nullptr && !table.is_virtual && (*known)[2].AsInteger() != 0;
      table.strict = known != nullptr && (*known)[3].AsInteger() != 0;
      if (table.is_virtual) continue;
      table.columns = ReadColumns(session, name);
      table.indexes = ReadIndexes(session, name);
      table.foreign_keys = ReadForeignKeys(session, name);
      const auto tokens = db::Tokens(sql, db::Engine::kSqlite);
      table.autoincrement = std::ranges::find(tokens, "AUTOINCREMENT") != tokens.end();
      table.annotations = SqliteAnnotations(sql);
    } else if (row[0].text == "view") {
      SqliteView& view = schema.views.emplace_back();
      view.name = name;
      view.sql = sql;
      view.annotations = SqliteAnnotations(sql);
      try {
        view.columns = ReadColumns(session, name);
      } catch (const Error&) {  // it names what is not there, as SQLite lets it
      }
      // Parentheses in a view hold no definitions: everything is the view's own.
      for (SqliteAnnotation& annotation : schema.views.back().annotations) {
        annotation.column.clear();
      }
    } else if (row[0].text == "trigger") {
      schema.triggers.push_back({name, row[2].text, sql});
    }
  }
  for (SqliteTable& table : schema.tables) {
    for (SqliteForeignKey& key : table.foreign_keys) {
      const SqliteTable* parent = schema.Table(key.parent);
      if (key.parent_columns.empty() && parent != nullptr)
        key.parent_columns = parent->PrimaryKey();
    }
  }
  return schema;
}

EvaluatedSqliteSchema EvaluateSqliteSchema(std::string_view sql, std::string_view file) {
  static constexpr std::array<std::string_view, 12> kAllowed = {
      "CREATE", "INSERT", "REPLACE", "PRAGMA", "ALTER",     "DROP",
      "BEGIN",  "COMMIT", "END",     "WITH",   "SAVEPOINT", "RELEASE"};
  EvaluatedSqliteSchema result;
  result.memory = db::Connect(db::Endpoint::Sqlite(":memory:"), {.create = true});
  std::vector<SqliteSeed> seeds;
  for (const db::ScriptStatement& statement :
       db::SplitScript(sql, db::Engine::kSqlite, std::string(file))) {
    const std::string where = std::string(file) + ":" + std::to_string(statement.line) + ": ";
    const auto words = db::Tokens(statement.sql, db::Engine::kSqlite, 1);
    const std::string first = words.empty() ? "" : words[0];
    if (std::ranges::find(kAllowed, first) == kAllowed.end()) {
      throw Error(ErrorKind::kInvalidSpec,
                  where + first + " has no place in a schema; CREATE says what there is, INSERT " +
                      "gives the rows that it begins with");
    }
    try {
      result.memory->Execute(statement.sql);
    } catch (const Error& error) {
      throw Error(ErrorKind::kInvalidSpec, where + error.message());
    }
    if (first == "INSERT" || first == "REPLACE" || first == "WITH") {
      seeds.push_back({statement.sql, statement.line});
    }
  }
  const db::Result reserved = result.memory->Query(
      "SELECT name FROM main.sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'");
  for (const db::Row& row : reserved.rows) {
    if (!IsReservedSqliteName(row[0].text)) continue;
    throw Error(ErrorKind::kInvalidSpec, std::string(file) + ": the name " + row[0].text +
                                             " is of the engine's own; take another one");
  }
  result.schema = ReadSqliteSchema(*result.memory);
  result.schema.seeds = std::move(seeds);
  return result;
}

}  // namespace understudy::catalog
