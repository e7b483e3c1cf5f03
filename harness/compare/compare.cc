#include "harness/compare/compare.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "engine/base/error.h"
#include "harness/compare/cross.h"
#include "harness/compare/differences.h"
#include "harness/compare/merge.h"
#include "harness/compare/pairing.h"
#include "harness/compare/side.h"
#include "harness/compare/table_sql.h"

namespace understudy::harness {
namespace {

// Up to here reading all rows of both sides is cheaper than another scan.
constexpr std::int64_t kFewRows = 20000;
constexpr std::size_t kBucketsAtMost = 512;  // of 1024: beyond, most of the table differs
constexpr std::size_t kSubBucketsAtMost = 20000;

// count and sums, as the server wrote them: equal or not is all that is asked.
using Sums = std::vector<std::string>;

Sums SumsOf(const db::Row& row, std::size_t from) {
  Sums sums;
  for (std::size_t i = from; i < row.size(); ++i) sums.push_back(row[i].TextOr("0"));
  return sums;
}

class Comparer {
 public:
  Comparer(const db::Endpoint& left, const db::Endpoint& right, const CompareOptions& options)
      : options_(options) {
    if (options.explained) {  // one lane at a time
      options_.explained = [this, &options](const std::string& table, const Json& key,
                                            const std::string& kind) {
        const std::lock_guard lock(callbacks_);
        return options.explained(table, key, kind);
      };
    }
    const int jobs = std::clamp(options.jobs, 1, 16);
    InParallel([&] { left_ = std::make_unique<Side>(left, jobs); },
               [&] { right_ = std::make_unique<Side>(right, jobs); });
    lanes_ = std::min(left_->sessions(), right_->sessions());
  }

  Comparison Run() {
    const std::jthread watcher = Watch();
    InParallel([&] { left_->ReadTables(); }, [&] { right_->ReadTables(); });
    Ask();
    const Pairing pairing =
        PairTables(left_->tables(), right_->tables(), left_->engine(), right_->engine(), options_);
    Comparison comparison;
    comparison.not_checked = pairing.not_checked;
    comparison.tables.resize(pairing.pairs.size());
    // Large tables first, so that no lane is left with one at the end.
    std::vector<std::size_t> order(pairing.pairs.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto pages = [&](std::size_t i) {
      const TablePair& pair = pairing.pairs[i];
      return (pair.left != nullptr ? pair.left->pages : 0) +
             (pair.right != nullptr ? pair.right->pages : 0);
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return pages(a) > pages(b); });
    std::atomic<std::size_t> next = 0;
    const auto work = [&](int lane) {
      for (std::size_t i = next++; i < order.size() && !cancelled_; i = next++) {
        comparison.tables[order[i]] = One(pairing.pairs[order[i]], lane);
      }
    };
    {
      std::vector<std::jthread> workers;
      for (int lane = 1; lane < std::min<int>(lanes_, static_cast<int>(order.size())); ++lane) {
        workers.emplace_back(work, lane);
      }
      work(0);
    }
    if (cancelled_) throw Error(ErrorKind::kCancelled, "the comparison was stopped", "stop");
    for (std::size_t i = 0; i < pairing.pairs.size(); ++i) {
      const TableComparison& table = comparison.tables[i];
      if (table.result == CompareResult::kUnknown) continue;
      comparison.rows_compared += std::max(table.left_rows, table.right_rows);
    }
    comparison.bytes_compared = bytes_;
    for (Json& note : notes_) comparison.not_checked.push_back(std::move(note));
    comparison.result = Overall(comparison.tables);
    return comparison;
  }

 private:
  static CompareResult Overall(const std::vector<TableComparison>& tables) {
    bool unknown = tables.empty();  // nothing compared is never equal
    for (const TableComparison& table : tables) {
      if (table.result == CompareResult::kUnknown) {
        unknown = true;
      } else if (table.result != CompareResult::kEqual) {
        return CompareResult::kDifferent;
      }
    }
    return unknown ? CompareResult::kUnknown : CompareResult::kEqual;
  }

