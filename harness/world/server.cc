#include "harness/world/server.h"

#include <unistd.h>

#include <atomic>
#include <cctype>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/log.h"
#include "engine/db/identifier.h"

namespace understudy::harness {
namespace {

using db::QuoteIdentifier;
using db::QuoteLiteral;

// From here on copying files beats logging every page, once (PostgreSQL 15 and newer can choose).
constexpr std::int64_t kFileCopyBytes = 48LL << 20U;

std::string SettingText(const Json& value, const std::string& name) {
  if (value.is_boolean()) return value.get<bool>() ? "on" : "off";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return value.dump();
  throw Error(ErrorKind::kInvalidSpec,
              "settings/" + name + ": a string, number or boolean is needed");
}

// A list of names must reach ALTER … SET as several literals: as one it would be one quoted name.
bool IsList(const std::string& name) {
  return name == "search_path" || name == "temp_tablespaces" ||
         name == "shared_preload_libraries" || name == "session_preload_libraries" ||
         name == "local_preload_libraries";
}

std::string SettingSql(const std::string& name, const Json& value) {
  std::string text = value.is_array() ? "" : SettingText(value, name);
  std::vector<std::string> parts;
  if (value.is_array()) {
    for (const Json& part : value) parts.push_back(SettingText(part, name));
  } else if (IsList(name)) {
    std::string part;
    for (const char c : text + ",") {
      if (c == ',') {
        if (!part.empty()) parts.push_back(std::exchange(part, ""));
      } else if (std::isspace(static_cast<unsigned char>(c)) == 0 && c != '"') {
        part += c;
      }
    }
  }
  if (parts.empty()) return QuoteLiteral(text);
  std::string sql;
  for (const std::string& part : parts) sql += (sql.empty() ? "" : ", ") + QuoteLiteral(part);
  return sql;
}

// "a.b" must stay two quoted names.
std::string SettingName(const std::string& name) {
  const auto dot = name.find('.');
  if (dot == std::string::npos) return QuoteIdentifier(name);
  return QuoteIdentifier(name.substr(0, dot)) + "." + QuoteIdentifier(name.substr(dot + 1));
}

class PostgresLease final : public Lease, public Power {
 public:
  PostgresLease(std::shared_ptr<PostgresServer> server, std::string database, bool own)
      : server_(std::move(server)),
        database_(std::move(database)),
        endpoint_(server_->Maintenance().WithDatabase(database_)),
        own_(own) {
    server_->LeaseBegins();
  }
  ~PostgresLease() override {
    if (!kept_) server_->Discard(database_);
    server_->LeaseEnds();
  }

  const db::Endpoint& endpoint() const override { return endpoint_; }
  std::string provision() const override { return server_->provision(); }
  std::string version() const override { return server_->version(); }
  Power* power() override { return own_ ? this : nullptr; }
  std::string HowToConnect() const override { return server_->HowToConnect(database_); }
  void Keep() override {
    kept_ = true;
    server_->Keep();
  }
  void Restart(const std::string& how) override { server_->Restart(how); }

  std::unique_ptr<Lease> Clone(const std::string& label) override {
    const db::Endpoint maintenance = server_->Maintenance();
    const std::string name = NewDatabaseName(label);
    CreateDatabase(maintenance, name, database_);
    return std::make_unique<PostgresLease>(server_, name, own_);
  }

