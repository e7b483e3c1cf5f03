#include "harness/world/pool.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/log.h"
#include "engine/base/memory.h"
#include "engine/base/owner.h"
#include "engine/base/process.h"
#include "engine/db/local_server.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kKeptPerVersion = 4;

fs::path Folder(const db::Binaries& binaries) {
  const fs::path folder = CacheFolder() / ("postgres-" + binaries.version);
  fs::create_directories(folder);
  return folder;
}

class FileLock {
 public:
  explicit FileLock(const fs::path& file, int how = LOCK_EX)
      : fd_(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (fd_ < 0 || ::flock(fd_, how) != 0) {
      throw Error(ErrorKind::kEnvironment,
                  "cannot lock " + file.string() + ": " + std::strerror(errno));
    }
  }
  ~FileLock() { ::close(fd_); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_;
};

Outcome Run(std::vector<std::string> argv, const std::string& user, const fs::path& folder) {
  Command command;
  command.argv = std::move(argv);
  command.user = user;
  command.folder = folder;
  const Outcome outcome = RunCommand(command);
  if (!outcome.ok()) {
    std::string why = outcome.err.empty() ? outcome.out : outcome.err;
    while (!why.empty() && why.back() == '\n') why.pop_back();
    const bool full = why.find("No space left") != std::string::npos;
    throw Error(ErrorKind::kEnvironment, command.argv[0] + " failed: " + why, full ? "ENOSPC" : "");
  }
  return outcome;
}

// Across file systems a rename becomes a copy.
void Move(const fs::path& from, const fs::path& to) {
  std::error_code failed;
  fs::rename(from, to, failed);
  if (!failed) return;
  try {
    Run({"cp", "-a", from.string(), to.string()}, "", "/");
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(to, ignored);
    throw;
  }
  fs::remove_all(from);
}

std::string Unique(const char* prefix) {
  static std::atomic<int> count = 0;
  return prefix + std::to_string(::getpid()) + "-" + std::to_string(++count) + "-" +
         std::to_string(std::chrono::system_clock::now().time_since_epoch().count() % 1000000000);
}

bool SameBoot(const fs::path& entry) {
  std::error_code ignored;
  if (!fs::exists(entry / "boot", ignored)) return false;
  return ReadFile(entry / "boot") == ThisBoot();
}

Contents ReadContents(const fs::path& entry) {
  Contents contents;
  const Json json = ParseJsonFile(entry / "contents.json");
  for (const auto& [key, used] : json.at("templates").items()) {
    contents.templates[key] = used.get<std::string>();
  }
  for (const Json& role : json.at("roles")) contents.roles.insert(role.get<std::string>());
  return contents;
}

const char* Prefix(DataIn where) { return where == DataIn::kMemory ? "small-" : "kept-"; }

struct Kept {
  fs::path path;
  Contents contents;
  std::string used;
};

// Those that can be trusted, the one used last first; the others are removed.
std::vector<Kept> FindKept(const fs::path& folder, DataIn where) {
  std::vector<Kept> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().rfind(Prefix(where), 0) != 0) continue;
    try {
      if (!SameBoot(entry.path())) {
        fs::remove_all(entry.path(), ignored);
        continue;
      }
      Kept kept{entry.path(), ReadContents(entry.path()), ""};
      for (const auto& [key, used] : kept.contents.templates) kept.used = std::max(kept.used, used);
      all.push_back(std::move(kept));
    } catch (const std::exception&) {  // another run took it while we looked
    }
  }
  std::sort(all.begin(), all.end(), [](const Kept& a, const Kept& b) { return a.used > b.used; });
  return all;
}

// An empty cluster, made once per version and boot.
fs::path Base(const db::Binaries& binaries, const std::string& user) {
  const fs::path folder = Folder(binaries);
  const fs::path base = folder / "base";
  const FileLock lock(folder / "lock");
  if (SameBoot(base)) return base / "data";
  std::error_code ignored;
  fs::remove_all(base, ignored);
  // initdb's user cannot reach our cache; it works in a folder of its own.
  const OwnedFolder scratch("init", "", user, MemoryFolder().value_or(""));
  db::InitData(binaries, user, scratch.path());
  const fs::path partial = folder / Unique("partial-");
  fs::create_directories(partial);
  Move(scratch.path() / "data", partial / "data");
  WriteFileWhole(partial / "boot", ThisBoot());
  fs::rename(partial, base);
  return base / "data";
}

