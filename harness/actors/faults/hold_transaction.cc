// A transaction that somebody leaves open: the long reader before which a migration's lock request
// queues, and everybody else behind that.
#include <atomic>
#include <cmath>
#include <thread>

#include "engine/base/error.h"
#include "harness/actors/faults/faults.h"
#include "harness/actors/stage.h"

namespace understudy::harness {
namespace {

constexpr auto kTick = std::chrono::milliseconds(20);

class HoldTransaction final : public Fault {
 public:
  HoldTransaction(const FaultSpec& spec, const ActorContext& context)
      : spec_(spec), context_(context), endpoint_(EndpointOf(spec, context)) {}
  ~HoldTransaction() override {
    try {
      Stop();
    } catch (const std::exception&) {  // the evidence lacks its end
    }
  }

  void Start() override {}

  void Strike() override {
    End();  // of the strike before this one
    stop_ = false;
    const std::string sql = spec_.options.value("sql", "SELECT 1");
    try {
      session_ = ConnectClient(endpoint_, ClientName("hold-transaction", spec_.index), false);
      session_->Begin();
      Hold(sql);
    } catch (const Error& error) {
      session_.reset();
      SayFault(context_, spec_, "failed", false, error.what());
      return;
    }
    SayFault(context_, spec_, "struck", true, sql, session_->BackendPid());
    holder_ = std::thread([this] { HoldOn(); });
  }

  void Stop() override { End(); }

 private:
  void End() {
    stop_ = true;
    if (!holder_.joinable()) return;
    holder_.join();
  }

  // Reads to the end, as a report would; keeps nothing of it.
  void Hold(const std::string& sql) {
    if (session_->Server().engine == db::Engine::kSqlite) {
      session_->ForEachRow(sql, {}, [](const db::Row&) {});
    } else {
      session_->Execute(sql);
    }
  }

  void HoldOn() {
    const auto since = SteadyClock::now();
    const bool busy = !spec_.options.value("idle", true);
    std::string how = "ended";
    std::string detail;
    const int pid = session_->BackendPid();
    try {
      while (!stop_ &&
             !(spec_.for_ms && MillisecondsSince(since) >= static_cast<double>(*spec_.for_ms))) {
        if (busy && pid != 0) {
          session_->Execute("SELECT pg_catalog.pg_sleep(0.05)");
        } else {
          std::this_thread::sleep_for(kTick);
        }
      }
      // Whether it was still there, or somebody ended it.
      session_->Execute(pid != 0 ? "SELECT" : "SELECT 1");
    } catch (const Error& error) {
      how = "failed";
      detail = std::string("the transaction did not last: ") + error.what();
    }
    session_->Rollback();
    session_.reset();
    if (detail.empty()) {
      detail = "held for " + std::to_string(std::llround(MillisecondsSince(since))) + " ms";
    }
    try {
      SayFault(context_, spec_, how, false, detail, pid);
    } catch (const std::exception&) {  // a full disk, which the run meets by itself
    }
  }

  FaultSpec spec_;
  ActorContext context_;
  db::Endpoint endpoint_;
  std::unique_ptr<db::Session> session_;
  std::thread holder_;
  std::atomic<bool> stop_ = false;
};

}  // namespace

std::unique_ptr<Fault> MakeHoldTransaction(const FaultSpec& spec, const ActorContext& context) {
  return std::make_unique<HoldTransaction>(spec, context);
}

}  // namespace understudy::harness
