#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/db/endpoint.h"

namespace understudy::core {

class Registry;

// "limits" of a migration file. What a file does not say has the default of docs/migrations.md.
struct Limits {
  std::optional<std::int64_t> lock_timeout_ms;  // said in the file; strategies of ours: 500
  std::int64_t log_max_bytes = 1073741824;
  std::int64_t cutover_budget_ms = 60000;
  std::int64_t statement_timeout_ms = 0;  // 0 = none
  std::optional<std::int64_t> rows_per_s;
  std::optional<std::int64_t> bytes_per_s;
  int jobs = 2;
  std::int64_t chunk_rows = 10000;
  std::int64_t chunk_bytes = 8388608;
  std::int64_t pause_ms = 0;
};

// One migration as it is to be run: the value of "migration" in a scenario, or a migration file.
struct Spec {
  std::string id;  // names the journal
  std::string strategy;
  Json document;  // as given, without comments
  // SHA-256 of what makes the outcome: a file that changed in that is refused between phases.
  // Limits may change, except log_max_bytes, which triggers in the database hold.
  std::string digest;
  std::filesystem::path folder;  // relative paths in the document are relative to it
  Limits limits;
  std::map<std::string, db::Endpoint> endpoints;  // by role: "on", "source", "target"

  // REQUIRES: the strategy has that role. "on" for sql and command; "target" else.
  const db::Endpoint& Endpoint(const std::string& role) const;
  // The database that holds the journal: "target" if there is one, else "on".
  const db::Endpoint& Target() const;
  // document[key] as an absolute path.
  std::filesystem::path Path(const std::string& text) const;

  // `document`: the migration. `databases`: what the names in "on", "source", "target" stand for
  // (a scenario's); a value that is not in it is an endpoint. `where` names the file in messages.
  // Unknown keys, a missing required one and a wrong type are Error(kInvalidSpec) with the JSON
  // pointer and what is allowed.
  static Spec Parse(const Json& document, const std::string& default_id,
                    const std::filesystem::path& folder, const std::string& where,
                    const Registry& registry,
                    const std::map<std::string, db::Endpoint>& databases = {});
};

}  // namespace understudy::core
