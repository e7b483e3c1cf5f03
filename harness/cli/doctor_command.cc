#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "harness/cli/program.h"
#include "harness/world/world.h"

namespace understudy::cli {
namespace {

bool Any(const Json& items, const std::string& kind) {
  for (const Json& item : items) {
    if (item["kind"] == kind && item["available"] == true) return true;
  }
  return false;
}

std::string TextOf(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

int Doctor(const Program& program) {
  const Json items = harness::Inspect();
  std::vector<std::string> missing;
  if (Required("postgres") && !Any(items, "server")) missing.emplace_back("postgres");
  if (Required("docker") && !Any(items, "container-engine")) missing.emplace_back("docker");
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
