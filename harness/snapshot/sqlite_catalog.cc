#include "engine/base/error.h"
#include "harness/snapshot/catalog_builder.h"
#include "harness/snapshot/sqlite_sql.h"

namespace understudy::harness {
namespace {

using db::Row;
using db::Value;

constexpr std::string_view kSchema = "main";

// Tables with what PRAGMA table_list says. Shadow tables belong to a virtual table, sqlite_… to
// SQLite.
constexpr std::string_view kTables = R"(
SELECT l.name, l.type, l.wr, l.strict, m.sql
  FROM pragma_table_list AS l
  JOIN main.sqlite_schema AS m ON m.type = 'table' AND m.name = l.name
 WHERE l.schema = 'main' AND l.type IN ('table', 'virtual') AND l.name NOT LIKE 'sqlite\_%' ESCAPE '\'
 ORDER BY l.name)";

constexpr std::string_view kColumns = R"(
SELECT x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden
  FROM pragma_table_xinfo(?1, 'main') AS x
 ORDER BY x.cid)";

constexpr std::string_view kForeignKeys = R"(
SELECT f.id, group_concat(f."from", ', '), f."table", group_concat(f."to", ', '), f.on_update,
       f.on_delete
  FROM (SELECT * FROM pragma_foreign_key_list(?1, 'main') ORDER BY id, seq) AS f
 GROUP BY f.id)";

// Indexes that somebody made; those of PRIMARY KEY and UNIQUE are constraints.
constexpr std::string_view kIndexes = R"(
SELECT m.name, m.tbl_name, l."unique", l.partial, m.sql,
       (SELECT group_concat(coalesce(x.name, '(expression)') || ' collate ' || x.coll
                            || CASE x.desc WHEN 1 THEN ' desc' ELSE '' END, ', ')
          FROM (SELECT * FROM pragma_index_xinfo(m.name, 'main') WHERE key = 1 ORDER BY seqno) AS x)
  FROM main.sqlite_schema AS m
  JOIN pragma_index_list(m.tbl_name, 'main') AS l ON l.name = m.name
 WHERE m.type = 'index' AND m.sql IS NOT NULL)";

constexpr std::string_view kTriggersAndViews = R"(
SELECT m.type, m.name, m.tbl_name, m.sql
  FROM main.sqlite_schema AS m
 WHERE m.type IN ('trigger', 'view'))";

void AddConstraint(CatalogBuilder& builder, std::string_view table,
                   const SqliteConstraint& constraint) {
  std::string path = CatalogBuilder::Path("constraint", kSchema, table, constraint.name);
  if (constraint.name.empty()) {
    if (constraint.type == "primary key") path += ".primary_key";
    if (constraint.type == "unique") path += ".unique(" + constraint.columns + ")";
    if (constraint.type == "foreign key") path += ".foreign_key(" + constraint.columns + ")";
    if (constraint.type == "check") path += "." + constraint.definition;
  }
  CatalogObject& object = builder.Object("constraint", path);
  object.properties["type"] = constraint.type;
  // Two foreign keys on the same columns are one object with both definitions.
  std::string& definition = object.properties["definition"];
  if (!definition.empty()) definition += "; ";
  definition += constraint.definition;
  object.properties["deferrable"] = constraint.deferrable ? "yes" : "no";
  object.properties["deferred"] = constraint.deferred ? "yes" : "no";
}

