// The newcomer's command, and `compare` as a user calls it: what is written, and the exit codes.
#include "engine/db/session.h"
#include "tests/integration/program_support.h"
#include "tests/support/server.h"

namespace understudy {
namespace {
namespace fs = std::filesystem;
using testing::Database;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Said;
using testing::SqliteFile;
using testing::Workspace;

std::string AddColumn(const Workspace& w) {
  return w.Write("up.sql", "ALTER TABLE t ADD COLUMN c integer;\n");
}

TEST(ProgramTry, WritesAScenarioThatRunsAgainWhereItSaysItIs) {
  const Workspace w;
  const SqliteFile source;
  source.Run("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'x')");
  const std::string from = source.endpoint().Uri();
  const Outcome outcome = w.Run({"try", AddColumn(w), "--from", from, "--clients", "1", "--rate",
                                 "20", "--out", w.At("out")});
  ASSERT_EQ(outcome.exit_status, 0) << Said(outcome);
  const std::string file = w.At("out/try-up.scenario.json");
  EXPECT_THAT(outcome.out, HasSubstr("understudy run " + file));
  const Json scenario = w.Report()["scenarios"][0];
  EXPECT_EQ(scenario["file"], file);
  EXPECT_THAT(scenario["command"].get<std::string>(), HasSubstr("understudy run " + file));
  const Outcome again = w.Run({"run", file, "--out", w.At("again")});
  EXPECT_EQ(again.exit_status, 0) << Said(again);
}

TEST(ProgramTry, SavesWhereItIsToldToAndMakesTheFolder) {
  const Workspace w;
  const SqliteFile source;
  source.Run("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'x')");
  const Outcome outcome =
      w.Run({"try", AddColumn(w), "--from", source.endpoint().Uri(), "--clients", "1", "--save",
             w.At("new/folder/mine.json"), "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome);
  EXPECT_EQ(w.Run({"plan", w.At("new/folder/mine.json")}).exit_status, 0);
}

TEST(ProgramTry, WritesNoPasswordAndIs69WhenTheSourceIsNotThere) {
  NEED_POSTGRES();
  const Workspace w;
  const std::string from = "postgresql://somebody:hunter22@127.0.0.1:1/shop";
  const Outcome outcome = w.Run(
      {"try", AddColumn(w), "--from", from, "--save", w.At("saved.json"), "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 69) << Said(outcome);
  EXPECT_THAT(outcome.out, HasSubstr("127.0.0.1"));
  EXPECT_THAT(outcome.out, HasSubstr("PGPASSWORD=… understudy run " + w.At("saved.json")));
  EXPECT_EQ(ParseJsonFile(w.At("saved.json"))["databases"]["main"]["from"],
            "postgresql://somebody@127.0.0.1:1/shop");
  EXPECT_THAT(Said(outcome), Not(HasSubstr("hunter22")));
  for (const auto& entry : fs::recursive_directory_iterator(w.path())) {
    if (!entry.is_regular_file()) continue;
    EXPECT_THAT(ReadFile(entry.path()), Not(HasSubstr("hunter22"))) << entry.path();
  }
  // As a file says it: the source was asked for by name all the same.
  const Outcome again = w.Run({"run", w.At("saved.json"), "--out", w.At("again")});
  EXPECT_EQ(again.exit_status, 69) << Said(again);
}

TEST(ProgramTry, AWrongFileLeavesNoFolder) {
  const Workspace w;
  const std::string up = w.Write("up.sql", "SELECT 'no end;\n");
  const std::string schema = w.Write("schema.sql", "CREATE TABLE t (id integer);\n");
  const Outcome outcome = w.Run({"try", up, "--from", schema, "--engine", "sqlite", "--save",
                                 w.At("saved.json"), "--out", w.At("out")});
  EXPECT_EQ(outcome.exit_status, 65) << Said(outcome);
  EXPECT_FALSE(fs::exists(w.At("out")));
  EXPECT_FALSE(fs::exists(w.At("saved.json")));
}

// Two databases of which one table is equal, one differs in a row, one in a column.
template <typename Where>
void ExpectTheTablesAskedForAlone(const Where& left, const Where& right,
                                  const std::string& schema) {
  const Workspace w;
  left.Run("CREATE TABLE same (id integer PRIMARY KEY, a text); INSERT INTO same VALUES (1, 'x');");
  right.Run(
      "CREATE TABLE same (id integer PRIMARY KEY, a text); INSERT INTO same VALUES (1, 'x');");
  left.Run(
      "CREATE TABLE rows_differ (id integer PRIMARY KEY); INSERT INTO rows_differ VALUES (1);");
  right.Run(
      "CREATE TABLE rows_differ (id integer PRIMARY KEY); INSERT INTO rows_differ VALUES (2);");
  left.Run(
      "CREATE TABLE shape (id integer PRIMARY KEY, b text); CREATE INDEX shape_b ON shape (b);");
  right.Run("CREATE TABLE shape (id integer PRIMARY KEY, b text);");
  const std::string l = left.endpoint().Uri();
  const std::string r = right.endpoint().Uri();
  const auto compare = [&](std::vector<std::string> options) {
    options.insert(options.begin(), "compare");
    options.insert(options.end(), {l, r});
    return w.Run(options);
  };
  EXPECT_EQ(compare({}).exit_status, 1);
  // The options may stand before the two databases.
  EXPECT_EQ(compare({"--table", "same"}).exit_status, 0) << Said(compare({"--table", "same"}));
  EXPECT_EQ(compare({"--table", schema + ".rows_*"}).exit_status, 1);
  EXPECT_EQ(compare({"--exclude", "shape", "--exclude", "rows_differ"}).exit_status, 0);
  EXPECT_EQ(compare({"--table", "nowhere"}).exit_status, 2);
  const Outcome shape = compare({"--table", "shape", "--json"});
  EXPECT_EQ(shape.exit_status, 1) << Said(shape);
  const Json found = ParseJson(shape.out, "compare");
  ASSERT_EQ(found["catalog"].size(), 1U) << found["catalog"].dump();
  EXPECT_EQ(found["catalog"][0]["path"], "index:" + schema + ".shape_b");
}

TEST(ProgramCompare, ChoosesTablesAndWhatBelongsToThemInSqlite) {
  const SqliteFile left;
  const SqliteFile right;
  ExpectTheTablesAskedForAlone(left, right, "main");
}

TEST(ProgramCompare, ChoosesTablesAndWhatBelongsToThemInPostgres) {
  NEED_POSTGRES();
  const Database left;
  const Database right;
  ExpectTheTablesAskedForAlone(left, right, "public");
}

TEST(ProgramCompare, SaysThatAStoredSnapshotHasNoSecondDigest) {
  const Workspace w;
  const SqliteFile file;
  file.Run("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
  const std::string database = file.endpoint().Uri();
  ASSERT_EQ(w.Run({"snapshot", database, "-o", w.At("t.snapshot")}).exit_status, 0);
  const Outcome outcome = w.Run({"compare", w.At("t.snapshot"), database, "--second-digest"});
  EXPECT_EQ(outcome.exit_status, 0) << Said(outcome);
  EXPECT_THAT(outcome.out, HasSubstr("not checked: second digest"));
}

}  // namespace
}  // namespace understudy
