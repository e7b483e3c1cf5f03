#include "engine/core/lifecycle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include <map>

#include "engine/base/error.h"
#include "tests/support/server.h"

namespace understudy::core {
namespace {
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// What the strategy under the lifecycle does next, and what it was asked.
struct Script {
  std::vector<std::string> calls;
  std::map<std::string, std::vector<ErrorKind>> failures;  // by call, first one first
  std::map<std::string, std::function<void()>> during;     // a call
  Owner owner = Owner::kOld;
  bool retries_cutover = true;
  bool captures = false;
  bool drains = false;
  std::vector<std::int64_t> epochs;  // as each call saw it
  int sync_steps = 3;
  std::vector<PlanRefusal> refused;
};

class ScriptedMigration : public Migration {
 public:
  ScriptedMigration(Context& context, Script& script) : context_(context), script_(script) {}
  core::Capabilities Capabilities() const override {
    return {.retries_cutover = script_.retries_cutover,
            .captures = script_.captures,
            .drains = script_.drains};
  }
  Plan MakePlan() override {
    Plan plan;
    plan.refused = script_.refused;
    return plan;
  }
  void Prepare() override { Call("prepare"); }
  SyncProgress SyncStep(const Budget&) override {
    Call("sync");
    return {.caught_up = --left_ <= 0};
  }
  void Cutover(const CutoverOptions&) override {
    context_.At("cutover.locked");
    Call("cutover");
  }
  void Drain(const CutoverOptions&) override { Call("drain"); }
  void Finish() override { Call("finish"); }
  VerifyResult Verify() override {
    Call("verify");
    return {};
  }
  void Rollback(const RollbackOptions&) override { Call("rollback"); }
  std::vector<std::string> Cleanup(bool dry_run) override {
    Call(dry_run ? "cleanup dry run" : "cleanup");
    return {"the backup"};
  }
  std::vector<std::string> Reset(bool) override {
    Call("reset");
    return {};
  }
  Owner WhoOwns() override {
    Call("who-owns");
    return script_.owner;
  }
  StrategyStatus Status() override { return {}; }

 private:
  void Call(const std::string& name) {
    script_.calls.push_back(name);
    script_.epochs.push_back(context_.epoch());
    auto& failures = script_.failures[name];
    if (script_.during.contains(name)) script_.during[name]();
    if (failures.empty()) return;
    const ErrorKind kind = failures.front();
    failures.erase(failures.begin());
    throw Error(kind, "scripted");
  }
  Context& context_;
  Script& script_;
  int left_ = script_.sync_steps;
};

class PointProbe : public Probe {
 public:
  void OnEvent(const Event& event) override {
    if (event.kind != "point") return;
    points.push_back(event.data["point"]);
    if (points.back() == fail_at) throw Error(ErrorKind::kCancelled, "injected", "injected");
  }
  std::vector<std::string> points;
  std::string fail_at;
};

class LifecycleTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "postgres") {
      NEED_POSTGRES();
      database_ = std::make_unique<understudy::testing::Database>();
    } else {
      file_.Connect();
    }
    registry_.Add({.name = "scripted",
                   .endpoint_keys = {"on"},
                   .required = {"on"},
                   .optional = {"note"},
                   .make = [this](Context& context) {
                     return std::make_unique<ScriptedMigration>(context, script_);
                   }});
    spec_ = Parse({{"strategy", "scripted"}, {"on", "main"}});
  }
  db::Endpoint endpoint() const { return database_ ? database_->endpoint() : file_.endpoint(); }
  Spec Parse(const Json& document) {
    return Spec::Parse(document, "m", ".", "test", registry_, {{"main", endpoint()}});
  }
  std::unique_ptr<Lifecycle> Make() {
    return std::make_unique<Lifecycle>(spec_, registry_, Lifecycle::Options{.probe = &probe_});
  }
  State Stored() {
    const auto session = db::Connect(endpoint());
    const auto record = Journal(*session, "m").Load();
    return record ? record->state : State::kNone;
  }

  Script script_;
  Registry registry_;
  Spec spec_;
  PointProbe probe_;
  std::unique_ptr<understudy::testing::Database> database_;
  understudy::testing::SqliteFile file_;
};

