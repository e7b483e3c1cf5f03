#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/process.h"
#include "engine/db/endpoint.h"

namespace understudy::db {

// psql, pg_dump and pg_restore of one major: from this machine, else from an image.
class ClientTools {
 public:
  // `image`: one that holds them, "" = none is at hand. Error(kEnvironment) when there are none,
  // with how to get them.
  static ClientTools Find(int major, const std::string& image);

  struct Job {
    std::vector<std::string> argv;             // argv[0]: the tool's name
    std::vector<std::filesystem::path> files;  // that it reads or writes, full paths
    std::string options;                       // PGOPTIONS
    std::function<void(std::string_view line)> on_error_line;
  };
  // Runs it on `endpoint` (never on a command line: the password travels by the environment).
  Outcome Run(const Job& job, const Endpoint& endpoint, const std::function<bool()>& stop) const;

 private:
  std::filesystem::path folder_;  // "" = from the image
  std::string image_;
};

}  // namespace understudy::db
