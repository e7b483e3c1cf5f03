#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

#include "engine/base/file.h"
#include "engine/core/points.h"
#include "harness/cli/program.h"

namespace understudy::cli {
namespace {

void PrintPoints(bool json) {
  if (json) {
    Json points = Json::array();
    for (const core::Point& point : core::Points()) {
      points.push_back({{"name", point.name},
                        {"phase", core::PhaseName(point.phase)},
                        {"passed_by", point.passed_by},
                        {"meaning", point.meaning}});
    }
    std::cout << ToText({{"format", "understudy-schema/1"}, {"points", points}});
    return;
  }
  std::cout << fmt::format("{:24}{:10}{:20}{}\n", "point", "phase", "passed by", "meaning");
  for (const core::Point& point : core::Points()) {
    std::cout << fmt::format("{:24}{:10}{:20}{}\n", point.name, core::PhaseName(point.phase),
                             point.passed_by, point.meaning);
  }
}

}  // namespace

void AddSchema(CLI::App& app, Program& program) {
  CLI::App* verb =
      app.add_subcommand("schema", "Print a file's JSON Schema, or the table of points");
  auto what = std::make_shared<std::string>();
  verb->add_option("WHAT", *what, "Which one")
      ->required()
      ->check(CLI::IsMember({"scenario", "migration", "report", "rows", "points"}));
  AddJsonFlag(*verb, program);
  verb->footer("Example:\n  understudy schema scenario > scenario.schema.json");
  verb->callback([&program, what] {
    program.run = [&program, what] {
      if (*what == "points") {
        PrintPoints(program.json);
      } else {
        std::cout << ReadFile(ShippedPath("schema/" + *what + ".schema.json"));
      }
      return kPass;
    };
  });
}

}  // namespace understudy::cli
