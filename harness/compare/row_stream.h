#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/db/session.h"

namespace understudy::harness {

// The rows of a query, pulled one by one while a thread of its own reads ahead by a few batches,
// bounded in rows and bytes. The session belongs to the stream as long as it lives.
class RowStream {
 public:
  RowStream(db::Session& session, std::string sql);
  ~RowStream();  // ends the query where it is
  RowStream(const RowStream&) = delete;
  RowStream& operator=(const RowStream&) = delete;

  // The next row, valid until the next call; null at the end. Throws what the query threw.
  const db::Row* Next();

 private:
  void Read(db::Session& session, const std::string& sql);
  bool Push(std::vector<db::Row>& batch);  // false: nobody wants more

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<db::Row>> ready_;
  bool closed_ = false;
  bool done_ = false;
  std::exception_ptr failure_;
  std::vector<db::Row> current_;
  std::size_t at_ = 0;
  std::jthread reader_;
};

}  // namespace understudy::harness
