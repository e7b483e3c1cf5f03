// SQLite through SQLiteCpp, with the C interface where SQLiteCpp has no word for it (storage
// classes, NUL inside text, interrupt, autocommit).
#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <list>
#include <map>
#include <thread>

#include "engine/base/error.h"
#include "engine/db/session.h"
#include "engine/db/sqlite_functions.h"

namespace understudy::db::internal {
namespace {

constexpr int kDefaultBusyMs = 5000;
constexpr std::chrono::microseconds kInsistentPause{100};
constexpr std::size_t kKeptStatements = 200;
constexpr int kAskSeldom = 10000;
constexpr int kAskOften = 100;  // some rows

class SqliteSession final : public Session {
 public:
  SqliteSession(const Endpoint& endpoint, const SessionOptions& options) {
    const auto& file = endpoint.file();
    std::error_code ignored;
    if (!options.create && !std::filesystem::exists(file, ignored)) {
      throw Error(ErrorKind::kUnavailable, "no such SQLite file: " + file.string(), "CANTOPEN");
    }
    int flags = options.read_only ? SQLite::OPEN_READONLY : SQLite::OPEN_READWRITE;
    if (options.create) flags |= SQLite::OPEN_CREATE;
    const int busy_ms = options.lock_timeout.count() > 0
                            ? static_cast<int>(options.lock_timeout.count())
                            : kDefaultBusyMs;
    try {
      database_ = std::make_unique<SQLite::Database>(file.string(), flags, busy_ms);
      if (options.insistent) {
        insistent_for_ = std::chrono::milliseconds(busy_ms);
        sqlite3_busy_handler(
            database_->getHandle(),
            [](void* data, int times) {
              auto* self = static_cast<SqliteSession*>(data);
              const auto now = std::chrono::steady_clock::now();
              if (times == 0) self->waiting_since_ = now;
              if (now - self->waiting_since_ >= self->insistent_for_) return 0;
              std::this_thread::sleep_for(kInsistentPause);
              return 1;
            },
            this);
      }
      database_->exec(options.foreign_keys ? "PRAGMA foreign_keys = ON"
                                           : "PRAGMA foreign_keys = OFF");
      // The file is only looked at with the first read; a file that is no database fails here.
      SQLite::Statement(*database_, "SELECT count(*) FROM sqlite_schema").executeStep();
    } catch (const SQLite::Exception& e) {
      Error error = Translated(e);
      if (e.getErrorCode() == SQLITE_NOTADB) {
        throw Error(ErrorKind::kInvalidSpec, "not an SQLite database: " + file.string(), "NOTADB");
      }
      throw error.AddFrame("open " + file.string());
    }
    sqlite3_extended_result_codes(database_->getHandle(), 1);
    RegisterSqliteFunctions(database_->getHandle());
    facts_.engine = Engine::kSqlite;
    facts_.version = sqlite3_libversion_number();
    facts_.version_text = sqlite3_libversion();
    statement_timeout_ = options.statement_timeout;
    AskEvery(statement_timeout_.count() > 0 ? kAskSeldom : 0);
  }

  Result Query(std::string_view sql, const Params& params) override {
    return Guard([&] {
      Result result;
      SQLite::Statement& statement = Prepared(sql);
      Bind(statement, params);
      for (int i = 0; i < statement.getColumnCount(); ++i) {
        result.columns.push_back({statement.getColumnName(i), 0});
      }
      const std::int64_t before = sqlite3_total_changes64(database_->getHandle());
      while (statement.executeStep()) result.rows.push_back(ReadRow(statement));
      // total_changes tells a write from a read; changes leaves out what triggers and cascades did.
      const bool wrote = sqlite3_total_changes64(database_->getHandle()) != before;
      result.affected = wrote ? sqlite3_changes64(database_->getHandle())
                              : static_cast<std::int64_t>(result.rows.size());
      statement.reset();
      return result;
    });
  }

  Result QueryPrepared(std::string_view sql, const Params& params) override {
    return Query(sql, params);
  }

  void Execute(std::string_view sql) override {
    Guard([&] {
      database_->exec(std::string(sql));
      return 0;
    });
  }

  void ForEachRow(std::string_view sql, const Params& params,
                  const std::function<void(const Row&)>& take) override {
    Guard([&] {
      SQLite::Statement statement(*database_, std::string(sql));
      Bind(statement, params);
      while (statement.executeStep()) take(ReadRow(statement));
      return 0;
    });
  }

  void Begin(Isolation /*isolation*/, bool /*read_only*/, bool immediate) override {
    Execute(immediate ? "BEGIN IMMEDIATE" : "BEGIN");
  }
  void Commit() override { Execute("COMMIT"); }
  void Rollback() noexcept override {
    try {
      if (InTransaction()) Execute("ROLLBACK");
    } catch (const std::exception&) {  // SQLite has rolled back by itself
    }
  }
  bool InTransaction() const override {
    return sqlite3_get_autocommit(database_->getHandle()) == 0;
  }