void AddTable(db::Session& session, CatalogBuilder& builder, const Row& row) {
  const std::string& name = row[0].text;
  CatalogObject& table = builder.Object("table", CatalogBuilder::Path("table", kSchema, name));
  table.properties["without_rowid"] = row[2].AsBool() ? "yes" : "no";
  table.properties["strict"] = row[3].AsBool() ? "yes" : "no";
  std::optional<SqliteTable> parsed = ParseSqliteTable(row[4].text);

  std::string order;
  std::vector<Row> columns = session.QueryPrepared(kColumns, {Value::Text(name)}).rows;
  if (parsed && parsed->columns.size() != columns.size()) parsed.reset();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const Row& c = columns[i];
    if (parsed && parsed->columns[i].name.size() != c[0].text.size()) parsed.reset();
    if (!order.empty()) order += ", ";
    order += db::DisplayIdentifier(c[0].text);
    CatalogObject& column =
        builder.Object("column", CatalogBuilder::Path("column", kSchema, name, c[0].text));
    const auto set = [&](std::string_view property, std::string_view raw) {
      std::string value = NormalForm("sqlite-column", property, raw);
      if (!value.empty()) column.properties[std::string(property)] = std::move(value);
    };
    set("type", c[1].text);
    column.properties["nullability"] = c[2].AsBool() ? "not null" : "null";
    if (!c[3].is_null()) set("default", c[3].text);
    if (c[4].AsInteger() > 0) column.properties["primary_key"] = c[4].text;
    if (c[5].AsInteger() == 1) column.properties["hidden"] = "yes";
    if (c[5].AsInteger() == 2) column.properties["generated_kind"] = "virtual";
    if (c[5].AsInteger() == 3) column.properties["generated_kind"] = "stored";
  }
  table.properties["column_order"] = order;
  if (!parsed) {  // a virtual table, or a text that we cannot take apart: it is kept as a whole
    table.properties["definition"] = NormalForm("sqlite", "definition", row[4].text);
    for (const Row& f : session.QueryPrepared(kForeignKeys, {Value::Text(name)}).rows) {
      AddConstraint(builder, name,
                    {"", "foreign key", f[1].text,
                     "references " + f[2].text + " (" + f[3].text + ") on update " + f[4].text +
                         " on delete " + f[5].text});
    }
    return;
  }
  bool autoincrement = false;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const SqliteColumn& from = parsed->columns[i];
    CatalogObject& column =
        builder.Object("column", CatalogBuilder::Path("column", kSchema, name, columns[i][0].text));
    if (!from.collation.empty()) column.properties["collation"] = from.collation;
    if (!from.generated.empty()) column.properties["generated"] = from.generated;
    if (!from.on_conflict.empty()) column.properties["on_conflict"] = from.on_conflict.substr(1);
    if (from.autoincrement) column.properties["autoincrement"] = "yes";
    autoincrement = autoincrement || from.autoincrement;
  }
  for (const SqliteConstraint& constraint : parsed->constraints) {
    AddConstraint(builder, name, constraint);
  }
  if (autoincrement) {
    CatalogObject& sequence =
        builder.Object("sequence", CatalogBuilder::Path("sequence", kSchema, name));
    sequence.properties["increment"] = "1";
    sequence.properties["is_called"] = "yes";
    const auto last = session.MaybeScalar(
        "SELECT max(seq) FROM main.sqlite_sequence WHERE name = ?1", {Value::Text(name)});
    sequence.properties["last_value"] = last ? last->TextOr("0") : "0";
  }
}

void AddView(db::Session& session, CatalogBuilder& builder, const Row& row) {
  CatalogObject& view = builder.Object("view", CatalogBuilder::Path("view", kSchema, row[1].text));
  view.properties["definition"] = NormalForm("sqlite", "definition", row[3].text);
  try {
    std::string columns;
    for (const Row& c : session.Query(kColumns, {Value::Text(row[1].text)}).rows) {
      if (!columns.empty()) columns += ", ";
      columns += db::DisplayIdentifier(c[0].text);
    }
    if (!columns.empty()) view.properties["columns"] = columns;
  } catch (const Error& error) {  // it names a table or column that is gone
    if (error.kind() != ErrorKind::kConstraint) throw;
    view.properties["broken"] = error.message();
  }
}

}  // namespace

void ReadSqliteCatalog(db::Session& session, CatalogBuilder& builder, Snapshot& snapshot) {
  CatalogObject& database = builder.Object("database", "database:main");
  for (const char* pragma : {"encoding", "auto_vacuum", "user_version", "application_id"}) {
    database.properties[pragma] = session.Scalar(std::string("PRAGMA main.") + pragma).text;
  }
  for (const Row& row : session.Query(kTables).rows) {
    During("table " + row[0].text, [&] {
      AddTable(session, builder, row);
      return 0;
    });
  }
  for (const Row& row : session.Query(kIndexes).rows) {
    CatalogObject& index =
        builder.Object("index", CatalogBuilder::Path("index", kSchema, row[0].text));
    index.properties["table"] = CatalogBuilder::Path("", kSchema, row[1].text).substr(1);
    index.properties["unique"] = row[2].AsBool() ? "yes" : "no";
    index.properties["partial"] = row[3].AsBool() ? "yes" : "no";
    index.properties["definition"] = NormalForm("sqlite", "definition", row[4].text);
    index.properties["columns"] = row[5].text;
  }
  for (const Row& row : session.Query(kTriggersAndViews).rows) {
    if (row[0].text == "view") {
      AddView(session, builder, row);
    } else {
      CatalogObject& trigger = builder.Object(
          "trigger", CatalogBuilder::Path("trigger", kSchema, row[2].text, row[1].text));
      trigger.properties["definition"] = NormalForm("sqlite", "definition", row[3].text);
    }
  }
  snapshot.not_checked.push_back(
      {"attached databases", "they belong to a connection, not to the file"});
}

}  // namespace understudy::harness
