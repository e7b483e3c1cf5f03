#pragma once

#include <functional>

#include "engine/core/registry.h"

namespace understudy::harness {

// The descriptors of the engine's child process: what it is told, and what it tells.
inline constexpr int kEngineIn = 3;
inline constexpr int kEngineOut = 4;

// The engine's side of a rehearsal: a process of its own, so that killing it is real. Reads one
// job from kEngineIn (a line of JSON), runs it, and writes every event as a line to kEngineOut. At
// each point it waits for the runner's answer: "go", or "fail TEXT" to fail right there. The last
// line is {"kind": "result", …}. Returns the exit status.
int RunEngineChild(const core::Registry& registry, const std::function<bool()>& stop);

}  // namespace understudy::harness
