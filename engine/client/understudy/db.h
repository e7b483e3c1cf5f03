// understudy/db.h: typed transactions on an SQLite file that Understudy may be migrating.
//
// Needs SQLite 3.35 or later and C++20, nothing else. Include it in an application, or let
// `understudy codegen schema.sql -o db.h` write typed queries on top of it.
//
//   understudy::Database db("school-0123456789abcdef.sqlite");
//   understudy::TaskTxn(db, [](understudy::Txn& txn) {
//     txn.Write("INSERT INTO grades (student_id, mark) VALUES (?, ?)", 7, 1.3);
//   });
//
// What it honours, so that a hot copy loses nothing and nobody writes into a dead file:
//   - while a hot copy records, the writes of one transaction are one group in its log;
//   - while it drains, and ever after on the old file, writing throws `Draining`: nothing was
//     written, ask again (and open the new file once it is ready);
//   - a file that is still being filled throws `Migrating` at everything.
// A Database and its transactions belong to one thread at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace understudy {

using Blob = std::vector<std::uint8_t>;
// What an SQLite value can be; std::monostate is NULL.
using Value = std::variant<std::monostate, std::int64_t, double, std::string, Blob>;

// Anything that SQLite refused, and a value of a type that the schema did not promise.
class DbError : public std::runtime_error {
 public:
  DbError(int code, const std::string& message) : std::runtime_error(message), code_(code) {}
  int code() const { return code_; }  // SQLite's extended result code
  // Nothing was written and the same call may succeed later: Draining, and a database that is busy.
  bool retryable() const { return retryable_ || (code_ & 0xff) == SQLITE_BUSY; }

 protected:
  bool retryable_ = false;

 private:
  int code_;
};

// The file is being drained, or has been replaced: try again, with the file that is ready.
class Draining : public DbError {
 public:
  Draining() : DbError(SQLITE_CONSTRAINT_TRIGGER, "understudy: draining, retry") {
    retryable_ = true;
  }
};

// The file is a migration's new one and is not ready: neither read nor written.
class Migrating : public DbError {
 public:
  explicit Migrating(const std::string& file)
      : DbError(SQLITE_BUSY, "understudy: " + file + " is still migrating; use the old file") {
    retryable_ = true;
  }
};

namespace internal {

[[noreturn]] inline void Throw(sqlite3* db, int code, std::string_view what) {
  const std::string message = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  if (message.find("understudy: draining, retry") != std::string::npos) throw Draining();
  const int extended = db != nullptr ? sqlite3_extended_errcode(db) : code;
  throw DbError(extended, message + " (" + std::string(what) + ")");
}

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

// Value, std::optional, nullopt, bool, integers, double, text and Blob. Memory and range errors of
// a bind show when the statement is run.
template <typename T>
void BindOne(sqlite3_stmt* s, int at, const T& value) {
  if constexpr (std::is_same_v<T, std::nullopt_t> || std::is_same_v<T, std::monostate>) {
    sqlite3_bind_null(s, at);
  } else if constexpr (std::is_same_v<T, Value>) {
    std::visit([&](const auto& v) { BindOne(s, at, v); }, value);
  } else if constexpr (IsOptional<T>::value) {
    if (value) {
      BindOne(s, at, *value);
    } else {
      sqlite3_bind_null(s, at);
    }
  } else if constexpr (std::is_integral_v<T>) {
    sqlite3_bind_int64(s, at, static_cast<sqlite3_int64>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    sqlite3_bind_double(s, at, static_cast<double>(value));
  } else if constexpr (std::is_same_v<T, Blob>) {
    if (value.empty()) {
      sqlite3_bind_zeroblob(s, at, 0);
    } else {
      sqlite3_bind_blob64(s, at, value.data(), value.size(), SQLITE_TRANSIENT);
    }
  } else {
    const std::string_view text(value);
    sqlite3_bind_text64(s, at, text.data() != nullptr ? text.data() : "", text.size(),
                        SQLITE_TRANSIENT, SQLITE_UTF8);
  }
}

// A column of a non-STRICT table may hold anything: what does not fit the promised type is an
// error with the column's name, never a silent conversion.
[[noreturn]] inline void ThrowType(sqlite3_stmt* s, int column, const char* wanted) {
  static constexpr const char* kNames[] = {"?", "INTEGER", "REAL", "TEXT", "BLOB", "NULL"};
  const char* table = nullptr;
#ifdef SQLITE_ENABLE_COLUMN_METADATA
  table = sqlite3_column_table_name(s, column);
#endif
  throw DbError(SQLITE_MISMATCH, std::string(table != nullptr ? table : "") +
                                     (table != nullptr ? "." : "") +
                                     sqlite3_column_name(s, column) + " holds " +
                                     kNames[sqlite3_column_type(s, column)] + ", not " + wanted);
}

template <typename T>
T ReadColumn(sqlite3_stmt* s, int column) {
  const int type = sqlite3_column_type(s, column);
  if constexpr (IsOptional<T>::value) {
    if (type == SQLITE_NULL) return std::nullopt;
    return ReadColumn<typename T::value_type>(s, column);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (type != SQLITE_INTEGER) ThrowType(s, column, "a boolean");
    return sqlite3_column_int64(s, column) != 0;
  } else if constexpr (std::is_integral_v<T>) {
    if (type != SQLITE_INTEGER) ThrowType(s, column, "INTEGER");
    const sqlite3_int64 whole = sqlite3_column_int64(s, column);
    const T narrow = static_cast<T>(whole);
    if (static_cast<sqlite3_int64>(narrow) != whole) ThrowType(s, column, "a number of that size");
    return narrow;
  } else if constexpr (std::is_same_v<T, double>) {
    if (type != SQLITE_FLOAT && type != SQLITE_INTEGER) ThrowType(s, column, "REAL");
    return sqlite3_column_double(s, column);
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (type != SQLITE_TEXT) ThrowType(s, column, "TEXT");
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(s, column));
    return std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(s, column)));
  } else if constexpr (std::is_same_v<T, Blob>) {
    if (type != SQLITE_BLOB) ThrowType(s, column, "BLOB");
    const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(s, column));
    return data == nullptr ? Blob() : Blob(data, data + sqlite3_column_bytes(s, column));
  } else {
    static_assert(std::is_same_v<T, Value>,
                  "a column is read as bool, an integer, double, "
                  "std::string, Blob, Value or std::optional of these");
    switch (type) {
      case SQLITE_INTEGER:
        return Value(ReadColumn<std::int64_t>(s, column));
      case SQLITE_FLOAT:
        return Value(ReadColumn<double>(s, column));
      case SQLITE_TEXT:
        return Value(ReadColumn<std::string>(s, column));
      case SQLITE_BLOB:
        return Value(ReadColumn<Blob>(s, column));
      default:
        return Value();
    }
  }
}

}  // namespace internal

