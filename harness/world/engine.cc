#include "harness/world/engine.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/owner.h"
#include "engine/base/redact.h"
#include "engine/db/binaries.h"
#include "harness/world/provision.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

constexpr std::chrono::seconds kEngineStart{30};
constexpr std::chrono::minutes kBuild{30};
constexpr std::chrono::minutes kPull{10};
constexpr int kOurMajors[] = {17, 15, 13};  // the newest first

std::string LastLines(std::string text, std::size_t bytes = 600) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.size() > bytes) text.erase(0, text.size() - bytes);
  return Redact(text);
}

std::string Trim(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.pop_back();
  }
  return text;
}

[[noreturn]] void NoEngine(const std::string& why) {
  throw Error(ErrorKind::kEnvironment, "no container engine: " + why, "no-container-engine");
}

// A pid file whose process is gone makes the next engine refuse to start.
void RemoveStale(const fs::path& pid_file, const std::vector<fs::path>& beside,
                 const std::string& program) {
  std::ifstream in(pid_file);
  pid_t pid = 0;
  if (!(in >> pid)) return;
  std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(comm, name);
  if (ProcessLives(pid) && name == program) return;
  std::error_code ignored;
  fs::remove(pid_file, ignored);
  for (const fs::path& file : beside) fs::remove(file, ignored);
}

