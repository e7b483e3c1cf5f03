// Random table swaps on a real server, under random writers, interrupted anywhere: nothing that was
// acknowledged is lost, there is a way back, and nothing of ours stays. A failing case is shrunk,
// and stands as a scenario in the folder that the failure names.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

#include "tests/property/table_swap_run.h"

namespace understudy::property {
namespace {

// The runner says how many cases; 20 when nobody does.
const int kDefaults = ::setenv("RC_PARAMS", "max_success=20", 0);

// A case takes a second: shrinking ends some time after the first failure.
constexpr std::chrono::seconds kShrinkFor{90};

template <class T>
rc::Gen<std::vector<T>> UpTo(int most, rc::Gen<T> element) {
  return rc::gen::resize(most, rc::gen::container<std::vector<T>>(rc::gen::resize(100, element)));
}

// 0 in most cases.
rc::Gen<int> Rarely(int end) {
  return rc::gen::weightedOneOf<int>({{2, rc::gen::just(0)}, {1, rc::gen::inRange(0, end)}});
}

rc::Gen<Reference> AnyReference() {
  return rc::gen::build<Reference>(rc::gen::set(&Reference::to, rc::gen::inRange(0, 4)),
                                   rc::gen::set(&Reference::on_delete, rc::gen::inRange(0, 4)),
                                   rc::gen::set(&Reference::on_update, rc::gen::inRange(0, 3)),
                                   rc::gen::set(&Reference::deferred));
}

rc::Gen<TableCase> AnyTable() {
  return rc::gen::build<TableCase>(
      rc::gen::set(&TableCase::name, rc::gen::inRange(0, 6)),
      rc::gen::set(&TableCase::other_schema,
                   rc::gen::weightedElement<bool>({{3, false}, {1, true}})),
      rc::gen::set(&TableCase::preserved, rc::gen::weightedElement<bool>({{3, true}, {1, false}})),
      rc::gen::set(&TableCase::key, rc::gen::inRange(0, 6)), rc::gen::set(&TableCase::unique),
      rc::gen::set(&TableCase::generated), rc::gen::set(&TableCase::trigger, Rarely(5)),
      rc::gen::set(&TableCase::trigger_state, Rarely(3)), rc::gen::set(&TableCase::view),
      rc::gen::set(&TableCase::rows, rc::gen::inRange(0, 18)),
      rc::gen::set(&TableCase::extras, UpTo<int>(4, rc::gen::inRange(0, 10))),
      rc::gen::set(&TableCase::references, UpTo<Reference>(2, AnyReference())),
      rc::gen::set(&TableCase::decoration, rc::gen::inRange(0, 10)),
      rc::gen::set(&TableCase::change, Rarely(8)), rc::gen::set(&TableCase::partition, Rarely(5)),
      rc::gen::set(&TableCase::truncated, rc::gen::weightedElement<bool>({{5, false}, {1, true}})));
}

rc::Gen<Op> AnyOp() {
  return rc::gen::build<Op>(
      rc::gen::set(&Op::kind, rc::gen::inRange(0, 15)),
      rc::gen::set(&Op::table, rc::gen::inRange(0, 4)),
      rc::gen::set(&Op::a, rc::gen::inRange(0, 6)), rc::gen::set(&Op::b, rc::gen::inRange(0, 6)),
      rc::gen::set(&Op::end, rc::gen::weightedElement<int>({{4, 0}, {4, 1}, {1, 2}})));
}

rc::Gen<SwapCase> AnySwap() {
  const auto points = static_cast<int>(InterruptPoints().size());
  return rc::gen::build<SwapCase>(
      rc::gen::set(&SwapCase::by_sql, rc::gen::weightedElement<bool>({{2, false}, {1, true}})),
      rc::gen::set(&SwapCase::tables, rc::gen::nonEmpty(UpTo<TableCase>(4, AnyTable()))),
      rc::gen::set(&SwapCase::histories, rc::gen::nonEmpty(UpTo<std::vector<Op>>(
                                             kOwners, rc::gen::nonEmpty(UpTo<Op>(20, AnyOp()))))),
      rc::gen::set(&SwapCase::quiet_cutover,
                   rc::gen::weightedElement<bool>({{3, false}, {1, true}})),
      rc::gen::set(&SwapCase::reverse),
      rc::gen::set(
          &SwapCase::interrupt,
          rc::gen::weightedOneOf<int>({{1, rc::gen::just(0)}, {1, rc::gen::inRange(0, points)}})),
      rc::gen::set(&SwapCase::nth, rc::gen::weightedElement<int>({{4, 1}, {1, 2}})),
      rc::gen::set(&SwapCase::cut), rc::gen::set(&SwapCase::then_reset),
      rc::gen::set(&SwapCase::after, rc::gen::inRange(0, 2)));
}

// With UNDERSTUDY_SAMPLE=folder a case is written down as a failing one would be.
void WriteSample(const SwapCase& swap) {
  if (const char* folder = std::getenv("UNDERSTUDY_SAMPLE")) WriteScenario(swap, folder, "nothing");
}

std::filesystem::path FoundFolder() {
  if (const char* given = std::getenv("UNDERSTUDY_FOUND")) return given;
  return std::filesystem::temp_directory_path() /
         ("understudy-found-" + std::to_string(::getpid()));
}

// Without any swap: what the oracle is for.
TEST(TableSwapOracle, NoticesWhatIsLost) {
  NEED_POSTGRES();
  SwapCase swap;
  swap.by_sql = true;
  swap.tables.resize(2);
  swap.tables[0].rows = 9;
  swap.tables[0].trigger = 3;
  swap.tables[1].key = 1;
  swap.histories = {{{4, 0, 0, 0, 1}, {4, 0, 1, 0, 2}, {1, 0, 2, 3, 1}}, {{0, 1, 1, 0, 1}}};
  const std::vector<std::pair<std::string, std::string>> losses = {
      {"", ""},
      {"DELETE FROM t0 WHERE owner = -2 AND tag = 1", "missing (-2,1,"},
      {"UPDATE t0 SET u = 'x' WHERE owner = -2 AND tag = 1", "unexpected (-2,1,"},
      {"INSERT INTO t1 (owner, tag) VALUES (7, 100)", "unexpected (7,100,"},
      {"UPDATE t0 SET n = n - 1 WHERE owner = -1 AND tag = 0", "tag 0: the counter says"},
      {"UPDATE t0 SET hits = hits - 1 WHERE owner = -1 AND tag = 0", "a trigger has counted"},
      {"DELETE FROM t0 WHERE owner = 0 AND tag = 1", "does not find what was acknowledged"},
      {"ALTER SEQUENCE t1_id_seq RESTART 1; DELETE FROM t1 WHERE owner = 1", "does not find"},
      {"ALTER TABLE t0 DROP COLUMN n", "was refused"},
  };
  for (const auto& [sql, said] : losses) {
    SCOPED_TRACE(sql);
    const testing::Database database;
    database.Run(SchemaSql(swap, false) + ProductionRowsSql(swap));
    Writers writers(database.endpoint(), swap);
    writers.WaitForARound();
    EXPECT_EQ(writers.Wrong(), "");
    // Between two transactions of a writer, as a cutover comes.
    if (!sql.empty()) database.Run("BEGIN; LOCK TABLE t0, t1; " + sql + "; COMMIT");
    writers.WaitForARound();
    writers.Stop();
    EXPECT_GT(writers.acknowledged(), 0);
    const std::string wrong = writers.Wrong().empty() ? writers.WrongRows() : writers.Wrong();
    if (sql.empty()) {
      EXPECT_EQ(wrong, "");
    } else {
      EXPECT_NE(wrong.find(said), std::string::npos) << wrong;
    }
  }
}

// hard-cases 25, 26, 60, 137: the server ends every session of the engine's, also in a COMMIT.
TEST(TableSwapCut, GoesOnAfterItsSessionsAreCutAnywhere) {
  NEED_POSTGRES();
  SwapRunner runner;
  SwapCase swap;
  swap.cut = true;
  swap.tables.resize(3);
  swap.tables[0].rows = 9;
  swap.tables[0].references = {{2, 0, 0, false}, {1, 2, 1, false}};
  swap.tables[1].key = 1;
  swap.tables[1].trigger = 3;
  swap.tables[2].preserved = false;
  swap.histories = {{{4, 0, 0, 0, 1}, {1, 0, 2, 3, 1}, {7, 0, 1, 1, 1}, {3, 0, 1, 0, 1}},
                    {{0, 1, 1, 0, 1}, {12, 1, 1, 0, 1}, {4, 0, 1, 0, 2}}};
  for (std::size_t point = 1; point < InterruptPoints().size(); ++point) {
    SCOPED_TRACE(InterruptPoints()[point]);
    swap.interrupt = static_cast<int>(point);
    swap.then_reset = point % 2 == 0;
    swap.after = InterruptPoints()[point].starts_with("rollback") ? 1 : static_cast<int>(point) % 2;
    EXPECT_EQ(runner.Run(swap), "");
  }
  EXPECT_GE(runner.totals().interrupted, 12);
}

// hard-cases 3 to 6, 8, 11, 15, 18, 25, 35, 38, 39, 60, 62
TEST(TableSwapProperty, LosesNothingGoesBackAndLeavesNothing) {
  NEED_POSTGRES();
  SwapRunner runner;
  std::optional<std::chrono::steady_clock::time_point> give_up;
  std::string last;
  const bool held = rc::check("a table swap under writers", [&] {
    const SwapCase swap = *rc::gen::resize(100, AnySwap());
    if (give_up && std::chrono::steady_clock::now() > *give_up) return;
    WriteSample(swap);
    const std::string wrong = runner.Run(swap);
    if (wrong.empty()) return;
    last = wrong;
    if (!give_up) give_up = std::chrono::steady_clock::now() + kShrinkFor;
    WriteScenario(swap, FoundFolder(), wrong);
    RC_FAIL(wrong + "\nthe case as a scenario: " + FoundFolder().string());
  });
  EXPECT_TRUE(held) << last << "\nthe smallest case as a scenario: " << FoundFolder().string();
  const Totals& totals = runner.totals();
  std::cout << totals.cases << " swaps, " << totals.acknowledged << " acknowledged writes ("
            << totals.after_cutover << " after the cutover), " << totals.interrupted
            << " interrupted, " << totals.resets << " resets, " << totals.rollbacks
            << " rollbacks, " << totals.carried_back << " of them with "
            << totals.acknowledged_carried << " acknowledged writes carried back\n";
  RecordProperty("acknowledged_writes", std::to_string(totals.acknowledged));
}

}  // namespace
}  // namespace understudy::property
