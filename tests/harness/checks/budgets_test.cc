#include <gmock/gmock.h>

#include "harness/checks/client_times.h"
#include "harness/checks/measure.h"
#include "tests/harness/checks/run_builder.h"

namespace understudy::harness {
namespace {

using reports::Outcome;
using ::testing::HasSubstr;

RunBuilder& Blocked(RunBuilder& run) {
  return run.Event(500, "locks",
                   {{"database", "main"},
                    {"seen", "sample"},
                    {"blocking",
                     {{{"who", "clients"},
                       {"blocker", "engine"},
                       {"blocker_statement", "ALTER TABLE orders"},
                       {"waited_ms", 400}},
                      {{"who", "engine"},
                       {"statement", "ALTER TABLE orders"},
                       {"blocker", "other"},
                       {"blocker_statement", "SELECT 1 FROM orders"},
                       {"waited_ms", 450}}}}});
}

// hard-case 118
TEST(Stalls, FailOverTheBudgetAndAreBlamedOnTheStatement) {
  RunBuilder run(WithWriters({{"stalls", {{"max_ms", 200}}}}));
  run.Phase("cutover", 50, 600).Operation(100, 450).Operation(10, 1);
  const auto verdict = Blocked(run).Judge("stalls");
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_THAT(verdict.summary, HasSubstr("450 ms"));
  EXPECT_THAT(verdict.summary, HasSubstr("in cutover"));
  EXPECT_THAT(verdict.summary,
              HasSubstr("ALTER TABLE orders (itself waiting for: SELECT 1 FROM orders)"));
  const Json measured = Measure(run.Read());
  EXPECT_EQ(measured["longest_stall_ms"], 450);
  EXPECT_EQ(measured["stalls"][0]["phase"], "cutover");
}

// hard-case 117: taken and given back between two samples, no lock is seen; its victim tells.
TEST(Stalls, TellOfALockThatNoSampleSaw) {
  RunBuilder run(WithWriters({{"stalls", {{"max_ms", 200}}}}));
  const Json statement = {
      {"migration", "m"},     {"phase", "cutover"}, {"file", "up.sql"},      {"line", 1},
      {"sql", "LOCK orders"}, {"ms", 300},          {"locks", Json::array()}};
  run.Phase("cutover", 50, 600).Event(400, "statement", statement);
  for (const double t_ms : {0.0, 500.0, 1000.0}) {
    run.Event(t_ms, "locks", {{"database", "main"}, {"seen", "sample"}, {"rows", Json::array()}});
  }
  run.Event(1000, "observer",
            {{"database", "main"}, {"period_ms", 500}, {"samples", 3}, {"errors", 0}});
  run.Operation(10, 1).Operation(110, 290);
  EXPECT_EQ(run.Judge("locks").outcome, Outcome::kPass);  // it saw none
  const auto verdict = run.Judge("stalls");
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_THAT(verdict.summary, HasSubstr("290 ms"));
  const Json measured = Measure(run.Read());
  EXPECT_EQ(measured["sample_period_ms"], 500);  // the report says how blind it was
  EXPECT_EQ(measured["locks"], Json::array());
  EXPECT_EQ(measured["stalls"][0]["phase"], "cutover");
}

TEST(Stalls, WithinTheBudgetPass) {
  RunBuilder run(WithWriters());
  EXPECT_EQ(run.Operation(0, 999).Judge("stalls").outcome, Outcome::kPass);
  EXPECT_EQ(run.Operation(0, 1001).Judge("stalls").outcome, Outcome::kFail);
}

TEST(Stalls, CountAnOperationThatNeverEnded) {
  RunBuilder run(WithWriters());
  run.Operation(0, 1).Write({.state = "pending", .at_ms = 100}).End();
  const auto verdict = run.Judge("stalls");
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_THAT(verdict.summary, HasSubstr("never ended, after 9900 ms"));
}

TEST(Stalls, WithoutAnOperationAreUnknownAndWithoutClientsDoNotApply) {
  EXPECT_EQ(RunBuilder(WithWriters()).Judge("stalls").outcome, Outcome::kUnknown);
  EXPECT_EQ(RunBuilder().DoesNotApply("stalls"), "no clients");
}

RunBuilder& Held(RunBuilder& run, const char* object, const char* mode, double ms) {
  return run.Event(ms, "held",
                   {{"object", object}, {"mode", mode}, {"ms", ms}, {"statement", "ALTER"}});
}

TEST(Locks, ThatKeepWritersOutTooLongFail) {
  const auto judged = [](const char* mode, double ms) {
    RunBuilder run;
    return Held(run, "public.orders", mode, ms).Judge("locks").outcome;
  };
  EXPECT_EQ(judged("AccessExclusiveLock", 1001), Outcome::kFail);
  EXPECT_EQ(judged("ShareLock", 1001), Outcome::kFail);
  EXPECT_EQ(judged("AccessExclusiveLock", 999), Outcome::kPass);
  EXPECT_EQ(judged("ShareUpdateExclusiveLock", 9000), Outcome::kPass);
}

TEST(Locks, ThatAreForbiddenFailHoweverShort) {
  RunBuilder run(
      Json{{"checks",
            {{"locks", {{"forbid", {{{"mode", "AccessExclusiveLock"}, {"table", "public.*"}}}}}}}},
           {"tags", Json::array()}});
  Held(run, "other.orders", "AccessExclusiveLock", 1);
  EXPECT_EQ(run.Judge("locks").outcome, Outcome::kPass);
  Held(run, "public.orders", "AccessExclusiveLock", 1);
  EXPECT_EQ(run.Judge("locks").outcome, Outcome::kFail);
}

TEST(Locks, AreFollowedThroughSamples) {
  RunBuilder run;
  const Json row = {{"pid", 1},
                    {"who", "engine"},
                    {"object", "public.orders"},
                    {"mode", "ExclusiveLock"},
                    {"granted", true},
                    {"statement", "LOCK"}};
  run.Event(100, "locks", {{"database", "main"}, {"seen", "sample"}, {"rows", {row}}});
  run.Event(2000, "locks", {{"database", "main"}, {"seen", "sample"}, {"rows", Json::array()}});
  run.Event(2100, "observer",
            {{"database", "main"}, {"period_ms", 50}, {"samples", 3}, {"errors", 0}});
  const auto verdict = run.Judge("locks");
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_THAT(verdict.summary, HasSubstr("held 1850 ms"));
  EXPECT_EQ(Measure(run.Read())["locks"][0]["seen"], "sample");
}

// Waiting behind a long reader is not holding: the transaction only knows when it asked.
TEST(Locks, AreNotHeldWhileTheyAreWaitedFor) {
  const auto judged = [](double granted_from) {
    RunBuilder run;
    Json row = {{"pid", 1},
                {"who", "engine"},
                {"object", "public.orders"},
                {"mode", "AccessExclusiveLock"},
                {"granted", false},
                {"waited_ms", 1},
                {"statement", "ALTER"}};
    const auto picture = [&](double t_ms, const Json& rows) {
      run.Event(t_ms, "locks", {{"database", "main"}, {"seen", "sample"}, {"rows", rows}});
    };
    picture(100, Json::array({row}));
    row["granted"] = true;
    picture(granted_from, Json::array({row}));
    picture(2600, Json::array());
    run.Event(2600, "held",
              {{"object", "public.orders"},
               {"mode", "AccessExclusiveLock"},
               {"ms", 2500},
               {"seen_ms", 10},
               {"statement", "ALTER"}});
    run.Event(3000, "observer",
              {{"database", "main"}, {"period_ms", 20}, {"samples", 9}, {"errors", 0}});
    return run.Judge("locks").outcome;
  };
  EXPECT_EQ(judged(2500), Outcome::kPass);
  EXPECT_EQ(judged(1000), Outcome::kFail);
}

// An observer that saw nothing must not make a lock look short.
TEST(Locks, AreHeldAsLongAsTheTransactionSaysWhereAnObserverWasBlind) {
  RunBuilder run;
  const auto observer = [&](const char* database, int samples) {
    run.Event(3000, "observer",
              {{"database", database}, {"period_ms", 20}, {"samples", samples}, {"errors", 0}});
  };
  run.Event(2600, "held",
            {{"object", "public.orders"},
             {"mode", "AccessExclusiveLock"},
             {"ms", 2500},
             {"seen_ms", 10},
             {"statement", "ALTER"}});
  observer("main", 0);
  observer("other", 9);
  EXPECT_EQ(run.Judge("locks").outcome, Outcome::kFail);
}

TEST(Locks, OnATableThatTheMigrationMadeHurtNobody) {
  RunBuilder run;
  run.TakeSnapshot("before", {Object("table:public.orders")});
  Held(run, "public.brand_new", "AccessExclusiveLock", 5000);
  EXPECT_EQ(run.Judge("locks").outcome, Outcome::kPass);
  Held(run, "public.orders", "AccessExclusiveLock", 5000);
  EXPECT_EQ(run.Judge("locks").outcome, Outcome::kFail);
}

// hard-case 106
TEST(Locks, NoneOnTheUsersTablesIsAnAnswerOnlyOfATransactionThatWasAsked) {
  const auto outcome = [](const Json& statement) {
    RunBuilder run;
    run.Event(100, "statement", statement);
    return run.Judge("locks").outcome;
  };
  const Json none = Json::array();
  EXPECT_EQ(outcome({{"sql", "CREATE TABLE a()"}, {"transaction", "file"}, {"locks", none}}),
            Outcome::kPass);
  EXPECT_EQ(outcome({{"sql", "VACUUM"}, {"transaction", "own"}, {"locks", none}}),
            Outcome::kUnknown);
  EXPECT_EQ(outcome({{"sql", "ALTER TABLE x"},
                     {"transaction", "file"},
                     {"locks", none},
                     {"error", "no such table"}}),
            Outcome::kUnknown);
}

// hard-case 106
TEST(Locks, NoneSeenIsUnknownAndSqliteDoesNotApply) {
  EXPECT_EQ(RunBuilder().Judge("locks").outcome, Outcome::kUnknown);
  RunBuilder sqlite;
  sqlite.scenario()["databases"] = {{"main", {{"engine", "sqlite"}}}};
  EXPECT_TRUE(sqlite.DoesNotApply("locks").has_value());
}

TEST(Duration, IsJudgedAgainstItsBudgets) {
  const auto judged = [](const char* key, int ms) {
    RunBuilder run;
    run.scenario()["checks"]["duration"][key] = ms;
    run.Phase("prepare", 0, 100).Phase("cutover", 100, 300).Phase("cleanup", 400, 900);
    return run.Judge("duration").outcome;
  };
  EXPECT_EQ(judged("cutover_max_ms", 199), Outcome::kFail);
  EXPECT_EQ(judged("cutover_max_ms", 200), Outcome::kPass);
  EXPECT_EQ(judged("max_ms", 299), Outcome::kFail);
  EXPECT_EQ(judged("max_ms", 300), Outcome::kPass);
  EXPECT_EQ(RunBuilder().DoesNotApply("duration"), "no budget");
  RunBuilder none;
  none.scenario()["checks"]["duration"]["max_ms"] = 1;
  EXPECT_EQ(none.Judge("duration").outcome, Outcome::kUnknown);
}

TEST(Errors, AreRefusedOperationsThatNothingExplains) {
  const auto judged = [](Json options, bool expected = false) {
    RunBuilder run(WithWriters({{"errors", options}}));
    run.Operation(0, 1).Operation(5, 1, "refused", "23505", expected);
    return run.Judge("errors");
  };
  const auto verdict = judged(Json::object());
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_THAT(ToLine(Json(verdict.details)), HasSubstr("23505"));
  EXPECT_EQ(judged(Json::object(), true).outcome, Outcome::kPass);
  EXPECT_EQ(judged({{"max", 1}}).outcome, Outcome::kPass);
  EXPECT_EQ(judged({{"allow", {"23505"}}}).outcome, Outcome::kPass);
  EXPECT_EQ(RunBuilder(WithWriters()).Judge("errors").outcome, Outcome::kUnknown);
  EXPECT_EQ(RunBuilder().DoesNotApply("errors"), "no clients");
}

// hard-case 114
TEST(Errors, ThatAFaultExplainsAreNoFinding) {
  const auto judged = [](const char* kind, const char* sqlstate, double at_ms) {
    RunBuilder run(WithWriters());
    run.scenario()["faults"] = {{{"kind", kind}, {"at_ms", 100}}};
    run.Event(100, "fault", {{"index", 0}, {"kind", kind}, {"struck", true}, {"status", "struck"}});
    run.Event(500, "fault", {{"index", 0}, {"kind", kind}, {"status", "ended"}});
    run.Operation(at_ms, 10, "refused", sqlstate);
    return run.Judge("errors").outcome;
  };
  EXPECT_EQ(judged("hold-transaction", "55P03", 200), Outcome::kPass);
  EXPECT_EQ(judged("hold-transaction", "55P03", 9000), Outcome::kFail) << "long after it";
  EXPECT_EQ(judged("hold-transaction", "55P03", 10), Outcome::kFail) << "before it";
  EXPECT_EQ(judged("hold-transaction", "23505", 200), Outcome::kFail);
  EXPECT_EQ(judged("restart", "57P01", 200), Outcome::kPass);
}

// hard-case 119
TEST(Errors, OfAWorkloadThatDiedAreUnknown) {
  RunBuilder run(WithWriters());
  run.Operation(0, 1).Event(
      5, "workload", {{"index", 0}, {"kind", "writers"}, {"status", "died"}, {"error", "gone"}});
  EXPECT_EQ(run.Judge("errors").outcome, Outcome::kUnknown);
}

TEST(Steps, GoAsTheScenarioSays) {
  const auto judged = [](Json end) {
    RunBuilder run;
    run.Step("migrate", 1, 2, std::move(end)).End();
    return run.Judge("steps").outcome;
  };
  EXPECT_EQ(judged(Json::object()), Outcome::kPass);
  EXPECT_EQ(judged({{"outcome", "failed"}}), Outcome::kFail);
  EXPECT_EQ(judged({{"outcome", "failed"}, {"expected", "failed"}}), Outcome::kPass);
  EXPECT_EQ(judged({{"failures", {"1 is not 2"}}}), Outcome::kFail);
  EXPECT_EQ(judged({{"outcome", "skipped"}}), Outcome::kUnknown);
  RunBuilder none;
  EXPECT_EQ(none.End().Judge("steps").outcome, Outcome::kUnknown);
  RunBuilder cut;
  EXPECT_EQ(cut.Step("migrate", 1, 2).Judge("steps").outcome, Outcome::kUnknown);
}

TEST(Latency, IsToldByPhase) {
  RunBuilder run(WithWriters());
  run.Phase("cutover", 1000, 2000);
  for (int i = 1; i <= 100; ++i) run.Operation(i, i);
  run.Operation(900, 1000);
  const auto latency = LatencyByPhase(run.Read());
  EXPECT_EQ(latency.at("idle").operations, 100);
  EXPECT_NEAR(latency.at("idle").p50_ms, 50, 1);
  EXPECT_NEAR(latency.at("idle").p99_ms, 99, 2);
  EXPECT_EQ(latency.at("idle").max_ms, 100);
  EXPECT_EQ(latency.at("cutover").max_ms, 1000);
}

TEST(Measurements, CountTheLedgersWrites) {
  RunBuilder run(WithWriters());
  for (const char* state :
       {"acknowledged", "acknowledged", "refused", "unknown", "pending", "rolled_back"}) {
    run.Write({.state = state});
  }
  EXPECT_EQ(Measure(run.Read())["writes"], (Json{{"attempted", 6},
                                                 {"acknowledged", 2},
                                                 {"refused", 1},
                                                 {"unknown", 2},
                                                 {"rolled_back", 1}}));
}

}  // namespace
}  // namespace understudy::harness
