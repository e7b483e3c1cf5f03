// PostgreSQL in a container: a server of its own per lease, on the loopback address alone.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/base/log.h"
#include "engine/base/owner.h"
#include "engine/base/redact.h"
#include "engine/db/binaries.h"
#include "harness/world/engine.h"
#include "harness/world/provision.h"
#include "harness/world/server.h"

namespace understudy::harness {
namespace {

constexpr std::chrono::milliseconds kFirstAnswer{120000};  // a foreign image runs initdb first
constexpr int kPortTries = 8;
constexpr const char* kPasswordInside = "/run/understudy/password";

// Unforeseeable, unlike anything of understudy::Random.
std::string RandomHex(std::size_t bytes) {
  std::string raw(bytes, '\0');
  if (::getrandom(raw.data(), raw.size(), 0) != static_cast<ssize_t>(raw.size())) {
    throw Error(ErrorKind::kEnvironment, "the kernel gives no random bytes");
  }
  return ToHex(raw);
}

// A port that nobody has now. Docker would choose a new one with every start of the container; this
// one stays through a restart.
int FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  int port = 0;
  if (fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    port = ntohs(address.sin_port);
  }
  if (fd >= 0) ::close(fd);
  if (port == 0) throw Error(ErrorKind::kEnvironment, "no free port on the loopback address");
  return port;
}

std::string LastPart(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.size() > 800) text.erase(0, text.size() - 800);
  return Redact(text);
}

class Container final : public PostgresServer {
 public:
  Container(const std::string& image, const ProvisionOptions& options)
      : folder_("docker", options.run_id),
        name_("understudy-" + std::to_string(::getpid()) + "-" + RandomHex(6)),
        password_(RandomHex(18)) {
    RememberSecret(password_);
    WritePassword();
    try {
      Run(image, options);
      Wait(options.stop);
      version_ = db::Connect(Maintenance())->Server().version_text;
    } catch (...) {
      Remove();
      throw;
    }
  }
  ~Container() override {
    if (!kept_) {
      Remove();
    } else {
      folder_.Keep();  // a start of the container mounts the password again
    }
  }

  db::Endpoint Maintenance() const override {
    return db::Endpoint::Postgres({{"host", "127.0.0.1"},
                                   {"port", std::to_string(port_)},
                                   {"user", "postgres"},
                                   {"password", password_},
                                   {"dbname", "postgres"},
                                   {"sslmode", "disable"}});
  }
  std::string provision() const override { return "docker"; }
  std::string version() const override { return version_; }
  std::string HowToConnect(const std::string& database) const override {
    return "docker exec -it " + name_ + " psql -U postgres " + database;
  }
  void Keep() override { kept_ = true; }

  void Restart(const std::string& how) override {
    const char* signal = how == "fast" ? "INT" : how == "immediate" ? "QUIT" : "KILL";
    if (how != "fast" && how != "immediate" && how != "kill") {
      throw Error(ErrorKind::kInvalidSpec,
                  "unknown way to restart: '" + how + "'; allowed: fast, immediate, kill");
    }
    Must({"kill", std::string("--signal=") + signal, name_}, "stop");
    Must({"wait", name_}, "wait for the end of");
    Must({"start", name_}, "start");
    Wait({});
  }

 private:
  void WritePassword() const {
    const auto file = folder_.path() / "password";
    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const bool ok = fd >= 0 && ::write(fd, password_.data(), password_.size()) ==
                                   static_cast<ssize_t>(password_.size());
    if (fd >= 0) ::close(fd);
    if (!ok) throw Error(ErrorKind::kEnvironment, "cannot write " + file.string(), "ENOSPC");
  }

  void Run(const std::string& image, const ProvisionOptions& options) {
    for (int tries = 1;; ++tries) {
      port_ = FreePort();
      // Appended in place: at -O2, GCC 12 takes operator+ here for a write out of bounds.
      std::string owner(kOwnerLabel);
      owner.append("=").append(Owner::ThisProcess().Text());
      std::string run(kRunLabel);
      run.append("=").append(options.run_id);
      const Outcome outcome =
          Docker({"run", "-d", "--name", name_, "--label", owner, "--label", run, "--publish",
                  "127.0.0.1:" + std::to_string(port_) + ":5432", "--shm-size", "256m", "--volume",
                  (folder_.path() / "password").string() + ":" + kPasswordInside + ":ro", "--env",
                  std::string("POSTGRES_PASSWORD_FILE=") + kPasswordInside, image},
                 std::chrono::minutes(2), options.stop);
      if (outcome.ok()) return;
      Remove();
      const bool taken = outcome.err.find("port is already allocated") != std::string::npos ||
                         outcome.err.find("address already in use") != std::string::npos;
      if (options.stop && options.stop()) {
        throw Error(ErrorKind::kCancelled, "stopped while a container started");
      }
      if (taken && tries < kPortTries) continue;
      const bool full = outcome.err.find("no space left") != std::string::npos;
      throw Error(ErrorKind::kEnvironment,
                  "cannot start a container of " + image + ": " + LastPart(outcome.err),
                  full ? "ENOSPC" : "");
    }
  }

  void Wait(const std::function<bool()>& stop) const {
    auto asked = SteadyClock::now();
    WaitForAnswer(
        Maintenance(), kFirstAnswer,
        [&]() -> std::string {
          if (MillisecondsSince(asked) < 1000) return "";
          asked = SteadyClock::now();
          const Outcome state = Docker({"inspect", "--format", "{{.State.Running}}", name_});
          if (state.ok() && state.out.find("true") != std::string::npos) return "";
          const Outcome logs = Docker({"logs", "--tail", "20", name_});
          return "the container ended before it answered; its log ends with: " +
                 LastPart(logs.out + logs.err);
        },
        stop);
  }

  void Must(std::vector<std::string> arguments, const std::string& what) const {
    const Outcome outcome = Docker(std::move(arguments));
    if (!outcome.ok()) {
      throw Error(ErrorKind::kEnvironment,
                  "cannot " + what + " the container " + name_ + ": " + LastPart(outcome.err));
    }
  }

  void Remove() const noexcept {
    try {
      Docker({"rm", "-f", "-v", name_});
    } catch (const std::exception&) {  // its label lets `clean` find it
    }
  }

  OwnedFolder folder_;
  std::string name_;
  std::string password_;
  int port_ = 0;
  std::string version_;
  bool kept_ = false;
};

}  // namespace

std::unique_ptr<Lease> ProvisionDocker(const DatabaseSpec& spec, const ProvisionOptions& options) {
  EnsureEngine(options);
  const std::string image = EnsureImage(spec, options);
  const auto container = std::make_shared<Container>(image, options);
  const db::Endpoint maintenance = container->Maintenance();
  {
    const auto session = db::Connect(maintenance);
    if (spec.version && session->Server().major() != *spec.version) {
      throw Error(ErrorKind::kInvalidSpec,
                  "the image " + image + " holds PostgreSQL " + session->Server().version_text +
                      "; the scenario asks for version " + std::to_string(*spec.version));
    }
  }
  const SplitSettings settings = Split(maintenance, spec.settings);
  ApplyServerSettings(*container, settings.server);
  const std::string name = NewDatabaseName(options.scenario + "_" + spec.name);
  CreateDatabase(maintenance, name, "");
  Fill(spec, maintenance.WithDatabase(name), options, image);
  ApplyDatabaseSettings(maintenance, name, settings.database);
  return MakePostgresLease(container, name, true);
}

}  // namespace understudy::harness
