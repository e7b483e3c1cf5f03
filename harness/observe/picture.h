#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/db/session.h"

// One look at a PostgreSQL server's locks.
namespace understudy::harness {

struct LockRow {
  int pid = 0;
  std::string who;     // engine | clients | other
  std::string object;  // TableName::Display()
  std::string mode;    // AccessExclusiveLock, …
  bool granted = true;
  double waited_ms = 0;
};

struct WaitRow {
  int pid = 0;
  std::string who;
  std::vector<int> by;  // who holds what it waits for, or stands before it in the queue
  double waited_ms = 0;
};

struct Picture {
  struct Process {
    std::string who;
    std::string application;
    std::string statement;
  };
  std::vector<LockRow> rows;
  std::vector<WaitRow> blocking;
  std::map<int, Process> processes;  // of the pids above
  bool hidden = false;               // some statement may not be read

  // {"rows", "blocking"} of the event `locks`.
  Json ToJson() const;
  // Equal for two pictures that tell the same locks.
  std::string Signature() const;
};

Picture ReadPicture(db::Session& session,
                    const std::function<bool(int, const std::string&)>& is_engine);

// {"sessions", "active", "waiting", "oldest_xact_ms"} without our own.
Json ReadActivity(db::Session& session);

struct Size {
  std::string wal_lsn;
  std::int64_t wal_position = 0;  // bytes
  std::int64_t bytes = 0;         // of the database
};
Size ReadSize(db::Session& session);

}  // namespace understudy::harness
