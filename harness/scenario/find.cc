#include <algorithm>
#include <set>

#include "engine/base/error.h"
#include "harness/scenario/scenario.h"

namespace understudy::harness {
namespace {
namespace fs = std::filesystem;

std::vector<fs::path> JsonFilesBelow(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".json" && entry.is_regular_file()) {
      files.push_back(entry.path());
    }
  }
  // By bytes: the same order on every machine and in every locale.
  std::sort(files.begin(), files.end(),
            [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  return files;
}

}  // namespace

Found FindScenarios(const std::vector<fs::path>& paths) {
  Found found;
  std::set<fs::path> seen;
  const auto take = [&](const fs::path& file, std::vector<fs::path>& list) {
    if (seen.insert(fs::weakly_canonical(file)).second) list.push_back(file);
  };
  for (const fs::path& path : paths) {
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      throw Error(ErrorKind::kInvalidSpec, "no such file or folder: " + path.string());
    }
    if (!fs::is_directory(path)) {
      take(path, found.scenarios);
      continue;
    }
    for (const fs::path& file : JsonFilesBelow(path)) {
      const Json json = ParseJsonFile(file);
      const bool scenario = json.is_object() && json.contains("databases");
      take(file, scenario ? found.scenarios : found.ignored);
    }
  }
  return found;
}

}  // namespace understudy::harness
