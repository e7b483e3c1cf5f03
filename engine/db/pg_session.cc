// PostgreSQL through libpqxx. Every statement goes through a nontransaction of its own, and BEGIN
// and COMMIT are plain SQL: so that a user's script may hold its own, so that CONCURRENTLY works,
// and so that the fate of a COMMIT is judged here, in one place, on every version of libpqxx.
#include <pqxx/pqxx>

#include <map>
#include <mutex>
#include <tuple>

#include "engine/base/error.h"
#include "engine/base/redact.h"
#include "engine/db/identifier.h"
#include "engine/db/pg_internal.h"
#include "engine/db/pooler.h"
#include "engine/db/session.h"

namespace understudy::db::internal {
namespace {

// A cursor's batch: as many rows as fit these bytes, so that wide rows cost no more memory.
constexpr std::size_t kFetchBytes = 2U << 20U;
constexpr std::size_t kFetchRowsAtMost = 4000;
constexpr std::size_t kFirstFetchRows = 100;

std::string Trimmed(std::string text) { return TrimmedMessage(std::move(text)); }

// libpqxx 6 keeps no SQLSTATE for some classes; the server's text gives the rest away.
std::string StateOfText(std::string_view text) {
  const auto has = [&](std::string_view part) { return text.find(part) != std::string_view::npos; };
  if (has("permission denied") || has("must be owner") || has("must be superuser")) return "42501";
  if (has("too many clients") || has("remaining connection slots")) return "53300";
  return "";
}

// libpqxx gives no PGconn away, and COPY in the session's own transaction needs one: 6.x shows it
// to its connection policy, 7.8 and later take one that we opened.
#if PQXX_VERSION_MAJOR < 7
class RememberingPolicy : public pqxx::connect_direct {
 public:
  using pqxx::connect_direct::connect_direct;
  handle do_startconnect(handle before) override {
    const handle made = pqxx::connect_direct::do_startconnect(before);
    last = reinterpret_cast<PGconn*>(made);
    return made;
  }
  static thread_local PGconn* last;
};
thread_local PGconn* RememberingPolicy::last = nullptr;
using Connection = pqxx::basic_connection_base<RememberingPolicy>;

std::pair<std::unique_ptr<Connection>, PGconn*> Open(const std::string& conninfo) {
  auto connection = std::make_unique<Connection>(conninfo);
  return {std::move(connection), RememberingPolicy::last};
}
#elif PQXX_VERSION_MAJOR > 7 || PQXX_VERSION_MINOR >= 8
using Connection = pqxx::connection;

std::pair<std::unique_ptr<Connection>, PGconn*> Open(const std::string& conninfo) {
  PGconn* raw = PQconnectdb(conninfo.c_str());
  if (PQstatus(raw) != CONNECTION_OK) {
    const std::string why = PQerrorMessage(raw);
    PQfinish(raw);
    throw pqxx::broken_connection(why);
  }
  using Handle = pqxx::internal::pq::PGconn*;
  return {
      std::make_unique<Connection>(Connection::seize_raw_connection(reinterpret_cast<Handle>(raw))),
      raw};
}
#else
using Connection = pqxx::connection;

std::pair<std::unique_ptr<Connection>, PGconn*> Open(const std::string& conninfo) {
  return {std::make_unique<Connection>(conninfo), nullptr};
}
#endif

class Notices : public pqxx::errorhandler {
 public:
  explicit Notices(Connection& connection) : pqxx::errorhandler(connection) {}
  bool operator()(const char text[]) noexcept override {
    try {
      if (lines_.size() < 200) lines_.push_back(Trimmed(text));
    } catch (...) {  // a notice is not worth a crash
    }
    return false;
  }
  std::vector<std::string> Take() { return std::exchange(lines_, {}); }

