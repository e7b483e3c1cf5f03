#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "engine/base/json.h"
#include "engine/db/endpoint.h"

namespace understudy::harness {

struct FixtureContext {
  std::uint64_t seed = 1;                          // the scenario's
  double scale = 1;                                // multiplies every generated fixture's
  std::function<void(std::string_view)> progress;  // "public.orders: 20000 of 50000 rows"
  std::function<bool()> stop;                      // true: Error(kCancelled) soon
  // Runs the migrations of {"migrations": DIR, "layout": L, "through": V} on the endpoint: the
  // engine's work, which this room may not know.
  std::function<void(const Json& item, const db::Endpoint& endpoint)> run_migrations;
  // Of the server's major version or newer, for files that pg_dump wrote.
  std::filesystem::path psql = "psql";
};

// Brings a database from what it is to what `fixture` describes: an array of items (paths
// absolute), done in order:
//   "FILE.sql"                                    statement by statement, as its owner would
//   {"generate": "ROWS.json", "scale": 2}         see generate.h
//   {"migrations": DIR, "layout": L, "through": V}
// Error(kInvalidSpec) for what is wrong with a file, "FILE:LINE: …" or "FILE: /pointer: …";
// Error(kEnvironment) when psql is needed and absent. What was loaded before an error stays.
void LoadFixture(const db::Endpoint& endpoint, const Json& fixture, const FixtureContext& context);

// One SQL file alone. A file that pg_dump wrote, or that holds commands of psql, goes through psql.
void LoadSqlFile(const db::Endpoint& endpoint, const std::filesystem::path& file,
                 const FixtureContext& context = {});

// A digest of all that decides what LoadFixture makes: the files' contents, seed and scale. Two
// databases from one digest are alike, so that one can be a template for the other.
std::string FixtureDigest(const Json& fixture, const FixtureContext& context);

}  // namespace understudy::harness
