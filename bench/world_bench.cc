// How long a world takes: from the cache, as a clone, as a container; each beside the same by hand.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include "bench/result.h"
#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/db/binaries.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "harness/world/engine.h"
#include "harness/world/world.h"

namespace understudy::bench {
namespace {

namespace fs = std::filesystem;
using harness::DatabaseSpec;
using harness::Lease;

const fs::path kShop = fs::path(UNDERSTUDY_SOURCE_DIR) / "fixtures/shop";

harness::ProvisionOptions Options() {
  harness::ProvisionOptions options;
  options.run_id = "bench";
  options.scenario = "bench";
  options.stop = Stopped;
  return options;
}

DatabaseSpec Shop() {
  DatabaseSpec spec;
  spec.name = "main";
  spec.engine = "postgres";
  spec.provision = "local";
  spec.fixture = Json::array(
      {(kShop / "schema.sql").string(), {{"generate", (kShop / "rows.json").string()}}});
  return spec;
}

std::int64_t OneQuery(const db::Endpoint& endpoint, const char* sql) {
  return db::Connect(endpoint)->Scalar(sql).AsInteger();
}

constexpr const char* kCountOrders = "SELECT count(*) FROM public.orders";

// What a person would script: initdb, a start, the dump of the same content.
class ByHand {
 public:
  explicit ByHand(const db::Endpoint& like) {
    const auto server = db::FindServer(std::nullopt);
    if (!server) throw Error(ErrorKind::kEnvironment, "no PostgreSQL server is installed");
    bin_ = server->folder;
    char name[] = "/tmp/understudy-bench-XXXXXX";
    if (::mkdtemp(name) == nullptr) throw Error(ErrorKind::kEnvironment, "cannot make a folder");
    folder_ = name;
    fs::permissions(folder_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec |
                                 fs::perms::others_read);
    if (::getuid() == 0) Run({"chown", "postgres", folder_.string()});
    const std::string dump = Run({(bin_ / "pg_dump").string(), "-d", like.Conninfo(), "--no-owner",
                                  "-f", (folder_ / "shop.sql").string()});
  }
  ~ByHand() {
    End();
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  ByHand(const ByHand&) = delete;
  ByHand& operator=(const ByHand&) = delete;

  void Make() {
    const std::string data = (folder_ / "data").string();
    As({(bin_ / "initdb").string(), "-D", data, "--no-sync", "-A", "trust", "-U", "postgres"});
    As({(bin_ / "pg_ctl").string(), "-D", data, "-w", "-l", (folder_ / "log").string(), "-o",
        "-k " + folder_.string() + " -c listen_addresses='' -c port=54331 -c fsync=off", "start"});
    up_ = true;
    Run({(bin_ / "psql").string(), "-qX", "-h", folder_.string(), "-p", "54331", "-U", "postgres",
         "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f", (folder_ / "shop.sql").string()});
    OneQuery(db::Endpoint::Postgres({{"host", folder_.string()},
                                     {"port", "54331"},
                                     {"user", "postgres"},
                                     {"dbname", "postgres"}}),
             kCountOrders);
  }
  void End() noexcept {
    if (!up_) return;
    try {
      up_ = false;
      As({(bin_ / "pg_ctl").string(), "-D", (folder_ / "data").string(), "-m", "immediate",
          "stop"});
      fs::remove_all(folder_ / "data");
    } catch (const std::exception& error) {
      std::cerr << "understudy_bench: " << error.what() << "\n";
    }
  }

 private:
  void As(std::vector<std::string> argv) {
    if (::getuid() == 0) argv.insert(argv.begin(), {"runuser", "-u", "postgres", "--"});
    Run(std::move(argv));
  }

  fs::path bin_;
  fs::path folder_;
  bool up_ = false;
};

}  // namespace

void World(int pairs) {
  const DatabaseSpec spec = Shop();
  Measurement world;
  world.name = "world";
  world.what = "a local world from the cache (shop), to its first query";
  world.peer = "initdb, pg_ctl start, psql < dump of the same";
  world.target = {"seconds", 0.5, 0};
  Measurement clone;
  clone.name = "clone";
  clone.what = "a clone of it";
  clone.peer = "CREATE DATABASE … TEMPLATE by psql";
  clone.target = {"seconds", 0.1, 0};
  {
    auto lease = harness::Provision(spec, Options());  // fills the cache
    ByHand by_hand(lease->endpoint());
    lease.reset();
    harness::EndServers();
    for (int i = 0; i < pairs; ++i) {
      StopIfAsked();
      world.peers.push_back(Seconds([&] { by_hand.Make(); }));
      by_hand.End();
      std::unique_ptr<Lease> ours;
      world.ours.push_back(Seconds([&] {
        ours = harness::Provision(spec, Options());
        OneQuery(ours->endpoint(), kCountOrders);
      }));
      std::unique_ptr<Lease> copy;
      clone.ours.push_back(Seconds([&] { copy = ours->Clone("bench"); }));
      OneQuery(copy->endpoint(), kCountOrders);  // it is one
      const db::Endpoint maintenance = ours->endpoint().WithDatabase("postgres");
      const std::string sql = "CREATE DATABASE understudy_bench_clone TEMPLATE " +
                              db::QuoteIdentifier(ours->endpoint().Setting("dbname"));
      const std::string psql = (db::FindServer(std::nullopt)->folder / "psql").string();
      clone.peers.push_back(Seconds([&] {
        Run({psql, "-qX", "-d", maintenance.Conninfo(), "-c", sql});
      }));
      db::Connect(maintenance)->Execute("DROP DATABASE understudy_bench_clone");
      copy.reset();
      ours.reset();
      harness::EndServers();
    }
  }
  std::cout << ToLine(world.ToJson()) << "\n" << ToLine(clone.ToJson()) << "\n";
}

void Container(int pairs) {
  Measurement container;
  container.name = "container";
  container.what = "a container of our image, to its first query";
  container.peer = "docker run of the same, asked until it answers";
  container.target = {"seconds", 1.0, 0};
  DatabaseSpec spec;
  spec.name = "main";
  spec.engine = "postgres";
  spec.provision = "docker";
  spec.version = 15;
  std::string image;
  try {
    harness::EnsureEngine(Options());
    image = harness::EnsureImage(spec, Options());
  } catch (const Error& error) {
    StopIfAsked();
    std::cout << ToLine(Skipped(container.name, container.what, error.message())) << "\n";
    return;
  }
  const std::string name = "understudy-bench-" + std::to_string(::getpid());
  const db::Endpoint by_hand = db::Endpoint::Postgres({{"host", "127.0.0.1"},
                                                       {"port", "54332"},
                                                       {"user", "postgres"},
                                                       {"password", "bench"},
                                                       {"dbname", "postgres"}});
  const fs::path password = fs::temp_directory_path() / (name + "-password");
  std::ofstream(password) << "bench";
  const auto remove = [&] { harness::Docker({"rm", "--force", "--volumes", name}); };
  try {
    for (int i = -1; i < pairs; ++i) {  // the first is a warm-up
      StopIfAsked();
      const double peer = Seconds([&] {
        Run({"docker", "run", "-d", "--name", name, "--publish", "127.0.0.1:54332:5432", "--volume",
             password.string() + ":/run/password:ro", "--env",
             "POSTGRES_PASSWORD_FILE=/run/password", image});
        const auto end = SteadyClock::now() + std::chrono::seconds(60);
        for (;;) {
          StopIfAsked();
          try {
            OneQuery(by_hand, "SELECT 1");
            return;
          } catch (const Error&) {
            if (SteadyClock::now() > end) throw;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
          }
        }
      });
      remove();
      std::unique_ptr<Lease> lease;
      const double ours = Seconds([&] {
        lease = harness::Provision(spec, Options());
        OneQuery(lease->endpoint(), "SELECT 1");
      });
      if (i < 0) continue;
      container.peers.push_back(peer);
      container.ours.push_back(ours);
    }
  } catch (...) {
    remove();
    fs::remove(password);
    throw;
  }
  fs::remove(password);
  std::cout << ToLine(container.ToJson()) << "\n";
}

}  // namespace understudy::bench
