#include "harness/checks/swaps.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/harness/checks/run_builder.h"

namespace understudy::harness {
namespace {

using reports::Outcome;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using Objects = std::vector<CatalogObject>;

const std::string kKey = R"({"id":"1"})";

// A swap of public.places (replaced) and public.orders (preserved): snapshot `before` at 1 ms,
// prepare from 10, locks at 100, in service at 110, snapshot `after` at 200.
class Swapped : public ::testing::Test {
 protected:
  Swapped()
      : run(Json::object(
            {{"databases",
              {{"main", {{"engine", "postgres"}}}, {"data", {{"engine", "postgres"}}}}},
             {"migration",
              {{"strategy", "table-swap"},
               {"id", "m"},
               {"source", "data"},
               {"target", "main"},
               {"schema", {{"from", "source"}}},
               {"preserved", {"orders"}}}},
             {"workload", {{{"kind", "writers"}, {"on", "main"}}}}})) {}

  void Serve() {
    run.Event(10, "phase", {{"migration", "m"}, {"phase", "prepare"}, {"status", "begin"}});
    Point("cutover.locked", 100);
    Point("cutover.after_commit", 110);
  }
  void GoBack() {
    run.Event(300, "phase", {{"migration", "m"}, {"phase", "rollback"}, {"status", "begin"}});
    Point("rollback.after_commit", 310);
  }
  void Point(const std::string& point, double t_ms) {
    run.Event(t_ms, "point", {{"migration", "m"}, {"phase", "x"}, {"point", point}});
  }
  static Objects Sorted(Objects objects) {
    std::ranges::sort(objects, {}, &CatalogObject::path);
    return objects;
  }
  void Snapshots(Objects production, Objects source, Objects after) {
    for (Objects* objects : {&production, &source, &after}) *objects = Sorted(*objects);
    run.TakeSnapshot("before", production, 1)
        .TakeSnapshot("before", source, 2, "data")
        .TakeSnapshot("after", after, 200)
        .TakeSnapshot("after", source, 201, "data");
  }
  void Plain() { Snapshots({kPlaces, kOrders}, {kPlaces, kOrders}, {kPlaces, kOrders}); }
  Outcome Judge(const std::string& id) { return run.Judge(id).outcome; }

