#include "engine/db/client_tools.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/owner.h"
#include "engine/db/binaries.h"

namespace understudy::db {
namespace fs = std::filesystem;
namespace {

// The newest of our images of `major` that is built on this machine; "" when there is none, or no
// container engine.
std::string BuiltImage(int major) {
  if (FindProgram("docker").empty()) return "";
  Command command;
  command.argv = {"docker",
                  "image",
                  "ls",
                  "--format",
                  "{{.Repository}}:{{.Tag}}",
                  "--filter",
                  "reference=understudy-postgres:" + std::to_string(major) + "-*"};
  command.deadline = std::chrono::seconds(10);
  const Outcome outcome = RunCommand(command);
  return outcome.ok() ? outcome.out.substr(0, outcome.out.find('\n')) : "";
}

}  // namespace

ClientTools ClientTools::Find(int major, const std::string& image) {
  ClientTools tools;
  if (const auto found = FindClient(major)) {
    tools.folder_ = found->folder;
    return tools;
  }
  tools.image_ = image;
  if (tools.image_.empty()) tools.image_ = BuiltImage(major);
  if (tools.image_.empty()) {
    const std::string number = std::to_string(major);
    throw Error(ErrorKind::kEnvironment,
                "pg_dump and pg_restore of PostgreSQL " + number +
                    " are not here (another major's would write what this server refuses): install "
                    "the package postgresql-client-" +
                    number + ", or build our image with docker/build.sh " + number);
  }
  return tools;
}

Outcome ClientTools::Run(const Job& job, const Endpoint& endpoint,
                         const std::function<bool()>& stop) const {
  Command command;
  command.on_line = [&](int which, std::string_view line) {
    if (which == 2 && job.on_error_line) job.on_error_line(line);
  };
  std::map<std::string, std::string> environment = endpoint.Environment();
  environment["LC_ALL"] = "C";  // its messages are read by us
  if (!job.options.empty()) {
    std::string& options = environment["PGOPTIONS"];
    options += (options.empty() ? "" : " ") + job.options;
  }
  if (!folder_.empty()) {
    command.argv = job.argv;
    command.argv[0] = (folder_ / job.argv[0]).string();
    command.environment = environment;
    return RunCommand(command, stop);
  }

  const OwnedFolder secrets("tools", "");
  const fs::path env_file = secrets.path() / "environment";  // the folder is ours alone
  std::string text;
  command.argv = {"docker",    "run",
                  "--rm",      "--interactive",
                  "--network", "host",
                  "--label",   std::string(kOwnerLabel) + "=" + Owner::ThisProcess().Text(),
                  "--user",    std::to_string(::getuid()) + ":" + std::to_string(::getgid())};
  const auto mount = [&](const fs::path& path, const std::string& inside, bool writable) {
    command.argv.push_back("--volume");
    command.argv.push_back(path.string() + ":" + inside + (writable ? "" : ":ro"));
  };
  for (const fs::path& file : job.files) mount(file, file.string(), true);
  if (const std::string host = endpoint.Setting("host"); host.rfind('/', 0) == 0) {
    mount(host, host, true);
  }
  const char* passfile = std::getenv("PGPASSFILE");
  const char* home = std::getenv("HOME");
  const fs::path passwords = passfile != nullptr && *passfile != '\0'
                                 ? fs::path(passfile)
                                 : fs::path(home != nullptr ? home : "/nonexistent") / ".pgpass";
  std::error_code ignored;
  if (fs::exists(passwords, ignored)) {
    mount(passwords, "/run/understudy/pgpass", false);
    environment["PGPASSFILE"] = "/run/understudy/pgpass";
  }
  for (const auto& [name, value] : environment) text += name + "=" + value + "\n";
  WriteFileWhole(env_file, text);
  ::chmod(env_file.c_str(), 0600);
  command.argv.insert(command.argv.end(),
                      {"--env-file", env_file.string(), "--entrypoint", job.argv[0], image_});
  command.argv.insert(command.argv.end(), job.argv.begin() + 1, job.argv.end());
  return RunCommand(command, stop);
}

}  // namespace understudy::db
