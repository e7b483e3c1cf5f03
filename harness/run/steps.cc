#include "harness/run/steps.h"

#include <cmath>
#include <map>
#include <thread>
#include <utility>

#include "engine/base/file.h"
#include "engine/db/script.h"
#include "harness/run/comparisons.h"

namespace understudy::harness {
namespace {

// How a step ended: what must be held against StepSpec::outcome, and what an assert found.
struct Ended {
  std::string outcome = "done";
  std::string detail;
  std::vector<std::string> failures;
};

bool NeedsWorkload(const StepSpec& step) {
  return step.verb == "migrate" || step.verb == "rollback" || step.verb == "reset";
}

// The index of the last step that the workload must see, or -1.
int LastWorkedStep(const std::vector<StepSpec>& steps) {
  int last = -1;
  bool beside = false;  // a migrate step runs in the background until the next join
  for (std::size_t i = 0; i < steps.size(); ++i) {
    for (const StepSpec& inner : steps[i].background) beside = beside || NeedsWorkload(inner);
    if (NeedsWorkload(steps[i]) || !steps[i].background.empty() ||
        (steps[i].verb == "join" && beside)) {
      last = static_cast<int>(i);
    }
  }
  return last;
}

std::unique_ptr<db::Session> UserSession(Rehearsal& rehearsal, const std::string& database) {
  db::SessionOptions options;
  options.settings = db::Settings::kUsers;
  options.application_name = "understudy-step";
  return db::Connect(rehearsal.Database(database).endpoint(), options);
}

bool CellIs(const db::Value& value, const Json& expected) {
  if (expected.is_null() || value.is_null()) return expected.is_null() && value.is_null();
  if (expected.is_boolean()) {
    return value.text == (expected.get<bool>() ? "t" : "f") ||
           value.text == (expected.get<bool>() ? "1" : "0") ||
           value.text == (expected.get<bool>() ? "true" : "false");
  }
  if (expected.is_string()) return value.ToJson() == expected;
  if (value.text == expected.dump()) return true;
  try {
    return expected.is_number() && value.AsReal() == expected.get<double>();
  } catch (const Error&) {
    return false;
  }
}

// What of `rows` is not as `expected`; empty when all is.
std::string RowsDiffer(const db::Result& result, const Json& expected) {
  if (result.rows.size() != expected.size()) {
    return std::to_string(result.rows.size()) + " rows, expected " +
           std::to_string(expected.size());
  }
  for (std::size_t r = 0; r < result.rows.size(); ++r) {
    const Json& row = expected[r];
    if (!row.is_array() || row.size() != result.rows[r].size()) {
      return "row " + std::to_string(r + 1) + " has " + std::to_string(result.rows[r].size()) +
             " columns, expected " + std::to_string(row.size());
    }
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (CellIs(result.rows[r][c], row[c])) continue;
      return "row " + std::to_string(r + 1) + ", column " + result.columns[c].name + ": " +
             ToLine(result.rows[r][c].ToJson()) + ", expected " + ToLine(row[c]);
    }
  }
  return "";
}

class Line {
 public:
  Line(Rehearsal& rehearsal, int number)
      : rehearsal_(rehearsal),
        number_(number),
        seen_(rehearsal.PointsPassed()),
        beside_(number > 0) {}

  // False when the scenario ends here.
  bool Perform(const StepSpec& step, int index) {
    rehearsal_.ThrowIfStopped();
    Json begin = {{"index", index},
                  {"line", number_},
                  {"name", step.name},
                  {"verb", step.verb},
                  {"status", "begin"}};
    rehearsal_.evidence.Add("step", begin);
    rehearsal_.StepBegins(step.name);
    const auto started = SteadyClock::now();
    Ended ended;
    try {
      ended = Do(step);
    } catch (const Error& error) {
      if (rehearsal_.Stopped()) throw;
      ended.outcome = error.kind() == ErrorKind::kUnsupported ? "refused" : "failed";
      ended.detail = error.what();
    }
    rehearsal_.evidence.Add("step", {{"index", index},
                                     {"line", number_},
                                     {"name", step.name},
                                     {"verb", step.verb},
                                     {"status", "end"},
                                     {"outcome", ended.outcome},
                                     {"expected", step.outcome},
                                     {"detail", ended.detail},
                                     {"failures", ended.failures},
                                     {"duration_ms", MillisecondsSince(started)}});
    return ended.outcome == step.outcome;
  }

