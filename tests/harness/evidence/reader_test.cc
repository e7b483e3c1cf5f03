#include <gmock/gmock.h>

#include <fstream>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/evidence/evidence.h"

namespace understudy::harness {
namespace {

class Reading : public ::testing::Test {
 protected:
  void Append(std::string_view text) {
    std::ofstream(folder.path() / "evidence.jsonl", std::ios::app) << text;
  }
  TemporaryFolder folder;
};

TEST_F(Reading, GivesBackWhatWasWritten) {
  EvidenceWriter writer(folder.path(), SteadyClock::now());
  writer.AddAt(12.5, "workload", {{"kind", "writers"}, {"clients", 2}});
  writer.AddAt(13, "end", {{"status", "complete"}});
  CreateLedger(folder.path());
  StoreSnapshot(folder.path(), "before", "main", {{"engine", "sqlite"}});
  WriteFileWhole(folder.path() / "scenario.json", R"({"name": "x"})");

  const Evidence evidence = Evidence::Read(folder.path());
  ASSERT_EQ(evidence.events().size(), 2U);
  EXPECT_EQ(evidence.events()[0].t_ms, 12.5);
  EXPECT_EQ(evidence.events()[0].kind, "workload");
  EXPECT_EQ(evidence.events()[0].data, (Json{{"kind", "writers"}, {"clients", 2}}));
  EXPECT_TRUE(evidence.complete());
  EXPECT_EQ(evidence.scenario()["name"], "x");
  EXPECT_EQ(evidence.OpenLedger()->Scalar("SELECT count(*) FROM writes").AsInteger(), 0);
  EXPECT_THROW(evidence.OpenLedger()->Execute("DELETE FROM writes"), Error);
  EXPECT_EQ((*evidence.Snapshot("before", "main"))["engine"], "sqlite");
  EXPECT_EQ(evidence.Snapshot("after", "main"), std::nullopt);
}

TEST_F(Reading, LeavesOutALastLineThatWasCutOff) {  // hard-case 121
  Append("{\"format\":\"understudy-evidence/1\"}\n{\"t_ms\":1,\"kind\":\"log\"}\n{\"t_ms\":2,\"ki");
  const Evidence evidence = Evidence::Read(folder.path());
  EXPECT_EQ(evidence.events().size(), 1U);
  EXPECT_FALSE(evidence.complete());
  EXPECT_EQ(evidence.OpenLedger(), nullptr);
}

TEST_F(Reading, RefusesWhatIsNoEvidence) {
  EXPECT_THROW(Evidence::Read(folder.path()), Error);
  Append("{\"format\":\"understudy-evidence/9\"}\n");
  EXPECT_THROW(Evidence::Read(folder.path()), Error);
}

TEST_F(Reading, RefusesABrokenLineInTheMiddle) {
  Append(
      "{\"format\":\"understudy-evidence/1\"}\n{\"t_ms\":1,\"ki\n{\"t_ms\":2,\"kind\":\"log\"}\n");
  try {
    Evidence::Read(folder.path());
    FAIL() << "a broken line was taken";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("evidence.jsonl:2"));
  }
}

}  // namespace
}  // namespace understudy::harness
