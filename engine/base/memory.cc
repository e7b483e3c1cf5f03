#include "engine/base/memory.h"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

namespace understudy {
namespace fs = std::filesystem;
namespace {

// What must be free: a server with some copies of a small database and its WAL,
// several times over, since scenarios run side by side and the machine has other work too.
constexpr std::int64_t kRoom = 3LL << 30U;

// "" or a file that is not there: no limit that we know of.
std::optional<std::int64_t> NumberIn(const fs::path& file) {
  std::ifstream in(file);
  std::int64_t number = 0;
  if (!(in >> number)) return std::nullopt;  // also "max"
  return number;
}

std::int64_t FreeMemory() {
  std::ifstream in("/proc/meminfo");
  std::string name;
  std::string rest;
  std::int64_t kilobytes = 0;
  std::int64_t free = 0;
  while (in >> name >> kilobytes && std::getline(in, rest)) {
    if (name == "MemAvailable:") free = kilobytes * 1024;
  }
  if (const auto limit = NumberIn("/sys/fs/cgroup/memory.max")) {
    free = std::min(free, *limit - NumberIn("/sys/fs/cgroup/memory.current").value_or(0));
  }
  return free;
}

}  // namespace

fs::path MemoryFolderPath() { return "/dev/shm"; }

std::optional<fs::path> MemoryFolder() {
  const char* asked = std::getenv("TMPDIR");
  if (asked != nullptr && *asked != '\0') return std::nullopt;
  const fs::path folder = MemoryFolderPath();
  struct statfs facts {};
  if (::statfs(folder.c_str(), &facts) != 0 || facts.f_type != TMPFS_MAGIC ||
      ::access(folder.c_str(), W_OK | X_OK) != 0) {
    return std::nullopt;
  }
  const auto free = static_cast<std::int64_t>(facts.f_bavail) * facts.f_bsize;
  if (std::min(free, FreeMemory()) < kRoom) return std::nullopt;
  return folder;
}

}  // namespace understudy
