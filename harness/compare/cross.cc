#include "harness/compare/cross.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/base/error.h"
#include "harness/compare/canonical.h"
#include "harness/compare/differences.h"
#include "harness/compare/side.h"

namespace understudy::harness {
namespace {

constexpr std::size_t kBuckets = 1U << 16U;
constexpr std::int64_t kRowsAtOnce = 50000;

struct Bucket {
  std::int64_t rows = 0;
  std::uint64_t sum = 0;
  bool operator==(const Bucket&) const = default;
};

// One side of the pair.
class Reader {
 public:
  Reader(const TablePair& pair, bool left, db::Session& session)
      : pair_(pair),
        left_(left),
        session_(session),
        postgres_(session.Server().engine == db::Engine::kPostgres) {}

  void ReadAll(std::vector<Bucket>& buckets, const std::function<void()>& ask) {
    Each(ask, [&](const db::Row& row) {
      const std::string key = Key(row);
      Bucket& bucket = buckets[Hash(key) % kBuckets];
      ++bucket.rows;
      bucket.sum += Hash(pair_.key.empty() ? key : Form(row, pair_.key.size(), pair_.columns));
    });
  }

  struct Held {
    db::Row row;
    std::int64_t copies = 0;
  };
  std::map<std::string, Held> Read(const std::set<std::size_t>& wanted,
                                   const std::function<void()>& ask) {
    std::map<std::string, Held> rows;
    Each(ask, [&](const db::Row& row) {
      const std::string key = Key(row);
      if (!wanted.contains(Hash(key) % kBuckets)) return;
      Held& held = rows[key];
      held.row = row;
      ++held.copies;
    });
    return rows;
  }

  std::optional<std::string> Value(const ColumnPair& column, const db::Value& value) const {
    const CompareColumn& type = postgres_ == left_ ? *column.left : *column.right;
    return postgres_ ? CanonicalPostgres(type, value) : CanonicalSqlite(type, value);
  }

  // Values that have no form, by column.
  const std::map<std::string, std::int64_t>& without_form() const { return without_form_; }

 private:
  static std::uint64_t Hash(const std::string& text) { return std::hash<std::string>()(text); }

  void Each(const std::function<void()>& ask, const std::function<void(const db::Row&)>& take) {
    std::string sql;
    const auto add = [&](const ColumnPair& pair) {
      sql += (sql.empty() ? "SELECT t." : ", t.") +
             db::QuoteIdentifier((left_ ? pair.left : pair.right)->name);
    };
    for (const ColumnPair& pair : pair_.key) add(pair);
    for (const ColumnPair& pair : pair_.columns) add(pair);
    if (sql.empty()) sql = "SELECT 1";
    const CompareTable& table = left_ ? *pair_.left : *pair_.right;
    sql += postgres_ && !table.partitioned ? " FROM ONLY " : " FROM ";
    std::int64_t rows = 0;
    without_form_.clear();
    session_.ForEachRow(sql + table.name.Quoted() + " AS t", {}, [&](const db::Row& row) {
      if (++rows % 1024 == 0) ask();
      take(row);
    });
  }

  std::string Key(const db::Row& row) {
    return pair_.key.empty() ? Form(row, 0, pair_.columns) : Form(row, 0, pair_.key);
  }

  // Each value with its length, so that none can pass for two.
  std::string Form(const db::Row& row, std::size_t from, const std::vector<ColumnPair>& columns) {
    std::string form;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto value = Value(columns[i], row[from + i]);
      if (!value) ++without_form_[columns[i].left->name];
      const std::string text = value.value_or("?");
      form += std::to_string(text.size()) + ":" + text;
    }
    return form;
  }

  const TablePair& pair_;
  bool left_;
  db::Session& session_;
  bool postgres_;
  std::map<std::string, std::int64_t> without_form_;
};

// The pair without the columns that have no form; those are named in `missing`.
TablePair Comparable(const TablePair& pair, bool postgres_left, std::string& missing,
                     const std::function<void(Json)>& note) {
  TablePair result = pair;
  result.columns.clear();
  for (const ColumnPair& column : pair.columns) {
    const CompareColumn& type = postgres_left ? *column.left : *column.right;
    const std::string name =
        pair.left->name.Display() + "." + db::DisplayIdentifier(column.left->name);
    if (!HasCanonicalForm(type)) {
      missing += (missing.empty() ? "" : ", ") + db::DisplayIdentifier(column.left->name) + " (" +
                 type.type + ")";
      continue;
    }
    result.columns.push_back(column);
    if (const std::string out = LeftOut(type); !out.empty()) {
      note({{"what", "column:" + name}, {"why", "not compared across engines: " + out}});
    }
  }
  for (const ColumnPair& column : pair.key) {
    if (!HasCanonicalForm(postgres_left ? *column.left : *column.right)) result.key.clear();
    if (result.key.empty()) break;
  }
  return result;
}

}  // namespace

