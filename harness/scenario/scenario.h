#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/json.h"

namespace understudy::harness {

// One of "databases". `document` is the whole object with its defaults; paths are absolute.
struct DatabaseSpec {
  std::string name;
  std::string engine;          // postgres | sqlite
  std::string provision;       // auto | local | docker | external
  std::optional<int> version;  // the major
  std::optional<std::string> image;
  std::vector<std::string> extensions;
  Json fixture;  // an array: PATH | {"generate", "scale"} | {"migrations", "layout", "through"}
  std::optional<std::string> from;      // a dump or an endpoint to copy
  std::optional<std::string> endpoint;  // of an external one
  Json settings = Json::object();
  std::uint64_t seed = 1;          // the scenario's
  double scale = 1;                // --scale: multiplies each generated fixture's
  bool may_be_changed = false;     // --yes-this-database-may-be-changed
  bool made_by_migration = false;  // the target of a hot copy: there is no file at the start
};

struct WorkloadSpec {
  std::size_t index = 0;
  std::string kind;  // writers | readers | pgbench | sql
  std::string on;
  int clients = 1;
  std::optional<double> rate_per_s;  // null = full speed
  Json options;                      // the whole object, defaults filled in
  std::uint64_t seed = 1;
};

struct FaultSpec {
  std::size_t index = 0;
  std::string kind;
  std::string on;
  std::optional<std::string> at;  // a point
  std::optional<std::string> at_step;
  std::optional<std::int64_t> at_ms;  // since the first migrate step
  int nth = 1;
  std::optional<std::int64_t> for_ms;
  Json options;  // the whole object, defaults filled in
};

struct StepSpec {
  std::string verb;  // snapshot migrate rollback … background join
  std::string name;  // given, else "VERB-N"
  std::string outcome = "done";
  Json options;  // what stands behind the verb, defaults filled in
  std::vector<StepSpec> background;
};

// A scenario file with every default filled in.
struct Scenario {
  std::filesystem::path file;
  std::string file_sha256;
  std::string name;
  std::string description;
  std::vector<std::string> tags;
  std::uint64_t seed = 1;
  double lead_s = 1;
  double tail_s = 1;
  std::vector<DatabaseSpec> databases;                   // in the file's order
  std::vector<std::pair<std::string, Json>> migrations;  // name → migration document
  std::vector<WorkloadSpec> workload;
  std::vector<FaultSpec> faults;
  std::vector<StepSpec> steps;
  Json checks = Json::object();
  Json expect = nullptr;
  Json document;  // all of it, as scenario.json holds it: absolute paths, no secret

  const DatabaseSpec& Database(const std::string& name) const;
  std::vector<std::string> Needs()
      const;  // "postgres>=13", "docker", "extension:postgis", "sqlite"
};

// What the command line changes: applied to the file's JSON before it is validated.
struct Overrides {
  std::vector<std::pair<std::string, std::string>> set;  // KEY (dotted or a pointer), VALUE
  std::optional<std::string> provision;
  std::optional<std::string> provision_auto;  // UNDERSTUDY_PROVISION: replaces only "auto"
  std::optional<int> pg;
  std::optional<std::uint64_t> seed;
  double scale = 1;
  bool may_be_changed = false;
  bool files_must_exist = true;  // false: a stored run is judged where its files are not
};

// Parses, applies the overrides, validates against scenario.schema.json, checks what a schema
// cannot (names that are used exist, points exist, files are there, …), fills in the defaults.
// Error(kInvalidSpec): "FILE: /json/pointer: what is wrong; allowed: …". A violation that comes
// from `overrides` has the code "usage".
Scenario LoadScenario(const std::filesystem::path& file, const Overrides& overrides = {});
// The same from a document that is not in a file (`try`, `judge`); `folder` for relative paths.
Scenario ScenarioFromJson(const Json& document, const std::filesystem::path& file,
                          const Overrides& overrides = {});

// Validates `document` with the JSON Schema at ShippedPath("schema/NAME"). Error(kInvalidSpec)
// names `where`, the pointer, what is wrong and what is allowed.
void ValidateWithSchema(const Json& document, const std::string& schema_name,
                        const std::string& where);

struct Found {
  std::vector<std::filesystem::path> scenarios;
  std::vector<std::filesystem::path> ignored;  // JSON that is no scenario
};
// formats.md, section 4: a file is a scenario; a folder stands for those below it.
Found FindScenarios(const std::vector<std::filesystem::path>& paths);

}  // namespace understudy::harness
