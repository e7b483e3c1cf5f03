// The hot copy of a file in its folder, by the program's verbs alone: what they say and end with.
#include <csignal>
#include <set>
#include <thread>

#include "engine/db/session.h"
#include "tests/integration/program_support.h"

namespace understudy {
namespace {
namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Said;
using testing::Workspace;

constexpr const char* kOld = R"(
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO people SELECT i, 'name ' || i FROM n)";
constexpr const char* kNew =
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, mail TEXT);\n";

class ProgramHotCopy : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder_);
    db::Connect(Endpoint(), {.create = true})->Execute(kOld);
    WriteFileWhole(folder_ / "schema.sql", kNew);
  }
  db::Endpoint Endpoint() const { return db::Endpoint::Sqlite(old_file_); }
  Command Call(std::vector<std::string> verb) const {
    verb.insert(verb.begin(), "migrate");
    verb.insert(verb.end(), {"--dir", folder_.string()});
    return w_.Call(std::move(verb));
  }
  Outcome Migrate(std::vector<std::string> verb) const { return RunCommand(Call(std::move(verb))); }
  std::string Scalar(const std::string& sql) const {
    return db::Connect(Endpoint())->Scalar(sql).text;
  }
  // What is in the old file of ours, and which files stand beside it.
  std::string Ours() const {
    return Scalar(
        "SELECT coalesce(group_concat(name, ' '), '') FROM (SELECT name FROM sqlite_schema WHERE "
        "name GLOB '_*' AND name NOT GLOB 'sqlite_*' ORDER BY 1)");
  }
  std::set<std::string> Files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      // A killed process leaves its lock's file; the next one takes it.
      if (entry.path().extension() == ".understudy-lock") continue;
      names.insert(entry.path().filename().string());
    }
    return names;
  }

  const Workspace w_;
  const fs::path folder_ = w_.path() / "app";
  const fs::path old_file_ = folder_ / "app-0123456789abcdef.sqlite";
};

TEST_F(ProgramHotCopy, HelpNamesEveryVerbAndTheFolder) {
  const std::string help = w_.Run({"migrate", "--help"}).out;
  for (const char* verb :
       {"plan", "prepare", "sync", "drain", "cutover", "status", "cleanup", "reset", "init"}) {
    EXPECT_THAT(help, HasSubstr("\n  " + std::string(verb) + " "));
    const Outcome outcome = w_.Run({"migrate", verb, "--help"});
    EXPECT_EQ(outcome.exit_status, 0) << Said(outcome);
    EXPECT_THAT(outcome.out, AllOf(HasSubstr("--dir"), HasSubstr("Example")));
  }
  for (const char* verb : {"reset", "cleanup"}) {
    EXPECT_THAT(w_.Run({"migrate", verb, "--help"}).out, HasSubstr("--dry-run"));
  }
}

TEST_F(ProgramHotCopy, APlanThatRefusesIs1AndTouchesNothing) {
  WriteFileWhole(folder_ / "schema.sql", "CREATE TABLE people (code TEXT PRIMARY KEY NOT NULL);\n");
  const std::string before = ReadFile(old_file_);
  const Outcome outcome = Migrate({"plan"});
  EXPECT_EQ(outcome.exit_status, 1) << Said(outcome);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("refused: "), HasSubstr("people"),
                                 HasSubstr("Can run migrate now: no"), Not(HasSubstr("Next:"))));
  EXPECT_EQ(ReadFile(old_file_), before);
  EXPECT_THAT(Files(), ::testing::ElementsAre(old_file_.filename().string(), "schema.sql"));
}

TEST_F(ProgramHotCopy, AFailedPrepareSaysWhereItStandsAndBothWaysOn) {
  WriteFileWhole(folder_ / "schema.sql",
                 "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'name "
                 "4000'));\n");
  const Outcome outcome = Migrate({"prepare"});
  EXPECT_EQ(outcome.exit_status, 1) << Said(outcome);
  const std::string dir = " --dir " + folder_.string();
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("Recovery snapshot:\n  in service: old\n"),
                                 HasSubstr("marker recording"), HasSubstr(": migrating"),
                                 HasSubstr("the old file is the source of truth"),
                                 HasSubstr("Go on with: understudy migrate prepare" + dir),
                                 Not(HasSubstr("migrate run")),
                                 HasSubstr("Or give it up:  understudy migrate reset" + dir)));
  // One of them: the row is mended, and it goes on.
  db::Connect(Endpoint())->Execute("UPDATE people SET name = 'mended' WHERE id = 4000");
  const Outcome again = Migrate({"run"});
  EXPECT_EQ(again.exit_status, 0) << Said(again);
}

