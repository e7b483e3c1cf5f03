#include "harness/snapshot/normal_forms.h"

#include <gtest/gtest.h>

#include "harness/snapshot/sqlite_sql.h"

namespace understudy::harness {
namespace {

TEST(NormalForms, AnAclIsAListOfGranteesWhoeverGranted) {
  EXPECT_EQ(NormalForm("table", "grants", "postgres=arwdDxt/postgres\n=r/postgres\n=a/bob"),
            "postgres: DELETE, INSERT, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE; "
            "public: INSERT, SELECT");
  EXPECT_EQ(NormalForm("table", "grants", "\"O\"\"Hara, x\"=r*w/postgres"),
            "\"O\"\"Hara, x\": SELECT*, UPDATE");
  EXPECT_EQ(NormalForm("table", "grants", ""), "none");
  EXPECT_EQ(NormalForm("column", "grants", ""), "");
}

TEST(NormalForms, ReadsItsOwnGrantsBack) {
  const auto grants = ParseGrants("alice: INSERT, SELECT*; public: SELECT");
  EXPECT_EQ(grants.size(), 2U);
  EXPECT_EQ(grants.at("alice"), (std::set<std::string>{"INSERT", "SELECT*"}));
  EXPECT_TRUE(ParseGrants("none").empty());
}

TEST(NormalForms, OptionsAreSortedWithoutSecretsAndServerStamps) {
  EXPECT_EQ(NormalForm("column", "options", "n_distinct=5\npg_attver=26489168"), "n_distinct=5");
  EXPECT_EQ(NormalForm("column", "options", "pg_attver=26489168"), "");
  EXPECT_EQ(NormalForm("server", "options", "port=1\nhost=h\npassword=x=y"),
            "host=h, password=***, port=1");
}

TEST(NormalForms, AConstraintsDefinitionHasNoFlags) {
  EXPECT_EQ(NormalForm("constraint", "definition",
                       "FOREIGN KEY (a) REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED NOT VALID"),
            "FOREIGN KEY (a) REFERENCES t(id)");
}

TEST(NormalForms, ACastOfAnArrayIsACastOfItsElements) {
  const char* const dumped =
      "((v)::text = ANY (ARRAY[('a'::character varying)::text, ('],(''x'::character "
      "varying)::text]))";
  EXPECT_EQ(NormalForm("policy", "using",
                       "((v)::text = ANY ((ARRAY['a'::character varying, "
                       "'],(''x'::character varying])::text[]))"),
            dumped);
  EXPECT_EQ(NormalForm("policy", "using", dumped), dumped);
  EXPECT_EQ(NormalForm("policy", "using", "(x = '(ARRAY[1])::text[]'::text)"),
            "(x = '(ARRAY[1])::text[]'::text)");
}

TEST(NormalForms, SqliteTextForgetsLayoutAndNeedlessQuotesAndNothingElse) {
  EXPECT_EQ(
      NormalSqliteSql(
          "CREATE  VIEW \"v\" AS -- why\n SELECT [A] , 'It''s  X' FROM `T`/* t */ WHERE x>=1.50"),
      "create view v as select a, 'It''s  X' from t where x >= 1.50");
  EXPECT_NE(NormalSqliteSql("SELECT 'a'"), NormalSqliteSql("SELECT 'A'"));
  EXPECT_NE(NormalSqliteSql("SELECT 'a  b'"), NormalSqliteSql("SELECT 'a b'"));
  EXPECT_EQ(NormalSqliteSql("SELECT \"a b\""), "select \"a b\"");
  EXPECT_EQ(NormalSqliteSql("SELECT x'0aFF'"), "select x'0aFF'");
}

TEST(NormalForms, HaveNames) {
  EXPECT_EQ(NormalFormName("trigger", "enabled"), "letter");
  EXPECT_EQ(NormalFormName("table", "grants"), "ACL");
  EXPECT_EQ(NormalFormName("table", "owner"), "");
}

TEST(ParseSqliteTable, FindsWhatThePragmasDoNotTell) {
  const auto table = ParseSqliteTable(R"(CREATE TABLE "t"(
      id INTEGER CONSTRAINT pk PRIMARY KEY AUTOINCREMENT, -- a comment, with (brackets
      a DECIMAL(10, 2) NOT NULL ON CONFLICT IGNORE DEFAULT (1 + 2) CHECK (a > 0) COLLATE nocase,
      b DEFAULT -1 REFERENCES p(x) ON UPDATE SET NULL ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
      "c d" UNSIGNED BIG INT UNIQUE, e AS (a + 1) STORED,
      CONSTRAINT "my check" CHECK (a <> ',') UNIQUE (a, b) ON CONFLICT REPLACE,
      FOREIGN KEY (a, b) REFERENCES q ON DELETE NO ACTION) STRICT)");
  ASSERT_TRUE(table);
  ASSERT_EQ(table->columns.size(), 5U);
  EXPECT_TRUE(table->columns[0].autoincrement);
  EXPECT_EQ(table->columns[1].collation, "nocase");
  EXPECT_EQ(table->columns[1].on_conflict, " on conflict ignore");
  EXPECT_EQ(table->columns[3].name, "c d");
  EXPECT_EQ(table->columns[4].generated, "a + 1");
  std::vector<std::string> constraints;
  for (const SqliteConstraint& c : table->constraints) {
    constraints.push_back((c.name.empty() ? "" : c.name + ": ") + c.definition +
                          (c.deferred ? " deferred" : ""));
  }
  EXPECT_EQ(constraints,
            (std::vector<std::string>{
                "pk: primary key (id)", "check (a > 0)",
                "foreign key (b) references p (x) on delete cascade on update set null deferred",
                "unique (\"c d\")", "my check: check (a <> ',')",
                "unique (a, b) on conflict replace", "foreign key (a, b) references q"}));
}

TEST(ParseSqliteTable, LeavesWhatItDoesNotKnow) {
  EXPECT_FALSE(ParseSqliteTable("CREATE VIRTUAL TABLE w USING fts5(body)"));
  EXPECT_FALSE(ParseSqliteTable("CREATE TABLE t(a INTEGER CHECK a > 0)"));
}

}  // namespace
}  // namespace understudy::harness