  void Skip(const StepSpec& step, int index) {
    rehearsal_.evidence.Add("step", {{"index", index},
                                     {"line", number_},
                                     {"name", step.name},
                                     {"verb", step.verb},
                                     {"status", "end"},
                                     {"outcome", "skipped"},
                                     {"expected", step.outcome},
                                     {"detail", "an earlier step ended the scenario"},
                                     {"failures", Json::array()},
                                     {"duration_ms", 0}});
  }

  // Background steps that no `join` waited for end here; what broke them breaks the run.
  void End() {
    const Ended ended = Join();
    if (ended.outcome != "done") throw Error(ErrorKind::kInternal, ended.detail);
  }

  ~Line() {
    if (background_.joinable()) background_.join();
  }

 private:
  Ended Do(const StepSpec& step) {
    const Json& o = step.options;
    if (step.verb == "snapshot") {
      rehearsal_.TakeSnapshot(o.at("name"), o.at("of").get<std::vector<std::string>>());
      return {};
    }
    if (step.verb == "migrate") {
      return Engine(o.at("migration"), {{"verb", "run"}, {"through", o.at("through")}});
    }
    if (step.verb == "verify") {
      return Engine(o.at("migration"), {{"verb", "verify"}});
    }
    if (step.verb == "rollback") {
      return Engine(o.at("migration"), {{"verb", "rollback"},
                                        {"to", o.value("to", Json(nullptr))},
                                        {"lose_writes", o.value("lose_writes", false)}});
    }
    if (step.verb == "cleanup") return Engine(o.at("migration"), {{"verb", "cleanup"}});
    if (step.verb == "reset") {
      return Engine(o.at("migration"), {{"verb", "reset"}, {"dry_run", o.value("dry_run", false)}});
    }
    if (step.verb == "mutate") {
      Mutate(o, rehearsal_.Actors());
      return {};
    }
    if (step.verb == "exec") return Exec(o);
    if (step.verb == "assert") return Assert(o);
    if (step.verb == "wait") return Wait(o);
    if (step.verb == "restart") return Restart(o);
    if (step.verb == "compare") {
      Ended ended;
      ended.failures = CompareStep(rehearsal_, o);
      return ended;
    }
    if (step.verb == "background") {
      if (background_.joinable()) Join();
      seen_ = rehearsal_.PointsPassed();
      beside_ = true;
      background_ = std::thread([this, steps = step.background, seen = seen_] {
        Line line(rehearsal_, number_ + 1);
        line.seen_ = seen;
        int index = 0;
        bool going = true;
        try {
          for (const StepSpec& inner : steps) {
            going ? static_cast<void>(going = line.Perform(inner, index)) : line.Skip(inner, index);
            ++index;
          }
        } catch (const std::exception& error) {
          background_failure_ = error.what();
        }
      });
      return {};
    }
    if (step.verb == "join") return Join();
    throw Error(ErrorKind::kInternal, "a step that the runner does not know: " + step.verb);
  }

  Ended Engine(const std::string& migration, Json job) {
    const EngineResult result = rehearsal_.RunEngine(migration, std::move(job));
    Ended ended;
    ended.detail = result.message;
    ended.outcome = result.outcome;
    if (result.outcome == "nothing") ended.outcome = "done";
    if (result.outcome == "ambiguous" || result.outcome == "interrupted") ended.outcome = "failed";
    return ended;
  }

  Ended Exec(const Json& o) {
    const std::string database = o.at("on");
    const auto session = UserSession(rehearsal_, database);
    const db::Engine engine = session->Server().engine;
    if (o.contains("file")) {
      const std::string file = o["file"];
      for (const auto& statement : db::SplitScript(ReadFile(file), engine, file)) {
        During(file + ":" + std::to_string(statement.line),
               [&] { session->Execute(statement.sql); });
      }
    } else if (o.at("sql").is_array()) {
      db::Transaction transaction(*session);
      for (const Json& sql : o["sql"]) session->Execute(sql.get<std::string>());
      transaction.Commit();
    } else {
      for (const auto& statement : db::SplitScript(o["sql"].get<std::string>(), engine, "exec")) {
        session->Execute(statement.sql);
      }
    }
    return {};
  }

