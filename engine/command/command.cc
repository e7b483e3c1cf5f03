#include "engine/command/command.h"

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/process.h"
#include "engine/base/redact.h"
#include "engine/core/journal.h"

namespace understudy::command {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kDefaultDeadlineS = 600;
constexpr std::size_t kKeptLines = 20;  // of what a failed program said, for the message

[[noreturn]] void Wrong(const std::string& key, const std::string& what) {
  throw Error(ErrorKind::kInvalidSpec, "/" + key + ": " + what);
}

std::vector<std::string> Argv(const Json& document, const char* key) {
  std::vector<std::string> argv;
  if (!document.contains(key) || document[key].is_null()) return argv;
  if (!document[key].is_array() || document[key].empty()) {
    Wrong(key,
          "a list of the program and its arguments is needed: [\"sqitch\", \"deploy\"]; for a "
          "shell line: [\"sh\", \"-c\", \"…\"]");
  }
  for (const Json& argument : document[key]) {
    if (!argument.is_string()) Wrong(key, "every argument must be a text");
    argv.push_back(argument.get<std::string>());
  }
  if (argv[0].empty()) Wrong(key, "the program's name is empty");
  return argv;
}

std::map<std::string, std::string> Environment(const core::Spec& spec) {
  const db::Endpoint& endpoint = spec.Target();
  std::map<std::string, std::string> environment = endpoint.Environment();
  environment["DATABASE_URL"] = endpoint.Uri();
  if (!environment.contains("PGAPPNAME")) environment["PGAPPNAME"] = "understudy-engine";
  const Json& document = spec.document;
  if (!document.contains("env") || document["env"].is_null()) return environment;
  if (!document["env"].is_object()) Wrong("env", "an object of texts is needed");
  for (const auto& [name, value] : document["env"].items()) {
    if (!value.is_string()) Wrong("env/" + name, "a text is needed");
    environment[name] = value.get<std::string>();
  }
  return environment;
}

class CommandMigration final : public core::Migration {
 public:
  explicit CommandMigration(core::Context& context)
      : context_(context),
        spec_(context.spec()),
        up_(Argv(spec_.document, "up")),
        down_(Argv(spec_.document, "down")),
        environment_(Environment(spec_)) {
    const Json& document = spec_.document;
    folder_ = spec_.folder;
    if (document.contains("cwd") && !document["cwd"].is_null()) {
      if (!document["cwd"].is_string()) Wrong("cwd", "a folder is needed");
      folder_ = spec_.Path(document["cwd"].get<std::string>());
    }
    std::error_code ignored;
    if (!folder_.empty() && !fs::is_directory(folder_, ignored)) {
      Wrong("cwd", "no such folder: " + folder_.string());
    }
    if (document.contains("deadline_s") && !document["deadline_s"].is_null()) {
      const Json& given = document["deadline_s"];
      if (!given.is_number() || given.get<double>() <= 0) {
        Wrong("deadline_s", "a number of seconds above 0 is needed");
      }
      deadline_ = std::chrono::milliseconds(static_cast<std::int64_t>(given.get<double>() * 1000));
    }
  }

  core::Capabilities Capabilities() const override {
    return {.atomic_cutover = false,
            .retries_cutover = false,
            .drains = false,
            .can_roll_back = !down_.empty()};
  }

  core::Plan MakePlan() override {
    core::Plan plan;
    core::PlanStep& step = plan.steps.emplace_back();
    step.phase = "cutover";
    step.what = "run " + Shown(up_) + " in " + folder_.string();
    if (Found(up_).empty()) {
      plan.refused.push_back({up_[0], "no such program in PATH; install it or give its full path"});
    }
    if (down_.empty()) {
      plan.warnings.emplace_back("there is no 'down': it cannot be rolled back");
    } else if (Found(down_).empty()) {
      plan.warnings.push_back("the program of 'down' is not in PATH: " + down_[0]);
    }
    plan.warnings.emplace_back("what the program will do in the database is not known to plan");
    return plan;
  }

  void Prepare() override {}
  core::SyncProgress SyncStep(const core::Budget& /*budget*/) override { return {}; }

  void Cutover(const core::CutoverOptions&) override { Run(up_, "cutover"); }

  core::VerifyResult Verify() override {
    return {.not_checked = {"what the program was meant to do: only its exit status is known"}};
  }

  void Rollback(const core::RollbackOptions& options) override {
    if (down_.empty()) {
      throw Error(ErrorKind::kUnsupported,
                  "the migration has no 'down' command, so nothing was rolled back");
    }
    if (!options.to.empty()) {
      throw Error(ErrorKind::kUnsupported,
                  "a 'command' has no rollback points: go back without --to");
    }
    Run(down_, "rollback");
  }

