#include "harness/actors/client.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "harness/actors/stage.h"

namespace understudy::harness {
namespace {

constexpr double kFirstBackoffMs = 20;
constexpr double kLongestBackoffMs = 1000;
constexpr double kForgivenMs = 5000;  // a client without a session for longer has died
constexpr int kLastTries = 5;
constexpr double kSlowMs = 20;       // statements of faster operations are not kept
constexpr double kCatchUpMs = 1000;  // what a rate makes up for after a stall
constexpr std::size_t kStatementBytes = 1000;

}  // namespace

bool IsLost(const Error& error) {
  return error.kind() == ErrorKind::kUnavailable || error.kind() == ErrorKind::kAmbiguous;
}

Client::Client(ClientSetup setup)
    : setup_(std::move(setup)), name_(setup_.kind + "-" + std::to_string(setup_.number)) {}

void Client::Connect() {
  std::shared_ptr<db::Session> session =
      ConnectClient(setup_.endpoint, ClientName(setup_.kind, setup_.number), setup_.canonical);
  if (lost_pid_ == 0) lost_pid_ = session->BackendPid();
  const std::lock_guard lock(session_mutex_);
  session_ = std::move(session);
}

void Client::Lose() {
  const std::lock_guard lock(session_mutex_);
  session_.reset();
}

void Client::Cancel() noexcept {
  std::shared_ptr<db::Session> session;
  {
    const std::lock_guard lock(session_mutex_);
    session = session_;
  }
  if (session) session->Cancel();
}

void Client::Sleep(double ms) const {
  const double until = NowMs() + ms;
  while (!Stopping()) {
    const double left = until - NowMs();
    if (left <= 0) return;
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(std::min(left, 10.0)));
  }
}

bool Client::Reconnect() {
  if (lost_since_ms_ < 0) lost_since_ms_ = NowMs();
  for (double backoff = kFirstBackoffMs; !Stopping();
       backoff = std::min(backoff * 2, kLongestBackoffMs)) {
    try {
      Connect();
      Reconnected();
      lost_pid_ = session_->BackendPid();
      lost_since_ms_ = -1;
      return true;
    } catch (const Error& error) {
      Lose();
      if (!IsLost(error)) throw;
      why_lost_ = error.what();
    }
    Sleep(backoff);
  }
  return false;
}

void Client::Run(const std::atomic<bool>& stop, const std::function<bool()>& enough) noexcept {
  stop_ = &stop;
  const Random base = Random(setup_.seed).Fork(name_);
  double next = NowMs();
  try {
    while (!stop && !(enough && enough())) {
      if (setup_.interval_ms > 0) {
        if (const double wait = next - NowMs(); wait > 0) Sleep(wait);
        if (stop) break;
        next = std::max(next + setup_.interval_ms, NowMs() - kCatchUpMs);
      }
      if (session_ == nullptr && !Reconnect()) break;
      Random random = base.Fork(std::to_string(operations_));
      ++operations_;
      Operate(random);
    }
    for (int i = 0; i < kLastTries && HasDoubts(); ++i) {
      try {
        Connect();
        Reconnected();
      } catch (const Error& error) {
        if (!IsLost(error)) throw;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
      }
    }
    if (lost_since_ms_ >= 0 && NowMs() - lost_since_ms_ > kForgivenMs) {
      died_ = "it lost its connection and could not connect again for " +
              std::to_string(std::llround(NowMs() - lost_since_ms_)) + " ms: " + why_lost_;
    }
  } catch (const Error& error) {
    died_ = error.what();
    died_code_ = error.code();
  } catch (const std::exception& error) {
    died_ = error.what();
  }
  Lose();
  done_ = true;
}

db::Result Client::Query(std::string_view sql, const db::Params& params) {
  return setup_.prepared ? session_->QueryPrepared(sql, params) : session_->Query(sql, params);
}

void Client::Did(std::string operation, std::string statement, double started_ms,
                 std::string outcome, const Error* error, bool expected) {
  Ledger::Operation did;
  did.client = name_;
  did.kind = setup_.kind;
  did.operation = std::move(operation);
  did.database = setup_.database;
  did.started_ms = started_ms;
  did.duration_ms = NowMs() - started_ms;
  if (Sabotaged("client-shortens-waits")) did.duration_ms = std::min(did.duration_ms, 50.0);
  did.outcome = std::move(outcome);
  if (did.outcome != "ok" || did.duration_ms >= kSlowMs) {
    did.statement = std::move(statement);
    if (did.statement.size() > kStatementBytes) did.statement.resize(kStatementBytes);
  }
  if (error != nullptr) {
    did.sqlstate = error->code();
    did.message = error->message();
  }
  did.expected = expected;
  ledger().Did(std::move(did));
}

}  // namespace understudy::harness
