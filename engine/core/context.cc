#include "engine/core/context.h"

#include <thread>

#include "engine/base/error.h"
#include "engine/core/points.h"

namespace understudy::core {
namespace {
constexpr std::chrono::milliseconds kLookForPause{100};
}  // namespace

void Context::At(std::string_view point, Json attributes) const {
  const Point* known = FindPoint(point);
  if (known == nullptr) {
    throw Error(ErrorKind::kInternal,
                "a strategy passed a point that is not in the table: " + std::string(point));
  }
  Tell("point", {{"point", point}, {"attributes", std::move(attributes)}});
}

void Context::Tell(std::string_view kind, Json data) const {
  if (probe_ == nullptr) return;
  Json whole = {{"migration", spec_.id}};
  if (!phase_.empty()) whole["phase"] = phase_;
  whole.update(data);
  const std::lock_guard lock(telling_);
  probe_->OnEvent({kind, whole});
}

void Context::Log(std::string_view level, std::string_view text) const {
  Tell("log", {{"level", level}, {"text", text}});
}

void Context::ThrowIfStopped() const {
  if (stopped()) throw Error(ErrorKind::kCancelled, "stopped on request", "stop");
}

void Context::WaitWhilePaused() const {
  if (pause_file_.empty() || !std::filesystem::exists(pause_file_)) return;
  if (!paused_.exchange(true)) {
    Log("info", "paused: go on by removing " + pause_file_.string());
  }
  while (std::filesystem::exists(pause_file_)) {
    ThrowIfStopped();
    std::this_thread::sleep_for(kLookForPause);
  }
  if (paused_.exchange(false)) Log("info", "going on");
}

}  // namespace understudy::core
