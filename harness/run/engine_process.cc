#include "harness/run/engine_process.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/run/engine_child.h"
#include "harness/run/line_channel.h"

namespace understudy::harness {
namespace {

struct Pipe {
  std::array<int, 2> fds{-1, -1};
  Pipe() {
    if (::pipe2(fds.data(), O_CLOEXEC) != 0) {
      throw Error(ErrorKind::kEnvironment, "cannot make a pipe for the engine");
    }
  }
  ~Pipe() {
    Close(0);
    Close(1);
  }
  void Close(std::size_t end) {
    if (fds[end] >= 0) ::close(fds[end]);
    fds[end] = -1;
  }
};

}  // namespace

EngineResult EngineProcess::Run(const Json& job, const Callbacks& callbacks) {
  Pipe to_child;
  Pipe from_child;
  {
    Command command;
    command.argv = {ProgramPath().string(), "engine"};
    const std::lock_guard lock(mutex_);
    child_ = Child::Start(command, {{kEngineIn, to_child.fds[0]}, {kEngineOut, from_child.fds[1]}},
                          log_file_);
  }
  to_child.Close(0);
  from_child.Close(1);
  EngineResult result;
  bool has_result = false;
  // Asks the engine to stop when we are asked to; it is given ten seconds to say where it is.
  std::jthread watcher([&](const std::stop_token& done) {
    int waited = -1;
    while (!done.stop_requested()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (!callbacks.stop || !callbacks.stop()) continue;
      const std::lock_guard lock(mutex_);
      if (!child_) return;
      if (++waited == 0) child_->Signal(SIGTERM);
      if (waited == 500) child_->Signal(SIGKILL);
    }
  });
  try {
    LineChannel channel(from_child.fds[0], to_child.fds[1]);
    channel.Write(ToLine(job));
    while (const auto line = channel.Read()) {
      const Json event = ParseJson(*line, "engine");
      const std::string kind = event.value("kind", "");
      if (kind == "result") {
        has_result = true;
        result.outcome = event.value("outcome", "failed");
        result.state = event.value("state", "");
        result.message = event.value("message", "");
      } else if (kind == "point") {
        const Answer answer = callbacks.on_point ? callbacks.on_point(event) : Answer::kGo;
        channel.Write(answer == Answer::kGo ? "go" : "fail");
      } else if (callbacks.on_event) {
        callbacks.on_event(event);
      }
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kUnavailable) throw;  // killed while we answered
  }
  watcher.request_stop();
  watcher.join();
  const std::lock_guard lock(mutex_);
  result.exit_status = child_->Wait(std::chrono::seconds(10)).value_or(-1);
  child_.reset();
  if (!has_result) {
    result.outcome = "killed";
    result.message = "the engine ended without a result, exit status " +
                     std::to_string(result.exit_status) + " (see engine.log)";
  }
  return result;
}

void EngineProcess::Kill() {
  const std::lock_guard lock(mutex_);
  if (child_) child_->Signal(SIGKILL);
}

int EngineProcess::pid() {
  const std::lock_guard lock(mutex_);
  return child_ ? child_->pid() : 0;
}

}  // namespace understudy::harness
