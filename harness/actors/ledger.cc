// One commit per pending line: that is what has to be in the kernel's hands before the write is
// sent. How a write ended is told with the next commit: a line that never was told so is pending,
// which the judge takes as unknown.
#include <chrono>

#include "engine/base/error.h"
#include "harness/actors/actor.h"
#include "harness/actors/hash.h"

namespace understudy::harness {
namespace {

using db::Value;

constexpr std::size_t kBufferedOperations = 2000;
constexpr auto kLongestWait = std::chrono::seconds(10);

Value TextOrNull(const std::string& text) {
  return text.empty() ? Value::Null() : Value::Text(text);
}
std::string Dump(const Json& json) { return json.is_null() ? "" : ToLine(json); }

// Commits, or leaves no transaction behind.
class Unit {
 public:
  explicit Unit(db::Session& session) : session_(session) { session_.Query("BEGIN"); }
  ~Unit() {
    if (!done_) session_.Rollback();
  }
  Unit(const Unit&) = delete;
  Unit& operator=(const Unit&) = delete;
  void Commit() {
    session_.Query("COMMIT");
    done_ = true;
  }

 private:
  db::Session& session_;
  bool done_ = false;
};

}  // namespace

Ledger::Ledger(EvidenceWriter& evidence)
    : evidence_(evidence), session_(CreateLedger(evidence.folder())) {
  last_id_ = session_->Scalar("SELECT coalesce(max(id), 0) FROM writes").AsInteger();
  transactions_ = session_->Scalar("SELECT coalesce(max(txn), 0) FROM writes").AsInteger();
}

Ledger::~Ledger() {
  try {
    Flush();
  } catch (const std::exception&) {  // the judge sees pending lines
  }
  FinishLedger(*session_);
}

std::int64_t Ledger::Pending(const Write& write) {
  const std::lock_guard lock(mutex_);
  const std::int64_t id = ++last_id_;
  const double now = evidence_.NowMs();
  Unit unit(*session_);
  WriteSettled();
  session_->Query(
      "INSERT INTO writes(id, client, txn, database, operation, table_name, key, row, state,"
      " started_ms, key_after, hot) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,'pending',?9,?10,?11)",
      {Value::Integer(id), Value::Text(write.client), Value::Integer(write.txn),
       Value::Text(write.database), Value::Text(write.operation), Value::Text(write.table),
       TextOrNull(Dump(write.key)), TextOrNull(Dump(write.row)), Value::Real(now),
       TextOrNull(Dump(write.key_after)), Value::Integer(write.hot ? 1 : 0)});
  unit.Commit();
  if (write.key.is_null()) keyless_.insert(id);
  return id;
}

void Ledger::Settle(std::int64_t id, std::string_view state, const Json& row,
                    std::string_view sqlstate, std::string_view message, const Json& counter,
                    const Json& key) {
  Settled settled{id,
                  std::string(state),
                  Dump(row),
                  std::string(sqlstate),
                  std::string(message),
                  Dump(counter),
                  Dump(key),
                  evidence_.NowMs()};
  const std::lock_guard lock(mutex_);
  settled_.push_back(std::move(settled));
  if (keyless_.erase(id) > 0) settled_one_.notify_all();
}

void Ledger::WriteSettled() {
  for (const Settled& s : settled_) {
    session_->Query(
        "UPDATE writes SET state = ?2, row = coalesce(?3, row), sqlstate = ?4, message = ?5,"
        " counter = ?6, key = coalesce(?7, key), ended_ms = ?8 WHERE id = ?1",
        {Value::Integer(s.id), Value::Text(s.state), TextOrNull(s.row), TextOrNull(s.sqlstate),
         TextOrNull(s.message), TextOrNull(s.counter), TextOrNull(s.key), Value::Real(s.ended_ms)});
  }
  settled_.clear();
}

void Ledger::WriteOperations() {
  for (const Operation& o : operations_) {
    session_->Query(
        "INSERT INTO operations(client, kind, operation, database, statement, started_ms,"
        " duration_ms, outcome, sqlstate, message, expected)"
        " VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
        {Value::Text(o.client), Value::Text(o.kind), Value::Text(o.operation),
         Value::Text(o.database), TextOrNull(o.statement), Value::Real(o.started_ms),
         Value::Real(o.duration_ms), Value::Text(o.outcome), TextOrNull(o.sqlstate),
         TextOrNull(o.message), Value::Integer(o.expected ? 1 : 0)});
  }
  operations_.clear();
}

void Ledger::Did(Operation operation) {
  const std::lock_guard lock(mutex_);
  operations_.push_back(std::move(operation));
  if (operations_.size() < kBufferedOperations) return;
  Unit unit(*session_);
  WriteOperations();
  unit.Commit();
}

void Ledger::Flush() {
  const std::lock_guard lock(mutex_);
  if (settled_.empty() && operations_.empty()) return;
  Unit unit(*session_);
  WriteSettled();
  WriteOperations();
  unit.Commit();
}

bool Ledger::Claim(const std::string& database, const std::string& table, const std::string& key) {
  const std::uint64_t hash = Hash(database + '\0' + table + '\0' + key);
  const std::lock_guard lock(mutex_);
  return claimed_.insert(hash).second;
}

std::mutex& Ledger::TurnOf(const std::string& database) {
  const std::lock_guard lock(mutex_);
  return turns_[database];
}

void Ledger::WaitForKeys() {
  {
    std::unique_lock lock(mutex_);
    const std::int64_t until = last_id_;
    settled_one_.wait_for(lock, kLongestWait,
                          [&] { return keyless_.empty() || *keyless_.begin() > until; });
  }
  Flush();
}

}  // namespace understudy::harness
