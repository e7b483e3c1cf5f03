#include "harness/compare/row_stream.h"

#include "engine/base/error.h"

namespace understudy::harness {
namespace {

constexpr std::size_t kBatchRows = 500;
constexpr std::size_t kBatchBytes = 1U << 20U;
constexpr std::size_t kBatchesAhead = 4;

}  // namespace

RowStream::RowStream(db::Session& session, std::string sql)
    : reader_([this, &session, text = std::move(sql)] { Read(session, text); }) {}

RowStream::~RowStream() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

bool RowStream::Push(std::vector<db::Row>& batch) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || ready_.size() < kBatchesAhead; });
  if (closed_) return false;
  ready_.push_back(std::move(batch));
  batch.clear();
  changed_.notify_all();
  return true;
}

void RowStream::Read(db::Session& session, const std::string& sql) {
  std::vector<db::Row> batch;
  std::size_t bytes = 0;
  std::exception_ptr failure;
  try {
    session.ForEachRow(sql, {}, [&](const db::Row& row) {
      for (const db::Value& value : row) bytes += value.text.size();
      batch.push_back(row);
      if (batch.size() < kBatchRows && bytes < kBatchBytes) return;
      bytes = 0;
      if (!Push(batch)) throw Error(ErrorKind::kCancelled, "nobody reads the rows any more");
    });
    Push(batch);
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  failure_ = failure;
  done_ = true;
  changed_.notify_all();
}

const db::Row* RowStream::Next() {
  if (at_ < current_.size()) return &current_[at_++];
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !ready_.empty() || done_; });
    if (ready_.empty()) {
      if (failure_) std::rethrow_exception(failure_);
      return nullptr;
    }
    current_ = std::move(ready_.front());
    ready_.pop_front();
    changed_.notify_all();
    at_ = 0;
    if (!current_.empty()) return &current_[at_++];
  }
}

}  // namespace understudy::harness
