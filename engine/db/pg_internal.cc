#include "engine/db/pg_internal.h"

#include <poll.h>

#include <algorithm>
#include <cctype>
#include <memory>

#include "engine/base/digest.h"
#include "engine/base/redact.h"
#include "engine/db/identifier.h"

namespace understudy::db::internal {
namespace {
using ResultPtr = std::unique_ptr<PGresult, void (*)(PGresult*)>;
ResultPtr Own(PGresult* result) { return {result, PQclear}; }

bool IsCommit(std::string_view sql) {
  std::string word;
  for (const char c : sql.substr(0, 6)) {
    word += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return word == "COMMIT" || word.starts_with("END");
}
}  // namespace

std::vector<const char*> ParameterTexts(const Params& params, std::vector<std::string>& held) {
  held.reserve(params.size());
  std::vector<const char*> texts;
  for (const Value& value : params) {
    if (value.is_null()) {
      texts.push_back(nullptr);
      continue;
    }
    if (value.storage != Storage::kBlob && value.text.find('\0') != std::string::npos) {
      throw Error(ErrorKind::kConstraint,
                  "a text value holds the character U+0000, which PostgreSQL cannot store",
                  "22021");
    }
    held.push_back(value.storage == Storage::kBlob ? "\\x" + ToHex(value.text) : value.text);
    texts.push_back(held.back().c_str());
  }
  return texts;
}

std::string TrimmedMessage(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.starts_with("ERROR:  ")) text.erase(0, 8);
  return Redact(text);
}

ErrorKind KindOfState(std::string_view state) {
  const std::string_view group = state.substr(0, 2);
  if (state == "40001" || state == "40P01" || state == "55P03") return ErrorKind::kConflict;
  if (state == "57014") return ErrorKind::kCancelled;
  if (group == "08" || state == "57P01" || state == "57P02" || state == "57P03" ||
      state == "53300") {
    return ErrorKind::kUnavailable;
  }
  if (group == "53") return ErrorKind::kEnvironment;  // disk full, out of memory
  return ErrorKind::kConstraint;
}

Endpoint WithSessionKeywords(const Endpoint& endpoint, const SessionOptions& options) {
  Endpoint target = endpoint;
  if (target.Setting("connect_timeout").empty()) {
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(options.connect_timeout).count();
    target = target.WithSetting("connect_timeout", std::to_string(std::max<long>(2, seconds)));
  }
  target = target.WithSetting("application_name", options.application_name);
  return target.WithSetting("client_encoding", "UTF8");
}

std::string SetupSql(const SessionOptions& options) {
  std::string sql;
  const auto set = [&](std::string_view name, std::string_view value) {
    sql += "SET " + std::string(name) + " = " + QuoteLiteral(value) + ";";
  };
  if (options.settings == Settings::kOurs) {
    sql += "SET search_path = '';";
    set("TimeZone", "UTC");
    set("DateStyle", "ISO, MDY");
    set("IntervalStyle", "postgres");
    set("bytea_output", "hex");
    set("extra_float_digits", "3");
    set("xmloption", "content");
    set("lc_monetary", "C");
    set("standard_conforming_strings", "on");
    set("quote_all_identifiers", "off");
    set("row_security", "off");  // an error, not a silently shorter answer
    set("statement_timeout", std::to_string(options.statement_timeout.count()));
    set("lock_timeout", std::to_string(options.lock_timeout.count()));
    set("idle_in_transaction_session_timeout", "0");
    set("jit", "off");  // half a second of compiling for a query of the catalog
  } else {
    if (options.statement_timeout.count() > 0) {
      set("statement_timeout", std::to_string(options.statement_timeout.count()));
    }
    if (options.lock_timeout.count() > 0) {
      set("lock_timeout", std::to_string(options.lock_timeout.count()));
    }
  }
  if (options.read_only) set("default_transaction_read_only", "on");
  return sql;
}

void RefuseOldServer(const Endpoint& endpoint, int version) {
  if (version >= kOldestVersion) return;
  throw Error(ErrorKind::kUnsupported,
              endpoint.Redacted() + " is PostgreSQL " + std::to_string(version / 10000) +
                  "; understudy works with 12 and newer: upgrade the server first");
}

void PgDriver::Wait(For what) {
  for (;;) {
    pollfd wait{PQsocket(connection_), POLLIN, 0};
    if (wait.fd < 0) ThrowLost();
    if (what == For::kWriting) wait.events = POLLIN | POLLOUT;
    int timeout_ms = -1;
    if (deadline_) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - SteadyClock::now());
      if (left.count() <= 0) {
        broken_ = true;
        if (PGcancel* cancel = PQgetCancel(connection_); cancel != nullptr) {
          char message[256];
          PQcancel(cancel, message, sizeof message);
          PQfreeCancel(cancel);
        }
        throw Error(ErrorKind::kCancelled, "the deadline has passed", "deadline");
      }
      timeout_ms = static_cast<int>(std::min<std::int64_t>(left.count(), 60000));
    }
    const int ready = ::poll(&wait, 1, timeout_ms);
    if (ready < 0 && errno != EINTR) ThrowLost();
    if (ready > 0) return;
  }
}

