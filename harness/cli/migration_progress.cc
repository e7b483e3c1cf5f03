#include "harness/cli/migration_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "engine/base/log.h"
#include "engine/base/redact.h"
#include "harness/cli/program.h"

namespace understudy::cli {
namespace {
constexpr double kLiveEveryMs = 200;
constexpr double kPlainEveryMs = 5000;

std::string Scaled(double value, const char* const (&units)[4], double step) {
  std::size_t unit = 0;
  for (; value >= step && unit + 1 < std::size(units); ++unit) value /= step;
  return fmt::format("{:.{}f}{}", value, unit == 0 ? 0 : 1, units[unit]);
}

std::string Duration(double ms) {
  const auto seconds = static_cast<std::int64_t>(ms / 1000);
  if (seconds < 60) return fmt::format("{:.1f} s", ms / 1000);
  if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {} min", seconds / 3600, seconds / 60 % 60);
}

std::string DescribeStatement(const Json& d) {
  std::string locks;
  for (const Json& lock : d.value("locks", Json::array())) {
    locks += fmt::format("{}{} on {}", locks.empty() ? "" : ", ", lock.value("mode", "?"),
                         lock.value("object", "?"));
  }
  return fmt::format("{}:{}  {:.0f} ms{}{}", d.value("file", "?"), d.value("line", 0),
                     d.value("ms", 0.0), locks.empty() ? "" : "  ", locks);
}

std::optional<double> Number(const Json& data, const char* key) {
  const auto it = data.find(key);
  if (it == data.end() || !it->is_number()) return std::nullopt;
  return it->get<double>();
}

// "12.3k of 40.0k rows, 1.2 MB of 4.0 MB, 3.1k rows/s, 9.0 s left, 12 writes pending"; "" when
// there is nothing to say. `first`: what was told `elapsed_ms` ago; what a phase does before its
// first row is no part of the rate.
std::string DescribeProgress(const Json& data, const Json& first, double elapsed_ms) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  const double rows = Number(data, "rows_done").value_or(0);
  const auto rows_total = Number(data, "rows_total");
  const double bytes = Number(data, "bytes_done").value_or(0);
  const auto bytes_total = Number(data, "bytes_total");
  if (rows > 0 || rows_total) {
    add(Rows(rows) + (rows_total ? " of " + Rows(*rows_total) : "") + " rows");
  }
  if (bytes > 0) add(Bytes(bytes) + (bytes_total ? " of " + Bytes(*bytes_total) : ""));
  const double more_rows = rows - Number(first, "rows_done").value_or(0);
  if (elapsed_ms > 500 && more_rows > 0) {
    add(fmt::format("{} rows/s", Rows(1000 * more_rows / elapsed_ms)));
    const bool by_bytes = bytes_total && bytes > 0;
    const double more = by_bytes ? bytes - Number(first, "bytes_done").value_or(0) : more_rows;
    const double left = by_bytes ? *bytes_total - bytes : rows_total.value_or(rows) - rows;
    if (left > 0 && more > 0) add(Duration(elapsed_ms * left / more) + " left");
  }
  const double pending = Number(data, "pending_writes").value_or(0);
  if (pending > 0) add(fmt::format("{} writes pending", Rows(pending)));
  const std::string what = data.value("what", data.value("table", ""));
  if (text.empty()) return what;
  return what.empty() ? text : what + ": " + text;
}
}  // namespace

std::string Bytes(double bytes) {
  static constexpr const char* kUnits[] = {" B", " kB", " MB", " GB"};
  return Scaled(bytes, kUnits, 1000);
}

std::string Rows(double rows) {
  static constexpr const char* kUnits[] = {"", "k", "M", "G"};
  return Scaled(rows, kUnits, 1000);
}

MigrationProgress::MigrationProgress(bool quiet)
    : quiet_(quiet), live_(Colour(STDERR_FILENO) && !quiet) {}

MigrationProgress::~MigrationProgress() { EraseLive(); }

void MigrationProgress::EraseLive() {
  if (!drawn_) return;
  std::fputs("\r\033[2K", stderr);
  drawn_ = false;
}

void MigrationProgress::Line(const std::string& text) {
  log::Info(text);
  if (quiet_) return;
  EraseLive();
  fmt::print(stderr, "{}\n", text);
  std::fflush(stderr);
}

void MigrationProgress::Progress(const Json& data) {
  if (first_.is_null()) {
    first_ = data;
    first_at_ = SteadyClock::now();
  }
  const double since_last = MillisecondsSince(last_progress_);
  if (since_last < (live_ ? kLiveEveryMs : kPlainEveryMs)) return;
  last_progress_ = SteadyClock::now();
  const std::string text = DescribeProgress(data, first_, MillisecondsSince(first_at_));
  if (text.empty()) return;
  if (!live_) {
    Line("  " + text);
    return;
  }
  log::Info("  " + text);
  fmt::print(stderr, "\r\033[2K  {}", text.substr(0, 100));
  drawn_ = true;
  std::fflush(stderr);
}

void MigrationProgress::OnEvent(const core::Event& event) {
  const Json& d = event.data;
  if (event.kind == "phase" && d.value("status", "") == "begin") {
    phase_ = d.value("phase", "");
    last_progress_ = SteadyClock::now();
    first_ = nullptr;
    Line(phase_ + "…");
  } else if (event.kind == "phase") {
    const std::string message = Redact(d.value("message", ""));
    log::Info(fmt::format("{} {} after {}{}", d.value("phase", ""), d.value("outcome", ""),
                          Duration(d.value("duration_ms", 0.0)),
                          message.empty() ? "" : ": " + message));
  } else if (event.kind == "point") {
    log::Info(fmt::format("  point {} {}", d.value("point", ""),
                          ToLine(d.value("attributes", Json::object()))));
  } else if (event.kind == "progress") {
    Progress(d);
  } else if (event.kind == "statement") {
    Line("  " + Redact(DescribeStatement(d)));
  } else if (event.kind == "output" || event.kind == "log") {
    Line("  " + Redact(d.value("text", "")));
  }
}

}  // namespace understudy::cli