  void Cancel() noexcept override { sqlite3_interrupt(database_->getHandle()); }
  void StopWhen(std::function<bool()> stop) override {
    stop_ = std::move(stop);
    AskEvery(stop_ ? kAskOften : statement_timeout_.count() > 0 ? kAskSeldom : 0);
  }
  std::int64_t PagesRead() override {
    int pages = 0;
    int most = 0;
    sqlite3_db_status(database_->getHandle(), SQLITE_DBSTATUS_CACHE_MISS, &pages, &most, 0);
    return pages;
  }
  const ServerFacts& Server() const override { return facts_; }
  int BackendPid() const override { return 0; }
  std::vector<std::string> TakeNotices() override { return {}; }

 private:
  static Error Translated(const SQLite::Exception& e) {
    const int extended =
        e.getExtendedErrorCode() != 0 ? e.getExtendedErrorCode() : e.getErrorCode();
    const std::string code = std::to_string(extended);
    switch (extended & 0xff) {
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        return Error(ErrorKind::kConflict, e.what(), code);
      case SQLITE_INTERRUPT:
        return Error(ErrorKind::kCancelled, e.what(), code);
      case SQLITE_FULL:
        return Error(ErrorKind::kEnvironment, std::string(e.what()), "ENOSPC");
      case SQLITE_CANTOPEN:
      case SQLITE_IOERR:
        return Error(ErrorKind::kUnavailable, e.what(), code);
      default:
        return Error(ErrorKind::kConstraint, e.what(), code);
    }
  }

  template <typename Work>
  auto Guard(Work work) -> decltype(work()) {
    deadline_ = std::chrono::steady_clock::now() + statement_timeout_;
    try {
      return work();
    } catch (const SQLite::Exception& e) {
      kept_.clear();  // a statement that failed half-way must not hold its lock
      throw Translated(e);
    }
  }

  bool MustStop() const {
    const bool late =
        statement_timeout_.count() > 0 && std::chrono::steady_clock::now() > deadline_;
    return late || (stop_ && stop_());
  }

  // After so many operations of SQLite's machine; 0 = never.
  void AskEvery(int operations) {
    sqlite3_progress_handler(
        database_->getHandle(), operations,
        [](void* self) { return static_cast<SqliteSession*>(self)->MustStop() ? 1 : 0; }, this);
  }

  // Statements are kept by their text, the first ones kept are the first to go.
  SQLite::Statement& Prepared(std::string_view sql) {
    if (const auto it = kept_.find(sql); it != kept_.end()) {
      it->second->reset();
      it->second->clearBindings();
      return *it->second;
    }
    if (kept_.size() >= kKeptStatements) kept_.clear();
    auto statement = std::make_unique<SQLite::Statement>(*database_, std::string(sql));
    return *kept_.emplace(std::string(sql), std::move(statement)).first->second;
  }

  static void Bind(SQLite::Statement& statement, const Params& params) {
    int number = 0;
    for (const Value& value : params) {
      ++number;
      // $1 is a name to SQLite, numbered by its first appearance: bind it by that name, so that
      // one text with $1, $2 serves both engines.
      const int named = statement.getIndex(("$" + std::to_string(number)).c_str());
      const int index = named > 0 ? named : number;
      switch (value.storage) {
        case Storage::kNull:
          statement.bind(index);
          break;
        case Storage::kInteger:
          statement.bind(index, value.AsInteger());
          break;
        case Storage::kReal:
          statement.bind(index, value.text == "Infinity"    ? HUGE_VAL
                                : value.text == "-Infinity" ? -HUGE_VAL
                                                            : value.AsReal());
          break;
        case Storage::kText:
          statement.bind(index, value.text);
          break;
        case Storage::kBlob:
          if (value.text.empty()) {  // a null pointer would bind NULL
            statement.bind(index, "", 0);
          } else {
            statement.bind(index, static_cast<const void*>(value.text.data()),
                           static_cast<int>(value.text.size()));
          }
          break;
      }
    }
  }

  static Row ReadRow(SQLite::Statement& statement) {
    const int columns = statement.getColumnCount();
    Row row;
    row.reserve(static_cast<std::size_t>(columns));
    for (int i = 0; i < columns; ++i) {
      const SQLite::Column column = statement.getColumn(i);
      switch (column.getType()) {
        case SQLITE_NULL:
          row.push_back(Value::Null());
          break;
        case SQLITE_INTEGER:
          row.push_back(Value::Integer(column.getInt64()));
          break;
        case SQLITE_FLOAT:
          row.push_back(Value::Real(column.getDouble()));
          break;
        case SQLITE_TEXT:  // getString goes by the length in bytes: text may hold a NUL
          row.push_back(Value::Text(column.getString()));
          break;
        default:
          row.push_back(Value::Blob(column.getString()));
      }
    }
    return row;
  }

  std::unique_ptr<SQLite::Database> database_;
  ServerFacts facts_;
  std::map<std::string, std::unique_ptr<SQLite::Statement>, std::less<>> kept_;
  std::chrono::milliseconds statement_timeout_{0};
  std::function<bool()> stop_;
  std::chrono::milliseconds insistent_for_{0};
  std::chrono::steady_clock::time_point waiting_since_;
  std::chrono::steady_clock::time_point deadline_;
};

}  // namespace

std::unique_ptr<Session> ConnectSqlite(const Endpoint& endpoint, const SessionOptions& options) {
  return std::make_unique<SqliteSession>(endpoint, options);
}

}  // namespace understudy::db::internal
