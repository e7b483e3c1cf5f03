// The sessions that the documents show, run as they stand there: what a reader types must work, and
// must answer what he was told.
#include <regex>
#include <set>
#include <sstream>

#include "tests/integration/program_support.h"
#include "tests/support/server.h"

namespace understudy {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::Said;
using testing::Workspace;

const fs::path kSource(UNDERSTUDY_SOURCE_DIR);

struct Step {
  std::string command;
  std::vector<std::string> shown;
};

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// The block ```console below `heading`.
std::vector<Step> SessionBelow(const std::string& document, const std::string& heading) {
  std::vector<Step> steps;
  bool below = false;
  bool inside = false;
  for (const std::string& line : Lines(ReadFile(kSource / document))) {
    if (!inside) {
      below = below || line == heading;
      inside = below && line == "```console";
    } else if (line == "```") {
      return steps;
    } else if (line.starts_with("$ ")) {
      steps.push_back({line.substr(2), {}});
    } else if (line.starts_with("> ")) {
      steps.back().command += "\n" + line.substr(2);
    } else {
      steps.back().shown.push_back(line);
    }
  }
  ADD_FAILURE() << document << " has no session below " << heading;
  return {};
}

// Times and sizes are not what a document promises.
std::string WithoutMeasures(std::string line) {
  line = std::regex_replace(line, std::regex(R"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)"), "TIME");
  line = std::regex_replace(line, std::regex(R"(\b\d+(\.\d+)? (ms|s|B|kB|MB|bytes)\b)"), "N $2");
  return std::regex_replace(line, std::regex(R"(\((locks .*|…)\)$)"), "(…)");
}

// "…" stands for any lines.
std::string Difference(const std::vector<std::string>& shown, const std::string& said) {
  const std::vector<std::string> lines = Lines(said);
  std::size_t at = 0;
  bool skips = false;
  for (const std::string& expected : shown) {
    if (expected == "…") {
      skips = true;
      continue;
    }
    const std::string wanted = WithoutMeasures(expected);
    while (skips && at < lines.size() && WithoutMeasures(lines[at]) != wanted) ++at;
    if (at == lines.size() || WithoutMeasures(lines[at]) != wanted) return expected;
    ++at;
    skips = false;
  }
  return skips || at == lines.size() ? "" : "nothing more than was shown, but it said " + lines[at];
}

void RunSession(const Workspace& w, const std::string& document, const std::string& heading,
                const std::map<std::string, std::string>& environment) {
  fs::create_directory_symlink(kSource / "fixtures", w.path() / "fixtures");
  fs::path folder = w.path();
  for (const Step& step : SessionBelow(document, heading)) {
    SCOPED_TRACE(step.command);
    Command command = w.Call({});
    command.argv = {"/bin/sh", "-c",
                    "exec 2>&1\n" + step.command + "\nx=$?; pwd > " + w.At("where") + "; exit $x"};
    command.folder = folder;
    for (const auto& [name, value] : environment) command.environment[name] = value;
    command.environment["PATH"] =
        fs::path(UNDERSTUDY_PROGRAM).parent_path().string() + ":" + ::getenv("PATH");
    const Outcome outcome = RunCommand(command);
    const bool refused =
        outcome.out.find(": refused: ") != std::string::npos || outcome.out.starts_with("Error: ");
    EXPECT_EQ(outcome.exit_status == 0, !refused) << Said(outcome);
    const std::string difference = Difference(step.shown, outcome.out);
    ASSERT_EQ(difference, "") << document << " shows what was not said: " << outcome.out;
    folder = Lines(ReadFile(w.path() / "where")).at(0);  // a session may go elsewhere
  }
}

TEST(Documents, TheTableSwapByHandGoesAsShown) {
  NEED_POSTGRES_BINARIES();
  const testing::OwnServer server;
  const Workspace w;
  RunSession(w, "docs/migrations.md", "### By hand, on two databases",
             server.endpoint().Environment());
  // Each verb has left its log, with the time of every line.
  std::set<std::string> verbs;
  for (const auto& entry : fs::directory_iterator(w.path() / "understudy-out/migrate/atlas")) {
    const std::string name = entry.path().stem().string();
    verbs.insert(name.substr(name.find('Z') + 2));
    const std::vector<std::string> lines = Lines(ReadFile(entry.path()));
    ASSERT_FALSE(lines.empty()) << name;
    for (const std::string& line : lines) {
      EXPECT_TRUE(std::regex_search(line, std::regex(R"(^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)")))
          << name << ": " << line;
    }
  }
  EXPECT_THAT(verbs, ::testing::IsSupersetOf({"prepare", "cutover", "verify", "cleanup"}));
}

TEST(Documents, TheHotCopyByHandGoesAsShown) {
  const Workspace w;
  RunSession(w, "docs/migrations.md", "### By hand, on a file in use", {});
}

TEST(Documents, ASessionThatSaysSomethingElseIsNoticed) {
  EXPECT_EQ(Difference({"a 1 ms", "…", "c"}, "a 2 ms\nb\nc\n"), "");
  EXPECT_EQ(Difference({"300|401"}, "300|400\n"), "300|401");
  EXPECT_EQ(Difference({"…", "c"}, "a\nb\nc\n"), "");
  EXPECT_EQ(Difference({"a", "…"}, "a\nb\n"), "");
  EXPECT_EQ(Difference({"…", "d"}, "a\nb\nc\n"), "d");
  EXPECT_EQ(Difference({"b"}, "a\nb\n"), "b");
  EXPECT_NE(Difference({"a"}, "a\nb\n"), "");
  EXPECT_NE(Difference({"a"}, ""), "");
}

}  // namespace
}  // namespace understudy
