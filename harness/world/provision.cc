#include "harness/world/provision.h"

#include <algorithm>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/db/binaries.h"
#include "engine/db/session.h"
#include "harness/world/copy.h"
#include "harness/world/server.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

constexpr int kKeyFormat = 1;  // raise it when Fill() fills differently

// A file's content, or that of all files below a folder with their names.
std::string DigestOfPath(const fs::path& path) {
  if (!fs::is_directory(path)) return Sha256HexOfFile(path);
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::string all;
  for (const fs::path& file : files) {
    all += fs::relative(file, path).string() + "\n" + Sha256HexOfFile(file) + "\n";
  }
  return Sha256Hex(all);
}

}  // namespace

bool IsEmpty(const DatabaseSpec& spec) {
  return !spec.from && spec.extensions.empty() && (spec.fixture.is_null() || spec.fixture.empty());
}

std::string ContentKey(const DatabaseSpec& spec, const std::string& server_version) {
  Json key;
  key["format"] = kKeyFormat;
  key["engine"] = spec.engine;
  key["server"] = server_version;
  key["extensions"] = spec.extensions;
  Json files = Json::array();
  if (!spec.fixture.is_null() && !spec.fixture.empty()) {
    // The seed decides nothing where rows are neither made nor loaded by it.
    files.push_back(FixtureDigest(spec.fixture, ContextFor(spec, {}, 0)));
  }
  if (spec.from) {
    key["from"] = *spec.from;
    std::error_code ignored;
    if (fs::exists(*spec.from, ignored)) {
      files.push_back(DigestOfPath(*spec.from));
      // What an SQLite file's WAL holds belongs to it.
      if (fs::exists(*spec.from + "-wal", ignored))
        files.push_back(DigestOfPath(*spec.from + "-wal"));
    } else if (spec.engine == "postgres" && KindOfSource(*spec.from) == SourceKind::kEndpoint) {
      const std::string digest = DigestOfSource(*spec.from);
      if (digest.empty()) return "";
      files.push_back(digest);
    } else {
      return "";
    }
  }
  key["files"] = std::move(files);
  return Sha256Hex(ToLine(key));
}

void Fill(const DatabaseSpec& spec, const db::Endpoint& database, const ProvisionOptions& options,
          const std::string& tools_image) {
  CreateExtensions(database, spec.extensions);
  if (spec.from && database.engine() == db::Engine::kPostgres) {
    CopyInto(spec, database, tools_image, options);
  }
  if (IsEmpty(spec)) return;
  const bool postgres = database.engine() == db::Engine::kPostgres;
  db::SessionOptions as_user;
  as_user.settings = db::Settings::kUsers;
  const FixtureContext context =
      ContextFor(spec, options, postgres ? db::Connect(database)->Server().major() : 0);
  if (spec.from && !postgres && fs::path(*spec.from).extension() == ".sql") {
    LoadSqlFile(database, *spec.from, context);
  }
  if (!spec.fixture.is_null() && !spec.fixture.empty()) {
    Tell(options, "loading the fixture");
    LoadFixture(database, spec.fixture, context);
  }
  // As a database in service has them: statistics, visibility map.
  if (postgres) db::Connect(database, as_user)->Execute("VACUUM ANALYZE");
}

FixtureContext ContextFor(const DatabaseSpec& spec, const ProvisionOptions& options, int major) {
  FixtureContext context;
  context.seed = spec.seed;
  context.scale = spec.scale;
  context.progress = options.progress;
  context.stop = options.stop;
  context.run_migrations = options.run_migrations;
  for (const db::Binaries& found :
       db::FindBinaries()) {  // the newest first: a newer one does as well
    if (found.client && found.major >= major) context.psql = found.folder / "psql";
  }
  return context;
}

bool Lease::IsThere() const {
  std::error_code ignored;
  return endpoint().engine() != db::Engine::kSqlite ||
         std::filesystem::exists(endpoint().file(), ignored);
}

std::unique_ptr<Lease> Provision(const DatabaseSpec& spec, const ProvisionOptions& options) {
  return During("database " + spec.name, [&]() -> std::unique_ptr<Lease> {
    if (spec.version && *spec.version < db::kOldestMajor) {
      throw Error(ErrorKind::kUnsupported, "PostgreSQL " + std::to_string(*spec.version) +
                                               " is too old; understudy works with 12 and newer");
    }
    if (spec.provision == "external") return ProvisionExternal(spec, options);
    if (spec.engine == "sqlite") return ProvisionSqlite(spec, options);
    if (spec.provision == "local") return ProvisionLocal(spec, options);
    if (spec.provision == "docker") return ProvisionDocker(spec, options);
    const std::string why_not_local = WhyNotLocal(spec);
    if (why_not_local.empty()) return ProvisionLocal(spec, options);
    try {
      return ProvisionDocker(spec, options);
    } catch (const Error& error) {
      if (error.code() != "no-container-engine") throw;
      throw Error(ErrorKind::kEnvironment,
                  error.message() + "; and not without one either: " + why_not_local, error.code());
    }
  });
}

}  // namespace understudy::harness
