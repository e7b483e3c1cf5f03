#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace understudy {

// A program to run. Our own fork/exec rather than Boost.Process: we need a process group of its
// own (so that a deadline or a fault ends everything that it started), another user, and pipes
// on chosen descriptors.
struct Command {
  std::vector<std::string> argv;                      // argv[0] is searched in PATH
  std::map<std::string, std::string> environment;     // added to ours
  std::vector<std::string> unset;                     // taken out of ours
  std::filesystem::path folder;                       // "" = ours
  std::string user;                                   // "" = ours; needs root
  std::string input;                                  // given on stdin, then closed; "" = /dev/null
  std::optional<std::chrono::milliseconds> deadline;  // then the whole group is ended
  // Called for every complete line of stdout and stderr (which = 1, 2) as it comes.
  std::function<void(int which, std::string_view line)> on_line;
  std::size_t keep_bytes = 1U << 20U;  // of stdout and of stderr each; the rest is dropped
};

struct Outcome {
  int exit_status = -1;  // 128 + signal when a signal ended it
  bool deadline_passed = false;
  std::string out;
  std::string err;
  bool ok() const { return exit_status == 0 && !deadline_passed; }
};

// Runs to the end. Error(kEnvironment) when the program cannot be started at all.
// `stop`, if given, is asked about ten times a second; true ends the group.
Outcome RunCommand(const Command& command, const std::function<bool()>& stop = {});

// A child that goes on beside us, in a process group of its own. The destructor kills it, and so
// does the kernel when the THREAD that started it ends (PR_SET_PDEATHSIG): start it from a thread
// that lives as long as it must.
class Child {
 public:
  // `channels`: pairs {descriptor in the child, our descriptor to give it}; ours are not closed.
  static Child Start(const Command& command, const std::vector<std::pair<int, int>>& channels = {},
                     const std::filesystem::path& output_file = {});
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  pid_t pid() const { return pid_; }
  bool Running();
  void Signal(int signal);  // to the whole group; nothing when it is gone
  // 128 + signal when a signal ended it; nullopt when it still runs after `timeout`.
  std::optional<int> Wait(std::chrono::milliseconds timeout);

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;
  std::optional<int> status_;
};

// The full path of `program` in PATH, or "".
std::filesystem::path FindProgram(std::string_view program);

}  // namespace understudy
