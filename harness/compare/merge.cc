#include "harness/compare/merge.h"

#include "harness/compare/row_stream.h"

namespace understudy::harness {
namespace {

int Sign(int number) { return number < 0 ? -1 : (number > 0 ? 1 : 0); }

int CompareSorted(const std::vector<TableSql::SortColumn>& columns, const db::Row& a,
                  const db::Row& b) {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    int order = 0;
    if (columns[i].integer) {
      const std::int64_t left = a[i].AsInteger();
      const std::int64_t right = b[i].AsInteger();
      order = left < right ? -1 : (left > right ? 1 : 0);
    } else {
      order = Sign(a[i].text.compare(b[i].text));
    }
    if (order != 0) return order;
  }
  return 0;
}

class Merge {
 public:
  Merge(const TablePair& pair, const TableSql& sql, RowStream& left, RowStream& right,
        Differences& differences, const std::function<void()>& ask)
      : pair_(pair),
        sort_(sql.sort_columns()),
        key_at_(sql.key_at()),
        at_(sql.columns_at()),
        left_(left),
        right_(right),
        differences_(differences),
        ask_(ask) {}

  void Keyed() {
    const db::Row* a = left_.Next();
    const db::Row* b = right_.Next();
    while (a != nullptr || b != nullptr) {
      Ask();
      const int order = Order(a, b);
      if (order < 0) {
        differences_.OneSided(true, Key(*a), a->data() + at_);
      } else if (order > 0) {
        differences_.OneSided(false, Key(*b), b->data() + at_);
      } else {
        Same(*a, *b);
      }
      if (order <= 0) a = left_.Next();
      if (order >= 0) b = right_.Next();
    }
  }

  // Rows that are the same stand together: only how many there are can differ.
  void Multiset() {
    const db::Row* a = left_.Next();
    const db::Row* b = right_.Next();
    while (a != nullptr || b != nullptr) {
      const int order = Order(a, b);
      const db::Row row = order <= 0 ? *a : *b;
      const auto count = [&](RowStream& stream, const db::Row*& next) {
        std::int64_t copies = 0;
        for (; next != nullptr && CompareSorted(sort_, *next, row) == 0; next = stream.Next()) {
          Ask();
          ++copies;
        }
        return copies;
      };
      const std::int64_t left = order <= 0 ? count(left_, a) : 0;
      const std::int64_t right = order >= 0 ? count(right_, b) : 0;
      differences_.Copies(row.data() + at_, order <= 0, left, right);
    }
  }

 private:
  int Order(const db::Row* a, const db::Row* b) const {
    if (a == nullptr) return 1;
    if (b == nullptr) return -1;
    return CompareSorted(sort_, *a, *b);
  }

  db::Row Key(const db::Row& row) const {
    const auto from = row.begin() + static_cast<std::ptrdiff_t>(key_at_);
    return {from, from + static_cast<std::ptrdiff_t>(pair_.key.size())};
  }

  void Same(const db::Row& a, const db::Row& b) {
    std::vector<bool> differs(pair_.columns.size());
    bool any = false;
    for (std::size_t i = 0; i < differs.size(); ++i) {
      const db::Value& left = a[at_ + i];
      const db::Value& right = b[at_ + i];
      differs[i] = left != right || (!left.is_null() && !pair_.columns[i].same_category());
      any = any || differs[i];
    }
    if (any) differences_.Changed(Key(a), a.data() + at_, b.data() + at_, differs);
  }

  void Ask() {
    if (++rows_ % 1024 == 0) ask_();
  }

  const TablePair& pair_;
  const std::vector<TableSql::SortColumn>& sort_;
  std::size_t key_at_;
  std::size_t at_;
  RowStream& left_;
  RowStream& right_;
  Differences& differences_;
  const std::function<void()>& ask_;
  std::int64_t rows_ = 0;
};

}  // namespace

void MergeRows(const TablePair& pair, db::Session& left, const TableSql& left_sql,
               db::Session& right, const TableSql& right_sql, int shift,
               const std::vector<std::int64_t>& buckets, Differences& differences,
               const std::function<void()>& ask) {
  RowStream left_rows(left, left_sql.Rows(shift, buckets));
  RowStream right_rows(right, right_sql.Rows(shift, buckets));
  Merge merge(pair, left_sql, left_rows, right_rows, differences, ask);
  pair.key.empty() ? merge.Multiset() : merge.Keyed();
}

}  // namespace understudy::harness
