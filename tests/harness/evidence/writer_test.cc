#include <gmock/gmock.h>

#include <fstream>
#include <thread>

#include "engine/base/file.h"
#include "harness/evidence/evidence.h"

namespace understudy::harness {
namespace {

std::vector<Json> Lines(const std::filesystem::path& folder) {
  std::vector<Json> lines;
  std::ifstream in(folder / "evidence.jsonl");
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}

TEST(EvidenceWriter, WritesTheFormatFirstThenEveryEventAsOneLine) {
  const TemporaryFolder folder;
  EvidenceWriter writer(folder.path() / "run", SteadyClock::now());
  writer.Add("log", {{"text", "two\nlines \xff"}});
  writer.AddAt(12.5, "workload", {{"kind", "writers"}, {"clients", 2}});
  writer.NotChecked("table public.a", "no key");
  writer.NotChecked("table public.a", "no key");
  const auto lines = Lines(folder.path() / "run");
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0]["format"], "understudy-evidence/1");
  EXPECT_EQ(lines[1]["kind"], "log");
  EXPECT_EQ(lines[2]["kind"], "workload") << "the event's own kind must not hide the line's";
  EXPECT_EQ(lines[2]["its_kind"], "writers");
  EXPECT_EQ(lines[2]["t_ms"], 12.5);
  EXPECT_EQ(lines[3]["what"], "table public.a");
}

TEST(EvidenceWriter, TellsPeopleTheSameInItsLogWithoutSamples) {
  const TemporaryFolder folder;
  {
    EvidenceWriter writer(folder.path(), SteadyClock::now());
    writer.Add("step", {{"name", "go"}, {"status", "end"}, {"detail", "two\nlines"}});
    writer.Add("locks", {{"seen", "sample"}, {"rows", Json::array()}});
    writer.Add("log", {{"level", "info"}, {"text", std::string(5000, 'x')}});
  }
  std::ifstream in(folder.path() / "log.txt");
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 2U) << "one line an event, samples left out";
  EXPECT_THAT(lines[0], ::testing::MatchesRegex(
                            "[0-9-]+T[0-9:.]+Z  step  name: go  status: end  detail: two lines"));
  EXPECT_LT(lines[1].size(), 600U);
}

TEST(EvidenceWriter, LinesOfManyThreadsStayWhole) {
  const TemporaryFolder folder;
  EvidenceWriter writer(folder.path(), SteadyClock::now());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) writer.Add("log", {{"text", std::string(500, 'x')}});
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(Lines(folder.path()).size(), 801U);
}

TEST(Stores, KeepTheLastSnapshotOfAName) {
  const TemporaryFolder folder;
  StoreSnapshot(folder.path(), "before", "main", {{"n", 1}});
  StoreSnapshot(folder.path(), "before", "main", {{"n", 2}});
  auto session = db::Connect(db::Endpoint::Sqlite(folder.path() / "snapshots.sqlite"));
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM snapshots").AsInteger(), 1);
  EXPECT_EQ(session->Scalar("SELECT content FROM snapshots").text, "{\"n\":2}");
}

}  // namespace
}  // namespace understudy::harness
