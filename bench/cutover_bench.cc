// What clients feel of a table swap's cutover: real clients (pgbench) write to fifty tables while
// these are exchanged; and how long a thousand tables are locked.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include "bench/result.h"
#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/core/lifecycle.h"
#include "engine/db/binaries.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "engine/table_swap/table_swap.h"

namespace understudy::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kPairsOfTables = 25;  // an account and its history each
constexpr int kAccounts = 20000;    // rows of one account table
constexpr int kClients = 8;
constexpr std::chrono::milliseconds kLead{1500};  // of load before the cutover is called
constexpr std::chrono::milliseconds kTail{1000};  // and after it

constexpr int kTables = 1000;
constexpr int kPreserved = 10;  // of these

// Hears how long the locks were held. Gives back all attempts but the last where `attempts` > 1, as
// a busy production makes an attempt give back: at the last point before the commit.
class Listener : public core::Probe {
 public:
  explicit Listener(int attempts = 1) : attempts_(attempts) {}

  void OnEvent(const core::Event& event) override {
    if (event.kind == "log" && std::getenv("UNDERSTUDY_BENCH_SAYS") != nullptr) {
      std::cerr << event.data.value("text", "") << "\n";  // which stage took how long
    }
    if (event.kind != "point") return;
    const std::string point = event.data.value("point", "");
    if (point == "cutover.begin") ++begun;
    if (point == "cutover.before_commit") {
      locked_s.push_back(Locked(event));
      if (static_cast<int>(locked_s.size()) < attempts_) {
        throw Error(ErrorKind::kConflict, "measured; once more", "55P03");
      }
    }
    if (point == "cutover.after_commit") {
      commit_s = Locked(event) - locked_s.back();
    }
  }

  int begun = 0;
  std::vector<double> locked_s;  // from the first lock to the commit
  double commit_s = 0;           // the commit itself

 private:
  static double Locked(const core::Event& event) {
    return event.data.at("attributes").at("locked_ms").get<double>() / 1000;
  }

  int attempts_;
};

class Swap {
 public:
  Swap(Json document, const fs::path& folder) {
    registry_.Add(table_swap::Strategy());
    document["strategy"] = "table-swap";
    spec_ = core::Spec::Parse(document, "bench", folder, "bench", registry_);
  }
  void Run(core::Phase through, core::Probe* probe = nullptr) {
    core::Lifecycle lifecycle(spec_, registry_, {.probe = probe, .stop = Stopped});
    const auto outcome = lifecycle.RunThrough(through);
    StopIfAsked();
    if (!outcome.ok()) throw Error(ErrorKind::kInternal, outcome.message);
  }

 private:
  core::Registry registry_;
  core::Spec spec_;
};

struct Seen {
  double longest_s = 0;  // that any client waited for one transaction
  double per_second = 0;
};

// pgbench, and what its own log says of every transaction: each client begins one when the last
// has ended, so that the longest of them is the longest that a client stood still.
class Load {
 public:
  Load(std::string where, const fs::path& folder, std::vector<std::string> scripts)
      : where_(std::move(where)), folder_(folder) {
    const auto server = db::FindServer(std::nullopt);
    if (!server || !fs::exists(server->folder / "pgbench")) {
      throw Error(ErrorKind::kEnvironment, "pgbench is not installed");
    }
    pgbench_ = (server->folder / "pgbench").string();
    for (std::size_t i = 0; i < scripts.size(); ++i) {
      files_.push_back((folder / fmt::format("load-{}.sql", i)).string());
      WriteFileWhole(files_.back(), scripts[i]);
    }
  }

