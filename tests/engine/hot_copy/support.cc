#include "tests/engine/hot_copy/support.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/core/registry.h"

namespace understudy::hot_copy {
namespace fs = std::filesystem;

Folder::Folder(const std::string& old_sql, const std::string& schema_sql, bool wal) {
  fs::create_directories(path());
  WriteSchema(schema_sql);
  const auto session = db::Connect(db::Endpoint::Sqlite(old_file()), {.create = true});
  if (wal) session->Query("PRAGMA journal_mode = WAL");
  session->Execute("PRAGMA synchronous = OFF; BEGIN; " + old_sql + "; COMMIT");
}

void Folder::WriteSchema(const std::string& sql) const {
  WriteFileWhole(path() / "schema.sql", sql);
}

core::Spec Folder::Spec() const {
  static const core::Registry registry = AllStrategies();
  Json document = {{"strategy", "hot-copy"}, {"dir", path().string()}};
  document.update(options);
  return core::Spec::Parse(document, "app", path(), "test", registry);
}

std::unique_ptr<db::Session> Folder::Old() const {
  return db::Connect(db::Endpoint::Sqlite(old_file()));
}
std::unique_ptr<db::Session> Folder::New() const { return db::Connect(Spec().Target()); }

core::PhaseOutcome Folder::Run(core::Phase through, core::Probe* probe) const {
  const core::Registry registry = AllStrategies();
  const core::Spec spec = Spec();
  return core::Lifecycle(spec, registry, {.probe = probe}).RunThrough(through);
}
core::Spec Folder::Into(const std::string& target) const {
  static const core::Registry registry = AllStrategies();
  Json document = {{"strategy", "hot-copy"},
                   {"source", old_file().string()},
                   {"schema", (path() / "schema.sql").string()},
                   {"target", (path() / target).string()}};
  document.update(options);
  return core::Spec::Parse(document, target, path(), "test", registry);
}
core::PhaseOutcome Folder::RunInto(const std::string& target, core::Phase through,
                                   core::Probe* probe) const {
  const core::Registry registry = AllStrategies();
  const core::Spec spec = Into(target);
  return core::Lifecycle(spec, registry, {.probe = probe}).RunThrough(through);
}
core::PhaseOutcome Folder::ResetInto(const std::string& target) const {
  const core::Registry registry = AllStrategies();
  const core::Spec spec = Into(target);
  return core::Lifecycle(spec, registry, {}).Reset(false);
}
core::PhaseOutcome Folder::Reset(bool dry_run) const {
  const core::Registry registry = AllStrategies();
  const core::Spec spec = Spec();
  return core::Lifecycle(spec, registry, {}).Reset(dry_run);
}
core::PhaseOutcome Folder::Cleanup() const {
  const core::Registry registry = AllStrategies();
  const core::Spec spec = Spec();
  return core::Lifecycle(spec, registry, {}).Cleanup();
}
core::PhaseOutcome Folder::Rollback() const {
  const core::Registry registry = AllStrategies();
  const core::Spec spec = Spec();
  return core::Lifecycle(spec, registry, {}).Rollback({});
}
core::Plan Folder::Plan() const {
  const core::Registry registry = AllStrategies();
  const core::Spec spec = Spec();
  return core::Lifecycle(spec, registry, {}).MakePlan();
}
core::Status Folder::Status() const {
  const core::Registry registry = AllStrategies();
  const core::Spec spec = Spec();
  return core::Lifecycle(spec, registry, {}).GetStatus();
}

std::vector<std::string> Rows(db::Session& session, const std::string& sql) {
  static constexpr char kClass[] = {'n', 'i', 'r', 't', 'b'};
  std::vector<std::string> rows;
  session.ForEachRow(sql, {}, [&](const db::Row& row) {
    std::string line;
    for (const db::Value& value : row) {
      line += kClass[static_cast<std::size_t>(value.storage)] + value.text + "|";
    }
    rows.push_back(line);
  });
  return rows;
}

Writer::Writer(const fs::path& file, std::function<void(db::Session&, int)> work) {
  pid_ = ::fork();
  if (pid_ != 0) return;
  int code = 0;
  try {
    const auto session =
        db::Connect(db::Endpoint::Sqlite(file), {.lock_timeout = std::chrono::milliseconds(2000)});
    session->Execute("PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON");
    for (int i = 0;; ++i) {
      try {
        work(*session, i);
        ::usleep(300);  // no application writes without ever drawing breath
      } catch (const Error& error) {
        session->Rollback();
        const bool draining = error.message().find("understudy: draining") != std::string::npos;
        if (error.kind() != ErrorKind::kConflict && !draining) {
          ::dprintf(2, "writer: %s\n", error.what());
          code = 3;
          break;
        }
        if (draining) ::usleep(2000);
      }
    }
  } catch (const std::exception& error) {
    ::dprintf(2, "writer: %s\n", error.what());
    code = 4;
  }
  ::_exit(code);
}

void Writer::Stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
}

Writer::~Writer() { Stop(); }

void FailAt::OnEvent(const core::Event& event) {
  if (event.kind != "point" || event.data.value("point", "") != point_) return;
  if (--left_ == 0) throw Error(ErrorKind::kInternal, "injected at " + point_);
}

void OnPoint::OnEvent(const core::Event& event) {
  if (event.kind == "point" && event.data.value("point", "") == point_) act_();
}

}  // namespace understudy::hot_copy