TEST_P(LifecycleTest, GoesThroughThePhasesInOrderAndCleanupLeavesNothing) {
  EXPECT_TRUE(Make()->RunThrough(Phase::kVerify).ok());
  EXPECT_EQ(Stored(), State::kVerified);
  EXPECT_THAT(script_.calls, ElementsAre("prepare", "sync", "sync", "sync", "cutover", "finish",
                                         "finish", "verify"));
  EXPECT_THAT(probe_.points, ElementsAre("prepare.begin", "prepare.end", "cutover.begin",
                                         "cutover.locked", "verify.end"));
  EXPECT_TRUE(Make()->Cleanup().ok());
  const auto session = db::Connect(endpoint());
  EXPECT_FALSE(Journal(*session, "m").Exists());
}

TEST_P(LifecycleTest, SendsACleanupThatIsTooEarlyOnNotBack) {
  EXPECT_TRUE(Make()->RunThrough(Phase::kSync).ok());
  const PhaseOutcome outcome = Make()->Cleanup();
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kRefused);
  EXPECT_EQ(outcome.next, "migrate cutover");
  EXPECT_EQ(Stored(), State::kReady);
}

TEST_P(LifecycleTest, WaitsForAWriterWhereItKeepsItsStateInTheSameFile) {
  if (database_) GTEST_SKIP() << "servers queue";
  const auto writer = db::Connect(endpoint());
  std::thread later;
  script_.during["cutover"] = [&] {
    writer->Begin(db::Isolation::kDefault, false, /*immediate=*/true);
    later = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      writer->Rollback();
    });
  };
  const PhaseOutcome outcome = Make()->RunThrough(Phase::kCutover);
  later.join();
  EXPECT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_EQ(Stored(), State::kCutOver);
}

TEST_P(LifecycleTest, DoesNotDoADonePhaseAgain) {
  Make()->RunThrough(Phase::kPrepare);
  script_.calls.clear();
  EXPECT_TRUE(Make()->RunThrough(Phase::kCutover).ok());
  EXPECT_THAT(script_.calls, Not(Contains("prepare")));
  script_.calls.clear();
  EXPECT_EQ(Make()->RunThrough(Phase::kCutover).kind, PhaseOutcome::Kind::kNothing);
  EXPECT_THAT(script_.calls, ElementsAre());
}

TEST_P(LifecycleTest, RetriesWhatIsRetryableAndNothingElse) {
  script_.failures["prepare"] = {ErrorKind::kConflict, ErrorKind::kUnavailable};
  EXPECT_TRUE(Make()->RunThrough(Phase::kPrepare).ok());
  EXPECT_EQ(std::ranges::count(script_.calls, "prepare"), 3);
  script_.calls.clear();
  script_.failures["sync"] = {ErrorKind::kConstraint};
  EXPECT_EQ(Make()->RunThrough(Phase::kSync).kind, PhaseOutcome::Kind::kFailed);
  EXPECT_EQ(std::ranges::count(script_.calls, "sync"), 1);
  EXPECT_EQ(Stored(), State::kFailed);
}

TEST_P(LifecycleTest, AFailedPhaseGoesOnWhereItWas) {
  script_.failures["verify"] = {ErrorKind::kMismatch};
  EXPECT_EQ(Make()->RunThrough(Phase::kVerify).kind, PhaseOutcome::Kind::kFailed);
  script_.calls.clear();
  EXPECT_TRUE(Make()->RunThrough(Phase::kVerify).ok());
  EXPECT_THAT(script_.calls, ElementsAre("finish", "verify"));
}

TEST_P(LifecycleTest, RetriesACutoverOnlyWhereTheStrategyAllowsIt) {
  script_.failures["cutover"] = {ErrorKind::kConflict};
  EXPECT_TRUE(Make()->RunThrough(Phase::kCutover).ok());
  EXPECT_EQ(std::ranges::count(script_.calls, "cutover"), 2);
}

TEST_P(LifecycleTest, DoesNotRetryACutoverWhereTheStrategyForbidsIt) {
  script_.retries_cutover = false;
  script_.failures["cutover"] = {ErrorKind::kConflict};
  EXPECT_EQ(Make()->RunThrough(Phase::kCutover).kind, PhaseOutcome::Kind::kFailed);
  EXPECT_EQ(std::ranges::count(script_.calls, "cutover"), 1);
}

