#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/process.h"
#include "engine/base/random.h"
#include "engine/base/redact.h"

namespace understudy {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;

template <typename Work>
std::string MessageOf(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(ErrorTest, FramesStandOutermostFirst) {
  const std::string message = MessageOf([] {
    During("copy public.orders", [] {
      During("chunk 17", [] { throw Error(ErrorKind::kConflict, "deadlock", "40P01"); });
    });
  });
  EXPECT_EQ(message, "copy public.orders: chunk 17: deadlock");
}

TEST(ErrorTest, OnlyUnavailableAndConflictMayBeRetried) {
  EXPECT_TRUE(IsRetryable(ErrorKind::kUnavailable));
  EXPECT_TRUE(IsRetryable(ErrorKind::kConflict));
  for (const ErrorKind kind :
       {ErrorKind::kInvalidSpec, ErrorKind::kUnsupported, ErrorKind::kConstraint,
        ErrorKind::kMismatch, ErrorKind::kAmbiguous, ErrorKind::kCancelled, ErrorKind::kEnvironment,
        ErrorKind::kInternal}) {
    EXPECT_FALSE(IsRetryable(kind)) << ErrorKindName(kind);
    EXPECT_EQ(ErrorKindFromName(ErrorKindName(kind)), kind);
  }
}

TEST(JsonTest, CommentsAreTakenTrailingCommasAndDuplicatesAreNot) {
  EXPECT_EQ(ParseJson("// one\n{\"a\": 1 /* two */}", "f")["a"], 1);
  EXPECT_THAT(MessageOf([] { ParseJson("{\"a\": 1,}", "f.json"); }),
              testing::AllOf(HasSubstr("f.json"), HasSubstr("line 1")));
  EXPECT_THAT(MessageOf([] { ParseJson(R"({"a": {"b": 1, "b": 2}})", "f.json"); }),
              HasSubstr("\"b\" stands twice"));
  EXPECT_EQ(ParseJson(R"({"a": {"b": 1}, "c": {"b": 2}})", "f")["c"]["b"], 2);
}

TEST(DigestTest, Sha256AndHex) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(FromHex(ToHex(std::string("\x00\xff\x10", 3))), std::string("\x00\xff\x10", 3));
  EXPECT_THROW(FromHex("0"), Error);
  EXPECT_THROW(FromHex("zz"), Error);
}

TEST(RedactTest, TakesOutPasswordsWhereverTheyStand) {
  EXPECT_EQ(Redact("postgres://bob:s3cr@t@db/x"), "postgres://bob:***@db/x");
  EXPECT_EQ(Redact("host=a password='it\\'s me' user=b"), "host=a password=*** user=b");
  EXPECT_EQ(Redact("postgresql://h/db?password=abc&x=1"), "postgresql://h/db?password=***&x=1");
  RememberSecret("hunter2-long");
  EXPECT_THAT(Redact("the server said hunter2-long is wrong"), Not(HasSubstr("hunter2")));
}

TEST(ClockTest, WritesUtc) {
  const auto when = std::chrono::system_clock::from_time_t(0) + std::chrono::milliseconds(7);
  EXPECT_EQ(FormatUtc(when), "1970-01-01T00:00:00.007Z");
  EXPECT_EQ(UtcFolderName(when), "1970-01-01T00-00-00Z");
}

TEST(RandomTest, IsDeterministicAndStaysInRange) {
  Random a(7);
  Random b(7);
  for (int i = 0; i < 1000; ++i) {
    const auto x = a.Uniform(-3, 3);
    EXPECT_EQ(x, b.Uniform(-3, 3));
    EXPECT_GE(x, -3);
    EXPECT_LE(x, 3);
    const auto z = a.Zipf(10);
    b.Zipf(10);
    EXPECT_GE(z, 0);
    EXPECT_LT(z, 10);
  }
  EXPECT_NE(Random(7).Fork("x").Next(), Random(7).Fork("y").Next());
  EXPECT_EQ(Random(7).Fork("x").Next(), Random(7).Fork("x").Next());
}

TEST(ProcessTest, GivesOutputStatusAndInput) {
  Command command;
  command.argv = {"sh", "-c", "cat; echo err >&2; exit 3"};
  command.input = "hello\n";
  const Outcome outcome = RunCommand(command);
  EXPECT_EQ(outcome.exit_status, 3);
  EXPECT_EQ(outcome.out, "hello\n");
  EXPECT_EQ(outcome.err, "err\n");
}

TEST(ProcessTest, ADeadlineEndsTheWholeGroup) {
  Command command;
  command.argv = {"sh", "-c", "sleep 300 & echo $!; wait"};
  command.deadline = std::chrono::milliseconds(300);
  const Outcome outcome = RunCommand(command);
  EXPECT_TRUE(outcome.deadline_passed);
  const pid_t grandchild = std::atoi(outcome.out.c_str());
  ASSERT_GT(grandchild, 1);
  for (int i = 0; i < 500 && ::kill(grandchild, 0) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::ifstream stat("/proc/" + std::to_string(grandchild) + "/stat");
    std::string text;
    std::getline(stat, text);
    if (text.find(") Z ") != std::string::npos) return;  // dead, not yet reaped by init
  }
  EXPECT_NE(::kill(grandchild, 0), 0);
}

TEST(ProcessTest, SaysWhichProgramIsMissing) {
  EXPECT_THAT(MessageOf([] { RunCommand({.argv = {"no-such-program-here"}}); }),
              HasSubstr("no-such-program-here"));
}

TEST(ProcessTest, AChildCanBeKilledAndGivesItsStatus) {
  Child child = Child::Start({.argv = {"sleep", "300"}});
  EXPECT_TRUE(child.Running());
  child.Signal(SIGKILL);
  EXPECT_EQ(child.Wait(std::chrono::seconds(30)), 128 + SIGKILL);
  EXPECT_FALSE(child.Running());
}

TEST(FileTest, WritesWholeOrNotAtAll) {
  const TemporaryFolder folder;
  WriteFileWhole(folder.path() / "a", "one");
  WriteFileWhole(folder.path() / "a", "two");
  EXPECT_EQ(ReadFile(folder.path() / "a"), "two");
  EXPECT_THAT(MessageOf([&] { WriteFileWhole(folder.path() / "no" / "a", "x"); }),
              HasSubstr("cannot create"));
  EXPECT_THAT(MessageOf([&] { ReadFile(folder.path() / "absent"); }), HasSubstr("no such file"));
}

}  // namespace
}  // namespace understudy
