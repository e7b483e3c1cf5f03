#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/core/context.h"
#include "engine/core/journal.h"
#include "engine/db/script.h"
#include "engine/sql_files/layout.h"
#include "engine/sql_files/observation.h"

namespace understudy::sql_files {

// How the statements of a file and transactions go together.
enum class Mode {
  kFile,    // one transaction for the file
  kOwn,     // each statement by itself
  kScript,  // the file says BEGIN and COMMIT
  kAll,     // one transaction for all files
};
std::string_view ModeName(Mode mode);  // file own script all

// The value of "transaction" in a migration file.
enum class TransactionRule { kAuto, kFile, kNone, kAll };

struct Choice {
  Mode mode = Mode::kFile;
  std::string refused;  // why the file cannot be run so; "" = it can
  std::vector<std::string> warnings;
  std::vector<std::string> notes;  // one per statement; "" = nothing to say
};

// What the layout's own tool would do with the file, or what `rule` says.
Choice ChooseMode(const Script& script, const std::vector<db::ScriptStatement>& statements,
                  TransactionRule rule, Layout layout, db::Engine engine);

// One file to be run.
struct ScriptRun {
  const Script* script = nullptr;
  std::string display;  // the file's name for people
  std::vector<db::ScriptStatement> statements;
  Mode mode = Mode::kFile;
  std::string entry;   // in the journal, while the file is under way: "up 0007"
  Json detail;         // of that entry
  std::string points;  // "cutover" or "rollback"
  // In the transaction that ends the file: the journal's last word, the tool's version row.
  std::function<void(db::Session&)> finish;
};

// Runs files statement by statement and remembers in the journal how far it came:
//  - a file in one transaction commits together with its journal row;
//  - elsewhere every statement that can be, is wrapped in a transaction with the journal's note of
//    it, and a COMMIT of the script's own takes that note along;
//  - a statement that no transaction takes is noted as `sending` before and as done after. Found
//    `sending` later, nobody knows whether it was done: Error(kAmbiguous).
class ScriptRunner {
 public:
  // `session` has the user's settings. `epoch`: of the journal, checked before each commit.
  ScriptRunner(const core::Context& context, db::Session& session, Observation& observation,
               const std::string& migration_id, std::int64_t epoch);

  // Errors name FILE:LINE.
  void Run(const ScriptRun& run);
  // The parts of kAll: statements only, inside the caller's transaction; then the commit.
  void RunStatements(const ScriptRun& run);
  void CommitAll(const std::string& display, const std::string& points);

 private:
  void RunInOneTransaction(const ScriptRun& run);
  void RunOneByOne(const ScriptRun& run);
  void RunStatement(const ScriptRun& run, std::size_t index);
  void Commit(const std::string& points, const std::string& display);
  void AsOurselves(const ScriptRun& run);

  const core::Context& context_;
  db::Session& session_;
  Observation& observation_;
  core::Journal journal_;
  std::int64_t epoch_;
};

// `error` with FILE:LINE in front, the server's own LINE n worked out to a line of the file.
Error AtFileLine(const Error& error, const std::string& display,
                 const db::ScriptStatement& statement);

}  // namespace understudy::sql_files