void StartEngine(const ProvisionOptions& options) {
  const char* host = std::getenv("DOCKER_HOST");
  if (host != nullptr && *host != '\0')
    NoEngine("none answers at DOCKER_HOST=" + std::string(host));
  const std::string how = "start it (service docker start), or become a member of the group docker";
  if (::geteuid() != 0) NoEngine("docker is installed and its engine does not answer us: " + how);
  if (FindProgram("dockerd").empty()) {
    NoEngine("the command docker is here, the engine is not: apt-get install docker.io");
  }
  Tell(options, "starting the container engine");
  std::error_code ignored;
  if (fs::exists("/run/systemd/system", ignored)) {
    RunCommand({.argv = {"systemctl", "start", "docker"}, .deadline = kEngineStart});
  } else {
    RemoveStale("/var/run/docker.pid", {}, "dockerd");
    RemoveStale("/var/run/docker/containerd/containerd.pid",
                {"/var/run/docker/containerd/containerd.sock",
                 "/var/run/docker/containerd/containerd.sock.ttrpc"},
                "containerd");
    // It goes on after us, as a service would.
    RunCommand({.argv = {"sh", "-c",
                         "setsid dockerd >/var/log/understudy-dockerd.log 2>&1 "
                         "</dev/null &"}});
  }
  const auto started = SteadyClock::now();
  while (!EngineVersion()) {
    if (options.stop && options.stop()) {
      throw Error(ErrorKind::kCancelled, "stopped while the container engine started");
    }
    if (SteadyClock::now() - started > kEngineStart) {
      std::string log;
      if (fs::exists("/var/log/understudy-dockerd.log", ignored)) {
        log = ": " + LastLines(ReadFile("/var/log/understudy-dockerd.log"));
      }
      NoEngine("it is installed and did not start" + log);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

std::vector<std::string> BuildCommand(int major, bool postgis, bool name_only) {
  std::vector<std::string> argv = {(ShippedPath("docker") / "build.sh").string()};
  if (name_only) argv.push_back("--name");
  argv.push_back(std::to_string(major));
  if (postgis) argv.push_back("postgis");
  return argv;
}

bool IsOurs(int major) {
  return std::find(std::begin(kOurMajors), std::end(kOurMajors), major) != std::end(kOurMajors);
}

std::string Build(int major, bool postgis, const ProvisionOptions& options) {
  Tell(options, "building the image of PostgreSQL " + std::to_string(major) + " (a minute, once)");
  Command command;
  command.argv = BuildCommand(major, postgis, false);
  command.deadline = kBuild;
  const Outcome outcome = RunCommand(command, options.stop);
  if (options.stop && options.stop()) {
    throw Error(ErrorKind::kCancelled, "stopped while an image was built");
  }
  if (!outcome.ok()) {
    const bool full = outcome.err.find("No space left") != std::string::npos;
    throw Error(ErrorKind::kEnvironment,
                "the image of PostgreSQL " + std::to_string(major) +
                    " is not there and could not be built: " + LastLines(outcome.err),
                full ? "ENOSPC" : "no-image");
  }
  const std::string out = Trim(outcome.out);
  return out.substr(out.rfind('\n') + 1);  // npos + 1 = 0
}

std::string Pull(const std::string& image, const ProvisionOptions& options) {
  if (Docker({"image", "inspect", "--format", "{{.Id}}", image}).ok()) return image;
  Tell(options, "pulling the image " + image);
  const Outcome outcome = Docker({"pull", "-q", image}, kPull, options.stop);
  if (options.stop && options.stop()) {
    throw Error(ErrorKind::kCancelled, "stopped while an image was pulled");
  }
  if (!outcome.ok()) {
    throw Error(ErrorKind::kEnvironment,
                "the image " + image +
                    " is not here and cannot be pulled: " + LastLines(outcome.err) +
                    "; load it (docker load), name another, or leave \"image\" out to use ours "
                    "(docker/build.sh 13|15|17)",
                "no-image");
  }
  return image;
}

}  // namespace

Outcome Docker(std::vector<std::string> arguments, std::chrono::milliseconds deadline,
               const std::function<bool()>& stop) {
  if (FindProgram("docker").empty()) {
    NoEngine("the command docker is missing: apt-get install docker.io");
  }
  Command command;
  command.argv = {"docker"};
  command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
  command.deadline = deadline;
  Outcome outcome = RunCommand(command, stop);
  if (outcome.deadline_passed) outcome.err += "\ndocker did not answer in time";
  return outcome;
}

std::optional<std::string> EngineVersion() {
  if (FindProgram("docker").empty()) return std::nullopt;
  const Outcome outcome =
      Docker({"version", "--format", "{{.Server.Version}}"}, std::chrono::seconds(20));
  if (!outcome.ok() || Trim(outcome.out).empty()) return std::nullopt;
  return Trim(outcome.out);
}

void EnsureEngine(const ProvisionOptions& options) {
  static std::mutex mutex;
  static bool answered = false;
  const std::lock_guard lock(mutex);
  if (answered) return;
  if (FindProgram("docker").empty()) {
    NoEngine("the command docker is missing: apt-get install docker.io");
  }
  if (!EngineVersion()) StartEngine(options);
  answered = true;
}

std::optional<OurImage> FindOurImage(int major, bool postgis) {
  if (!IsOurs(major) || (postgis && major != 15)) return std::nullopt;
  Command command;
  command.argv = BuildCommand(major, postgis, true);
  command.deadline = std::chrono::seconds(30);
  const Outcome outcome = RunCommand(command);
  return OurImage{Trim(outcome.out), outcome.ok()};
}

std::string EnsureImage(const DatabaseSpec& spec, const ProvisionOptions& options) {
  if (spec.image) return Pull(*spec.image, options);
  bool postgis = false;
  for (const std::string& extension : spec.extensions) {
    postgis = postgis || extension.rfind("postgis", 0) == 0;
  }
  if (spec.version && *spec.version < db::kOldestMajor) {
    throw Error(ErrorKind::kUnsupported, "PostgreSQL " + std::to_string(*spec.version) +
                                             " is too old; understudy works with 12 and newer");
  }
  if (postgis && spec.version && *spec.version != 15) {
    throw Error(ErrorKind::kEnvironment,
                "our image with PostGIS is for PostgreSQL 15; for " +
                    std::to_string(*spec.version) +
                    " name one that has it (\"image\": \"postgis/postgis:…\")",
                "no-image");
  }
  if (spec.version && !IsOurs(*spec.version)) {
    return Pull("postgres:" + std::to_string(*spec.version), options);
  }
  // Of several parallel scenarios the first one builds.
  static std::mutex building;
  const std::lock_guard lock(building);
  if (!spec.version && !postgis) {
    for (const int major : kOurMajors) {
      const auto image = FindOurImage(major, false);
      if (image && image->built) return image->name;
    }
  }
  const int major = spec.version.value_or(15);
  const auto image = FindOurImage(major, postgis);
  if (image && image->built) return image->name;
  return Build(major, postgis, options);
}

std::vector<std::string> RemoveDeadContainers() {
  std::vector<std::string> lines;
  if (!EngineVersion()) return lines;
  const Outcome all =
      Docker({"ps", "-a", "--filter", std::string("label=") + kOwnerLabel, "--format",
              std::string("{{.ID}}\t{{.Names}}\t{{.Label \"") + kOwnerLabel + "\"}}"});
  std::istringstream in(all.out);
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find('\t');
    const auto second = line.find('\t', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto owner = Owner::Parse(line.substr(second + 1));
    if (!owner || owner->Alive()) continue;
    if (Docker({"rm", "-f", "-v", line.substr(0, first)}).ok()) {
      lines.push_back("container " + line.substr(first + 1, second - first - 1));
    }
  }
  return lines;
}

}  // namespace understudy::harness
