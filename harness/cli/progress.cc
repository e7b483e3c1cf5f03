#include "harness/cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "harness/cli/program.h"

namespace understudy::cli {
namespace {
constexpr std::chrono::milliseconds kRedraw{100};
constexpr std::size_t kWidth = 110;

std::string Printable(std::string_view text) {
  std::string safe;
  for (const char c : text) safe += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return safe.substr(0, kWidth);
}

std::string Describe(const harness::Event& event) {
  const Json& d = event.data;
  if (event.kind == "step" && d.value("status", "") == "begin") return d.value("name", "");
  if (event.kind == "phase" && d.value("status", "") == "begin") {
    return d.value("migration", "") + ": " + d.value("phase", "");
  }
  if (event.kind == "statement")
    return d.value("file", "") + ":" + std::to_string(d.value("line", 0));
  if (event.kind == "progress" && d.contains("rows_done")) {
    return "rows " + std::to_string(d.value("rows_done", std::int64_t{0}));
  }
  if (event.kind == "log" && d.value("level", "") == "info") return d.value("text", "");
  if (event.kind == "comparison") return "comparing rows";
  if (event.kind == "probe") return "trying " + d.value("check", "");
  return "";
}
}  // namespace

Progress::Progress(std::size_t scenarios, bool quiet)
    : total_(scenarios), quiet_(quiet), live_(Colour(STDERR_FILENO)), colour_(live_) {}

void Progress::Erase() {
  if (!live_) return;
  for (; drawn_ > 0; --drawn_) std::fputs("\033[1A\033[2K", stderr);
}

void Progress::Draw() {
  if (!live_ || quiet_) return;
  Erase();
  for (const Running& r : running_) {
    fmt::print(stderr, "  [{}/{}] {:<32} {:>5.1f} s  {}\n", ended_ + 1, total_, r.name,
               MillisecondsSince(r.since) / 1000, r.doing.substr(0, 50));
    ++drawn_;
  }
  std::fflush(stderr);
  last_draw_ = SteadyClock::now();
}

void Progress::Begins(std::size_t scenario, const std::string& name) {
  const std::lock_guard lock(mutex_);
  running_.push_back({scenario, name, "preparing", SteadyClock::now()});
  if (!live_ && !quiet_) fmt::print(stderr, "{} …\n", name);
  Draw();
}

void Progress::Event(std::size_t scenario, const harness::Event& event) {
  if (!live_ || quiet_) return;
  const std::string doing = Describe(event);
  const std::lock_guard lock(mutex_);
  for (Running& r : running_) {
    if (r.scenario == scenario && !doing.empty()) r.doing = Printable(doing);
  }
  if (SteadyClock::now() - last_draw_ > kRedraw) Draw();
}

void Progress::Ends(std::size_t scenario, const reports::ScenarioReport& report) {
  const std::lock_guard lock(mutex_);
  std::erase_if(running_, [&](const Running& r) { return r.scenario == scenario; });
  ++ended_;
  if (quiet_) return;
  Erase();
  const char* colour = report.verdict == reports::Outcome::kPass   ? "\033[32m"
                       : report.verdict == reports::Outcome::kFail ? "\033[31m"
                                                                   : "\033[33m";
  fmt::print(stderr, "{}{:<7}{} {} ({:.1f} s){}{}\n", colour_ ? colour : "",
             reports::OutcomeName(report.verdict), colour_ ? "\033[0m" : "", report.name,
             static_cast<double>(report.duration_ms) / 1000,
             report.verdict == reports::Outcome::kPass ? "" : ": ",
             report.verdict == reports::Outcome::kPass ? "" : Printable(report.summary));
  Draw();
}

void Progress::Done() {
  const std::lock_guard lock(mutex_);
  Erase();
}

}  // namespace understudy::cli
