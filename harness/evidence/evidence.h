#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/json.h"
#include "engine/db/session.h"

// The record of one scenario's run, on disk as it happens: `evidence.jsonl` (the kinds of event
// are listed in this room's README.md), the same for people in `log.txt`, `ledger.sqlite`,
// `snapshots.sqlite`, `scenario.json`.
namespace understudy::harness {

struct Event {
  double t_ms = 0;  // since the scenario's start, on the monotonic clock
  std::string kind;
  Json data;  // the other keys of the line
};

// Appends events. Thread-safe; a line is in the kernel's hands when Add returns, so that it
// outlives a kill -9 of ours. A full disk is Error(kEnvironment, "ENOSPC").
class EvidenceWriter {
 public:
  EvidenceWriter(std::filesystem::path folder, SteadyClock::time_point start);
  ~EvidenceWriter();

  void Add(std::string_view kind, Json data);
  // The same with a moment of the caller's.
  void AddAt(double t_ms, std::string_view kind, Json data);
  double NowMs() const { return MillisecondsSince(start_); }
  SteadyClock::time_point start() const { return start_; }
  const std::filesystem::path& folder() const { return folder_; }
  // {"what", "why"}: listed in the report under not_checked. The same line only once.
  void NotChecked(std::string_view what, std::string_view why);

  // Called after each event, from the thread that added it, outside the lock (a terminal's
  // progress line). Set before the first Add.
  std::function<void(const Event&)> on_event;

 private:
  std::filesystem::path folder_;
  SteadyClock::time_point start_;
  std::mutex mutex_;
  int fd_ = -1;
  int log_fd_ = -1;  // log.txt
  std::vector<std::string> not_checked_;
};

// What a run recorded. A last line that was cut off by a kill is left out.
class Evidence {
 public:
  // `folder`: RUN/SCENARIO. Error(kInvalidSpec) when it is no evidence or of another format.
  static Evidence Read(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const Json& scenario() const { return scenario_; }  // scenario.json, defaults filled in
  const std::vector<Event>& events() const { return events_; }
  std::vector<const Event*> OfKind(std::string_view kind) const;
  // Whether the run came to its end (event "end" with status "complete").
  bool complete() const;

  // Read-only sessions on ledger.sqlite and snapshots.sqlite; null when there is no such file.
  std::unique_ptr<db::Session> OpenLedger() const;
  // The stored JSON of snapshot `name` of `database`, or nullopt.
  std::optional<Json> Snapshot(const std::string& name, const std::string& database) const;

 private:
  std::filesystem::path folder_;
  Json scenario_;
  std::vector<Event> events_;
};

// Creates ledger.sqlite / snapshots.sqlite in `folder` with their tables (README.md has them) and
// opens them for writing: synchronous off (they outlive a kill of the process, not of the
// machine), the ledger in WAL mode until it is finished.
std::unique_ptr<db::Session> CreateLedger(const std::filesystem::path& folder);
// One file again: who reads it later, and may not write there, leaves nothing beside it.
// REQUIRES: nobody else has it open.
void FinishLedger(db::Session& session) noexcept;
void StoreSnapshot(const std::filesystem::path& folder, const std::string& name,
                   const std::string& database, const Json& snapshot);

}  // namespace understudy::harness