 private:
  std::vector<std::string> lines_;
};

#if PQXX_VERSION_MAJOR > 7 || (PQXX_VERSION_MAJOR == 7 && PQXX_VERSION_MINOR >= 10)
#define UNDERSTUDY_PQXX_PARAMS 1
#else
#define UNDERSTUDY_PQXX_PARAMS 0
#endif

class PgSession final : public Session {
 public:
  PgSession(const Endpoint& endpoint, const SessionOptions& options) {
    const Endpoint target = WithSessionKeywords(endpoint, options);
    try {
      std::tie(connection_, raw_) = Open(target.Conninfo());
#if PQXX_VERSION_MAJOR < 7
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
      connection_->inhibit_reactivation(true);  // never a silent new connection
#pragma GCC diagnostic pop
#endif
    } catch (const std::exception& error) {
      std::string why = Trimmed(error.what());
      throw Error(ErrorKind::kUnavailable, "cannot connect to " + endpoint.Redacted() + ": " + why,
                  "08001");
    }
    notices_ = std::make_unique<Notices>(*connection_);
    facts_.engine = Engine::kPostgres;
    facts_.version = connection_->server_version();
    pid_ = connection_->backendpid();
    RefuseOldServer(endpoint, facts_.version);
    Setup(endpoint, options);
  }

  Result Query(std::string_view sql, const Params& params) override {
    return Translate(sql, [&] { return Convert(Send(sql, params)); });
  }

  void Execute(std::string_view sql) override {
    Translate(sql, [&] {
      Track(sql);
      pqxx::nontransaction tx(*connection_);
      tx.exec(std::string(sql));
      return 0;
    });
  }

  std::int64_t CopyFrom(std::string_view sql, std::string_view data) override {
    if (raw_ == nullptr) return Session::CopyFrom(sql, data);
    PgDriver driver(raw_);
    const std::unique_ptr<PGconn, void (*)(PGconn*)> blocking_again(
        raw_, [](PGconn* connection) { PQsetnonblocking(connection, 0); });
    driver.StartCopyIn(sql);
    driver.PutCopy(data);
    return driver.FinishCopyIn();
  }

  Result QueryPrepared(std::string_view sql, const Params& params) override {
    return Translate(sql, [&] {
      auto it = prepared_.find(sql);
      if (it == prepared_.end()) {
        const std::string name = "u" + std::to_string(prepared_.size() + 1);
        connection_->prepare(name, std::string(sql));
        it = prepared_.emplace(std::string(sql), name).first;
      }
      pqxx::nontransaction tx(*connection_);
      std::vector<std::string> held;
      const std::vector<const char*> texts = ParameterTexts(params, held);
#if UNDERSTUDY_PQXX_PARAMS
      pqxx::params list;
      for (const char* text : texts) text == nullptr ? list.append() : list.append(text);
      return Convert(tx.exec(pqxx::prepped{it->second}, list));
#else
      return Convert(tx.exec_prepared(
          it->second, pqxx::prepare::make_dynamic_params(texts.begin(), texts.end())));
#endif
    });
  }

  void ForEachRow(std::string_view sql, const Params& params,
                  const std::function<void(const Row&)>& take) override {
    const bool own = !InTransaction();
    if (own) Begin(Isolation::kDefault, false, false);
    const std::string cursor = "understudy_cursor_" + std::to_string(++cursors_);
    try {
      Query("DECLARE " + cursor + " NO SCROLL CURSOR FOR " + std::string(sql), params);
      std::size_t rows = kFirstFetchRows;
      for (;;) {
        const Result batch = Query("FETCH " + std::to_string(rows) + " FROM " + cursor, {});
        std::size_t bytes = 0;
        for (const Row& row : batch.rows) {
          for (const Value& value : row) bytes += value.text.size() + sizeof value;
          take(row);
        }
        if (batch.rows.size() < rows) break;
        rows = std::clamp<std::size_t>(kFetchBytes / (bytes / rows + 1), 1, kFetchRowsAtMost);
      }
      Execute("CLOSE " + cursor);
      if (own) Commit();
    } catch (...) {
      if (own) Rollback();
      throw;
    }
  }

  void Begin(Isolation isolation, bool read_only, bool /*immediate*/) override {
    std::string sql = "BEGIN";
    if (isolation == Isolation::kReadCommitted) sql += " ISOLATION LEVEL READ COMMITTED";
    if (isolation == Isolation::kRepeatableRead) sql += " ISOLATION LEVEL REPEATABLE READ";
    if (isolation == Isolation::kSerializable) sql += " ISOLATION LEVEL SERIALIZABLE";
    if (read_only) sql += " READ ONLY";
    Execute(sql);
  }

  void Commit() override { Execute("COMMIT"); }

  void Rollback() noexcept override {
    try {
      if (connection_->is_open()) Execute("ROLLBACK");
    } catch (const std::exception&) {  // the server ends it with the connection
    }
    in_transaction_ = false;
  }

