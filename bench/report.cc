// All results of one run: one document, and one table.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include "bench/result.h"
#include "engine/base/clock.h"
#include "engine/base/file.h"

namespace understudy::bench {
namespace {

std::string Shown(const Json& spread, const std::string& unit) {
  const double scale = unit == "MB" ? 1e6 : 1;
  const auto number = [&](const char* key) {
    return fmt::format("{:.{}f}", spread.at(key).get<double>() / scale, unit == "MB" ? 1 : 3);
  };
  std::string text = number("median") + (unit.empty() ? "" : " " + unit);
  if (spread.at("min") != spread.at("max")) {
    text += " (" + number("min") + "–" + number("max") + ")";
  }
  return text;
}

std::string Verdict(const Json& result) {
  if (result.contains("skipped")) return "skipped: " + result.at("skipped").get<std::string>();
  if (!result.contains("target")) return "–";
  const Json& target = result.at("target");
  const std::string of = target.at("of");
  const double at_most = target.at("at_most");
  std::string text = of == "bytes" ? fmt::format("≤ {:g} MB", at_most / 1e6)
                                   : fmt::format("≤ {:g}{}", at_most, of == "seconds" ? " s" : "");
  text = (target.at("met").get<bool>() ? "met " : "MISSED ") + text;
  if (target.contains("goal")) {
    text += fmt::format(", goal {:g} {}", target.at("goal").get<double>(),
                        target.at("goal_met").get<bool>() ? "met" : "MISSED");
  }
  return text;
}

Json Machine() {
  utsname name{};
  ::uname(&name);
  std::string cpu;
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; cpu.empty() && std::getline(in, line);) {
    if (line.starts_with("model name")) cpu = line.substr(line.find(':') + 2);
  }
  double load[3] = {};
  ::getloadavg(load, 3);
  return {{"cpu", cpu},
          {"cores", std::thread::hardware_concurrency()},
          {"kernel", std::string(name.sysname) + " " + name.release},
          {"load_at_end", load[0]}};
}

}  // namespace

bool Report(const std::string& lines, const std::string& file) {
  Json results = Json::array();
  std::istringstream in(ReadFile(lines));
  for (std::string line; std::getline(in, line);) results.push_back(ParseJson(line, lines));
  bool met = !results.empty();
  std::string table = "| measured | ours | peer | ratio | target |\n|---|---|---|---|---|\n";
  std::string peers;
  for (const Json& result : results) {
    std::string ours = "–";
    if (result.contains("ours_s")) ours = Shown(result.at("ours_s"), "s");
    if (result.contains("ours_bytes")) ours = Shown(result.at("ours_bytes"), "MB");
    if (result.contains("ours_rows_per_s")) {
      ours += fmt::format(", {} rows/s", result.at("ours_rows_per_s").get<std::int64_t>());
    }
    const bool paired = result.contains("ratio");
    table += fmt::format("| {} | {} | {} | {} | {} |\n", result.at("what").get<std::string>(), ours,
                         result.contains("peer_s")       ? Shown(result.at("peer_s"), "s")
                         : result.contains("peer_bytes") ? Shown(result.at("peer_bytes"), "MB")
                                                         : "–",
                         paired ? Shown(result.at("ratio"), "") : "–", Verdict(result));
    if (paired) {
      peers += fmt::format("- {}: {} pairs against {}\n", result.at("name").get<std::string>(),
                           result.at("runs").get<int>(), result.at("peer").get<std::string>());
    }
    if (result.contains("note")) {
      peers += fmt::format("- {}: {}\n", result.at("name").get<std::string>(),
                           result.at("note").get<std::string>());
    }
    if (result.contains("target") && !result.at("target").at("met").get<bool>()) met = false;
  }
  const Json document{{"format", "understudy-bench/1"},
                      {"machine", Machine()},
                      {"all_met", met},
                      {"results", results}};
  std::ofstream(file) << ToText(document);
  std::cout << "Medians (min–max).\n\n" << table << "\n" << peers;
  return met;
}

}  // namespace understudy::bench
