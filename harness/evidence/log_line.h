#pragma once

#include <string>

#include "harness/evidence/evidence.h"

namespace understudy::harness {

// What log.txt says of an event: `<kind>  <text>` without the moment; empty for the events that
// only a program reads (samples, points, whole comparisons' rows). Always one line.
std::string LogLine(std::string_view kind, const Json& data);

}  // namespace understudy::harness
