#include "engine/base/clock.h"

#include <fmt/format.h>

#include <ctime>

namespace understudy {
namespace {
std::tm UtcParts(std::chrono::system_clock::time_point when) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return parts;
}
}  // namespace

double MillisecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - start).count();
}

std::string FormatUtc(std::chrono::system_clock::time_point when) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(when);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(when - whole).count();
  const std::tm t = UtcParts(whole);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", t.tm_year + 1900, t.tm_mon + 1,
                     t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, millis);
}

std::string UtcNow() { return FormatUtc(std::chrono::system_clock::now()); }

std::string UtcFolderName(std::chrono::system_clock::time_point when) {
  const std::tm t = UtcParts(when);
  return fmt::format("{:04}-{:02}-{:02}T{:02}-{:02}-{:02}Z", t.tm_year + 1900, t.tm_mon + 1,
                     t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

}  // namespace understudy
