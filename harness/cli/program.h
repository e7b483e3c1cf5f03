#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/base/json.h"

namespace CLI {
class App;
}

// What every verb of `understudy` shares.
namespace understudy::cli {

// Exit codes (docs/exit-codes.md). When several hold: 130, 70, 64, 65, 69, 1, 2, 0.
enum Exit : int {
  kPass = 0,
  kFail = 1,
  kUnknown = 2,
  kUsage = 64,
  kInput = 65,
  kMissing = 69,
  kBug = 70,
  kInterrupted = 130,
};
// Whichever of the two stands first in that order.
int WorseExit(int a, int b);

// A wrong flag or argument that the parser could not see: exit 64.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The state of one call of the program.
struct Program {
  bool json = false;                   // --json: one JSON document on stdout and nothing else
  bool verbose = false;                // --verbose
  bool may_be_changed = false;         // --yes-this-database-may-be-changed
  std::vector<std::string> arguments;  // argv, redacted: for reports
  std::function<int()> run;            // set by the verb that was named
};

// Each verb adds its subcommand, with options, help and an example; its callback sets
// `program.run`. One file per verb; main.cc has the table.
void AddClean(CLI::App& app, Program& program);
void AddCodegen(CLI::App& app, Program& program);
void AddCompare(CLI::App& app, Program& program);
void AddCompletion(CLI::App& app, Program& program);
void AddDemo(CLI::App& app, Program& program);
void AddDoctor(CLI::App& app, Program& program);
void AddEngine(CLI::App& app, Program& program);  // hidden: the child of a rehearsal
void AddJudge(CLI::App& app, Program& program);
void AddList(CLI::App& app, Program& program);
void AddMigrate(CLI::App& app, Program& program);
void AddPlan(CLI::App& app, Program& program);
void AddRun(CLI::App& app, Program& program);
void AddSchema(CLI::App& app, Program& program);
void AddSnapshot(CLI::App& app, Program& program);
void AddTry(CLI::App& app, Program& program);

// --json where a verb has it.
void AddJsonFlag(CLI::App& verb, Program& program);
// --yes-this-database-may-be-changed where a verb has it.
void AddMayBeChangedFlag(CLI::App& verb, Program& program);

// True once SIGINT or SIGTERM came. The second one ends the process at once.
bool Interrupted();

// Whether stdout (1) or stderr (2) is a terminal that takes colours: NO_COLOR is not set.
bool Colour(int fd);

// As a shell takes it for one word: for commands that are there to be pasted.
std::string ShellWord(const std::string& text);

// The comma-separated names of UNDERSTUDY_REQUIRE; whether one is among them.
std::vector<std::string> Required();
bool Required(const std::string& what);

// {"name", "version", "commit"} and {"os", "cpus", "memory_bytes"} for reports.
Json ToolFacts();
Json HostFacts();

}  // namespace understudy::cli
