#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "harness/world/world.h"

// `from`: a PostgreSQL database that begins as a copy of another.
namespace understudy::harness {

// What "from" says.
enum class SourceKind { kEndpoint, kPlainDump, kArchive, kSql };
SourceKind KindOfSource(const std::string& from);

// Fills the empty `database` from a dump (plain, custom, tar, directory), an SQL file or an
// endpoint, which is only read. Roles that the source's objects belong or are granted to are made
// when absent (they cannot log in). `tools_image` as in ClientTools::Find. Every error that a
// client tool reports fails the copy, but those known to be harmless: Error(kConstraint), or
// (kEnvironment) for an extension that is missing.
void CopyInto(const DatabaseSpec& spec, const db::Endpoint& database,
              const std::string& tools_image, const ProvisionOptions& options);

// Names what the source holds now; "" when it is being written, so that nobody can say.
std::string DigestOfSource(const std::string& from);

// One message of psql or pg_restore: harmless (the copy is as good without the statement), or not.
bool IsHarmlessRestoreError(std::string_view message);

// The roles that SQL of pg_dump names, in the order of their first use. For the tests.
std::vector<std::string> RolesOfLine(const std::string& line);

}  // namespace understudy::harness
