#include "engine/core/pacer.h"

#include <algorithm>
#include <thread>

#include "engine/base/error.h"

namespace understudy::core {
namespace {

constexpr std::chrono::milliseconds kNap{100};  // how late a stop may be noticed
constexpr double kMuchSlower = 10;
constexpr std::size_t kPositionsKept = 10000;  // of one standby

// Ours are known by the name that they give.
constexpr const char* kLook = R"(
SELECT (SELECT count(*) FROM pg_stat_activity w
        WHERE w.wait_event_type = 'Lock' AND w.application_name NOT LIKE 'understudy-engine%'
          AND EXISTS (SELECT FROM unnest(pg_blocking_pids(w.pid)) AS b(pid)
                      JOIN pg_stat_activity o ON o.pid = b.pid
                      WHERE o.application_name LIKE 'understudy-engine%')))";

// Positions as numbers. What a standby has not told (pg_basebackup, no right to see) is null.
constexpr const char* kStandbys = R"(
SELECT coalesce(nullif(application_name, ''), client_addr::text, 'one') || ' (pid ' || pid || ')',
       pg_current_wal_lsn() - '0/0'::pg_lsn, replay_lsn - '0/0'::pg_lsn,
       coalesce(extract(epoch FROM replay_lag), 0)
FROM pg_stat_replication WHERE replay_lsn IS NOT NULL)";

}  // namespace

Pacer::Pacer(const Context& context, db::Endpoint production, std::chrono::milliseconds lag)
    : context_(context), production_(std::move(production)), lag_(lag) {}

Pacer::~Pacer() = default;

std::string Pacer::holding() const {
  const std::lock_guard lock(mutex_);
  return holding_;
}

void Pacer::Sleep(std::chrono::duration<double> time) const {
  const auto until = SteadyClock::now() + std::chrono::duration_cast<SteadyClock::duration>(time);
  for (;;) {
    context_.ThrowIfStopped();
    const auto left = until - SteadyClock::now();
    if (left <= SteadyClock::duration::zero()) return;
    std::this_thread::sleep_for(std::min<SteadyClock::duration>(left, kNap));
  }
}

// REQUIRES: the mutex is held.
std::string Pacer::LookAtStandbys() {
  const auto now = SteadyClock::now();
  std::map<std::string, Standby> seen;
  std::string behind;
  for (const db::Row& row : session_->Query(kStandbys).rows) {
    const std::string& name = row[0].text;
    Standby& standby = seen[name];
    if (const auto known = standbys_.find(name); known != standbys_.end()) {
      standby = std::move(known->second);
    }
    const std::int64_t written = row[1].AsInteger();
    const std::int64_t replayed = row[2].AsInteger();
    auto& positions = standby.written;
    while (!positions.empty() && positions.front().first <= replayed) positions.pop_front();
    if (written > replayed && positions.size() < kPositionsKept) {
      positions.emplace_back(written, now);
    }
    std::chrono::duration<double> lag{row[3].AsReal()};
    if (written <= replayed) lag = lag.zero();
    if (!positions.empty()) {
      lag = std::max(lag, std::chrono::duration<double>(now - positions.front().second));
    }
    standby.least = std::min(standby.least.value_or(lag), lag);
    if (lag > *standby.least + lag_ && behind.empty()) {
      behind = "the standby " + name + " is " +
               std::to_string(static_cast<std::int64_t>(lag.count())) + " s behind";
    }
  }
  standbys_ = std::move(seen);
  return behind;
}

// REQUIRES: the mutex is held.
std::string Pacer::Look() {
  if (SteadyClock::now() < blind_until_) return "";
  try {
    if (!session_) {
      db::SessionOptions options;
      options.application_name = "understudy-engine pacer";
      options.statement_timeout = kNoAnswer;
      session_ = db::Connect(production_, options);
    }
    const auto before = SteadyClock::now();
    const db::Row row = session_->Query(kLook).rows.at(0);
    const double took = MillisecondsSince(before);
    fastest_ms_ = fastest_ms_ == 0 ? took : std::min(fastest_ms_, took);
    if (row[0].AsInteger() > 0) {
      return row[0].text + " sessions of production wait for a lock of ours";
    }
    const double slow =
        std::max(static_cast<double>(kSlowAnswer.count()), kMuchSlower * fastest_ms_);
    if (took > slow) {
      return "production answered a probe in " + std::to_string(static_cast<int>(took)) + " ms";
    }
    return LookAtStandbys();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) {
      return "production did not answer a probe in " + std::to_string(kNoAnswer.count()) + " ms";
    }
    session_.reset();
    blind_until_ = SteadyClock::now() + kBlindFor;
    context_.Log("warning",
                 std::string("production cannot be watched, so nothing slows the copy for now: ") +
                     error.what());
  }
  return "";
}

void Pacer::Moved(std::int64_t rows, std::int64_t bytes) {
  std::chrono::duration<double> wait{0};
  {
    const std::lock_guard lock(mutex_);
    rows_ += rows;
    bytes_ += bytes;
    const Limits& limits = context_.spec().limits;
    const double passed = MillisecondsSince(began_) / 1000;
    const auto keep = [&](const std::optional<std::int64_t>& limit, std::int64_t done) {
      if (!limit || *limit <= 0) return;
      const double due = static_cast<double>(done) / static_cast<double>(*limit);
      wait = std::max(wait, std::chrono::duration<double>(due - passed));
    };
    keep(limits.rows_per_s, rows_);
    keep(limits.bytes_per_s, bytes_);
    if (SteadyClock::now() >= next_look_) {
      const std::string why = Look();
      if (why.empty()) {
        pause_ = std::chrono::milliseconds(0);
        if (!holding_.empty()) context_.Log("info", "going on at full speed");
      } else {
        pause_ = pause_.count() == 0 ? kFirstPause : std::min(pause_ * 2, kLongestPause);
        if (holding_.empty()) context_.Log("info", "holding back: " + why);
      }
      holding_ = why;
      next_look_ = SteadyClock::now() + kLookEvery;
    }
    wait = std::max<std::chrono::duration<double>>(wait, pause_);
  }
  if (wait.count() > 0) {
    Sleep(wait);
  } else {
    context_.ThrowIfStopped();
  }
  context_.WaitWhilePaused();
}

}  // namespace understudy::core