  bool InTransaction() const override { return in_transaction_; }

  void Cancel() noexcept override {
    try {
      const std::lock_guard lock(cancel_mutex_);
      connection_->cancel_query();
    } catch (const std::exception&) {  // nothing runs any more
    }
  }

  const ServerFacts& Server() const override { return facts_; }
  int BackendPid() const override { return pid_; }
  std::vector<std::string> TakeNotices() override { return notices_->Take(); }

 private:
  void Setup(const Endpoint& endpoint, const SessionOptions& options) {
    const std::string sql = SetupSql(options);
    if (options.settings == Settings::kOurs) RefuseSharedSession(endpoint);
    if (!sql.empty()) Execute(sql);
    facts_.version_text = Query("SHOW server_version", {}).rows[0][0].text;
    if (const auto space = facts_.version_text.find(' '); space != std::string::npos) {
      facts_.version_text.resize(space);  // "15.18 (Debian …)"
    }
  }

  // What SetupSql says would be said to other clients' sessions: search_path above all.
  void RefuseSharedSession(const Endpoint& endpoint) {
    const auto pid = Query("SELECT pg_catalog.pg_backend_pid()", {}).rows.at(0)[0].AsInteger();
    if (pid == pid_ || FindPooler(endpoint) != Pooler::kSharedSession) return;
    throw Error(ErrorKind::kUnsupported,
                "the connection to " + endpoint.Redacted() +
                    " goes through a pooler in transaction mode (PgBouncer): locks and settings of "
                    "a session do not hold there, and would reach other clients. Connect to the "
                    "server itself, or by a pool in session mode",
                "pooler");
  }

  pqxx::result Send(std::string_view sql, const Params& params) {
    Track(sql);
    pqxx::nontransaction tx(*connection_);
    if (params.empty()) return tx.exec(std::string(sql));
    std::vector<std::string> held;
    const std::vector<const char*> texts = ParameterTexts(params, held);
#if UNDERSTUDY_PQXX_PARAMS
    pqxx::params list;
    for (const char* text : texts) text == nullptr ? list.append() : list.append(text);
    return tx.exec(std::string(sql), list);
#else
    return tx.exec_params(std::string(sql),
                          pqxx::prepare::make_dynamic_params(texts.begin(), texts.end()));
#endif
  }

  static Result Convert(const pqxx::result& from) {
    Result to;
    const auto columns = from.columns();
    for (pqxx::row::size_type i = 0; i < columns; ++i) {
      to.columns.push_back({from.column_name(i), static_cast<std::uint32_t>(from.column_type(i))});
    }
    to.rows.reserve(static_cast<std::size_t>(from.size()));
    for (const auto& row : from) {
      Row& out = to.rows.emplace_back();
      out.reserve(to.columns.size());
      for (pqxx::row::size_type i = 0; i < columns; ++i) {
        const auto field = row[i];
        out.push_back(
            field.is_null()
                ? Value::Null()
                : Value::Text(std::string(field.c_str(), static_cast<std::size_t>(field.size()))));
      }
    }
    to.affected = static_cast<std::int64_t>(from.affected_rows());
    return to;
  }

  // What the statement that is about to be sent does to the transaction, by its first word. A
  // failed statement leaves the state as it was, but for COMMIT, which ends it in any case.
  void Track(std::string_view sql) { sending_ = FirstWord(sql); }

  static std::string FirstWord(std::string_view sql) {
    std::size_t i = 0;
    for (;;) {  // blanks and comments
      while (i < sql.size() && std::isspace(static_cast<unsigned char>(sql[i])) != 0) ++i;
      if (sql.substr(i, 2) == "--") {
        i = std::min(sql.find('\n', i), sql.size());
      } else if (sql.substr(i, 2) == "/*") {
        const auto end = sql.find("*/", i);
        i = end == std::string_view::npos ? sql.size() : end + 2;
      } else {
        break;
      }
    }
    std::string word;
    for (; i < sql.size() && std::isalpha(static_cast<unsigned char>(sql[i])) != 0; ++i) {
      word += static_cast<char>(std::toupper(static_cast<unsigned char>(sql[i])));
    }
    if (word == "ROLLBACK") {  // ROLLBACK TO SAVEPOINT, ROLLBACK PREPARED
      std::string rest(sql.substr(i));
      for (char& c : rest) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      if (rest.find("TO ") != std::string::npos) return "SAVEPOINT";
    }
    return word;
  }

