#include "engine/sql_files/sql_files.h"

#include <algorithm>
#include <set>
#include <thread>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/sabotage.h"
#include "engine/db/script.h"
#include "engine/sql_files/history.h"
#include "engine/sql_files/layout.h"
#include "engine/sql_files/script_run.h"

namespace understudy::sql_files {
namespace fs = std::filesystem;
namespace {

constexpr std::chrono::seconds kBackendGone{30};  // how long to wait for a lost backend to end

[[noreturn]] void Wrong(const std::string& key, const std::string& what) {
  throw Error(ErrorKind::kInvalidSpec, "/" + key + ": " + what);
}

std::string Text(const Json& document, const char* key) {
  if (!document.contains(key) || document[key].is_null()) return "";
  if (!document[key].is_string()) Wrong(key, "a text is needed");
  return document[key].get<std::string>();
}

// A file, a list of files, or a folder.
std::vector<fs::path> Paths(const core::Spec& spec, const char* key) {
  std::vector<fs::path> paths;
  const Json& document = spec.document;
  if (!document.contains(key) || document[key].is_null()) return paths;
  const Json list = document[key].is_array() ? document[key] : Json::array({document[key]});
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_string()) {
      Wrong(key, "a file, a list of files, or a folder is needed");
    }
    paths.push_back(spec.Path(list[i].get<std::string>()));
    std::error_code ignored;
    if (!fs::exists(paths.back(), ignored)) {
      Wrong(key, "no such file or folder: " + paths.back().string());
    }
  }
  if (paths.empty()) Wrong(key, "the list is empty");
  return paths;
}

// What the migration file says, read once.
struct Given {
  Layout layout = Layout::kPlain;
  TransactionRule rule = TransactionRule::kAuto;
  std::vector<Version> versions;  // all that the folder or list holds
  std::size_t begin = 0;          // the range of baseline and through
  std::size_t end = 0;
  std::optional<Script> group_down;  // one down for a list of several ups
};

TransactionRule RuleOf(const core::Spec& spec) {
  const std::string text = Text(spec.document, "transaction");
  if (text.empty() || text == "auto") return TransactionRule::kAuto;
  if (text == "file") return TransactionRule::kFile;
  if (text == "none") return TransactionRule::kNone;
  if (text == "all") return TransactionRule::kAll;
  Wrong("transaction", "unknown value '" + text + "'; allowed: auto, file, none, all");
}

