// `cmake --install` into a prefix that is then moved: the program finds what it ships with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/process.h"

namespace understudy {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(Install, TheProgramFindsWhatItShipsWithWhereverItIsMoved) {
  const TemporaryFolder folder;
  const fs::path build = fs::path(UNDERSTUDY_PROGRAM).parent_path();
  const Outcome installed = RunCommand({.argv = {"cmake", "--install", build.string(), "--prefix",
                                                 (folder.path() / "made").string()}});
  ASSERT_TRUE(installed.ok()) << installed.err;
  const fs::path prefix = folder.path() / "moved";
  fs::rename(folder.path() / "made", prefix);
  const fs::path share = prefix / "share" / "understudy";
  for (const char* part : {"scenarios", "fixtures", "schema", "docker"}) {
    EXPECT_TRUE(fs::is_directory(share / part)) << part;
  }
  // A mark in the installed schema tells it from the source tree's, which is there too.
  const fs::path schema = share / "schema" / "scenario.schema.json";
  Json marked = ParseJsonFile(schema);
  marked["title"] = "the installed one";
  WriteFileWhole(schema, ToText(marked));
  const std::string program = (prefix / "bin" / "understudy").string();
  const Outcome printed = RunCommand({.argv = {program, "schema", "scenario"}, .folder = "/"});
  EXPECT_EQ(printed.exit_status, 0) << printed.err;
  EXPECT_THAT(printed.out, HasSubstr("the installed one"));
  // The scenarios' relative paths hold there.
  const Outcome list =
      RunCommand({.argv = {program, "list", (share / "scenarios").string()}, .folder = "/"});
  EXPECT_EQ(list.exit_status, 0) << list.err;
}

}  // namespace
}  // namespace understudy
