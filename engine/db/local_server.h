#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/owner.h"
#include "engine/db/binaries.h"
#include "engine/db/endpoint.h"

namespace understudy::db {

// An empty cluster at `folder`/`name`, made by initdb as `user` (see ServerUser()): superuser
// postgres, no passwords, UTF8, C.UTF-8. `folder` belongs to that user. A full disk is
// Error(kEnvironment, "ENOSPC").
void InitData(const Binaries& binaries, const std::string& user,
              const std::filesystem::path& folder, const std::string& name = "data");

// The server whose data lies in `folder`/data: on a unix socket in `folder`, never TCP, never as
// root. Nothing in it must survive the machine: fsync and full_page_writes are off. It runs on when
// this value or our process goes: its owner ends it. Constant methods may be called by any thread.
class ServerProcess {
 public:
  ServerProcess(Binaries binaries, std::filesystem::path folder, std::string user);

  // Beside what makes it ours alone. REQUIRES: the data is there (InitData, or a copy of its).
  void Configure(const std::map<std::string, std::string>& settings) const;
  // Waits until it takes connections. Error(kEnvironment) with the end of its log;
  // Error(kCancelled) when `stop` says so.
  void Start(const std::function<bool()>& stop) const;
  pid_t Postmaster() const;  // 0 when it does not run
  // SIGINT: at once, properly; SIGQUIT: without a checkpoint; SIGKILL: like a power cut. Waits.
  void End(int signal) const;
  // SIGQUIT and SIGKILL leave a file that a start would believe in.
  void WaitUntilBuried(pid_t pid) const;

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path data() const { return folder_ / "data"; }
  Endpoint Maintenance() const;  // its database postgres, as its superuser

 private:
  std::string LogTail() const;

  Binaries binaries_;
  std::filesystem::path folder_;
  std::string user_;
};

// Ends the server whose data lies in `folder`/data, if one runs. For what killed processes left.
void EndServerIn(const std::filesystem::path& folder);

// A server for one purpose of ours, ended and removed with this value. After a kill -9 of our
// process it is found by its folder: RemoveLocalServers.
class LocalServer {
 public:
  // `kind` and `purpose`: of its OwnedFolder.
  LocalServer(const Binaries& binaries, std::string_view kind, const std::string& purpose,
              const std::function<bool()>& stop);
  ~LocalServer();
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;

  Endpoint Maintenance() const { return process_.Maintenance(); }
  // A tablespace of that name, in its folder.
  void MakeTablespace(const std::string& name);

 private:
  std::string user_;
  OwnedFolder folder_;
  ServerProcess process_;
};

// Folders of such servers whose process is gone; with an empty purpose those of every purpose.
std::vector<std::filesystem::path> DeadLocalServers(std::string_view kind,
                                                    const std::string& purpose);
// Ends and removes them. Never throws: what cannot be removed stays.
void RemoveDeadLocalServers(std::string_view kind, const std::string& purpose) noexcept;

}  // namespace understudy::db