Variables VariablesOf(const core::Spec& spec) {
  Variables variables;
  const Json& document = spec.document;
  if (!document.contains("variables") || document["variables"].is_null()) return variables;
  if (!document["variables"].is_object()) Wrong("variables", "an object is needed");
  for (const auto& [name, value] : document["variables"].items()) {
    variables[name] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return variables;
}

void AttachDowns(Given& given, const std::vector<fs::path>& downs) {
  if (downs.empty()) return;
  if (downs.size() == given.versions.size()) {
    for (std::size_t i = 0; i < downs.size(); ++i) {
      given.versions[i].down = Script{downs[i], ReadFile(downs[i])};
    }
  } else if (downs.size() == 1) {
    given.group_down = Script{downs[0], ReadFile(downs[0])};
  } else {
    Wrong("down", "give one file for each file of 'up', in the same order, or one for all");
  }
}

Given Read(const core::Spec& spec) {
  Given given;
  given.rule = RuleOf(spec);
  const Variables variables = VariablesOf(spec);
  const std::string layout = Text(spec.document, "layout");
  const bool is_auto = layout.empty() || layout == "auto";
  const std::vector<fs::path> ups = Paths(spec, "up");
  std::vector<fs::path> downs = Paths(spec, "down");
  std::error_code ignored;
  const bool folder = ups.size() == 1 && fs::is_directory(ups[0], ignored);
  if (folder) {
    given.layout = is_auto ? DetectLayout(ups[0]) : LayoutFromName(layout);
    given.versions = ReadFolder(ups[0], given.layout, variables);
  } else {
    given.layout = is_auto ? DetectLayout(ups) : LayoutFromName(layout);
    given.versions = ReadFiles(ups, given.layout, variables);
  }
  if (downs.size() == 1 && fs::is_directory(downs[0], ignored)) {
    downs = layouts::SqlFiles(downs[0], false);
    if (downs.size() != given.versions.size()) {
      Wrong("down", "the folder must hold one file for each file of 'up'");
    }
  }
  AttachDowns(given, downs);
  if (given.group_down) {
    given.group_down->text =
        Substitute(given.group_down->text, variables, false, given.group_down->file);
  }
  std::set<std::string> seen;
  for (Version& version : given.versions) {
    if (!seen.insert(version.version).second && version.up) {  // a/1.sql and b/1.sql
      version.version = version.up->file.string();
    }
  }
  const auto position = [&](const char* key) {
    const std::string text = Text(spec.document, key);
    try {
      return text.empty() ? std::optional<std::size_t>()
                          : std::optional(FindVersion(given.versions, text));
    } catch (const Error& error) {
      Wrong(key, error.message());
    }
  };
  if (const auto baseline = position("baseline")) given.begin = *baseline + 1;
  given.end = given.versions.size();
  if (const auto through = position("through")) given.end = *through + 1;
  if (given.begin > given.end) Wrong("through", "it comes before 'baseline'");
  return given;
}

std::string DisplayOf(const core::Spec& spec, const fs::path& file) {
  const fs::path relative = file.lexically_relative(spec.folder);
  const bool inside = !relative.empty() && *relative.begin() != "..";
  return inside ? relative.string() : file.string();
}

void AddStatements(const std::string& display, const std::vector<db::ScriptStatement>& statements,
                   const Choice& choice, std::vector<core::PlanStatement>& out) {
  for (std::size_t i = 0; i < statements.size(); ++i) {
    out.push_back({display, statements[i].line, statements[i].sql,
                   std::string(ModeName(choice.mode)), choice.notes[i]});
  }
}

// The statements of the files alone; no database is asked.
std::vector<core::PlanStatement> StatementsOf(const core::Spec& spec) {
  const Given given = Read(spec);
  const db::Engine engine = spec.Target().engine();
  std::vector<core::PlanStatement> all;
  const auto check = [&](const std::optional<Script>& script) {  // told now, not when it is needed
    if (script) db::SplitScript(script->text, engine, DisplayOf(spec, script->file));
  };
  check(given.group_down);
  for (std::size_t i = given.begin; i < given.end; ++i) {
    const Version& version = given.versions[i];
    check(version.down);
    check(version.verify);
    if (!version.up) continue;
    const std::string display = DisplayOf(spec, version.up->file);
    const auto statements = db::SplitScript(version.up->text, engine, display);
    AddStatements(display, statements,
                  ChooseMode(*version.up, statements, given.rule, given.layout, engine), all);
  }
  return all;
}

class SqlFiles final : public core::Migration {
 public:
  explicit SqlFiles(core::Context& context)
      : context_(context), spec_(context.spec()), given_(Read(spec_)) {}

  core::Capabilities Capabilities() const override {
    // A user's migration that loses a lock fails, as it would in production; one whose file names a
    // lock timeout asked to step back and try again.
    return {.atomic_cutover = false,
            .retries_cutover = spec_.limits.lock_timeout_ms.has_value(),
            .drains = false};
  }

  core::Plan MakePlan() override {
    core::Plan plan;
    const auto session = ConnectAsUser();
    History history(*session, given_.layout);
    const std::set<std::string> ours = AppliedByUs(*session);
    try {
      history.Read();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kMismatch) throw;
      plan.refused.push_back({history.Display(), error.message()});
      return plan;
    }
    RefuseForeignTools(plan);
    RefuseDirty(history, *session, plan);
    int passed = 0;
    for (std::size_t i = given_.begin; i < given_.end; ++i) {
      const Version& version = given_.versions[i];
      if (ours.contains(version.version) || history.IsApplied(version)) {
        ++passed;
        continue;
      }
      if (!version.up) {
        plan.refused.push_back({version.down ? Display(version.down->file) : version.version,
                                "there is a way back and no way forward: the file for 'up' is "
                                "missing"});
        continue;
      }
      AddToPlan(*version.up, plan);
      if (!version.down && !given_.group_down) {
        plan.warnings.push_back(Display(version.up->file) +
                                " has no down: it cannot be rolled back");
      }
    }
    if (passed > 0) {
      plan.warnings.push_back(
          std::to_string(passed) + " of " + std::to_string(given_.end - given_.begin) +
          " versions are applied already" +
          (given_.layout == Layout::kPlain ? "" : " (" + history.Display() + ")"));
    }
    return plan;
  }

  std::vector<core::SourceFile> Files() override {
    std::vector<core::SourceFile> files;
    const auto add = [&](const std::string& role, const std::optional<Script>& script) {
      if (script) files.push_back({role, Display(script->file), Sha256Hex(script->text)});
    };
    for (std::size_t i = given_.begin; i < given_.end; ++i) {
      const Version& version = given_.versions[i];
      add("up " + version.version, version.up);
      add("down " + version.version, version.down);
      add("verify " + version.version, version.verify);
    }
    add("down", given_.group_down);
    return files;
  }

  void Prepare() override {}
  core::SyncProgress SyncStep(const core::Budget& /*budget*/) override { return {}; }

  void Cutover(const core::CutoverOptions&) override {
    // The budget of a cutover is for strategies of ours: the user's statements take as long as they
    // take, here as in production; limits.statement_timeout_ms bounds them.
    EndOldBackend();
    const std::int64_t epoch = context_.epoch();
    const auto reader = ConnectAsUser();
    History history(*reader, given_.layout);
    history.Read();
    const std::set<std::string> ours = AppliedByUs(*reader);
    core::Plan refusals;
    RefuseForeignTools(refusals);
    RefuseDirty(history, *reader, refusals);
    if (!refusals.can_run()) {
      throw Error(ErrorKind::kUnsupported,
                  refusals.refused[0].object + ": " + refusals.refused[0].why);
    }
    const bool writes = history.writable();
    if (writes) history.Ensure(*reader);

    std::vector<const Version*> pending;
    for (std::size_t i = given_.begin; i < given_.end; ++i) {
      const Version& version = given_.versions[i];
      if (ours.contains(version.version) && !Sabotaged("sql-resume-runs-twice")) {
        // The journal knows more than a mark that a crash left dirty.
        if (history.dirty() == Canonical(version.version)) {
          history.MarkClean(*reader, version.version);
        }
        continue;
      }
      if (!history.IsApplied(version)) pending.push_back(&version);
    }
    if (given_.rule == TransactionRule::kAll) {
      RunAll(pending, *reader, history, epoch);
      return;
    }
    for (const Version* version : pending) {
      const auto session = ConnectAsUser();  // a file begins with the settings of a new connection
      RememberBackend(*session);
      const ScriptRun run = MakeUp(*version, history);
      if (given_.layout == Layout::kGolangMigrate) {
        history.MarkDirty(*session, version->version);
      }
      Observation observation(context_, spec_.Target(), *session);
      ScriptRunner runner(context_, *session, observation, spec_.id, epoch);
      runner.Run(run);
      if (given_.layout == Layout::kGolangMigrate) {
        history.MarkClean(*reader, version->version);
      }
    }
  }

  core::VerifyResult Verify() override {
    core::VerifyResult result;
    const auto session = ConnectAsUser();
    const std::set<std::string> ours = AppliedByUs(*session);
    History history(*session, given_.layout);
    history.Read();
    for (std::size_t i = given_.begin; i < given_.end; ++i) {
      const Version& version = given_.versions[i];
      if (!ours.contains(version.version) && !history.IsApplied(version)) {
        result.findings.push_back("version " + version.version + " is not applied");
      } else if (version.verify && ours.contains(version.version)) {
        RunVerify(*version.verify, result);
      }
    }
    if (given_.layout != Layout::kSqitch) {
      result.not_checked.push_back("what the SQL files were meant to do: they bring no checks");
    }
    result.ok = result.findings.empty();
    return result;
  }

  void Rollback(const core::RollbackOptions& options) override {
    EndOldBackend();
    const std::int64_t epoch = context_.epoch();
    const auto reader = ConnectAsUser();
    History history(*reader, given_.layout);
    history.Read();
    std::size_t keep = 0;  // versions before this one stay
    if (!options.to.empty()) keep = FindVersion(given_.versions, options.to) + 1;
    const std::set<std::string> touched = TouchedByUs(*reader);
    std::vector<std::size_t> back;
    for (std::size_t i = given_.versions.size(); i-- > keep;) {
      if (touched.contains(given_.versions[i].version)) back.push_back(i);
    }
    if (given_.group_down && !back.empty()) {
      if (keep > 0) {
        throw Error(ErrorKind::kUnsupported,
                    "there is one down file for all: this goes back to before the migration only");
      }
      RunGroupDown(back, *reader, epoch);
      return;
    }
    for (const std::size_t i : back) {
      const Version& version = given_.versions[i];
      if (!version.down) {
        throw Error(ErrorKind::kUnsupported,
                    "version " + version.version +
                        " has no down file, so nothing was rolled back. Write one, or go back by "
                        "hand");
      }
    }
    for (const std::size_t i : back) {
      const Version& version = given_.versions[i];
      const auto session = ConnectAsUser();
      RememberBackend(*session);
      ScriptRun run = MakeRun(*version.down, "down " + version.version, "rollback", version);
      if (SabotagedOnce("sql-rollback-skips-last")) run.statements.pop_back();
      run.finish = [&](db::Session& on) {
        core::Journal journal(on, spec_.id);
        journal.Remove("up " + version.version);
        journal.Remove("down " + version.version);
        history.Record(on, version, false);
      };
      const std::string before = i == 0 ? "" : given_.versions[i - 1].version;
      if (given_.layout == Layout::kGolangMigrate) history.MarkDirty(*session, before);
      Observation observation(context_, spec_.Target(), *session);
      ScriptRunner(context_, *session, observation, spec_.id, epoch).Run(run);
      if (given_.layout == Layout::kGolangMigrate) {
        history.MarkClean(*reader, before);
      }
    }
  }

  // Nothing of ours but the journal.
  std::vector<std::string> Cleanup(bool) override { return {}; }

  std::vector<std::string> Reset(bool /*dry_run*/) override {
    std::vector<std::string> lines;
    const auto session = ConnectAsUser();
    for (const std::string& version : AppliedByUs(*session)) {
      lines.push_back("version " + version +
                      " is applied and stays; give it as 'baseline', or roll back instead");
    }
    for (const core::JournalEntry& entry : core::Journal(*session, spec_.id).Entries()) {
      if (entry.detail.value("state", "") == "running") {
        lines.push_back(entry.name + " was left half done, after " +
                        std::to_string(entry.detail.value("done", 0)) +
                        " of its statements; look at the database");
      }
    }
    if (lines.empty()) lines.push_back("no file was applied; only the journal goes");
    return lines;
  }

  core::Owner WhoOwns() override {
    WaitForBackend();
    const auto session = ConnectAsUser();
    const std::set<std::string> ours = AppliedByUs(*session);
    for (const core::JournalEntry& entry : core::Journal(*session, spec_.id).Entries()) {
      if (entry.detail.contains("sending")) return core::Owner::kUnknown;
    }
    History history(*session, given_.layout);
    history.Read();
    for (std::size_t i = given_.begin; i < given_.end; ++i) {
      const Version& version = given_.versions[i];
      if (!ours.contains(version.version) && !history.IsApplied(version)) {
        return core::Owner::kOld;
      }
    }
    return core::Owner::kNew;
  }

  core::StrategyStatus Status() override {
    core::StrategyStatus status;
    const auto session = ConnectAsUser();
    const std::set<std::string> ours = AppliedByUs(*session);
    History history(*session, given_.layout);
    history.Read();
    std::size_t applied = 0;
    const std::size_t all = given_.end - given_.begin;
    for (std::size_t i = given_.begin; i < given_.end; ++i) {
      const Version& version = given_.versions[i];
      if (ours.contains(version.version)) status.rollback_points.push_back(version.version);
      if (ours.contains(version.version) || history.IsApplied(version)) ++applied;
    }
    status.in_service = applied == all ? core::Owner::kNew
                        : applied == 0 ? core::Owner::kOld
                                       : core::Owner::kUnknown;
    status.detail = std::to_string(applied) + " of " + std::to_string(all) + " versions applied";
    for (const core::JournalEntry& entry : core::Journal(*session, spec_.id).Entries()) {
      if (entry.detail.value("state", "") != "running") continue;
      const bool sent = entry.detail.contains("sending");
      if (sent) status.in_service = core::Owner::kUnknown;
      status.blocking.push_back(
          entry.detail.value("file", entry.name) + ": half done; " +
          std::to_string(entry.detail.value("done", 0)) + " statements are done" +
          (sent ? ", the next one was sent outside a transaction and may be done or not: look at "
                  "the database, finish or undo the file by hand, then: understudy migrate reset, "
                  "and give what is done as 'baseline'"
                : "; understudy migrate run goes on there"));
    }
    if (history.dirty() && status.blocking.empty()) {
      status.blocking.push_back(history.Display() + " is dirty at version " + *history.dirty());
    }
    return status;
  }

 private:
  std::unique_ptr<db::Session> ConnectAsUser() const {
    db::SessionOptions options;
    options.settings = db::Settings::kUsers;
    options.application_name = "understudy-engine";
    // Production's own limits hold unless the file names others.
    if (spec_.limits.lock_timeout_ms) {
      options.lock_timeout = std::chrono::milliseconds(*spec_.limits.lock_timeout_ms);
    }
    options.statement_timeout = std::chrono::milliseconds(spec_.limits.statement_timeout_ms);
    auto session = db::Connect(spec_.Target(), options);
    if (Sabotaged("sql-bypasses-triggers")) {
      session->Execute("SET session_replication_role = replica");
    }
    return session;
  }

  std::string Display(const fs::path& file) const { return DisplayOf(spec_, file); }

  static std::string Canonical(std::string version) {  // as golang-migrate's table holds it
    const auto digit = version.find_first_not_of('0');
    return digit == std::string::npos ? version : version.substr(digit);
  }

  // The lifecycle has taken the migration over: an old engine's commits are refused. But its server
  // process may still be at work on a statement, long after the engine was killed: it is ended, so
  // that its locks go and nothing of it comes in between (hard-case 137).
  void EndOldBackend() const {
    const auto session =
        db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
    core::Journal journal(*session, spec_.id);
    const auto old = journal.Find("session");
    if (!old || session->Server().engine != db::Engine::kPostgres) return;
    const db::Params who = {db::Value::Integer(old->detail.value("pid", 0)),
                            db::Value::Text(old->detail.value("started", ""))};
    const std::string alive =
        "FROM pg_stat_activity WHERE pid = $1::int AND extract(epoch FROM backend_start)::text = "
        "$2::text";
    if (session->Query("SELECT pg_terminate_backend(pid) " + alive, who).rows.empty()) return;
    context_.Log("warning", "the server process of an earlier run was still at work; it was ended");
    const auto deadline = SteadyClock::now() + kBackendGone;
    while (!session->Query("SELECT 1 " + alive, who).rows.empty()) {
      if (SteadyClock::now() > deadline) {
        throw Error(ErrorKind::kUnavailable, "the server process of an earlier run (pid " +
                                                 who[0].text +
                                                 ") does not end; look at it before this goes on");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  // Remembers the server process that is about to work, for who takes over.
  void RememberBackend(db::Session& session) {
    if (session.Server().engine != db::Engine::kPostgres) return;
    backend_pid_ = session.BackendPid();
    core::Journal(session, spec_.id)
        .Put("session",
             {{"pid", backend_pid_},
              {"started", session
                              .Scalar("SELECT extract(epoch FROM backend_start)::text FROM "
                                      "pg_catalog.pg_stat_activity WHERE pid = "
                                      "pg_catalog.pg_backend_pid()")
                              .text}});
  }

  std::set<std::string> AppliedByUs(db::Session& session) const {
    std::set<std::string> applied;
    for (const core::JournalEntry& entry : core::Journal(session, spec_.id).Entries()) {
      if (entry.name.starts_with("up ") && entry.detail.value("state", "") == "applied") {
        applied.insert(entry.detail.value("version", ""));
      }
    }
    return applied;
  }

  // The same, and those left half done: their downs are the way back, too.
  std::set<std::string> TouchedByUs(db::Session& session) const {
    std::set<std::string> touched = AppliedByUs(session);
    for (const core::JournalEntry& entry : core::Journal(session, spec_.id).Entries()) {
      if (entry.name.starts_with("up ") &&
          (entry.detail.value("done", 0) > 0 || entry.detail.contains("sending"))) {
        touched.insert(entry.detail.value("version", ""));
      }
    }
    return touched;
  }

  void RefuseForeignTools(core::Plan& plan) const {
    if (context_.rehearsal()) return;
    if (given_.layout != Layout::kFlyway && given_.layout != Layout::kSqitch) return;
    const std::string tool(LayoutName(given_.layout));
    plan.refused.push_back(
        {tool, "understudy rehearses " + tool +
                   " files but does not run them for real, because it does not write " + tool +
                   "'s own table: run them with " + tool +
                   " through the strategy 'command', e.g. \"up\": [\"" + tool + "\", " +
                   (tool == "sqitch" ? "\"deploy\"" : "\"migrate\"") + "]"});
  }

  // Dirty and not by us: a person has to look at it first, as the tool itself demands.
  void RefuseDirty(const History& history, db::Session& session, core::Plan& plan) const {
    if (!history.dirty()) return;
    for (const core::JournalEntry& entry : core::Journal(session, spec_.id).Entries()) {
      if (entry.name.starts_with("up ") || entry.name.starts_with("down ")) return;
    }
    if (core::Journal(session, spec_.id).Load()) return;  // begun by us, failed in the first file
    plan.refused.push_back(
        {history.Display(), "golang-migrate left version " + *history.dirty() +
                                " dirty: look at the database, then: migrate force VERSION"});
  }

  std::vector<db::ScriptStatement> Split(const Script& script) const {
    return db::SplitScript(script.text, spec_.Target().engine(), Display(script.file));
  }

  void AddToPlan(const Script& script, core::Plan& plan) const {
    const std::string display = Display(script.file);
    const auto statements = Split(script);
    const Choice choice =
        ChooseMode(script, statements, given_.rule, given_.layout, spec_.Target().engine());
    if (!choice.refused.empty()) plan.refused.push_back({display, choice.refused});
    for (const std::string& warning : choice.warnings) {
      plan.warnings.push_back(display + ": " + warning);
    }
    if (statements.empty()) plan.warnings.push_back(display + " holds no statement");
    core::PlanStep& step = plan.steps.emplace_back();
    step.phase = "cutover";
    step.what = "run " + display + ": " + std::to_string(statements.size()) + " statements, " +
                (choice.mode == Mode::kFile     ? "in one transaction"
                 : choice.mode == Mode::kAll    ? "in one transaction with all files"
                 : choice.mode == Mode::kScript ? "in the transactions that it opens itself"
                                                : "each by itself");
    AddStatements(display, statements, choice, plan.statements);
  }

  ScriptRun MakeRun(const Script& script, std::string entry, std::string points,
                    const Version& version) const {
    ScriptRun run;
    run.script = &script;
    run.display = Display(script.file);
    run.statements = Split(script);
    const Choice choice =
        ChooseMode(script, run.statements, given_.rule, given_.layout, spec_.Target().engine());
    if (!choice.refused.empty()) {
      throw Error(ErrorKind::kUnsupported, run.display + ": " + choice.refused);
    }
    run.mode = choice.mode;
    run.entry = std::move(entry);
    run.points = std::move(points);
    run.detail = {
        {"version", version.version}, {"file", run.display}, {"sha256", Sha256Hex(script.text)}};
    return run;
  }

  ScriptRun MakeUp(const Version& version, History& history) const {
    ScriptRun run = MakeRun(*version.up, "up " + version.version, "cutover", version);
    if (SabotagedOnce("sql-records-unrun-file")) run.statements.clear();
    Json applied = run.detail;
    applied["state"] = "applied";
    run.finish = [this, &version, &history, applied](db::Session& on) {
      if (!Sabotaged("sql-journal-skips-commit")) {
        core::Journal(on, spec_.id).Put("up " + version.version, applied);
      }
      history.Record(on, version, true);
    };
    return run;
  }

  void RunAll(const std::vector<const Version*>& pending, db::Session& session, History& history,
              std::int64_t epoch) {
    if (pending.empty()) return;
    if (given_.layout == Layout::kGolangMigrate) {
      throw Error(ErrorKind::kUnsupported,
                  "/transaction: 'all' is nothing that golang-migrate could do: it commits its "
                  "version table between the files");
    }
    RememberBackend(session);
    Observation observation(context_, spec_.Target(), session);
    ScriptRunner runner(context_, session, observation, spec_.id, epoch);
    try {
      session.Begin();
      for (const Version* version : pending) runner.RunStatements(MakeUp(*version, history));
      runner.CommitAll("all files", "cutover");
    } catch (...) {
      session.Rollback();
      observation.TransactionEnded();
      throw;
    }
  }

  void RunGroupDown(const std::vector<std::size_t>& back, db::Session& session,
                    std::int64_t epoch) {
    RememberBackend(session);
    ScriptRun run = MakeRun(*given_.group_down, "down", "rollback", given_.versions[back.front()]);
    if (SabotagedOnce("sql-rollback-skips-last")) run.statements.pop_back();
    run.finish = [&](db::Session& on) {
      core::Journal journal(on, spec_.id);
      for (const std::size_t i : back) journal.Remove("up " + given_.versions[i].version);
      journal.Remove("down");
    };
    Observation observation(context_, spec_.Target(), session);
    ScriptRunner(context_, session, observation, spec_.id, epoch).Run(run);
  }

  // sqitch's verify scripts: they fail by an error, and end with ROLLBACK.
  void RunVerify(const Script& script, core::VerifyResult& result) const {
    const auto session = ConnectAsUser();
    for (const db::ScriptStatement& statement : Split(script)) {
      try {
        session->Execute(statement.sql);
      } catch (const Error& error) {
        result.findings.push_back(AtFileLine(error, Display(script.file), statement).what());
        return;
      }
    }
  }

  // After a lost connection the old backend may still commit (hard-case 137).
  void WaitForBackend() const {
    if (backend_pid_ == 0) return;
    const auto session =
        db::Connect(spec_.Target(), {.application_name = "understudy-engine journal"});
    const auto deadline = SteadyClock::now() + kBackendGone;
    while (
        SteadyClock::now() < deadline &&
        session->Query("SELECT 1 FROM pg_stat_activity WHERE pid = $1::int AND application_name = "
                       "'understudy-engine'",
                       {db::Value::Integer(backend_pid_)})
                .rows.size() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  core::Context& context_;
  const core::Spec& spec_;
  Given given_;
  int backend_pid_ = 0;  // of the session that ran the last file; 0 = none, or SQLite
};

}  // namespace

core::StrategyInfo Strategy() {
  return {.name = "sql",
          .endpoint_keys = {"on"},
          .required = {"on", "up"},
          .optional = {"down", "layout", "baseline", "through", "transaction", "variables"},
          .make = [](core::Context& context) { return std::make_unique<SqlFiles>(context); },
          .statements = StatementsOf};
}

}  // namespace understudy::sql_files
