// The names that other programs rely on: what a run's folder holds, and the keys of its report.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/process.h"

namespace understudy {
namespace {

using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

std::set<std::string> KeysOf(const Json& object) {
  std::set<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.insert(key);
  return keys;
}

TEST(Format, OfARunsFolderAndReport) {
  const TemporaryFolder folder;
  WriteFileWhole(folder.path() / "schema.sql",
                 "CREATE TABLE t (id integer PRIMARY KEY, v text);\nINSERT INTO t VALUES (1, 'a'), "
                 "(2, 'b'), (3, 'c');\n");
  WriteFileWhole(folder.path() / "up.sql", "ALTER TABLE t ADD COLUMN w text;\n");
  WriteFileWhole(folder.path() / "one.json", R"({"name": "one", "lead_s": 0.1, "tail_s": 0.1,
    "databases": {"main": {"engine": "sqlite", "fixture": ["schema.sql"]}},
    "workload": [{"kind": "writers", "on": "main", "rate_per_s": 50}],
    "migration": {"strategy": "sql", "on": "main", "up": "up.sql"}})");
  const auto out = folder.path() / "out";
  const Outcome done = RunCommand(
      {.argv = {UNDERSTUDY_PROGRAM, "run", (folder.path() / "one.json").string(), "--out",
                out.string(), "--set", R"(checks.stalls={"off": "it's slow"})", "--json"},
       .deadline = std::chrono::seconds(120)});
  ASSERT_EQ(done.exit_status, 0) << done.err;

  for (const char* file :
       {"report.json", "report.md", "junit.xml", "one/evidence.jsonl", "one/ledger.sqlite",
        "one/snapshots.sqlite", "one/log.txt", "one/scenario.json"}) {
    EXPECT_TRUE(std::filesystem::is_regular_file(out / file)) << file;
  }
  const Json report = ParseJson(done.out, "report");
  EXPECT_EQ(KeysOf(report),
            (std::set<std::string>{"format", "tool", "started_at", "duration_ms", "host", "verdict",
                                   "counts", "selftest", "scenarios"}));
  const Json& one = report["scenarios"][0];
  EXPECT_THAT(
      KeysOf(one),
      IsSupersetOf({"name",        "file",     "file_sha256", "seed",      "tags",
                    "verdict",     "observed", "expected",    "summary",   "repetitions",
                    "duration_ms", "command",  "databases",   "steps",     "phases",
                    "checks",      "faults",   "not_checked", "artifacts", "measurements"}));
  EXPECT_EQ(
      KeysOf(one["measurements"]),
      (std::set<std::string>{"longest_stall_ms", "stalls", "latency", "locks", "sample_period_ms",
                             "writes", "rows_compared", "bytes_compared", "wal_bytes"}));
  const Json& writes = one["measurements"]["writes"];
  std::int64_t sum = 0;
  for (const char* state : {"acknowledged", "refused", "unknown", "rolled_back"}) {
    sum += writes.at(state).get<std::int64_t>();
  }
  EXPECT_EQ(writes.at("attempted"), sum);
  for (const auto& [name, file] : one["artifacts"].items()) {
    EXPECT_TRUE(std::filesystem::exists(out / file.get<std::string>())) << name;
  }
  EXPECT_THAT(one["command"].get<std::string>(),
              HasSubstr(R"(--set 'checks.stalls={"off": "it'\''s slow"}')"))
      << "the command is there to be pasted into a shell";
}

}  // namespace
}  // namespace understudy
