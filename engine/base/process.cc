#include "engine/base/process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/error.h"

extern char** environ;

namespace understudy {
namespace fs = std::filesystem;
namespace {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
  std::string home;
};

// Everything that the child needs between fork and exec, allocated before the fork.
struct Prepared {
  std::string program;
  std::vector<char*> argv;
  std::vector<std::string> environment_text;
  std::vector<char*> environment;
  std::string folder;
  std::optional<User> user;
};

std::optional<User> FindUser(const std::string& name) {
  if (name.empty()) return std::nullopt;
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) {
    throw Error(ErrorKind::kEnvironment, "no such user on this machine: " + name);
  }
  return User{entry->pw_uid, entry->pw_gid, entry->pw_name, entry->pw_dir};
}

Prepared Prepare(const Command& command) {
  if (command.argv.empty()) throw Error(ErrorKind::kInternal, "a command without a program");
  Prepared p;
  p.program = FindProgram(command.argv[0]).string();
  if (p.program.empty()) {
    throw Error(ErrorKind::kEnvironment,
                "no program '" + command.argv[0] + "' in PATH; install it or give its full path",
                "ENOENT");
  }
  for (const std::string& argument : command.argv) {
    p.argv.push_back(const_cast<char*>(argument.c_str()));
  }
  p.argv.push_back(nullptr);
  p.user = FindUser(command.user);
  std::map<std::string, std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals != std::string_view::npos) {
      environment[std::string(text.substr(0, equals))] = std::string(text.substr(equals + 1));
    }
  }
  for (const std::string& name : command.unset) environment.erase(name);
  if (p.user) {
    environment["HOME"] = p.user->home;
    environment["USER"] = environment["LOGNAME"] = p.user->name;
  }
  for (const auto& [name, value] : command.environment) environment[name] = value;
  for (const auto& [name, value] : environment) p.environment_text.push_back(name + "=" + value);
  for (std::string& text : p.environment_text) p.environment.push_back(text.data());
  p.environment.push_back(nullptr);
  p.folder = command.folder.string();
  return p;
}

// In the child, after fork: only calls that are safe there. Never returns.
[[noreturn]] void Become(const Prepared& p, int report) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // nothing of ours outlives us, not even after kill -9
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGCHLD}) ::signal(number, SIG_DFL);
  bool ok = true;
  if (p.user) {
    ok = ::setgroups(0, nullptr) == 0 && ::setgid(p.user->gid) == 0 && ::setuid(p.user->uid) == 0;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // setuid clears it
  }
  if (ok && !p.folder.empty()) ok = ::chdir(p.folder.c_str()) == 0;
  if (ok) ::execve(p.program.c_str(), p.argv.data(), p.environment.data());
  const int failure = errno;
  if (::write(report, &failure, sizeof failure) < 0) ::_exit(126);
  ::_exit(127);
}

void Close(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

std::array<int, 2> Pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) {
    throw Error(ErrorKind::kEnvironment,
                std::string("cannot make a pipe: ") + std::strerror(errno));
  }
  return fds;
}

int DecodeStatus(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Forks; `arrange` runs in the child and puts its descriptors in place.
template <typename Arrange>
pid_t Fork(const Prepared& prepared, const std::string& name, Arrange arrange) {
  std::array<int, 2> report = Pipe();
  const pid_t pid = ::fork();
  if (pid < 0) {
    Close(report[0]);
    Close(report[1]);
    throw Error(ErrorKind::kEnvironment, "cannot start " + name + ": " + std::strerror(errno));
  }
  if (pid == 0) {
    arrange();
    Become(prepared, report[1]);
  }
  ::setpgid(pid, pid);
  Close(report[1]);
  int failure = 0;
  ssize_t got = 0;
  do {
    got = ::read(report[0], &failure, sizeof failure);
  } while (got < 0 && errno == EINTR);
  Close(report[0]);
  if (got > 0) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    throw Error(ErrorKind::kEnvironment, "cannot start " + name + ": " + std::strerror(failure));
  }
  return pid;
}

// Hands over the complete lines at the start of `pending`.
void TakeLines(std::string& pending, int which, const Command& command, bool last) {
  if (!command.on_line) {
    pending.clear();
    return;
  }
  std::size_t start = 0;
  for (std::size_t end = pending.find('\n'); end != std::string::npos;
       end = pending.find('\n', start)) {
    command.on_line(which, std::string_view(pending).substr(start, end - start));
    start = end + 1;
  }
  pending.erase(0, start);
  if (last && !pending.empty()) command.on_line(which, pending);
}

}  // namespace

fs::path FindProgram(std::string_view program) {
  const std::string name(program);
  if (name.find('/') != std::string::npos) {
    return ::access(name.c_str(), X_OK) == 0 ? fs::path(name) : fs::path();
  }
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    const fs::path candidate = fs::path(rest.substr(0, colon)) / name;
    std::error_code ignored;
    if (::access(candidate.c_str(), X_OK) == 0 && !fs::is_directory(candidate, ignored)) {
      return candidate;
    }
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  return {};
}

