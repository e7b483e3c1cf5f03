#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/core/lifecycle.h"
#include "engine/db/session.h"

namespace understudy::hot_copy {

// A folder with schema.sql and an old file, as an operator has it.
class Folder {
 public:
  // `wal`: the old file's journal mode.
  Folder(const std::string& old_sql, const std::string& schema_sql, bool wal = false);

  std::filesystem::path path() const { return folder_.path() / "app"; }
  std::filesystem::path old_file() const { return path() / "app-0123456789abcdef.sqlite"; }
  std::filesystem::path new_file() const { return Spec().Target().file(); }
  void WriteSchema(const std::string& sql) const;

  core::Spec Spec() const;
  std::unique_ptr<db::Session> Old() const;
  std::unique_ptr<db::Session> New() const;
  void Write(const std::string& sql) const { Old()->Execute(sql); }  // as an application does

  // A process of its own would do the same: a fresh Lifecycle.
  core::PhaseOutcome Run(core::Phase through, core::Probe* probe = nullptr) const;
  // The same old file and schema, into another new file beside it.
  core::PhaseOutcome RunInto(const std::string& target, core::Phase through,
                             core::Probe* probe = nullptr) const;
  core::PhaseOutcome ResetInto(const std::string& target) const;
  core::PhaseOutcome Reset(bool dry_run = false) const;
  core::PhaseOutcome Cleanup() const;
  core::PhaseOutcome Rollback() const;
  core::Plan Plan() const;
  core::Status Status() const;

  Json options = Json::object();  // more keys of the migration

 private:
  core::Spec Into(const std::string& target) const;
  TemporaryFolder folder_{"hot-copy"};
};

// Every row of a query, one line each.
std::vector<std::string> Rows(db::Session& session, const std::string& sql);

// Acts when the drain begins, before its lock: written at the last moment.
class WhenDrainBegins : public core::Probe {
 public:
  explicit WhenDrainBegins(std::function<void()> act) : act_(std::move(act)) {}
  void OnEvent(const core::Event& event) override {
    if (event.kind == "phase" && event.data.value("phase", "") == "drain" &&
        event.data.value("status", "") == "begin") {
      act_();
    }
  }

 private:
  std::function<void()> act_;
};

// Another process that does `work` again and again until it is stopped; busy and draining are tried
// again. Its destructor, or Stop(), ends it.
class Writer {
 public:
  Writer(const std::filesystem::path& file, std::function<void(db::Session&, int)> work);
  ~Writer();
  void Stop();

 private:
  pid_t pid_ = -1;
};

// Throws at the n-th passing of a point, as an injected failure does.
class FailAt : public core::Probe {
 public:
  explicit FailAt(std::string point, int nth = 1) : point_(std::move(point)), left_(nth) {}
  void OnEvent(const core::Event& event) override;
  bool struck() const { return left_ <= 0; }

 private:
  std::string point_;
  int left_;
};

// Calls `act` when a point is passed.
class OnPoint : public core::Probe {
 public:
  OnPoint(std::string point, std::function<void()> act)
      : point_(std::move(point)), act_(std::move(act)) {}
  void OnEvent(const core::Event& event) override;

 private:
  std::string point_;
  std::function<void()> act_;
};

}  // namespace understudy::hot_copy
