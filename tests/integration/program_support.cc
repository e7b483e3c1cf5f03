#include "tests/integration/program_support.h"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace understudy::testing {
namespace fs = std::filesystem;

Workspace::Workspace() : folder_("us-program") {
  // The server's user must come through.
  fs::permissions(path(), fs::perms(0755));
  fs::create_directory(path() / "t");
  fs::permissions(path() / "t", fs::perms(01777));
}

Workspace::~Workspace() {
  std::vector<std::string> left = Leftovers();
  // A killed process may still be on its way out.
  for (int i = 0; i < 50 && !left.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    left = Leftovers();
  }
  EXPECT_THAT(left, ::testing::IsEmpty());
}

std::string Workspace::Write(const std::string& name, const std::string& text) const {
  fs::create_directories((path() / name).parent_path());
  WriteFileWhole(path() / name, text);
  return At(name);
}

std::string Workspace::WriteJson(const std::string& name, const Json& document) const {
  return Write(name, ToText(document));
}

Command Workspace::Call(std::vector<std::string> arguments) const {
  Command command;
  command.argv = {UNDERSTUDY_PROGRAM};
  command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
  command.folder = path();
  command.environment = environment;
  command.environment["TMPDIR"] = At("t");
  command.unset = {"UNDERSTUDY_OUT", "UNDERSTUDY_PROVISION", "UNDERSTUDY_REQUIRE"};
  command.deadline = std::chrono::minutes(5);
  return command;
}

Outcome Workspace::Run(std::vector<std::string> arguments) const {
  return RunCommand(Call(std::move(arguments)));
}

std::vector<std::string> Workspace::Leftovers() const {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(path() / "t")) {
    found.push_back(entry.path().string());
  }
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string pid = entry.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos ||
        pid == std::to_string(::getpid())) {
      continue;
    }
    std::string command;
    try {
      command = ReadFile(entry.path() / "cmdline");
    } catch (const std::exception&) {
      continue;  // gone meanwhile
    }
    // A server's workers have titles for command lines: they are told by where they work.
    const std::string where = fs::read_symlink(entry.path() / "cwd", ignored).string();
    if (command.find(path().string()) != std::string::npos ||
        where.rfind(path().string(), 0) == 0) {
      std::replace(command.begin(), command.end(), '\0', ' ');
      found.push_back("process " + pid + ": " + command);
    }
  }
  return found;
}

Json SmallScenario(const Workspace& workspace, const std::string& name) {
  const std::string schema = workspace.Write(
      "schema.sql",
      "CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL NOT NULL DEFAULT 0, note TEXT);\n"
      "INSERT INTO orders (total, note) VALUES (1.5, 'a'), (2.5, 'b'), (3.5, NULL);\n");
  const std::string up =
      workspace.Write("up.sql", "ALTER TABLE orders ADD COLUMN cents INTEGER;\n");
  return {{"name", name},
          {"databases", {{"main", {{"engine", "sqlite"}, {"fixture", {schema}}}}}},
          {"migration", {{"strategy", "sql"}, {"on", "main"}, {"up", up}}},
          {"lead_s", 0.1},
          {"tail_s", 0.1}};
}

std::string Said(const Outcome& outcome) {
  return "exit " + std::to_string(outcome.exit_status) + "\n" + outcome.out + outcome.err;
}

}  // namespace understudy::testing