  void Ended(bool ok) {
    if (sending_ == "BEGIN" || sending_ == "START") {
      if (ok) in_transaction_ = true;
    } else if (sending_ == "COMMIT" || sending_ == "END" || sending_ == "ROLLBACK" ||
               sending_ == "ABORT") {
      in_transaction_ = false;
    } else if (sending_ == "PREPARE" && ok && in_transaction_) {
      // PREPARE TRANSACTION ends it, PREPARE name AS does not: ask.
      in_transaction_ = false;
      pqxx::nontransaction tx(*connection_);
      in_transaction_ = tx.exec("SELECT now() <> statement_timestamp()")[0][0].template as<bool>();
    }
    sending_.clear();
  }

  template <typename Work>
  auto Translate(std::string_view sql, Work work) -> decltype(work()) {
    try {
      auto result = work();
      Ended(true);
      return result;
    } catch (const Error&) {
      sending_.clear();
      throw;
    } catch (const std::exception& error) {
      const bool was_commit = sending_ == "COMMIT" || sending_ == "END";
      Error translated = TranslateException(was_commit);
      Ended(false);
      (void)error;
      (void)sql;
      throw translated;
    }
  }

  // REQUIRES: called inside a catch block. The order matters, see docs/libpqxx.md.
  Error TranslateException(bool was_commit) {
    const auto lost = [&](std::string text) {
      if (was_commit) {
        return Error(ErrorKind::kAmbiguous,
                     "the connection was lost while COMMIT was under way: it may have happened or "
                     "not: " +
                         Trimmed(std::move(text)),
                     "40003");
      }
      return Error(ErrorKind::kUnavailable, "the connection was lost: " + Trimmed(std::move(text)),
                   "08006");
    };
    try {
      throw;
    } catch (const pqxx::serialization_failure& e) {
      return Error(ErrorKind::kConflict, Trimmed(e.what()), "40001");
    } catch (const pqxx::deadlock_detected& e) {
      return Error(ErrorKind::kConflict, Trimmed(e.what()), "40P01");
    } catch (const pqxx::statement_completion_unknown& e) {
      return Error(ErrorKind::kAmbiguous, Trimmed(e.what()), "40003");
    } catch (const pqxx::transaction_rollback& e) {
      return Error(ErrorKind::kConflict, Trimmed(e.what()), "40000");
    } catch (const pqxx::in_doubt_error& e) {
      return Error(ErrorKind::kAmbiguous, Trimmed(e.what()), "40003");
    } catch (const pqxx::broken_connection& e) {
      const std::string state = StateOfText(e.what());
      if (!state.empty()) return Error(KindOfState(state), Trimmed(e.what()), state);
      return lost(e.what());
    } catch (const pqxx::insufficient_privilege& e) {  // libpqxx 6 gives it no SQLSTATE
      if (!connection_->is_open()) return lost(e.what());
      return Error(KindOfState("42501"), Trimmed(e.what()), "42501");
    } catch (const pqxx::sql_error& e) {
      std::string state(e.sqlstate());
      if (!connection_->is_open()) return lost(e.what());
      if (state.empty()) state = StateOfText(e.what());
      if (state.empty()) return lost(e.what());
      return Error(KindOfState(state), Trimmed(e.what()), state);
    } catch (const std::exception& e) {
      if (!connection_->is_open()) return lost(e.what());
      return Error(ErrorKind::kInternal, Trimmed(e.what()));
    }
  }

  std::unique_ptr<Connection> connection_;
  PGconn* raw_ = nullptr;             // the one inside connection_
  std::unique_ptr<Notices> notices_;  // destroyed before the connection
  ServerFacts facts_;
  int pid_ = 0;
  bool in_transaction_ = false;
  std::string sending_;
  int cursors_ = 0;
  std::map<std::string, std::string, std::less<>> prepared_;
  std::mutex cancel_mutex_;
};

}  // namespace

std::unique_ptr<Session> ConnectPostgres(const Endpoint& endpoint, const SessionOptions& options) {
  return std::make_unique<PgSession>(endpoint, options);
}

}  // namespace understudy::db::internal