// Renamed first: a run that wants it either has it whole or not at all.
void Remove(const fs::path& folder, const fs::path& entry) {
  std::error_code failed;
  const fs::path old = folder / Unique("taken-");
  fs::rename(entry, old, failed);
  if (!failed) fs::remove_all(old, failed);
}

// A copy that another run removes meanwhile would lack files and not say so.
fs::path CopyLock(const fs::path& folder) { return folder / "copying"; }

void WriteContents(const fs::path& entry, const Contents& contents) {
  Json json;
  json["templates"] = Json::object();
  for (const auto& [key, used] : contents.templates) json["templates"][key] = used;
  json["roles"] = contents.roles;
  WriteFileWhole(entry / "contents.json", ToText(json));
}

bool Take(const db::Binaries& binaries, const Kept& kept, DataIn where, const fs::path& to) {
  std::error_code ignored;
  if (where == DataIn::kMemory) {
    try {
      const FileLock lock(CopyLock(Folder(binaries)), LOCK_SH);
      Run({"cp", "-a", (kept.path / "data").string(), to.string()}, "", "/");
      return true;
    } catch (const std::exception& error) {
      log::Debug("a kept data directory cannot be copied: " + std::string(error.what()));
      fs::remove_all(to, ignored);
      return false;
    }
  }
  const fs::path ours = Folder(binaries) / Unique("taken-");
  std::error_code taken_by_another;
  fs::rename(kept.path, ours, taken_by_another);
  if (taken_by_another) return false;
  try {
    Move(ours / "data", to);
  } catch (const std::exception& error) {
    log::Debug("a kept data directory cannot be used: " + std::string(error.what()));
    fs::remove_all(ours, ignored);
    return false;
  }
  fs::remove_all(ours);
  return true;
}

}  // namespace

bool MayServe(const Contents& contents, const std::string& key) {
  return contents.roles.empty() ||
         (contents.templates.size() == 1 && contents.templates.contains(key));
}

TakenData TakeData(const db::Binaries& binaries, const std::string& key, bool any, DataIn where,
                   const fs::path& to, const std::string& user) {
  std::vector<Kept> kept = FindKept(Folder(binaries), where);
  std::stable_partition(kept.begin(), kept.end(),
                        [&](const Kept& k) { return k.contents.templates.contains(key); });
  for (const Kept& candidate : kept) {
    if (!any && !candidate.contents.templates.contains(key)) continue;
    if (!MayServe(candidate.contents, key) || !Take(binaries, candidate, where, to)) continue;
    return {candidate.contents, where == DataIn::kMemory ? candidate.path : fs::path()};
  }
  const fs::path base = Base(binaries, user);
  Run({"cp", "-a", "--reflink=auto", base.string(), to.string()}, "", "/");
  return {};
}

void TouchData(const TakenData& taken, const Contents& contents) noexcept {
  try {
    if (!taken.copied_from.empty() && fs::exists(taken.copied_from / "boot")) {
      WriteContents(taken.copied_from, contents);
    }
  } catch (const std::exception&) {  // it is only about which is dropped first
  }
}

void ReturnData(const db::Binaries& binaries, const fs::path& from, const Contents& contents,
                DataIn where, const fs::path& instead_of) noexcept {
  try {
    const fs::path folder = Folder(binaries);
    const fs::path partial = folder / Unique("partial-");
    fs::create_directories(partial);
    try {
      Move(from, partial / "data");
      WriteContents(partial, contents);
      WriteFileWhole(partial / "boot", ThisBoot());
      fs::rename(partial, folder / Unique(Prefix(where)));
    } catch (...) {
      std::error_code ignored;
      fs::remove_all(partial, ignored);
      throw;
    }
    const FileLock lock(CopyLock(folder));
    if (!instead_of.empty()) Remove(folder, instead_of);
    const std::vector<Kept> all = FindKept(folder, where);
    for (std::size_t i = kKeptPerVersion; i < all.size(); ++i) Remove(folder, all[i].path);
  } catch (const std::exception&) {  // a cache that cannot be kept costs time, nothing else
  }
}

}  // namespace understudy::harness