  // The clients are at work while `work` is done, some time before and some time after. An error
  // that a client gets ends that client, and then this.
  Seen During(int clients, int per_second, const std::function<void()>& work) const {
    const fs::path said = folder_ / "pgbench.out";
    Command command;
    command.argv = {pgbench_,   "-n",    "-M",
                    "prepared", "-c",    std::to_string(clients),
                    "-j",       "2",     "-T",
                    "600",      "--log", "--log-prefix=" + (folder_ / "transactions").string()};
    if (per_second > 0) command.argv.push_back("--rate=" + std::to_string(per_second));
    for (const std::string& file : files_) command.argv.insert(command.argv.end(), {"-f", file});
    command.argv.push_back(where_);
    Child pgbench = Child::Start(command, {}, said);
    std::this_thread::sleep_for(kLead);
    work();
    std::this_thread::sleep_for(kTail);
    pgbench.Signal(SIGALRM);  // its own way to end when the time is over
    const auto status = pgbench.Wait(std::chrono::seconds(30));
    const std::string out = ReadFile(said);
    if (status != 0 || out.find("number of failed transactions: 0 ") == std::string::npos) {
      throw Error(ErrorKind::kInternal, "pgbench said: " + out);
    }
    Seen seen;
    if (const std::size_t at = out.find("tps = "); at != std::string::npos) {
      seen.per_second = std::stod(out.substr(at + 6));
    }
    std::int64_t transactions = 0;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (!entry.path().filename().string().starts_with("transactions.")) continue;
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line); ++transactions) {
        std::istringstream words(line);
        double client = 0;
        double number = 0;
        double microseconds = 0;
        words >> client >> number >> microseconds;
        seen.longest_s = std::max(seen.longest_s, microseconds / 1e6);
      }
      fs::remove(entry.path());
    }
    if (transactions == 0) throw Error(ErrorKind::kInternal, "pgbench has written no log");
    return seen;
  }

 private:
  std::string where_;
  fs::path folder_;
  std::string pgbench_;
  std::vector<std::string> files_;
};

std::string Text(const std::vector<double>& seconds) {
  const Json spread = Spread(seconds);
  return fmt::format("{:.3f} s ({:.3f}–{:.3f})", spread.at("median").get<double>(),
                     spread.at("min").get<double>(), spread.at("max").get<double>());
}

}  // namespace

void Stall(const std::string& conninfo, int runs, double seconds, const std::string& settings) {
  const TemporaryFolder scratch("bench-stall");
  const auto session = db::Connect(db::Endpoint::Parse(conninfo));
  std::vector<std::string> scripts;
  for (int i = 1; i <= kPairsOfTables; ++i) {
    session->Execute(fmt::format(
        "CREATE TABLE public.account_{0} (id int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0,"
        " owner text NOT NULL, filler char(60) DEFAULT '');"
        "CREATE INDEX ON public.account_{0} (owner);"
        "CREATE TABLE public.history_{0} (id bigserial PRIMARY KEY, account int NOT NULL"
        " REFERENCES public.account_{0} (id), delta int, at timestamptz NOT NULL);"
        "INSERT INTO public.account_{0} (id, owner) SELECT i, 'owner ' || i % 999"
        " FROM generate_series(1, {1}) AS i;",
        i, kAccounts));
    scripts.push_back(
        fmt::format("\\set aid random(1, {1})\n\\set delta random(-5000, 5000)\n"
                    "BEGIN;\n"
                    "UPDATE public.account_{0} SET balance = balance + :delta WHERE id = :aid;\n"
                    "SELECT balance FROM public.account_{0} WHERE id = :aid;\n"
                    "INSERT INTO public.history_{0} (account, delta, at) VALUES (:aid, :delta, "
                    "now());\n"
                    "END;\n",
                    i, kAccounts));
  }
  session->Execute("VACUUM ANALYZE");
  const Load load(conninfo, scratch.path(), scripts);
  Measurement stall{.name = "cutover-stall",
                    .what =
                        "cutover of 50 tables under load: a client's longest stall beyond the "
                        "longest without one",
                    .target = {"seconds", 0.1, 0}};
  std::vector<double> with;
  std::vector<double> without;
  std::vector<double> locked;
  std::vector<double> attempts;
  std::vector<double> rate;
  for (int run = 1; run <= runs; ++run) {
    std::string sql;
    for (int i = 1; i <= kPairsOfTables; ++i) {
      sql += fmt::format(
          "ALTER TABLE public.account_{0} ADD COLUMN note_{1} text;\n"
          "ALTER TABLE public.history_{0} ADD COLUMN note_{1} text;\n",
          i, run);
    }
    WriteFileWhole(scratch.path() / "new.sql", sql);
    Swap swap({{"target", conninfo}, {"schema", {{"sql", {"new.sql"}}}}}, scratch.path());
    const Seen before = load.During(
        kClients, 0, [&] { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); });
    StopIfAsked();
    swap.Run(core::Phase::kSync);
    session->Execute("CHECKPOINT");
    Listener listener;
    const Seen during =
        load.During(kClients, 0, [&] { swap.Run(core::Phase::kCutover, &listener); });
    swap.Run(core::Phase::kCleanup);
    session->Execute("CHECKPOINT");
    without.push_back(before.longest_s);
    with.push_back(during.longest_s);
    stall.ours.push_back(during.longest_s - before.longest_s);
    locked.push_back(listener.locked_s.back() + listener.commit_s);
    attempts.push_back(listener.begun);
    rate.push_back(before.per_second);
  }
  stall.more = {{"note", fmt::format("longest with a cutover {}, without {}; locks held for {}, at "
                                     "most {:g} attempts; {} clients at full speed, {:.0f} "
                                     "transactions/s; {}",
                                     Text(with), Text(without), Text(locked),
                                     *std::ranges::max_element(attempts), kClients,
                                     Spread(rate).at("median").get<double>(), settings)},
                {"longest_s", with},
                {"longest_without_s", without},
                {"locked_s", locked}};
  std::cout << ToLine(stall.ToJson()) << "\n";
}

