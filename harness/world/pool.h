#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "engine/db/binaries.h"

namespace understudy::harness {

// What a stopped cluster's data directory holds besides an empty cluster.
struct Contents {
  std::map<std::string, std::string> templates;  // key → when it was used last (UTC)
  std::set<std::string> roles;                   // that the templates need
};

// Where a server's data lies while it runs.
enum class DataIn { kDisk, kMemory };

// Data directories of stopped clusters, kept per server version below CacheFolder():
//   postgres-15.20/base/            an empty cluster, only ever copied
//   postgres-15.20/kept-XXXX/       one with templates, only ever moved: a rename is its lock, so
//                                   that no two runs can have the same one
//   postgres-15.20/small-XXXX/      one for servers in memory, only ever copied: any number of
//                                   runs may have it, and one that is killed loses nothing
// The servers run without fsync, so what lies here is only trusted until the machine restarts.

// Roles belong to a whole cluster: one that holds a template's is for that template alone, since a
// scenario must not meet the roles of another.
bool MayServe(const Contents& contents, const std::string& key);

struct TakenData {
  Contents contents;
  std::filesystem::path copied_from;  // kMemory: where in the cache it still lies; may be ""
};

// Puts a data directory at `to` (which must not exist): one that holds the template `key`, else,
// when `any`, another with templates, else an empty one. It belongs to `user` ("" = us).
TakenData TakeData(const db::Binaries& binaries, const std::string& key, bool any, DataIn where,
                   const std::filesystem::path& to, const std::string& user);

// A copy goes and its original stays: only when its templates were used is written down.
void TouchData(const TakenData& taken, const Contents& contents) noexcept;

// Gives back what a cluster that was shut down properly leaves; `instead_of` is removed. Never
// throws; what cannot be kept is left for the caller to remove.
void ReturnData(const db::Binaries& binaries, const std::filesystem::path& from,
                const Contents& contents, DataIn where,
                const std::filesystem::path& instead_of) noexcept;

}  // namespace understudy::harness
