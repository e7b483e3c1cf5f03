#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/process.h"
#include "harness/world/world.h"

// The container engine, through its command.
namespace understudy::harness {

// Labels of every container of ours: whose run, and (kOwnerLabel) which process.
constexpr const char* kRunLabel = "understudy.run";

// `docker ARGUMENTS…`. Error(kEnvironment) when the command is missing; else see the outcome.
Outcome Docker(std::vector<std::string> arguments,
               std::chrono::milliseconds deadline = std::chrono::seconds(60),
               const std::function<bool()>& stop = {});

// The engine's version when one answers now, else nullopt. Starts nothing.
std::optional<std::string> EngineVersion();

// Makes sure that an engine answers: where one is installed and does not run, and we may, it is
// started. Error(kEnvironment) "no container engine…" with how to get one. Any thread.
void EnsureEngine(const ProvisionOptions& options);

// The image for `spec`, there for certain: ours is built when it is not (minutes, once), one by
// name is pulled. Error(kEnvironment) with the next step when neither can be.
std::string EnsureImage(const DatabaseSpec& spec, const ProvisionOptions& options);

// Name of our image for `major`, and whether it is built.
struct OurImage {
  std::string name;
  bool built = false;
};
std::optional<OurImage> FindOurImage(int major, bool postgis);

// Removes the containers of dead processes; a line for each.
std::vector<std::string> RemoveDeadContainers();

}  // namespace understudy::harness
