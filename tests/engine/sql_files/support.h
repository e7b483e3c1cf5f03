#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/core/lifecycle.h"
#include "engine/core/registry.h"
#include "tests/support/server.h"

namespace understudy::testing {

// Keeps what a migration told, and may act at a point.
class Recorder : public core::Probe {
 public:
  struct Told {
    std::string kind;
    Json data;
  };
  std::vector<Told> told;
  std::function<void(const std::string& point, const Json& attributes)> at_point;

  void OnEvent(const core::Event& event) override {
    told.push_back({std::string(event.kind), event.data});
    if (event.kind == "point" && at_point) {
      at_point(event.data["point"].get<std::string>(), event.data["attributes"]);
    }
  }
  std::vector<Json> Of(std::string_view kind) const {
    std::vector<Json> found;
    for (const Told& one : told) {
      if (one.kind == kind) found.push_back(one.data);
    }
    return found;
  }
  // The points passed, in order.
  std::vector<std::string> Points() const {
    std::vector<std::string> names;
    for (const Json& data : Of("point")) names.push_back(data["point"]);
    return names;
  }
};

// A folder of migration files and one migration over it, each call a Lifecycle of its own as each
// run of the program is.
class Project {
 public:
  explicit Project(db::Endpoint endpoint) : endpoint_(std::move(endpoint)) {}

  void Write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_.path() / name).parent_path());
    WriteFileWhole(folder_.path() / name, text);
  }
  const std::filesystem::path& path() const { return folder_.path(); }

  Json document = {{"strategy", "sql"}, {"on", "main"}, {"up", "migrations"}};
  Recorder recorder;
  bool rehearsal = true;
  std::function<bool()> stop;

  template <typename Work>
  auto With(Work work) {
    const core::Registry registry = AllStrategies();
    const core::Spec spec = core::Spec::Parse(document, "test", folder_.path(), "test.json",
                                              registry, {{"main", endpoint_}});
    core::Lifecycle lifecycle(spec, registry,
                              {.probe = &recorder, .stop = stop, .rehearsal = rehearsal});
    return work(lifecycle);
  }
  core::PhaseOutcome Run(core::Phase through = core::Phase::kVerify) {
    return With([&](core::Lifecycle& l) { return l.RunThrough(through); });
  }
  core::PhaseOutcome Rollback(const std::string& to = "") {
    return With([&](core::Lifecycle& l) { return l.Rollback({.to = to}); });
  }
  core::Plan Plan() {
    return With([](core::Lifecycle& l) { return l.MakePlan(); });
  }
  core::Status Status() {
    return With([](core::Lifecycle& l) { return l.GetStatus(); });
  }

 private:
  TemporaryFolder folder_;
  db::Endpoint endpoint_;
};

}  // namespace understudy::testing