 private:
  std::shared_ptr<PostgresServer> server_;  // shared: the last of its leases ends it
  std::string database_;
  db::Endpoint endpoint_;
  bool own_;
  bool kept_ = false;
};

}  // namespace

void PostgresServer::Discard(const std::string& database) noexcept {
  DropDatabase(Maintenance(), database);
}

void CopyDatabaseProperties(db::Session& source, const std::string& from, db::Session& target,
                            const std::string& name) {
  const auto settings = source.Query(
      R"(SELECT coalesce(r.rolname, ''), c.value
         FROM pg_db_role_setting s
         JOIN pg_database d ON d.oid = s.setdatabase
         LEFT JOIN pg_roles r ON r.oid = s.setrole,
              unnest(s.setconfig) AS c(value)
         WHERE d.datname = $1 AND (s.setrole = 0 OR r.oid IS NOT NULL))",
      {db::Value::Text(from)});
  const auto known = [&](const std::string& role) {
    return role.empty() ||
           target.MaybeScalar("SELECT 1 FROM pg_roles WHERE rolname = $1", {db::Value::Text(role)});
  };
  for (const db::Row& row : settings.rows) {
    if (!known(row[0].text)) continue;
    const auto equals = row[1].text.find('=');
    const std::string guc = row[1].text.substr(0, equals);
    const std::string value = row[1].text.substr(equals + 1);
    const std::string whom = row[0].text.empty() ? "ALTER DATABASE " + QuoteIdentifier(name)
                                                 : "ALTER ROLE " + QuoteIdentifier(row[0].text) +
                                                       " IN DATABASE " + QuoteIdentifier(name);
    // A list is kept as text ready for set_config, which ALTER … SET takes only in parts.
    target.Execute(whom + " SET " + SettingName(guc) + " = " +
                   (IsList(guc) ? SettingSql(guc, value.empty() ? Json("") : Json(value))
                                : QuoteLiteral(value)));
  }
  const auto grants = source.Query(
      R"(SELECT coalesce(r.rolname, ''),
                a.privilege_type, a.is_grantable
         FROM pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
         WHERE d.datname = $1 AND (a.grantee = 0 OR r.oid IS NOT NULL))",
      {db::Value::Text(from)});
  if (grants.rows.empty()) return;
  target.Execute("REVOKE ALL ON DATABASE " + QuoteIdentifier(name) + " FROM PUBLIC");
  for (const db::Row& row : grants.rows) {
    if (!known(row[0].text)) continue;
    target.Execute("GRANT " + row[1].text + " ON DATABASE " + QuoteIdentifier(name) + " TO " +
                   (row[0].text.empty() ? "PUBLIC" : QuoteIdentifier(row[0].text)) +
                   (row[2].AsBool() ? " WITH GRANT OPTION" : ""));
  }
}

std::string NewDatabaseName(const std::string& label) {
  static std::atomic<int> count = 0;
  std::string name = "us_";
  for (const char c : label.substr(0, 40)) {
    const auto byte = static_cast<unsigned char>(c);
    name += std::isalnum(byte) != 0 && byte < 128 ? static_cast<char>(std::tolower(byte)) : '_';
  }
  return name + "_" + std::to_string(++count);
}

void CreateDatabase(const db::Endpoint& maintenance, const std::string& name,
                    const std::string& from) {
  const auto session = db::Connect(maintenance);
  std::string sql = "CREATE DATABASE " + QuoteIdentifier(name);
  if (!from.empty()) {
    sql += " TEMPLATE " + QuoteIdentifier(from);
    if (session->Server().major() >= 15) {
      const std::int64_t bytes =
          session->Scalar("SELECT pg_database_size($1::name)", {db::Value::Text(from)}).AsInteger();
      sql += bytes > kFileCopyBytes ? " STRATEGY file_copy" : " STRATEGY wal_log";
    }
  }
  try {
    session->Execute(sql);
    if (!from.empty()) CopyDatabaseProperties(*session, from, *session, name);
  } catch (Error& error) {
    if (error.code() == "55006") {
      throw Error(ErrorKind::kConflict,
                  "cannot clone the database " + from + " while somebody is connected to it: " +
                      error.message() + "; stop the clients first",
                  error.code());
    }
    DropDatabase(maintenance, name);
    throw error.AddFrame("create the database " + name);
  }
}

bool DropDatabase(const db::Endpoint& maintenance, const std::string& name) noexcept {
  try {
    const auto session = db::Connect(maintenance);
    session->Query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
                   {db::Value::Text(name)});
    session->Query(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
        "WHERE database = $1 AND NOT active",
        {db::Value::Text(name)});
    const bool force = session->Server().major() >= 13;
    session->Execute("DROP DATABASE IF EXISTS " + QuoteIdentifier(name) +
                     (force ? " WITH (FORCE)" : ""));
    return true;
  } catch (const std::exception& error) {
    try {
      log::Debug("drop database " + name + ": " + error.what());
    } catch (...) {  // nothing more can be told
    }
    return false;
  }
}

