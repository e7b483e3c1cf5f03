// The user's own pgbench scripts, run by pgbench itself, whose log of every transaction becomes
// operations. pgbench stays longer than any run and is ended by a signal; it says in its log, per
// line: client, number, latency in µs, script, end in epoch seconds and µs.
#include <signal.h>

#include <cmath>
#include <fstream>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"
#include "harness/actors/stage.h"
#include "harness/actors/workload.h"

namespace understudy::harness {
namespace {
namespace fs = std::filesystem;

constexpr std::string_view kLongerThanAnyRun = "604800";  // seconds

class Pgbench final : public Actor {
 public:
  Pgbench(const WorkloadSpec& spec, const ActorContext& context)
      : spec_(spec),
        context_(context),
        first_number_(
            context.ledger.TakeClientNumbers(static_cast<std::size_t>(std::max(1, spec.clients)))) {
  }
  ~Pgbench() override {
    try {
      Stop();
    } catch (const std::exception&) {  // the evidence lacks its end
    }
  }

  void Start() override {
    const auto database = context_.databases.find(spec_.on);
    if (database == context_.databases.end() ||
        database->second.engine() != db::Engine::kPostgres) {
      throw Error(ErrorKind::kInvalidSpec,
                  "a pgbench workload needs a PostgreSQL database; '" + spec_.on + "' is none");
    }
    for (const fs::path& script : Scripts()) ReadFile(script);  // there, and readable
    Launch(database->second);
    Say("started");
  }

  void Stop() override {
    if (stopped_ || !runner_.joinable()) return;
    stopped_ = true;
    stop_ = true;
    runner_.join();
    std::string error;
    if (early_) {
      error = "pgbench ended by itself with status " + std::to_string(outcome_.exit_status) + ": " +
              outcome_.err.substr(0, 500);
    }
    context_.ledger.Flush();
    Say(early_ ? "died" : "stopped", error);
  }

 private:
  std::vector<fs::path> Scripts() const {
    std::vector<fs::path> scripts;
    const Json& script = spec_.options.at("script");
    if (script.is_array()) {
      for (const Json& item : script) scripts.emplace_back(item.get<std::string>());
    } else {
      scripts.emplace_back(script.get<std::string>());
    }
    return scripts;
  }

  static std::string Program() {
    if (const fs::path found = FindProgram("pgbench"); !found.empty()) return found.string();
    int newest = 0;
    fs::path program;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
      const int major = std::atoi(entry.path().filename().c_str());
      if (major > newest && fs::exists(entry.path() / "bin/pgbench", ignored)) {
        newest = major;
        program = entry.path() / "bin/pgbench";
      }
    }
    if (program.empty()) {
      throw Error(ErrorKind::kEnvironment,
                  "the program pgbench is not on this machine: install the package "
                  "postgresql-client or postgresql-contrib of your distribution");
    }
    return program.string();
  }

  void Launch(const db::Endpoint& endpoint) {
    const int clients = std::max(1, spec_.clients);
    Command command;
    command.argv = {Program(), "-n",
                    "-l",      "--log-prefix=" + (logs_.path() / "log").string(),
                    "-c",      std::to_string(clients),
                    "-T",      std::string(kLongerThanAnyRun),
                    "-M",      spec_.options.value("prepared", false) ? "prepared" : "simple"};
    if (spec_.rate_per_s && *spec_.rate_per_s > 0) {
      command.argv.push_back("-R");
      command.argv.push_back(std::to_string(*spec_.rate_per_s));
    }
    command.argv.push_back("--random-seed=" + std::to_string(spec_.seed));
    for (const fs::path& script : Scripts()) {
      command.argv.push_back("-f");
      command.argv.push_back(script.string());
    }
    command.environment = endpoint.Environment();
    command.environment["PGAPPNAME"] = ClientName("pgbench", first_number_);
    command.folder = logs_.path();
    command.on_line = [this](int which, std::string_view line) {
      if (which == 2) Complaint(line);
    };
    // pgbench's clock is the wall's: where it stands on ours is taken once.
    const double wall_ms = std::chrono::duration<double, std::milli>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
    offset_ms_ = context_.ledger.evidence().NowMs() - wall_ms;
    runner_ = std::thread([this, command] {
      try {
        outcome_ = RunCommand(command, [this] {
          ReadLogs();
          return stop_.load();
        });
      } catch (const std::exception& error) {
        outcome_.err = error.what();
      }
      early_ = !stop_;
      ReadLogs();
    });
  }

