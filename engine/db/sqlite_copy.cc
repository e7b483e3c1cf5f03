#include "engine/db/sqlite_copy.h"

#include <SQLiteCpp/Backup.h>
#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <system_error>

#include "engine/base/error.h"

namespace understudy::db {
namespace {

constexpr int kPagesAtOnce = 4096;
constexpr int kBusyMs = 5000;

[[noreturn]] void Fail(int code, const std::filesystem::path& from, const std::string& why) {
  const ErrorKind kind = code == SQLITE_NOTADB                          ? ErrorKind::kInvalidSpec
                         : code == SQLITE_FULL                          ? ErrorKind::kEnvironment
                         : code == SQLITE_BUSY || code == SQLITE_LOCKED ? ErrorKind::kConflict
                                                                        : ErrorKind::kUnavailable;
  throw Error(kind, "copy the SQLite file " + from.string() + ": " + why,
              code == SQLITE_FULL ? "ENOSPC" : std::to_string(code));
}

void Copy(const std::filesystem::path& from, const std::filesystem::path& to,
          const std::function<bool()>& stop) {
  try {
    SQLite::Database source(from.string(), SQLite::OPEN_READONLY, kBusyMs);
    SQLite::Statement(source, "SELECT count(*) FROM sqlite_schema").executeStep();
    SQLite::Database target(to.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, kBusyMs);
    SQLite::Backup backup(target, source);
    for (int code = SQLITE_OK; code != SQLITE_DONE;) {
      if (stop && stop())
        throw Error(ErrorKind::kCancelled, "stopped while copying " + from.string());
      code = backup.executeStep(kPagesAtOnce);
      if (code == SQLITE_BUSY || code == SQLITE_LOCKED) sqlite3_sleep(10);
    }
  } catch (const SQLite::Exception& error) {
    Fail(error.getErrorCode(), from, error.what());
  }
}

}  // namespace

void CopySqliteFile(const std::filesystem::path& from, const std::filesystem::path& to,
                    const std::function<bool()>& stop) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(from, ignored)) {
    throw Error(ErrorKind::kUnavailable, "no such SQLite file: " + from.string(), "CANTOPEN");
  }
  if (std::filesystem::exists(to, ignored)) {
    throw Error(ErrorKind::kInternal, "the copy would overwrite " + to.string());
  }
  try {
    Copy(from, to, stop);
  } catch (...) {
    for (const char* suffix : {"", "-journal", "-wal", "-shm"}) {
      std::filesystem::remove(to.string() + suffix, ignored);
    }
    throw;
  }
}

}  // namespace understudy::db