void PgDriver::Flush() {
  for (;;) {
    const int left = PQflush(connection_);
    if (left == 0) return;
    if (left < 0) ThrowLost();
    Wait(For::kWriting);
    // Reading as well, lest both sides wait for each other with full buffers.
    if (PQconsumeInput(connection_) == 0) ThrowLost();
  }
}

PGresult* PgDriver::NextResult() {
  while (PQisBusy(connection_) != 0) {
    Wait(For::kReading);
    if (PQconsumeInput(connection_) == 0) ThrowLost();
  }
  return PQgetResult(connection_);
}

void PgDriver::ThrowLost() {
  broken_ = true;
  const std::string why = TrimmedMessage(PQerrorMessage(connection_));
  if (committing_) {
    throw Error(
        ErrorKind::kAmbiguous,
        "the connection was lost while COMMIT was under way: it may have happened or not: " + why,
        "40003");
  }
  throw Error(ErrorKind::kUnavailable, "the connection was lost: " + why, "08006");
}

void PgDriver::Throw(PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const std::string code = state != nullptr ? state : "";
  std::string message = TrimmedMessage(PQresultErrorMessage(result));
  PQclear(result);
  if (code.empty() || KindOfState(code) == ErrorKind::kUnavailable ||
      PQstatus(connection_) == CONNECTION_BAD) {
    ThrowLost();
  }
  Drain();
  throw Error(KindOfState(code), std::move(message), code);
}

void PgDriver::Drain() noexcept {
  try {
    while (PGresult* rest = NextResult()) {
      const ExecStatusType status = PQresultStatus(rest);
      PQclear(rest);
      if (status == PGRES_COPY_IN) {
        PQputCopyEnd(connection_, "not wanted");
        Flush();
      } else if (status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
        broken_ = true;
        return;
      }
    }
  } catch (const std::exception&) {
    broken_ = true;
  }
}

Result PgDriver::Run(std::string_view sql, const Params& params) {
  const std::string text(sql);
  committing_ = IsCommit(text);
  PQsetnonblocking(connection_, 1);
  int sent = 0;
  if (params.empty()) {
    sent = PQsendQuery(connection_, text.c_str());
  } else {
    std::vector<std::string> held;
    const std::vector<const char*> texts = ParameterTexts(params, held);
    sent = PQsendQueryParams(connection_, text.c_str(), static_cast<int>(texts.size()), nullptr,
                             texts.data(), nullptr, nullptr, 0);
  }
  if (sent == 0) ThrowLost();
  Flush();
  Result last;
  while (PGresult* raw = NextResult()) {
    const ExecStatusType status = PQresultStatus(raw);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
      if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
        PQclear(raw);
        if (status == PGRES_COPY_IN) PQputCopyEnd(connection_, "no data");
        Drain();
        throw Error(ErrorKind::kInternal, "COPY belongs into a CopyIn or CopyOut");
      }
      Throw(raw);
    }
    const ResultPtr result = Own(raw);
    last = Result();
    const int columns = PQnfields(raw);
    for (int i = 0; i < columns; ++i) last.columns.push_back({PQfname(raw, i), PQftype(raw, i)});
    for (int r = 0; r < PQntuples(raw); ++r) {
      Row& row = last.rows.emplace_back();
      for (int i = 0; i < columns; ++i) {
        row.push_back(
            PQgetisnull(raw, r, i) != 0
                ? Value::Null()
                : Value::Text(std::string(PQgetvalue(raw, r, i),
                                          static_cast<std::size_t>(PQgetlength(raw, r, i)))));
      }
    }
    last.affected = std::atoll(PQcmdTuples(raw));
  }
  committing_ = false;
  return last;
}

