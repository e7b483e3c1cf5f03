#include "engine/sql_files/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/file.h"

namespace understudy::sql_files {
namespace {
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Folder {
 public:
  void Write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_.path() / name).parent_path());
    WriteFileWhole(folder_.path() / name, text);
  }
  const fs::path& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

std::vector<std::string> Versions(const std::vector<Version>& versions) {
  std::vector<std::string> names;
  for (const Version& v : versions) names.push_back(v.version);
  return names;
}

std::vector<Version> Read(const Folder& folder, const Variables& variables = {}) {
  return ReadFolder(folder.path(), DetectLayout(folder.path()), variables);
}

std::string RefusalOf(const Folder& folder, const Variables& variables = {}) {
  try {
    Read(folder, variables);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidSpec);
    return error.what();
  }
  return "(no error)";
}

fs::path Projects() { return fs::path(UNDERSTUDY_SOURCE_DIR) / "fixtures/projects"; }

TEST(Layout, IsRecognisedByNamesAndMarks) {
  EXPECT_EQ(DetectLayout(Projects() / "golang-migrate/migrations"), Layout::kGolangMigrate);
  EXPECT_EQ(DetectLayout(Projects() / "goose/migrations"), Layout::kGoose);
  EXPECT_EQ(DetectLayout(Projects() / "dbmate/db/migrations"), Layout::kDbmate);
  EXPECT_EQ(DetectLayout(Projects() / "flyway/sql"), Layout::kFlyway);
  EXPECT_EQ(DetectLayout(Projects() / "sqitch"), Layout::kSqitch);
  Folder plain;
  plain.Write("a.sql", "SELECT 1 -- goose");
  EXPECT_EQ(DetectLayout(plain.path()), Layout::kPlain);
}

TEST(Layout, PlainGoesByNameAndPairsDowns) {
  Folder folder;
  folder.Write("b.up.sql", "up b");
  folder.Write("b.down.sql", "down b");
  folder.Write("a.sql", "a");
  folder.Write("readme.md", "no");
  const auto versions = Read(folder);
  EXPECT_THAT(Versions(versions), ElementsAre("a.sql", "b.up.sql"));
  EXPECT_FALSE(versions[0].down);
  EXPECT_EQ(versions[1].down->text, "down b");
  EXPECT_THAT(RefusalOf(Folder()), HasSubstr("no migration in"));
}

TEST(Layout, GolangMigrateGoesByNumberNotByName) {
  Folder folder;
  folder.Write("10_ten.up.sql", "10");
  folder.Write("9_nine.up.sql", "9");
  folder.Write("9_nine.down.sql", "-9");
  const auto versions = Read(folder);
  EXPECT_THAT(Versions(versions), ElementsAre("9", "10"));
  EXPECT_EQ(versions[0].name, "nine");
  EXPECT_EQ(versions[0].down->text, "-9");
  folder.Write("0009_again.up.sql", "9");
  EXPECT_THAT(RefusalOf(folder), HasSubstr("two files of the version"));
}

TEST(Layout, GooseKeepsTheLinesOfItsFile) {
  Folder folder;
  folder.Write("1_a.sql",
               "-- +goose NO TRANSACTION\n-- +goose Up\nA;\n-- +goose StatementBegin\nB;\n"
               "-- +goose StatementEnd\n\n-- +goose Down\nC;\n");
  const auto versions = Read(folder);
  EXPECT_EQ(versions[0].up->text,
            "\n-- +goose Up\nA;\n-- +goose StatementBegin\nB;\n-- +goose StatementEnd\n\n\n\n");
  EXPECT_EQ(versions[0].down->text, "\n\n\n\n\n\n\n-- +goose Down\nC;\n");
  EXPECT_FALSE(versions[0].up->in_transaction);
}

TEST(Layout, GooseRefusesBrokenMarksAtTheirLine) {
  for (const auto& [text, message] : std::vector<std::pair<std::string, std::string>>{
           {"-- +goose Up\n-- +goose Up\n", ":2: a second"},
           {"-- +goose Down\n", ":1: '-- +goose Down' must follow"},
           {"CREATE TABLE t();\n-- +goose Up\n", ":1: SQL before"},
           {"-- +goose Up\n-- +goose StatementBegin\n", ":2: StatementBegin without"},
           {"-- +goose Up\n-- +goose Upp\n", ":2: unknown mark"},
           {"-- +goose Up\n-- +goose ENVSUB ON\n", ":2: goose would take values"},
           {"-- +goose NO TRANSACTION\n", "no '-- +goose Up'"}}) {
    Folder folder;
    folder.Write("1_a.sql", text);
    EXPECT_THAT(RefusalOf(folder), HasSubstr(message)) << text;
  }
}