// hard-case 26
TEST_P(LifecycleTest, AfterAnAmbiguousCommitItAsksWhoOwnsAndNeverRetries) {
  script_.failures["cutover"] = {ErrorKind::kAmbiguous};
  script_.owner = Owner::kNew;
  EXPECT_TRUE(Make()->RunThrough(Phase::kCutover).ok());
  EXPECT_THAT(script_.calls,
              ElementsAre("prepare", "sync", "sync", "sync", "cutover", "who-owns", "finish"));
  EXPECT_EQ(Stored(), State::kCutOver);
}

TEST_P(LifecycleTest, AnUnknownOwnerStaysAmbiguousUntilItIsKnown) {
  script_.failures["cutover"] = {ErrorKind::kAmbiguous};
  script_.owner = Owner::kUnknown;
  EXPECT_EQ(Make()->RunThrough(Phase::kCutover).kind, PhaseOutcome::Kind::kAmbiguous);
  EXPECT_EQ(Stored(), State::kAmbiguous);
  script_.calls.clear();
  EXPECT_EQ(Make()->RunThrough(Phase::kCutover).kind, PhaseOutcome::Kind::kAmbiguous);
  EXPECT_THAT(script_.calls, ElementsAre("who-owns"));
  script_.owner = Owner::kOld;
  EXPECT_TRUE(Make()->RunThrough(Phase::kCutover).ok());
  EXPECT_EQ(Stored(), State::kCutOver);
}

TEST_P(LifecycleTest, RefusesAChangedFileBetweenPhases) {
  Make()->RunThrough(Phase::kPrepare);
  spec_ = Parse({{"strategy", "scripted"}, {"on", "main"}, {"note", "changed"}});
  script_.calls.clear();
  const PhaseOutcome outcome = Make()->RunThrough(Phase::kVerify);
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("has changed"));
  EXPECT_THAT(script_.calls, ElementsAre());
}

TEST_P(LifecycleTest, RefusesWhatThePlanRefuses) {
  script_.refused = {{"public.orders", "has no key"}};
  const PhaseOutcome outcome = Make()->RunThrough(Phase::kVerify);
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("public.orders"));
  EXPECT_EQ(Stored(), State::kNone);
}

// hard-case 22
TEST_P(LifecycleTest, KeepsASecondProcessOut) {
  const MigrationLock other(endpoint(), "m");
  const PhaseOutcome outcome = Make()->RunThrough(Phase::kVerify);
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kRefused);
  EXPECT_THAT(outcome.message, HasSubstr("another process"));
}

TEST_P(LifecycleTest, AnInjectedFailureAtAPointIsAFailureThere) {
  probe_.fail_at = "cutover.locked";
  EXPECT_EQ(Make()->RunThrough(Phase::kVerify).kind, PhaseOutcome::Kind::kFailed);
  EXPECT_THAT(script_.calls, Not(Contains("cutover")));
  EXPECT_EQ(Stored(), State::kFailed);
}

TEST_P(LifecycleTest, ARolledBackMigrationStartsOver) {
  Make()->RunThrough(Phase::kVerify);
  EXPECT_TRUE(Make()->Rollback({}).ok());
  EXPECT_EQ(Stored(), State::kRolledBack);
  EXPECT_THAT(Make()->Rollback({}).message, HasSubstr("rolled back already"));
  script_.calls.clear();
  EXPECT_TRUE(Make()->RunThrough(Phase::kPrepare).ok());
  EXPECT_THAT(script_.calls, ElementsAre("prepare"));
}

TEST_P(LifecycleTest, ACapturingMigrationIsReadyAfterPrepareAndSyncsBeforeEveryAttempt) {
  script_.captures = true;
  script_.failures["cutover"] = {ErrorKind::kConflict};
  EXPECT_TRUE(Make()->RunThrough(Phase::kPrepare).ok());
  EXPECT_EQ(Stored(), State::kReady);
  EXPECT_THAT(script_.calls, ElementsAre("prepare", "sync", "sync", "sync"));
  EXPECT_EQ(Make()->GetStatus().next, "migrate cutover");
  script_.calls.clear();
  EXPECT_TRUE(Make()->RunThrough(Phase::kSync).ok());
  EXPECT_THAT(script_.calls, ElementsAre("sync", "sync", "sync"));
  script_.calls.clear();
  script_.sync_steps = 1;
  EXPECT_TRUE(Make()->RunThrough(Phase::kCutover).ok());
  EXPECT_THAT(script_.calls, ElementsAre("sync", "cutover", "sync", "cutover", "finish"));
}

