#include "engine/db/copy.h"

#include <mutex>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "engine/db/pg_internal.h"

namespace understudy::db {
namespace {
constexpr std::size_t kBufferBytes = std::size_t{128} << 10U;
}

struct CopySession::State {
  std::unique_ptr<PGconn, void (*)(PGconn*)> connection{nullptr, PQfinish};
  std::unique_ptr<PGcancel, void (*)(PGcancel*)> cancel{nullptr, PQfreeCancel};
  std::optional<internal::PgDriver> driver;
  ServerFacts facts;
  std::unique_ptr<Session> view;

  internal::PgDriver& Alive() {
    if (driver->broken()) {
      throw Error(ErrorKind::kUnavailable, "this connection was given up after an error", "08006");
    }
    return *driver;
  }
};

CopySession::CopySession(const Endpoint& endpoint, const SessionOptions& options)
    : state_(std::make_unique<State>()) {
  if (endpoint.engine() != Engine::kPostgres) {
    throw Error(ErrorKind::kInternal, "COPY streams are PostgreSQL's: " + endpoint.Redacted());
  }
  state_->connection.reset(
      PQconnectdb(internal::WithSessionKeywords(endpoint, options).Conninfo().c_str()));
  PGconn* connection = state_->connection.get();
  if (PQstatus(connection) != CONNECTION_OK) {
    throw Error(ErrorKind::kUnavailable,
                "cannot connect to " + endpoint.Redacted() + ": " +
                    internal::TrimmedMessage(PQerrorMessage(connection)),
                "08001");
  }
  PQsetNoticeProcessor(
      connection, [](void*, const char*) {}, nullptr);
  state_->cancel.reset(PQgetCancel(connection));
  state_->driver.emplace(connection);
  state_->facts.version = PQserverVersion(connection);
  if (const char* text = PQparameterStatus(connection, "server_version"); text != nullptr) {
    state_->facts.version_text = std::string(text).substr(0, std::string_view(text).find(' '));
  }
  internal::RefuseOldServer(endpoint, state_->facts.version);
  const std::string setup = internal::SetupSql(options);
  if (!setup.empty()) Execute(setup);
}

CopySession::~CopySession() = default;

class CopySession::View : public Session {
 public:
  explicit View(CopySession& session) : session_(session) {}
  Result Query(std::string_view sql, const Params& params) override {
    return session_.Execute(sql, params);
  }
  void Execute(std::string_view sql) override { session_.Execute(sql); }
  void ForEachRow(std::string_view sql, const Params&,
                  const std::function<void(const Row&)>&) override {
    throw Error(ErrorKind::kInternal,
                "a COPY session reads no rows by cursor: " + std::string(sql));
  }
  Result QueryPrepared(std::string_view sql, const Params& params) override {
    return session_.Execute(sql, params);
  }
  void Begin(Isolation isolation, bool read_only, bool) override {
    session_.Begin(isolation, read_only);
  }
  void Commit() override { session_.Commit(); }
  void Rollback() noexcept override { session_.Rollback(); }
  bool InTransaction() const override {
    return PQtransactionStatus(session_.state_->connection.get()) != PQTRANS_IDLE;
  }
  void Cancel() noexcept override { session_.Cancel(); }
  const ServerFacts& Server() const override { return session_.Server(); }
  int BackendPid() const override { return session_.BackendPid(); }
  std::vector<std::string> TakeNotices() override { return {}; }