TEST(Layout, DbmateReadsOptionsPerDirection) {
  Folder folder;
  folder.Write("2_b.sql", "-- migrate:up transaction:false\nA;\n-- migrate:down\nB;\n");
  const auto versions = Read(folder);
  EXPECT_FALSE(versions[0].up->in_transaction);
  EXPECT_TRUE(versions[0].down->in_transaction);
  EXPECT_EQ(versions[0].down->text, "\n\n-- migrate:down\nB;\n");
  folder.Write("2_b.sql", "-- migrate:up transaction:maybe\n");
  EXPECT_THAT(RefusalOf(folder), HasSubstr("2_b.sql:1: unknown option"));
  folder.Write("2_b.sql", "-- x\n-- migrate:down\n-- migrate:up\n");
  EXPECT_THAT(RefusalOf(folder), HasSubstr(":2: '-- migrate:down' must follow"));
}

TEST(Layout, FlywaySortsVersionsThenRepeatables) {
  Folder folder;
  folder.Write("V1_10__c.sql", "");
  folder.Write("sub/V1.9__b.sql", "");
  folder.Write("V1__a.sql", "");
  folder.Write("U1__a.sql", "undo");
  folder.Write("R__z.sql", "");
  folder.Write("R__view_y.sql", "SELECT '${who}'");
  const auto versions = Read(folder, {{"who", "me"}});
  EXPECT_THAT(Versions(versions), ElementsAre("1", "1.9", "1.10", "R:view y", "R:z"));
  EXPECT_EQ(versions[0].down->text, "undo");
  EXPECT_EQ(versions[3].up->text, "SELECT 'me'");
  EXPECT_THAT(RefusalOf(folder), HasSubstr("R__view_y.sql:1: no value for the placeholder ${who}"));
  folder.Write("V1.0__again.sql", "");
  EXPECT_THAT(RefusalOf(folder, {{"who", "me"}}), HasSubstr("two files of the version"));
  // CRC-32 of "123456789", from any table of check values; line ends do not count.
  EXPECT_EQ(static_cast<std::uint32_t>(FlywayChecksum("12345\r\n6789\n")), 0xCBF43926U);
}

TEST(Layout, SqitchGoesByItsPlan) {
  const auto versions = ReadFolder(Projects() / "sqitch", Layout::kSqitch, {});
  EXPECT_THAT(Versions(versions), ElementsAre("customers", "orders", "total_cents", "order_index"));
  EXPECT_TRUE(versions[0].verify);
  EXPECT_EQ(FindVersion(versions, "@v1.0.0"), 1U);
}

TEST(Layout, SqitchTakesTheOldScriptOfAReworkedChange) {
  Folder folder;
  folder.Write("sqitch.plan",
               "%project=x\na 2026 N <m> # n\n@v1 2026 N <m>\na [a@v1] 2026 N <m>\n");
  folder.Write("deploy/a@v1.sql", "old");
  folder.Write("deploy/a.sql", "new");
  const auto versions = Read(folder);
  EXPECT_THAT(Versions(versions), ElementsAre("a@v1", "a"));
  EXPECT_EQ(versions[0].up->text, "old");
  folder.Write("sqitch.plan", "%project=x\na [b] 2026 N <m>\nb 2026 N <m>\n");
  EXPECT_THAT(RefusalOf(folder), HasSubstr("sqitch.plan:2: 'a' needs 'b'"));
  folder.Write("sqitch.plan", "%project=x\nnothing 2026 N <m>\n");
  EXPECT_THAT(RefusalOf(folder), HasSubstr("deploy/nothing.sql"));
}

TEST(Layout, FindsAVersionAsPeopleWriteIt) {
  Folder folder;
  folder.Write("0006_six.up.sql", "");
  folder.Write("0010_ten.up.sql", "");
  const auto versions = Read(folder);
  for (const char* text : {"0006", "6", "six", "0006_six.up.sql"}) {
    EXPECT_EQ(FindVersion(versions, text), 0U) << text;
  }
  EXPECT_THROW(FindVersion(versions, "7"), Error);
  Folder plain;
  plain.Write("0006_six.sql", "");
  EXPECT_EQ(FindVersion(Read(plain), "6"), 0U);
}

TEST(Layout, VariablesAreReplacedOnlyWhereTheyAreGiven) {
  EXPECT_EQ(Substitute("a ${x} ${y}", {{"x", "1"}}, false, "f"), "a 1 ${y}");
  EXPECT_EQ(Substitute("a ${x}", {}, false, "f"), "a ${x}");
  EXPECT_THROW(Substitute("a ${x}", {}, true, "f"), Error);
}

}  // namespace
}  // namespace understudy::sql_files
