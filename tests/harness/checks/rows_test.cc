#include <gmock/gmock.h>

#include "tests/harness/checks/run_builder.h"

namespace understudy::harness {
namespace {

using reports::Outcome;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TableComparison Table(CompareResult result, std::int64_t rows = 10) {
  TableComparison table;
  table.table = "public.orders";
  table.result = result;
  table.left_rows = table.right_rows = rows;
  return table;
}

TableComparison Changed() {
  TableComparison table = Table(CompareResult::kDifferent);
  table.changed = 2;
  table.columns = {{"total", 2}};
  table.differences.push_back({"changed",
                               {{"id", "17"}},
                               {{"total", {{"type", "int4"}, {"text", "1"}}}},
                               {{"total", {{"type", "int4"}, {"text", "2"}}}}});
  return table;
}

Json Rows(Json options) { return {{"checks", {{"rows", std::move(options)}}}}; }

TEST(Rows, EqualOnesPass) {
  EXPECT_EQ(RunBuilder().Compared("rows", {Table(CompareResult::kEqual)}).Judge("rows").outcome,
            Outcome::kPass);
}

TEST(Rows, LostOrChangedOnesFailWithAnExample) {
  TableComparison lost = Table(CompareResult::kDifferent);
  lost.missing = 3;
  auto verdict = RunBuilder().Compared("rows", {lost}, CompareResult::kDifferent).Judge("rows");
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_EQ(verdict.summary, "public.orders: 3 rows lost");

  verdict = RunBuilder().Compared("rows", {Changed()}, CompareResult::kDifferent).Judge("rows");
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_THAT(verdict.summary, HasSubstr("total (2 rows)"));
  ASSERT_THAT(verdict.examples, SizeIs(1));
  EXPECT_EQ(verdict.examples[0]["key"]["id"], "17");
  EXPECT_EQ(verdict.examples[0]["right"]["total"]["text"], "2");
}

TEST(Rows, ChangesInAllowedColumnsAndTablesPass) {
  for (const char* allowed : {"public.orders.total", "orders.total", "public.orders", "public.*"}) {
    RunBuilder run(Rows({{"allow", {allowed}}}));
    run.Compared("rows", {Changed(), [] {
                            auto other = Table(CompareResult::kEqual);
                            other.table = "other.t";
                            return other;
                          }()});
    EXPECT_EQ(run.Judge("rows").outcome, Outcome::kPass) << allowed;
  }
  RunBuilder other(Rows({{"allow", {"public.orders.note"}}}));
  EXPECT_EQ(other.Compared("rows", {Changed()}).Judge("rows").outcome, Outcome::kFail);
}

TEST(Rows, NewRowsPassOnlyWhereTheyAreAllowed) {
  TableComparison more = Table(CompareResult::kDifferent);
  more.extra = 1;
  EXPECT_EQ(RunBuilder().Compared("rows", {more}).Judge("rows").outcome, Outcome::kFail);
  RunBuilder allowed(Rows({{"new_rows", {"public.orders"}}}));
  EXPECT_EQ(allowed.Compared("rows", {more}).Judge("rows").outcome, Outcome::kPass);
  more.missing = 1;  // allowing new ones allows no loss
  RunBuilder both(Rows({{"new_rows", {"public.orders"}}}));
  EXPECT_EQ(both.Compared("rows", {more}).Judge("rows").outcome, Outcome::kFail);
}

TEST(Rows, ATableThatIsGoneFailsUnlessItWasEmpty) {
  EXPECT_EQ(RunBuilder().Compared("rows", {Table(CompareResult::kOnlyLeft)}).Judge("rows").outcome,
            Outcome::kFail);
  EXPECT_EQ(
      RunBuilder()
          .Compared("rows", {Table(CompareResult::kEqual), Table(CompareResult::kOnlyLeft, 0)})
          .Judge("rows")
          .outcome,
      Outcome::kPass);
}

// hard-case 106
TEST(Rows, NothingComparedIsNeverGreen) {
  EXPECT_EQ(RunBuilder().Judge("rows").outcome, Outcome::kUnknown);
  EXPECT_EQ(RunBuilder().Compared("rows", {}).Judge("rows").outcome, Outcome::kUnknown);
  EXPECT_EQ(RunBuilder().Compared("rows", {Table(CompareResult::kEqual, 0)}).Judge("rows").outcome,
            Outcome::kUnknown);
  TableComparison blind = Table(CompareResult::kUnknown);
  blind.why = "no equality for json";
  const auto verdict =
      RunBuilder().Compared("rows", {Table(CompareResult::kEqual), blind}).Judge("rows");
  EXPECT_EQ(verdict.outcome, Outcome::kUnknown);
  EXPECT_THAT(verdict.summary, HasSubstr("no equality for json"));
}

TEST(Rows, OfADatabaseThatWasNotComparedAreUnknown) {
  RunBuilder run(Json::object(
      {{"databases", {{"main", {{"engine", "postgres"}}}, {"b", {{"engine", "sqlite"}}}}}}));
  const auto verdict = run.Compared("rows", {Table(CompareResult::kEqual)}).Judge("rows");
  EXPECT_EQ(verdict.outcome, Outcome::kUnknown);
  EXPECT_THAT(verdict.summary, HasSubstr("database b"));
}

TEST(Rows, OfATableThatPgbenchWritesAreNotChecked) {
  RunBuilder run(
      Json::object({{"workload", {{{"kind", "pgbench"}, {"writes", {"public.orders"}}}}}}));
  TableComparison fine = Table(CompareResult::kEqual);
  fine.table = "public.customers";
  run.Compared("rows", {Changed(), fine}).End();
  EXPECT_EQ(run.Judge("rows").outcome, Outcome::kPass);
  EXPECT_THAT(ToLine(JudgeAll(run.Read()).not_checked), HasSubstr("rows of public.orders"));
}

TEST(RoundTrips, ReportWhatTheTripLost) {
  const auto trip = [](const char* id) {
    RunBuilder run;
    run.scenario()["migration"]["down"] = "down.sql";
    const Outcome nothing = run.Judge(id).outcome;
    EXPECT_EQ(run.DoesNotApply(id), std::nullopt);
    EXPECT_EQ(nothing, Outcome::kUnknown) << id;
    run.Probe(id, "m", "ok").Compared(id, {Table(CompareResult::kEqual)});
    EXPECT_EQ(run.Judge(id).outcome, Outcome::kPass) << id;
    run.Event(70, "catalog-diff",
              {{"use", id},
               {"left", "before:main"},
               {"right", "down:main"},
               {"changes",
                {{{"path", "sequence:public.s#last_value"},
                  {"change", "changed"},
                  {"property", "last_value"},
                  {"left", "1"},
                  {"right", "2"},
                  {"severity", "info"}}}}});
    EXPECT_EQ(run.Judge(id).outcome, Outcome::kPass) << "a sequence moved on";
    run.Compared(id, {Changed()}, CompareResult::kDifferent);
    EXPECT_EQ(run.Judge(id).outcome, Outcome::kFail) << id;
    RunBuilder catalog;
    catalog.Event(70, "catalog-diff",
                  {{"use", id},
                   {"left", "a"},
                   {"right", "b"},
                   {"changes",
                    {{{"path", "index:public.i"}, {"change", "removed"}, {"severity", "worse"}}}}});
    EXPECT_EQ(catalog.Judge(id).outcome, Outcome::kFail) << id;
    RunBuilder probe;
    EXPECT_EQ(probe.Probe(id, "m", "failed", "relation exists").Judge(id).outcome, Outcome::kFail);
  };
  trip("idempotent");
  trip("up-down-up");
}

TEST(RoundTrips, ApplyOnlyWhereThereIsAWayBack) {
  EXPECT_EQ(RunBuilder().DoesNotApply("up-down-up"), "no down migration");
  EXPECT_EQ(RunBuilder().DoesNotApply("rollback-restores"), "no step rolls back");
  RunBuilder none;
  none.scenario()["migration"] = nullptr;
  EXPECT_EQ(none.DoesNotApply("idempotent"), "no migration");
  EXPECT_TRUE(RunBuilder().DoesNotApply("moved").has_value());
  EXPECT_TRUE(RunBuilder().DoesNotApply("source-unchanged").has_value());
}

TEST(RollbackRestores, ComparesTheSnapshotsAroundIt) {
  const auto run = [](const std::vector<CatalogObject>& after) {
    RunBuilder built;
    built.scenario()["steps"] = {{{"migrate", Json::object()}}, {{"rollback", Json::object()}}};
    built.TakeSnapshot("before", {Object("table:public.a")}, 1)
        .Step("migrate", 2, 3)
        .Step("rollback", 4, 5)
        .TakeSnapshot("after", after, 6)
        .Compared("rollback", {Table(CompareResult::kEqual)});
    return built.Judge("rollback-restores").outcome;
  };
  EXPECT_EQ(run({Object("table:public.a")}), Outcome::kPass);
  EXPECT_EQ(run({}), Outcome::kFail);
  RunBuilder none;
  none.scenario()["steps"] = {{{"rollback", Json::object()}}};
  EXPECT_EQ(none.Judge("rollback-restores").outcome, Outcome::kUnknown);
}

}  // namespace
}  // namespace understudy::harness
