#include "engine/db/session.h"

#include "engine/base/error.h"

namespace understudy::db {

std::unique_ptr<Session> Connect(const Endpoint& endpoint, const SessionOptions& options) {
  return endpoint.engine() == Engine::kPostgres ? internal::ConnectPostgres(endpoint, options)
                                                : internal::ConnectSqlite(endpoint, options);
}

std::int64_t Session::CopyFrom(std::string_view sql, std::string_view /*data*/) {
  throw Error(ErrorKind::kUnsupported,
              "this connection cannot take the rows of: " + std::string(sql) +
                  "; COPY … FROM STDIN needs PostgreSQL, and libpqxx 6.x or 7.8 and later");
}

std::optional<Value> Session::MaybeScalar(std::string_view sql, const Params& params) {
  Result result = Query(sql, params);
  if (result.rows.empty() || result.rows[0].empty()) return std::nullopt;
  return std::move(result.rows[0][0]);
}

Value Session::Scalar(std::string_view sql, const Params& params) {
  std::optional<Value> value = MaybeScalar(sql, params);
  if (!value) throw Error(ErrorKind::kInternal, "no row from: " + std::string(sql));
  return std::move(*value);
}

}  // namespace understudy::db
