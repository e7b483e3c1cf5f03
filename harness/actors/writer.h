#pragma once

#include <array>
#include <memory>
#include <optional>

#include "harness/actors/client.h"
#include "harness/actors/stage.h"

// A client that writes and records every write in the ledger.
namespace understudy::harness {

enum class Kind { kInsert, kUpdate, kDelete, kUpsert, kTransaction, kRollback, kKeyUpdate, kHot };
constexpr std::size_t kKinds = 7;  // those that a scenario gives weights; the hot ones have a share
std::string_view KindName(Kind kind);

struct WriterOptions {
  std::array<double, kKinds> weights{30, 40, 8, 8, 8, 3, 3};
  double hot_share = 0.1;
  bool follow = false;
};
WriterOptions ReadWriterOptions(const Json& options);

// A row that one client alone changes, and what is known of it.
struct KnownRow {
  db::Row kept;
  bool inserted = false;            // by this client, in this run
  bool parent = false;              // others refer to it: never deleted, its key never changed
  std::uint64_t exclusive_for = 0;  // a bit per plan (modulo 64) that used it as its only child's
  bool busy = false;                // touched in the transaction that is under way
  std::size_t position = 0;
};

// The rows of one table that a client owns; forgets some when there are very many.
class KnownRows {
 public:
  KnownRow& Add(db::Row kept, bool inserted, Random& random);
  void Remove(KnownRow& row);
  bool empty() const { return rows_.empty(); }
  std::size_t size() const { return rows_.size(); }
  KnownRow& at(std::size_t i) { return *rows_[i]; }
  void Clear() { rows_.clear(); }

 private:
  std::vector<std::unique_ptr<KnownRow>> rows_;
};

struct Step {
  const TablePlan* plan = nullptr;
  std::size_t plan_index = 0;
  Kind kind = Kind::kInsert;
  std::string sql;
  db::Params params;
  Json key = nullptr, sent = nullptr, key_after = nullptr;
  std::vector<std::pair<std::size_t, db::Value>> values;  // columns that are sent
  KnownRow* row = nullptr;                                // the own row that it changes
  const HotRow* hot = nullptr;
  std::optional<db::Row> key_row, key_row_after;  // key values; absent: the server makes them
  std::int64_t ledger_id = 0;
  std::optional<db::Row> returned;
};

class Writer : public Client {
 public:
  using Refresh = std::function<std::shared_ptr<const Stage>(const std::shared_ptr<const Stage>&)>;
  // `own`: which of the stage's owners this one is. `refresh` makes a stage of the catalog as it
  // is now (catalog: follow).
  Writer(ClientSetup setup, WriterOptions options, std::shared_ptr<const Stage> stage,
         std::size_t own, Refresh refresh);

  std::int64_t acknowledged() const { return acknowledged_; }
  // One write without the ledger, in the transaction that is open: for trying what a table takes.
  // Null: there was nothing to do it to. Throws what the server says.
  std::optional<Step> Try(Kind kind, std::size_t plan, Random& random, int only_column = -1,
                          bool short_insert = false);

 protected:
  void Operate(Random& random) override;
  void Reconnected() override;
  bool HasDoubts() const override { return !doubts_.empty(); }

 private:
  enum class Result { kDone, kNothing, kConflict };

  Kind Draw(Random& random) const;
  bool Prepare(Kind kind, std::size_t plan, Random& random, Step& step);
  bool PrepareInsert(Random& random, Step& step, bool upsert);
  bool PrepareUpdate(Random& random, Step& step);
  bool PrepareDelete(Random& random, Step& step);
  bool PrepareMove(Random& random, Step& step);
  bool PrepareHot(Random& random, Step& step);
  bool PrepareAny(Kind kind, Random& random, Step& step);
  bool Parents(Random& random, Step& step, std::vector<std::optional<db::Value>>& values);
  std::int64_t NextSerial();
  bool KeyStaysUnused(std::size_t plan, const KnownRow& row);
  KnownRow* Pick(std::size_t plan, Random& random, bool removable);
  std::string Where(const TablePlan& plan, const db::Row& key, db::Params& params) const;
  void AskForRow(Step& step) const;

  void Pend(Step& step, std::int64_t txn);
  void Send(Step& step);
  void Apply(Step& step, Random& random);  // after its commit
  Result Group(Kind kind, Random& random, bool transaction, bool roll_back);
  void Fail(const Error& error, Kind kind, std::vector<Step>& steps, std::size_t failed,
            bool transaction, bool committing, double started_ms);
  bool OwnDoing(const Error& error, const std::vector<Step>& steps) const;
  static bool OwnDoingOnSqlite(const Error& error, const std::vector<Step>& steps);
  Json Canonical(const Step& step);
  void Relearn(Step& step);
  void FollowCatalog();

  WriterOptions options_;
  std::shared_ptr<const Stage> stage_;
  Refresh refresh_;
  std::vector<KnownRows> own_;
  std::vector<std::int64_t> full_counters_;  // hot rows (by index) that can count no further
  std::vector<Step> doubts_;
  std::int64_t serial_ = 0;
  std::atomic<std::int64_t> acknowledged_ = 0;
  int only_column_ = -1;   // Try: the one column that an update changes
  int short_insert_ = -1;  // Try: which list of columns an insert names
};

}  // namespace understudy::harness
