#include "engine/codegen/codegen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"

namespace understudy::codegen {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;

std::string Generate(const std::string& sql) {
  const auto evaluated = catalog::EvaluateSqliteSchema(sql, "schema.sql");
  return GenerateHeader(evaluated.schema, {.name_space = "school", .source = "schema.sql"});
}

std::string Refusal(const std::string& sql) {
  try {
    Generate(sql);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec);
    return error.what();
  }
  return "nothing was refused";
}

constexpr const char* kSchema = R"sql(
CREATE TABLE students (
  -- @type Student
  -- @query select-all order name desc
  -- @query select-by name year order id
  -- @query select-one-by id
  -- @query select-like name
  -- @query select-by-or-insert name
  -- @query update-by id
  -- @query delete-by id
  -- @query insert-or-ignore
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  year INTEGER,
  active BOOLEAN NOT NULL DEFAULT 1,
  "a b" REAL,
  photo BLOB,
  anything NUMERIC,
  loud TEXT GENERATED ALWAYS AS (upper(name)) VIRTUAL
);
CREATE TABLE student_address (
  -- @query select-all
  -- @type Address
  student_id INTEGER PRIMARY KEY REFERENCES students (id) ON DELETE CASCADE,
  street TEXT NOT NULL,
  "class" TEXT,
  Address TEXT,
  NewAddress INTEGER
);
CREATE TABLE grades (
  -- @query select-by student_id
  -- @query update-by student_id course
  student_id INTEGER NOT NULL REFERENCES students (id),
  course TEXT NOT NULL,
  mark REAL NOT NULL,
  PRIMARY KEY (student_id, course)
) WITHOUT ROWID;
CREATE TABLE words (
  -- @query select-by-or-insert word
  id INTEGER PRIMARY KEY, word TEXT DEFAULT 'none', n INTEGER NOT NULL DEFAULT 3
);
CREATE TABLE codes (
  -- @query select-by-or-insert code
  code TEXT NOT NULL DEFAULT 'c', note TEXT DEFAULT 'd', PRIMARY KEY (code)
) WITHOUT ROWID;
CREATE TABLE locals (
  -- @query select-by s row found txn_
  -- @query select-by-or-insert s
  -- @query select-like pattern
  -- @query update-by s found
  -- @query delete-by select insert
  s TEXT NOT NULL, row INTEGER, found TEXT, txn_ INTEGER, "select" INTEGER, "insert" BLOB,
  pattern TEXT
);
CREATE VIEW averages AS
  -- @query select-by name
  SELECT s.name AS name, avg(g.mark) AS mark FROM students s JOIN grades g ON g.student_id = s.id
  GROUP BY s.name;
)sql";

// Uses everything that is generated for kSchema; exits with the number of the line that was wrong.
constexpr const char* kProgram = R"cc(
#include "db.h"
#define MUST(x) \
    if (!(x)) return __LINE__
  using namespace school;
  int main(int, char** argv) {
    understudy::Database db(argv[1]);
    return understudy::TaskTxn(db, [](understudy::Txn& t) -> int {
#line 1
      const auto ada =
          InsertStudent(t, {.name = "Ada", .year = 1, .photo = understudy::Blob{1, 0}});
      const auto bob = InsertStudent(t, {.name = "Bob", .active = false, .a_b = 0.5});
      MUST(ada == 1 && bob == 2);
      MUST(!InsertOrIgnoreStudent(t, {.name = "Ada"}));
      MUST(InsertOrIgnoreStudent(t, {.id = 9, .name = "Cyd"}));
      const auto all = SelectAllStudent(t);
      MUST(all.size() == 3 && all[0].name == "Cyd" && all[2].loud == "ADA");
      MUST(all[2].active && !all[1].active && all[1].a_b == 0.5 && !all[1].photo);
      MUST(SelectStudentByNameAndYear(t, "Ada", 1).size() == 1);
      MUST(SelectStudentByNameAndYear(t, "Bob", std::nullopt).size() == 1);
      MUST(SelectStudentLikeName(t, "%b%").size() == 1);
      auto found = SelectOneStudentById(t, ada);
      MUST(found && found->photo->size() == 2 &&
           std::holds_alternative<std::monostate>(found->anything));
      found->year = 7;
      found->anything = std::string("x");
      MUST(UpdateStudentById(t, *found) == 1);
      MUST(SelectOneStudentById(t, ada)->year == 7);
      MUST(SelectStudentByNameOrInsert(t, {.name = "Ada"}).id == ada);
      MUST(SelectStudentByNameOrInsert(t, {.name = "Dan"}).id == 10);
      MUST(SelectWordsByWordOrInsert(t, {}).word == "none");
      MUST(SelectWordsByWordOrInsert(t, {.word = "one"}).n == 3);
      MUST(SelectCodesByCodeOrInsert(t, {}).note == "d");
      MUST(!SelectAddressOfStudent(t, ada));
      PutAddress(t, {ada, "Lane", std::nullopt, "here", 7});
      PutAddress(t, {ada, "Road", "A", "there", 8});
      MUST(SelectAddressOfStudent(t, ada)->street == "Road");
      MUST(SelectAllAddress(t).size() == 1 && SelectAllAddress(t)[0].class_ == "A");
      MUST(SelectAllAddress(t)[0].Address_ == "there" && SelectAllAddress(t)[0].NewAddress_ == 8);
      MUST(RemoveAddress(t, ada) == 1);
      InsertGrades(t, {.student_id = ada, .course = "math", .mark = 1.0});
      MUST(UpdateGradesByStudentIdAndCourse(t, {ada, "math", 2.0}) == 1);
      MUST(SelectGradesByStudentId(t, ada)[0].mark == 2.0);
      MUST(SelectLocalsBySOrInsert(t, {.s = "s", .row = 1, .found = "f", .txn_ = 2}).row == 1);
      MUST(SelectLocalsBySAndRowAndFoundAndTxn(t, "s", 1, "f", 2)[0].txn_ == 2);
      MUST(UpdateLocalsBySAndFound(t, {.s = "s", .row = 5, .found = "f", .select = 4}) == 1);
      MUST(SelectLocalsLikePattern(t, "%").empty());
      MUST(DeleteLocalsBySelectAndInsert(t, 4, std::nullopt) == 1);
      MUST(SelectAveragesByName(t, "Ada").size() == 1);
      MUST(DeleteStudentById(t, bob) == 1);
      MUST(kSchemaHash.size() == 16);
      return 0;
    });
  }
)cc";

