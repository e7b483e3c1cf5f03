#include "harness/cli/selection.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>

#include "engine/base/error.h"
#include "engine/db/identifier.h"

namespace understudy::cli {
namespace {

std::pair<std::size_t, std::size_t> ParseShard(const std::string& text) {
  const auto slash = text.find('/');
  std::size_t index = 0;
  std::size_t count = 0;
  if (slash != std::string::npos) {
    const char* end = text.data() + text.size();
    const char* middle = text.data() + slash;
    if (std::from_chars(text.data(), middle, index).ptr != middle) index = 0;
    if (std::from_chars(middle + 1, end, count).ptr != end) count = 0;
  }
  if (index < 1 || count < 1 || index > count) {
    throw UsageError("--shard " + text + ": I/N is needed, 1 <= I <= N, such as 2/4");
  }
  return {index, count};
}

}  // namespace

void ApplyEnvironment(harness::Overrides& overrides) {
  const char* provision = std::getenv("UNDERSTUDY_PROVISION");
  if (provision == nullptr || *provision == '\0') return;
  const std::string value(provision);
  if (value != "auto" && value != "local" && value != "docker" && value != "external") {
    throw UsageError("UNDERSTUDY_PROVISION is '" + value +
                     "'; allowed: auto, local, docker, external");
  }
  overrides.provision_auto = value;
}

void AddSelection(CLI::App& verb, Selection& s) {
  verb.add_option("PATH", s.paths, "Scenario files, or folders that hold them")->required();
  verb.add_option("--filter", s.filter, "Only names that match the glob");
  verb.add_option("--tag", s.tags, "Only scenarios with this tag (several: any of them)")
      ->allow_extra_args(false);
  verb.add_option("--shard", s.shard, "The I-th of N equal parts");
  verb.add_option("--provision", s.provision, "Where PostgreSQL comes from")
      ->check(CLI::IsMember({"auto", "local", "docker", "external"}));
  verb.add_option("--pg", s.pg, "The major version of PostgreSQL")->check(CLI::Range(12, 99));
  verb.add_option("--seed", s.seed, "The seed of every random choice");
  verb.add_option("--scale", s.scale, "Multiplies the rows of generated fixtures")
      ->check(CLI::PositiveNumber);
  verb.add_option("--set", s.set, "KEY=VALUE: set any key of the scenario (dotted path)")
      ->allow_extra_args(false);
}

Selected Select(const Program& program, const Selection& s) {
  harness::Overrides overrides;
  for (const std::string& item : s.set) {
    const auto equals = item.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError("--set " + item + ": KEY=VALUE is needed, such as workload.0.clients=8");
    }
    overrides.set.emplace_back(item.substr(0, equals), item.substr(equals + 1));
  }
  if (!s.provision.empty()) overrides.provision = s.provision;
  if (s.pg != 0) overrides.pg = s.pg;
  overrides.seed = s.seed;
  overrides.scale = s.scale;
  overrides.may_be_changed = program.may_be_changed;
  ApplyEnvironment(overrides);

  Selected selected;
  const harness::Found found = harness::FindScenarios(s.paths);
  selected.ignored = found.ignored;
  std::map<std::string, std::filesystem::path> names;
  for (const std::filesystem::path& file : found.scenarios) {
    harness::Scenario scenario = harness::LoadScenario(file, overrides);
    const auto [other, fresh] = names.emplace(scenario.name, file);
    if (!fresh) {
      FailAt(file.string(), "/name",
             "'" + scenario.name + "' is also the name of " + other->second.string() +
                 "; names are unique in a run");
    }
    selected.scenarios.push_back(std::move(scenario));
  }
  if (selected.scenarios.empty()) selected.why_none = "no scenario in these paths";
  const auto keep = [&](const harness::Scenario& scenario) {
    if (!s.filter.empty() && !db::MatchesGlob(scenario.name, s.filter)) return false;
    return s.tags.empty() || std::ranges::any_of(s.tags, [&](const std::string& tag) {
             return std::ranges::find(scenario.tags, tag) != scenario.tags.end();
           });
  };
  const std::size_t before = selected.scenarios.size();
  std::erase_if(selected.scenarios, [&](const auto& scenario) { return !keep(scenario); });
  if (!s.shard.empty()) {
    const auto [index, count] = ParseShard(s.shard);
    std::vector<harness::Scenario> part;
    for (std::size_t i = index - 1; i < selected.scenarios.size(); i += count) {
      part.push_back(std::move(selected.scenarios[i]));
    }
    selected.scenarios = std::move(part);
  }
  if (selected.scenarios.empty() && before > 0) {
    selected.why_none =
        "none of " + std::to_string(before) + " scenarios matches --filter, --tag and --shard";
  }
  return selected;
}

}  // namespace understudy::cli
