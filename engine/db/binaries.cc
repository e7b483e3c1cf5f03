#include "engine/db/binaries.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>

#include "engine/base/process.h"

namespace understudy::db {
namespace fs = std::filesystem;
namespace {

bool Has(const fs::path& folder, const char* program) {
  std::error_code ignored;
  return fs::exists(folder / program, ignored);
}

std::string OutputOf(const fs::path& program, const std::string& argument) {
  try {
    Command command;
    command.argv = {program.string(), argument};
    command.deadline = std::chrono::seconds(10);
    const Outcome outcome = RunCommand(command);
    std::string text = outcome.ok() ? outcome.out : "";
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    return text;
  } catch (const std::exception&) {
    return "";
  }
}

std::optional<Binaries> Look(const fs::path& folder) {
  Binaries found;
  found.folder = folder;
  found.server = Has(folder, "initdb") && Has(folder, "pg_ctl") && Has(folder, "postgres");
  found.client = Has(folder, "psql") && Has(folder, "pg_dump") && Has(folder, "pg_restore");
  if (!found.server && !found.client) return std::nullopt;
  // "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)", also "17beta1"
  const std::string text = OutputOf(folder / (found.server ? "postgres" : "pg_dump"), "--version");
  const auto at = text.find_first_of("0123456789");
  if (at == std::string::npos) return std::nullopt;
  found.version = text.substr(at, text.find(' ', at) - at);
  found.major = std::atoi(found.version.c_str());
  return found;
}

std::vector<Binaries> Search() {
  std::vector<Binaries> all;
  std::set<fs::path> seen;
  const auto add = [&](const fs::path& folder) {
    std::error_code failed;
    const fs::path real = fs::canonical(folder, failed);
    if (failed || !seen.insert(real).second) return;
    if (auto found = Look(real)) all.push_back(std::move(*found));
  };
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
    add(entry.path() / "bin");
  }
  if (const fs::path config = FindProgram("pg_config"); !config.empty()) {
    add(OutputOf(config, "--bindir"));
  }
  for (const char* program : {"postgres", "pg_dump"}) {
    // Debian's pg_dump in PATH is a wrapper (a link to pg_wrapper): its folder is no version's.
    const fs::path path = FindProgram(program);
    std::error_code failed;
    if (!path.empty() && fs::canonical(path, failed).filename() == program) {
      add(path.parent_path());
    }
  }
  std::sort(all.begin(), all.end(),
            [](const Binaries& a, const Binaries& b) { return a.major > b.major; });
  return all;
}

}  // namespace

std::vector<Binaries> FindBinaries() {
  static const std::vector<Binaries> all = Search();
  return all;
}

std::optional<Binaries> FindServer(std::optional<int> major) {
  for (const Binaries& found : FindBinaries()) {
    if (found.server && found.major >= kOldestMajor && (!major || *major == found.major)) {
      return found;
    }
  }
  return std::nullopt;
}

std::optional<Binaries> FindClient(int major) {
  for (const Binaries& found : FindBinaries()) {
    if (found.client && found.major == major) return found;
  }
  return std::nullopt;
}

bool HasExtension(const Binaries& binaries, const std::string& extension) {
  static std::mutex mutex;
  static std::map<fs::path, fs::path> shares;
  const std::lock_guard lock(mutex);
  auto it = shares.find(binaries.folder);
  if (it == shares.end()) {
    fs::path share;
    if (Has(binaries.folder, "pg_config")) {
      share = OutputOf(binaries.folder / "pg_config", "--sharedir");
    }
    if (share.empty()) share = "/usr/share/postgresql/" + std::to_string(binaries.major);
    it = shares.emplace(binaries.folder, share).first;
  }
  std::error_code ignored;
  return fs::exists(it->second / "extension" / (extension + ".control"), ignored);
}

}  // namespace understudy::db
