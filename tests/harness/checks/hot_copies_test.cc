#include "harness/checks/hot_copies.h"

#include <gmock/gmock.h>

#include "tests/harness/checks/run_builder.h"

namespace understudy::harness {
namespace {

using reports::Outcome;
using ::testing::HasSubstr;
using Objects = std::vector<CatalogObject>;

// A hot copy from `main` to `fresh`: snapshot `before` at 1 ms, drain from 100, ready at 120,
// snapshot `after` at 200.
class HotCopied : public ::testing::Test {
 protected:
  HotCopied()
      : run(Json::object(
            {{"databases", {{"main", {{"engine", "sqlite"}}}, {"fresh", {{"engine", "sqlite"}}}}},
             {"migration",
              {{"strategy", "hot-copy"},
               {"id", "m"},
               {"source", "main"},
               {"target", "fresh"},
               {"schema", "schema.sql"}}},
             {"workload", {{{"kind", "writers"}, {"on", "main"}}}}})) {}

  void Point(const std::string& point, double t_ms) {
    run.Event(t_ms, "point", {{"migration", "m"}, {"phase", "x"}, {"point", point}});
  }
  void Drain() { run.Phase("drain", 100, 110); }
  void Serve() {
    Drain();
    Point("cutover.after_commit", 120);
  }
  void Snapshots(const Objects& old, const Objects& expected, const Objects& made) {
    run.TakeSnapshot("before", old, 1)
        .TakeSnapshot("before", {}, 2, "fresh")
        .TakeSnapshot("after", old, 200)
        .TakeSnapshot("after", made, 201, "fresh");
    StoreSnapshot(run.folder(), HotCopies::kExpected, "fresh", Of(expected).ToJson());
    run.Event(300, "hot-copy",
              {{"database", "fresh"}, {"tables", {{"main.people", "main.persons"}}}});
  }
  static Snapshot Of(const Objects& objects) {
    Snapshot snapshot;
    snapshot.engine = "sqlite";
    snapshot.objects = objects;
    return snapshot;
  }
  static CatalogObject Mark(const std::string& table, const std::string& last) {
    return Object("sequence:main." + table,
                  {{"increment", "1"}, {"is_called", "yes"}, {"last_value", last}});
  }
  Outcome Judge(const std::string& id) { return run.Judge(id).outcome; }

  const CatalogObject kIndex = Object("index:main.people_idx", {{"table", "main.people"}});
  RunBuilder run;
};

TEST_F(HotCopied, TheNewSchemaIsTheWholeTruthOfTheNewFile) {
  Serve();
  Snapshots({}, {kIndex}, {kIndex});
  EXPECT_EQ(Judge("indexes"), Outcome::kPass);
}

TEST_F(HotCopied, WhatTheNewFileLacksFails) {
  Serve();
  Snapshots({}, {kIndex}, {});
  EXPECT_EQ(Judge("indexes"), Outcome::kFail);
}

TEST_F(HotCopied, WhatTheNewFileHasMoreFails) {
  Serve();
  Snapshots({}, {}, {kIndex});
  EXPECT_EQ(Judge("indexes"), Outcome::kFail);
}

TEST_F(HotCopied, HighWaterMarksFollowThroughARename) {  // hard-case 87
  Serve();
  Snapshots({Mark("persons", "940")}, {Mark("people", "0")}, {Mark("people", "940")});
  EXPECT_EQ(Judge("sequences"), Outcome::kPass);
}

TEST_F(HotCopied, AHighWaterMarkThatFallsBehindFails) {  // hard-case 87
  Serve();
  Snapshots({Mark("persons", "940")}, {Mark("people", "0")}, {Mark("people", "903")});
  EXPECT_EQ(Judge("sequences"), Outcome::kFail);
}

TEST_F(HotCopied, NothingIsPromisedOfAFileThatNeverServed) {
  run.Phase("prepare", 10, 20).Phase("reset", 30, 40);
  Snapshots({kIndex}, {}, {});
  EXPECT_EQ(Judge("indexes"), Outcome::kPass);  // of the old file alone
  EXPECT_TRUE(HotCopies(run.Read()).IsUnfinished("fresh"));
}

TEST_F(HotCopied, ADrainExplainsRefusalsThatSayRetry) {  // hard-case 143
  Serve();
  run.Operation(50, 1).Operation(130, 1, "refused", "1811", false, "understudy: draining, retry");
  const auto verdict = run.Judge("errors");
  EXPECT_EQ(verdict.outcome, Outcome::kPass);
  ASSERT_EQ(verdict.details.size(), 1U);
  EXPECT_THAT(verdict.details[0], HasSubstr("1 refused while the hot copy"));
}

TEST_F(HotCopied, ADrainExplainsNoOtherRefusal) {
  Serve();
  run.Operation(130, 1, "refused", "5", false, "database is locked");
  EXPECT_EQ(Judge("errors"), Outcome::kFail);
}

TEST_F(HotCopied, RefusalsBeforeTheDrainOrAfterAResetAreFindings) {  // hard-case 91
  Drain();
  run.Phase("reset", 150, 160)
      .Operation(140, 1, "refused", "1811", false, "understudy: draining, retry");
  EXPECT_EQ(Judge("errors"), Outcome::kPass);
  run.Operation(170, 1, "refused", "1811", false, "understudy: draining, retry");
  EXPECT_EQ(Judge("errors"), Outcome::kFail);
}

TEST_F(HotCopied, RefusalsMayStayInTheSourceOfAServedCopyAlone) {  // hard-case 143
  const auto refusal = Object("trigger:main.persons._understudy_refuse_insert_persons");
  Serve();
  run.Step("cleanup", 210, 220).TakeSnapshot("$end", {refusal}, 230);
  EXPECT_EQ(Judge("leftovers"), Outcome::kPass);
}

TEST_F(HotCopied, ARefusalThatOutlivesAResetIsLeftOver) {
  const auto refusal = Object("trigger:main.persons._understudy_refuse_insert_persons");
  Drain();
  run.Phase("reset", 150, 160).Step("reset", 150, 160).TakeSnapshot("$end", {refusal}, 230);
  EXPECT_EQ(Judge("leftovers"), Outcome::kFail);
}

TEST_F(HotCopied, AnEngineThatDiedBehindTheCommitHasServed) {
  run.Phase("verify", 300, 310);
  EXPECT_TRUE(HotCopies(run.Read()).all()[0].in_service());
}

}  // namespace
}  // namespace understudy::harness
