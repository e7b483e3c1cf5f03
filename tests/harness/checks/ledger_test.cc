#include <gmock/gmock.h>

#include "tests/harness/checks/run_builder.h"

namespace understudy::harness {
namespace {

using reports::Outcome;
using reports::Verdict;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Written = RunBuilder::Written;

const std::string kKey = R"({"id":"1"})";

class Ledger : public ::testing::Test {
 protected:
  Ledger() : run(WithWriters()) { run.Phase("cutover", 90, 200); }

  Verdict Judge() { return run.Judge("acknowledged-writes"); }
  // The row in the end; "" = absent.
  Verdict With(const std::string& row) {
    run.Observed(kKey, row);
    return Judge();
  }
  void Insert(const std::string& state = "acknowledged", std::int64_t txn = 0) {
    run.Write({.state = state, .txn = txn});
  }
  void Update(const std::string& total, const std::string& state = "acknowledged",
              std::int64_t txn = 0) {
    run.Write({.operation = "update",
               .row = R"({"id":"1","total":")" + total + "\"}",
               .state = state,
               .txn = txn});
  }
  void Delete(const std::string& state = "acknowledged") {
    run.Write({.operation = "delete", .row = "", .state = state});
  }

  RunBuilder run;
};

TEST_F(Ledger, AnAcknowledgedRowThatIsThereExactlyPasses) {
  Insert();
  EXPECT_EQ(With(R"({"id":"1","total":"5","new_column":"x"})").outcome, Outcome::kPass);
}

TEST_F(Ledger, ALostOneIsNamedWithKeyClientAndPhase) {
  Insert();
  const Verdict verdict = With("");
  EXPECT_EQ(verdict.outcome, Outcome::kFail);
  EXPECT_THAT(verdict.summary, HasSubstr("public.orders {\"id\":\"1\"} lost"));
  EXPECT_THAT(verdict.summary, HasSubstr("insert of w1"));
  EXPECT_THAT(verdict.summary, HasSubstr("in cutover"));
  ASSERT_THAT(verdict.examples, SizeIs(1));
  EXPECT_EQ(verdict.examples[0]["left"]["total"]["text"], "5");
}

TEST_F(Ledger, AValueThatDiffersInAnyWayFails) {  // hard-case 111
  for (const char* total : {"\"5 \"", "\"5.0\"", "\"\"", "null"}) {
    RunBuilder one(WithWriters());
    one.Write({}).Observed(kKey, R"({"id":"1","total":)" + std::string(total) + "}");
    EXPECT_EQ(one.Judge("acknowledged-writes").outcome, Outcome::kFail) << total;
  }
}

TEST_F(Ledger, AnOverwrittenUpdateIsTold) {
  Insert();
  Update("6");
  EXPECT_THAT(With(R"({"id":"1","total":"5"})").summary, HasSubstr("as it was before the update"));
}

TEST_F(Ledger, ADeletedRowMustStayAway) {
  Insert();
  Delete();
  EXPECT_THAT(With(R"({"id":"1","total":"5"})").summary, HasSubstr("resurrected"));
}

TEST_F(Ledger, ADeletedRowThatIsAwayPasses) {
  Insert();
  Delete();
  EXPECT_EQ(With("").outcome, Outcome::kPass);
}

TEST_F(Ledger, ADuplicatedRowFails) {
  Insert();
  run.Observed(kKey, R"({"id":"1","total":"5"})");
  EXPECT_THAT(With(R"({"id":"1","total":"5"})").summary, HasSubstr("duplicated"));
}

// hard-case 115
TEST_F(Ledger, AnUnknownWriteMayBeThereOrNot) {
  for (const char* state : {"unknown", "pending"}) {
    for (const char* total : {"5", "6", "7"}) {
      RunBuilder one(WithWriters());
      one.Write({});
      one.Write(
          {.operation = "update", .row = R"({"id":"1","total":"6","x":"1"})", .state = state});
      one.Observed(kKey, R"({"id":"1","total":")" + std::string(total) + R"(","x":"1"})");
      EXPECT_EQ(one.Judge("acknowledged-writes").outcome,
                std::string(total) == "7" ? Outcome::kFail : Outcome::kPass)
          << state << " " << total;
    }
  }
}

TEST_F(Ledger, HalfOfAnUnknownRowFails) {
  run.Write({.row = R"({"id":"1","a":"1","b":"1"})"});
  run.Write({.operation = "update", .row = R"({"id":"1","a":"2","b":"2"})", .state = "unknown"});
  EXPECT_THAT(With(R"({"id":"1","a":"2","b":"1"})").summary, HasSubstr("half"));
}

TEST(LedgerOfItsOwn, HalfOfAnUnknownTransactionFails) {
  const auto judged = [](bool first, bool second) {
    RunBuilder run(WithWriters());
    run.Write({.key = R"({"id":"9"})", .row = R"({"id":"9"})"})
        .Observed(R"({"id":"9"})", R"({"id":"9"})");
    run.Write({.key = R"({"id":"1"})", .row = R"({"id":"1"})", .state = "unknown", .txn = 7});
    run.Write({.key = R"({"id":"2"})", .row = R"({"id":"2"})", .state = "unknown", .txn = 7});
    run.Observed(R"({"id":"1"})", first ? R"({"id":"1"})" : "");
    run.Observed(R"({"id":"2"})", second ? R"({"id":"2"})" : "");
    return run.Judge("acknowledged-writes");
  };
  EXPECT_EQ(judged(true, true).outcome, Outcome::kPass);
  EXPECT_EQ(judged(false, false).outcome, Outcome::kPass);
  EXPECT_EQ(judged(true, false).outcome, Outcome::kFail);
  EXPECT_THAT(judged(false, true).summary, HasSubstr("half of the unknown transaction 7"));
}

// hard-case 116
TEST_F(Ledger, ARolledBackWriteThatIsThereFails) {
  run.Write({.key = R"({"id":"9"})", .row = R"({"id":"9"})"})
      .Observed(R"({"id":"9"})", R"({"id":"9"})");
  Insert("rolled_back");
  EXPECT_THAT(With(R"({"id":"1","total":"5"})").summary, HasSubstr("rolled back"));
}

TEST_F(Ledger, ARolledBackUpdateThatTookEffectFails) {
  Insert();
  Update("6", "rolled_back");
  const Verdict verdict = With(R"({"id":"1","total":"6"})");
  EXPECT_THAT(verdict.summary, HasSubstr("rolled back"));
}

TEST_F(Ledger, ARefusedWriteChangesNothing) {
  Insert();
  Update("6", "refused");
  EXPECT_EQ(With(R"({"id":"1","total":"5"})").outcome, Outcome::kPass);
}

TEST(LedgerOfItsOwn, AKeyUpdateLeavesOneKeyAndComesToAnother) {
  const auto judged = [](const std::string& old_row, const std::string& new_row) {
    RunBuilder run(WithWriters());
    run.Write({});
    run.Write({.operation = "key_update",
               .row = R"({"id":"2","total":"5"})",
               .key_after = R"({"id":"2"})"});
    run.Observed(kKey, old_row).Observed(R"({"id":"2"})", new_row);
    return run.Judge("acknowledged-writes").outcome;
  };
  EXPECT_EQ(judged("", R"({"id":"2","total":"5"})"), Outcome::kPass);
  EXPECT_EQ(judged(R"({"id":"1","total":"5"})", R"({"id":"2","total":"5"})"), Outcome::kFail);
  EXPECT_EQ(judged("", ""), Outcome::kFail);
}

TEST_F(Ledger, RenamedAndAllowedColumnsAreFollowed) {
  run.scenario()["checks"]["rows"] = {{"map", {{"public.orders.total", "public.orders.cents"}}},
                                      {"allow", {"public.orders.note"}}};
  run.Write({.row = R"({"id":"1","total":"5","note":"a"})"});
  EXPECT_EQ(With(R"({"id":"1","cents":"5","note":"b"})").outcome, Outcome::kPass);
}

TEST_F(Ledger, ARenamedColumnIsCompared) {
  run.scenario()["checks"]["rows"] = {{"map", {{"total", "cents"}}}};
  Insert();
  EXPECT_EQ(With(R"({"id":"1","cents":"500"})").outcome, Outcome::kFail);
}

// hard-case 106
TEST_F(Ledger, WithoutAnAcknowledgedWriteIsUnknown) {
  EXPECT_EQ(Judge().outcome, Outcome::kUnknown);
  Insert("refused");
  EXPECT_EQ(With("").outcome, Outcome::kUnknown);
}

TEST_F(Ledger, ARowThatNobodyLookedForIsUnknown) {
  Insert();
  EXPECT_EQ(Judge().outcome, Outcome::kUnknown);
  run.Observed(kKey, "", "the table is gone");
  EXPECT_THAT(Judge().summary, HasSubstr("the table is gone"));
}

TEST_F(Ledger, WithoutWritersItDoesNotApply) {
  EXPECT_EQ(RunBuilder().DoesNotApply("acknowledged-writes"), "no writers");
  EXPECT_EQ(run.DoesNotApply("acknowledged-writes"), std::nullopt);
  RunBuilder mutate;
  mutate.scenario()["steps"] = {{{"mutate", {{"on", "main"}}}, {"name", "x"}}};
  EXPECT_EQ(mutate.DoesNotApply("acknowledged-writes"), std::nullopt);
}

Written Hot(const std::string& value, const std::string& note,
            const std::string& state = "acknowledged") {
  return {.operation = "update",
          .key = R"({"id":"h"})",
          .row = R"({"id":"h","hits":")" + value + R"(","note":")" + note + "\"}",
          .state = state,
          .hot = true,
          .counter = state == "acknowledged" ? R"({"column":"hits","value":")" + value + "\"}" : "",
          .client = "c" + note};
}

