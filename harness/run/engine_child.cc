#include "harness/run/engine_child.h"

#include <unistd.h>

#include <cerrno>
#include <mutex>

#include "engine/base/error.h"
#include "engine/core/lifecycle.h"
#include "harness/run/line_channel.h"

namespace understudy::harness {
namespace {

// Sends events; a point waits for its answer.
class ChannelProbe : public core::Probe {
 public:
  explicit ChannelProbe(LineChannel& channel) : channel_(channel) {}

  void OnEvent(const core::Event& event) override {
    Json line = {{"kind", event.kind}};
    line.update(event.data);
    const std::lock_guard lock(mutex_);  // a strategy may tell from several connections' threads
    channel_.Write(ToLine(line));
    if (event.kind != "point") return;
    const auto answer = channel_.Read();
    if (!answer) throw Error(ErrorKind::kCancelled, "the runner is gone", "stop");
    if (answer->rfind("fail", 0) == 0) {
      throw Error(ErrorKind::kCancelled, "injected failure at " + event.data.value("point", "?"),
                  "injected");
    }
  }

 private:
  LineChannel& channel_;
  std::mutex mutex_;
};

core::PhaseOutcome Do(const Json& job, core::Lifecycle& lifecycle) {
  const std::string verb = job.at("verb");
  if (verb == "run")
    return lifecycle.RunThrough(core::PhaseFromName(job.at("through").get<std::string>()));
  if (verb == "rollback") {
    core::RollbackOptions options;
    if (job.contains("to") && job["to"].is_string()) options.to = job["to"];
    options.lose_writes = job.value("lose_writes", false);
    return lifecycle.Rollback(options);
  }
  if (verb == "verify") return lifecycle.Verify();
  if (verb == "cleanup") return lifecycle.Cleanup();
  if (verb == "reset") return lifecycle.Reset(job.value("dry_run", false));
  throw Error(ErrorKind::kInternal, "an engine job with an unknown verb: " + verb);
}

}  // namespace

int RunEngineChild(const core::Registry& registry, const std::function<bool()>& stop) {
  LineChannel channel(kEngineIn, kEngineOut);
  Json result = {{"kind", "result"}};
  try {
    const auto line = channel.Read();
    if (!line) throw Error(ErrorKind::kInvalidSpec, "`engine` is started by `run`, not by hand");
    const Json job = ParseJson(*line, "engine job");
    std::map<std::string, db::Endpoint> databases;
    for (const auto& [name, uri] : job.at("databases").items()) {
      databases.emplace(name, db::Endpoint::Parse(uri.get<std::string>()));
    }
    const core::Spec spec =
        core::Spec::Parse(job.at("document"), job.at("id"), job.at("folder").get<std::string>(),
                          job.at("where"), registry, databases);
    ChannelProbe probe(channel);
    core::Lifecycle lifecycle(spec, registry, {.probe = &probe, .stop = stop, .rehearsal = true});
    const core::PhaseOutcome outcome = Do(job, lifecycle);
    result.update({{"outcome", core::OutcomeName(outcome.kind)},
                   {"state", core::StateName(outcome.state)},
                   {"message", outcome.message}});
  } catch (const Error& error) {
    result.update({{"outcome", error.kind() == ErrorKind::kInvalidSpec ? "refused" : "failed"},
                   {"message", error.what()},
                   {"error_kind", ErrorKindName(error.kind())},
                   {"code", error.code()}});
  } catch (const std::exception& error) {
    result.update({{"outcome", "failed"}, {"message", error.what()}, {"error_kind", "internal"}});
  }
  try {
    channel.Write(ToLine(result));
  } catch (const std::exception&) {  // the runner is gone: nobody to tell
    return 70;
  }
  return 0;
}

}  // namespace understudy::harness
