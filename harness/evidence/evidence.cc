// The writing side; read_evidence.cc is the reading one.
#include "harness/evidence/evidence.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/base/error.h"
#include "harness/evidence/log_line.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kFormatLine = "{\"format\":\"understudy-evidence/1\"}\n";

constexpr std::string_view kLedgerTables = R"sql(
CREATE TABLE IF NOT EXISTS writes(
  id INTEGER PRIMARY KEY, client TEXT, txn INTEGER, database TEXT, operation TEXT,
  table_name TEXT, key TEXT, row TEXT, state TEXT, sqlstate TEXT, started_ms REAL, ended_ms REAL,
  key_after TEXT, hot INTEGER NOT NULL DEFAULT 0, counter TEXT, message TEXT);
CREATE TABLE IF NOT EXISTS operations(
  client TEXT, kind TEXT, operation TEXT, database TEXT, statement TEXT,
  started_ms REAL, duration_ms REAL, outcome TEXT,
  sqlstate TEXT, message TEXT, expected INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS observed(
  database TEXT, table_name TEXT, key TEXT, row TEXT, why TEXT);
CREATE TABLE IF NOT EXISTS hot_rows(
  database TEXT, table_name TEXT, key TEXT, column_name TEXT, value TEXT, note_column TEXT);
)sql";

std::unique_ptr<db::Session> OpenStore(const fs::path& file) {
  db::SessionOptions options;
  options.create = true;
  auto session = db::Connect(db::Endpoint::Sqlite(file), options);
  session->Execute("PRAGMA synchronous = OFF");
  return session;
}

// The whole line in one write, so that readers see it whole or not at all.
void Append(int fd, const fs::path& file, std::string_view line) {
  while (!line.empty()) {
    const ssize_t written = ::write(fd, line.data(), line.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int saved = errno;
      throw Error(ErrorKind::kEnvironment,
                  "cannot write the evidence to " + file.string() + ": " + std::strerror(saved),
                  saved == ENOSPC ? "ENOSPC" : "");
    }
    line.remove_prefix(static_cast<std::size_t>(written));
  }
}

int OpenToAppend(const fs::path& file) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) {
    const int saved = errno;
    throw Error(ErrorKind::kEnvironment,
                "cannot create " + file.string() + ": " + std::strerror(saved),
                saved == ENOSPC ? "ENOSPC" : "");
  }
  return fd;
}

}  // namespace

EvidenceWriter::EvidenceWriter(fs::path folder, SteadyClock::time_point start)
    : folder_(std::move(folder)), start_(start) {
  std::error_code failed;
  fs::create_directories(folder_, failed);
  const fs::path file = folder_ / "evidence.jsonl";
  fd_ = OpenToAppend(file);
  try {
    if (::lseek(fd_, 0, SEEK_END) == 0) Append(fd_, file, kFormatLine);
    log_fd_ = OpenToAppend(folder_ / "log.txt");
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

EvidenceWriter::~EvidenceWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (log_fd_ >= 0) ::close(log_fd_);
}

void EvidenceWriter::Add(std::string_view kind, Json data) {
  AddAt(NowMs(), kind, std::move(data));
}

void EvidenceWriter::AddAt(double t_ms, std::string_view kind, Json data) {
  Json line = {{"t_ms", t_ms}, {"kind", kind}};
  for (auto& [key, value] : data.items()) {
    // An event's own "kind" (a workload's, a fault's) would hide what sort of line this is.
    line[key == "kind" || key == "t_ms" ? "its_" + key : key] = value;
  }
  const std::string text = ToLine(line) + "\n";
  const std::string told = LogLine(kind, data);
  {
    const std::lock_guard lock(mutex_);
    Append(fd_, folder_ / "evidence.jsonl", text);
    if (!told.empty()) Append(log_fd_, folder_ / "log.txt", UtcNow() + "  " + told + "\n");
  }
  if (on_event) on_event({t_ms, std::string(kind), std::move(data)});
}

void EvidenceWriter::NotChecked(std::string_view what, std::string_view why) {
  const std::string line = std::string(what) + '\0' + std::string(why);
  {
    const std::lock_guard lock(mutex_);
    if (std::find(not_checked_.begin(), not_checked_.end(), line) != not_checked_.end()) return;
    not_checked_.push_back(line);
  }
  Add("not_checked", {{"what", what}, {"why", why}});
}

std::unique_ptr<db::Session> CreateLedger(const fs::path& folder) {
  auto session = OpenStore(folder / "ledger.sqlite");
  session->Query("PRAGMA journal_mode = WAL");
  session->Execute(kLedgerTables);
  return session;
}

void FinishLedger(db::Session& session) noexcept {
  try {
    session.Query("PRAGMA journal_mode = DELETE");
  } catch (const std::exception&) {  // readable all the same
  }
}

void StoreSnapshot(const fs::path& folder, const std::string& name, const std::string& database,
                   const Json& snapshot) {
  auto session = OpenStore(folder / "snapshots.sqlite");
  session->Execute(
      "CREATE TABLE IF NOT EXISTS snapshots(name TEXT, database TEXT, taken_ms REAL, content TEXT,"
      " PRIMARY KEY (name, database))");
  const db::Value taken =
      snapshot.is_object() && snapshot.contains("taken_ms") && snapshot["taken_ms"].is_number()
          ? db::Value::Real(snapshot["taken_ms"].get<double>())
          : db::Value::Null();
  session->Query(
      "INSERT OR REPLACE INTO snapshots VALUES (?1, ?2, ?3, ?4)",
      {db::Value::Text(name), db::Value::Text(database), taken, db::Value::Text(ToLine(snapshot))});
}

}  // namespace understudy::harness