void CompareAcrossEngines(const TablePair& whole, db::Session& left_session,
                          db::Session& right_session, const CompareOptions& options,
                          TableComparison& result, const std::function<void(Json)>& note,
                          const std::function<void()>& ask) {
  const bool postgres_left = left_session.Server().engine == db::Engine::kPostgres;
  std::string missing;
  const TablePair pair = Comparable(whole, postgres_left, missing, note);
  result.compared.clear();
  for (const ColumnPair& column : pair.columns) result.compared.push_back(column.left->name);

  Reader left(pair, true, left_session);
  Reader right(pair, false, right_session);
  std::vector<Bucket> sums[2] = {std::vector<Bucket>(kBuckets), std::vector<Bucket>(kBuckets)};
  InParallel([&] { left.ReadAll(sums[0], ask); }, [&] { right.ReadAll(sums[1], ask); });
  for (const Bucket& bucket : sums[0]) result.left_rows += bucket.rows;
  for (const Bucket& bucket : sums[1]) result.right_rows += bucket.rows;
  std::string unknown;
  if (!missing.empty()) unknown = "no form for both engines: " + missing;
  std::map<std::string, std::int64_t> formless = left.without_form();
  for (const auto& [column, rows] : right.without_form()) formless[column] += rows;
  for (const auto& [column, rows] : formless) {
    unknown += (unknown.empty() ? "" : "; ") + std::to_string(rows) + " values of " +
               db::DisplayIdentifier(column) +
               " are numbers in SQLite where PostgreSQL has a time: their meaning is not known";
  }

  if (pair.key.empty() && !formless.empty()) {  // a row with such a value has no partner to find
    result.why = unknown;
    return;
  }
  Differences differences(pair, !postgres_left, postgres_left, options, result);
  std::size_t at = 0;
  bool cut = false;
  while (at < kBuckets) {
    std::set<std::size_t> wanted;
    std::int64_t rows = 0;
    for (; at < kBuckets && rows < kRowsAtOnce; ++at) {
      if (sums[0][at] == sums[1][at]) continue;
      wanted.insert(at);
      rows += std::max(sums[0][at].rows, sums[1][at].rows);
    }
    if (wanted.empty()) break;
    std::map<std::string, Reader::Held> held[2];
    InParallel([&] { held[0] = left.Read(wanted, ask); },
               [&] { held[1] = right.Read(wanted, ask); });
    std::map<std::string, std::pair<const Reader::Held*, const Reader::Held*>> both;
    for (const auto& [key, row] : held[0]) both[key].first = &row;
    for (const auto& [key, row] : held[1]) both[key].second = &row;
    const std::size_t offset = pair.key.size();
    for (const auto& [form, sides] : both) {
      const auto [a, b] = sides;
      const db::Row& any = a != nullptr ? a->row : b->row;
      const db::Row key(any.begin(), any.begin() + static_cast<std::ptrdiff_t>(offset));
      if (pair.key.empty()) {
        differences.Copies(any.data(), a != nullptr, a != nullptr ? a->copies : 0,
                           b != nullptr ? b->copies : 0);
      } else if (a == nullptr || b == nullptr) {
        differences.OneSided(a != nullptr, key, any.data() + offset);
      } else {
        std::vector<bool> differs(pair.columns.size());
        bool any_differs = false;
        for (std::size_t i = 0; i < differs.size(); ++i) {
          const auto one = left.Value(pair.columns[i], a->row[offset + i]);
          const auto other = right.Value(pair.columns[i], b->row[offset + i]);
          differs[i] = one && other && *one != *other;
          any_differs = any_differs || differs[i];
        }
        if (any_differs) {
          differences.Changed(key, a->row.data() + offset, b->row.data() + offset, differs);
        }
      }
    }
    if (result.missing + result.extra + result.changed > options.most_differences) {
      cut = at < kBuckets;
      break;
    }
  }
  if (result.missing + result.extra + result.changed > 0) {
    result.result = CompareResult::kDifferent;
    if (cut) result.why = "at least so many rows differ: the rest was not counted";
    if (!unknown.empty()) result.why += (result.why.empty() ? "" : "; ") + unknown;
  } else if (!unknown.empty()) {
    result.result = CompareResult::kUnknown;
    result.why = unknown;
  } else {
    result.result = CompareResult::kEqual;
  }
}

}  // namespace understudy::harness
