#include "engine/sql_files/script_run.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <regex>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/sabotage.h"

namespace understudy::sql_files {
namespace {

// SQLite's PRAGMA foreign_keys and its like: no error inside a transaction, only without effect.
bool OnlyWithoutEffect(const std::string& sql, db::Engine engine) {
  return engine == db::Engine::kSqlite && db::FirstWords(sql, engine, 1) == "PRAGMA";
}

// A procedure or block that may commit by itself must not be wrapped in a transaction.
bool MayCommit(const std::string& sql, db::Engine engine) {
  if (engine != db::Engine::kPostgres) return false;
  const std::string word = db::FirstWords(sql, engine, 1);
  if (word == "CALL") return true;
  if (word != "DO") return false;
  static const std::regex kCommits("\\b(commit|rollback)\\b", std::regex::icase);
  return std::regex_search(sql, kCommits);
}

bool ChangesRole(const std::vector<db::ScriptStatement>& statements) {
  return std::ranges::any_of(statements, [](const db::ScriptStatement& s) {
    const auto tokens = db::Tokens(s.sql, db::Engine::kPostgres, 4);
    return !tokens.empty() && tokens[0] == "SET" &&
           (std::ranges::find(tokens, "ROLE") != tokens.end() ||
            std::ranges::find(tokens, "AUTHORIZATION") != tokens.end());
  });
}

std::string Place(const std::string& display, int line) {
  return display + ":" + std::to_string(line);
}

// What only changes the session, and is sent again when a script goes on in a new one.
bool IsSessionState(const std::string& sql, db::Engine engine) {
  if (OnlyWithoutEffect(sql, engine)) return true;
  const auto tokens = db::Tokens(sql, engine, 2);
  return engine == db::Engine::kPostgres && tokens.size() == 2 && tokens[0] == "SET" &&
         tokens[1] != "LOCAL" && tokens[1] != "TRANSACTION" && tokens[1] != "CONSTRAINTS";
}

// Cancels the statement under way when somebody asks to stop: a thread, because the session's own
// waits for the answer.
class CancelOnStop {
 public:
  CancelOnStop(const core::Context& context, db::Session& session)
      : thread_([&context, &session, this](const std::stop_token& done) {
          std::unique_lock lock(mutex_);
          while (!done.stop_requested()) {
            wake_.wait_for(lock, done, std::chrono::milliseconds(100), [] { return false; });
            if (!done.stop_requested() && context.stopped()) session.Cancel();
          }
        }) {}

