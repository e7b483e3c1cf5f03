#pragma once

#include <functional>
#include <memory>
#include <string>

#include "harness/world/fixture.h"
#include "harness/world/world.h"

// What the provisioners share. One function each; Provision() chooses.
namespace understudy::harness {

std::unique_ptr<Lease> ProvisionLocal(const DatabaseSpec& spec, const ProvisionOptions& options);
std::unique_ptr<Lease> ProvisionDocker(const DatabaseSpec& spec, const ProvisionOptions& options);
std::unique_ptr<Lease> ProvisionSqlite(const DatabaseSpec& spec, const ProvisionOptions& options);
std::unique_ptr<Lease> ProvisionExternal(const DatabaseSpec& spec, const ProvisionOptions& options);

// Why `local` cannot serve `spec` on this machine, with what to do; "" when it can.
std::string WhyNotLocal(const DatabaseSpec& spec);

// A digest of everything that decides a database's first content: fixture files, generators, seed,
// scale, extensions, the source of a copy. "" when it cannot be known beforehand (a source that is
// being written): then nothing is kept.
std::string ContentKey(const DatabaseSpec& spec, const std::string& server_version);

// Fills an empty database: extensions, then the fixture or the copy, then statistics.
// `tools_image`: see ClientTools::Find.
void Fill(const DatabaseSpec& spec, const db::Endpoint& database, const ProvisionOptions& options,
          const std::string& tools_image = "");

// What the fixture's loader must know, `major` being the server's (0: SQLite).
FixtureContext ContextFor(const DatabaseSpec& spec, const ProvisionOptions& options, int major);

// Whether there is anything to fill it with.
bool IsEmpty(const DatabaseSpec& spec);

inline void Tell(const ProvisionOptions& options, const std::string& what) {
  if (options.progress) options.progress(what);
}

}  // namespace understudy::harness
