// docs/examples/school-service, done: two writers of other processes, one on generated code and one
// that never heard of us, are migrated while they write, and nothing that they were told is lost.
#include <fstream>
#include <set>
#include <thread>

#include "engine/db/session.h"
#include "tests/integration/program_support.h"
#include "tests/support/server.h"

namespace understudy {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::Said;
using testing::Workspace;

const fs::path kSource(UNDERSTUDY_SOURCE_DIR);

// Generates db.h from `schema` and builds the service on it.
std::string BuildService(const Workspace& w, const std::string& name, const fs::path& schema) {
  fs::create_directory(w.path() / name);
  const Outcome generated = w.Run({"codegen", schema.string(), "-o", w.At(name + "/db.h")});
  EXPECT_EQ(generated.exit_status, 0) << Said(generated);
  const std::string program = w.At(name + "/service");
  const Outcome built =
      RunCommand({.argv = {UNDERSTUDY_CXX, "-std=c++20", "-O0", "-Wno-missing-field-initializers",
                           "-I" + (kSource / "engine/client").string(), "-I" + w.At(name),
                           (kSource / "docs/examples/school-service/service.cc").string(),
                           "-lsqlite3", "-o", program}});
  EXPECT_EQ(built.exit_status, 0) << built.err;
  return program;
}

// The words behind `word` on each line that begins with it.
std::vector<std::string> Said(const fs::path& file, const std::string& word) {
  std::ifstream in(file);
  std::vector<std::string> said;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(word + " ", 0) == 0) said.push_back(line.substr(word.size() + 1));
  }
  return said;
}

