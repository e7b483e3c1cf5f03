// Doctor and clean: what this machine can do, and what killed runs left on it.
#include <csignal>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/owner.h"
#include "engine/base/process.h"
#include "engine/db/binaries.h"
#include "engine/db/local_server.h"
#include "engine/db/session.h"
#include "harness/world/engine.h"
#include "harness/world/world.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

Json Item(const std::string& kind, const std::string& name, const std::string& version,
          bool available, const std::string& where, const std::string& fix) {
  Json item;
  item["kind"] = kind;
  item["name"] = name;
  item["version"] = version.empty() ? Json(nullptr) : Json(version);
  item["available"] = available;
  item["where"] = where.empty() ? Json(nullptr) : Json(where);
  item["fix"] = fix.empty() ? Json(nullptr) : Json(fix);
  return item;
}

std::string ServerFix() {
  try {
    ServerUser();
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

void InspectServers(Json& items) {
  bool any = false;
  for (const db::Binaries& found : db::FindBinaries()) {
    if (!found.server) continue;
    const bool old = found.major < db::kOldestMajor;
    const std::string fix =
        old ? "PostgreSQL 12 or newer is needed: apt-get install postgresql" : ServerFix();
    items.push_back(
        Item("server", "postgresql", found.version, fix.empty(), found.folder.string(), fix));
    any = any || fix.empty();
  }
  if (!any) {
    items.push_back(Item("server", "postgresql", "", false, "",
                         "apt-get install postgresql (any version from 12 on)"));
  }
  items.push_back(Item("server", "sqlite", "", true, "built in", ""));
}

void InspectEngine(Json& items) {
  const fs::path program = FindProgram("docker");
  const auto version = EngineVersion();
  const std::string fix = version           ? ""
                          : program.empty() ? "apt-get install docker.io"
                          : FindProgram("dockerd").empty()
                              ? "apt-get install docker.io (the command is here, the engine is not)"
                              : "service docker start (a run that needs it starts it, as root)";
  items.push_back(Item("container-engine", "docker", version.value_or(""), version.has_value(),
                       program.string(), fix));
  for (const auto& [major, postgis] :
       {std::pair{13, false}, {15, false}, {15, true}, {17, false}}) {
    const std::string arguments = std::to_string(major) + (postgis ? " postgis" : "");
    const std::string build = (ShippedPath("docker") / "build.sh").string() + " " + arguments +
                              " (needs root, mmdebstrap)";
    const auto image = version ? FindOurImage(major, postgis) : std::nullopt;
    const bool built = image && image->built;
    items.push_back(Item(
        "image",
        std::string("understudy-postgres:") + std::to_string(major) + (postgis ? "-postgis" : ""),
        std::to_string(major), built, built ? image->name : "", built ? "" : build));
  }
}

void InspectTools(Json& items) {
  for (const db::Binaries& found : db::FindBinaries()) {
    if (!found.client) continue;
    items.push_back(Item("client-tool", "pg_dump", found.version, true, found.folder.string(), ""));
  }
  const auto tool = [&](const std::string& name, const std::string& package) {
    const fs::path path = FindProgram(name);
    items.push_back(Item("tool", name, "", !path.empty(), path.string(),
                         path.empty() ? "apt-get install " + package : ""));
  };
  tool("mmdebstrap", "mmdebstrap");
  bool bench = false;
  for (const db::Binaries& found : db::FindBinaries()) {
    const fs::path path = found.folder / "pgbench";
    std::error_code ignored;
    if (bench || !fs::exists(path, ignored)) continue;
    bench = true;
    items.push_back(Item("tool", "pgbench", found.version, true, path.string(), ""));
  }
  if (!bench) tool("pgbench", "postgresql-contrib");
  fs::path browser = FindProgram("chromium");
  if (browser.empty()) browser = FindProgram("google-chrome");
  items.push_back(Item("browser", "chromium", "", !browser.empty(), browser.string(),
                       browser.empty() ? "apt-get install chromium" : ""));
}

// Halves that a kill left in the cache; whole ones are kept.
void CleanCache(std::vector<std::string>& lines) {
  const fs::path cache = CacheFolder();
  std::error_code ignored;
  const auto remove_dead = [&](const fs::path& path, const std::string& pid_text) {
    const pid_t pid = std::atoi(pid_text.c_str());
    if (pid <= 0 || ProcessLives(pid)) return;
    fs::remove_all(path, ignored);
    lines.push_back("half a cache entry " + path.string());
  };
  for (const auto& version : fs::directory_iterator(cache, ignored)) {
    const std::string name = version.path().filename().string();
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(version.path(), failed)) {
      const std::string entry_name = entry.path().filename().string();
      for (const std::string prefix : {"partial-", "taken-"}) {
        if (name.rfind("postgres-", 0) == 0 && entry_name.rfind(prefix, 0) == 0) {
          remove_dead(entry.path(), entry_name.substr(prefix.size()));
        }
      }
      // KEY.db.understudy-sqlite-PID-XXXXXX.partial
      const std::string mark = ".db.understudy-sqlite-";
      if (const auto at = entry_name.find(mark); name == "sqlite" && at != std::string::npos) {
        remove_dead(entry.path(), entry_name.substr(at + mark.size()));
      }
    }
  }
}

}  // namespace

Json Inspect() {
  Json items = Json::array();
  InspectServers(items);
  InspectEngine(items);
  InspectTools(items);
  return items;
}

std::vector<std::string> CleanLeftovers() {
  // Containers first: theirs are mounts of the folders.
  std::vector<std::string> lines = RemoveDeadContainers();
  for (const FoundFolder& folder : FindOwnedFolders()) {
    if (folder.owner.Alive()) continue;
    const bool server = folder.kind == "pg" || folder.kind == "scratch";
    if (server) db::EndServerIn(folder.path);
    std::error_code failed;
    fs::remove_all(folder.path, failed);
    const std::string what = server ? "cluster " : "folder ";
    lines.push_back(what + folder.path.string() + (failed ? ": " + failed.message() : ""));
  }
  CleanCache(lines);
  return lines;
}

}  // namespace understudy::harness
