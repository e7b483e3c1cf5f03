// The direction rule: which room may include which. CMake's link lines say the same to the linker;
// this reads the #includes, so that a header cannot cross a wall either.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace understudy {
namespace {
namespace fs = std::filesystem;
using Rooms = std::set<std::string>;

const fs::path kRoot = UNDERSTUDY_SOURCE_DIR;

// A room → the rooms (or single files) that it may include, itself apart. Strategies never see each
// other; no room of the harness but its command line sees a strategy.
const std::map<std::string, Rooms>& Allowed() {
  static const Rooms kStrategy = {"engine/core", "engine/db", "engine/base"};
  static const Rooms kHarness = {"harness/scenario", "harness/schema",   "harness/world",
                                 "harness/actors",   "harness/observe",  "harness/snapshot",
                                 "harness/compare",  "harness/evidence", "harness/checks",
                                 "reports",          "engine/core",      "engine/db",
                                 "engine/base"};
  static const auto everything = [] {
    Rooms rooms = kHarness;
    rooms.insert({"harness/run", "engine", "engine/catalog", "engine/codegen", "engine/sql_files",
                  "engine/command", "engine/table_swap", "engine/hot_copy"});
    return rooms;
  }();
  static const std::map<std::string, Rooms> kAllowed = {
      {"engine/base", {}},
      {"engine/db", {"engine/base"}},
      {"engine/core", {"engine/db", "engine/base"}},
      {"engine/catalog", {"engine/db", "engine/base"}},
      {"engine/codegen", {"engine/catalog", "engine/db", "engine/base"}},
      {"engine/client", {}},  // installed: SQLite and the standard library alone
      {"engine/capture", {"engine/catalog", "engine/db", "engine/base"}},
      {"engine/sql_files", kStrategy},
      {"engine/command", kStrategy},
      {"engine/table_swap",
       {"engine/capture", "engine/catalog", "engine/core", "engine/db", "engine/base"}},
      {"engine/hot_copy",
       {"engine/capture", "engine/catalog", "engine/core", "engine/db", "engine/base"}},
      // strategies.cc, the one file that names every strategy.
      {"engine",
       {"engine/sql_files", "engine/command", "engine/table_swap", "engine/hot_copy", "engine/core",
        "engine/db", "engine/base"}},
      {"reports", {"engine/base"}},
      {"harness/scenario", {"engine/core", "engine/db", "engine/base"}},
      {"harness/schema", {"engine/db", "engine/base"}},
      {"harness/world", {"harness/scenario", "harness/schema", "engine/db", "engine/base"}},
      {"harness/evidence", {"engine/db", "engine/base"}},
      {"harness/actors",
       {"harness/scenario", "harness/schema", "harness/evidence", "engine/core", "engine/db",
        "engine/base"}},
      {"harness/observe", {"harness/evidence", "engine/db", "engine/base"}},
      {"harness/snapshot", {"engine/db", "engine/base"}},
      {"harness/compare", {"harness/snapshot", "engine/db", "engine/base"}},
      {"harness/checks",
       // Of the databases' room only how names are written: the judge asks no database.
       {"harness/evidence", "harness/snapshot", "harness/compare", "reports", "engine/base",
        "engine/db/identifier.h"}},
      {"harness/run", kHarness},
      {"harness/cli", everything},
  };
  return kAllowed;
}

// A folder inside a room belongs to it: engine/sql_files/layouts/goose.cc → engine/sql_files.
std::string RoomOf(const fs::path& file) {
  const fs::path folder = file.parent_path();
  auto part = folder.begin();
  if (part == folder.end()) return "";
  fs::path room = *part++;
  if (room != "reports" && part != folder.end()) room /= *part;
  return room.generic_string();
}

struct Include {
  fs::path file;     // relative to the root
  std::string path;  // as it stands in the file
  bool ours;         // "…", not <…>
};

std::vector<Include> Includes() {
  static const std::regex kInclude(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<Include> all;
  for (const char* top : {"engine", "harness", "reports"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / top)) {
      const auto extension = entry.path().extension();
      if (extension != ".h" && extension != ".cc") continue;
      std::ifstream in(entry.path());
      std::string line;
      std::smatch match;
      while (std::getline(in, line)) {
        if (!std::regex_search(line, match, kInclude)) continue;
        all.push_back({entry.path().lexically_relative(kRoot), match[2], match[1] == "\""});
      }
    }
  }
  return all;
}

TEST(Rooms, IncludeOnlyInTheAllowedDirection) {
  const std::vector<Include> includes = Includes();
  ASSERT_GT(includes.size(), 100U);
  for (const Include& include : includes) {
    const std::string from = RoomOf(include.file);
    ASSERT_TRUE(Allowed().contains(from))
        << include.file << ": the room " << from << " is not in the table of this test";
    if (!include.ours) continue;
    const std::string to = RoomOf(include.path);
    EXPECT_TRUE(to == from || Allowed().at(from).contains(to) ||
                Allowed().at(from).contains(include.path))
        << include.file << " includes " << include.path << ": " << from << " may not see " << to;
  }
}

TEST(Rooms, OnlyTheDatabaseRoomSeesADriver) {
  static const std::regex kDriver(R"(^(pqxx/|libpq|postgresql/|sqlite3|SQLiteCpp/))");
  int seen = 0;
  for (const Include& include : Includes()) {
    if (!std::regex_search(include.path, kDriver)) continue;
    if (RoomOf(include.file) == "engine/client") continue;  // what applications include
    ++seen;
    EXPECT_EQ(RoomOf(include.file), "engine/db") << include.file << " includes " << include.path;
    EXPECT_TRUE(include.file.extension() == ".cc" ||
                include.file.filename().string().ends_with("_internal.h"))
        << include.file << " shows a driver to its readers";
  }
  EXPECT_GT(seen, 0);
}

TEST(Rooms, KeepTheirInternalHeadersToThemselves) {
  for (const Include& include : Includes()) {
    if (!include.path.ends_with("_internal.h")) continue;
    EXPECT_EQ(RoomOf(include.file), RoomOf(include.path)) << include.file;
  }
}

TEST(Rooms, IncludeOurFilesByTheirWholePath) {
  for (const Include& include : Includes()) {
    if (!include.ours) continue;
    const bool made = fs::exists(kRoot / (include.path + ".in"));  // by CMake, from there
    EXPECT_TRUE(made || fs::exists(kRoot / include.path)) << include.file << ": " << include.path;
  }
}

TEST(Rooms, HaveAReadme) {
  for (const auto& [room, ignored] : Allowed()) {
    if (room == "engine") continue;  // strategies.cc alone
    EXPECT_TRUE(fs::exists(kRoot / room / "README.md")) << room;
  }
}

}  // namespace
}  // namespace understudy