void CreateExtensions(const db::Endpoint& database, const std::vector<std::string>& extensions) {
  if (extensions.empty()) return;
  db::SessionOptions options;
  options.settings = db::Settings::kUsers;
  const auto session = db::Connect(database, options);
  for (const std::string& extension : extensions) {
    try {
      session->Execute("CREATE EXTENSION IF NOT EXISTS " + QuoteIdentifier(extension) + " CASCADE");
    } catch (const Error& error) {
      // 0A000: "extension … is not available"; 58P01: its control file is missing
      const bool missing = error.code() == "0A000" || error.code() == "58P01";
      throw Error(
          missing ? ErrorKind::kEnvironment : error.kind(),
          "cannot create the extension " + extension + " on PostgreSQL " +
              session->Server().version_text + ": " + error.message() +
              (missing ? "; install it for this server's version, or use an image that has it"
                       : ""),
          error.code());
    }
  }
}

SplitSettings Split(const db::Endpoint& maintenance, const Json& settings) {
  SplitSettings split;
  if (settings.empty()) return split;
  const auto session = db::Connect(maintenance);
  for (const auto& [name, value] : settings.items()) {
    const auto context = session->MaybeScalar(
        "SELECT context FROM pg_settings WHERE lower(name) = lower($1)", {db::Value::Text(name)});
    // A library's own setting is known only once the library is loaded.
    if (!context && name.find('.') == std::string::npos) {
      throw Error(ErrorKind::kInvalidSpec, "settings/" + name + ": PostgreSQL " +
                                               session->Server().version_text +
                                               " knows no such setting; see the view pg_settings");
    }
    if (context && context->text == "internal") {
      throw Error(ErrorKind::kInvalidSpec, "settings/" + name + " cannot be changed on any server");
    }
    const bool of_server = context && (context->text == "postmaster" || context->text == "sighup");
    (of_server ? split.server : split.database)[name] = value;
  }
  return split;
}

void ApplyServerSettings(PostgresServer& server, const Json& settings) {
  if (settings.empty()) return;
  {
    const auto session = db::Connect(server.Maintenance());
    for (const auto& [name, value] : settings.items()) {
      try {
        session->Execute("ALTER SYSTEM SET " + SettingName(name) + " = " + SettingSql(name, value));
      } catch (const Error& error) {
        throw Error(ErrorKind::kInvalidSpec, "settings/" + name + ": " + error.message(),
                    error.code());
      }
    }
  }
  server.Restart("fast");
}

void ApplyDatabaseSettings(const db::Endpoint& maintenance, const std::string& database,
                           const Json& settings) {
  if (settings.empty()) return;
  const auto session = db::Connect(maintenance);
  for (const auto& [name, value] : settings.items()) {
    try {
      session->Execute("ALTER DATABASE " + QuoteIdentifier(database) + " SET " + SettingName(name) +
                       " = " + SettingSql(name, value));
    } catch (const Error& error) {
      throw Error(ErrorKind::kInvalidSpec, "settings/" + name + ": " + error.message(),
                  error.code());
    }
  }
}

std::unique_ptr<Lease> MakePostgresLease(std::shared_ptr<PostgresServer> server,
                                         const std::string& database, bool own) {
  return std::make_unique<PostgresLease>(std::move(server), database, own);
}

void WaitForAnswer(const db::Endpoint& endpoint, std::chrono::milliseconds deadline,
                   const std::function<std::string()>& still_alive,
                   const std::function<bool()>& stop) {
  const auto started = SteadyClock::now();
  for (;;) {
    std::string why;
    try {
      db::Connect(endpoint)->Query("SELECT 1");
      return;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUnavailable) throw;
      why = error.message();
    }
    if (const std::string dead = still_alive(); !dead.empty()) {
      throw Error(ErrorKind::kEnvironment, dead);
    }
    if (stop && stop()) throw Error(ErrorKind::kCancelled, "stopped while a server started");
    if (SteadyClock::now() - started > deadline) {
      throw Error(ErrorKind::kEnvironment, "the server did not answer within " +
                                               std::to_string(deadline.count() / 1000) +
                                               " s: " + why);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace understudy::harness
