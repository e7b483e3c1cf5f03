#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/core/lifecycle.h"
#include "engine/core/registry.h"
#include "engine/table_swap/table_swap.h"
#include "tests/support/server.h"

namespace understudy::table_swap {

// A production database, perhaps a source, and one table swap driven through the real lifecycle,
// verb by verb as separate processes would.
class SwapWorld : public core::Probe {
 public:
  explicit SwapWorld(bool with_source = true) : SwapWorld(testing::Server(), with_source) {}
  // Both databases on `server`.
  explicit SwapWorld(const db::Endpoint& server, bool with_source = true)
      : target_(server), target_by_(target_.endpoint()) {
    document_ = {{"strategy", "table-swap"}, {"target", "t"}};
    if (with_source) {
      source_ = std::make_unique<testing::Database>(server);
      source_by_ = source_->endpoint();
      document_["source"] = "s";
      document_["schema"] = {{"from", "source"}};
    }
    registry_.Add(Strategy());
  }
  // "schema": {"sql": […]}
  void SchemaBySql(const std::string& sql) {
    const auto file = folder_.path() / "new.sql";
    WriteFileWhole(file, sql);
    document_["schema"] = {{"sql", {file.string()}}};
  }
  Json& document() { return document_; }
  const testing::Database& target() { return target_; }
  const testing::Database& source() { return *source_; }
  const std::filesystem::path& folder() const { return folder_.path(); }
  // How the migration itself gets there: as another role, through a pooler.
  void set_target_by(const db::Endpoint& endpoint) { target_by_ = endpoint; }
  void set_source_by(const db::Endpoint& endpoint) { source_by_ = endpoint; }
  void set_id(std::string id) { id_ = std::move(id); }
  void set_rehearsal(bool rehearsal) { rehearsal_ = rehearsal; }

  // remove-understudy.sql as its user runs it. "" or what psql says.
  std::string RemoveByPsql() {
    const Outcome outcome = RunCommand(
        {.argv = {"psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", target_.endpoint().Conninfo(),
                  "-f", (folder_.path() / "remove-understudy.sql").string()},
         .environment = {{"PGOPTIONS", "-c client_min_messages=error"}}});
    return outcome.ok() ? "" : outcome.err + " (" + std::to_string(outcome.exit_status) + ")";
  }

  // Called at every point, before it goes on.
  std::function<void(std::string_view point)> at_point;
  std::function<void(const Json& progress)> at_progress;
  std::function<void(const std::string& text)> at_log;
  std::vector<std::string> points;
  std::vector<std::string> logs;
  std::string not_checked;  // of the last verify

  core::PhaseOutcome Through(core::Phase phase) {
    return With([&](core::Lifecycle& lifecycle) { return lifecycle.RunThrough(phase); });
  }
  core::PhaseOutcome Prepare() { return Through(core::Phase::kPrepare); }
  core::PhaseOutcome Sync() { return Through(core::Phase::kSync); }
  core::PhaseOutcome Cutover() { return Through(core::Phase::kCutover); }
  core::PhaseOutcome Verify() {
    return With([](core::Lifecycle& lifecycle) { return lifecycle.Verify(); });
  }
  core::PhaseOutcome Rollback(bool lose_writes = false) {
    return With([&](core::Lifecycle& lifecycle) {
      return lifecycle.Rollback({.to = "", .lose_writes = lose_writes});
    });
  }
  core::PhaseOutcome Cleanup() {
    return With([](core::Lifecycle& lifecycle) { return lifecycle.Cleanup(); });
  }
  core::PhaseOutcome Reset() {
    return With([](core::Lifecycle& lifecycle) { return lifecycle.Reset(false); });
  }
  core::Plan Plan() {
    core::Plan plan;
    With([&](core::Lifecycle& lifecycle) {
      plan = lifecycle.MakePlan();
      return core::PhaseOutcome{};
    });
    return plan;
  }
  core::Status Status() {
    core::Status status;
    With([&](core::Lifecycle& lifecycle) {
      status = lifecycle.GetStatus();
      return core::PhaseOutcome{};
    });
    return status;
  }
  bool allow_old_snapshots = false;
  std::filesystem::path pause_file;

  // The engine as a process of its own, on its way through `verb`.
  pid_t Start(const std::function<void()>& verb) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    try {
      verb();
    } catch (...) {
    }
    ::_exit(0);
  }
  // kill -9 where that process stands at `point`.
  void KillAt(std::string_view point, const std::function<void()>& verb) {
    const pid_t pid = Start([&] {
      at_point = [&](std::string_view now) {
        if (now == point) ::kill(::getpid(), SIGKILL);
      };
      verb();
    });
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFSIGNALED(status)) << point << " was not passed";
  }

  std::string Scalar(const std::string& sql) {
    return target_.Connect()->Scalar(sql).TextOr("NULL");
  }
  // Names of everything of ours that is in the database; "" = nothing.
  std::string Ours() {
    return Scalar(
        "SELECT coalesce(string_agg(x, ', ' ORDER BY x), '') FROM ("
        "SELECT nspname::text AS x FROM pg_namespace WHERE nspname LIKE 'understudy%' "
        "UNION ALL SELECT tgname || ' on ' || tgrelid::regclass FROM pg_trigger "
        "WHERE tgname LIKE 'understudy%' "
        "UNION ALL SELECT datname FROM pg_database WHERE datname LIKE 'understudy%' "
        "AND pg_catalog.shobj_description(oid, 'pg_database') LIKE '%' || current_database() || '%'"
        ") y");
  }

  void OnEvent(const core::Event& event) override {
    if (event.kind == "log") {
      logs.push_back(event.data.value("text", ""));
      if (at_log) at_log(logs.back());
    }
    if (event.kind == "progress" && at_progress) at_progress(event.data);
    if (event.kind != "point") return;
    const std::string point = event.data.value("point", "");
    points.push_back(point);
    if (point == "verify.end") not_checked = event.data.at("attributes").at("not_checked").dump();
    if (at_point) at_point(point);
  }

 private:
  core::PhaseOutcome With(const std::function<core::PhaseOutcome(core::Lifecycle&)>& work) {
    std::map<std::string, db::Endpoint> databases = {{"t", target_by_}};
    if (source_) databases.emplace("s", source_by_);
    const core::Spec spec =
        core::Spec::Parse(document_, id_, folder_.path(), "test.json", registry_, databases);
    core::Lifecycle lifecycle(spec, registry_,
                              {.probe = this,
                               .rehearsal = rehearsal_,
                               .allow_old_snapshots = allow_old_snapshots,
                               .pause_file = pause_file});
    return work(lifecycle);
  }

  TemporaryFolder folder_;
  testing::Database target_;
  std::unique_ptr<testing::Database> source_;
  db::Endpoint target_by_;
  db::Endpoint source_by_;
  Json document_;
  core::Registry registry_;
  std::string id_ = "swap";
  bool rehearsal_ = true;
};

// What a plan says, one line each.
inline std::string Refusals(const core::Plan& plan) {
  std::string all;
  for (const core::PlanRefusal& refusal : plan.refused) {
    all += refusal.object + ": " + refusal.why + "\n";
  }
  return all;
}
inline std::string Warnings(const core::Plan& plan) {
  std::string all;
  for (const std::string& warning : plan.warnings) all += warning + "\n";
  return all;
}

}  // namespace understudy::table_swap
