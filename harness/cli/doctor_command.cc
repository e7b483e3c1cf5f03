#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "harness/cli/program.h"
#include "harness/world/world.h"

namespace understudy::cli {
namespace {

// Whether what UNDERSTUDY_REQUIRE calls `name` is here: the two services, or an item by its name.
bool Has(const Json& items, const std::string& name) {
  return std::ranges::any_of(items, [&](const Json& item) {
    if (item["available"] != true) return false;
    if (name == "docker") return item["kind"] == "container-engine";
    if (name == "postgres") return item["kind"] == "server" && item["name"] == "postgresql";
    return item["name"] == name;
  });
}

std::string TextOf(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

int Doctor(const Program& program) {
  const Json items = harness::Inspect();
  std::vector<std::string> missing;
  for (const std::string& name : Required()) {
    if (!Has(items, name)) missing.push_back(name);
  }
  const bool ok = missing.empty();
  if (program.json) {
    std::cout << ToText({{"format", "understudy-doctor/1"}, {"ok", ok}, {"items", items}});
  } else {
    for (const Json& item : items) {
      const bool available = item["available"] == true;
      std::cout << fmt::format("{:8}{:18}{} {}", available ? "ok" : "missing", TextOf(item["kind"]),
                               TextOf(item["name"]), TextOf(item.value("version", Json())));
      if (const std::string where = TextOf(item.value("where", Json())); !where.empty()) {
        std::cout << "  " << where;
      }
      const std::string fix = TextOf(item.value("fix", Json()));
      if (!available && !fix.empty()) std::cout << "\n        -> " << fix;
      std::cout << "\n";
    }
    for (const std::string& name : missing) {
      std::cerr << "understudy: UNDERSTUDY_REQUIRE names " << name << ", and it is missing\n";
    }
  }
  return ok ? kPass : kMissing;
}

}  // namespace

void AddDoctor(CLI::App& app, Program& program) {
  CLI::App* verb =
      app.add_subcommand("doctor", "What this machine can do, what is missing, and how to get it");
  AddJsonFlag(*verb, program);
  verb->footer(
      "Example:\n  UNDERSTUDY_REQUIRE=postgres,docker understudy doctor\n"
      "Exit: 0, 69 when something in UNDERSTUDY_REQUIRE is missing");
  verb->callback([&program] { program.run = [&program] { return Doctor(program); }; });
}

}  // namespace understudy::cli
