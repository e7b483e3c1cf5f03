// A program that people use has none of the deliberate wrongs of engine/base/sabotage.h in it, and
// the variable that would choose one means nothing to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/base/file.h"
#include "engine/base/process.h"
#include "engine/base/sabotage.h"

namespace understudy::testing {
namespace {

TEST(NoSabotage, TheProgramHoldsNoIdOfOne) {
  const std::string program = ReadFile(UNDERSTUDY_PROGRAM);
  ASSERT_NE(program.find("understudy-engine"), std::string::npos);  // its texts can be found at all
  EXPECT_EQ(program.find("UNDERSTUDY_SABOTAGE_ID"), std::string::npos);
  for (const SabotageInfo& wrong : kSabotages) {
    EXPECT_EQ(program.find(wrong.id), std::string::npos) << wrong.id;
    EXPECT_EQ(program.find(wrong.what), std::string::npos) << wrong.id;
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
