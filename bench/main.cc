// understudy_bench VERB …: one measurement each, one line of JSON on stdout. run.sh drives it.
//   world PAIRS | container PAIRS | capture PAIRS | fixture PAIRS SCALE
//   hot-copy PAIRS SCALE                   prepare, replay, drain and recording of a hot copy
//   stall CONNINFO RUNS SECONDS SETTINGS               a cutover under load, as clients see it
//   thousand-tables SOURCE TARGET ATTEMPTS SETTINGS    a cutover's time under lock
//   overhead RUNS UNDERSTUDY SCRATCH       what `run` adds to a scenario's own steps
//   memory NAME WHAT AT_MOST_MB ARGV…      peak resident memory of a program
//   peak FILE ARGV…                        writes a program's peak resident memory to FILE
//   flat NAME WHAT PEER AT_MOST FILE FILE  two of those: that of more beside that of less
//   pairs NAME WHAT PEER AT_MOST GOAL      lines "OURS PEER" in seconds on stdin
//   skipped NAME WHAT WHY
//   report LINES FILE                      FILE takes the document, stdout the table
#include <signal.h>

#include <cstdlib>
#include <iostream>

#include "bench/result.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/world/world.h"

namespace understudy::bench {
namespace {

volatile sig_atomic_t signals_seen = 0;
void OnSignal(int) { signals_seen = signals_seen + 1; }

void Pairs(const std::vector<std::string>& words) {
  Measurement measurement;
  measurement.name = words.at(1);
  measurement.what = words.at(2);
  measurement.peer = words.at(3);
  measurement.target = {"ratio", std::stod(words.at(4)), std::stod(words.at(5))};
  double ours = 0;
  double peer = 0;
  while (std::cin >> ours >> peer) {
    measurement.ours.push_back(ours);
    measurement.peers.push_back(peer);
  }
  if (measurement.ours.empty()) throw Error(ErrorKind::kInvalidSpec, "no pair on stdin");
  std::cout << ToLine(measurement.ToJson()) << "\n";
}

void Flat(const std::vector<std::string>& words) {
  Measurement measurement;
  measurement.name = words.at(1);
  measurement.what = words.at(2);
  measurement.peer = words.at(3);
  measurement.unit = "bytes";
  measurement.target = {"ratio", std::stod(words.at(4)), 0};
  measurement.ours = {std::stod(ReadFile(words.at(5)))};
  measurement.peers = {std::stod(ReadFile(words.at(6)))};
  std::cout << ToLine(measurement.ToJson()) << "\n";
}

int Main(const std::vector<std::string>& words) {
  const std::string verb = words.empty() ? "" : words[0];
  if (verb == "world") {
    World(std::stoi(words.at(1)));
  } else if (verb == "container") {
    Container(std::stoi(words.at(1)));
  } else if (verb == "capture") {
    Capture(std::stoi(words.at(1)));
  } else if (verb == "fixture") {
    Fixture(std::stoi(words.at(1)), std::stod(words.at(2)));
  } else if (verb == "hot-copy") {
    HotCopy(std::stoi(words.at(1)), std::stod(words.at(2)));
  } else if (verb == "stall") {
    Stall(words.at(1), std::stoi(words.at(2)), std::stod(words.at(3)), words.at(4));
  } else if (verb == "thousand-tables") {
    ThousandTables(words.at(1), words.at(2), std::stoi(words.at(3)), words.at(4));
  } else if (verb == "overhead") {
    Overhead(std::stoi(words.at(1)), words.at(2), words.at(3));
  } else if (verb == "memory") {
    Memory(words.at(1), words.at(2), std::stod(words.at(3)) * 1e6,
           {words.begin() + 4, words.end()});
  } else if (verb == "peak") {
    Peak(words.at(1), {words.begin() + 2, words.end()});
  } else if (verb == "flat") {
    Flat(words);
  } else if (verb == "pairs") {
    Pairs(words);
  } else if (verb == "skipped") {
    std::cout << ToLine(Skipped(words.at(1), words.at(2), words.at(3))) << "\n";
  } else if (verb == "report") {
    return Report(words.at(1), words.at(2)) ? 0 : 1;
  } else {
    throw Error(ErrorKind::kInvalidSpec, "unknown verb '" + verb + "'; see bench/main.cc");
  }
  return 0;
}

}  // namespace

bool Stopped() { return signals_seen > 0; }

}  // namespace understudy::bench

int main(int argc, char** argv) {
  struct sigaction action {};  // no SA_RESTART: a wait must end
  action.sa_handler = understudy::bench::OnSignal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  int status = 70;
  try {
    status = understudy::bench::Main({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "understudy_bench: " << error.what() << "\n";
  }
  understudy::harness::EndServers();
  return status;
}
