#include "harness/actors/workload.h"

#include <algorithm>

#include "engine/base/error.h"
#include "harness/actors/probe.h"
#include "harness/actors/reader.h"
#include "harness/actors/writer.h"

namespace understudy::harness {
namespace {

constexpr double kGraceMs = 10000;  // for the statement that runs when a workload is stopped
constexpr std::size_t kMutateClients = 2;

std::string DatabaseOf(const Json& options, const ActorContext& context) {
  const auto it = options.find("on");
  if (it != options.end() && it->is_string()) return it->get<std::string>();
  return context.databases.empty() ? "" : context.databases.begin()->first;
}

std::vector<std::string> ChosenTables(const Json& options, const Stage& stage) {
  std::vector<std::string> names;
  const auto it = options.find("tables");
  if (it == options.end() || !it->is_array()) return names;
  const std::string schema = stage.engine == db::Engine::kPostgres ? "public" : "main";
  for (const Json& item : *it) {
    std::string name = item.get<std::string>();
    if (name.find('*') == std::string::npos) {
      name = db::TableName::Parse(name, schema).Display();
      if (std::none_of(stage.plans.begin(), stage.plans.end(),
                       [&](const auto& plan) { return plan->display == name; })) {
        throw Error(ErrorKind::kInvalidSpec, "database '" + stage.database + "' has no table " +
                                                 name + ": correct \"tables\" of its workload");
      }
    }
    names.push_back(std::move(name));
  }
  return names;
}

// The plans of the catalog as it is now, with no more than `before` allowed.
std::shared_ptr<Stage> FollowedStage(const Stage& before, db::Session& session) {
  StageOptions all;
  std::shared_ptr<Stage> now = PlanStage(session, before.database, all);
  AvoidSideEffects(*now, ReadTriggers(*now, session));
  now->chosen.clear();
  now->parents.assign(now->plans.size(), {});
  now->owned.assign(now->plans.size(), {});
  for (std::size_t p = 0; p < before.plans.size(); ++p) {
    const TablePlan& old = *before.plans[p];
    const int found = now->Find(old.table.name);
    if (found < 0) continue;
    const auto index = static_cast<std::size_t>(found);
    TablePlan& plan = *now->plans[index];
    plan.can_insert = plan.can_insert && old.can_insert;
    plan.can_insert_short = plan.can_insert_short && plan.can_insert && old.can_insert_short;
    plan.can_delete = plan.can_delete && old.can_delete;
    plan.can_upsert = plan.can_upsert && old.can_upsert;
    if (old.movable.empty()) plan.movable.clear();
    plan.reread = plan.reread || old.reread;
    std::erase_if(plan.updatable, [&](std::size_t column) {
      return std::none_of(old.updatable.begin(), old.updatable.end(), [&](std::size_t o) {
        return old.table.columns[o].name == plan.table.columns[column].name;
      });
    });
    const auto same = [&](int mine, int its) {
      return mine >= 0 && its >= 0 &&
             plan.table.columns[static_cast<std::size_t>(mine)].name ==
                 old.table.columns[static_cast<std::size_t>(its)].name;
    };
    if (!same(plan.counter, old.counter)) plan.counter = -1;
    if (!same(plan.note, old.note)) plan.note = -1;
    if (std::find(before.chosen.begin(), before.chosen.end(), p) != before.chosen.end()) {
      now->chosen.push_back(index);
    }
    bool same_kept = plan.kept.size() == old.kept.size();
    for (std::size_t i = 0; same_kept && i < plan.kept.size(); ++i) {
      same_kept = plan.table.columns[plan.kept[i]].name == old.table.columns[old.kept[i]].name;
    }
    if (!same_kept) continue;
    now->parents[index] = before.parents[p];
    for (const HotRow& row : before.hot) {
      if (row.plan == p && plan.counter >= 0) now->hot.push_back({index, row.kept});
    }
  }
  return now;
}

class CatalogWorkload : public ThreadedWorkload {
 public:
  using ThreadedWorkload::ThreadedWorkload;

 protected:
  std::shared_ptr<Stage> ReadStage(bool writes) {
    StageOptions options;
    options.clients = static_cast<std::size_t>(std::max(1, spec_.clients));
    options.writes = writes;
    if (writes) options.hot_share = ReadWriterOptions(spec_.options).hot_share;
    const auto session = ConnectClient(endpoint(), ClientName(spec_.kind, 0) + "-setup", true);
    std::shared_ptr<Stage> stage = PlanStage(*session, spec_.on, options);
    options.tables = ChosenTables(spec_.options, *stage);
    if (!options.tables.empty()) stage = PlanStage(*session, spec_.on, options);
    if (writes) AvoidSideEffects(*stage, ReadTriggers(*stage, *session));
    ShareOut(*stage, *session, context_.ledger, options);
    if (writes) {
      ClientSetup probe = Setup(0);
      probe.kind = "probe-" + spec_.kind;
      probe.prepared = false;
      Probe(stage, probe);
    }
    current_ = stage;
    return stage;
  }

