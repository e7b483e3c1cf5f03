#include "engine/base/owner.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/memory.h"

namespace understudy {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPrefix = "understudy-";
constexpr const char* kOwnerFile = "owner";
// sun_path holds 108 bytes; the socket's own name and the rest of ours need about 50 of them.
constexpr std::size_t kLongestParent = 50;

std::string FirstLine(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// Field 22 of /proc/PID/stat; 0 when there is no such process, or only its zombie.
std::uint64_t StartedTicks(pid_t pid) {
  const std::string stat = FirstLine("/proc/" + std::to_string(pid) + "/stat");
  const auto name_end = stat.rfind(')');  // the name may hold blanks and parentheses
  if (name_end == std::string::npos) return 0;
  std::istringstream rest(stat.substr(name_end + 1));
  std::string field;
  for (int number = 3; rest >> field; ++number) {
    if (number == 3 && (field == "Z" || field == "X")) return 0;
    if (number == 22) return std::stoull(field);
  }
  return 0;
}

fs::path Parent() {
  fs::path folder = fs::temp_directory_path();
  return folder.string().size() <= kLongestParent ? folder : fs::path("/tmp");
}

std::optional<pid_t> PidOfName(std::string_view name, std::string& kind) {
  if (name.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  const auto first = name.find('-');
  if (first == std::string_view::npos) return std::nullopt;
  kind = std::string(name.substr(0, first));
  name.remove_prefix(first + 1);
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (error != std::errc() || end == name.data() + name.size() || *end != '-' || pid <= 0) {
    return std::nullopt;
  }
  return pid;
}

}  // namespace

bool ProcessLives(pid_t pid) { return StartedTicks(pid) != 0; }

std::vector<pid_t> Descendants(pid_t pid) {
  std::multimap<pid_t, pid_t> children;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const pid_t child = std::atoi(entry.path().filename().c_str());
    if (child <= 0) continue;
    const std::string stat = FirstLine(entry.path() / "stat");
    const auto name_end = stat.rfind(')');
    if (name_end == std::string::npos) continue;
    std::istringstream rest(stat.substr(name_end + 1));
    std::string state;
    pid_t parent = 0;
    if (rest >> state >> parent) children.emplace(parent, child);
  }
  std::vector<pid_t> all;
  std::vector<pid_t> open = {pid};
  while (!open.empty()) {
    const pid_t next = open.back();
    open.pop_back();
    const auto [begin, end] = children.equal_range(next);
    for (auto it = begin; it != end; ++it) {
      all.push_back(it->second);
      open.push_back(it->second);
    }
  }
  return all;
}

const std::string& ThisBoot() {
  static const std::string boot = FirstLine("/proc/sys/kernel/random/boot_id");
  return boot;
}

Owner Owner::ThisProcess() { return {::getpid(), StartedTicks(::getpid()), ThisBoot()}; }

std::optional<Owner> Owner::Parse(std::string_view text) {
  std::istringstream in{std::string(text)};
  Owner owner;
  if (!(in >> owner.pid >> owner.started_ticks >> owner.boot) || owner.pid <= 0) {
    return std::nullopt;
  }
  return owner;
}

std::string Owner::Text() const {
  return std::to_string(pid) + " " + std::to_string(started_ticks) + " " + boot;
}

bool Owner::Alive() const {
  if (boot != ThisBoot()) return false;
  const std::uint64_t started = StartedTicks(pid);
  return started != 0 && started == started_ticks;
}

std::string ServerUser() {
  if (::geteuid() != 0) return "";
  if (::getpwnam("postgres") == nullptr) {
    throw Error(ErrorKind::kEnvironment,
                "PostgreSQL refuses to run as root and there is no user 'postgres' to become; run "
                "understudy as an ordinary user, or install the package postgresql-common");
  }
  return "postgres";
}

OwnedFolder::OwnedFolder(std::string_view kind, std::string_view run_id, const std::string& user,
                         const fs::path& parent) {
  std::string pattern =
      ((parent.empty() ? Parent() : parent) /
       (std::string(kPrefix) + std::string(kind) + "-" + std::to_string(::getpid()) + "-XXXXXX"))
          .string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    throw Error(ErrorKind::kEnvironment,
                "cannot make a temporary folder " + pattern + ": " + std::strerror(errno),
                errno == ENOSPC ? "ENOSPC" : "");
  }
  path_ = pattern;
  try {
    WriteFileWhole(path_ / kOwnerFile,
                   Owner::ThisProcess().Text() + "\n" + std::string(run_id) + "\n");
    if (!user.empty()) {
      const passwd* entry = ::getpwnam(user.c_str());
      if (entry == nullptr || ::chown(path_.c_str(), entry->pw_uid, entry->pw_gid) != 0) {
        throw Error(ErrorKind::kEnvironment, "cannot give " + path_.string() + " to " + user);
      }
    }
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    throw;
  }
}

OwnedFolder::~OwnedFolder() {
  std::error_code ignored;
  if (!kept_) fs::remove_all(path_, ignored);
}

std::vector<FoundFolder> FindOwnedFolders() {
  std::set<uid_t> ours = {::geteuid()};
  if (::geteuid() == 0) {
    if (const passwd* entry = ::getpwnam("postgres"); entry != nullptr) ours.insert(entry->pw_uid);
  }
  std::vector<FoundFolder> found;
  for (const fs::path& parent : std::set<fs::path>{Parent(), "/tmp", MemoryFolderPath()}) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(parent, ignored)) {
      FoundFolder folder;
      const auto pid = PidOfName(entry.path().filename().string(), folder.kind);
      struct stat facts {};
      // Only real folders of ours: anybody may put names into /tmp.
      if (!pid || ::lstat(entry.path().c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode) ||
          !ours.contains(facts.st_uid)) {
        continue;
      }
      folder.path = entry.path();
      // Killed between making the folder and writing the file: the name alone must do.
      folder.owner = Owner::Parse(FirstLine(entry.path() / kOwnerFile))
                         .value_or(Owner{*pid, StartedTicks(*pid), ThisBoot()});
      found.push_back(std::move(folder));
    }
  }
  return found;
}

}  // namespace understudy