 private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // the last: it uses the others
};

bool IsAnswer(const Error& error) {  // the server has said no; nothing was done
  return error.kind() != ErrorKind::kUnavailable && error.kind() != ErrorKind::kAmbiguous;
}

}  // namespace

std::string_view ModeName(Mode mode) {
  constexpr std::array<std::string_view, 4> kNames = {"file", "own", "script", "all"};
  return kNames[static_cast<std::size_t>(mode)];
}

Choice ChooseMode(const Script& script, const std::vector<db::ScriptStatement>& statements,
                  TransactionRule rule, Layout layout, db::Engine engine) {
  Choice choice;
  choice.notes.resize(statements.size());
  bool controls = false;
  const db::ScriptStatement* refuses = nullptr;  // to run inside a transaction
  for (std::size_t i = 0; i < statements.size(); ++i) {
    const std::string& sql = statements[i].sql;
    if (db::ControlsTransaction(sql, engine)) {
      controls = true;
      choice.notes[i] = "the script's own transaction";
    } else if (db::CannotRunInTransaction(sql, engine)) {
      choice.notes[i] = OnlyWithoutEffect(sql, engine) ? "has no effect inside a transaction"
                                                       : "cannot run inside a transaction";
      if (refuses == nullptr && !OnlyWithoutEffect(sql, engine)) refuses = &statements[i];
    }
  }
  const bool pragma =
      engine == db::Engine::kSqlite && refuses == nullptr &&
      std::ranges::find(choice.notes, "has no effect inside a transaction") != choice.notes.end();
  const std::string where = refuses == nullptr ? ""
                                               : "line " + std::to_string(refuses->line) + " (" +
                                                     db::FirstWords(refuses->sql, engine) + ")";
  switch (rule) {
    case TransactionRule::kNone:
      choice.mode = controls ? Mode::kScript : Mode::kOwn;
      return choice;
    case TransactionRule::kFile:
    case TransactionRule::kAll:
      choice.mode = rule == TransactionRule::kFile ? Mode::kFile : Mode::kAll;
      if (controls) {
        choice.refused = "it begins or commits transactions itself, which 'transaction' forbids";
      } else if (refuses != nullptr) {
        choice.refused = where + " cannot run inside a transaction, which 'transaction' asks for";
      }
      return choice;
    case TransactionRule::kAuto:
      break;
  }
  if (controls) {
    choice.mode = Mode::kScript;
    return choice;
  }
  if (!script.in_transaction) {
    choice.mode = Mode::kOwn;
    if (layout == Layout::kDbmate && refuses != nullptr && statements.size() > 1) {
      choice.warnings.push_back(
          where +
          ": dbmate sends the whole section as one query, where several statements make a "
          "transaction; put this one alone into a file");
    }
    return choice;
  }
  if (refuses == nullptr) {
    choice.mode = pragma && layout == Layout::kPlain ? Mode::kOwn : Mode::kFile;
    return choice;
  }
  choice.mode = Mode::kOwn;
  const bool alone = statements.size() == 1;
  switch (layout) {
    case Layout::kGolangMigrate:
      if (!alone) {
        choice.refused = where +
                         " cannot run inside a transaction, and golang-migrate sends the file as "
                         "one query, which is one: put the statement alone into a file (with "
                         "x-multi-statement=true in production: 'transaction': 'none')";
      }
      break;
    case Layout::kGoose:
      choice.refused = where +
                       " cannot run inside a transaction: goose needs the line '-- +goose "
                       "NO TRANSACTION' at the top of the file";
      break;
    case Layout::kDbmate:
      choice.refused = where +
                       " cannot run inside a transaction: dbmate needs '-- migrate:up "
                       "transaction:false' (or down)";
      break;
    case Layout::kFlyway:
      if (std::ranges::any_of(statements, [&](const db::ScriptStatement& s) {
            return !db::CannotRunInTransaction(s.sql, engine);
          })) {
        choice.refused = where +
                         " cannot run inside a transaction, and Flyway refuses a file that "
                         "mixes such statements with others: put it into a file of its own";
      }
      break;
    default:
      if (!alone) {
        choice.warnings.push_back(where +
                                  " cannot run inside a transaction: every statement of this file "
                                  "commits by itself, and a failure leaves it half done");
      }
  }
  return choice;
}

Error AtFileLine(const Error& error, const std::string& display,
                 const db::ScriptStatement& statement) {
  std::string message = error.message();
  int line = statement.line;
  static const std::regex kLine("\nLINE ([0-9]+): [^\n]*(\n *\\^)?");
  static const std::regex kCopyLine("COPY [^\n,]*, line ([0-9]+)");
  std::smatch match;
  if (std::regex_search(message, match, kLine)) {
    line += std::atoi(match[1].str().c_str()) - 1;
    message = match.prefix().str() + match.suffix().str();
  } else if (statement.copy_from_stdin && std::regex_search(message, match, kCopyLine)) {
    line += static_cast<int>(std::ranges::count(statement.sql, '\n')) +
            std::atoi(match[1].str().c_str());
  }
  if (error.code() == "2D000") {
    message += "\nHINT: it commits inside; say 'transaction': 'none' for this migration";
  }
  Error placed(error.kind(), Place(display, line) + ": " + message, error.code());
  for (const std::string& frame : error.frames()) placed.AddFrame(frame);
  return placed;
}

ScriptRunner::ScriptRunner(const core::Context& context, db::Session& session,
                           Observation& observation, const std::string& migration_id,
                           std::int64_t epoch)
    : context_(context),
      session_(session),
      observation_(observation),
      journal_(session, migration_id),
      epoch_(epoch) {}

void ScriptRunner::RunStatement(const ScriptRun& run, std::size_t index) {
  const db::ScriptStatement& statement = run.statements[index];
  const Json place = {{"file", run.display}, {"line", statement.line}};
  context_.ThrowIfStopped();
  Json attributes = place;
  attributes["sql"] = statement.sql.substr(0, 300);
  context_.At("statement.before", attributes);
  Json event = place;
  event["sql"] = statement.sql;
  event["transaction"] = ModeName(run.mode);
  observation_.BeforeStatement();
  const auto started = SteadyClock::now();
  try {
    const CancelOnStop cancel(context_, session_);
    if (!SabotagedOnce("sql-skips-statement")) db::Send(session_, statement);
  } catch (const Error& error) {
    const Error placed = AtFileLine(error, run.display, statement);
    event["ms"] = MillisecondsSince(started);
    event["error"] = placed.what();
    context_.Tell("statement", event);
    if (error.kind() == ErrorKind::kCancelled && context_.stopped()) {
      throw Error(ErrorKind::kCancelled, placed.message(), "stop");
    }
    throw placed;
  }
  event["ms"] = MillisecondsSince(started);
  observation_.AfterStatement(statement.sql, run.display, statement.line, event);
  for (const std::string& notice : session_.TakeNotices()) context_.Log("notice", notice);
  context_.Tell("statement", event);
  context_.At("statement.after", attributes);
}

// The journal is ours to write, whatever role the script has taken on.
void ScriptRunner::AsOurselves(const ScriptRun& run) {
  if (session_.Server().engine == db::Engine::kPostgres && ChangesRole(run.statements)) {
    session_.Execute("RESET SESSION AUTHORIZATION; RESET ROLE");
  }
}

void ScriptRunner::Commit(const std::string& points, const std::string& display) {
  context_.At(points + ".before_commit", {{"file", display}});
  if (Sabotaged("sql-sleeps-on-its-locks")) std::this_thread::sleep_for(std::chrono::seconds(6));
  journal_.CheckEpoch(epoch_);
  try {
    session_.Commit();
  } catch (Error& error) {  // deferred constraints speak up here
    error.AddFrame(display + ": at its commit");
    throw;
  }
  observation_.TransactionEnded();
  context_.At(points + ".after_commit", {{"file", display}});
}

void ScriptRunner::Run(const ScriptRun& run) {
  observation_.BeginFile();
  try {
    if (run.mode == Mode::kFile) {
      RunInOneTransaction(run);
    } else {
      RunOneByOne(run);
    }
  } catch (...) {
    if (Sabotaged("sql-commits-half") && session_.InTransaction()) session_.Commit();
    session_.Rollback();
    observation_.TransactionEnded();
    throw;
  }
}

void ScriptRunner::RunStatements(const ScriptRun& run) {
  observation_.BeginFile();
  for (std::size_t i = 0; i < run.statements.size(); ++i) RunStatement(run, i);
  AsOurselves(run);
  run.finish(session_);
}

void ScriptRunner::CommitAll(const std::string& display, const std::string& points) {
  if (points == "cutover") context_.At("cutover.locked", {{"file", display}});
  Commit(points, display);
}

void ScriptRunner::RunInOneTransaction(const ScriptRun& run) {
  session_.Begin();
  for (std::size_t i = 0; i < run.statements.size(); ++i) RunStatement(run, i);
  if (!session_.InTransaction()) {
    throw Error(ErrorKind::kConstraint, run.display + ": its transaction was ended from inside");
  }
  if (run.points == "cutover") context_.At("cutover.locked", {{"file", run.display}});
  AsOurselves(run);
  run.finish(session_);
  Commit(run.points, run.display);
}

void ScriptRunner::RunOneByOne(const ScriptRun& run) {
  const db::Engine engine = session_.Server().engine;
  std::size_t first = 0;
  if (const auto before = journal_.Find(run.entry)) {
    first = before->detail.value("done", std::size_t{0});
    if (before->detail.value("sha256", "") != run.detail.value("sha256", "")) {
      throw Error(ErrorKind::kMismatch,
                  run.display +
                      " has changed since it was begun and left half done; put the old "
                      "text back, or finish it by hand and run: understudy migrate reset");
    }
    if (before->detail.contains("sending") && first < run.statements.size()) {
      throw Error(
          ErrorKind::kAmbiguous,
          Place(run.display, run.statements[first].line) +
              ": this statement was sent outside any transaction, and its answer never came: it "
              "may be done or not, and a failed CREATE INDEX CONCURRENTLY leaves an invalid index. "
              "Statements before it are done. Look at the database and finish or undo the file by "
              "hand; then run: understudy migrate reset, and give what is done as 'baseline'");
    }
    if (first > 0) {
      context_.Log("info", run.display + ": goes on after its first " + std::to_string(first) +
                               " statements, which are done");
      for (std::size_t i = 0; i < first; ++i) {
        if (IsSessionState(run.statements[i].sql, engine)) db::Send(session_, run.statements[i]);
      }
    }
  }
  const auto note = [&](std::size_t done, bool sending) {
    Json detail = run.detail;
    detail["state"] = "running";
    detail["done"] = done;
    if (sending) detail["sending"] = true;
    journal_.Put(run.entry, detail);
  };
  bool locked_told = false;
  const auto locked = [&] {
    if (run.points == "cutover" && !locked_told)
      context_.At("cutover.locked", {{"file", run.display}});
    locked_told = true;
  };
  for (std::size_t i = first; i < run.statements.size(); ++i) {
    const std::string& sql = run.statements[i].sql;
    const bool control = db::ControlsTransaction(sql, engine);
    if (session_.InTransaction()) {
      const std::string word = db::FirstWords(sql, engine, 1);
      if (control && (word == "COMMIT" || word == "END")) {
        locked();
        note(i + 1, false);
        context_.At(run.points + ".before_commit", {{"file", run.display}});
        journal_.CheckEpoch(epoch_);
        RunStatement(run, i);
        observation_.TransactionEnded();
        context_.At(run.points + ".after_commit", {{"file", run.display}});
      } else {
        RunStatement(run, i);
        if (!session_.InTransaction()) observation_.TransactionEnded();  // ROLLBACK
      }
    } else if (control || OnlyWithoutEffect(sql, engine)) {
      RunStatement(run, i);
    } else if (!db::CannotRunInTransaction(sql, engine) && !MayCommit(sql, engine)) {
      session_.Begin(db::Isolation::kDefault, false, /*immediate=*/true);
      RunStatement(run, i);
      locked();
      note(i + 1, false);
      Commit(run.points, run.display);
    } else {
      journal_.CheckEpoch(epoch_);
      note(i, true);
      locked();
      context_.At(run.points + ".before_commit", {{"file", run.display}});
      try {
        RunStatement(run, i);
      } catch (const Error& error) {
        if (IsAnswer(error)) {
          note(i, false);
          throw;
        }
        throw Error(ErrorKind::kAmbiguous, error.message() + " — it may be done or not",
                    error.code());
      }
      observation_.TransactionEnded();
      note(i + 1, false);
      context_.At(run.points + ".after_commit", {{"file", run.display}});
    }
  }
  if (session_.InTransaction()) {
    throw Error(ErrorKind::kConstraint,
                run.display +
                    ": it begins a transaction and never ends it; it was rolled back. "
                    "Add a COMMIT");
  }
  session_.Begin(db::Isolation::kDefault, false, true);
  AsOurselves(run);
  run.finish(session_);
  journal_.CheckEpoch(epoch_);
  session_.Commit();
}

}  // namespace understudy::sql_files