void PgDriver::StartCopy(std::string_view sql, ExecStatusType expected) {
  committing_ = false;
  PQsetnonblocking(connection_, 1);
  if (PQsendQuery(connection_, std::string(sql).c_str()) == 0) ThrowLost();
  Flush();
  PGresult* result = NextResult();
  const ExecStatusType status = PQresultStatus(result);
  if (status == expected) {
    PQclear(result);
    return;
  }
  if (status == PGRES_FATAL_ERROR) Throw(result);
  PQclear(result);
  if (status == PGRES_COPY_OUT) broken_ = true;  // its data would have to be read
  if (status == PGRES_COPY_IN) PQputCopyEnd(connection_, "not wanted");
  Drain();
  throw Error(ErrorKind::kInternal, std::string("not a COPY … ") +
                                        (expected == PGRES_COPY_IN ? "FROM STDIN" : "TO STDOUT") +
                                        ": " + std::string(sql));
}

void PgDriver::StartCopyIn(std::string_view sql) { StartCopy(sql, PGRES_COPY_IN); }

void PgDriver::PutCopy(std::string_view bytes) {
  constexpr std::size_t kPiece = std::size_t{1} << 20U;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kPiece);
    const int put = PQputCopyData(connection_, piece.data(), static_cast<int>(piece.size()));
    if (put < 0) {  // the server has refused a row, or is gone
      PGresult* result = NextResult();
      if (result == nullptr) ThrowLost();
      Throw(result);
    }
    if (put == 1) bytes.remove_prefix(piece.size());
    Flush();  // libpq would buffer without limit
    // Only so is the end of the connection seen; a refused row libpq shows at the end alone.
    if (PQconsumeInput(connection_) == 0) ThrowLost();
  }
}

std::int64_t PgDriver::FinishCopyIn() {
  while (PQputCopyEnd(connection_, nullptr) == 0) Wait(For::kWriting);
  Flush();
  PGresult* raw = NextResult();
  if (raw == nullptr) ThrowLost();
  if (PQresultStatus(raw) != PGRES_COMMAND_OK) Throw(raw);
  copied_rows_ = std::atoll(PQcmdTuples(raw));
  PQclear(raw);
  Drain();
  return copied_rows_;
}

void PgDriver::AbortCopyIn(const char* reason) noexcept {
  try {
    if (broken_) return;
    while (PQputCopyEnd(connection_, reason) == 0) Wait(For::kWriting);
    Flush();
    Drain();
  } catch (const std::exception&) {
    broken_ = true;
  }
}

void PgDriver::StartCopyOut(std::string_view sql) {
  copied_rows_ = 0;
  copy_messages_ = 0;
  StartCopy(sql, PGRES_COPY_OUT);
}

bool PgDriver::GetCopy(std::string& into, std::size_t enough) {
  while (into.size() < enough) {
    char* row = nullptr;
    const int got = PQgetCopyData(connection_, &row, 1);
    if (got > 0) {
      into.append(row, static_cast<std::size_t>(got));
      PQfreemem(row);
      ++copy_messages_;
    } else if (got == 0) {
      Wait(For::kReading);
      if (PQconsumeInput(connection_) == 0) ThrowLost();
    } else {
      PGresult* raw = NextResult();
      if (raw == nullptr) ThrowLost();
      if (PQresultStatus(raw) != PGRES_COMMAND_OK) Throw(raw);
      copied_rows_ = std::atoll(PQcmdTuples(raw));
      PQclear(raw);
      Drain();
      return false;
    }
  }
  return true;
}

}  // namespace understudy::db::internal
