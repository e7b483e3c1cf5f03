// PostgreSQL from this machine's own binaries: which cluster serves a scenario, and from what.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/memory.h"
#include "engine/db/binaries.h"
#include "harness/world/cluster.h"
#include "harness/world/provision.h"
#include "harness/world/server.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

// Beyond these a database may be large: its copies are not to fill the machine's memory.
constexpr double kSmallScale = 4;
constexpr std::uintmax_t kSmallFixture = 32U << 20U;

// Whether the database is known to be small, and the disk no part of what is rehearsed.
bool BelongsInMemory(const DatabaseSpec& spec) {
  if (spec.from) return false;
  for (const char* of_disk : {"fsync", "full_page_writes", "wal_sync_method", "data_sync_retry"}) {
    if (spec.settings.contains(of_disk)) return false;
  }
  if (!spec.fixture.is_array()) return true;
  std::uintmax_t bytes = 0;
  for (const Json& item : spec.fixture) {
    if (item.is_object() && item.value("scale", 1.0) * spec.scale > kSmallScale) return false;
    std::error_code ignored;
    if (item.is_string()) {
      const auto size = fs::file_size(item.get<std::string>(), ignored);
      bytes += ignored ? 0 : size;
    }
  }
  return bytes <= kSmallFixture;
}

bool RanFull(const Error& error) { return error.code() == "53100" || error.code() == "ENOSPC"; }

std::unique_ptr<Lease> Make(const db::Binaries& binaries, const DatabaseSpec& spec, DataIn where,
                            const ProvisionOptions& options) {
  const std::string key = IsEmpty(spec) ? "" : ContentKey(spec, binaries.version);
  std::shared_ptr<Cluster> cluster;
  SplitSettings settings;
  bool own = options.needs_power;
  if (!own) {
    cluster = Cluster::For(binaries, key, where, options);
    settings = Split(cluster->Maintenance(), spec.settings);
    own = !settings.server.empty();  // the other databases of the scenario must not feel them
  }
  if (own) {
    cluster = Cluster::Start(binaries, key, true, where, options);
    settings = Split(cluster->Maintenance(), spec.settings);
    ApplyServerSettings(*cluster, settings.server);
  }
  const auto make = [&] {
    const db::Endpoint maintenance = cluster->Maintenance();
    const std::string name = NewDatabaseName(options.scenario + "_" + spec.name);
    try {
      if (key.empty()) {
        CreateDatabase(maintenance, name, "");
        Fill(spec, maintenance.WithDatabase(name), options);
      } else {
        CreateDatabase(maintenance, name, cluster->Template(key, [&](const db::Endpoint& database) {
          Fill(spec, database, options);
        }));
      }
      ApplyDatabaseSettings(maintenance, name, settings.database);
    } catch (...) {
      DropDatabase(maintenance, name);
      throw;
    }
    return MakePostgresLease(cluster, name, own);
  };
  try {
    return make();
  } catch (const Error& error) {
    // Roles belong to the whole cluster: another database's fixture may have the same name.
    if (own || error.code() != "42710") throw;
  }
  own = true;
  cluster = Cluster::Start(binaries, key, true, where, options);
  return make();
}

}  // namespace

std::string WhyNotLocal(const DatabaseSpec& spec) {
  if (spec.image) return "the image " + *spec.image + " needs a container engine";
  const auto server = db::FindServer(spec.version);
  if (!server) {
    const std::string major = spec.version ? std::to_string(*spec.version) : "";
    return "no PostgreSQL " + (major.empty() ? "server" : major + " server") +
           " is installed here (looked in /usr/lib/postgresql and PATH): install the package "
           "postgresql" +
           (major.empty() ? "" : "-" + major);
  }
  for (const std::string& extension : spec.extensions) {
    if (!db::HasExtension(*server, extension)) {
      return "the extension " + extension + " is not installed for PostgreSQL " + server->version +
             ": install its package (postgresql-" + std::to_string(server->major) + "-…)";
    }
  }
  return "";
}

std::unique_ptr<Lease> ProvisionLocal(const DatabaseSpec& spec, const ProvisionOptions& options) {
  if (const std::string why = WhyNotLocal(spec); !why.empty()) {
    throw Error(ErrorKind::kEnvironment, why);
  }
  const db::Binaries binaries = *db::FindServer(spec.version);
  if (BelongsInMemory(spec) && MemoryFolder()) {
    try {
      return Make(binaries, spec, DataIn::kMemory, options);
    } catch (const Error& error) {
      if (!RanFull(error)) throw;
      Tell(options, "it does not fit into memory; once more on disk");
    }
  }
  return Make(binaries, spec, DataIn::kDisk, options);
}

void EndServers() { Cluster::EndIdle(); }

}  // namespace understudy::harness