TEST_F(ProgramHotCopy, AKilledPrepareIsToldByStatusAndGivenUpByReset) {
  Child prepare = Child::Start(
      Call({"prepare", "--set", "limits.rows_per_s=500", "--set", "limits.chunk_rows=100"}));
  const auto begun = [&] {
    const Outcome status = Migrate({"status", "--json"});
    const Json json = Json::parse(status.out, nullptr, false);
    return json.is_object() && json.value("rows_done", std::int64_t{0}) > 0;
  };
  for (int i = 0; i < 300 && !begun(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ASSERT_TRUE(prepare.Running());
  prepare.Signal(SIGKILL);
  EXPECT_EQ(prepare.Wait(std::chrono::seconds(10)), 128 + SIGKILL);
  db::Connect(Endpoint())->Execute("INSERT INTO people VALUES (9000, 'after the kill')");

  Outcome status = Migrate({"status"});
  EXPECT_EQ(status.exit_status, 0) << Said(status);
  EXPECT_THAT(status.out,
              AllOf(HasSubstr("rows:        "), HasSubstr("in service:  old"),
                    HasSubstr("marker recording"), HasSubstr("understudy migrate prepare")));
  const auto files = Files();
  const std::string ours = Ours();
  const Outcome dry = Migrate({"reset", "--dry-run"});
  EXPECT_EQ(dry.exit_status, 0) << Said(dry);
  EXPECT_THAT(dry.out, AllOf(HasSubstr("would remove from the old file: "),
                             HasSubstr("would remove the new file ")));
  EXPECT_EQ(Ours(), ours);
  EXPECT_EQ(Files(), files);
  const Outcome reset = Migrate({"reset"});
  EXPECT_EQ(reset.exit_status, 0) << Said(reset);
  EXPECT_THAT(reset.out, AllOf(HasSubstr("removed the new file "), HasSubstr("State: reset")));
  EXPECT_EQ(Ours(), "");
  EXPECT_THAT(Files(), ::testing::ElementsAre(old_file_.filename().string(), "schema.sql"));
  EXPECT_EQ(Scalar("SELECT name FROM people WHERE id = 9000"), "after the kill");
}

// A command that is shown is there to be pasted.
TEST_F(ProgramHotCopy, ShowsAFolderWithBlanksAsOneWord) {
  const fs::path folder = w_.path() / "the app's";
  fs::create_directory(folder);
  fs::copy(old_file_, folder / "the app's-0123456789abcdef.sqlite");
  fs::copy(folder_ / "schema.sql", folder / "schema.sql");
  const Outcome outcome = w_.Run({"migrate", "plan", "--dir", folder.string()});
  ASSERT_EQ(outcome.exit_status, 0) << Said(outcome);
  const std::string shown = outcome.out.substr(outcome.out.find("Next: understudy ") + 17);
  const Outcome pasted =
      RunCommand({.argv = {"/bin/sh", "-c", std::string(UNDERSTUDY_PROGRAM) + " " + shown},
                  .environment = w_.Call({}).environment,
                  .folder = w_.path()});
  EXPECT_EQ(pasted.exit_status, 0) << Said(pasted);
  EXPECT_THAT(pasted.out, HasSubstr("prepare: done"));
}

TEST_F(ProgramHotCopy, TheNewFileAloneTellsItsStatus) {
  ASSERT_EQ(Migrate({"run"}).exit_status, 0);
  const Outcome too_late = Migrate({"reset"});
  EXPECT_EQ(too_late.exit_status, 1);
  EXPECT_THAT(too_late.err, HasSubstr("the new state is in service"));
  const Outcome back = Migrate({"rollback"});
  EXPECT_EQ(back.exit_status, 1);
  EXPECT_THAT(back.err, AllOf(HasSubstr("To serve it again"), HasSubstr("Next: understudy migrate "
                                                                        "cleanup")));
  ASSERT_EQ(Migrate({"cleanup"}).exit_status, 0);
  fs::remove(old_file_);
  const Outcome status = Migrate({"status"});
  EXPECT_EQ(status.exit_status, 0) << Said(status);
  EXPECT_THAT(status.out, AllOf(HasSubstr("in service:  new"), HasSubstr("old: n/a"),
                                HasSubstr(": ready"), HasSubstr(", schema ")));
}

}  // namespace
}  // namespace understudy
