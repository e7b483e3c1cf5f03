// A program that people use has none of the deliberate wrongs of engine/base/sabotage.h in it, and
// the variable that would choose one means nothing to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>

#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/base/sabotage.h"

namespace understudy::testing {
namespace {

bool Holds(const std::string& program, std::string_view text) {
  // Not std::string::find: the program is large.
  return ::memmem(program.data(), program.size(), text.data(), text.size()) != nullptr;
}

TEST(NoSabotage, TheProgramHoldsNoIdOfOne) {
  const std::string program = ReadFile(UNDERSTUDY_PROGRAM);
  ASSERT_TRUE(Holds(program, "understudy-engine"));  // its texts can be found at all
  EXPECT_FALSE(Holds(program, "UNDERSTUDY_SABOTAGE_ID"));
  for (const SabotageInfo& wrong : kSabotages) {
    EXPECT_FALSE(Holds(program, wrong.id)) << wrong.id;
    EXPECT_FALSE(Holds(program, wrong.what)) << wrong.id;
  }
}

TEST(NoSabotage, TheVariableMeansNothing) {
  Command command;
  command.argv = {UNDERSTUDY_PROGRAM, "schema", "points"};
  const Outcome plain = RunCommand(command);
  for (const std::string_view id : {std::string_view("no-such-wrong"), kSabotages[0].id}) {
    command.environment["UNDERSTUDY_SABOTAGE_ID"] = id;
    const Outcome chosen = RunCommand(command);
    EXPECT_EQ(chosen.exit_status, 0) << chosen.err;
    EXPECT_EQ(chosen.out, plain.out);
    EXPECT_EQ(chosen.err, "");
  }
}

}  // namespace
}  // namespace understudy::testing