TEST_P(LifecycleTest, ADrainingMigrationIsReadyAfterDrain) {
  script_.captures = true;
  script_.drains = true;
  script_.sync_steps = 1;
  EXPECT_TRUE(Make()->RunThrough(Phase::kPrepare).ok());
  EXPECT_EQ(Stored(), State::kSyncing);
  EXPECT_EQ(Make()->GetStatus().next, "migrate drain");
  EXPECT_TRUE(Make()->RunThrough(Phase::kDrain).ok());
  EXPECT_EQ(Stored(), State::kReady);
  EXPECT_TRUE(Make()->RunThrough(Phase::kCutover).ok());
  EXPECT_THAT(script_.calls, ElementsAre("prepare", "sync", "sync", "drain", "cutover", "finish"));
}

// hard-case 137
TEST_P(LifecycleTest, EveryRunRaisesTheEpochSoThatALateWorkerIsRefused) {
  script_.captures = true;
  script_.sync_steps = 1;
  Make()->RunThrough(Phase::kPrepare);
  Make()->RunThrough(Phase::kSync);
  Make()->RunThrough(Phase::kCutover);
  ASSERT_THAT(script_.calls, ElementsAre("prepare", "sync", "sync", "sync", "cutover", "finish"));
  EXPECT_THAT(script_.epochs, ElementsAre(1, 1, 2, 3, 3, 3));
  const auto session = db::Connect(endpoint());
  const db::Transaction transaction(*session);
  EXPECT_THROW(Journal(*session, "m").CheckEpoch(2), Error);
}

// hard-case 36
TEST_P(LifecycleTest, AFailureAfterTheSwapLeavesTheNewSideInServiceAndVerifyFinishes) {
  script_.failures["finish"] = {ErrorKind::kConstraint};
  EXPECT_EQ(Make()->RunThrough(Phase::kCutover).kind, PhaseOutcome::Kind::kFailed);
  EXPECT_EQ(Make()->Reset(false).kind, PhaseOutcome::Kind::kRefused);
  script_.calls.clear();
  EXPECT_TRUE(Make()->Verify().ok());
  EXPECT_THAT(script_.calls, ElementsAre("finish", "verify"));
  EXPECT_EQ(Stored(), State::kVerified);
}

TEST_P(LifecycleTest, ARefusedVerifyNamesThePhaseThatFailed) {
  script_.captures = true;
  script_.failures["prepare"] = {ErrorKind::kConstraint};
  EXPECT_EQ(Make()->RunThrough(Phase::kPrepare).kind, PhaseOutcome::Kind::kFailed);
  const PhaseOutcome outcome = Make()->Verify();
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kRefused);
  EXPECT_EQ(outcome.next, Make()->GetStatus().next);
}

TEST_P(LifecycleTest, VerifyNeverCutsOverAndMayBeRepeated) {
  Make()->RunThrough(Phase::kSync);
  script_.calls.clear();
  EXPECT_EQ(Make()->Verify().kind, PhaseOutcome::Kind::kRefused);
  EXPECT_THAT(script_.calls, ElementsAre());
  Make()->RunThrough(Phase::kVerify);
  script_.calls.clear();
  EXPECT_TRUE(Make()->Verify().ok());
  EXPECT_THAT(script_.calls, ElementsAre("finish", "verify"));
}

TEST_P(LifecycleTest, ACutoverThatIsNotConfirmedIsRefusedAndStaysReady) {
  script_.captures = true;
  Make()->RunThrough(Phase::kPrepare);
  script_.calls.clear();
  const auto confirm = [&](const std::string& command) {
    return Lifecycle(spec_, registry_, {.probe = &probe_, .confirm_with = command})
        .RunThrough(Phase::kCutover);
  };
  EXPECT_EQ(confirm("exit 3").kind, PhaseOutcome::Kind::kRefused);
  EXPECT_THAT(script_.calls, Not(Contains("cutover")));
  EXPECT_EQ(Stored(), State::kReady);
  EXPECT_TRUE(confirm("true").ok());
}

