#include <gmock/gmock.h>

#include "tests/harness/checks/run_builder.h"

namespace understudy::harness {
namespace {

using reports::Outcome;
using ::testing::HasSubstr;

using Objects = std::vector<CatalogObject>;

reports::Verdict Judged(const std::string& id, const Objects& before, const Objects& after,
                        const Json& options = Json::object()) {
  RunBuilder run(Json::object({{"checks", {{id, options}}}}));
  run.TakeSnapshot("before", before).TakeSnapshot("after", after);
  return run.Judge(id);
}

const CatalogObject kTable = Object("table:public.orders");

TEST(Catalog, WhatIsRemovedFailsAndWhatIsAddedIsListed) {
  const auto column = Object("column:public.orders.total", {{"type", "integer"}});
  EXPECT_EQ(Judged("catalog", {kTable}, {kTable}).outcome, Outcome::kPass);
  EXPECT_EQ(Judged("catalog", {column, kTable}, {kTable}).outcome, Outcome::kFail);
  const auto added = Judged("catalog", {kTable}, {column, kTable});
  EXPECT_EQ(added.outcome, Outcome::kPass);
  ASSERT_EQ(added.details.size(), 1U);
  EXPECT_THAT(added.details[0], HasSubstr("column:public.orders.total was added"));
  EXPECT_EQ(Judged("catalog", {column, kTable}, {kTable}, {{"allow", {"column:public.orders.*"}}})
                .outcome,
            Outcome::kPass);
}

TEST(Catalog, WithExpectWhatIsInNeitherListFailsAndWhatIsInItMustCome) {
  const auto column = Object("column:public.orders.total", {{"type", "integer"}});
  const Json expect = {{"expect", {"column:public.orders.total"}}};
  EXPECT_EQ(Judged("catalog", {kTable}, {column, kTable}, expect).outcome, Outcome::kPass);
  EXPECT_EQ(Judged("catalog", {kTable}, {kTable}, expect).outcome, Outcome::kFail);
  const auto more = Judged("catalog", {kTable}, {column, kTable, Object("view:public.v")}, expect);
  EXPECT_EQ(more.outcome, Outcome::kFail);
  EXPECT_THAT(more.summary, HasSubstr("neither allowed nor expected"));
}

TEST(Catalog, LeavesTheOtherKindsToTheirChecks) {
  const auto index = Object("index:public.i", {{"valid", "yes"}});
  EXPECT_EQ(Judged("catalog", {index, kTable}, {kTable}).outcome, Outcome::kPass);
  EXPECT_EQ(Judged("indexes", {index, kTable}, {kTable}).outcome, Outcome::kFail);
}

// hard-case 109
TEST(Catalog, ExistsIsNotEnough) {
  const auto validated = [](const char* yes) {
    return Object("constraint:public.orders.c", {{"validated", yes}, {"definition", "CHECK (x)"}});
  };
  EXPECT_EQ(Judged("constraints", {validated("yes")}, {validated("no")}).outcome, Outcome::kFail);
  EXPECT_EQ(Judged("constraints", {validated("yes")}, {validated("yes")}).outcome, Outcome::kPass);
  EXPECT_EQ(Judged("constraints", {}, {validated("no")}).outcome, Outcome::kFail) << "a new one";
  const auto index = [](const char* valid) { return Object("index:public.i", {{"valid", valid}}); };
  EXPECT_EQ(Judged("indexes", {index("yes")}, {index("no")}).outcome, Outcome::kFail);
  EXPECT_EQ(Judged("indexes", {}, {index("no")}).outcome, Outcome::kFail);
  EXPECT_EQ(Judged("indexes", {}, {index("yes")}).outcome, Outcome::kPass);
  const auto trigger = [](const char* enabled) {
    return Object("trigger:public.orders.t", {{"enabled", enabled}});
  };
  EXPECT_EQ(Judged("triggers", {trigger("enabled")}, {trigger("disabled")}).outcome,
            Outcome::kFail);
  EXPECT_EQ(Judged("triggers", {trigger("enabled")}, {trigger("enabled")}).outcome, Outcome::kPass);
}

CatalogObject Sequence(const char* last) {
  return Object("sequence:public.s",
                {{"increment", "1"}, {"last_value", last}, {"is_called", "yes"}});
}

// hard-case 108
TEST(Sequences, MayMoveOnButNotBackAndNotLag) {
  EXPECT_EQ(Judged("sequences", {Sequence("5")}, {Sequence("9")}).outcome, Outcome::kPass);
  EXPECT_EQ(Judged("sequences", {Sequence("5")}, {Sequence("4")}).outcome, Outcome::kFail);
  EXPECT_EQ(Judged("sequences", {Sequence("5")}, {Sequence("4")},
                   {{"allow", {"sequence:public.s#last_value"}}})
                .outcome,
            Outcome::kPass);
  RunBuilder run;
  run.TakeSnapshot("before", {Sequence("5")}).TakeSnapshot("after", {Sequence("5")});
  run.Probe("sequences", "public.s", "failed", "gives 6 next, public.orders.id goes to 10");
  const auto verdict = run.Judge("sequences");
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_THAT(verdict.summary, HasSubstr("goes to 10"));
}

TEST(Catalog, PartsOfATableThatMayGoMayGoWithIt) {
  RunBuilder run(Json::object({{"checks", {{"catalog", {{"allow", {"table:public.orders"}}}}}}}));
  run.TakeSnapshot("before", {Object("constraint:public.orders.c", {{"validated", "yes"}}),
                              Object("index:public.i", {{"table", "public.orders"}}),
                              Object("index:public.j", {{"table", "public.other"}}), kTable});
  run.TakeSnapshot("after", {Object("index:public.j", {{"table", "public.other"}})});
  EXPECT_EQ(run.Judge("constraints").outcome, Outcome::kPass);
  EXPECT_EQ(run.Judge("indexes").outcome, Outcome::kPass);
  EXPECT_EQ(run.Judge("catalog").outcome, Outcome::kPass);
}

TEST(Catalog, WithoutTwoSnapshotsIsUnknown) {
  for (const char* id : {"catalog", "sequences", "constraints", "indexes", "triggers"}) {
    EXPECT_EQ(RunBuilder().Judge(id).outcome, Outcome::kUnknown) << id;
    EXPECT_EQ(RunBuilder().DoesNotApply(id), std::nullopt) << id;
    RunBuilder one;
    one.TakeSnapshot("before", {kTable}).TakeSnapshot("$end", {kTable});
    EXPECT_EQ(one.Judge(id).outcome, Outcome::kUnknown) << id << ": $end is the runner's own";
  }
}

TEST(Catalog, KindsThatAreNotThereDoNotApply) {
  RunBuilder run;
  run.TakeSnapshot("before", {kTable}).TakeSnapshot("after", {kTable});
  EXPECT_EQ(run.DoesNotApply("triggers"), "there are no triggers");
  EXPECT_EQ(run.DoesNotApply("catalog"), std::nullopt);
}

TEST(Catalog, ComparesTheFirstWithTheLastWhereNoneIsCalledSo) {
  RunBuilder run;
  run.TakeSnapshot("a", {kTable}, 1).TakeSnapshot("b", {kTable}, 2).TakeSnapshot("c", {}, 3);
  EXPECT_EQ(run.Judge("catalog").outcome, Outcome::kFail);
}

TEST(Probes, FailPassAndAreUnknown) {
  for (const char* id : {"orphans", "write-after", "constraints"}) {
    const auto judged = [&](const char* result) {
      RunBuilder run;
      const std::vector<CatalogObject> objects = {
          Object("constraint:public.orders.c", {{"type", "foreign key"}, {"validated", "yes"}})};
      run.TakeSnapshot("before", objects).TakeSnapshot("after", objects);
      if (result != nullptr)
        run.Probe(id, "public.orders", "ok").Probe(id, "public.x", result, "23503");
      return run.Judge(id).outcome;
    };
    EXPECT_EQ(judged("ok"), Outcome::kPass) << id;
    EXPECT_EQ(judged("failed"), Outcome::kFail) << id;
    EXPECT_EQ(judged("unknown"), Outcome::kUnknown) << id;
    if (std::string(id) != "constraints") {
      EXPECT_EQ(judged(nullptr), Outcome::kUnknown) << id << ": nobody looked";
    }
  }
}

TEST(Orphans, ApplyWhereAKeyIsDeclaredOrNamed) {
  RunBuilder run;
  run.TakeSnapshot("before", {kTable}).TakeSnapshot("after", {kTable});
  EXPECT_TRUE(run.DoesNotApply("orphans").has_value());
  run.scenario()["checks"]["orphans"]["references"] = {{{"from", "a.b"}, {"to", "c.d"}}};
  EXPECT_EQ(run.DoesNotApply("orphans"), std::nullopt);
}

TEST(Leftovers, AreLookedForAfterTheCleanup) {
  const auto run = [](const Objects& end, bool look = true) {
    RunBuilder built;
    built.scenario()["steps"] = {{{"cleanup", Json::object()}}};
    built.TakeSnapshot("after", {Object("schema:understudy"), kTable}, 1).Step("cleanup", 2, 3);
    if (look) built.TakeSnapshot("$end", end, 4);
    return built.Judge("leftovers").outcome;
  };
  EXPECT_EQ(run({kTable}), Outcome::kPass);
  EXPECT_EQ(run({Object("schema:understudy"), kTable}), Outcome::kFail);
  EXPECT_EQ(run({}, false), Outcome::kUnknown);
  EXPECT_EQ(RunBuilder().DoesNotApply("leftovers"), "no step cleans up or resets");
}

}  // namespace
}  // namespace understudy::harness