  std::vector<std::string> Cleanup(bool) override { return {}; }

  std::vector<std::string> Reset(bool /*dry_run*/) override {
    return {"what the program has done so far stays; only the journal goes"};
  }

  // The program's own transactions are not ours to judge.
  core::Owner WhoOwns() override { return core::Owner::kUnknown; }

  core::StrategyStatus Status() override {
    core::StrategyStatus status;
    const auto session =
        db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
    const auto entry = core::Journal(*session, spec_.id).Find("run");
    if (!entry) return status;
    const std::string state = entry->detail.value("state", "");
    status.in_service = state == "up"     ? core::Owner::kNew
                        : state == "down" ? core::Owner::kOld
                                          : core::Owner::kUnknown;
    status.detail = entry->detail.value("command", "") + ": " + state;
    if (status.in_service == core::Owner::kUnknown) {
      status.blocking.push_back("'" + entry->detail.value("command", "") +
                                "' did not end well: what it has done is for its own tool to say");
    }
    return status;
  }

 private:
  static std::string Shown(const std::vector<std::string>& argv) {
    std::string text;
    for (const std::string& argument : argv) text += (text.empty() ? "" : " ") + argument;
    return Redact(text);
  }

  // A program with a slash in its name is relative to the folder that it runs in.
  fs::path Found(const std::vector<std::string>& argv) const {
    const fs::path program(argv[0]);
    if (argv[0].find('/') != std::string::npos && program.is_relative()) {
      return FindProgram((folder_ / program).string());
    }
    return FindProgram(argv[0]);
  }

  void Remember(const std::string& state, const std::vector<std::string>& argv) {
    const auto session =
        db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
    core::Journal journal(*session, spec_.id);
    if (journal.Exists()) {
      journal.Put("run", {{"state", state}, {"command", Shown(argv)}});
    }
  }

  void Run(const std::vector<std::string>& argv, const std::string& points) {
    understudy::Command command;
    command.argv = argv;
    if (const fs::path found = Found(argv); !found.empty()) {
      command.argv[0] = fs::absolute(found).string();
    }
    command.environment = environment_;
    command.folder = folder_;
    command.deadline = deadline_;
    std::vector<std::string> last;
    command.on_line = [&](int which, std::string_view line) {
      const std::string text = Redact(line);
      context_.Tell("output", {{"stream", which == 1 ? "stdout" : "stderr"}, {"text", text}});
      if (last.size() == kKeptLines) last.erase(last.begin());
      last.push_back(text);
    };
    if (points == "cutover") context_.At("cutover.locked", {{"command", Shown(argv)}});
    context_.At(points + ".before_commit", {{"command", Shown(argv)}});
    Remember("begun", argv);
    const auto started = SteadyClock::now();
    const Outcome outcome = RunCommand(command, [&] { return context_.stopped(); });
    context_.ThrowIfStopped();
    if (!outcome.ok()) {
      Remember("failed", argv);
      std::string said;
      for (const std::string& line : last) said += "\n  " + line;
      const std::string how =
          outcome.deadline_passed
              ? "did not end within deadline_s (" +
                    std::to_string(
                        std::chrono::duration_cast<std::chrono::seconds>(deadline_).count()) +
                    " s) and was ended with everything that it had started"
          : outcome.exit_status > 128
              ? "was ended by signal " + std::to_string(outcome.exit_status - 128)
              : "ended with exit status " + std::to_string(outcome.exit_status);
      throw Error(
          outcome.deadline_passed ? ErrorKind::kCancelled : ErrorKind::kConstraint,
          Shown(argv) + " " + how + (said.empty() ? "; it said nothing" : "; it said:") + said,
          outcome.deadline_passed ? "deadline" : std::to_string(outcome.exit_status));
    }
    Remember(points == "cutover" ? "up" : "down", argv);
    context_.Log("info", Shown(argv) + " ended well after " +
                             std::to_string(static_cast<std::int64_t>(MillisecondsSince(started))) +
                             " ms");
    context_.At(points + ".after_commit", {{"command", Shown(argv)}});
  }

  core::Context& context_;
  const core::Spec& spec_;
  std::vector<std::string> up_;
  std::vector<std::string> down_;
  std::map<std::string, std::string> environment_;
  fs::path folder_;
  std::chrono::milliseconds deadline_{std::chrono::seconds(kDefaultDeadlineS)};
};

}  // namespace

core::StrategyInfo Strategy() {
  return {
      .name = "command",
      .endpoint_keys = {"on"},
      .required = {"on", "up"},
      .optional = {"down", "cwd", "env", "deadline_s"},
      .make = [](core::Context& context) { return std::make_unique<CommandMigration>(context); }};
}

}  // namespace understudy::command