  Writer::Refresh Refresh() {
    if (spec_.options.value("catalog", "fixed") != "follow") return {};
    return [this](const std::shared_ptr<const Stage>& old) -> std::shared_ptr<const Stage> {
      const std::lock_guard lock(mutex_);
      if (current_ != old) return current_;
      const auto session = ConnectClient(endpoint(), ClientName(spec_.kind, 0) + "-setup", true);
      current_ = FollowedStage(*old, *session);
      return current_;
    };
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<const Stage> current_;
};

class Writers : public CatalogWorkload {
 public:
  Writers(const WorkloadSpec& spec, const ActorContext& context, std::int64_t enough = 0)
      : CatalogWorkload(spec, context), enough_(enough) {}

 protected:
  void Cast(std::vector<std::unique_ptr<Client>>& clients) override {
    const std::shared_ptr<Stage> stage = ReadStage(true);
    for (const std::size_t p : stage->chosen) {
      const TablePlan& plan = *stage->plans[p];
      if (plan.CanWrite()) tables_.push_back(plan.display);
      for (const std::string& why : plan.why_not) {
        skipped_.push_back({{"table", plan.display}, {"why", why}});
        context_.ledger.evidence().NotChecked("writers:" + plan.display, why);
      }
    }
    std::erase_if(stage->chosen, [&](std::size_t p) { return !stage->plans[p]->CanWrite(); });
    for (const std::string& table : stage->written_by_triggers) writes_.push_back(table);
    if (stage->chosen.empty()) {
      context_.ledger.evidence().NotChecked("writers:" + spec_.on,
                                            "no table that the clients could write to");
      return;
    }
    for (std::size_t c = 0; c < static_cast<std::size_t>(std::max(1, spec_.clients)); ++c) {
      auto writer =
          std::make_unique<Writer>(Setup(c), ReadWriterOptions(spec_.options), stage, c, Refresh());
      writers_.push_back(writer.get());
      clients.push_back(std::move(writer));
    }
  }
  bool Enough() const override {
    if (enough_ == 0) return false;
    std::int64_t sum = 0;
    for (const Writer* writer : writers_) sum += writer->acknowledged();
    return sum >= enough_;
  }

 private:
  std::int64_t enough_;
  std::vector<Writer*> writers_;
};

class Readers : public CatalogWorkload {
 public:
  using CatalogWorkload::CatalogWorkload;

 protected:
  void Cast(std::vector<std::unique_ptr<Client>>& clients) override {
    const std::shared_ptr<Stage> stage = ReadStage(false);
    for (const std::size_t p : stage->chosen) tables_.push_back(stage->plans[p]->display);
    for (std::size_t c = 0; c < static_cast<std::size_t>(std::max(1, spec_.clients)); ++c) {
      clients.push_back(std::make_unique<Reader>(Setup(c), stage, Refresh()));
    }
  }
};

class SqlWorkload : public ThreadedWorkload {
 public:
  using ThreadedWorkload::ThreadedWorkload;

