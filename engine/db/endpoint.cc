#include "engine/db/endpoint.h"

#include <libpq-fe.h>

#include <cctype>
#include <cstdlib>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/redact.h"

namespace understudy::db {
namespace fs = std::filesystem;
namespace {

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}
bool EndsWith(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}
bool IsUri(std::string_view text) {
  return StartsWith(text, "postgres://") || StartsWith(text, "postgresql://");
}
bool IsSqlitePath(std::string_view text) {
  return EndsWith(text, ".db") || EndsWith(text, ".sqlite") || EndsWith(text, ".sqlite3");
}
// keyword=value, the keyword being one that libpq knows
bool IsConninfo(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return false;
  std::string_view keyword = text.substr(0, equals);
  while (!keyword.empty() && keyword.back() == ' ') keyword.remove_suffix(1);
  while (!keyword.empty() && keyword.front() == ' ') keyword.remove_prefix(1);
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> known(PQconndefaults(),
                                                                             PQconninfoFree);
  for (const PQconninfoOption* option = known.get();
       option != nullptr && option->keyword != nullptr; ++option) {
    if (keyword == option->keyword) return true;
  }
  return false;
}

std::string QuoteConninfo(const std::string& value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

std::string PercentEncode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '~') {
      encoded += c;
    } else {
      encoded += '%';
      encoded += kDigits[byte >> 4U];
      encoded += kDigits[byte & 15U];
    }
  }
  return encoded;
}

}  // namespace

std::string_view EngineName(Engine engine) {
  return engine == Engine::kPostgres ? "postgres" : "sqlite";
}

bool Endpoint::LooksLikeOne(std::string_view text) {
  return IsUri(text) || StartsWith(text, "sqlite:") || StartsWith(text, "env:") ||
         IsSqlitePath(text) || IsConninfo(text);
}

Endpoint Endpoint::Parse(std::string_view text, const fs::path& folder) {
  if (StartsWith(text, "env:")) {
    const std::string name(text.substr(4));
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') {
      throw Error(ErrorKind::kInvalidSpec,
                  "the environment variable " + name + " is not set; it must hold an endpoint");
    }
    if (StartsWith(value, "env:")) {
      throw Error(ErrorKind::kInvalidSpec, "env:" + name + " names another env:");
    }
    return Parse(value, folder);
  }
  if (StartsWith(text, "sqlite:")) {
    text.remove_prefix(7);
    if (StartsWith(text, "//")) text.remove_prefix(2);
    return Sqlite(folder.empty() ? fs::path(text) : (folder / text).lexically_normal());
  }
  if (IsUri(text) || IsConninfo(text)) {
    char* message = nullptr;
    const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> parsed(
        PQconninfoParse(std::string(text).c_str(), &message), PQconninfoFree);
    if (!parsed) {
      std::string why = message != nullptr ? message : "out of memory";
      PQfreemem(message);
      while (!why.empty() && why.back() == '\n') why.pop_back();
      throw Error(ErrorKind::kInvalidSpec, "not a PostgreSQL endpoint: " + Redact(why));
    }
    std::map<std::string, std::string> settings;
    for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
      if (option->val != nullptr) settings[option->keyword] = option->val;
    }
    return Postgres(std::move(settings));
  }
  if (IsSqlitePath(text)) {
    return Sqlite(folder.empty() ? fs::path(text) : (folder / text).lexically_normal());
  }
  throw Error(
      ErrorKind::kInvalidSpec,
      "not an endpoint: '" + Redact(text) +
          "'; allowed: postgres://…, a libpq conninfo (host=… dbname=…), sqlite:PATH, a path "
          "that ends in .db, .sqlite or .sqlite3, env:NAME");
}

Endpoint Endpoint::Sqlite(fs::path file) {
  Endpoint endpoint;
  endpoint.engine_ = Engine::kSqlite;
  endpoint.file_ = std::move(file);
  return endpoint;
}

Endpoint Endpoint::Postgres(std::map<std::string, std::string> settings) {
  Endpoint endpoint;
  endpoint.settings_ = std::move(settings);
  if (const auto it = endpoint.settings_.find("password"); it != endpoint.settings_.end()) {
    RememberSecret(it->second);
  }
  return endpoint;
}

std::string Endpoint::Setting(const std::string& keyword) const {
  const auto it = settings_.find(keyword);
  return it == settings_.end() ? "" : it->second;
}

Endpoint Endpoint::WithDatabase(const std::string& name) const {
  return WithSetting("dbname", name);
}

Endpoint Endpoint::WithSetting(const std::string& keyword, const std::string& value) const {
  Endpoint copy = *this;
  copy.settings_[keyword] = value;
  return copy;
}

std::string Endpoint::Conninfo() const {
  std::string text;
  for (const auto& [keyword, value] : settings_) {
    if (!text.empty()) text += ' ';
    text += keyword + "=" + QuoteConninfo(value);
  }
  return text;
}

std::string Endpoint::Uri() const {
  if (engine_ == Engine::kSqlite) return "sqlite:" + file_.string();
  std::string uri = "postgresql://";
  if (const std::string user = Setting("user"); !user.empty()) {
    uri += PercentEncode(user);
    if (const std::string password = Setting("password"); !password.empty()) {
      uri += ":" + PercentEncode(password);
    }
    uri += "@";
  }
  const std::string host = Setting("host");
  const bool is_socket = StartsWith(host, "/");
  if (!is_socket) {
    uri += host;
    if (const std::string port = Setting("port"); !port.empty()) uri += ":" + port;
  }
  uri += "/" + PercentEncode(Setting("dbname"));
  char separator = '?';
  for (const auto& [keyword, value] : settings_) {
    const bool said = keyword == "user" || keyword == "password" || keyword == "dbname" ||
                      (!is_socket && (keyword == "host" || keyword == "port"));
    if (said) continue;
    uri += separator + keyword + "=" + PercentEncode(value);
    separator = '&';
  }
  return uri;
}

std::string Endpoint::Redacted() const {
  if (engine_ == Engine::kSqlite) return Uri();
  Endpoint copy = *this;
  if (copy.settings_.contains("password")) copy.settings_["password"] = "***";
  std::string uri = copy.Uri();
  // Percent-encoding made the stars unreadable.
  if (const auto at = uri.find("%2A%2A%2A"); at != std::string::npos) uri.replace(at, 9, "***");
  return uri;
}

std::map<std::string, std::string> Endpoint::Environment() const {
  static const std::map<std::string, std::string> kVariables = {
      {"host", "PGHOST"},
      {"hostaddr", "PGHOSTADDR"},
      {"port", "PGPORT"},
      {"user", "PGUSER"},
      {"password", "PGPASSWORD"},
      {"dbname", "PGDATABASE"},
      {"passfile", "PGPASSFILE"},
      {"sslmode", "PGSSLMODE"},
      {"options", "PGOPTIONS"},
      {"sslrootcert", "PGSSLROOTCERT"},
      {"sslcert", "PGSSLCERT"},
      {"sslkey", "PGSSLKEY"},
      {"service", "PGSERVICE"},
      {"connect_timeout", "PGCONNECT_TIMEOUT"},
      {"target_session_attrs", "PGTARGETSESSIONATTRS"},
  };
  std::map<std::string, std::string> environment;
  if (engine_ == Engine::kSqlite) return environment;
  for (const auto& [keyword, value] : settings_) {
    if (const auto it = kVariables.find(keyword); it != kVariables.end()) {
      environment[it->second] = value;
    }
  }
  return environment;
}

}  // namespace understudy::db