class Txn;

// One connection to one SQLite file.
class Database {
 public:
  struct Options {
    int busy_timeout_ms = 5000;
    bool foreign_keys = true;
    bool create = false;
  };

  explicit Database(const std::string& file) : Database(file, Options()) {}
  Database(const std::string& file, const Options& options) : file_(file) {
    const int flags = SQLITE_OPEN_READWRITE | (options.create ? SQLITE_OPEN_CREATE : 0);
    const int code = sqlite3_open_v2(file.c_str(), &db_, flags, nullptr);
    if (code != SQLITE_OK) {
      const std::string why = db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
      sqlite3_close(db_);
      throw DbError(code, file + ": " + why);
    }
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_busy_timeout(db_, options.busy_timeout_ms);
    if (options.foreign_keys) Execute("PRAGMA foreign_keys = ON");
  }
  ~Database() {
    for (auto& entry : statements_) sqlite3_finalize(entry.second);
    sqlite3_close(db_);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  sqlite3* handle() const { return db_; }
  const std::string& file() const { return file_; }

  // SQL without parameters or rows, outside of any transaction type: for pragmas.
  void Execute(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
      internal::Throw(db_, sqlite3_errcode(db_), sql);
    }
  }

 private:
  friend class Txn;
  // A statement while it is run. It is kept prepared for as long as the connection lives; where the
  // kept one is under way (the same SQL inside a ForEach of it), another one is made.
  class Running {
   public:
    Running(Database& db, std::string_view sql) {
      const auto found = db.statements_.find(std::string(sql));
      if (found != db.statements_.end() && sqlite3_stmt_busy(found->second) == 0) {
        statement_ = found->second;
        return;
      }
      const int code = sqlite3_prepare_v3(db.db_, sql.data(), static_cast<int>(sql.size()),
                                          SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
      if (code != SQLITE_OK) internal::Throw(db.db_, code, sql);
      kept_ = db.statements_.emplace(sql, statement_).second;
    }
    ~Running() {
      if (kept_) {
        sqlite3_reset(statement_);
        sqlite3_clear_bindings(statement_);
      } else {
        sqlite3_finalize(statement_);
      }
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    sqlite3_stmt* get() const { return statement_; }

   private:
    sqlite3_stmt* statement_ = nullptr;
    bool kept_ = true;
  };

  std::string file_;
  sqlite3* db_ = nullptr;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

// A transaction. Made by TaskTxn and ReadTxn; reads see one state, writes are all there or none.
class Txn {
 public:
  Txn(const Txn&) = delete;
  Txn& operator=(const Txn&) = delete;

  // Rows of a SELECT, as tuples: Query<std::int64_t, std::string>("SELECT id, name FROM …", …).
  template <typename... Columns, typename... Arguments>
  std::vector<std::tuple<Columns...>> Query(std::string_view sql, const Arguments&... arguments) {
    std::vector<std::tuple<Columns...>> rows;
    ForEach(
        sql,
        [&](sqlite3_stmt* s) {
          rows.push_back(ReadRow<Columns...>(s, std::index_sequence_for<Columns...>()));
        },
        arguments...);
    return rows;
  }

  // Calls `take(statement)` for every row; read columns with Column<T>(statement, n).
  template <typename Take, typename... Arguments>
  void ForEach(std::string_view sql, Take&& take, const Arguments&... arguments) {
    Run(sql, std::forward<Take>(take), arguments...);
  }
  template <typename T>
  static T Column(sqlite3_stmt* statement, int column) {
    return internal::ReadColumn<T>(statement, column);
  }

  // An INSERT, UPDATE or DELETE; gives the rows that it changed. Throws Draining, and then nothing
  // of this transaction is kept.
  template <typename... Arguments>
  int Write(std::string_view sql, const Arguments&... arguments) {
    AllowWrite();
    Run(
        sql, [](sqlite3_stmt*) {}, arguments...);
    return sqlite3_changes(db_.db_);
  }
  // The same with RETURNING: `take` gets the rows.
  template <typename Take, typename... Arguments>
  void WriteReturning(std::string_view sql, Take&& take, const Arguments&... arguments) {
    AllowWrite();
    Run(sql, std::forward<Take>(take), arguments...);
  }
  // The same with a list of values, for statements that are put together at run time.
  int WriteValues(std::string_view sql, const std::vector<Value>& arguments) {
    WriteValues(sql, arguments, [](sqlite3_stmt*) {});
    return sqlite3_changes(db_.db_);
  }
  template <typename Take>
  void WriteValues(std::string_view sql, const std::vector<Value>& arguments, Take&& take) {
    AllowWrite();
    const Database::Running running(db_, sql);
    sqlite3_stmt* s = running.get();
    int at = 0;
    for (const Value& argument : arguments) internal::BindOne(s, ++at, argument);
    Step(s, std::forward<Take>(take));
  }
  std::int64_t LastInsertRowid() const { return sqlite3_last_insert_rowid(db_.db_); }

 private:
  enum class Kind { kRead, kWrite };
  template <typename Work>
  friend auto TaskTxn(Database& db, Work&& work);
  template <typename Work>
  friend auto ReadTxn(Database& db, Work&& work);
  template <typename Work>
  static auto In(Database& db, Kind kind, Work&& work) {
    Txn txn(db, kind);
    if constexpr (std::is_void_v<std::invoke_result_t<Work, Txn&>>) {
      work(txn);
      txn.Commit();
    } else {
      auto result = work(txn);
      txn.Commit();
      return result;
    }
  }
  template <typename... Columns, std::size_t... At>
  static std::tuple<Columns...> ReadRow(sqlite3_stmt* s, std::index_sequence<At...>) {
    return {internal::ReadColumn<Columns>(s, static_cast<int>(At))...};
  }

  Txn(Database& db, Kind kind) : db_(db), kind_(kind) {
    // Asked before BEGIN as well, so that nobody waits for the lock of an engine that copies.
    if (Mark("_migration_status") == "migrating") throw Migrating(db_.file());
    db_.Execute(kind == Kind::kWrite ? "BEGIN IMMEDIATE" : "BEGIN");
    open_ = true;
    try {
      if (Mark("_migration_status") == "migrating") throw Migrating(db_.file());
    } catch (...) {
      sqlite3_exec(db_.db_, "ROLLBACK", nullptr, nullptr, nullptr);
      throw;
    }
  }
  ~Txn() {
    if (open_) sqlite3_exec(db_.db_, "ROLLBACK", nullptr, nullptr, nullptr);
  }

  void Commit() {
    if (grouped_) {
      Run("UPDATE _migration_txn SET txn_id = NULL WHERE id = 0", [](sqlite3_stmt*) {});
    }
    db_.Execute("COMMIT");
    open_ = false;
  }

  // The status in a mark's table; "" where there is no such table or row.
  std::string Mark(const std::string& table) {
    std::string status;
    bool there = false;
    Run(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
        [&](sqlite3_stmt*) { there = true; }, table);
    if (!there) return status;
    Run("SELECT status FROM " + table + " WHERE id = 0",
        [&](sqlite3_stmt* s) { status = internal::ReadColumn<std::string>(s, 0); });
    return status;
  }

  // Before the first write of a transaction. The write lock is held: the mark cannot change.
  void AllowWrite() {
    if (allowed_) return;
    if (kind_ == Kind::kRead) {
      throw DbError(SQLITE_READONLY, "understudy: a write in ReadTxn; use TaskTxn");
    }
    const std::string mark = Mark("_migration_marker");
    if (mark == "draining") throw Draining();
    if (mark == "recording") {
      // Its triggers read the number while the group is open; a rollback closes it as well.
      Run("UPDATE _migration_txn SET txn_id = last_txn_id + 1, last_txn_id = last_txn_id + 1, "
          "first_log_id = coalesce((SELECT max(id) FROM _migration_log), 0) WHERE id = 0",
          [](sqlite3_stmt*) {});
      grouped_ = true;
    }
    allowed_ = true;
  }

  template <typename Take, typename... Arguments>
  void Run(std::string_view sql, Take&& take, const Arguments&... arguments) {
    const Database::Running running(db_, sql);
    sqlite3_stmt* s = running.get();
    [[maybe_unused]] int at = 0;
    (internal::BindOne(s, ++at, arguments), ...);
    Step(s, take);
  }
  template <typename Take>
  void Step(sqlite3_stmt* s, Take&& take) {
    for (;;) {
      const int code = sqlite3_step(s);
      if (code == SQLITE_DONE) return;
      if (code != SQLITE_ROW) internal::Throw(db_.db_, code, sqlite3_sql(s));
      take(s);
    }
  }

  Database& db_;
  Kind kind_;
  bool open_ = false;
  bool allowed_ = false;
  bool grouped_ = false;
};

// An INSERT whose columns are known at run time: what is absent takes the column's default.
class Insert {
 public:
  // `table` quoted as in SQL; `verb`: "INSERT INTO", "INSERT OR IGNORE INTO".
  Insert(std::string_view verb, std::string_view table)
      : head_(std::string(verb) + " " + std::string(table)) {}

  template <typename T>
  void Set(std::string_view column, const T& value) {
    if constexpr (internal::IsOptional<T>::value) {
      if (value) Set(column, *value);
    } else {
      columns_ += (columns_.empty() ? "" : ", ") + std::string(column);
      places_ += places_.empty() ? "?" : ", ?";
      values_.push_back(ToValue(value));
    }
  }
  // Gives the rows inserted: 0 or 1.
  int Run(Txn& txn) const {
    if (columns_.empty()) return txn.WriteValues(head_ + " DEFAULT VALUES", {});
    return txn.WriteValues(head_ + " (" + columns_ + ") VALUES (" + places_ + ")", values_);
  }
  // The same, and `take(statement)` gets these columns of the row as it was inserted.
  template <typename Take>
  void RunReturning(Txn& txn, std::string_view columns, Take&& take) const {
    const std::string returning = " RETURNING " + std::string(columns);
    txn.WriteValues(columns_.empty()
                        ? head_ + " DEFAULT VALUES" + returning
                        : head_ + " (" + columns_ + ") VALUES (" + places_ + ")" + returning,
                    values_, std::forward<Take>(take));
  }

 private:
  template <typename T>
  static Value ToValue(const T& value) {
    if constexpr (std::is_same_v<T, Value> || std::is_same_v<T, Blob> ||
                  std::is_same_v<T, std::string>) {
      return value;
    } else if constexpr (std::is_floating_point_v<T>) {
      return static_cast<double>(value);
    } else if constexpr (std::is_integral_v<T>) {
      return static_cast<std::int64_t>(value);
    } else {
      return std::string(std::string_view(value));
    }
  }

  std::string head_;
  std::string columns_;
  std::string places_;
  std::vector<Value> values_;
};

// Runs `work(txn)` in a transaction that may write, and gives what it gives. Commits when it
// returns; rolls back and throws on when it throws. DbError::retryable(): nothing happened, ask
// again. Other writers wait, within their busy timeout, from its first statement to its commit.
template <typename Work>
auto TaskTxn(Database& db, Work&& work) {
  return Txn::In(db, Txn::Kind::kWrite, std::forward<Work>(work));
}

// The same for reads alone: writers go on meanwhile (in WAL mode), and so does a drain.
template <typename Work>
auto ReadTxn(Database& db, Work&& work) {
  return Txn::In(db, Txn::Kind::kRead, std::forward<Work>(work));
}

}  // namespace understudy
