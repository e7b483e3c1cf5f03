#include "engine/core/spec.h"

#include <algorithm>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/core/registry.h"

namespace understudy::core {
namespace {

std::string JoinKeys(const StrategyInfo& info) {
  std::string keys = "strategy, id, limits";
  for (const auto* list : {&info.required, &info.optional}) {
    for (const std::string& key : *list) keys += ", " + key;
  }
  return keys;
}

std::int64_t Number(const Json& limits, const char* key, std::int64_t fallback,
                    const std::string& where) {
  const auto it = limits.find(key);
  if (it == limits.end() || it->is_null()) return fallback;
  if (!it->is_number_integer() || it->get<std::int64_t>() < 0) {
    FailAt(where, std::string("/limits/") + key, "a whole number that is not negative is needed");
  }
  return it->get<std::int64_t>();
}

std::optional<std::int64_t> MaybeNumber(const Json& limits, const char* key,
                                        const std::string& where) {
  if (!limits.contains(key) || limits[key].is_null()) return std::nullopt;
  return Number(limits, key, 0, where);
}

Limits ParseLimits(const Json& document, const std::string& where) {
  static constexpr const char* kKeys[] = {
      "lock_timeout_ms", "log_max_bytes", "cutover_budget_ms", "statement_timeout_ms", "rows_per_s",
      "bytes_per_s",     "jobs",          "chunk_rows",        "chunk_bytes",          "pause_ms"};
  Limits limits;
  if (!document.contains("limits")) return limits;
  const Json& given = document["limits"];
  if (!given.is_object()) FailAt(where, "/limits", "an object is needed");
  for (const auto& [key, value] : given.items()) {
    if (std::ranges::find(kKeys, key) == std::end(kKeys)) {
      std::string allowed;
      for (const char* known : kKeys) allowed += (allowed.empty() ? "" : ", ") + std::string(known);
      FailAt(where, "/limits/" + key, "unknown key; allowed: " + allowed);
    }
  }
  limits.lock_timeout_ms = MaybeNumber(given, "lock_timeout_ms", where);
  limits.log_max_bytes = Number(given, "log_max_bytes", limits.log_max_bytes, where);
  limits.cutover_budget_ms = Number(given, "cutover_budget_ms", limits.cutover_budget_ms, where);
  limits.statement_timeout_ms = Number(given, "statement_timeout_ms", 0, where);
  limits.rows_per_s = MaybeNumber(given, "rows_per_s", where);
  limits.bytes_per_s = MaybeNumber(given, "bytes_per_s", where);
  limits.jobs = static_cast<int>(std::max<std::int64_t>(1, Number(given, "jobs", 2, where)));
  limits.chunk_rows =
      std::max<std::int64_t>(1, Number(given, "chunk_rows", limits.chunk_rows, where));
  limits.chunk_bytes =
      std::max<std::int64_t>(1, Number(given, "chunk_bytes", limits.chunk_bytes, where));
  limits.pause_ms = Number(given, "pause_ms", 0, where);
  return limits;
}

Json WhatMakesTheOutcome(Json document) {
  const Json limits = document.value("limits", Json::object());
  document.erase("limits");
  if (const auto it = limits.find("log_max_bytes"); it != limits.end()) {
    document["limits"]["log_max_bytes"] = *it;
  }
  return document;
}

}  // namespace

const db::Endpoint& Spec::Endpoint(const std::string& role) const {
  const auto it = endpoints.find(role);
  if (it == endpoints.end()) {
    throw Error(ErrorKind::kInvalidSpec, "the migration has no '" + role + "'");
  }
  return it->second;
}

const db::Endpoint& Spec::Target() const {
  return endpoints.contains("target") ? Endpoint("target") : Endpoint("on");
}

std::filesystem::path Spec::Path(const std::string& text) const {
  const std::filesystem::path path(text);
  return path.is_absolute() ? path : (folder / path).lexically_normal();
}

Spec Spec::Parse(const Json& document, const std::string& default_id,
                 const std::filesystem::path& folder, const std::string& where,
                 const Registry& registry, const std::map<std::string, db::Endpoint>& databases) {
  if (!document.is_object()) FailAt(where, "", "an object is needed");
  if (!document.contains("strategy") || !document["strategy"].is_string()) {
    FailAt(where, "/strategy", "the name of a strategy is needed");
  }
  Spec spec;
  spec.strategy = document["strategy"].get<std::string>();
  const StrategyInfo* info = nullptr;
  try {
    info = &registry.Find(spec.strategy);
  } catch (const Error& error) {
    throw Error(error.kind(), where + ": " + error.message());
  }
  const auto known = [&](const std::string& key) {
    return key == "strategy" || key == "id" || key == "limits" || key == "$schema" ||
           std::ranges::find(info->required, key) != info->required.end() ||
           std::ranges::find(info->optional, key) != info->optional.end();
  };
  for (const auto& [key, value] : document.items()) {
    if (!known(key)) {
      FailAt(where, "/" + key,
             "the strategy '" + spec.strategy + "' knows no such key; allowed: " + JoinKeys(*info));
    }
  }
  for (const std::string& key : info->required) {
    if (!document.contains(key) || document[key].is_null()) {
      FailAt(where, "/" + key, "the strategy '" + spec.strategy + "' needs this key");
    }
  }
  spec.id = document.value("id", default_id);
  spec.document = document;
  spec.digest = Sha256Hex(ToLine(WhatMakesTheOutcome(document)));
  spec.folder = folder;
  spec.limits = ParseLimits(document, where);
  for (const std::string& key : info->endpoint_keys) {
    if (!document.contains(key) || document[key].is_null()) continue;
    if (!document[key].is_string()) FailAt(where, "/" + key, "an endpoint is needed");
    const std::string text = document[key].get<std::string>();
    const auto named = databases.find(text);
    try {
      spec.endpoints.emplace(
          key, named != databases.end() ? named->second : db::Endpoint::Parse(text, folder));
    } catch (const Error& error) {
      FailAt(where, "/" + key, error.message());
    }
  }
  if (info->resolve) info->resolve(spec);
  return spec;
}

}  // namespace understudy::core