  Ended Assert(const Json& o) {
    const auto session = UserSession(rehearsal_, o.at("on"));
    const std::string sql = o.at("sql");
    const std::string differs = RowsDiffer(session->Query(sql), o.at("rows"));
    Ended ended;
    if (!differs.empty()) ended.failures.push_back(sql + ": " + differs);
    return ended;
  }

  Ended Wait(const Json& o) {
    const double timeout_s = o.value("timeout_s", 30.0);
    if (o.contains("seconds")) {
      Sleep(o["seconds"].get<double>());
      return {};
    }
    if (o.contains("point")) {
      const std::string point = o["point"];
      // What a migration behind us passed is not waited for; what the one beside us has passed
      // since it began is, once.
      int& seen = (beside_ ? seen_ : seen_ = rehearsal_.PointsPassed())[point];
      if (rehearsal_.WaitForPoint(point, seen, timeout_s)) {
        ++seen;
        return {};
      }
      return {
          "failed", "the point " + o["point"].get<std::string>() + " was not passed in time", {}};
    }
    const auto session = UserSession(rehearsal_, o.at("on"));
    const std::string sql = o.at("sql");
    const auto end = SteadyClock::now() + std::chrono::duration<double>(timeout_s);
    for (;;) {
      const std::string differs = RowsDiffer(session->Query(sql), o.at("rows"));
      if (differs.empty()) return {};
      if (SteadyClock::now() >= end) return {"failed", sql + ": " + differs, {}};
      Sleep(0.05);
    }
  }

  Ended Restart(const Json& o) {
    Lease& lease = rehearsal_.Database(o.at("on"));
    if (lease.power() == nullptr) {
      throw Error(ErrorKind::kUnsupported,
                  "a " + lease.provision() + " database cannot be restarted by the runner");
    }
    lease.power()->Restart(o.value("how", "fast"));
    return {};
  }

  Ended Join() {
    if (background_.joinable()) background_.join();
    beside_ = number_ > 0;
    if (background_failure_.empty()) return {};
    return {"failed", std::exchange(background_failure_, ""), {}};
  }

  void Sleep(double seconds) {
    const auto end = SteadyClock::now() + std::chrono::duration<double>(seconds);
    while (SteadyClock::now() < end) {
      rehearsal_.ThrowIfStopped();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  Rehearsal& rehearsal_;
  int number_;
  // How often each point had been passed, and waited for, when the lines parted; `beside_`: there
  // is another line, whose passes count from then on.
  std::map<std::string, int> seen_;
  bool beside_ = false;
  std::thread background_;
  std::string background_failure_;
};

void Sleep(Rehearsal& rehearsal, double seconds) {
  const auto end = SteadyClock::now() + std::chrono::duration<double>(seconds);
  while (SteadyClock::now() < end) {
    rehearsal.ThrowIfStopped();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace

void PerformSteps(Rehearsal& rehearsal) {
  const std::vector<StepSpec>& steps = rehearsal.scenario.steps;
  const int last_worked = LastWorkedStep(steps);
  Line line(rehearsal, 0);
  bool going = true;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const int index = static_cast<int>(i);
    if (!going) {
      line.Skip(steps[i], index);
      continue;
    }
    bool works = NeedsWorkload(steps[i]);
    for (const StepSpec& inner : steps[i].background) works = works || NeedsWorkload(inner);
    if (works && !rehearsal.actors_running() && index <= last_worked) {
      rehearsal.StartActors();
      if (!rehearsal.scenario.workload.empty()) Sleep(rehearsal, rehearsal.scenario.lead_s);
    }
    going = line.Perform(steps[i], index);
    if ((index == last_worked || !going) && rehearsal.actors_running()) {
      if (!rehearsal.scenario.workload.empty()) Sleep(rehearsal, rehearsal.scenario.tail_s);
      rehearsal.StopActors();
    }
  }
  line.End();
  if (rehearsal.actors_running()) rehearsal.StopActors();
}

}  // namespace understudy::harness
