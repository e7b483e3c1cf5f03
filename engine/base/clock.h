#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace understudy {

using SteadyClock = std::chrono::steady_clock;  // durations; a step of the wall clock changes none

// Milliseconds since `start`, as a fraction.
double MillisecondsSince(SteadyClock::time_point start);

// "2026-11-21T01:02:03.456Z"
std::string FormatUtc(std::chrono::system_clock::time_point when);
std::string UtcNow();

// "2026-11-21T01-02-03Z": a moment as a folder's name.
std::string UtcFolderName(std::chrono::system_clock::time_point when);

}  // namespace understudy
