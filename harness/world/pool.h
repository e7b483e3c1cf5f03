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

// Data directories of stopped clusters, kept per server version below CacheFolder():
//   postgres-15.20/base/            an empty cluster, only ever copied
//   postgres-15.20/kept-XXXX/       one with templates, only ever moved: a rename is its lock, so
//                                   that no two runs can have the same one
// The servers run without fsync, so what lies here is only trusted until the machine restarts.

// Puts a data directory at `to` (which must not exist): one that holds the template `key`, else,
// when `any`, another with templates, else an empty one. It belongs to `user` ("" = us).
Contents TakeData(const db::Binaries& binaries, const std::string& key, bool any,
                  const std::filesystem::path& to, const std::string& user);

// Gives back what a cluster that was shut down properly leaves. Never throws; what cannot be kept
// is left for the caller to remove.
void ReturnData(const db::Binaries& binaries, const std::filesystem::path& from,
                const Contents& contents) noexcept;

}  // namespace understudy::harness