 protected:
  void Cast(std::vector<std::unique_ptr<Client>>& clients) override {
    const auto statements = spec_.options.at("statements").get<std::vector<std::string>>();
    if (statements.empty()) {
      throw Error(ErrorKind::kInvalidSpec, "a workload of kind sql needs \"statements\"");
    }
    writes_ = spec_.options.value("writes", Json::array());
    if (writes_.is_null()) writes_ = Json::array();
    for (std::size_t c = 0; c < static_cast<std::size_t>(std::max(1, spec_.clients)); ++c) {
      ClientSetup setup = Setup(c);
      setup.canonical = false;
      clients.push_back(std::make_unique<SqlClient>(std::move(setup), statements));
    }
  }
};

}  // namespace

ThreadedWorkload::ThreadedWorkload(WorkloadSpec spec, const ActorContext& context)
    : spec_(std::move(spec)),
      context_(context),
      first_number_(
          context_.ledger.TakeClientNumbers(static_cast<std::size_t>(std::max(1, spec_.clients)))) {
}

ThreadedWorkload::~ThreadedWorkload() {
  try {
    Stop();
  } catch (const std::exception&) {  // the evidence lacks its end, and the judge says so
  }
}

const db::Endpoint& ThreadedWorkload::endpoint() const {
  const auto it = context_.databases.find(spec_.on);
  if (it == context_.databases.end()) {
    throw Error(ErrorKind::kInvalidSpec,
                "a workload is on '" + spec_.on + "', which is none of the scenario's databases");
  }
  return it->second;
}

ClientSetup ThreadedWorkload::Setup(std::size_t client) const {
  ClientSetup setup;
  setup.ledger = &context_.ledger;
  setup.endpoint = endpoint();
  setup.database = spec_.on;
  setup.kind = spec_.kind;
  setup.number = first_number_ + client;
  setup.seed = spec_.seed;
  if (spec_.rate_per_s && *spec_.rate_per_s > 0) {
    setup.interval_ms = 1000.0 * std::max(1, spec_.clients) / *spec_.rate_per_s;
  }
  setup.prepared = spec_.options.value("prepared", false);
  return setup;
}

void ThreadedWorkload::Start() {
  Cast(clients_);
  for (const auto& client : clients_) client->Connect();
  started_ = true;
  Say("started");
  for (const auto& client : clients_) {
    threads_.emplace_back([this, c = client.get()] { c->Run(stop_, [this] { return Enough(); }); });
  }
}

void ThreadedWorkload::Join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  Stop();
}

void ThreadedWorkload::Stop() {
  if (!started_ || stopped_) return;
  stopped_ = true;
  stop_ = true;
  const auto since = SteadyClock::now();
  const auto all_done = [&] {
    return std::all_of(clients_.begin(), clients_.end(), [](const auto& c) { return c->done(); });
  };
  while (!all_done() && MillisecondsSince(since) < kGraceMs) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  while (!all_done()) {  // a lock that nobody gives up
    for (const auto& client : clients_) {
      if (!client->done()) client->Cancel();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  for (const auto& client : clients_) {
    if (client->died().empty()) continue;
    died_ = client->died();
    died_code_ = client->died_code();
  }
  context_.ledger.Flush();
  Say(died_.empty() ? "stopped" : "died");
}

void ThreadedWorkload::Say(std::string_view status) {
  std::int64_t operations = 0;
  for (const auto& client : clients_) operations += client->operations();
  const Json index = spec_.kind == "mutate" ? Json(nullptr) : Json(spec_.index);
  Json event = {{"index", index},           {"kind", spec_.kind},  {"on", spec_.on},
                {"clients", spec_.clients}, {"status", status},    {"operations", operations},
                {"tables", tables_},        {"skipped", skipped_}, {"writes", writes_}};
  if (!died_.empty()) event["error"] = died_;
  if (!died_code_.empty()) event["code"] = died_code_;
  context_.ledger.evidence().Add("workload", std::move(event));
}

std::unique_ptr<Actor> MakeWorkload(const WorkloadSpec& spec, const ActorContext& context) {
  if (spec.kind == "writers") return std::make_unique<Writers>(spec, context);
  if (spec.kind == "readers") return std::make_unique<Readers>(spec, context);
  if (spec.kind == "sql") return std::make_unique<SqlWorkload>(spec, context);
  if (spec.kind == "pgbench") return MakePgbench(spec, context);
  throw Error(ErrorKind::kInvalidSpec, "unknown kind of workload '" + spec.kind +
                                           "'; allowed: writers, readers, pgbench, sql");
}

void Mutate(const Json& options, const ActorContext& context) {
  WorkloadSpec spec;
  spec.index = static_cast<std::size_t>(-1);
  spec.kind = "mutate";
  spec.on = DatabaseOf(options, context);
  spec.clients = static_cast<int>(kMutateClients);
  spec.seed = context.seed;
  spec.options = options;
  const bool timed = options.contains("seconds") && options["seconds"].is_number();
  const std::int64_t writes = options.contains("writes") && options["writes"].is_number()
                                  ? options["writes"].get<std::int64_t>()
                              : timed ? 0
                                      : 100;
  Writers writers(spec, context, writes);
  writers.Start();
  if (timed) {
    std::this_thread::sleep_for(std::chrono::duration<double>(options["seconds"].get<double>()));
    writers.Stop();
  } else {
    writers.Join();
  }
  if (!writers.died().empty()) {
    throw Error(ErrorKind::kUnavailable, "mutate on '" + spec.on + "': " + writers.died());
  }
}

}  // namespace understudy::harness
