#include "bench/result.h"

#include <algorithm>
#include <iostream>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/process.h"

namespace understudy::bench {

Json Spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {{"median", median}, {"min", values.front()}, {"max", values.back()}};
}

Json Measurement::ToJson() const {
  Json json{{"name", name}, {"what", what}, {"runs", ours.size()}};
  const bool bytes = unit == "bytes";
  json[bytes ? "ours_bytes" : "ours_s"] = Spread(ours);
  if (!peers.empty()) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / peers.at(i));
    json["peer"] = peer;
    json[bytes ? "peer_bytes" : "peer_s"] = Spread(peers);
    json["ratio"] = Spread(ratios);
  }
  if (!target.of.empty()) {
    const Json& judged =
        target.of == "ratio" ? json.at("ratio") : json.at(bytes ? "ours_bytes" : "ours_s");
    const double value = judged.at("median");
    json["target"] = {
        {"of", target.of}, {"at_most", target.at_most}, {"met", value <= target.at_most}};
    if (target.goal > 0) {
      json["target"]["goal"] = target.goal;
      json["target"]["goal_met"] = value <= target.goal;
    }
  }
  json.update(more);
  return json;
}

Json Skipped(const std::string& name, const std::string& what, const std::string& why) {
  return {{"name", name}, {"what", what}, {"skipped", why}};
}

double Seconds(const std::function<void()>& work) {
  const auto started = SteadyClock::now();
  work();
  return MillisecondsSince(started) / 1000;
}

void StopIfAsked() {
  if (Stopped()) throw Error(ErrorKind::kCancelled, "interrupted");
}

std::string Run(std::vector<std::string> argv) {
  Command command;
  command.argv = std::move(argv);
  const Outcome outcome = RunCommand(command, Stopped);
  StopIfAsked();
  if (!outcome.ok()) {
    throw Error(ErrorKind::kEnvironment, command.argv.front() + " failed with status " +
                                             std::to_string(outcome.exit_status) + ": " +
                                             outcome.err + outcome.out);
  }
  return outcome.out;
}

}  // namespace understudy::bench