TEST(Codegen, WhatItWritesCompilesWithoutWarningsAndDoesWhatItSays) {
  const TemporaryFolder folder;
  WriteFileWhole(folder.path() / "db.h", Generate(kSchema));
  WriteFileWhole(folder.path() / "main.cc", kProgram);
  const Outcome compiled =
      RunCommand({.argv = {UNDERSTUDY_CXX, "-std=c++20", "-O0", "-Wall", "-Wextra", "-Wconversion",
                           "-Wshadow", "-Werror", "-Wno-missing-field-initializers",
                           "-I" UNDERSTUDY_SOURCE_DIR "/engine/client", "main.cc", "-lsqlite3",
                           "-o", "program"},
                  .folder = folder.path()});
  ASSERT_EQ(compiled.exit_status, 0) << compiled.err;
  db::Connect(db::Endpoint::Parse("sqlite:" + (folder.path() / "school.db").string()),
              {.create = true})
      ->Execute(kSchema);
  const Outcome ran =
      RunCommand({.argv = {folder.path() / "program", "school.db"}, .folder = folder.path()});
  EXPECT_EQ(ran.exit_status, 0) << ran.err << "\n" << Generate(kSchema);
}

TEST(Codegen, TheSameSchemaGivesTheSameBytes) { EXPECT_EQ(Generate(kSchema), Generate(kSchema)); }

TEST(Codegen, AWrongQueryIsRefusedWithItsTableAndWhatIsAllowed) {
  EXPECT_THAT(Refusal("CREATE TABLE t (\n-- @query select-some a\na TEXT)"),
              AllOf(HasSubstr("t: @query select-some a"), HasSubstr("allowed: select-all")));
  EXPECT_THAT(Refusal("CREATE TABLE t (\n-- @query select-by b\na TEXT, c TEXT)"),
              AllOf(HasSubstr("no column 'b'"), HasSubstr("there are: a, c")));
  EXPECT_THAT(Refusal("CREATE TABLE t (\n-- @query select-by\na TEXT)"),
              HasSubstr("it needs a column"));
  EXPECT_THAT(Refusal("CREATE TABLE t (\n-- @query delete-by a order a\na TEXT)"),
              HasSubstr("only a select is ordered"));
  EXPECT_THAT(Refusal("CREATE TABLE t (\n-- @query update-by a\na TEXT)"),
              HasSubstr("no other column"));
  EXPECT_THAT(Refusal("CREATE TABLE t (a TEXT);\nCREATE VIEW v AS\n-- @query delete-by a\n"
                      "SELECT a FROM t"),
              HasSubstr("a view takes select queries only"));
}

TEST(Codegen, NamesThatFallTogetherAreRefused) {
  EXPECT_THAT(Refusal("CREATE TABLE t (\"a b\" TEXT, a_b TEXT)"), HasSubstr("'a_b' as well"));
  EXPECT_THAT(Refusal("CREATE TABLE a_b (x TEXT); CREATE TABLE \"a b\" (x TEXT)"),
              HasSubstr("'AB' as well"));
}

TEST(Codegen, NamesAreMadeForCpp) {
  EXPECT_EQ(TypeName("student_grades"), "StudentGrades");
  EXPECT_EQ(TypeName("2nd"), "T2nd");
  EXPECT_EQ(FieldName("class"), "class_");
  EXPECT_EQ(FieldName("grade level"), "grade_level");
  EXPECT_EQ(FieldName("_id"), "id");
}

}  // namespace
}  // namespace understudy::codegen
