#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace understudy {

// Which process something belongs to. A pid alone may have been given to another process since:
// with the time that it started (in the kernel's ticks) and the boot it names one process for good.
struct Owner {
  pid_t pid = 0;
  std::uint64_t started_ticks = 0;
  std::string boot;

  static Owner ThisProcess();
  // "PID STARTED BOOT", as files and container labels hold it; nullopt when it is none.
  static std::optional<Owner> Parse(std::string_view text);
  std::string Text() const;
  bool Alive() const;
};

// The label of every container of ours: Owner::Text() of the process that it belongs to.
constexpr const char* kOwnerLabel = "understudy.owner";

// Whether the process runs; a zombie does not.
bool ProcessLives(pid_t pid);
// The processes that `pid` started, and theirs.
std::vector<pid_t> Descendants(pid_t pid);
// Changes with every start of the machine.
const std::string& ThisBoot();

// The user that servers run as: "" when we are not root (then ourselves), else "postgres", else
// Error(kEnvironment): PostgreSQL refuses to run as root.
std::string ServerUser();

// A folder below the system's temporary folder (or in memory) that `clean` finds: its name holds
// our pid, a file `owner` in it tells whose it is. Short enough for a unix socket. Removed with its
// content when this value goes, unless kept.
class OwnedFolder {
 public:
  // `kind`: "pg", "sqlite", "docker". `user`: "" = ours; the folder belongs to it, mode 0700.
  // `parent`: MemoryFolder()'s, or "" for the temporary folder.
  OwnedFolder(std::string_view kind, std::string_view run_id, const std::string& user = "",
              const std::filesystem::path& parent = "");
  ~OwnedFolder();
  OwnedFolder(const OwnedFolder&) = delete;
  OwnedFolder& operator=(const OwnedFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void Keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  bool kept_ = false;
};

// An OwnedFolder that lies on the disk, perhaps another process's.
struct FoundFolder {
  std::filesystem::path path;
  std::string kind;
  Owner owner;
};
// Those of our user and of the server's, in the temporary folders and in memory.
std::vector<FoundFolder> FindOwnedFolders();

}  // namespace understudy