  // "pgbench: error: client 1 script 0 aborted in command 3 query 0: ERROR:  …"
  void Complaint(std::string_view line) {
    if (line.find("ERROR:") == std::string_view::npos &&
        line.find("error:") == std::string_view::npos) {
      return;
    }
    Ledger::Operation did;
    did.client = "pgbench-" + std::to_string(first_number_);
    did.kind = "pgbench";
    did.operation = "script";
    did.database = spec_.on;
    did.outcome = line.find("connection to server") != std::string_view::npos ||
                          line.find("server closed the connection") != std::string_view::npos
                      ? "unknown"
                      : "refused";
    did.message = std::string(line);
    did.started_ms = context_.ledger.evidence().NowMs();
    context_.ledger.Did(std::move(did));
  }

  void ReadLogs() {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(logs_.path(), ignored)) {
      if (!entry.path().filename().string().starts_with("log")) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::streamoff& at = read_to_[entry.path().filename().string()];
      in.seekg(at);
      for (std::string line; std::getline(in, line);) {
        if (in.eof()) break;  // not whole yet
        at = in.tellg();
        Transaction(line);
      }
    }
  }

  void Transaction(const std::string& line) {
    std::istringstream in(line);
    std::string client, number, latency, script, seconds, micros;
    if (!(in >> client >> number >> latency >> script >> seconds >> micros)) return;
    Ledger::Operation did;
    did.client = "pgbench-" + std::to_string(first_number_ + std::stoul(client));
    did.kind = "pgbench";
    did.operation = "script" + script;
    did.database = spec_.on;
    const double end_ms = std::stod(seconds) * 1000 + std::stod(micros) / 1000 + offset_ms_;
    if (latency == "failed" || latency == "skipped") {
      did.outcome = "refused";
      did.message = "pgbench: " + latency;
      did.started_ms = end_ms;
    } else {
      did.outcome = "ok";
      did.duration_ms = std::stod(latency) / 1000;
      did.started_ms = end_ms - did.duration_ms;
    }
    context_.ledger.Did(std::move(did));
    ++transactions_;
  }

  void Say(std::string_view status, const std::string& error = "") {
    Json writes = spec_.options.value("writes", Json::array());
    if (writes.is_null()) writes = Json::array();
    Json event = {{"index", spec_.index},
                  {"kind", spec_.kind},
                  {"on", spec_.on},
                  {"clients", spec_.clients},
                  {"status", status},
                  {"operations", transactions_.load()},
                  {"tables", Json::array()},
                  {"skipped", Json::array()},
                  {"writes", std::move(writes)}};
    if (!error.empty()) event["error"] = error;
    context_.ledger.evidence().Add("workload", std::move(event));
  }

  WorkloadSpec spec_;
  ActorContext context_;
  std::size_t first_number_;
  TemporaryFolder logs_{"us-pgbench"};
  std::thread runner_;
  std::atomic<bool> stop_ = false;
  bool stopped_ = false;
  bool early_ = false;
  Outcome outcome_;
  double offset_ms_ = 0;
  std::map<std::string, std::streamoff> read_to_;
  std::atomic<std::int64_t> transactions_ = 0;
};

}  // namespace

std::unique_ptr<Actor> MakePgbench(const WorkloadSpec& spec, const ActorContext& context) {
  return std::make_unique<Pgbench>(spec, context);
}

}  // namespace understudy::harness
