// Plain SQL files, in the order of their names. NAME.down.sql leads back from NAME.up.sql or
// NAME.sql.
#include <map>

#include "engine/base/file.h"
#include "engine/sql_files/layout.h"

namespace understudy::sql_files::layouts {
namespace fs = std::filesystem;

std::vector<Version> ReadPlain(const fs::path& folder) {
  std::vector<Version> versions;
  std::map<std::string, fs::path> downs;
  for (const fs::path& file : SqlFiles(folder, false)) {
    const std::string name = file.filename().string();
    if (name.ends_with(".down.sql")) downs[name.substr(0, name.size() - 9)] = file;
  }
  for (const fs::path& file : SqlFiles(folder, false)) {
    const std::string name = file.filename().string();
    if (name.ends_with(".down.sql")) continue;
    std::string base = name.substr(0, name.size() - 4);
    if (base.ends_with(".up")) base.resize(base.size() - 3);
    Version& version = versions.emplace_back();
    version.version = name;
    version.name = base;
    version.up = Script{file, ReadFile(file)};
    if (const auto down = downs.find(base); down != downs.end()) {
      version.down = Script{down->second, ReadFile(down->second)};
    }
  }
  return versions;
}

}  // namespace understudy::sql_files::layouts