Outcome RunCommand(const Command& command, const std::function<bool()>& stop) {
  const Prepared prepared = Prepare(command);
  std::array<int, 2> in = Pipe();
  std::array<int, 2> out = Pipe();
  std::array<int, 2> err = Pipe();
  const bool has_input = !command.input.empty();
  const pid_t pid = Fork(prepared, command.argv[0], [&] {
    const int source = has_input ? in[0] : ::open("/dev/null", O_RDONLY);
    ::dup2(source, 0);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
  });
  Close(in[0]);
  Close(out[1]);
  Close(err[1]);
  if (!has_input) Close(in[1]);
  if (in[1] >= 0) ::fcntl(in[1], F_SETFL, O_NONBLOCK);

  Outcome outcome;
  std::string_view input = command.input;
  std::array<std::string, 2> pending;
  const auto started = SteadyClock::now();
  bool ended_by_us = false;
  while (out[0] >= 0 || err[0] >= 0) {
    std::array<pollfd, 3> waits{{{out[0], POLLIN, 0}, {err[0], POLLIN, 0}, {in[1], POLLOUT, 0}}};
    ::poll(waits.data(), waits.size(), 100);
    if (in[1] >= 0 && (waits[2].revents & (POLLOUT | POLLERR | POLLHUP)) != 0) {
      const ssize_t written = ::write(in[1], input.data(), input.size());
      if (written > 0) input.remove_prefix(static_cast<std::size_t>(written));
      if (input.empty() || (written < 0 && errno != EAGAIN && errno != EINTR)) Close(in[1]);
    }
    for (std::size_t i = 0; i < 2; ++i) {
      int& fd = i == 0 ? out[0] : err[0];
      if (fd < 0 || (waits[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
      std::array<char, 65536> buffer{};
      const ssize_t got = ::read(fd, buffer.data(), buffer.size());
      if (got <= 0) {
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        Close(fd);
        continue;
      }
      const std::string_view piece(buffer.data(), static_cast<std::size_t>(got));
      std::string& kept = i == 0 ? outcome.out : outcome.err;
      kept.append(piece.substr(0, command.keep_bytes - std::min(command.keep_bytes, kept.size())));
      pending[i].append(piece);
      TakeLines(pending[i], static_cast<int>(i) + 1, command, false);
    }
    const bool late = command.deadline && SteadyClock::now() - started > *command.deadline;
    if (!ended_by_us && (late || (stop && stop()))) {
      outcome.deadline_passed = late;
      ended_by_us = true;
      ::kill(-pid, SIGTERM);
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      ::kill(-pid, SIGKILL);
    }
  }
  TakeLines(pending[0], 1, command, true);
  TakeLines(pending[1], 2, command, true);
  Close(in[1]);
  int status = 0;
  for (;;) {  // its output is closed; it may still run
    const pid_t got = ::waitpid(pid, &status, WNOHANG);
    if (got == pid || (got < 0 && errno != EINTR)) break;
    if (command.deadline && SteadyClock::now() - started > *command.deadline) {
      outcome.deadline_passed = true;
      ::kill(-pid, SIGKILL);
    } else if (stop && stop()) {
      ::kill(-pid, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (outcome.deadline_passed) ::kill(-pid, SIGKILL);
  outcome.exit_status = DecodeStatus(status);
  return outcome;
}

Child Child::Start(const Command& command, const std::vector<std::pair<int, int>>& channels,
                   const fs::path& output_file) {
  const Prepared prepared = Prepare(command);
  const std::string output = output_file.empty() ? "/dev/null" : output_file.string();
  return Child(Fork(prepared, command.argv[0], [&] {
    const int null = ::open("/dev/null", O_RDONLY);
    const int sink = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(null, 0);
    ::dup2(sink, 1);
    ::dup2(sink, 2);
    // Ours first go above all targets, so that no dup2 overwrites one that is still needed.
    std::array<int, 8> high{};
    for (std::size_t i = 0; i < channels.size() && i < high.size(); ++i) {
      high[i] = ::fcntl(channels[i].second, F_DUPFD, 64);
    }
    for (std::size_t i = 0; i < channels.size() && i < high.size(); ++i) {
      ::dup2(high[i], channels[i].first);
      ::close(high[i]);
    }
  }));
}

Child::Child(Child&& other) noexcept : pid_(other.pid_), status_(other.status_) { other.pid_ = -1; }

Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(status_, other.status_);
  return *this;
}

Child::~Child() {
  if (pid_ < 0 || !Running()) return;
  Signal(SIGKILL);
  Wait(std::chrono::seconds(5));
}

bool Child::Running() { return pid_ > 0 && !Wait(std::chrono::milliseconds(0)); }

void Child::Signal(int signal) {
  if (pid_ > 0 && !status_) ::kill(-pid_, signal);
}

std::optional<int> Child::Wait(std::chrono::milliseconds timeout) {
  if (status_ || pid_ < 0) return status_;
  const auto deadline = SteadyClock::now() + timeout;
  for (;;) {
    int status = 0;
    const pid_t got = ::waitpid(pid_, &status, WNOHANG);
    if (got == pid_) {
      status_ = DecodeStatus(status);
      return status_;
    }
    if (got < 0 && errno == ECHILD) {
      status_ = -1;
      return status_;
    }
    if (SteadyClock::now() >= deadline) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace understudy