  // Asks options.stop ten times a second; true cancels what runs on both sides.
  std::jthread Watch() {
    if (!options_.stop) return {};
    return std::jthread([this](const std::stop_token& token) {
      std::mutex mutex;
      std::condition_variable_any wake;
      std::unique_lock lock(mutex);
      while (!wake.wait_for(lock, token, std::chrono::milliseconds(100), [] { return false; })) {
        if (token.stop_requested()) return;
        if (!options_.stop()) continue;
        cancelled_ = true;
        left_->Cancel();  // again and again: a lane may just have begun its next statement
        right_->Cancel();
      }
    });
  }

  void Ask() const {
    if (cancelled_) throw Error(ErrorKind::kCancelled, "the comparison was stopped", "stop");
  }

  // What fails makes this one table unknown; the sessions' snapshots live on.
  TableComparison One(const TablePair& pair, int lane) {
    TableComparison result;
    result.table = pair.name().Display();
    db::Session& left = left_->session(lane);
    db::Session& right = right_->session(lane);
    const auto point = [&](const char* sql) {
      for (db::Session* session : {&left, &right}) session->Execute(sql);
    };
    try {
      point("SAVEPOINT understudy_table");
      Compare(pair, left, right, result);
      point("RELEASE SAVEPOINT understudy_table");
    } catch (const std::exception& error) {
      const std::string table = result.table;
      result = TableComparison();
      result.table = table;
      result.why = error.what();
      try {
        point("ROLLBACK TO SAVEPOINT understudy_table");
      } catch (const std::exception&) {  // the next table will say that the connection is gone
      }
    }
    if (options_.progress && !cancelled_) {
      const std::lock_guard lock(callbacks_);
      options_.progress(result.table, std::max(result.left_rows, result.right_rows));
    }
    return result;
  }

  void Compare(const TablePair& pair, db::Session& left, db::Session& right,
               TableComparison& result) {
    if (pair.left == nullptr || pair.right == nullptr) {
      const bool is_left = pair.left != nullptr;
      const CompareTable& table = is_left ? *pair.left : *pair.right;
      const std::string from =
          table.partitioned || (is_left ? *left_ : *right_).engine() == db::Engine::kSqlite
              ? " FROM "
              : " FROM ONLY ";
      (is_left ? result.left_rows : result.right_rows) =
          (is_left ? left : right)
              .Scalar("SELECT count(*)" + from + table.name.Quoted())
              .AsInteger();
      result.result = is_left ? CompareResult::kOnlyLeft : CompareResult::kOnlyRight;
      return;
    }
    for (const ColumnPair& column : pair.columns) result.compared.push_back(column.left->name);
    if (left_->engine() != right_->engine()) {
      CompareAcrossEngines(
          pair, left, right, options_, result,
          [this](Json note) {
            const std::lock_guard lock(callbacks_);
            notes_.push_back(std::move(note));
          },
          [this] { Ask(); });
      bytes_ += BytesOf(pair, true, left) + BytesOf(pair, false, right);
    } else {
      CompareByDigest(pair, left, right, result);
    }
    Ask();
    if (!pair.one_sided.empty()) {
      result.result = CompareResult::kDifferent;
      result.why = pair.one_sided + (result.why.empty() ? "" : "; " + result.why);
    }
  }

  std::int64_t BytesOf(const TablePair& pair, bool is_left, db::Session& session) {
    HashForm form;
    form.engine = session.Server().engine;
    return session.Scalar(TableSql(pair, is_left, form, is_left ? *left_ : *right_).Bytes())
        .AsInteger();
  }

  void CompareByDigest(const TablePair& pair, db::Session& left, db::Session& right,
                       TableComparison& result) {
    HashForm form;
    form.engine = left_->engine();
    form.native = left_->version() >= 140000 && right_->version() >= 140000 &&
                  left_->encoding() == right_->encoding();
    form.second = options_.second_digest;
    const TableSql left_sql(pair, true, form, *left_);
    const TableSql right_sql(pair, false, form, *right_);
    Digest(pair, left, left_sql, right, right_sql, result);
  }

