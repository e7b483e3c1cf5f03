// A schema as C++ types is the same schema as one in SQL, both ways.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <deque>

#include "engine/catalog/sqlite_schema.h"
#include "understudy/schema.h"

namespace understudy::schema {
namespace {
using catalog::EvaluateSqliteSchema;
using catalog::SqliteSchema;
using catalog::SqliteTable;

struct Student {
  std::int64_t id;
  std::string name;
  std::optional<std::string> email;
  bool active;
};
struct Address {
  std::int64_t student_id;
  std::optional<std::string> street;
};
struct Grade {
  std::int64_t student_id;
  std::string course;
  double mark;
  std::string at;
};
struct Mark {
  std::string name;
  double mark;
};

constexpr auto students =
    Table<Student>("students", Column(&Student::id, "id", PrimaryKey, AutoIncrement),
                   Column(&Student::name, "name", Unique, Check("name <> ''")),
                   Column(&Student::email, "email", Collate("NOCASE"), RenamedFrom("mail")),
                   Column(&Student::active, "active", Default(true)),
                   Index("students_by_email", "email"), Query("select-all order name"));
constexpr auto addresses =
    Extension<Address>("student_address", students, &Address::student_id, "student_id",
                       Column(&Address::street, "street"), RenamedFrom("addresses"));
constexpr auto grades = Table<Grade>(
    "grades",
    Column(&Grade::student_id, "student_id", References("students", "id"), OnDeleteCascade),
    Column(&Grade::course, "course"), Column(&Grade::mark, "mark", Default(4.0)),
    Column(&Grade::at, "at", DefaultExpr("datetime('now')")), PrimaryKeyOf("student_id", "course"),
    WithoutRowid, Strict);
constexpr auto marks = View<Mark>("marks", From(students), Join(grades), Select("students", "name"),
                                  Select("grades", "mark"), Query("select-by name"));
constexpr auto best = View<Mark>("best", ViewSql("SELECT name, min(mark) AS mark FROM marks"));

TEST(SchemaTypes, YieldTheSameModelAsTheSqlOfAPerson) {
  const auto of_types = EvaluateSqliteSchema(
      Ddl(students, addresses, grades, marks, best, "INSERT INTO students (name) VALUES ('Ada')"),
      "types");
  const auto of_sql = EvaluateSqliteSchema(R"sql(
CREATE TABLE "students" ( -- any comment
  -- @query select-all order name
  "id" integer primary key autoincrement not null,
  "name" text not null unique check (name <> ''),
  "email" text collate nocase,
  "active" boolean not null default 1);
CREATE INDEX "students_by_email" ON "students" ("email");
CREATE TABLE "student_address" (
  "student_id" INTEGER PRIMARY KEY NOT NULL REFERENCES "students" ("id") ON DELETE CASCADE,
  "street" TEXT);
CREATE TABLE "grades" (
  "student_id" INTEGER NOT NULL REFERENCES "students" ("id") ON DELETE CASCADE,
  "course" TEXT NOT NULL, "mark" REAL NOT NULL DEFAULT 4.0,
  "at" TEXT NOT NULL DEFAULT (datetime('now')),
  PRIMARY KEY ("student_id", "course")) WITHOUT ROWID, STRICT;
CREATE VIEW "marks" AS SELECT "students"."name" AS "name", "grades"."mark" AS "mark"
  FROM "students" JOIN "grades" ON "grades"."student_id" = "students"."id";
CREATE VIEW "best" AS SELECT name, min(mark) AS mark FROM marks;
INSERT INTO students (name) VALUES ('Ada');
)sql",
                                           "sql");
  EXPECT_EQ(of_types.schema.Hash(), of_sql.schema.Hash());
  const SqliteTable* table = of_types.schema.Table("students");
  ASSERT_NE(table, nullptr);
  EXPECT_TRUE(table->autoincrement);
  EXPECT_THAT(table->Queries(), ::testing::ElementsAre("select-all order name"));
  EXPECT_EQ(table->foreign_keys.size(), 0);
  EXPECT_EQ(of_types.schema.Table("student_address")->foreign_keys.at(0).on_delete, "CASCADE");
  bool renamed = false;
  for (const auto& annotation : table->annotations) {
    renamed = renamed || (annotation.word == "renamed-from" && annotation.column == "email" &&
                          annotation.argument == "mail");
  }
  EXPECT_TRUE(renamed);
  const auto& annotation = of_types.schema.Table("student_address")->annotations.at(0);
  EXPECT_EQ(annotation.column, "");
  EXPECT_EQ(annotation.argument, "addresses");
}

// The types' form of a table that SQLite has read. Texts live in `pool`.
TableSpec SpecOf(const SqliteTable& table, std::deque<std::string>& pool) {
  const auto keep = [&](const std::string& text) -> std::string_view {
    return pool.emplace_back(text);
  };
  TableSpec spec;
  spec.name = keep(table.name);
  const std::vector<std::string> key = table.PrimaryKey();
  for (const catalog::SqliteColumn& read : table.columns) {
    ColumnSpec column;
    column.name = keep(read.name);
    column.type = keep(read.type);
    column.not_null = read.not_null;
    column.primary_key = key.size() == 1 && read.key_place == 1;
    column.autoincrement = column.primary_key && table.autoincrement;
    if (read.default_sql) {
      const std::string& sql = *read.default_sql;
      DefaultValue& value = column.default_value;
      if (sql[0] == '\'') {
        std::string text;
        for (std::size_t i = 1; i + 1 < sql.size(); ++i) {
          text += sql[i];
          if (sql[i] == '\'') ++i;
        }
        value = {DefaultValue::Kind::kText, 0, 0, keep(text)};
      } else if (sql.find_first_not_of("-0123456789") == std::string::npos) {
        value = {DefaultValue::Kind::kInteger, std::stoll(sql), 0, {}};
      } else if (sql.find_first_not_of("-+.0123456789e") == std::string::npos) {
        value = {DefaultValue::Kind::kReal, 0, std::stod(sql), {}};
      } else {
        value = {DefaultValue::Kind::kExpression, 0, 0, keep(sql)};
      }
    }
    for (const auto& foreign : table.foreign_keys) {
      if (foreign.columns != std::vector<std::string>{read.name}) continue;
      column.references = keep(foreign.parent);
      column.references_column = keep(foreign.parent_columns.at(0));
      column.on_delete = foreign.on_delete == "CASCADE"    ? OnDelete::kCascade
                         : foreign.on_delete == "SET NULL" ? OnDelete::kSetNull
                                                           : OnDelete::kNone;
    }
    for (const auto& index : table.indexes) {
      if (index.origin == catalog::SqliteIndex::Origin::kUnique && index.parts.size() == 1 &&
          index.parts[0].column == read.name) {
        column.unique = true;
      }
    }
    spec.columns.Add(column);
  }
  if (key.size() > 1) {
    for (const std::string& name : key) spec.primary_key.Add(keep(name));
  }
  for (const auto& index : table.indexes) {
    Names columns;
    for (const auto& part : index.parts) columns.Add(keep(part.column));
    if (index.origin == catalog::SqliteIndex::Origin::kUnique && columns.size > 1) {
      spec.unique.Add({columns});
    }
    if (index.origin == catalog::SqliteIndex::Origin::kCreated) {
      spec.indexes.Add({keep(index.name), columns, index.unique, {}});
    }
  }
  for (const std::string& query : table.Queries()) spec.queries.Add(keep(query));
  spec.without_rowid = table.without_rowid;
  spec.strict = table.strict;
  return spec;
}

RC_GTEST_PROP(SchemaTypesProperty, TypesToSqlToModelToTypesIsTheSameSchema, ()) {
  static constexpr const char* kNames[] = {"a", "b c", "Group", "d\"e", "ünï", "x'y"};
  static const std::vector<const char*> kTypes = {"INTEGER", "REAL", "TEXT", "BLOB"};
  static const std::vector<const char*> kTexts = {"", "x", "it's", "-- no", "a;b"};
  TableSpec table;
  table.name = *rc::gen::element("t", "T one", "order");
  table.strict = *rc::gen::arbitrary<bool>();
  const int count = *rc::gen::inRange(1, 7);
  const int key = *rc::gen::inRange(-1, count);
  const bool parent_is_there = *rc::gen::arbitrary<bool>();
  for (int i = 0; i < count; ++i) {
    ColumnSpec column;
    column.name = kNames[i];
    column.type = *rc::gen::elementOf(kTypes);
    column.not_null = *rc::gen::arbitrary<bool>();
    column.primary_key = i == key;
    column.autoincrement = i == key && column.type == "INTEGER" && *rc::gen::arbitrary<bool>();
    column.unique = i != key && *rc::gen::inRange(0, 4) == 0;
    switch (*rc::gen::inRange(0, 6)) {
      case 0:
        column.default_value = {
            DefaultValue::Kind::kInteger, *rc::gen::arbitrary<std::int64_t>(), 0, {}};
        break;
      case 1:
        column.default_value = {
            DefaultValue::Kind::kReal, 0, *rc::gen::element(0.5, -1.25e300, 4.0, 0.1), {}};
        break;
      case 2:
        column.default_value = {DefaultValue::Kind::kText, 0, 0, *rc::gen::elementOf(kTexts)};
        break;
      case 3:
        column.default_value = {DefaultValue::Kind::kExpression, 0, 0, "datetime('now')"};
        break;
      default:
        break;
    }
    if (parent_is_there && *rc::gen::inRange(0, 3) == 0) {
      column.references = "parent";
      column.references_column = "id";
      column.on_delete = *rc::gen::element(OnDelete::kNone, OnDelete::kCascade, OnDelete::kSetNull);
    }
    table.columns.Add(column);
  }
  if (key < 0 && count > 1 && *rc::gen::arbitrary<bool>()) {
    table.primary_key.Add(kNames[1]);
    table.primary_key.Add(kNames[0]);
  }
  if (count > 2) {
    if (*rc::gen::arbitrary<bool>()) table.unique.Add({Of(kNames[2], kNames[0])});
    if (*rc::gen::arbitrary<bool>()) {
      table.indexes.Add({"i one", Of(kNames[1], kNames[2]), *rc::gen::arbitrary<bool>(), {}});
    }
  }
  table.without_rowid = (key >= 0 || !table.primary_key.empty()) && *rc::gen::arbitrary<bool>();
  for (std::size_t i = 0; i < table.columns.size; ++i) {
    ColumnSpec& column = table.columns.items[i];
    if (table.without_rowid) column.autoincrement = false;
    // A key of such a table is NOT NULL whether it says so or not.
    bool in_key = column.primary_key;
    for (const std::string_view name : table.primary_key) in_key = in_key || name == column.name;
    if (in_key && (table.without_rowid || table.strict)) column.not_null = true;
  }
  table.queries.Add("select-all");
  const std::string parent =
      parent_is_there ? "CREATE TABLE parent (id INTEGER PRIMARY KEY);\n" : "";

  const auto first = EvaluateSqliteSchema(parent + Ddl(table), "first");
  std::deque<std::string> pool;
  const TableSpec read = SpecOf(*first.schema.Table(table.name), pool);
  const auto second = EvaluateSqliteSchema(parent + Ddl(read), "second");
  RC_ASSERT(Ddl(read) == Ddl(table));
  RC_ASSERT(second.schema.Hash() == first.schema.Hash());
}

}  // namespace
}  // namespace understudy::schema