TEST_P(LifecycleTest, ACutoverWaitsForTheMomentThatWasNamedAndKeepsInStepUntilThen) {
  script_.captures = true;
  Make()->RunThrough(Phase::kPrepare);
  script_.calls.clear();
  script_.sync_steps = 1;
  const auto moment = std::chrono::system_clock::now() + std::chrono::milliseconds(1300);
  bool in_time = false;
  script_.during["cutover"] = [&] { in_time = std::chrono::system_clock::now() >= moment; };
  const PhaseOutcome outcome =
      Lifecycle(spec_, registry_, {.probe = &probe_, .at = moment}).RunThrough(Phase::kCutover);
  EXPECT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_TRUE(in_time);
  const auto cutover = std::ranges::find(script_.calls, "cutover");
  EXPECT_GE(std::count(script_.calls.begin(), cutover, "sync"), 3);
}

TEST_P(LifecycleTest, AFollowingSyncGoesOnWhereNothingIsLeftUntilItIsStopped) {
  script_.captures = true;
  script_.sync_steps = 1;
  Make()->RunThrough(Phase::kPrepare);
  script_.calls.clear();
  const auto enough = [&] { return std::ranges::count(script_.calls, "sync") >= 4; };
  const PhaseOutcome outcome =
      Lifecycle(spec_, registry_, {.probe = &probe_, .stop = enough, .follow = true})
          .RunThrough(Phase::kSync);
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kInterrupted);
  EXPECT_TRUE(enough());
  EXPECT_EQ(Stored(), State::kReady);
  EXPECT_EQ(outcome.next, "migrate cutover");
  EXPECT_TRUE(Make()->RunThrough(Phase::kCutover).ok());
}

TEST_P(LifecycleTest, NothingIsBroughtOverOrCutOverWhileTheOperatorsFileIsThere) {
  script_.captures = true;
  Make()->RunThrough(Phase::kPrepare);
  script_.calls.clear();
  const TemporaryFolder folder("us-pause");
  const auto file = folder.path() / "pause";
  for (const Phase phase : {Phase::kSync, Phase::kCutover}) {
    WriteFileWhole(file, "");
    std::atomic<bool> removed = false;
    bool too_early = false;
    for (const std::string call : {"sync", "cutover"}) {
      script_.during[call] = [&] { too_early = too_early || !removed; };
    }
    std::thread operator_later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(400));
      removed = true;
      std::filesystem::remove(file);
    });
    const PhaseOutcome outcome =
        Lifecycle(spec_, registry_, {.probe = &probe_, .pause_file = file}).RunThrough(phase);
    operator_later.join();
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    EXPECT_FALSE(too_early);
  }
  EXPECT_THAT(script_.calls, Contains("cutover"));
}

TEST_P(LifecycleTest, ADryRunOfCleanupTellsAndLeavesEverything) {
  Make()->RunThrough(Phase::kVerify);
  EXPECT_EQ(Make()->Cleanup(true).message, "the backup");
  EXPECT_EQ(Stored(), State::kVerified);
}

TEST_P(LifecycleTest, ARollbackStepsBackAndTriesAgain) {
  Make()->RunThrough(Phase::kCutover);
  script_.calls.clear();
  script_.failures["rollback"] = {ErrorKind::kConflict, ErrorKind::kConflict};
  EXPECT_TRUE(Make()->Rollback({}).ok());
  EXPECT_THAT(script_.calls, ElementsAre("rollback", "rollback", "rollback"));
  EXPECT_EQ(Stored(), State::kRolledBack);
}

TEST_P(LifecycleTest, WhatFailedOnItsWayBackIsNextAgain) {
  script_.captures = true;
  Make()->RunThrough(Phase::kPrepare);
  script_.failures["reset"] = {ErrorKind::kConstraint};
  EXPECT_EQ(Make()->Reset(false).next, "migrate reset");
  EXPECT_EQ(Make()->GetStatus().next, "migrate reset");
  Make()->RunThrough(Phase::kCutover);
  script_.failures["rollback"] = {ErrorKind::kConstraint};
  EXPECT_EQ(Make()->Rollback({}).next, "migrate rollback");
  EXPECT_EQ(Make()->GetStatus().next, "migrate rollback");
  EXPECT_TRUE(Make()->Rollback({}).ok());
  script_.failures["cleanup"] = {ErrorKind::kConstraint};
  EXPECT_EQ(Make()->Cleanup().next, "migrate cleanup");
}

