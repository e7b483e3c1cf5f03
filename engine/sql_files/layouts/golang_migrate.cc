// golang-migrate: N_name.up.sql and N_name.down.sql, in the order of the number N. A file is sent
// as one query, which makes it one implicit transaction.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/sql_files/layout.h"

namespace understudy::sql_files::layouts {
namespace fs = std::filesystem;

std::vector<Version> ReadGolangMigrate(const fs::path& folder) {
  std::vector<Version> versions;
  for (const fs::path& file : SqlFiles(folder, false)) {
    const auto numbered = ParseNumbered(file);
    const std::string name = file.filename().string();
    const bool up = name.ends_with(".up.sql");
    if (!numbered || (!up && !name.ends_with(".down.sql")))
      continue;  // the tool passes over it too
    auto same = std::ranges::find_if(versions, [&](const Version& v) {
      return !NumberLess(v.version, numbered->digits) && !NumberLess(numbered->digits, v.version);
    });
    if (same == versions.end()) same = versions.insert(versions.end(), Version{});
    std::optional<Script>& script = up ? same->up : same->down;
    if (script) {
      throw Error(ErrorKind::kInvalidSpec, "two files of the version " + numbered->digits + ": " +
                                               script->file.string() + " and " + file.string());
    }
    script = Script{file, ReadFile(file)};
    if (up || same->version.empty()) {
      same->version = numbered->digits;
      same->name = numbered->rest.substr(0, numbered->rest.rfind('.'));
    }
  }
  std::ranges::sort(versions, NumberLess, &Version::version);
  return versions;
}

}  // namespace understudy::sql_files::layouts
