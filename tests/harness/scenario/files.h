#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "engine/base/file.h"
#include "engine/base/json.h"

namespace understudy::testing {

// A folder with the files that the scenarios of these tests name.
class ScenarioFolder {
 public:
  ScenarioFolder() {
    Write("up.sql", "ALTER TABLE t ADD COLUMN c int;");
    Write("down.sql", "ALTER TABLE t DROP COLUMN c;");
    Write("schema.sql", "CREATE TABLE t (id int PRIMARY KEY);");
    Write("rows.json", R"({"tables": {"public.t": {"rows": 10}}})");
  }
  std::filesystem::path Write(const std::string& name, std::string_view content) const {
    const std::filesystem::path path = folder_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    WriteFileWhole(path, content);
    return path;
  }
  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

// A scenario that is right, but for what a test changes in it.
inline constexpr const char* kGood = R"({
  // Comments are allowed.
  "name": "good", "tags": ["quick"], "seed": 7,
  "databases": {
    "main": { "engine": "postgres", "version": 15,
              "fixture": ["schema.sql", { "generate": "rows.json", "scale": 2 }] } },
  "migration": { "strategy": "sql", "on": "main", "up": "up.sql", "down": "down.sql" },
  "workload": [ { "kind": "writers", "on": "main", "clients": 4, "rate_per_s": 200 } ],
  "faults": [ { "kind": "fail", "at": "cutover.locked" } ],
  "checks": { "stalls": { "max_ms": 200 }, "locks": { "off": "not of interest" } }
})";

}  // namespace understudy::testing