  void Digest(const TablePair& pair, db::Session& left, const TableSql& left_sql,
              db::Session& right, const TableSql& right_sql, TableComparison& result) {
    Sums left_sums;
    Sums right_sums;
    const auto read = [&](db::Session& session, const TableSql& sql, Sums& sums) {
      sums = SumsOf(session.Query(sql.Digest()).rows.at(0), 0);
      bytes_ += session.Scalar(sql.Bytes()).AsInteger();
    };
    InParallel([&] { read(left, left_sql, left_sums); },
               [&] { read(right, right_sql, right_sums); });
    result.left_rows = std::stoll(left_sums[0]);
    result.right_rows = std::stoll(right_sums[0]);
    result.result = CompareResult::kEqual;
    if (left_sums == right_sums) return;
    const bool sqlite = left_->engine() == db::Engine::kSqlite;
    Differences differences(pair, sqlite, sqlite, options_, result);
    int shift = 0;
    std::vector<std::int64_t> buckets;
    if (std::max(result.left_rows, result.right_rows) > kFewRows) {
      std::int64_t rows = 0;
      buckets = Differing(left, left_sql, right, right_sql, 0, {}, rows);
      if (buckets.size() > kBucketsAtMost) buckets.clear();
      if (!buckets.empty() && rows > kFewRows) {
        std::vector<std::int64_t> narrow =
            Differing(left, left_sql, right, right_sql, 10, buckets, rows);
        if (narrow.size() <= kSubBucketsAtMost) {
          shift = 10;
          buckets = std::move(narrow);
        }
      }
    }
    MergeRows(pair, left, left_sql, right, right_sql, shift, buckets, differences,
              [this] { Ask(); });
    if (result.missing + result.extra + result.changed > 0) {
      result.result = CompareResult::kDifferent;
    } else if (!differences.found()) {
      result.result = CompareResult::kUnknown;
      result.why =
          "the digests differ (" + left_sums[1] + ", " + right_sums[1] +
          ") and no row that differs was found: please report this as a bug of the comparison";
    }
  }

  // The buckets whose digests differ, and how many rows they hold on the fuller side.
  std::vector<std::int64_t> Differing(db::Session& left, const TableSql& left_sql,
                                      db::Session& right, const TableSql& right_sql, int shift,
                                      const std::vector<std::int64_t>& within, std::int64_t& rows) {
    std::map<std::int64_t, Sums> sums[2];
    const auto read = [&](int side, db::Session& session, const TableSql& sql) {
      for (const db::Row& row : session.Query(sql.Buckets(shift, within)).rows) {
        sums[side][row[0].AsInteger()] = SumsOf(row, 1);
      }
    };
    InParallel([&] { read(0, left, left_sql); }, [&] { read(1, right, right_sql); });
    Ask();
    rows = 0;
    std::set<std::int64_t> differing;
    for (int side = 0; side < 2; ++side) {
      for (const auto& [bucket, digest] : sums[side]) {
        const auto other = sums[1 - side].find(bucket);
        if (other != sums[1 - side].end() && other->second == digest) continue;
        if (differing.insert(bucket).second) rows += std::stoll(digest[0]);
      }
    }
    return {differing.begin(), differing.end()};
  }

  CompareOptions options_;
  std::unique_ptr<Side> left_;
  std::unique_ptr<Side> right_;
  int lanes_ = 1;
  std::atomic<bool> cancelled_ = false;
  std::atomic<std::int64_t> bytes_ = 0;
  std::mutex callbacks_;
  std::vector<Json> notes_;
};

}  // namespace

Comparison CompareRows(const db::Endpoint& left, const db::Endpoint& right,
                       const CompareOptions& options) {
  return Comparer(left, right, options).Run();
}

}  // namespace understudy::harness