void ThousandTables(const std::string& source, const std::string& target, int attempts,
                    const std::string& settings) {
  const TemporaryFolder scratch("bench-thousand");
  std::vector<std::string> scripts;
  Json preserved = Json::array();
  for (const std::string& where : {source, target}) {
    const auto session = db::Connect(db::Endpoint::Parse(where));
    for (int i = 1; i <= kTables; ++i) {
      session->Execute(fmt::format(
          "CREATE TABLE public.t{0} (id serial PRIMARY KEY, parent int, name text NOT NULL,"
          " at timestamptz DEFAULT now());"
          "CREATE INDEX ON public.t{0} (name);"
          "INSERT INTO public.t{0} (parent, name) SELECT i, 'row ' || i FROM generate_series(1, 20)"
          " AS i;"
          "ALTER TABLE public.t{0} ADD FOREIGN KEY (parent) REFERENCES public.t{1} (id)",
          i, std::max(1, i / 2)));
    }
  }
  for (int i = 1; i <= kPreserved; ++i) {
    preserved.push_back(fmt::format("t{}", i));
    scripts.push_back(
        fmt::format("INSERT INTO public.t{0} (parent, name) VALUES (1, 'new');\n"
                    "UPDATE public.t{0} SET name = 'changed' WHERE id = 1 + :client_id;\n",
                    i));
  }
  Swap swap({{"source", source},
             {"target", target},
             {"schema", {{"from", "source"}}},
             {"preserved", preserved},
             {"limits", {{"cutover_budget_ms", 300000}}}},
            scratch.path());
  const double prepare_s = Seconds([&] { swap.Run(core::Phase::kSync); });
  const Load load(target, scratch.path(), scripts);
  Listener listener(attempts);
  load.During(2, 50, [&] { swap.Run(core::Phase::kCutover, &listener); });
  Measurement locked{.name = "cutover-1000",
                     .what = "1,000 tables with indexes, sequences and foreign keys: under lock",
                     .target = {"seconds", 0.6, 0}};
  for (const double seconds : listener.locked_s) {
    locked.ours.push_back(seconds + listener.commit_s);
  }
  locked.more = {{"note", fmt::format("{} attempts, all but the last given back just before their "
                                      "commit, the last one's commit of {:.3f} s added to each; "
                                      "{} of the tables are written to; prepare took {:.1f} s; {}",
                                      listener.locked_s.size(), listener.commit_s, kPreserved,
                                      prepare_s, settings)}};
  std::cout << ToLine(locked.ToJson()) << "\n";
}

}  // namespace understudy::bench
