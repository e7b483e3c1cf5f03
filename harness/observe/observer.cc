#include "harness/observe/observer.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "engine/base/error.h"
#include "harness/observe/picture.h"

namespace understudy::harness {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSlowPeriod{1000};    // activity, WAL and size
constexpr milliseconds kAwayPeriod{100};     // between attempts to reach a server that is away
constexpr milliseconds kQueryTimeout{5000};  // a picture that takes longer is an error

}  // namespace

class Observer::Work {
 public:
  Work(ObserverOptions options, EvidenceWriter& evidence)
      : options_(std::move(options)), evidence_(evidence) {
    if (!options_.is_engine) {
      options_.is_engine = [](int, const std::string& name) {
        return name.starts_with("understudy-engine");
      };
    }
    sqlite_ = options_.endpoint.engine() == db::Engine::kSqlite;
    if (sqlite_) {
      evidence_.NotChecked("locks of " + options_.database,
                           "SQLite shows none; what clients waited for is measured by themselves");
    }
  }

  void Start() {
    if (thread_.joinable()) return;
    stopping_ = false;
    thread_ = std::jthread([this] { Run(); });
  }

  void AtPoint(std::string_view point) {
    if (sqlite_) return;
    const std::lock_guard lock(point_mutex_);
    try {
      if (!point_session_) point_session_ = Connect();
      const double moment = evidence_.NowMs();
      const Picture picture = ReadPicture(*point_session_, options_.is_engine);
      ++samples_;
      Json event = picture.ToJson();
      event["point"] = point;
      Write(moment, "point", std::move(event));
    } catch (const std::exception& error) {
      point_session_.reset();
      Failed(error);
    }
  }

  void Stop() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(wake_mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
    evidence_.Add("observer", {{"database", options_.database},
                               {"period_ms", options_.period.count()},
                               {"samples", samples_.load()},
                               {"errors", errors_.load()}});
  }

 private:
  std::unique_ptr<db::Session> Connect() const {
    db::SessionOptions session;
    session.application_name = "understudy-observer";
    session.connect_timeout = milliseconds(2000);
    session.statement_timeout = kQueryTimeout;
    session.read_only = true;
    return db::Connect(options_.endpoint, session);
  }

  void Run() {
    auto next = SteadyClock::now();
    auto next_slow = next;
    std::unique_ptr<db::Session> session;
    for (;;) {
      milliseconds pause = sqlite_ ? kSlowPeriod : options_.period;
      try {
        const bool slow = SteadyClock::now() >= next_slow;
        if (slow) next_slow = SteadyClock::now() + kSlowPeriod;
        if (sqlite_) {
          WriteFileSize();
        } else {
          if (!session) session = Connect();
          Sample(*session);
          if (slow) WriteSlow(*session);
        }
      } catch (const std::exception& error) {
        session.reset();
        pause = std::max(pause, kAwayPeriod);
        Failed(error);
      }
      // A sample that took longer than the period is followed by the next at once, not by several.
      next = std::max(next + pause, SteadyClock::now());
      std::unique_lock lock(wake_mutex_);
      if (!wake_.wait_until(lock, next, [this] { return stopping_; })) continue;
      lock.unlock();
      if (session) LastSize(*session);
      return;
    }
  }

  // What was written since the last slow sample belongs to the run as well.
  void LastSize(db::Session& session) {
    try {
      WriteSlow(session);
    } catch (const std::exception& error) {
      Failed(error);
    }
  }

  void Sample(db::Session& session) {
    const double moment = evidence_.NowMs();
    Picture picture = ReadPicture(session, options_.is_engine);
    ++samples_;
    if (picture.hidden) {
      evidence_.NotChecked("statements of other sessions in " + options_.database,
                           "the role may not read them: grant it pg_monitor");
    }
    std::string signature = picture.Signature();
    const bool waits = !picture.blocking.empty();
    if (signature == last_signature_ && !waits) return;
    last_signature_ = std::move(signature);
    Write(moment, "sample", picture.ToJson());
  }

  void Write(double moment, std::string_view seen, Json content) {
    Json event = {{"database", options_.database}, {"seen", seen}};
    event.update(content);
    evidence_.AddAt(moment, "locks", std::move(event));
  }

  void WriteSlow(db::Session& session) {
    const double moment = evidence_.NowMs();
    Json activity = ReadActivity(session);
    activity["database"] = options_.database;
    if (activity != last_activity_) evidence_.AddAt(moment, "activity", activity);
    last_activity_ = std::move(activity);
    const Size size = ReadSize(session);
    if (!first_wal_) first_wal_ = size.wal_position;
    evidence_.AddAt(moment, "size",
                    {{"database", options_.database},
                     {"wal_lsn", size.wal_lsn},
                     {"wal_bytes", size.wal_position - *first_wal_},
                     {"bytes", size.bytes}});
  }

  void WriteFileSize() {
    std::error_code absent;
    const std::string file = options_.endpoint.file().string();
    const auto bytes = std::filesystem::file_size(file, absent);
    if (absent) return;
    const auto wal = std::filesystem::file_size(file + "-wal", absent);
    ++samples_;
    evidence_.Add("size", {{"database", options_.database},
                           {"wal_lsn", nullptr},
                           {"wal_bytes", absent ? 0 : wal},
                           {"bytes", bytes}});
  }

  void Failed(const std::exception& error) {
    ++errors_;
    const std::lock_guard lock(failed_mutex_);
    if (last_error_ == error.what()) return;
    last_error_ = error.what();
    try {
      evidence_.Add("log", {{"level", "debug"},
                            {"text", "observer of " + options_.database + ": " + last_error_}});
    } catch (const std::exception&) {  // a full disk is told by whoever writes next
    }
  }

  ObserverOptions options_;
  EvidenceWriter& evidence_;
  bool sqlite_ = false;
  std::atomic<std::int64_t> samples_ = 0;
  std::atomic<std::int64_t> errors_ = 0;
  std::string last_signature_;
  Json last_activity_;
  std::optional<std::int64_t> first_wal_;
  std::mutex failed_mutex_;
  std::string last_error_;
  std::mutex point_mutex_;
  std::unique_ptr<db::Session> point_session_;
  std::mutex wake_mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::jthread thread_;
};

Observer::Observer(ObserverOptions options, EvidenceWriter& evidence)
    : work_(std::make_unique<Work>(std::move(options), evidence)) {}

Observer::~Observer() {
  try {
    work_->Stop();
  } catch (const std::exception&) {  // the evidence could not take its last line
  }
}

void Observer::Start() { work_->Start(); }
void Observer::AtPoint(std::string_view point) { work_->AtPoint(point); }
void Observer::Stop() { work_->Stop(); }

}  // namespace understudy::harness