void WaitFor(const std::function<bool()>& done) {
  for (int i = 0; i < 1200 && !done(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ASSERT_TRUE(done());
}

void MigrateLive(const std::string& journal_mode) {
  const Workspace w;
  const fs::path school = w.path() / "school";
  fs::create_directory(school);
  fs::copy_file(kSource / "fixtures/school/schema.sql", school / "schema.sql");
  const std::string old_file = (school / "school-0123456789abcdef.sqlite").string();
  {
    const auto session = db::Connect(db::Endpoint::Parse("sqlite:" + old_file), {.create = true});
    session->Execute("PRAGMA journal_mode = " + journal_mode);
    session->Execute(ReadFile(kSource / "fixtures/school/old.sql"));
    session->Execute(ReadFile(kSource / "fixtures/school/rows.sql"));
  }
  const std::string service = BuildService(w, "service-old", kSource / "fixtures/school/old.sql");
  const std::string successor =
      BuildService(w, "service-new", kSource / "fixtures/school/schema.sql");
  ASSERT_FALSE(::testing::Test::HasFailure());

  const fs::path enrolled = w.path() / "service.log";
  const fs::path written = w.path() / "plain.log";
  Child first = Child::Start({.argv = {service, old_file, "100000"}}, {}, enrolled);
  Child plain =
      Child::Start({.argv = {(kSource / "docs/examples/school-service/plain-writer.sh").string(),
                             old_file, "100000"}},
                   {}, written);
  const auto both_write =
      [&, from = std::pair(Said(enrolled, "enrolled").size(), Said(written, "wrote").size())] {
        return Said(enrolled, "enrolled").size() > from.first + 20 &&
               Said(written, "wrote").size() > from.second + 5;
      };
  WaitFor(both_write);
  const auto migrate = [&](std::vector<std::string> verb) {
    verb.insert(verb.begin(), "migrate");
    verb.insert(verb.end(), {"--dir", school.string()});
    return w.Run(verb);
  };
  const auto must = [&](const std::string& verb) {
    const Outcome outcome = migrate({verb});
    ASSERT_EQ(outcome.exit_status, 0) << verb << ": " << Said(outcome);
  };
  const Outcome plan = migrate({"plan"});
  EXPECT_EQ(plan.exit_status, 0) << Said(plan);
  EXPECT_THAT(plan.out, HasSubstr("Can run migrate now: yes"));
  must("prepare");
  const std::size_t before = Said(enrolled, "enrolled").size();
  WaitFor([&] { return Said(enrolled, "enrolled").size() > before + 20; });
  EXPECT_TRUE(first.Running()) << "recording must not disturb the service";
  must("status");
  must("drain");
  // Both learn it by themselves: one as a type, one by sqlite3's message.
  EXPECT_EQ(first.Wait(std::chrono::seconds(60)), 75);
  EXPECT_EQ(plain.Wait(std::chrono::seconds(60)), 75);
  EXPECT_THAT(ReadFile(enrolled), HasSubstr("draining"));
  EXPECT_THAT(ReadFile(written), HasSubstr("understudy: draining, retry"));
  must("cutover");
  must("verify");
  must("cleanup");

  std::string new_file;
  for (const auto& entry : fs::directory_iterator(school)) {
    const std::string path = entry.path().string();
    if (entry.path().extension() == ".sqlite" && path != old_file) new_file = path;
  }
  ASSERT_NE(new_file, "");
  const Outcome after = RunCommand({.argv = {successor, new_file, "3"}});
  EXPECT_EQ(after.exit_status, 0) << after.err;

  const auto session = db::Connect(db::Endpoint::Parse("sqlite:" + new_file));
  std::size_t found = 0;
  for (const std::string& line : Said(enrolled, "enrolled")) {
    const auto space = line.find(' ');
    found += session
                 ->Query("SELECT 1 FROM students WHERE id = ?1 AND name = ?2",
                         {db::Value::Integer(std::stoll(line.substr(0, space))),
                          db::Value::Text(line.substr(space + 1))})
                 .rows.size();
  }
  EXPECT_EQ(found, Said(enrolled, "enrolled").size()) << "enrolled and lost";
  EXPECT_GT(found, 40U);
  found = 0;
  for (const std::string& amount : Said(written, "wrote")) {
    found += session
                 ->Query("SELECT 1 FROM journal WHERE amount = ?1 AND what = 'by sqlite3'",
                         {db::Value::Integer(std::stoll(amount))})
                 .rows.size();
  }
  EXPECT_EQ(found, Said(written, "wrote").size()) << "written by sqlite3 and lost";
  // A straggler on the old file is refused, and told so.
  const Outcome straggler = RunCommand({.argv = {service, old_file, "1"}});
  EXPECT_EQ(straggler.exit_status, 75) << straggler.out << straggler.err;
}

// hard-case 84, 91, 143
TEST(SchoolService, IsMigratedWhileItWritesInRollbackJournalMode) { MigrateLive("DELETE"); }
TEST(SchoolService, IsMigratedWhileItWritesInWalMode) { MigrateLive("WAL"); }

// A file at the new one's place that is somebody else's is neither filled nor removed.
TEST(HotCopyReset, LeavesAFileThatIsNoMigrationsAlone) {
  const Workspace w;
  w.Write("schema.sql", "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);\n");
  db::Connect(db::Endpoint::Parse("sqlite:" + w.At("old.db")), {.create = true})
      ->Execute("CREATE TABLE t (a INTEGER PRIMARY KEY)");
  db::Connect(db::Endpoint::Parse("sqlite:" + w.At("new.db")), {.create = true})
      ->Execute("CREATE TABLE precious (a TEXT); INSERT INTO precious VALUES ('x')");
  const std::string file = w.WriteJson("m.json", {{"strategy", "hot-copy"},
                                                  {"source", "old.db"},
                                                  {"target", "new.db"},
                                                  {"schema", "schema.sql"}});
  for (const char* verb : {"plan", "prepare", "reset", "run"}) {
    const Outcome outcome = w.Run({"migrate", verb, file});
    EXPECT_EQ(outcome.exit_status, 1) << verb << ": " << Said(outcome);
    EXPECT_EQ(db::Connect(db::Endpoint::Parse("sqlite:" + w.At("new.db")))
                  ->Scalar("SELECT a FROM precious")
                  .text,
              "x")
        << verb;
  }
}

}  // namespace
}  // namespace understudy
