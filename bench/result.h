#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/base/json.h"

// What one measurement found, as one line of JSON on stdout; report.h makes the table of them.
namespace understudy::bench {

struct Target {
  std::string of;  // "seconds" | "ratio" | "bytes" of ours; "" = none is set
  double at_most = 0;
  double goal = 0;  // 0 = none
};

struct Measurement {
  std::string name;
  std::string what;  // for people
  std::vector<double> ours;
  std::string peer;           // what ours is measured against; "" = nothing
  std::vector<double> peers;  // the other half of each pair
  std::string unit = "s";     // of both: "s" or "bytes"
  Target target;
  Json more = Json::object();  // what else is worth a line; "note" is shown to people

  // The median of the pairs' ratios decides, not the ratio of medians.
  Json ToJson() const;
};

Json Skipped(const std::string& name, const std::string& what, const std::string& why);

// {"median", "min", "max"}. REQUIRES: not empty.
Json Spread(std::vector<double> values);

double Seconds(const std::function<void()>& work);

// Whether Ctrl-C was pressed: then everything ends in good order.
bool Stopped();
void StopIfAsked();

// Runs a program to its end; throws when it fails.
std::string Run(std::vector<std::string> argv);

// Verbs of the program `understudy_bench`; main.cc tells what each does.
void World(int pairs);
void Container(int pairs);
void Capture(int pairs);
void Fixture(int pairs, double scale);
void HotCopy(int pairs, double scale);
void Stall(const std::string& conninfo, int runs, double seconds, const std::string& settings);
void ThousandTables(const std::string& source, const std::string& target, int attempts,
                    const std::string& settings);
void Overhead(int runs, const std::string& program, const std::string& scratch);
void Memory(const std::string& name, const std::string& what, double at_most,
            const std::vector<std::string>& argv);
// Runs a program and writes its peak resident size to `file`.
void Peak(const std::string& file, const std::vector<std::string>& argv);
// Reads lines of results, writes the document to `file`, prints the table. False: a target is
// missed.
bool Report(const std::string& lines, const std::string& file);

}  // namespace understudy::bench