// Whoever wanted to go back is not told to go on.
TEST_P(LifecycleTest, AWayBackThatWasRefusedIsNextAgain) {
  script_.captures = true;
  Make()->RunThrough(Phase::kVerify);
  for (const std::string code : {"", "would-lose-writes"}) {
    script_.during["rollback"] = [&] { throw Error(ErrorKind::kUnsupported, "not so", code); };
    const PhaseOutcome outcome = Make()->Rollback({});
    EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kRefused);
    EXPECT_EQ(outcome.next, code.empty() ? "migrate rollback" : "migrate rollback --lose-writes");
    EXPECT_EQ(Stored(), State::kVerified);
    EXPECT_EQ(Make()->GetStatus().next, "migrate cleanup");
  }
  script_.during["rollback"] = [&] { throw Error(ErrorKind::kUnsupported, "", "no-way-back"); };
  EXPECT_EQ(Make()->Rollback({}).next, "migrate cleanup");
}

// Whoever prepares is not told to run the rest: that would cut over.
TEST_P(LifecycleTest, APhaseThatFailedIsNextAgain) {
  script_.captures = true;
  script_.drains = true;
  script_.retries_cutover = false;
  script_.failures["sync"] = {ErrorKind::kConstraint};
  EXPECT_EQ(Make()->RunThrough(Phase::kPrepare).next, "migrate prepare");
  for (const std::string phase : {"sync", "drain", "cutover", "verify"}) {
    script_.failures[phase] = {ErrorKind::kConstraint};
    EXPECT_EQ(Make()->RunThrough(Phase::kVerify).next, "migrate " + phase);
    EXPECT_EQ(Make()->GetStatus().next, "migrate " + phase);
  }
  EXPECT_TRUE(Make()->RunThrough(Phase::kVerify).ok());
}

// hard-case 137
TEST_P(LifecycleTest, AProcessThatWasTakenOverLeavesTheStateToTheNewOwner) {
  Make()->RunThrough(Phase::kPrepare);
  script_.during["cutover"] = [&] {
    const auto session = db::Connect(endpoint());
    Journal(*session, "m").TakeOver();
  };
  const PhaseOutcome outcome = Make()->RunThrough(Phase::kCutover);
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kFailed);
  EXPECT_EQ(outcome.next, "migrate status");
  EXPECT_EQ(Stored(), State::kReady);
}

// hard-case 18
TEST_P(LifecycleTest, WritersThatOutrunTheReplayEndTheCutoverWithinItsBudget) {
  script_.captures = true;
  Make()->RunThrough(Phase::kPrepare);
  script_.calls.clear();
  script_.sync_steps = 1 << 30;
  spec_.limits.cutover_budget_ms = 30;
  const PhaseOutcome outcome = Make()->RunThrough(Phase::kCutover);
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kFailed);
  EXPECT_THAT(outcome.message, HasSubstr("faster than"));
  EXPECT_THAT(script_.calls, Not(Contains("cutover")));
}

TEST_P(LifecycleTest, ResetIsRefusedAfterCutover) {
  Make()->RunThrough(Phase::kCutover);
  const PhaseOutcome outcome = Make()->Reset(false);
  EXPECT_EQ(outcome.kind, PhaseOutcome::Kind::kRefused);
  EXPECT_THAT(script_.calls, Not(Contains("reset")));
}

TEST_P(LifecycleTest, ResetBeforeCutoverLeavesNothing) {
  Make()->RunThrough(Phase::kPrepare);
  EXPECT_TRUE(Make()->Reset(false).ok());
  EXPECT_EQ(Stored(), State::kNone);
}

INSTANTIATE_TEST_SUITE_P(Both, LifecycleTest, ::testing::Values("postgres", "sqlite"),
                         [](const auto& name) { return name.param; });

}  // namespace
}  // namespace understudy::core
