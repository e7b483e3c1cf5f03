// Migration after migration on tables that three sessions never stop writing to: as many writes as
// UNDERSTUDY_SWAP_WRITES says, every one of them acknowledged, none of them lost.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "tests/engine/table_swap/swap_fixture.h"

namespace understudy::property {
namespace {

constexpr int kWriters = 3;
constexpr int kKeys = 300;          // of "Hot", which everybody counts up
constexpr std::int64_t kKept = 60;  // rows of "Log" that a writer keeps; older ones he deletes
constexpr int kStatements = 20;     // single-row writes of a transaction

constexpr const char* kSchema = R"(
CREATE TABLE area (id integer PRIMARY KEY, name text);
CREATE TABLE "Hot" (id integer PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
CREATE TABLE "Log" (owner integer, seq bigint, n bigint NOT NULL DEFAULT 0,
                    area integer REFERENCES area, PRIMARY KEY (owner, seq));
)";

// One session. It writes to shared counters and to rows of its own, and knows what was
// acknowledged.
class LongWriter {
 public:
  LongWriter(const testing::Database& database, int owner)
      : session_(database.Connect({.settings = db::Settings::kUsers})), owner_(owner) {
    session_->Execute("SET deadlock_timeout = '20ms'");
    thread_ = std::thread([this] { Run(); });
  }
  ~LongWriter() { Stop(); }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::int64_t acknowledged() const { return acknowledged_; }
  std::int64_t transactions() const { return transactions_; }
  // After Stop().
  const std::string& wrong() const { return wrong_; }
  const std::vector<std::int64_t>& counted() const { return counted_; }
  std::int64_t first() const { return first_; }
  std::int64_t last() const { return last_; }

 private:
  void Run() {
    std::int64_t random = 7 + owner_;
    const auto next = [&](std::int64_t below) {
      random = (random * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff;
      return (random >> 33) % below;
    };
    while (!stop_) {
      std::vector<std::int64_t> keys;
      std::int64_t last = last_;
      std::int64_t first = first_;
      std::string sql = "BEGIN;";
      for (int i = 0; i < kStatements; ++i) {
        if (i % 4 == 3) {
          ++last;
          sql += "INSERT INTO \"Log\" VALUES (" + std::to_string(owner_) + "," +
                 std::to_string(last) + "," + std::to_string(last * 3) + "," +
                 std::to_string(next(40)) + ");";
          if (last - first < kKept) continue;
          sql += "DELETE FROM \"Log\" WHERE owner = " + std::to_string(owner_) +
                 " AND seq = " + std::to_string(++first) + ";";
        } else {
          keys.push_back(next(kKeys));
        }
      }
      std::ranges::sort(keys);  // or they would only wait for each other
      for (const std::int64_t key : keys) {
        sql += "UPDATE \"Hot\" SET n = n + 1 WHERE id = " + std::to_string(key) + ";";
      }
      try {
        session_->Execute(sql + "COMMIT");
        for (const std::int64_t key : keys) ++counted_[static_cast<std::size_t>(key)];
        acknowledged_ += static_cast<std::int64_t>(keys.size()) + (last - last_) + (first - first_);
        last_ = last;
        first_ = first;
        ++transactions_;
      } catch (const Error& error) {
        session_->Rollback();
        try {
          session_->Execute("ROLLBACK");
        } catch (const Error&) {
        }
        if (error.code() == "40P01") continue;
        wrong_ = error.what();
        return;
      }
    }
  }

  std::unique_ptr<db::Session> session_;
  int owner_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::int64_t> acknowledged_ = 0;
  std::atomic<std::int64_t> transactions_ = 0;
  std::vector<std::int64_t> counted_ = std::vector<std::int64_t>(kKeys);
  std::int64_t first_ = 0;  // rows with first < seq <= last are there
  std::int64_t last_ = 0;
  std::string wrong_;
  std::thread thread_;
};

// hard-case 3, 6, 35
TEST(TableSwapLong, LosesNoneOfManyWrites) {
  NEED_POSTGRES();
  const char* given = std::getenv("UNDERSTUDY_SWAP_WRITES");
  const std::int64_t wanted = given != nullptr ? std::atoll(given) : 2000;
  table_swap::SwapWorld world;
  world.document()["preserved"] = {"\"Hot\"", "\"Log\""};
  const std::string rows =
      "INSERT INTO area SELECT i, 'first' FROM generate_series(0, 50) i;"
      "INSERT INTO \"Hot\" SELECT i FROM generate_series(0, 299) i;";
  world.target().Run(kSchema + rows);
  world.source().Run(kSchema + rows);
  std::vector<std::unique_ptr<LongWriter>> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.push_back(std::make_unique<LongWriter>(world.target(), i));
  }
  const auto total = [&] {
    std::int64_t sum = 0;
    for (const auto& writer : writers) sum += writer->acknowledged();
    return sum;
  };
  std::int64_t during = 0;  // between the beginning of a prepare and the end of its cutover
  int migrations = 0;
  const auto started = SteadyClock::now();
  while (during < wanted) {
    ++migrations;
    world.set_id("long-" + std::to_string(migrations));
    world.source().Run("UPDATE area SET name = 'of " + std::to_string(migrations) + "'");
    const std::int64_t before = total();
    core::PhaseOutcome outcome = world.Prepare();
    ASSERT_EQ(outcome.kind, core::PhaseOutcome::Kind::kDone) << outcome.message;
    // It follows for as long as it takes until there are some writes for it to carry.
    while (total() - before < std::min<std::int64_t>(wanted, 20000)) {
      outcome = world.Sync();
      ASSERT_TRUE(outcome.ok()) << outcome.message;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    outcome = world.Cutover();
    ASSERT_EQ(outcome.kind, core::PhaseOutcome::Kind::kDone) << outcome.message;
    during += total() - before;
    ASSERT_EQ(world.Scalar("SELECT min(name) FROM public.area"),
              "of " + std::to_string(migrations));
    outcome = world.Verify();
    ASSERT_EQ(outcome.kind, core::PhaseOutcome::Kind::kDone) << outcome.message;
  }
  std::int64_t transactions = 0;
  for (const auto& writer : writers) {
    writer->Stop();
    EXPECT_EQ(writer->wrong(), "");
    transactions += writer->transactions();
  }
  const auto session = world.target().Connect();
  std::int64_t lost = 0;
  for (const db::Row& row : session->Query("SELECT id, n FROM public.\"Hot\"").rows) {
    std::int64_t count = 0;
    for (const auto& writer : writers) {
      count += writer->counted()[static_cast<std::size_t>(row[0].AsInteger())];
    }
    lost += std::abs(count - row[1].AsInteger());
  }
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(session->Scalar("SELECT count(*) FROM public.\"Hot\"").AsInteger(), kKeys);
  for (int i = 0; i < kWriters; ++i) {
    const LongWriter& writer = *writers[static_cast<std::size_t>(i)];
    EXPECT_EQ(session
                  ->Scalar("SELECT concat_ws(' ', count(*), min(seq), max(seq), count(*) FILTER "
                           "(WHERE n <> seq * 3)) FROM public.\"Log\" WHERE owner = $1",
                           {db::Value::Integer(i)})
                  .text,
              std::to_string(writer.last() - writer.first()) + " " +
                  std::to_string(writer.first() + 1) + " " + std::to_string(writer.last()) + " 0");
  }
  std::cout << migrations << " migrations, " << during << " acknowledged writes during them, "
            << total() << " in all, in " << transactions << " transactions and "
            << MillisecondsSince(started) / 1000 << " s; " << lost << " increments lost\n";
}

}  // namespace
}  // namespace understudy::property