 private:
  CopySession& session_;
};

Session& CopySession::AsSession() {
  if (!state_->view) state_->view = std::make_unique<View>(*this);
  return *state_->view;
}

Result CopySession::Execute(std::string_view sql, const Params& params) {
  return state_->Alive().Run(sql, params);
}

void CopySession::Begin(Isolation isolation, bool read_only) {
  std::string sql = "BEGIN";
  if (isolation == Isolation::kReadCommitted) sql += " ISOLATION LEVEL READ COMMITTED";
  if (isolation == Isolation::kRepeatableRead) sql += " ISOLATION LEVEL REPEATABLE READ";
  if (isolation == Isolation::kSerializable) sql += " ISOLATION LEVEL SERIALIZABLE";
  if (read_only) sql += " READ ONLY";
  Execute(sql);
}

void CopySession::SetSnapshot(const std::string& id) {
  Execute("SET TRANSACTION SNAPSHOT " + QuoteLiteral(id));
}

void CopySession::Commit() {
  Execute("COMMIT");
  // COMMIT of a failed transaction succeeds as ROLLBACK; a failure before it was thrown already.
}

void CopySession::Rollback() noexcept {
  try {
    if (!state_->driver->broken() &&
        PQtransactionStatus(state_->connection.get()) != PQTRANS_IDLE) {
      Execute("ROLLBACK");
    }
  } catch (const std::exception&) {  // the server ends it with the connection
  }
}

void CopySession::SetDeadline(std::optional<SteadyClock::time_point> deadline) {
  state_->driver->set_deadline(deadline);
}

void CopySession::Cancel() noexcept {
  char message[256];
  if (state_->cancel) PQcancel(state_->cancel.get(), message, sizeof message);
}

int CopySession::BackendPid() const { return PQbackendPID(state_->connection.get()); }
const ServerFacts& CopySession::Server() const { return state_->facts; }

CopyIn::CopyIn(CopySession& session, std::string_view sql) : session_(session) {
  session_.state_->Alive().StartCopyIn(sql);
}

CopyIn::~CopyIn() { Abort(); }

void CopyIn::Write(std::string_view bytes) {
  if (!open_) throw Error(ErrorKind::kInternal, "a COPY that has ended takes no more rows");
  buffer_.append(bytes);
  if (buffer_.size() < kBufferBytes) return;
  try {
    session_.state_->Alive().PutCopy(buffer_);
  } catch (...) {
    open_ = false;
    throw;
  }
  buffer_.clear();
}

std::int64_t CopyIn::Finish() {
  if (!open_) throw Error(ErrorKind::kInternal, "a COPY that has ended cannot be finished");
  open_ = false;
  internal::PgDriver& driver = session_.state_->Alive();
  driver.PutCopy(buffer_);
  return driver.FinishCopyIn();
}

void CopyIn::Abort() noexcept {
  if (!open_) return;
  open_ = false;
  session_.state_->driver->AbortCopyIn("aborted by understudy");
}

CopyOut::CopyOut(CopySession& session, std::string_view sql) : session_(session) {
  session_.state_->Alive().StartCopyOut(sql);
}

CopyOut::~CopyOut() {
  if (!open_) return;
  session_.Cancel();
  try {  // what the server had sent already
    std::string rest;
    while (session_.state_->Alive().GetCopy(rest, 1)) rest.clear();
  } catch (const std::exception&) {  // as wanted
  }
}

bool CopyOut::Read(std::string& bytes, std::size_t enough) {
  bytes.clear();
  if (!open_) return false;
  try {
    open_ = session_.state_->Alive().GetCopy(bytes, enough);
  } catch (...) {
    open_ = false;
    throw;
  }
  return open_ || !bytes.empty();
}

std::int64_t CopyOut::rows() const { return session_.state_->driver->copied_rows(); }

std::int64_t CopyOut::rows_so_far() const { return session_.state_->driver->copy_messages(); }

void AppendCopyText(std::string& to, const Value& value) {
  if (value.is_null()) {
    to += "\\N";
    return;
  }
  if (value.storage == Storage::kBlob) {
    to += "\\\\x";
    to += ToHex(value.text);
    return;
  }
  for (const char c : value.text) {
    switch (c) {
      case '\0':
        throw Error(ErrorKind::kConstraint,
                    "a text value holds the character U+0000, which PostgreSQL cannot store",
                    "22021");
      case '\\':
        to += "\\\\";
        break;
      case '\t':
        to += "\\t";
        break;
      case '\n':
        to += "\\n";
        break;
      case '\r':
        to += "\\r";
        break;
      default:
        to += c;
    }
  }
}

void AppendCopyRow(std::string& to, const Row& row) {
  bool first = true;
  for (const Value& value : row) {
    if (!first) to += '\t';
    first = false;
    AppendCopyText(to, value);
  }
  to += '\n';
}

}  // namespace understudy::db
