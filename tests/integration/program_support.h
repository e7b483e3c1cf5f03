#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/process.h"

// The program as a user has it: a child process in a folder of its own, with a temporary folder
// of its own, so that what it leaves behind can be told from what others do.
namespace understudy::testing {

class Workspace {
 public:
  Workspace();
  // Nothing of ours may be left: no process, no temporary folder.
  ~Workspace();

  const std::filesystem::path& path() const { return folder_.path(); }
  // The path of `name` here, as text.
  std::string At(const std::string& name) const { return (path() / name).string(); }
  std::string Write(const std::string& name, const std::string& text) const;
  std::string WriteJson(const std::string& name, const Json& document) const;

  Command Call(std::vector<std::string> arguments) const;
  Outcome Run(std::vector<std::string> arguments) const;
  Json Report(const std::string& run = "out") const {
    return ParseJsonFile(path() / run / "report.json");
  }

  // What a program that ran here has left: folders in its temporary folder, processes.
  std::vector<std::string> Leftovers() const;

  std::map<std::string, std::string> environment;  // added to each call's

 private:
  TemporaryFolder folder_;
};

// The smallest scenario: an SQLite database, one column added; 0.1 s before and after.
Json SmallScenario(const Workspace& workspace, const std::string& name);

// What a user must be able to read in a failed call: code and text together, for messages.
std::string Said(const Outcome& outcome);

}  // namespace understudy::testing