Verdict HotRows(const std::vector<Written>& writes, const std::string& hits,
                const std::string& note) {
  RunBuilder run(WithWriters());
  run.HotRow(R"({"id":"h"})", "10");
  for (const Written& write : writes) run.Write(write);
  run.Observed(R"({"id":"h"})", R"({"id":"h","hits":")" + hits + R"(","note":")" + note + "\"}");
  return run.Judge("acknowledged-writes");
}

TEST(HotRows, CountEveryAcknowledgedUpdateOnce) {
  const std::vector<Written> two = {Hot("11", "a"), Hot("12", "b")};
  EXPECT_EQ(HotRows(two, "12", "b").outcome, Outcome::kPass);
  EXPECT_THAT(HotRows(two, "11", "a").summary, HasSubstr("lost 1 of 2"));
  EXPECT_THAT(HotRows(two, "13", "b").summary, HasSubstr("1 updates more"));
  EXPECT_THAT(HotRows(two, "12", "a").summary, HasSubstr("note is another operation's"));
  EXPECT_THAT(HotRows({Hot("11", "a"), Hot("11", "b")}, "12", "b").summary,
              HasSubstr("one overwrote the other"));
}

// A client's update returned the whole row: a column that the counter says nothing of must not be
// another one afterwards.
TEST(HotRows, AreComparedWholeWithTheLastUpdate) {
  const auto judged = [](const std::string& total, Json checks = Json::object()) {
    RunBuilder run(WithWriters());
    run.scenario()["checks"] = std::move(checks);
    run.HotRow(R"({"id":"h"})", "10");
    for (const char* hits : {"11", "12"}) {
      Written write = Hot(hits, hits);
      write.row.insert(write.row.size() - 1, R"(,"total":"5","gone":"1")");
      run.Write(write);
    }
    run.Observed(R"({"id":"h"})", R"({"id":"h","hits":"12","note":"12","total":)" + total + "}");
    return run.Judge("acknowledged-writes");
  };
  EXPECT_EQ(judged("\"5\"").outcome, Outcome::kPass);
  for (const char* total : {"\"5.0\"", "\"\"", "null"}) {  // hard-case 111
    EXPECT_THAT(judged(total).summary, HasSubstr("total is not as it left it")) << total;
  }
  EXPECT_EQ(judged("null", {{"rows", {{"allow", {"public.orders.total"}}}}}).outcome,
            Outcome::kPass);
}

TEST(HotRows, LetAnUnknownUpdateCountOrNot) {
  const std::vector<Written> one = {Hot("11", "a"), Hot("12", "b", "unknown")};
  EXPECT_EQ(HotRows(one, "11", "a").outcome, Outcome::kPass);
  EXPECT_EQ(HotRows(one, "12", "b").outcome, Outcome::kPass);
  EXPECT_EQ(HotRows(one, "13", "b").outcome, Outcome::kFail);
  EXPECT_EQ(HotRows({Hot("11", "a"), Hot("12", "b", "rolled_back")}, "12", "b").outcome,
            Outcome::kFail);
}

}  // namespace
}  // namespace understudy::harness
