#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "engine/base/json.h"
#include "engine/core/spec.h"

namespace understudy::core {

// Something that happened in the engine. `kind` is one of phase, point, statement, held, output,
// progress, log; the keys of `data` are those of the evidence of the same kind.
struct Event {
  std::string_view kind;
  const Json& data;
};

// Is told what happens, where it happens, on the thread that does it: it feeds progress bars, the
// observer's clock and the white-box faults. At a point, a throw is a failure at that point, a
// block is a slow point.
class Probe {
 public:
  virtual ~Probe() = default;
  virtual void OnEvent(const Event& event) = 0;
};

// What a strategy sees of the world around it. Its const members may be called from the threads of
// ForEachParallel; the probe is called by one thread at a time.
class Context {
 public:
  // `probe` and `stop` may be empty; both outlive the context.
  Context(const Spec& spec, Probe* probe, std::function<bool()> stop, bool rehearsal)
      : spec_(spec), probe_(probe), stop_(std::move(stop)), rehearsal_(rehearsal) {}

  const Spec& spec() const { return spec_; }
  // True in a scenario: what would refuse to touch production may be tried here.
  bool rehearsal() const { return rehearsal_; }

  // Passes a point of the table. Error(kInternal) when it is not in the table.
  void At(std::string_view point, Json attributes = Json::object()) const;
  // Tells an event; "migration" and "phase" are added.
  void Tell(std::string_view kind, Json data) const;
  void Log(std::string_view level, std::string_view text) const;

  // Throws Error(kCancelled) when somebody asked to stop. Called between units of work.
  void ThrowIfStopped() const;
  bool stopped() const { return stop_ && stop_(); }

  // While the operator's file exists, nothing is copied, brought over or cut over. Called between
  // units of work and between the pieces of a copy; throws as ThrowIfStopped() does.
  void WaitWhilePaused() const;
  void set_pause_file(std::filesystem::path file) { pause_file_ = std::move(file); }

  void set_phase(std::string_view phase) { phase_ = phase; }
  const std::string& phase() const { return phase_; }

  // The verb is prepare: what sync would check after the copy waits for it.
  void set_preparing(bool preparing) { preparing_ = preparing; }
  bool preparing() const { return preparing_; }

  // The journal's epoch that this process works under: what Journal::CheckEpoch is asked with in
  // every writing transaction. 0 before a migration has begun.
  void set_epoch(std::int64_t epoch) { epoch_ = epoch; }
  std::int64_t epoch() const { return epoch_; }

 private:
  const Spec& spec_;
  Probe* probe_;
  std::function<bool()> stop_;
  bool rehearsal_;
  std::string phase_;
  bool preparing_ = false;
  std::int64_t epoch_ = 0;
  std::filesystem::path pause_file_;
  mutable std::atomic<bool> paused_ = false;
  mutable std::recursive_mutex telling_;
};

}  // namespace understudy::core
