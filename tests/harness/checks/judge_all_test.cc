#include <gmock/gmock.h>

#include "tests/harness/checks/run_builder.h"

namespace understudy::harness {
namespace {

using reports::Outcome;
using ::testing::HasSubstr;

// A check that does what it is told.
class Told final : public Check {
 public:
  Told(std::string name, Outcome outcome, bool throws = false, bool applies = true)
      : name_(std::move(name)), outcome_(outcome), throws_(throws), applies_(applies) {}
  std::string_view id() const override { return name_; }
  std::optional<std::string> DoesNotApply(const Evidence&) const override {
    return applies_ ? std::nullopt : std::optional<std::string>("no reason to");
  }
  reports::Verdict Judge(const Evidence&) const override {
    if (throws_) throw Error(ErrorKind::kInternal, "oops");
    return {name_, outcome_, "told so", {}, Json::array(), {}};
  }

 private:
  std::string name_;
  Outcome outcome_;
  bool throws_, applies_;
};

using Table = std::vector<CheckPtr>;
template <typename... Checks>
Table Of(Checks... checks) {
  Table table;
  (table.push_back(std::make_unique<Told>(std::move(checks))), ...);
  return table;
}

Judgement Judged(const Table& table, RunBuilder& run) { return JudgeAll(run.Read(), table); }
Judgement Judged(const Table& table) {
  RunBuilder run;
  run.End();
  return Judged(table, run);
}

TEST(JudgeAll, KnowsEveryStandardCheckOnce) {
  std::set<std::string> ids;
  for (const CheckPtr& check : StandardChecks()) ids.insert(std::string(check->id()));
  EXPECT_EQ(ids, (std::set<std::string>{"rows",
                                        "catalog",
                                        "sequences",
                                        "constraints",
                                        "indexes",
                                        "triggers",
                                        "orphans",
                                        "source-unchanged",
                                        "acknowledged-writes",
                                        "write-after",
                                        "moved",
                                        "rollback-restores",
                                        "leftovers",
                                        "stalls",
                                        "errors",
                                        "locks",
                                        "duration",
                                        "idempotent",
                                        "up-down-up",
                                        "steps"}));
  EXPECT_EQ(ids.size(), StandardChecks().size());
}

TEST(JudgeAll, TakesTheWorst) {
  EXPECT_EQ(Judged(Of(Told("a", Outcome::kPass))).observed, Outcome::kPass);
  EXPECT_EQ(Judged(Of(Told("a", Outcome::kPass), Told("b", Outcome::kUnknown))).observed,
            Outcome::kUnknown);
  EXPECT_EQ(Judged(Of(Told("a", Outcome::kUnknown), Told("b", Outcome::kFail))).observed,
            Outcome::kFail);
  EXPECT_EQ(Judged(Table()).observed, Outcome::kUnknown) << "nothing checked is never green";
}

// hard-case 113
TEST(JudgeAll, ACheckThatThrowsIsUnknownAndOneThatDoesNotApplyIsListed) {
  const auto judgement =
      Judged(Of(Told("a", Outcome::kPass, true), Told("b", Outcome::kPass, false, false)));
  ASSERT_EQ(judgement.verdicts.size(), 1U);
  EXPECT_EQ(judgement.verdicts[0].outcome, Outcome::kUnknown);
  EXPECT_THAT(judgement.verdicts[0].summary, HasSubstr("oops"));
  EXPECT_EQ(judgement.not_checked, (Json::array({{{"what", "check:b"}, {"why", "no reason to"}}})));
}

TEST(JudgeAll, AWaivedCheckIsListedAndNotCounted) {
  RunBuilder run(Json::object({{"checks", {{"a", {{"off", "too slow here"}}}}}}));
  run.End();
  const auto judgement = Judged(Of(Told("a", Outcome::kFail), Told("b", Outcome::kPass)), run);
  EXPECT_EQ(judgement.observed, Outcome::kPass);
  EXPECT_EQ(judgement.verdicts[0].waived, "too slow here");
  EXPECT_EQ(judgement.verdicts[0].outcome, Outcome::kUnknown);
  EXPECT_EQ(Judged(Of(Told("a", Outcome::kPass)), run).observed, Outcome::kUnknown)
      << "all of them switched off: nothing was checked";
}

TEST(JudgeAll, WhatTheRunnerCouldNotTryIsListed) {
  RunBuilder run;
  run.Event(1, "not_checked", {{"what", "check:a"}, {"why", "external"}}).End();
  EXPECT_TRUE(Judged(Of(Told("a", Outcome::kFail)), run).verdicts.empty());
}

// hard-case 114
TEST(JudgeAll, AFaultThatNeverStruckMakesTheScenarioUnknown) {
  RunBuilder run;
  run.scenario()["faults"] = {{{"kind", "kill-engine"}, {"at", "cutover.locked"}}};
  run.End();
  const auto judgement = Judged(Of(Told("a", Outcome::kPass)), run);
  EXPECT_EQ(judgement.observed, Outcome::kUnknown);
  EXPECT_THAT(ToLine(judgement.not_checked), HasSubstr("kill-engine at cutover.locked"));
  run.Event(5, "fault",
            {{"index", 0}, {"kind", "kill-engine"}, {"struck", true}, {"status", "struck"}});
  EXPECT_EQ(Judged(Of(Told("a", Outcome::kPass)), run).observed, Outcome::kPass);
}

TEST(JudgeAll, ARunThatDidNotEndIsUnknown) {
  RunBuilder none;
  auto judgement = Judged(Of(Told("a", Outcome::kFail)), none);
  EXPECT_TRUE(judgement.interrupted);
  EXPECT_EQ(judgement.observed, Outcome::kUnknown);
  EXPECT_EQ(Expect({{"verdict", "unknown"}}, judgement).verdict, Outcome::kUnknown);
  EXPECT_THAT(Expect(nullptr, judgement).summary, HasSubstr("interrupted"));
  RunBuilder failed;
  failed.End("failed", "no container engine");
  judgement = Judged(Of(Told("a", Outcome::kPass)), failed);
  EXPECT_EQ(judgement.observed, Outcome::kUnknown);
  EXPECT_THAT(Expect(nullptr, judgement).summary, HasSubstr("no container engine"));
  EXPECT_EQ(Judged(Of(Told("a", Outcome::kFail)), failed).observed, Outcome::kFail);
}

TEST(Expect, IsMetByTheVerdictAndTheChecksNamed) {
  const auto judgement =
      Judged(Of(Told("a", Outcome::kFail), Told("b", Outcome::kFail), Told("c", Outcome::kPass)));
  const auto verdict = [&](const Json& expect) { return Expect(expect, judgement).verdict; };
  EXPECT_EQ(verdict(nullptr), Outcome::kFail);
  EXPECT_EQ(verdict({{"verdict", "fail"}, {"checks", {"a"}}}), Outcome::kPass);
  EXPECT_EQ(verdict({{"verdict", "fail"}, {"checks", {"c"}}}), Outcome::kFail);
  EXPECT_EQ(verdict({{"verdict", "fail"}, {"checks", {"nowhere"}}}), Outcome::kFail);
  EXPECT_EQ(verdict({{"verdict", "fail"}, {"checks", {"a"}}, {"only", true}}), Outcome::kFail);
  EXPECT_EQ(verdict({{"verdict", "fail"}, {"checks", {"a", "b"}}, {"only", true}}), Outcome::kPass);
  EXPECT_EQ(verdict({{"verdict", "pass"}, {"checks", Json::array()}}), Outcome::kFail);
  const auto unknown = Judged(Of(Told("a", Outcome::kUnknown)));
  EXPECT_EQ(Expect({{"verdict", "fail"}, {"checks", Json::array()}}, unknown).verdict,
            Outcome::kUnknown);
}

}  // namespace
}  // namespace understudy::harness