  static CatalogObject Table(const std::string& name, const std::string& grants) {
    return Object("table:public." + name, {{"grants", grants}, {"owner", "o"}});
  }
  const CatalogObject kPlaces = Table("places", "app: select, update");
  const CatalogObject kOrders = Table("orders", "app: select, update");
  RunBuilder run;
};

TEST_F(Swapped, TablesThatAreNotPreservedTakeTheSourcesRowsAndShape) {
  const auto old_column = Object("column:public.places.gone", {{"type", "text"}});
  const auto new_column = Object("column:public.places.fresh", {{"type", "text"}});
  const auto check = Object("constraint:public.places.c", {{"definition", "CHECK (true)"}});
  Snapshots({kPlaces, kOrders, old_column},
            {Table("places", "app: select"), kOrders, new_column, check},
            {kPlaces, kOrders, new_column, check});
  Serve();
  EXPECT_EQ(Judge("catalog"), Outcome::kPass);  // grants are production's, columns the source's
  EXPECT_EQ(Judge("constraints"), Outcome::kPass);
  const Evidence evidence = run.Read();
  EXPECT_THAT(Swaps(evidence).Replaced("main", "before", "after"),
              ElementsAre(Key("public.places")));
}

TEST_F(Swapped, WhatTheNewSchemaHasAndTheSwapLostFails) {
  const auto index =
      Object("index:public.places_idx", {{"table", "public.places"}, {"valid", "yes"}});
  const auto column = Object("column:public.places.fresh", {{"type", "text"}});
  Snapshots({kPlaces, kOrders}, {kPlaces, kOrders, index, column}, {kPlaces, kOrders});
  Serve();
  EXPECT_EQ(Judge("catalog"), Outcome::kFail);
  EXPECT_EQ(Judge("indexes"), Outcome::kFail);
}

TEST_F(Swapped, GrantsPoliciesAndOutsideObjectsAreProductions) {  // hard-case 47, 48
  const auto policy = Object("policy:public.orders.p", {{"using", "true"}});
  const auto outside = Object("view:app.v", {{"definition", "SELECT 1"}});
  Snapshots({kPlaces, kOrders, policy, outside}, {kPlaces, kOrders}, {kPlaces, kOrders});
  Serve();
  const auto verdict = run.Judge("catalog");
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_THAT(verdict.summary, HasSubstr("1 more"));
}

TEST_F(Swapped, ALostGrantFails) {
  Snapshots({kPlaces, kOrders}, {kPlaces, kOrders}, {kPlaces, Table("orders", "app: select")});
  Serve();
  EXPECT_EQ(Judge("catalog"), Outcome::kFail);
}

TEST_F(Swapped, SequencesOfPreservedTablesMayNotFallBehindThoseOfReplacedOnesAreTheSources) {
  const auto sequence = [](const std::string& table, const std::string& value) {
    return Object("sequence:public." + table + "_seq", {{"owned_by", "public." + table + ".id"},
                                                        {"increment", "1"},
                                                        {"last_value", value},
                                                        {"is_called", "true"}});
  };
  const Objects production = {kPlaces, kOrders, sequence("places", "900"),
                              sequence("orders", "50")};
  const Objects source = {kPlaces, kOrders, sequence("places", "20"), sequence("orders", "3")};
  Snapshots(production, source,
            {kPlaces, kOrders, sequence("places", "20"), sequence("orders", "50")});
  Serve();
  EXPECT_EQ(Judge("sequences"), Outcome::kPass);
  run.TakeSnapshot(
      "after", Sorted({kPlaces, kOrders, sequence("places", "20"), sequence("orders", "3")}), 202);
  EXPECT_EQ(Judge("sequences"), Outcome::kFail);
}

TEST_F(Swapped, WithoutACutoverProductionsOwnSideIsExpected) {
  const auto column = Object("column:public.places.fresh", {{"type", "text"}});
  Snapshots({kPlaces, kOrders}, {kPlaces, kOrders, column}, {kPlaces, kOrders});
  EXPECT_EQ(Judge("catalog"), Outcome::kPass);
  EXPECT_EQ(run.DoesNotApply("moved"), "nothing was swapped");
}

TEST_F(Swapped, AcknowledgedWritesToPreservedTablesCountThroughTheSwap) {
  Plain();
  Serve();
  run.Write({.at_ms = 50}).Observed(kKey, "");
  EXPECT_EQ(Judge("acknowledged-writes"), Outcome::kFail);
}

TEST_F(Swapped, WritesToReplacedTablesCountFromTheCutoverOn) {
  run.scenario()["migration"]["preserved"] = Json::array();  // orders too
  Plain();
  Serve();
  run.Write({.at_ms = 50});
  run.Write({.key = R"({"id":"2"})", .row = R"({"id":"2"})", .at_ms = 150});
  run.Observed(kKey, "").Observed(R"({"id":"2"})", "");
  const auto verdict = run.Judge("acknowledged-writes");
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_THAT(verdict.summary, HasSubstr(R"({"id":"2"} lost)"));
}

TEST_F(Swapped, AWriteOnTheEdgeMayBeThereOrNot) {
  run.scenario()["migration"]["preserved"] = Json::array();
  Plain();
  Serve();
  run.Write({.at_ms = 105});
  run.Write({.key = R"({"id":"2"})", .row = R"({"id":"2"})", .at_ms = 150});
  run.Observed(kKey, "").Observed(R"({"id":"2"})", R"({"id":"2"})");
  EXPECT_EQ(Judge("acknowledged-writes"), Outcome::kPass);
}

TEST_F(Swapped, ARollbackLosesWritesSinceTheCutoverAndNoOthers) {  // hard-case 58
  Plain();
  Serve();
  GoBack();
  run.Write({.at_ms = 50});
  run.Write({.operation = "update", .row = R"({"id":"1","total":"6"})", .at_ms = 150});
  run.Observed(kKey, R"({"id":"1","total":"5"})");
  EXPECT_EQ(Judge("acknowledged-writes"), Outcome::kPass);
}

TEST_F(Swapped, ARollbackWithReverseCaptureLosesNone) {  // hard-case 58
  run.scenario()["migration"]["reverse"] = true;
  Plain();
  Serve();
  GoBack();
  run.Write({.at_ms = 50});
  run.Write({.operation = "update", .row = R"({"id":"1","total":"6"})", .at_ms = 150});
  run.Observed(kKey, R"({"id":"1","total":"5"})");
  EXPECT_EQ(Judge("acknowledged-writes"), Outcome::kFail);
}

TEST_F(Swapped, RenamedColumnsAreFollowedByTheDocumentsRules) {
  run.scenario()["migration"]["columns"] = {{"orders", {{"sum", {{"from", "total"}}}}}};
  Plain();
  Serve();
  run.Write({.at_ms = 50}).Observed(kKey, R"({"id":"1","sum":"6"})");
  EXPECT_EQ(Judge("acknowledged-writes"), Outcome::kFail);
}

TEST_F(Swapped, MovedAndTheSourceAreUnknownWhenNobodyLooked) {  // hard-case 106
  Plain();
  Serve();
  EXPECT_EQ(Judge("moved"), Outcome::kUnknown);
  EXPECT_EQ(Judge("source-unchanged"), Outcome::kUnknown);
  run.Probe("moved", "main to backup", "ok");
  EXPECT_EQ(Judge("moved"), Outcome::kPass);
  run.Probe("moved", "table public.places", "failed", "it is gone");
  EXPECT_EQ(Judge("moved"), Outcome::kFail);
}

TEST_F(Swapped, AChangedSourceFails) {
  Plain();
  Serve();
  TableComparison table;
  table.table = "public.places";
  table.result = CompareResult::kDifferent;
  table.left_rows = table.right_rows = 3;
  table.changed = 1;
  run.Compared("source-unchanged", {table});
  EXPECT_EQ(Judge("source-unchanged"), Outcome::kFail);
}

}  // namespace
}  // namespace understudy::harness
