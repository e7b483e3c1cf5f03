#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace understudy {

// Throws Error(kInvalidSpec) "no such file" or Error(kEnvironment) when it cannot be read.
std::string ReadFile(const std::filesystem::path& path);

// Writes beside `path` and renames, so that no reader ever sees half a file. A full disk is
// Error(kEnvironment, code "ENOSPC").
void WriteFileWhole(const std::filesystem::path& path, std::string_view content);

// A folder of our own below the system's temporary folder (TMPDIR), removed with all that is in
// it when this value goes. Its path is short enough for a unix socket.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string_view prefix = "understudy");
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Where things are kept between runs: $XDG_CACHE_HOME/understudy, else ~/.cache/understudy; made
// if absent.
std::filesystem::path CacheFolder();

// A file or folder that ships with the program (`scenarios`, `fixtures`, `schema`, `docker`):
// beside an installed program in ../share/understudy, else in the source tree that it was built
// from. Throws Error(kEnvironment) when it is in neither.
std::filesystem::path ShippedPath(std::string_view relative);

// The path of the running program.
std::filesystem::path ProgramPath();

}  // namespace understudy
