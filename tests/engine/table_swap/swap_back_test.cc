#include "tests/engine/table_swap/swap_fixture.h"

// The way back: what a rollback carries, and what it may not lose in silence.
namespace understudy::table_swap {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = core::PhaseOutcome::Kind;

constexpr const char* kTables = R"(
CREATE TABLE person (id integer PRIMARY KEY, name text);
CREATE TABLE area (id integer PRIMARY KEY, name text);)";

class TableSwapBack : public ::testing::Test {
 protected:
  // Persons are production's, areas the source's; writes are captured in reverse.
  void CutOver() {
    world_.document()["preserved"] = {"person"};
    world_.document()["reverse"] = true;
    world_.target().Run(std::string(kTables) +
                        "INSERT INTO person SELECT i, 'p' || i FROM generate_series(1, 10) i;"
                        "INSERT INTO area SELECT i, 'old' FROM generate_series(1, 10) i");
    world_.source().Run(std::string(kTables) +
                        "INSERT INTO area SELECT i, 'new' FROM generate_series(1, 10) i");
    const core::PhaseOutcome outcome = world_.Cutover();
    ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  }
  std::string Persons() {
    return world_.Scalar("SELECT string_agg(id || name, ' ' ORDER BY id) FROM public.person");
  }

  SwapWorld world_;
};

// hard-cases 58, 64: another migration of the same tables leaves the backup whole, and with it what
// keeps it in step.
TEST_F(TableSwapBack, LosesNothingWhenTheNextMigrationIsGivenUp) {
  NEED_POSTGRES();
  CutOver();
  world_.target().Run(
      "INSERT INTO person VALUES (11, 'late'); UPDATE person SET name = 'other' WHERE id = 1;"
      "DELETE FROM person WHERE id = 2");
  const std::string persons = Persons();
  world_.set_id("second");
  world_.at_point = [&](std::string_view at) {
    if (at == "prepare.post_data_built") throw Error(ErrorKind::kInternal, "killed");
  };
  EXPECT_EQ(world_.Prepare().kind, Kind::kFailed);
  EXPECT_EQ(world_.Reset().kind, Kind::kDone);
  world_.target().Run("INSERT INTO person VALUES (12, 'later')");
  world_.set_id("swap");
  const core::PhaseOutcome outcome = world_.Rollback();
  ASSERT_EQ(outcome.kind, Kind::kDone) << outcome.message;
  EXPECT_EQ(Persons(), persons + " 12later");
}

}  // namespace
}  // namespace understudy::table_swap
