#include "engine/core/context.h"

#include "engine/base/error.h"
#include "engine/core/points.h"

namespace understudy::core {

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

}  // namespace understudy::core
