#include "engine/base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "engine/base/error.h"

namespace understudy {
namespace fs = std::filesystem;

std::string ReadFile(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    throw Error(ErrorKind::kInvalidSpec, "no such file: " + path.string());
  }
  if (fs::is_directory(path, ignored)) {
    throw Error(ErrorKind::kInvalidSpec, "a file is needed, this is a folder: " + path.string());
  }
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  if (!in) throw Error(ErrorKind::kEnvironment, "cannot read " + path.string());
  return std::move(content).str();
}

void WriteFileWhole(const fs::path& path, std::string_view content) {
  const fs::path partial = path.string() + ".partial";
  const auto fail = [&](const char* what) {
    const int saved = errno;
    ::unlink(partial.c_str());
    throw Error(ErrorKind::kEnvironment,
                std::string(what) + " " + path.string() + ": " + std::strerror(saved),
                saved == ENOSPC ? "ENOSPC" : "");
  };
  const int fd = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) fail("cannot create");
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int saved = errno;
      ::close(fd);
      errno = saved;
      fail("cannot write");
    }
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::close(fd) != 0) fail("cannot write");
  if (::rename(partial.c_str(), path.c_str()) != 0) fail("cannot write");
}

TemporaryFolder::TemporaryFolder(std::string_view prefix) {
  std::string pattern = (fs::temp_directory_path() / (std::string(prefix) + "-XXXXXX")).string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    throw Error(ErrorKind::kEnvironment,
                "cannot make a temporary folder " + pattern + ": " + std::strerror(errno),
                errno == ENOSPC ? "ENOSPC" : "");
  }
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path CacheFolder() {
  fs::path base;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg != '\0') {
    base = xdg;
  } else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    base = fs::path(home) / ".cache";
  } else {
    base = fs::temp_directory_path();
  }
  fs::path folder = base / "understudy";
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) {
    throw Error(ErrorKind::kEnvironment, "cannot make the cache folder " + folder.string() + ": " +
                                             failed.message() + "; set XDG_CACHE_HOME");
  }
  return folder;
}

fs::path ProgramPath() { return fs::read_symlink("/proc/self/exe"); }

fs::path ShippedPath(std::string_view relative) {
  std::error_code ignored;
  const fs::path installed =
      ProgramPath().parent_path().parent_path() / "share" / "understudy" / relative;
  if (fs::exists(installed, ignored)) return installed;
  // In the source tree the schemas live in the room that owns them.
  const fs::path root = UNDERSTUDY_SOURCE_ROOT;
  for (const fs::path& candidate : {root / relative, root / "reports" / relative}) {
    if (fs::exists(candidate, ignored)) return candidate;
  }
  throw Error(ErrorKind::kEnvironment, "'" + std::string(relative) + "' is missing: neither " +
                                           installed.string() +
                                           " nor the source tree has it; install understudy again");
}

}  // namespace understudy
