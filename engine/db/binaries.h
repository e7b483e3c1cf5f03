#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace understudy::db {

// PostgreSQL programs that are installed on this machine.
struct Binaries {
  int major = 0;
  std::string version;  // "15.18"
  std::filesystem::path folder;
  bool server = false;  // initdb, pg_ctl and postgres are there
  bool client = false;  // psql, pg_dump and pg_restore are there
};

// All of them, the newest first: /usr/lib/postgresql/N/bin, what pg_config names, PATH.
std::vector<Binaries> FindBinaries();

// The server of `major`, or the newest when none is asked for. Older than 12 does not count.
std::optional<Binaries> FindServer(std::optional<int> major);
// The client tools of `major` exactly: pg_dump refuses newer servers, and what it writes may hold
// settings that older ones refuse.
std::optional<Binaries> FindClient(int major);

// Whether the extension can be created on a server of `binaries`.
bool HasExtension(const Binaries& binaries, const std::string& extension);

constexpr int kOldestMajor = 12;

}  // namespace understudy::db
