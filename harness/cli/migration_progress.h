#pragma once

#include <string>

#include "engine/base/clock.h"
#include "engine/core/context.h"

namespace understudy::cli {

// What a person sees of a real migration: a line on stderr per phase, statement and message, one
// live line with rows, bytes, rate and remaining time while rows travel (a plain line every few
// seconds where stderr is no terminal); and all of it, with times, in the log file. Secrets are
// taken out of both.
class MigrationProgress : public core::Probe {
 public:
  // `quiet`: the log file only.
  explicit MigrationProgress(bool quiet);
  ~MigrationProgress() override;
  void OnEvent(const core::Event& event) override;

 private:
  void Line(const std::string& text);
  void Progress(const Json& data);
  void EraseLive();

  bool quiet_;
  bool live_;
  bool drawn_ = false;
  std::string phase_;
  Json first_;  // progress of this phase; null = none yet
  SteadyClock::time_point first_at_;
  SteadyClock::time_point last_progress_;
};

// "1.2 GB", "12.3 k": for people.
std::string Bytes(double bytes);
std::string Rows(double rows);

}  // namespace understudy::cli
