#include "engine/catalog/sqlite_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace understudy::catalog {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kSchool = R"(
PRAGMA user_version = 7;
-- lost: SQLite keeps no comment outside a statement
CREATE TABLE teachers ( -- @renamed-from staff
  -- @query select-all
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  full_name TEXT NOT NULL, -- @renamed-from name
  email TEXT COLLATE NOCASE UNIQUE,
  pay REAL DEFAULT (1.5 * 2),
  -- @renamed-from nick
  short TEXT DEFAULT 'a,b',
  loud TEXT GENERATED ALWAYS AS (upper(full_name)) VIRTUAL
  -- @query select-by full_name
) STRICT;
CREATE TABLE lessons (room TEXT, hour INT, teacher INTEGER REFERENCES teachers ON DELETE CASCADE,
  substitute INTEGER REFERENCES teachers(id) ON UPDATE SET NULL,
  PRIMARY KEY (hour, room)) WITHOUT ROWID;
CREATE TABLE notes (rowid TEXT, body BLOB);
CREATE UNIQUE INDEX notes_start ON notes (substr(body, 1, 2), rowid COLLATE NOCASE DESC) WHERE body > '';
CREATE VIEW busy AS -- @query select-all
  SELECT teacher, count(*) AS hours FROM lessons GROUP BY teacher;
CREATE TRIGGER quiet AFTER INSERT ON notes BEGIN UPDATE notes SET body = trim(body); END;
INSERT INTO teachers (full_name) VALUES ('Ada'), ('Bob');
)";

TEST(SqliteSchema, IsReadBackAsSqliteUnderstoodIt) {
  const EvaluatedSqliteSchema evaluated = EvaluateSqliteSchema(kSchool, "schema.sql");
  const SqliteSchema& schema = evaluated.schema;
  ASSERT_EQ(schema.tables.size(), 3U);
  const SqliteTable& teachers = schema.tables[0];
  EXPECT_TRUE(teachers.strict);
  EXPECT_TRUE(teachers.autoincrement);
  EXPECT_EQ(teachers.RowidAlias(), "id");
  EXPECT_EQ(teachers.Column("PAY")->default_sql, "1.5 * 2");
  EXPECT_EQ(teachers.Column("short")->default_sql, "'a,b'");
  EXPECT_EQ(teachers.Column("loud")->generated, SqliteColumn::Generated::kVirtual);
  ASSERT_EQ(teachers.indexes.size(), 1U);
  EXPECT_EQ(teachers.indexes[0].origin, SqliteIndex::Origin::kUnique);
  EXPECT_EQ(teachers.indexes[0].parts[0].collation, "NOCASE");

  const SqliteTable& lessons = schema.tables[1];
  EXPECT_TRUE(lessons.without_rowid);
  EXPECT_THAT(lessons.PrimaryKey(), ElementsAre("hour", "room"));
  EXPECT_TRUE(lessons.Column("room")->not_null);
  EXPECT_EQ(lessons.RowidAlias(), "");
  EXPECT_EQ(lessons.RowidName(), "");
  ASSERT_EQ(lessons.foreign_keys.size(), 2U);
  EXPECT_THAT(lessons.foreign_keys[0].parent_columns, ElementsAre("id"));
  EXPECT_EQ(lessons.foreign_keys[0].on_delete, "CASCADE");
  EXPECT_EQ(lessons.foreign_keys[1].on_update, "SET NULL");

  const SqliteTable& notes = schema.tables[2];
  EXPECT_EQ(notes.RowidName(), "_rowid_");
  ASSERT_EQ(notes.indexes.size(), 1U);
  EXPECT_TRUE(notes.indexes[0].partial);
  ASSERT_EQ(notes.indexes[0].parts.size(), 2U);
  EXPECT_EQ(notes.indexes[0].parts[0].expression, "substr(body, 1, 2)");
  EXPECT_EQ(notes.indexes[0].parts[1].column, "rowid");
  EXPECT_TRUE(notes.indexes[0].parts[1].descending);

  ASSERT_EQ(schema.views.size(), 1U);
  EXPECT_THAT(schema.views[0].Queries(), ElementsAre("select-all"));
  EXPECT_EQ(schema.views[0].columns[1].name, "hours");
  ASSERT_EQ(schema.triggers.size(), 1U);
  EXPECT_EQ(schema.triggers[0].table, "notes");
  ASSERT_EQ(schema.seeds.size(), 1U);
  EXPECT_EQ(schema.seeds[0].line, 23);
  EXPECT_EQ(evaluated.memory->Scalar("SELECT count(*) FROM teachers").AsInteger(), 2);
}

TEST(SqliteSchema, FindsTheDefinitionThatAnAnnotationBelongsTo) {
  const SqliteSchema schema = EvaluateSqliteSchema(kSchool, "schema.sql").schema;
  const SqliteTable& teachers = schema.tables[0];
  EXPECT_THAT(teachers.Queries(), ElementsAre("select-all", "select-by full_name"));
  std::vector<std::string> renames;
  for (const SqliteAnnotation& a : teachers.annotations) {
    if (a.word == "renamed-from") renames.push_back(a.argument + ">" + a.column);
  }
  EXPECT_THAT(renames, ElementsAre("staff>", "name>full_name", "nick>short"));
}

TEST(SqliteSchema, HashesWhatMeansSomething) {
  const auto hash = [](std::string_view sql) {
    return EvaluateSqliteSchema(sql, "schema.sql").schema.Hash();
  };
  const std::string plain = hash("CREATE TABLE t (a INT, b TEXT DEFAULT 'x  y');");
  EXPECT_EQ(plain.size(), 16U);
  EXPECT_EQ(plain,
            hash("create  TABLE t(\n a int, -- @query select-all\n b TEXT default 'x  y' )"));
  EXPECT_NE(plain, hash("CREATE TABLE t (a INT, b TEXT DEFAULT 'x y');"));
  EXPECT_NE(plain,
            hash("CREATE TABLE t (a INT, b TEXT DEFAULT 'x  y'); INSERT INTO t VALUES (1,2)"));
  EXPECT_EQ(hash("CREATE TABLE a(x); CREATE TABLE b(x)"),
            hash("CREATE TABLE b(x); CREATE TABLE a(x)"));
}

TEST(SqliteSchema, ItsDdlMakesItAgain) {
  const SqliteSchema schema = EvaluateSqliteSchema(kSchool, "schema.sql").schema;
  std::string sql;
  for (const std::string& statement : schema.Ddl()) sql += statement + ";\n";
  SqliteSchema again = EvaluateSqliteSchema(sql, "ddl").schema;
  again.seeds = schema.seeds;
  EXPECT_EQ(again.Hash(), schema.Hash());
}

TEST(SqliteSchema, SaysWhereTheFileIsWrong) {
  const auto message = [](std::string_view sql) -> std::string {
    try {
      EvaluateSqliteSchema(sql, "schema.sql");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec);
      return error.message();
    }
    return "";
  };
  EXPECT_THAT(message("CREATE TABLE t(a);\nCREATE TABLE t(b);"), HasSubstr("schema.sql:2: "));
  EXPECT_THAT(message("CREATE TABLE t(a);\n\nDELETE FROM t;"), HasSubstr("schema.sql:3: DELETE"));
  EXPECT_THAT(message("ATTACH 'x.db' AS x"), HasSubstr("ATTACH"));
  EXPECT_THAT(message("CREATE TABLE _migration_log(a)"), HasSubstr("of the engine's own"));
  EXPECT_THAT(message("CREATE TABLE t(a)"), IsEmpty());
}

}  // namespace
}  // namespace understudy::catalog
